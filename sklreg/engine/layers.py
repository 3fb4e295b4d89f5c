"""Networks: ``K`` of one architecture, as layers over the views of one flat state.

Shapes are written ``(K, n, d)``: model, sample, feature.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sklreg.engine.activations import ACTIVATIONS, activation_layer
from sklreg.engine.data import Buffer
from sklreg.engine.inputs import (
    BinLimits,
    positions,
    scale_and_clip,
)
from sklreg.engine.layout import Layout
from sklreg.engine.streams import Streams

_LONG_RUN = 3  # rows to a mask, from where on a mask of their own for each run is cheaper than one for every row
NORM_EPSILON = 1e-5  # of both normalizations, as in torch
BATCH_NORM_MOMENTUM = 0.1  # torch's convention: the share of the new batch; 0.9 of the old average is kept


class Mask(NamedTuple):
    """What multiplies the rows from ``start`` to ``stop``: ``(n, d)`` for all of them, or ``(rows, n, d)``."""

    start: int
    stop: int
    values: Tensor


class DropoutNoise:
    """The 16-bit noise of dropout for every source of draws, and each row's rate.

    A number is dropped where its noise, shared by all rows of a source, falls below the row's own rate: of two rows,
    the one that drops more drops all that the other does.

    ``rate`` is ``(K,)``, and ``members`` the source of draws of each row.
    """

    def __init__(self, rate: Tensor, streams: list[Streams], members: list[int], purpose: str) -> None:
        self.draws = [getattr(stream, purpose).draw for stream in streams]
        steps = (rate.double() * 2**16).round().clamp(max=2**16 - 1)  # rates to 1/65,536
        scale = (1 / (1 - steps / 2**16)).to(rate.dtype)
        thresholds, scales = (steps - 2**15).int().tolist(), scale.tolist()
        # Neighbours with the same source and rate have the same mask.
        self.runs: list[tuple[int, int, int, int, float]] = []  # first row, last, source, threshold, scale
        for (source, threshold, factor), rows in groupby(
            range(len(members)), key=lambda k: (members[k], thresholds[k], scales[k])
        ):
            first, *others = rows
            self.runs.append((first, (others or [first])[-1] + 1, source, threshold, factor))
        self.has_long_runs = len(members) >= _LONG_RUN * len(self.runs)
        self.members = torch.tensor(members, device=rate.device) if len(streams) > 1 else None
        self.threshold = (steps - 2**15).to(torch.int16)[:, None, None]
        self.scale = scale[:, None, None]

    def masks(self, x: Tensor, sizes: list[int]) -> list[Mask]:
        """Draw for ``x`` ``(K, n, d)`` what multiplies it: 0 where it is dropped, elsewhere ``1 / (1 - rate)``.

        ``sizes`` says how many of the ``n`` samples each source has.
        """
        n, d = x.shape[1:]
        noise = [
            F.pad(draw(size, d), (0, 0, 0, n - size)) if size < n else draw(size, d)
            for draw, size in zip(self.draws, sizes, strict=True)
        ]
        if self.has_long_runs:
            return [
                Mask(start, stop, _mask(noise[source], threshold, scale, x.dtype))
                for start, stop, source, threshold, scale in self.runs
                if threshold > -(2**15)
            ]
        every = noise[0][None] if self.members is None else torch.stack(noise).index_select(0, self.members)
        return [Mask(0, len(x), torch.where(every >= self.threshold, self.scale, 0))]


def _mask(noise: Tensor, threshold: int, scale: float, dtype: torch.dtype) -> Tensor:
    return (noise >= threshold).to(dtype).mul_(scale)


class TrainingMode(NamedTuple):
    """What a forward pass needs in training and not in prediction."""

    input_dropout: DropoutNoise | None  # None where no row drops anything
    dropout: DropoutNoise | None
    sizes: list[int]  # samples in the batch of each source of draws
    weight: Tensor | None  # (K, n) sample weights, for the statistics of batch normalization
    n_steps: int  # steps taken before this one
    stochastic_depth: DropoutNoise | None = None


class Layer(Protocol):
    """One of a network's steps: maps ``(K, n, d)`` forward, and the gradient of what comes after it back.

    A forward pass keeps what the backward pass after it needs.  Parameters' gradients are written where the constructor
    was told.  By hand instead of by torch's autograd: for networks of this size that takes half the time.
    """

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        """Return the output; ``mode`` is ``None`` when predicting."""

    def backward(self, gradient: Tensor) -> Tensor:
        """Take the gradient with respect to the last output; return that with respect to the input."""


class InputScaling:
    """Inputs scaled and smoothly clipped; no gradient goes so far back."""

    def __init__(self, layout: Layout, state: Tensor) -> None:
        self.center, self.scale = layout.view(state, "input_center"), layout.view(state, "input_scale")

    def forward(self, x: Tensor) -> Tensor:
        return scale_and_clip(x, self.center, self.scale)


class InputBins:
    """Inputs followed by their positions in bins; no gradient goes so far back."""

    def __init__(self, layout: Layout, state: Tensor) -> None:
        assert layout.binned is not None
        self.start, self.width = layout.view(state, "bin_start"), layout.view(state, "bin_width")
        limits = BinLimits(layout.binned)
        self.feature = limits.feature.to(state.device)
        self.limits = limits.least.to(state), limits.greatest.to(state)

    def forward(self, x: Tensor) -> Tensor:
        in_bins = positions(x.index_select(2, self.feature), self.start, self.width, *self.limits)
        return torch.cat([x, in_bins], dim=2)


class Linear:
    """``K`` linear layers in one batched product."""

    def __init__(self, layout: Layout, i: int, state: Tensor, gradient: Tensor) -> None:
        self.weight, self.bias = layout.view(state, f"weight{i}"), layout.view(state, f"bias{i}")
        self.weight_gradient = layout.view(gradient, f"weight{i}")
        self.bias_gradient = layout.view(gradient, f"bias{i}")
        self.transposed = self.weight.transpose(1, 2)
        self.is_first = i == 0
        # Batch normalization takes every bias off again.  What comes as its gradient is rounding, of which Adam would
        # make steps of full length.
        self.has_bias_gradient = layout.normalization != "batch"
        self.output, self.product, self.input_gradient = Buffer(), Buffer(), Buffer()

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        self.x = x
        output = self.output.shaped(x, *x.shape[:2], self.weight.shape[2])
        # Faster than torch.baddbmm, which begins with a copy of the bias for every sample.
        return torch.bmm(x, self.weight, out=output).add_(self.bias)  # (K, n, d_out)

    def backward(self, gradient: Tensor) -> Tensor:
        _write_product(self.x.transpose(1, 2), gradient, self.weight_gradient, self.product)
        if self.has_bias_gradient:
            torch.sum(gradient, 1, keepdim=True, out=self.bias_gradient)
        if self.is_first:  # inputs are not trained
            return gradient
        return torch.bmm(gradient, self.transposed, out=self.input_gradient.shaped(self.x, *self.x.shape))


class OutputLinear:
    """``K`` linear layers with few outputs, held and multiplied the other way round.

    Products with two columns take several times as long as those with two rows.
    """

    def __init__(self, layout: Layout, i: int, state: Tensor, gradient: Tensor) -> None:
        self.weight, self.bias = (layout.view(state, f"{name}{i}").transpose(1, 2) for name in ("weight", "bias"))
        self.weight_gradient, self.bias_gradient = (
            layout.view(gradient, f"{name}{i}").transpose(1, 2) for name in ("weight", "bias")
        )
        self.is_first = i == 0
        self.product, self.input_gradient = Buffer(), Buffer()

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        self.x = x
        weight, bias = self.weight, self.bias  # (K, C, d_in) and (K, C, 1)
        n_outputs = weight.shape[1]
        if n_outputs == 1:
            # Twice the one row: for a single row and a single model the library below would take another path, with
            # another rounding, than for several models.
            weight, bias = torch.cat([weight, weight], 1), bias.expand(-1, 2, -1)
        return torch.baddbmm(bias, weight, x.transpose(1, 2))[:, :n_outputs].transpose(1, 2)  # (K, n, C)

    def backward(self, gradient: Tensor) -> Tensor:
        gradient_by_output = gradient.transpose(1, 2)
        _write_product(gradient_by_output, self.x, self.weight_gradient, self.product)
        torch.sum(gradient_by_output, 2, keepdim=True, out=self.bias_gradient)
        if self.is_first:
            return gradient
        product = torch.mul if self.weight.shape[1] == 1 else torch.bmm
        return product(gradient, self.weight, out=self.input_gradient.shaped(self.x, *self.x.shape))


class Skip:
    """Connections straight from the inputs to the outputs; like :class:`OutputLinear`, but for the bias."""

    def __init__(self, layout: Layout, state: Tensor, gradient: Tensor) -> None:
        self.weight, self.weight_gradient = (layout.view(t, "skip").transpose(1, 2) for t in (state, gradient))
        self.product = Buffer()

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        n_outputs = self.weight.shape[1]
        weight = self.weight.repeat(1, 2, 1) if n_outputs == 1 else self.weight  # as in OutputLinear
        return torch.bmm(weight, x.transpose(1, 2))[:, :n_outputs].transpose(1, 2)  # (K, n, C)

    def backward(self, gradient: Tensor) -> None:
        _write_product(gradient.transpose(1, 2), self.x, self.weight_gradient, self.product)


def _write_product(left: Tensor, right: Tensor, to: Tensor, buffer: Buffer) -> None:
    """Write a batched product to a view of the gradient."""
    if len(to) == 1:
        torch.bmm(left, right, out=to)
    else:  # rows that are apart in memory would be multiplied one by one
        to.copy_(torch.bmm(left, right, out=buffer.shaped(right, *to.shape)))


class Dropout:
    """Dropout of the inputs or of hidden units (Srivastava et al., 2014), inverted: off when predicting.

    With ``whole`` all units of a sample are dropped together.
    """

    def __init__(self, purpose: str, in_place: bool, whole: bool = False) -> None:
        self.purpose, self.in_place, self.whole = purpose, in_place, whole
        self.output = Buffer()
        self.masks: list[Mask] = []

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        self.masks = []
        noise: DropoutNoise | None = None if mode is None else getattr(mode, self.purpose)
        if mode is None or noise is None:
            return x
        self.masks = noise.masks(x[..., :1] if self.whole else x, mode.sizes)
        return self._multiply(x if self.in_place else self.output.shaped(x, *x.shape).copy_(x))

    def backward(self, gradient: Tensor) -> Tensor:
        return self._multiply(gradient)

    def _multiply(self, x: Tensor) -> Tensor:
        for start, stop, values in self.masks:
            x[start:stop].mul_(values)
        return x


class Shortcut:
    """Layers whose input is added to their output (He et al., 2016)."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self.output, self.gradient = Buffer(), Buffer()

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        y = x
        for layer in self.layers:
            y = layer.forward(y, mode)
        return torch.add(x, y, out=self.output.shaped(x, *x.shape))

    def backward(self, gradient: Tensor) -> Tensor:
        around = self.gradient.shaped(gradient, *gradient.shape).copy_(gradient)  # layers may write into theirs
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return around.add_(gradient)


class BatchNorm:
    """Normalization of each feature over the samples of a batch (Ioffe and Szegedy, 2015)."""

    def __init__(self, layout: Layout, i: int, state: Tensor, gradient: Tensor) -> None:
        self.scale, self.shift = layout.view(state, f"norm_scale{i}"), layout.view(state, f"norm_shift{i}")
        self.running_mean, self.running_var = (
            layout.view(state, f"running_mean{i}"),
            layout.view(state, f"running_var{i}"),
        )
        self.scale_gradient = layout.view(gradient, f"norm_scale{i}")
        self.shift_gradient = layout.view(gradient, f"norm_shift{i}")

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        if mode is None:
            mean, var = self.running_mean, self.running_var
        else:
            mean, var, self.share = batch_statistics(x, mode.weight)
            # A plain average over the first batches, until the usual share of a new one is reached: after a short
            # training nothing is left of the arbitrary values that the averages start from.
            new_share = max(BATCH_NORM_MOMENTUM, 1 / (mode.n_steps + 1))
            self.running_mean.lerp_(mean, new_share)
            self.running_var.lerp_(var, new_share)
        self.inverse_std = torch.rsqrt(var + NORM_EPSILON)
        self.normalized = (x - mean).mul_(self.inverse_std)
        return torch.addcmul(self.shift, self.normalized, self.scale)

    def backward(self, gradient: Tensor) -> Tensor:
        torch.sum(gradient * self.normalized, 1, keepdim=True, out=self.scale_gradient)
        torch.sum(gradient, 1, keepdim=True, out=self.shift_gradient)
        # Mean and variance depend on every sample by its share: both of its paths are taken off.  scale_gradient and
        # shift_gradient are the sums over samples that this needs.
        through_statistics = torch.addcmul(self.shift_gradient, self.normalized, self.scale_gradient).mul_(self.share)
        return (gradient - through_statistics).mul_(self.inverse_std * self.scale)


class LayerNorm:
    """Normalization of each sample over its features (Ba et al., 2016)."""

    def __init__(self, layout: Layout, i: int, state: Tensor, gradient: Tensor) -> None:
        self.scale, self.shift = layout.view(state, f"norm_scale{i}"), layout.view(state, f"norm_shift{i}")
        self.scale_gradient = layout.view(gradient, f"norm_scale{i}")
        self.shift_gradient = layout.view(gradient, f"norm_shift{i}")

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        self.x = x
        self.normalized, self.mean, self.inverse_std = torch.native_layer_norm(
            x, x.shape[-1:], None, None, NORM_EPSILON
        )
        return torch.addcmul(self.shift, self.normalized, self.scale)

    def backward(self, gradient: Tensor) -> Tensor:
        torch.sum(gradient * self.normalized, 1, keepdim=True, out=self.scale_gradient)
        torch.sum(gradient, 1, keepdim=True, out=self.shift_gradient)
        by_input: Tensor = torch.ops.aten.native_layer_norm_backward.default(
            gradient * self.scale,
            self.x,
            self.x.shape[-1:],
            self.mean,
            self.inverse_std,
            None,
            None,
            [True, False, False],
        )[0]
        return by_input


def batch_statistics(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | float]:
    """Return mean and (biased) variance over the samples of ``x``, each ``(K, 1, d)``, and each sample's share in them.

    Weighted by ``weight`` ``(K, n)``, so that a sample of weight two counts as two samples also here.
    """
    if weight is None:
        var, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        return mean, var, 1 / x.shape[1]
    share = (weight / weight.sum(-1, keepdim=True))[:, :, None]  # (K, n, 1)
    mean = (share * x).sum(1, keepdim=True)
    return mean, (share * (x - mean).square()).sum(1, keepdim=True), share


class Network:
    """``K`` multilayer perceptrons over the views of one state: linear, normalization, activation, dropout.

    A backward pass writes into ``gradient`` ``(K, P)``, which networks that only predict may share with another.
    """

    def __init__(self, layout: Layout, activation: str, state: Tensor, gradient: Tensor | None = None) -> None:
        self.gradient = torch.zeros_like(state[:, : layout.n_params]) if gradient is None else gradient
        self.scaling = InputScaling(layout, state) if layout.scales_inputs else None
        self.input_dropout = Dropout("input_dropout", in_place=False)
        self.bins = InputBins(layout, state) if layout.binned is not None else None
        self.layers: list[Layer] = []
        for i in range(layout.n_layers - 1):
            block: list[Layer] = [Linear(layout, i, state, self.gradient)]
            if layout.normalization == "batch":
                block.append(BatchNorm(layout, i, state, self.gradient))
            elif layout.normalization == "layer":
                block.append(LayerNorm(layout, i, state, self.gradient))
            in_place = not ACTIVATIONS[activation].is_of_output
            block += [activation_layer(activation, state), Dropout("dropout", in_place)]
            if layout.has_shortcut(i):
                block = [Shortcut([*block, Dropout("stochastic_depth", in_place, whole=True)])]
            self.layers += block
        self.layers.append(OutputLinear(layout, layout.n_layers - 1, state, self.gradient))
        self.skip = Skip(layout, state, self.gradient) if layout.has_skip else None

    def forward(self, x: Tensor, mode: TrainingMode | None = None) -> Tensor:
        """Return the outputs ``(K, n, C)`` for inputs ``(K, n, d)``; ``mode`` is ``None`` when predicting."""
        if self.scaling is not None:
            x = self.scaling.forward(x)
        x = inputs = self.input_dropout.forward(x, mode)
        if self.bins is not None:
            x = self.bins.forward(x)
        for layer in self.layers:
            x = layer.forward(x, mode)
        # In place: rows that followed one another in memory without a gap would be cut into vectors elsewhere.
        return x if self.skip is None else x.add_(self.skip.forward(inputs))

    def backward(self, gradient: Tensor) -> None:
        """Fill in the gradient of the parameters, from that of the outputs of the last forward pass."""
        if self.skip is not None:
            self.skip.backward(gradient)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
