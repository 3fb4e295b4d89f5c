"""Activations: all there is to know of each, and how a network passes through them, forward and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklreg.engine.data import Buffer, filled_up, part

_NUMBERS_IN_CACHE = 2**15  # of each thread, over which several passes go
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # as in torch
_LEAKY_RELU_SLOPE = 0.01  # torch's default

_aten = torch.ops.aten  # the kernels that autograd itself calls


class Kind(NamedTuple):
    """An elementwise function.

    ``function`` maps the input: in place where nobody asks for it again, else into the buffer.  ``derivative`` takes
    the gradient, the input and the output, and writes in place where there is such a kernel.  ``is_of_output`` says
    that it asks for the output's values, and not at most for their sign: dropout must leave them as they are.
    ``greatest_weight`` is that of a new layer with so many inputs and outputs.  ``lipschitz`` is the most by which
    the output changes, in changes of the input.  ``rounds_by_place`` says that an element's last digits depend on
    where in a vector register it lies.
    """

    module: type[nn.Module]
    function: Callable[[Tensor, Buffer], Tensor]
    derivative: Callable[[Tensor, Tensor, Tensor], Tensor]
    is_of_output: bool
    greatest_weight: Callable[[int, int], float]
    lipschitz: float
    rounds_by_place: bool


def _glorot(n_in: int, n_out: int) -> float:
    return math.sqrt(6 / (n_in + n_out))


def _he(n_in: int, n_out: int) -> float:
    return math.sqrt(6 / n_in)


def _lecun(n_in: int, n_out: int) -> float:
    # A variance of 1 / n_in is what units of selu keep; for the smooth ones, benchmarks/quality.py prefers it.
    return math.sqrt(3 / n_in)


ACTIVATIONS = {
    "relu": Kind(
        nn.ReLU,
        lambda x, buffer: x.relu_(),
        lambda g, x, y: _aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
        is_of_output=False,
        greatest_weight=_he,
        lipschitz=1.0,
        rounds_by_place=False,
    ),
    "tanh": Kind(
        nn.Tanh,
        lambda x, buffer: x.tanh_(),
        lambda g, x, y: _aten.tanh_backward.grad_input(g, y, grad_input=g),
        is_of_output=True,
        greatest_weight=_glorot,
        lipschitz=1.0,
        rounds_by_place=False,
    ),
    "logistic": Kind(
        nn.Sigmoid,
        lambda x, buffer: x.sigmoid_(),
        lambda g, x, y: _aten.sigmoid_backward.grad_input(g, y, grad_input=g),
        is_of_output=True,
        greatest_weight=_glorot,
        lipschitz=0.25,
        rounds_by_place=True,
    ),
    "identity": Kind(
        nn.Identity,
        lambda x, buffer: x,
        lambda g, x, y: g,
        is_of_output=False,
        greatest_weight=_glorot,
        lipschitz=1.0,
        rounds_by_place=False,
    ),
    "gelu": Kind(
        nn.GELU,
        lambda x, buffer: _aten.gelu.out(x, out=buffer.shaped(x, *x.shape)),
        lambda g, x, y: _aten.gelu_backward.grad_input(g, x, grad_input=g),
        is_of_output=False,
        greatest_weight=_lecun,
        lipschitz=1.129,
        rounds_by_place=True,
    ),
    "silu": Kind(
        nn.SiLU,
        lambda x, buffer: _aten.silu.out(x, out=buffer.shaped(x, *x.shape)),
        lambda g, x, y: _aten.silu_backward.grad_input(g, x, grad_input=g),
        is_of_output=False,
        greatest_weight=_lecun,
        lipschitz=1.1,
        rounds_by_place=True,
    ),
    "mish": Kind(
        nn.Mish,
        lambda x, buffer: _aten.mish.out(x, out=buffer.shaped(x, *x.shape)),
        lambda g, x, y: _aten.mish_backward.default(g, x),
        is_of_output=False,
        greatest_weight=_lecun,
        lipschitz=1.089,
        rounds_by_place=True,
    ),
    "selu": Kind(
        nn.SELU,
        lambda x, buffer: torch.selu_(x),
        lambda g, x, y: _aten.elu_backward.grad_input(g, _SELU_ALPHA, _SELU_SCALE, 1, True, y, grad_input=g),
        is_of_output=True,
        greatest_weight=_lecun,
        lipschitz=1.7581,
        rounds_by_place=True,
    ),
    "leaky_relu": Kind(
        nn.LeakyReLU,
        lambda x, buffer: F.leaky_relu_(x),
        lambda g, x, y: _aten.leaky_relu_backward.grad_input(g, y, _LEAKY_RELU_SLOPE, True, grad_input=g),
        is_of_output=False,
        greatest_weight=_he,
        lipschitz=1.0,
        rounds_by_place=False,
    ),
}


def activation_layer(name: str, state: Tensor) -> Activation:
    """Return the layer of an activation, for networks in this state."""
    if name == "gelu" and state.dtype == torch.float64 and not state.is_cuda:
        return DoubleGelu()
    return PaddedActivation(name) if ACTIVATIONS[name].rounds_by_place else Activation(name)


class Activation:
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self.kind = ACTIVATIONS[name]
        self.output = Buffer()

    def forward(self, x: Tensor, mode: object) -> Tensor:
        self.x = x
        self.y = self._value(x)
        return self.y

    def backward(self, gradient: Tensor) -> Tensor:
        return self._times_derivative(gradient)

    def _value(self, x: Tensor) -> Tensor:
        return self.kind.function(x, self.output)

    def _times_derivative(self, gradient: Tensor) -> Tensor:
        return self.kind.derivative(gradient, self.x, self.y)


class PaddedActivation(Activation):
    """An elementwise function on memory that is filled up to whole vector registers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.input, self.output_gradient = Buffer(), Buffer()

    def forward(self, x: Tensor, mode: object) -> Tensor:
        return part(super().forward(filled_up(x, self.input), mode), x)

    def backward(self, gradient: Tensor) -> Tensor:
        return part(super().backward(filled_up(gradient, self.output_gradient)), gradient)


class DoubleGelu(PaddedActivation):
    """The gelu of double precision, for which torch's own kernels take twice as long as the functions in it.

    A forward pass leaves the derivative where the input was.
    """

    def __init__(self) -> None:
        super().__init__("gelu")
        self.scratch = Buffer()

    def _times_derivative(self, gradient: Tensor) -> Tensor:
        return gradient.mul_(self.x)

    def _value(self, x: Tensor) -> Tensor:
        y = self.output.shaped(x, *x.shape)
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
