"""Losses: one value per model and sample, shape ``(K, n)``.

``output`` is ``(K, n, C)``; ``target`` is ``(K, n, C)`` or broadcasts to it; ``smoothing`` is ``(K, 1, 1)``, or ``None``
where no model smooths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def smooth_labels(target: Tensor, smoothing: Tensor | None, n_classes: int) -> Tensor:
    """Move ``smoothing`` from the true class to the others, in equal parts.

    The true class keeps ``1 - smoothing``, every other class gets ``smoothing / (n_classes - 1)``.  Targets that are
    mixtures of classes are smoothed as the mixture of their parts.
    """
    if smoothing is None:
        return target
    # NOTE: unlike torch's ``label_smoothing=``, which spreads over all classes and so leaves the true one a share of it.
    return target + smoothing * ((1 - target) / (n_classes - 1) - target)


def cross_entropy(output: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Cross-entropy of the softmax over classes that exclude one another."""
    target = smooth_labels(target, smoothing, output.shape[-1])
    return -(target * F.log_softmax(output, dim=-1)).sum(-1)


def binary_cross_entropy(output: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Cross-entropy of the logistic function, summed over labels that do not exclude one another."""
    target = smooth_labels(target, smoothing, 2)
    return (F.softplus(output) - target * output).sum(-1)


def squared_error(output: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Half the squared error, summed over outputs; there is no label to smooth."""
    del smoothing
    return 0.5 * (output - target).square().sum(-1)


Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": squared_error,
}
