"""A single network as a plain torch module, made from a row of the state and read back into one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklreg.engine.activations import ACTIVATIONS
from sklreg.engine.data import OutputUnits
from sklreg.engine.inputs import (
    BinLimits,
    PiecewiseLinear,
    RobustScaling,
    input_map_of,
)
from sklreg.engine.layers import BATCH_NORM_MOMENTUM, NORM_EPSILON
from sklreg.engine.layout import Layout, write_input_map


def plain_module(
    layout: Layout,
    activation: str,
    row: Tensor,
    units: OutputUnits,
    dropout: float,
    input_dropout: float,
    stochastic_depth: float = 0.0,
) -> nn.Sequential:
    """Make the torch module of one model from its row ``(1, S)`` of the state, with outputs in the target's units."""
    t = {name: layout.view(row, name)[0] for name in layout.spans}
    modules: list[nn.Module] = []
    if layout.binned is not None:
        limits = BinLimits(layout.binned)
        n_features = layout.spans["weight0"].shape[0] - len(layout.binned)
        of_bins = t["bin_start"][0], t["bin_width"][0], limits.least.to(row), limits.greatest.to(row)
        modules.append(PiecewiseLinear(torch.arange(n_features), limits.feature, *of_bins))
    for i in range(layout.n_layers):
        weight, bias = t[f"weight{i}"], t[f"bias{i}"][0]
        is_last = i == layout.n_layers - 1
        if is_last:
            weight = (weight * units.scale).to(row.dtype)
            bias = (bias * units.scale + units.offset).to(row.dtype)
        block: list[nn.Module] = [linear_of(weight.T, bias)]
        if not is_last:
            if layout.normalization:
                block.append(_plain_norm(layout.normalization, t, i))
            block.append(ACTIVATIONS[activation].module())
            if dropout:
                block.append(nn.Dropout(dropout))
            if layout.has_shortcut(i):
                block += [StochasticDepth(stochastic_depth)] if stochastic_depth else []
                block = [WithShortcut(nn.Sequential(*block))]
        modules += block
    if layout.has_skip:
        modules = [WithSkip(nn.Sequential(*modules), linear_of((t["skip"] * units.scale).to(row.dtype).T, None))]
    inputs: list[nn.Module] = []
    if layout.scales_inputs:
        inputs.append(RobustScaling(t["input_center"][0], t["input_scale"][0]))
    if input_dropout:
        inputs.append(nn.Dropout(input_dropout))
    return nn.Sequential(*inputs, *modules).eval()


class WithSkip(nn.Module):
    """A network plus a linear map of the same inputs."""

    network: nn.Sequential
    skip: nn.Module

    def __init__(self, network: nn.Sequential, skip: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both."""
        output: Tensor = self.network(x) + self.skip(x)
        return output


class WithShortcut(nn.Module):
    """Layers whose input is added to their output."""

    layers: nn.Sequential

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both."""
        output: Tensor = x + self.layers(x)
        return output


class StochasticDepth(nn.Dropout):
    """Dropout of all units of a sample together (Huang et al., 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, d)``, in training with rows of zeros."""
        return x * nn.functional.dropout(x.new_ones(*x.shape[:-1], 1), self.p, self.training)


def layers_of(module: nn.Sequential) -> tuple[list[nn.Module], nn.Module | None]:
    """Return the layers of a module made by :func:`plain_module`, from inputs to outputs, and its skip connection."""
    *before, last = module
    skip = None
    if isinstance(last, WithSkip):
        layers, skip = [*before, *last.network], last.skip
    else:
        layers = [*before, last]
    return [part for m in layers for part in (m.layers if isinstance(m, WithShortcut) else [m])], skip


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return the linear layer of copies of ``weight`` ``(n_out, n_in)`` and ``bias``."""
    # Without torch's own initialization, which would draw from its global generator.
    linear = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(linear)
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    linear.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
    return linear


def _plain_norm(normalization: str, t: dict[str, Tensor], i: int) -> nn.Module:
    scale, shift = t[f"norm_scale{i}"][0], t[f"norm_shift{i}"][0]
    norm: nn.BatchNorm1d | nn.LayerNorm
    if normalization == "batch":
        norm = nn.BatchNorm1d(len(scale), eps=NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM, dtype=scale.dtype)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(t[f"running_mean{i}"][0])
        norm.running_var.copy_(t[f"running_var{i}"][0])
    else:
        norm = nn.LayerNorm(len(scale), eps=NORM_EPSILON, dtype=scale.dtype)
    with torch.no_grad():
        norm.weight.copy_(scale)
        norm.bias.copy_(shift)
    return norm


def row_of_module(layout: Layout, module: nn.Sequential, units: OutputUnits, dtype: torch.dtype) -> Tensor:
    """Return the state ``(1, S)`` of a module made by :func:`plain_module`: training goes on from there."""
    state = torch.zeros(1, layout.n_state, dtype=dtype)
    layers, skip = layers_of(module)
    linears = [m for m in layers if isinstance(m, nn.Linear)]
    norms = [m for m in layers if isinstance(m, (nn.BatchNorm1d, nn.LayerNorm))]
    with torch.no_grad():
        write_input_map(layout, state, input_map_of(layers))
        if isinstance(skip, nn.Linear):
            layout.view(state, "skip").copy_(skip.weight.T / units.scale)
        for i, linear in enumerate(linears):
            weight, bias = linear.weight.detach().T, linear.bias.detach()
            if i == len(linears) - 1:
                weight, bias = weight / units.scale, (bias - units.offset) / units.scale
            layout.view(state, f"weight{i}").copy_(weight)
            layout.view(state, f"bias{i}").copy_(bias)
        for i, norm in enumerate(norms):
            layout.view(state, f"norm_scale{i}").copy_(norm.weight)
            layout.view(state, f"norm_shift{i}").copy_(norm.bias)
            if isinstance(norm, nn.BatchNorm1d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                layout.view(state, f"running_mean{i}").copy_(norm.running_mean)
                layout.view(state, f"running_var{i}").copy_(norm.running_var)
    return state
