"""Networks: ``K`` of one architecture as views of one flat state, and a single one as a plain torch module.

Shapes are written ``(K, n, d)``: model, sample, feature.  A model is a row of the state ``(K, S)``: its weight
matrices, then its biases and normalization parameters, then the running statistics of batch normalization.  Whatever
concerns all of a model's numbers (an optimizer's pass, a copy of the best epoch, a model that leaves) is one operation
on the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklreg.engine.data import Buffer, filled_up, part, whole_registers
from sklreg.engine.inputs import (
    AS_GIVEN,
    BinLimits,
    InputMap,
    PiecewiseLinear,
    RobustScaling,
    input_map_of,
    positions,
    scale_and_clip,
)
from sklreg.engine.penalties import Matrix, Parts
from sklreg.engine.streams import Streams

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
}
_LONG_RUN = 3  # rows to a mask, from where on a mask of their own for each run is cheaper than one for every row
_EPSILON = 1e-5  # of both normalizations, as in torch
_BATCH_NORM_MOMENTUM = 0.1  # torch's convention: the share of the new batch; 0.9 of the old average is kept


class OutputUnits(NamedTuple):
    """The units in which a network is trained: its target is ``(target - offset) / scale``, each ``(C,)``."""

    scale: Tensor
    offset: Tensor


class Span(NamedTuple):
    """The columns of one tensor in the flat state, and its shape for one model."""

    start: int
    stop: int
    shape: tuple[int, int]
    is_transposed: bool  # in memory


class Layout:
    """Where each tensor of a model lies in its row of the flat state."""

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: tuple[int, ...],
        n_outputs: int,
        normalization: str | None,
        has_skip: bool = False,
        residual: bool = False,
        scales_inputs: bool = False,
        binned: tuple[int, ...] | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.normalization = normalization
        self.has_skip = has_skip
        self.residual = residual
        self.scales_inputs = scales_inputs
        self.binned = binned
        self.spans: dict[str, Span] = {}
        self._end = 0
        units = [n_features + len(binned or ()), *hidden_layer_sizes, n_outputs]
        for i, (n_in, n_out) in enumerate(pairwise(units)):
            self._add(f"weight{i}", n_in, n_out, is_transposed=i == len(hidden_layer_sizes))
        if has_skip:
            self._add("skip", n_features, n_outputs, is_transposed=True)
        self.n_weights = self._end
        for i, n_out in enumerate(units[1:]):
            self._add(f"bias{i}", 1, n_out)
        self._end_of_biases = self._end
        hidden = list(enumerate(hidden_layer_sizes)) if normalization else []
        for i, n_units in hidden:
            self._add(f"norm_scale{i}", 1, n_units)
            self._add(f"norm_shift{i}", 1, n_units)
        self.n_params = self._end
        if normalization == "batch":
            for i, n_units in hidden:
                self._add(f"running_mean{i}", 1, n_units)
                self._add(f"running_var{i}", 1, n_units)
        if scales_inputs:
            self._add("input_center", 1, n_features)
            self._add("input_scale", 1, n_features)
        if binned is not None:
            self._add("bin_start", 1, len(binned))
            self._add("bin_width", 1, len(binned))
        self.n_state = self._end

    @property
    def n_layers(self) -> int:
        """Number of linear layers."""
        return len(self.hidden_layer_sizes) + 1

    def has_shortcut(self, i: int) -> bool:
        """Return whether what goes into hidden layer ``i`` is added to what comes out of it."""
        return self.residual and i > 0 and self.hidden_layer_sizes[i] == self.hidden_layer_sizes[i - 1]

    def _add(self, name: str, n_rows: int, n_columns: int, is_transposed: bool = False) -> None:
        # Every tensor starts at a multiple of 64 numbers, and so does every row.  Products then meet the same memory
        # alignment, and elementwise passes the same cut into vector registers, in every row: a row's result does not
        # depend on its place, to the bit.
        start, size = self._end, n_rows * n_columns
        self.spans[name] = Span(start, start + size, (n_rows, n_columns), is_transposed)
        self._end = start + whole_registers(size)

    def view(self, state: Tensor, name: str) -> Tensor:
        """Return one tensor of all models, ``(K, *shape)``, sharing memory with the state."""
        start, _, (n_rows, n_columns), is_transposed = self.spans[name]
        assert start + n_rows * n_columns <= state.shape[1]
        by_model, by_column = state.stride()
        strides = (by_column, n_rows * by_column) if is_transposed else (n_columns * by_column, by_column)
        # One operation, where slicing, shaping and transposing are three: this is called often.
        return state.as_strided(
            (len(state), n_rows, n_columns), (by_model, *strides), state.storage_offset() + start * by_column
        )

    def parts(self) -> Parts:
        """Return where weights and biases lie, for an optimizer."""
        names = [name for name, span in self.spans.items() if span.start < self.n_weights]
        ends = [*(self.spans[name].start for name in names[1:]), self.n_weights]
        matrices = [
            Matrix(slice(span.start, end), partial(self.view, name=name), span.shape[0])
            for name, end in zip(names, ends, strict=True)
            for span in [self.spans[name]]
        ]
        return Parts(matrices, slice(self.n_weights, self._end_of_biases))

    def parameter_names(self) -> list[str]:
        """Return the names of what is trained."""
        return [name for name, span in self.spans.items() if span.stop <= self.n_params]


def initial_row(
    layout: Layout, activation: str, initial_output: Tensor, streams: Streams, input_map: InputMap = AS_GIVEN
) -> Tensor:
    """Draw the state of one new model, ``(1, S)``.

    Hidden layers are drawn uniform, as He et al. (2015), Glorot and Bengio (2010) or LeCun et al. (1998) scale them for
    the activation.  The output layer starts at zero and its bias at ``initial_output``: an untrained model predicts
    what is known without inputs.
    """
    state = torch.zeros(1, layout.n_state, dtype=initial_output.dtype)
    for i in range(layout.n_layers - 1):
        weight = layout.view(state, f"weight{i}")
        n_in, n_out = weight.shape[1:]
        bound = _initial_bound(activation, n_in, n_out)
        weight.copy_(torch.from_numpy(streams.init.uniform(-bound, bound, (n_in, n_out))))
        if layout.normalization:
            layout.view(state, f"norm_scale{i}").fill_(1)
        if layout.normalization == "batch":
            layout.view(state, f"running_var{i}").fill_(1)
    layout.view(state, f"bias{layout.n_layers - 1}").copy_(initial_output)
    _write_input_map(layout, state, input_map)
    return state


def _write_input_map(layout: Layout, state: Tensor, input_map: InputMap) -> None:
    scale, bins = input_map
    if scale is not None:
        layout.view(state, "input_center").copy_(scale.center)
        layout.view(state, "input_scale").copy_(scale.scale)
    if bins is not None:
        layout.view(state, "bin_start").copy_(bins.start)
        layout.view(state, "bin_width").copy_(bins.width)


def _initial_bound(activation: str, n_in: int, n_out: int) -> float:
    """Return the greatest weight of a new layer."""
    if activation in ("tanh", "logistic", "identity"):
        return math.sqrt(6 / (n_in + n_out))
    if activation in ("selu", "gelu", "silu", "mish"):
        # A variance of 1 / n_in is what units of selu keep; for the smooth ones, benchmarks/quality.py prefers it.
        return math.sqrt(3 / n_in)
    return math.sqrt(6 / n_in)


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


class Activation:
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self.function, self.derivative = _ELEMENTWISE[name]
        self.output = Buffer()

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        self.x = x
        self.y = self.function(x, self.output)
        return self.y

    def backward(self, gradient: Tensor) -> Tensor:
        return self.derivative(gradient, self.x, self.y)


class PaddedActivation(Activation):
    """An elementwise function on memory that is filled up to whole vector registers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.input, self.output_gradient = Buffer(), Buffer()

    def forward(self, x: Tensor, mode: TrainingMode | None) -> Tensor:
        return part(super().forward(filled_up(x, self.input), mode), x)

    def backward(self, gradient: Tensor) -> Tensor:
        return part(super().backward(filled_up(gradient, self.output_gradient)), gradient)


class DoubleGelu(PaddedActivation):
    """The gelu of double precision, for which torch's own kernels take twice as long as the functions in it.

    A forward pass leaves the derivative where the input was.
    """

    def __init__(self) -> None:
        super().__init__("gelu")
        self.function, self.derivative = self._value, lambda gradient, derivative, y: gradient.mul_(derivative)
        self.scratch = Buffer()

    def _value(self, x: Tensor, buffer: Buffer) -> Tensor:
        y = buffer.shaped(x, *x.shape)
        size = _NUMBERS_IN_CACHE * torch.get_num_threads()
        if x.numel() <= size:
            _gelu_and_derivative(x, y, self.scratch.shaped(x, *x.shape))
            return y
        scratch = self.scratch.shaped(x, size)
        for x_part, y_part in zip(x.view(-1).split(size), y.view(-1).split(size), strict=True):
            _gelu_and_derivative(x_part, y_part, scratch[: len(x_part)])
        return y


def _gelu_and_derivative(x: Tensor, y: Tensor, scratch: Tensor) -> None:
    """Write the gelu of ``x`` to ``y``, and its derivative to ``x``."""
    torch.mul(x, -math.sqrt(0.5), out=y)
    torch.square(y, out=scratch).neg_().exp_()  # the normal density times the square root of 2 pi
    y.erfc_().mul_(0.5)  # the distribution function
    torch.add(y, scratch.mul_(x), alpha=1 / math.sqrt(2 * math.pi), out=scratch)
    y.mul_(x)
    x.copy_(scratch)


_NUMBERS_IN_CACHE = 2**15  # of each thread, over which several passes go

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # as in torch
_LEAKY_RELU_SLOPE = 0.01  # torch's default

_aten = torch.ops.aten  # the kernels that autograd itself calls
# In place where nobody asks for the input again, else into the buffer; gradients in place where there is such a kernel.
_ELEMENTWISE: dict[str, tuple[Callable[[Tensor, Buffer], Tensor], Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "relu": (
        lambda x, buffer: x.relu_(),
        lambda g, x, y: _aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
    ),
    "tanh": (lambda x, buffer: x.tanh_(), lambda g, x, y: _aten.tanh_backward.grad_input(g, y, grad_input=g)),
    "logistic": (lambda x, buffer: x.sigmoid_(), lambda g, x, y: _aten.sigmoid_backward.grad_input(g, y, grad_input=g)),
    "identity": (lambda x, buffer: x, lambda g, x, y: g),
    "gelu": (
        lambda x, buffer: _aten.gelu.out(x, out=buffer.shaped(x, *x.shape)),
        lambda g, x, y: _aten.gelu_backward.grad_input(g, x, grad_input=g),
    ),
    "silu": (
        lambda x, buffer: _aten.silu.out(x, out=buffer.shaped(x, *x.shape)),
        lambda g, x, y: _aten.silu_backward.grad_input(g, x, grad_input=g),
    ),
    "mish": (
        lambda x, buffer: _aten.mish.out(x, out=buffer.shaped(x, *x.shape)),
        lambda g, x, y: _aten.mish_backward.default(g, x),
    ),
    "selu": (
        lambda x, buffer: torch.selu_(x),
        lambda g, x, y: _aten.elu_backward.grad_input(g, _SELU_ALPHA, _SELU_SCALE, 1, True, y, grad_input=g),
    ),
    "leaky_relu": (
        lambda x, buffer: F.leaky_relu_(x),
        lambda g, x, y: _aten.leaky_relu_backward.grad_input(g, y, _LEAKY_RELU_SLOPE, True, grad_input=g),
    ),
}
# relu and leaky_relu too, but they need to know no more of the output than its sign.
_DERIVED_FROM_OUTPUT = ("tanh", "logistic", "selu")
_ROUNDED_BY_PLACE = ("gelu", "silu", "mish", "selu", "logistic")


def _activation(name: str, dtype: torch.dtype) -> Activation:
    if name == "gelu" and dtype == torch.float64:
        return DoubleGelu()
    return PaddedActivation(name) if name in _ROUNDED_BY_PLACE else Activation(name)


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
            new_share = max(_BATCH_NORM_MOMENTUM, 1 / (mode.n_steps + 1))
            self.running_mean.lerp_(mean, new_share)
            self.running_var.lerp_(var, new_share)
        self.inverse_std = torch.rsqrt(var + _EPSILON)
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
        self.normalized, self.mean, self.inverse_std = torch.native_layer_norm(x, x.shape[-1:], None, None, _EPSILON)
        return torch.addcmul(self.shift, self.normalized, self.scale)

    def backward(self, gradient: Tensor) -> Tensor:
        torch.sum(gradient * self.normalized, 1, keepdim=True, out=self.scale_gradient)
        torch.sum(gradient, 1, keepdim=True, out=self.shift_gradient)
        by_input: Tensor = _aten.native_layer_norm_backward.default(
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
            in_place = activation not in _DERIVED_FROM_OUTPUT
            block += [_activation(activation, state.dtype), Dropout("dropout", in_place)]
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
            block.append(ACTIVATIONS[activation]())
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
        norm = nn.BatchNorm1d(len(scale), eps=_EPSILON, momentum=_BATCH_NORM_MOMENTUM, dtype=scale.dtype)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(t[f"running_mean{i}"][0])
        norm.running_var.copy_(t[f"running_var{i}"][0])
    else:
        norm = nn.LayerNorm(len(scale), eps=_EPSILON, dtype=scale.dtype)
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
        _write_input_map(layout, state, input_map_of(layers))
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
