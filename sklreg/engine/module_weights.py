"""The weights of any torch module, regularized in the steps of torch's own optimizers.

The same penalties, prox and bound as in the engine's own optimizers, for one tensor at a time: what torch's optimizers
know of their last move, their state says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

from sklreg.engine.optim import adam_longest, adam_step_size, sgd_step_size
from sklreg.engine.penalties import ElasticNet, project_max_norm

_NORMALIZATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_TAKES_ROWS = (nn.Embedding, nn.EmbeddingBag)  # a row of their weights is what one input gives, not what a unit takes
_N_STEPS = "sklreg_n_steps"  # in the state of SGD, which does not count; there it is saved and loaded with the rest

Strength = float | Mapping[str, float]
"""One number for all weights, or one for each pattern of names: of those that match, the first counts."""


class Weight(NamedTuple):
    """A tensor of weights, its name, and the layer that it belongs to."""

    name: str
    tensor: nn.Parameter
    layer: nn.Module


class Strengths(NamedTuple):
    """What acts on the weights of a module; ``max_norm`` is ``inf``, or 0 by pattern, where nothing is bounded."""

    l1: Strength = 0.0
    l2: Strength = 0.0
    weight_decay: Strength = 0.0
    max_norm: Strength = math.inf


def weights_of(module: nn.Module) -> list[Weight]:
    """Return what penalties act on: all parameters but biases and those of normalizations.

    A parameter of fewer than two axes is a scale or a shift, whatever it is called.
    """
    found: dict[int, Weight] = {}  # by tensor: a shared one counts once
    for prefix, layer in module.named_modules():
        if isinstance(layer, _NORMALIZATIONS):
            continue
        for name, parameter in layer.named_parameters(prefix, recurse=False):
            own_name = name.rpartition(".")[2]
            if nn.parameter.is_lazy(parameter) or (parameter.dim() > 1 and "bias" not in own_name.split("_")):
                found.setdefault(id(parameter), Weight(name, parameter, layer))
    return list(found.values())


def strength_by_name(strength: Strength, names: Iterable[str], what: str) -> dict[str, float]:
    """Return the strength for each name of a weight; ``what`` is the strength's own name.

    Raises
    ------
    ValueError
        If the strength would do nothing: a pattern matches no name, or there are none.
    """
    names = list(names)
    if not isinstance(strength, Mapping):
        if strength > 0 and not names:
            raise ValueError(
                f"{what}={strength} acts on weights, and the module has none: no parameter of two axes or more that is "
                f"neither a bias nor of a normalization. Set it to 0."
            )
        return dict.fromkeys(names, float(strength))
    for pattern in strength:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"{what} names {pattern!r}, which matches no weight of the module (biases and normalization parameters "
                f"are none); its weights are {names}. Correct the pattern or leave it out."
            )
    return {
        name: float(next((value for pattern, value in strength.items() if fnmatchcase(name, pattern)), 0.0))
        for name in names
    }


class WeightRegularizer:
    """Penalties, decay and bounds on the weights of a module, around the steps of torch's optimizers.

    Around each step, in this order: the gradient of the L2 term is added to that of the loss, decoupled decay shrinks
    the weights, the optimizer moves them, the prox of the L1 term acts in the metric of this move, and what comes into
    a unit is brought back to its greatest norm.  Weights without a gradient rest, as torch's optimizers leave them.
    """

    def __init__(
        self, weights: list[Weight], optimizers: Iterable[torch.optim.Optimizer], strengths: Strengths, owner: str
    ) -> None:
        self._owner = owner
        names = [weight.name for weight in weights]
        l1, l2, decay = (
            strength_by_name(getattr(strengths, what), names, f"{what} of {owner}")
            for what in ("l1", "l2", "weight_decay")
        )
        bound = _bounds(strengths.max_norm, names, owner)
        place_of = {id(weight.tensor): weight for weight in weights}
        self._terms: list[_Term] = []
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if (weight := place_of.get(id(parameter))) is None:
                        continue
                    name = weight.name
                    acts = l1[name] > 0 or l2[name] > 0 or decay[name] > 0
                    if acts or math.isfinite(bound[name]):
                        term = _Term.of(weight, optimizer, group, l1[name], l2[name], decay[name], bound[name])
                        self._terms.append(term)
        for what, strength in (("l1", l1), ("weight_decay", decay)):
            for term in self._terms:
                if strength[term.name] > 0:
                    _check_optimizer(term.optimizer, term.group, f"{what} of {owner}", needs_steps=what == "l1")

    @property
    def is_active(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._terms)

    @torch.no_grad()
    def add_smooth_gradient(self) -> Tensor | float:
        """Add the gradient of the L2 term to that of the loss; return the value of this term."""
        value: Tensor | float = 0.0
        for term in self._moving():
            if term.has_l2:
                assert term.tensor.grad is not None
                if term.tensor.grad.is_sparse:
                    raise ValueError(
                        f"l2 of {self._owner} needs dense gradients, as it moves every weight; those of {term.name!r} "
                        "are sparse. Make its layer with sparse=False, or set its l2 to 0 (l2 may be a dict)."
                    )
                term.penalty.add_smooth_gradient(term.tensor.grad, term.tensor)
                if term.needs_value:
                    smooth = term.penalty._replace(l1=torch.zeros_like(term.penalty.l1))
                    value = value + smooth.value(term.tensor.flatten())
        return value

    @torch.no_grad()
    def decay_(self) -> None:
        """Shrink the weights, as AdamW does before its move."""
        for term in self._moving():
            if term.decay > 0:
                term.tensor.mul_(1 - term.group["lr"] * term.decay)

    @torch.no_grad()
    def finish_step_(self) -> None:
        """Apply the prox in the metric of the move just made, and the bounds."""
        for term in self._moving():
            if term.has_l1:
                term.penalty.prox_(term.tensor, _metric(term.tensor, term.optimizer, term.group))
            if term.max_norm is not None:
                weight, dim = _by_unit(term.tensor, term.layer)
                weight.copy_(project_max_norm(weight, term.max_norm, dim))

    def _moving(self) -> Iterator[_Term]:
        return (term for term in self._terms if term.tensor.grad is not None)


class _Term(NamedTuple):
    """What acts on one tensor, and the optimizer that moves it."""

    name: str
    tensor: nn.Parameter
    layer: nn.Module
    optimizer: torch.optim.Optimizer
    group: dict[str, Any]
    penalty: ElasticNet
    has_l1: bool
    has_l2: bool
    needs_value: bool
    decay: float
    max_norm: Tensor | None

    @classmethod
    def of(
        cls,
        weight: Weight,
        optimizer: torch.optim.Optimizer,
        group: dict[str, Any],
        l1: float,
        l2: float,
        decay: float,
        bound: float,
    ) -> _Term:
        name, tensor, layer = weight
        penalty = ElasticNet(tensor.new_tensor(l1), tensor.new_tensor(l2))
        max_norm = tensor.new_tensor(bound) if math.isfinite(bound) else None
        needs_value = isinstance(optimizer, torch.optim.LBFGS)  # others look at gradients only
        return cls(name, tensor, layer, optimizer, group, penalty, l1 > 0, l2 > 0, needs_value, decay, max_norm)


class _StepSizes(NamedTuple):
    """The metric of an optimizer's last move of one tensor."""

    step_size: Tensor
    longest: Tensor

    def of_weights(self, columns: slice) -> Tensor:
        return self.step_size[columns] if self.step_size.dim() else self.step_size


def _metric(tensor: Tensor, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> _StepSizes:
    state, learning_rate = optimizer.state[tensor], float(group["lr"])
    if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        beta1, beta2 = (float(beta) for beta in group["betas"])
        n_steps = int(state["step"])
        second = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
        step_size = adam_step_size(second, n_steps, beta2, group["eps"]).mul_(learning_rate)
        return _StepSizes(step_size, tensor.new_full((), learning_rate * adam_longest(n_steps, beta1, beta2)))
    return _StepSizes(tensor.new_full((), _sgd_step_size(state, learning_rate, group)), tensor.new_full((), math.inf))


def _sgd_step_size(state: dict[str, Any], learning_rate: float, group: dict[str, Any]) -> float:
    momentum, dampening = float(group["momentum"]), float(group["dampening"])
    if momentum == 0:
        return learning_rate
    n_steps: int = state.get(_N_STEPS, 0) + 1
    state[_N_STEPS] = n_steps
    if dampening == 0:
        size = sgd_step_size(learning_rate, momentum, n_steps)
    else:  # the first gradient enters the velocity whole, the others dampened
        later = sgd_step_size(learning_rate, momentum, n_steps - 1)
        size = learning_rate * momentum ** (n_steps - 1) + (1 - dampening) * later
    return learning_rate + momentum * size if group["nesterov"] else size


def _check_optimizer(optimizer: torch.optim.Optimizer, group: dict[str, Any], what: str, needs_steps: bool) -> None:
    kind = type(optimizer).__name__
    if needs_steps and not isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)):
        raise ValueError(
            f"{what} acts by a prox with the step sizes of the optimizer, which are known for torch.optim.Adam, AdamW "
            f"and SGD; got {kind}. Use one of these, or set l1 to 0."
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            f"{what} acts once in every step, and LBFGS evaluates the loss several times in one. Use another optimizer "
            "(torch.optim.Adam, AdamW or SGD), l2 in place of the decay, or set it to 0."
        )
    if group.get("maximize"):
        raise ValueError(
            f"{what} is a penalty on what is minimized; got {kind} with maximize=True. Leave maximize out and turn the "
            "sign of the criterion."
        )
    if needs_steps and group.get("momentum", 0) >= 1:
        raise ValueError(f"{what} needs a momentum of {kind} in [0, 1); got {group['momentum']}. Lower it.")


def _bounds(max_norm: Strength, names: list[str], owner: str) -> dict[str, float]:
    if isinstance(max_norm, Mapping):
        by_name = strength_by_name(max_norm, names, f"max_norm of {owner}")
        return {name: value or math.inf for name, value in by_name.items()}
    if math.isfinite(max_norm) and len(names) < 2:
        raise ValueError(
            f"max_norm={max_norm} of {owner} acts on hidden layers, and the module has none: its weights are {names}. "
            "Set it to None, or name these weights ({pattern: norm})."
        )
    # Those of the output layer are free, as hidden units are what is bounded.
    return {name: math.inf if name == names[-1] else max_norm for name in names}


def _by_unit(tensor: Tensor, layer: nn.Module) -> tuple[Tensor, tuple[int, ...]]:
    """Return a view of the weights, and the axes along which lie those that come into one unit."""
    axes = tuple(range(2, tensor.dim()))
    if isinstance(layer, _ConvTransposeNd):  # (n_in, n_out / groups, ...)
        return tensor.unflatten(0, (layer.groups, -1)), (1, *(axis + 1 for axis in axes))
    if isinstance(layer, _TAKES_ROWS):
        return tensor, (0,)
    return tensor, (1, *axes)


def count_zeros(weights: Iterable[Weight]) -> tuple[int, int]:
    """Return how many weights are exactly zero, and how many there are."""
    tensors = [weight.tensor for weight in weights]
    return sum(int((tensor == 0).sum()) for tensor in tensors), sum(tensor.numel() for tensor in tensors)
