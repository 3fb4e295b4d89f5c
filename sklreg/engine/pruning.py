"""Weights that are gone pay off: smaller dense networks, and sparse ones, that predict what the trained one does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from sklreg.engine.inputs import PiecewiseLinear, RobustScaling
from sklreg.engine.plain import WithShortcut, WithSkip, layers_of, linear_of


class SelectInputs(nn.Module):
    """Pass on the inputs of ``index``: the others are not used by what follows."""

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, len(index))`` of ``(n, n_features)``."""
        return x.index_select(1, self.index)


class SparseLinear(nn.Module):
    """A linear layer that stores and multiplies only the weights that are not zero."""

    weight: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().to_sparse().coalesce())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return what the dense layer does."""
        output: Tensor = torch.sparse.mm(self.weight, x.T).T
        return output if self.bias is None else output + self.bias

    def to_dense(self) -> nn.Linear:
        """Return the layer with all its zeros."""
        return linear_of(self.weight.to_dense(), self.bias)


def with_linears(module: nn.Sequential, change: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    """Return a network with the same layers but what ``change`` makes of each."""

    def changed(part: nn.Module) -> nn.Module:
        if isinstance(part, nn.Sequential):
            return nn.Sequential(*map(changed, part))
        if isinstance(part, WithShortcut):
            return WithShortcut(nn.Sequential(*map(changed, part.layers)))
        if isinstance(part, WithSkip):
            return WithSkip(nn.Sequential(*map(changed, part.network)), change(part.skip))
        return change(part)

    return nn.Sequential(*map(changed, module)).eval()


@torch.no_grad()
def prune(module: nn.Sequential) -> nn.Sequential:
    """Return the network without the inputs and hidden units that have no say, with the same predictions.

    A unit without weights into it says the same for every sample: what it says goes into the biases of the next layer.
    A unit or an input without weights out of it says nothing.  The statistics of a layer normalization are over all
    units of a layer, so that its units stay, and so do those of layers that a shortcut adds.
    """
    layers, skip = layers_of(module)
    kept = next((layer.index for layer in layers if isinstance(layer, SelectInputs)), None)
    blocks = _blocks_with_a_say(module)
    is_used = _into(blocks[0], skip)
    blocks[0].weight = blocks[0].weight[:, is_used]
    if any(not len(block.bias) for block in blocks) and not any(block.is_fixed for block in blocks):
        # Nothing comes through: the last bias is all there is.
        blocks = [blocks[-1]]
        blocks[0].weight = blocks[0].weight.new_zeros(len(blocks[0].bias), int(is_used.sum()))
    inputs = torch.nonzero(is_used)[:, 0]
    of_inputs: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, PiecewiseLinear):
            inputs, bins = layer.of_columns(is_used)
            of_inputs = [bins]
    of_inputs = [*(layer.of_features(inputs) for layer in layers if isinstance(layer, RobustScaling)), *of_inputs]
    pruned: list[nn.Module] = [layer for block in blocks for layer in block.to_layers()]
    if isinstance(skip, nn.Linear):
        pruned = [WithSkip(nn.Sequential(*pruned), linear_of(skip.weight[:, is_used], None))]
    return nn.Sequential(SelectInputs(inputs if kept is None else kept[inputs]), *of_inputs, *pruned).eval()


@torch.no_grad()
def has_a_say(module: nn.Sequential) -> Tensor:
    """Return which inputs of the first layer any output depends on: those that :func:`prune` keeps, ``(n_in,)``."""
    return _into(_blocks_with_a_say(module)[0], layers_of(module)[1])


def _blocks_with_a_say(module: nn.Sequential) -> list[_Block]:
    """Return the blocks of a network without the hidden units that have no say."""
    blocks = _Block.of(module)
    for block, following in pairwise(blocks):
        following.bias += following.weight[:, block.is_constant] @ block.output_of_nothing()[block.is_constant]
        following.weight[:, block.is_constant] = 0
    for following, block in pairwise(reversed(blocks)):
        if not block.is_fixed:
            says_something = (following.weight != 0).any(0)
            block.keep(says_something)
            following.weight = following.weight[:, says_something]
    return blocks


def _into(first: _Block, skip: nn.Module | None) -> Tensor:
    """Return which inputs have weights into the first block or the linear connection."""
    is_used = (first.weight != 0).any(0)
    return is_used | (skip.weight != 0).any(0) if isinstance(skip, nn.Linear) else is_used


class _Block:
    """A linear layer and what is done to its outputs one by one."""

    def __init__(self, linear: nn.Linear) -> None:
        self.weight, self.bias = linear.weight.detach().clone(), linear.bias.detach().clone()
        self.norm: nn.BatchNorm1d | nn.LayerNorm | None = None
        self.others: list[nn.Module] = []
        self.has_shortcut = False  # around it
        self.is_added_to = False  # what comes out is, or is added to, what a shortcut leads past other units

    @classmethod
    def of(cls, module: nn.Module) -> list[_Block]:
        """Cut a network into blocks; dropout, which does nothing when predicting, is left out."""
        blocks: list[_Block] = []
        for part in module.children():
            if isinstance(part, nn.Linear):
                blocks.append(cls(part))
            elif isinstance(part, (nn.BatchNorm1d, nn.LayerNorm)):
                blocks[-1].norm = part
            elif isinstance(part, WithSkip):
                blocks += cls.of(part.network)
            elif isinstance(part, WithShortcut):
                (block,) = cls.of(part.layers)
                block.has_shortcut = block.is_added_to = blocks[-1].is_added_to = True
                blocks.append(block)
            elif not isinstance(part, (nn.Dropout, SelectInputs, RobustScaling, PiecewiseLinear)):
                blocks[-1].others.append(part)
        return blocks

    @property
    def is_fixed(self) -> bool:
        """Whether every unit matters to the others."""
        return self.is_added_to or isinstance(self.norm, nn.LayerNorm)

    @property
    def is_constant(self) -> Tensor:
        """Which units say the same for every sample."""
        nothing_comes_in = (self.weight == 0).all(1)
        return torch.zeros_like(nothing_comes_in) if self.is_fixed else nothing_comes_in

    def output_of_nothing(self) -> Tensor:
        """Return what the units say where nothing comes in."""
        output = self.bias[None]
        for layer in [*([] if self.norm is None else [self.norm]), *self.others]:
            output = layer(output)
        return output[0]

    def keep(self, units: Tensor) -> None:
        """Keep only the ``units``."""
        self.weight, self.bias = self.weight[units], self.bias[units]
        if isinstance(self.norm, nn.BatchNorm1d):
            norm, self.norm = self.norm, nn.BatchNorm1d(int(units.sum()), self.norm.eps, dtype=self.bias.dtype).eval()
            for name, value in norm.state_dict().items():
                getattr(self.norm, name).copy_(value[units] if value.ndim else value)

    def to_layers(self) -> list[nn.Module]:
        """Return the layers of the block."""
        layers = [linear_of(self.weight, self.bias), *([] if self.norm is None else [self.norm]), *self.others]
        return [WithShortcut(nn.Sequential(*layers))] if self.has_shortcut else layers
