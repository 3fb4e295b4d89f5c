"""What training leaves of an estimator: a network or several, what is read from them, and their predictions."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator
from copy import copy, deepcopy
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from sklreg._batched import device_of_block
from sklreg._device import resolve_device
from sklreg._random import seed_of
from sklreg._table import check_range
from sklreg.engine import (
    PASSES_AT_ONCE,
    Ensemble,
    OutputUnits,
    Result,
    SparseLinear,
    ThinnedNetworks,
    has_dropout,
    layers_of,
    prune,
    threads_for,
    with_linears,
)

Array = NDArray[Any]
# What training sets: dropped before a refit, and copied from a member.
_FITTED = (
    "module_", "estimators_", "history_", "best_iter_", "_diverged", "_output_units", "_made_as", "_passes",
)  # fmt: skip
_OF_ONE_NETWORK = frozenset(
    ("coefs_", "intercepts_", "skip_coef_", "history_", "best_iter_", "loss_curve_", "validation_scores_",
     "best_validation_score_")
)  # fmt: skip
_N_SAMPLES = 100  # networks that dropout makes, unless told otherwise
_BLOCK = 64  # samples are predicted in multiples of this, ...
_MOST_AT_ONCE = 64 * _BLOCK  # ... and so many at a time at most


class FittedNetworks(BaseEstimator, metaclass=ABCMeta):
    """One network, or an ensemble of several (``estimators_``), that predicts for a ``BaseRegularizedMLP``."""

    device: str

    module_: nn.Sequential | Ensemble
    estimators_: list[Self]
    history_: list[dict[str, float]]
    best_iter_: int
    _diverged: bool
    _output_units: OutputUnits
    _made_as: dict[str, Any]

    @abstractmethod
    def _loss(self) -> str:
        """Return the name of the engine's loss."""

    @abstractmethod
    def _architecture(self) -> dict[str, Any]:
        """Return what a network is made as, by parameter; training can only go on from one that was made the same."""

    # Of one network, or of several ------------------------------------------------------------------------------

    def _members(self) -> list[Self]:
        """Return the fitted estimators of single networks."""
        members: list[Self] = self.__dict__.get("estimators_", [self])
        return members

    def _set_fitted(self, result: Result, units: OutputUnits) -> None:
        """Keep what training has left."""
        self.module_ = result.module
        self.history_ = result.history
        self.best_iter_ = result.best_iter
        self._diverged = result.diverged
        self._output_units = units
        self._made_as = self._architecture()
        for name in ("_passes", "estimators_"):
            self.__dict__.pop(name, None)

    def _take_fitted(self, other: FittedNetworks | None) -> None:
        """Have what training has set in ``other``, and nothing else of the kind."""
        for name in _FITTED:
            self.__dict__.pop(name, None)
            if other is not None and name in other.__dict__:
                setattr(self, name, other.__dict__[name])

    def _gather(self, members: list[Self]) -> None:
        """Let the fitted members predict as one."""
        if members[0] is not self:
            self._take_fitted(None)
            self._output_units, self._made_as = members[0]._output_units, members[0]._made_as
            self.estimators_ = members
            self.module_ = Ensemble([member.module_ for member in members], self._loss())

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say where an attribute is that only a single network has."""
            if name in _OF_ONE_NETWORK and "estimators_" in self.__dict__:
                raise AttributeError(
                    f"{type(self).__name__} with n_members={len(self.estimators_)} has no {name} of its own; each of "
                    f"its networks has: estimators_[0].{name}."
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _wanted_device(self) -> str:
        """The device that is asked for, here or by the surrounding block."""
        return (device_of_block() if self.device == "auto" else None) or self.device

    # What was fitted ------------------------------------------------------------------------------------------

    @property
    def _network(self) -> nn.Sequential:
        """The only network."""
        if isinstance(self.module_, Ensemble):
            raise AttributeError("An ensemble has several networks.")  # __getattr__ says more
        return self.module_

    @property
    def _layers(self) -> tuple[list[nn.Module], nn.Module | None]:
        return layers_of(self._network)

    @property
    def _linears(self) -> Iterator[nn.Linear | SparseLinear]:
        return (layer for layer in self._layers[0] if isinstance(layer, (nn.Linear, SparseLinear)))

    @property
    def _skip(self) -> nn.Linear | SparseLinear | None:
        skip = self._layers[1]
        return skip if isinstance(skip, (nn.Linear, SparseLinear)) else None

    @property
    def _weights(self) -> list[Any]:
        """All weight matrices: of the layers, and of the linear connection where there is one, of every network."""
        if isinstance(self.module_, Ensemble):
            return [weight for member in self._members() for weight in member._weights]
        return [*self.coefs_, *([] if self._skip is None else [weight_of(self._skip)])]

    @property
    def coefs_(self) -> list[Any]:
        """Weight matrix of each layer."""
        return [weight_of(layer) for layer in self._linears]

    @property
    def intercepts_(self) -> list[Array]:
        """Bias of each layer."""
        return [_read_only(layer.bias) for layer in self._linears]

    @property
    def n_iter_(self) -> int:
        """Number of epochs trained, of the member that was trained longest."""
        return max(len(member.history_) for member in self._members())

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of each epoch."""
        return [record["loss"] for record in self.history_]

    @property
    def validation_scores_(self) -> list[float] | None:
        """Validation score of each epoch."""
        if not all("validation_score" in record for record in self.history_):
            return None  # no validation, or passes of partial_fit, which have none
        return [record["validation_score"] for record in self.history_]

    @property
    def best_validation_score_(self) -> float | None:
        """Validation score of the epoch that was kept."""
        scores = self.validation_scores_
        return scores[self.best_iter_ - 1] if scores and self.best_iter_ else None

    @property
    def n_nonzero_(self) -> int:
        """Number of weights that are not exactly zero."""
        return int(sum(w.nnz if sparse.issparse(w) else np.count_nonzero(w) for w in self._weights))

    @property
    def sparsity_(self) -> float:
        """Share of the weights that are exactly zero."""
        n_weights = sum(int(prod(weight.shape)) for weight in self._weights)
        return 1.0 - self.n_nonzero_ / n_weights if n_weights else 0.0

    # Without the weights that are gone ------------------------------------------------------------------------

    def prune(self) -> Self:
        """Return a smaller estimator with the same predictions, without features and hidden units that have no say.

        Its network is dense and takes the same ``X``, of which it reads the features that it needs: ``module_``,
        ``coefs_`` and ``intercepts_`` are those of the smaller layers.  Parameters stay, so that a clone of it is
        fitted from the start; it cannot be trained further.  This estimator is left as it is.

        Returns
        -------
        pruned : object
            A fitted estimator of the same class.

        Notes
        -----
        A hidden unit without weights into it is a constant, which the biases of the next layer take over.  Under
        ``normalization='layer'`` the units of a layer depend on one another, and only features leave.
        """
        check_is_fitted(self)
        pruned = copy(self)
        if isinstance(self.module_, Ensemble):
            pruned._gather([member.prune() for member in self._members()])
        else:
            pruned.module_ = prune(with_linears(self._network, to_dense))
            pruned.__dict__.pop("_passes", None)
        return pruned

    # Only once fitted: scikit-learn takes what has this before for a linear model, with ``coef_``.
    @available_if(lambda self: self.__sklearn_is_fitted__())
    def sparsify(self) -> Self:
        """Store and multiply only the weights that are not zero.

        ``coefs_`` becomes a list of scipy's sparse arrays; memory, pickles and predictions then cost what is left.
        Worth it where most weights are zero (``sparsity_``); where whole features and units are gone, :meth:`prune`
        comes first.  To train further, call :meth:`densify` before.

        Returns
        -------
        self : object
            The estimator.
        """
        check_is_fitted(self)
        return self._change_linears(lambda layer: SparseLinear(layer) if isinstance(layer, nn.Linear) else layer)

    def densify(self) -> Self:
        """Undo :meth:`sparsify`.

        Returns
        -------
        self : object
            The estimator.
        """
        check_is_fitted(self)
        return self._change_linears(to_dense)

    def _change_linears(self, change: Callable[[nn.Module], nn.Module]) -> Self:
        if isinstance(self.module_, Ensemble):
            self._gather([copy(member)._change_linears(change) for member in self._members()])
        else:
            self.module_ = with_linears(self.module_, change)
        return self

    # Predicting -----------------------------------------------------------------------------------------------

    def _raw_predict(self, X: Any) -> Array:
        """Return the network's outputs ``(n, C)``."""
        return self._outputs(self._check_inputs(X))

    def _raw_samples(
        self, X: Any, n_samples: int | None, random_state: int | np.random.RandomState | None, least: int = 1
    ) -> Array:
        """Return the outputs ``(n_samples, n, C)`` of passes with dropout on, or of an ensemble's members in turn."""
        X, name = self._check_inputs(X), type(self).__name__
        n_networks, drops = len(self._members()), has_dropout(self.module_)
        if not drops and n_networks == 1:
            raise ValueError(
                f"{name} has one network without dropout (a pruned one has none), whose predictions do not vary. Fit "
                "with dropout or input_dropout above 0, or with n_members above 1."
            )
        if n_samples is None:  # as many from each network
            n_samples = -(-_N_SAMPLES // n_networks) * n_networks if drops else n_networks
        if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < least:
            raise ValueError(
                f"n_samples of {name} must be None or an int of at least {least}. Got {n_samples!r} instead."
            )
        if not drops and n_samples > n_networks:
            raise ValueError(
                f"n_samples of {name} must be at most {n_networks}, as there are so many networks and nothing is "
                f"dropped. Got {n_samples}. Fit with dropout above 0 or more n_members for more."
            )
        n_samples, seed = int(n_samples), seed_of(random_state)
        n_passes = min(n_samples, PASSES_AT_ONCE)
        return self._outputs(X, lambda module: ThinnedNetworks(module, n_samples, seed), n_passes)

    def _check_inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)

    def _outputs(
        self,
        X: Any,
        function_of: Callable[[nn.Module], Callable[[Tensor], Tensor]] = lambda module: module,
        n_passes: int = 1,
    ) -> Array:
        """Return for checked inputs what a function of ``(n, d)``, made of the network, gives: ``(..., n, C)``."""
        device = resolve_device(self._wanted_device, type(self).__name__, if_absent="cpu")
        check_range(X, next(self.module_.parameters()).dtype, type(self).__name__)
        module = self.module_ if device.type == "cpu" else deepcopy(self.module_).to(device)
        function = function_of(module)
        weight = next(module.parameters())
        outputs = []
        size = max(_BLOCK, _MOST_AT_ONCE // n_passes // _BLOCK * _BLOCK)
        flops = 2 * n_passes * min(X.shape[0], size) * sum(int(prod(matrix.shape)) for matrix in self._weights)
        with torch.inference_mode(), threads_for(flops):
            for start in range(0, X.shape[0], size):
                part = X[start : start + size]
                part = part.toarray() if sparse.issparse(part) else part
                part = torch.from_numpy(np.require(part, requirements=["C", "W"]))
                part = part.to(device, weight.dtype)
                # Whole blocks, so that a product never takes another path for few samples: a sample's prediction is the
                # same to the bit whatever it is predicted with.
                n_missing = -len(part) % _BLOCK
                output = function(nn.functional.pad(part, (0, 0, 0, n_missing)))
                outputs.append(output[..., : len(part), :].cpu().numpy())
        raw: Array = np.concatenate(outputs, axis=-2)
        return raw

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a trained network."""
        return "module_" in self.__dict__


def to_dense(layer: nn.Module) -> nn.Module:
    """Return a layer that holds its zeros like other weights."""
    return layer.to_dense() if isinstance(layer, SparseLinear) else layer


def weight_of(layer: nn.Linear | SparseLinear) -> Any:
    """Return the weights of a layer, ``(n_in, n_out)``, as a scipy sparse array where they are held as one."""
    if isinstance(layer, nn.Linear):
        return _read_only(layer.weight).T
    n_out, n_in = layer.weight.shape
    column, row = layer.weight.indices().numpy()
    return sparse.csr_array((layer.weight.values().numpy(), (row, column)), shape=(n_in, n_out))


def _read_only(parameter: Tensor) -> Array:
    array: Array = parameter.detach().numpy()
    array.flags.writeable = False  # it is the module's own memory
    return array
