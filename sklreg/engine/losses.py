"""Losses: one value per model, sample and output, shape ``(K, n, C)``; a sample's loss is the sum over its outputs.

``output`` is ``(K, n, C)``; ``target`` is ``(K, n, C)`` or broadcasts to it; ``smoothing`` is ``(K, 1, 1)``, or
``None`` where no model smooths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


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


def cross_entropy(output: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Cross-entropy of the softmax over classes that exclude one another."""
    target = smooth_labels(target, smoothing, output.shape[-1])
    return -target * F.log_softmax(output, dim=-1)


def binary_cross_entropy(output: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Cross-entropy of the logistic function, for labels that do not exclude one another."""
    target = smooth_labels(target, smoothing, 2)
    return torch.addcmul(F.softplus(output), target, output, value=-1)


def squared_error(output: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Half the squared error; there is no label to smooth."""
    del smoothing
    return 0.5 * (output - target).square()


class Loss(NamedTuple):
    """A loss and its gradient with respect to the output."""

    value: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor | None], Tensor]


# Each loss goes with the output function for which its gradient is prediction minus target.
LOSSES = {
    "cross_entropy": Loss(
        cross_entropy,
        lambda output, target, smoothing: output.softmax(-1) - smooth_labels(target, smoothing, output.shape[-1]),
    ),
    "binary_cross_entropy": Loss(
        binary_cross_entropy, lambda output, target, smoothing: output.sigmoid() - smooth_labels(target, smoothing, 2)
    ),
    "squared_error": Loss(squared_error, lambda output, target, smoothing: output - target),
}
