"""``K`` networks of one architecture are the rows of one flat state; where each of their tensors lies in it.

A model is a row of the state ``(K, S)``: its weight matrices, then its biases and normalization parameters, then the
running statistics of batch normalization.  Whatever concerns all of a model's numbers (an optimizer's pass, a copy of
the best epoch, a model that leaves) is one operation on the state.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from sklreg.engine.activations import ACTIVATIONS
from sklreg.engine.data import whole_registers
from sklreg.engine.inputs import AS_GIVEN, InputMap
from sklreg.engine.penalties import Matrix, Parts
from sklreg.engine.streams import Streams


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
        bound = ACTIVATIONS[activation].greatest_weight(n_in, n_out)
        weight.copy_(torch.from_numpy(streams.init.uniform(-bound, bound, (n_in, n_out))))
        if layout.normalization:
            layout.view(state, f"norm_scale{i}").fill_(1)
        if layout.normalization == "batch":
            layout.view(state, f"running_var{i}").fill_(1)
    layout.view(state, f"bias{layout.n_layers - 1}").copy_(initial_output)
    write_input_map(layout, state, input_map)
    return state


def write_input_map(layout: Layout, state: Tensor, input_map: InputMap) -> None:
    """Write what a network does to its inputs to the state of one model."""
    scale, bins = input_map
    if scale is not None:
        layout.view(state, "input_center").copy_(scale.center)
        layout.view(state, "input_scale").copy_(scale.scale)
    if bins is not None:
        layout.view(state, "bin_start").copy_(bins.start)
        layout.view(state, "bin_width").copy_(bins.width)
