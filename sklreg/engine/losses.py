"""Losses: one value per model, sample and output, shape ``(K, n, C)``; a sample's loss is the sum over its outputs.

``output`` is ``(K, n, C)``; ``target`` is ``(K, n, C)`` or broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sklreg.engine.data import filled_up, part


class LossOptions(NamedTuple):
    """What training makes of a loss, each ``(K, 1, 1)``, or ``None`` where no model does."""

    smoothing: Tensor | None = None
    focus: Tensor | None = None  # gamma of the focal loss (Lin et al., 2017): each part is times (1 - p) ** gamma


PLAIN = LossOptions()


def smooth_labels(target: Tensor, smoothing: Tensor | None, n_classes: int) -> Tensor:
    """Move ``smoothing`` from the true class to the others, in equal parts.

    The true class keeps ``1 - smoothing``, every other class gets ``smoothing / (n_classes - 1)``.  Targets that are
    mixtures of classes are smoothed as the mixture of their parts.
    """
    if smoothing is None:
        return target
    # NOTE: unlike torch's ``label_smoothing=``, which spreads over all classes and so leaves the true one a share of
    # it.
    return target + smoothing * ((1 - target) / (n_classes - 1) - target)


def cross_entropy(output: Tensor, target: Tensor, options: LossOptions = PLAIN) -> Tensor:
    """Cross-entropy of the softmax over classes that exclude one another."""
    target = smooth_labels(target, options.smoothing, output.shape[-1])
    log_p = F.log_softmax(output, dim=-1)
    loss = -target * log_p
    if options.focus is None:
        return loss
    return loss * _elementwise(lambda log_p, gamma: _complement(log_p).pow(gamma), log_p, options.focus)


def _cross_entropy_gradient(output: Tensor, target: Tensor, options: LossOptions = PLAIN) -> Tensor:
    target = smooth_labels(target, options.smoothing, output.shape[-1])
    plain = output.softmax(-1) - target
    if options.focus is None:
        return plain
    # By the logarithm of each probability, then through the softmax.
    log_p = F.log_softmax(output, dim=-1)
    by_log_p = target * _elementwise(_focal_slope, log_p, options.focus)
    focused = by_log_p - _elementwise(torch.exp, log_p) * by_log_p.sum(-1, keepdim=True)
    return torch.where(options.focus > 0, focused, plain)


def _focal_slope(log_p: Tensor, gamma: Tensor) -> Tensor:
    """Return the derivative of ``-(1 - p) ** gamma * log(p)`` with respect to ``log(p)``."""
    q = _complement(log_p)
    return q.pow(gamma - 1) * (gamma * log_p.exp() * log_p - q)


def _complement(log_p: Tensor) -> Tensor:
    """Return ``1 - p``, to all digits and not quite 0, of which a power below 0 is taken."""
    return (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)


def binary_cross_entropy(output: Tensor, target: Tensor, options: LossOptions = PLAIN) -> Tensor:
    """Cross-entropy of the logistic function, for labels that do not exclude one another."""
    target = smooth_labels(target, options.smoothing, 2)
    plain = torch.addcmul(_elementwise(F.softplus, output), target, output, value=-1)
    if options.focus is None:
        return plain
    of_ones, of_zeros = (_elementwise(_focal, z, options.focus) for z in (output, -output))
    return torch.where(options.focus > 0, target * of_ones + (1 - target) * of_zeros, plain)


def _binary_cross_entropy_gradient(output: Tensor, target: Tensor, options: LossOptions = PLAIN) -> Tensor:
    target = smooth_labels(target, options.smoothing, 2)
    plain = _elementwise(torch.sigmoid, output) - target
    if options.focus is None:
        return plain
    of_ones, of_zeros = (_elementwise(_focal_gradient, z, options.focus) for z in (output, -output))
    return torch.where(options.focus > 0, target * of_ones - (1 - target) * of_zeros, plain)


def _focal(z: Tensor, gamma: Tensor) -> Tensor:
    """Return ``-(1 - p) ** gamma * log(p)`` for ``p`` the logistic function of ``z``."""
    return z.neg().sigmoid().pow(gamma) * F.softplus(-z)


def _focal_gradient(z: Tensor, gamma: Tensor) -> Tensor:
    p, q = z.sigmoid(), z.neg().sigmoid()
    return -q.pow(gamma) * (gamma * p * F.softplus(-z) + q)


def _elementwise(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply a function to tensors of the first one's shape, on memory that is filled up to whole vector registers.

    Powers, exponentials and the logistic function are among what needs it.
    """
    like = tensors[0]
    return part(function(*(filled_up(tensor.expand_as(like)) for tensor in tensors)), like)


def squared_error(output: Tensor, target: Tensor, options: LossOptions = PLAIN) -> Tensor:
    """Half the squared error; there is no label to smooth or to focus on."""
    del options
    return 0.5 * (output - target).square()


class LossFunction(Protocol):
    """A function of outputs and targets."""

    def __call__(self, output: Tensor, target: Tensor, options: LossOptions = PLAIN, /) -> Tensor:
        """Return ``(K, n, C)``."""


class Loss(NamedTuple):
    """A loss and its gradient with respect to the output."""

    value: LossFunction
    gradient: LossFunction


# Each loss goes with the output function for which its gradient is prediction minus target.
LOSSES = {
    "cross_entropy": Loss(cross_entropy, _cross_entropy_gradient),
    "binary_cross_entropy": Loss(binary_cross_entropy, _binary_cross_entropy_gradient),
    "squared_error": Loss(squared_error, lambda output, target, options=PLAIN: output - target),
}
