"""The engine's losses as criteria of a net: a value for each sample, differentiable by torch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from sklreg.engine import LOSSES, LossOptions


class Targets(NamedTuple):
    """What the outputs of a batch are compared with.

    ``values`` is ``(n, n_classes)``, one-hot or a mixture, or ``(n, n_outputs)`` numbers; ``weight`` ``(n,)`` has mean
    1 over all samples, or is ``None``.  ``codes`` ``(n,)`` are the numbers of the classes where they are no mixtures.
    """

    values: Tensor
    weight: Tensor | None = None
    codes: Tensor | None = None


class CrossEntropy(nn.Module):
    """Cross-entropy of the softmax over one output for each class, or of the logistic of one for the second of two."""

    def forward(self, output: Tensor, target: Tensor, smoothing: Tensor | None = None) -> Tensor:
        """Return the loss of each sample, ``(n,)``, for targets ``(n, n_classes)``."""
        output, n_classes = as_columns(output), target.shape[1]
        if output.shape[1] == 1 and n_classes == 2:
            value = LOSSES["binary_cross_entropy"].value(output, target[:, 1:], LossOptions(smoothing))
        elif output.shape[1] == n_classes:
            value = LOSSES["cross_entropy"].value(output, target, LossOptions(smoothing))
        else:
            raise ValueError(
                f"The module must return {n_classes} outputs for {n_classes} classes"
                f"{' (or one, the log-odds of the second)' if n_classes == 2 else ''}; it returned "
                f"{output.shape[1]}. Change its last layer; a constructor that requires n_outputs is told the number."
            )
        return value.sum(1)


class HalfSquaredError(nn.Module):
    """Half the squared error, summed over the outputs."""

    def forward(self, output: Tensor, target: Tensor, smoothing: Tensor | None = None) -> Tensor:
        """Return the loss of each sample, ``(n,)``, for targets ``(n, n_outputs)``."""
        output = as_columns(output)
        if output.shape != target.shape:
            raise ValueError(
                f"The module must return {target.shape[1]} output(s) for each sample, as there are so many targets; "
                f"it returned {tuple(output.shape)} for {len(target)} samples. Change its last layer; a constructor "
                "that requires n_outputs is told the number."
            )
        return LOSSES["squared_error"].value(output, target, LossOptions(smoothing)).sum(1)


def as_columns(output: Tensor) -> Tensor:
    """Return outputs ``(n, C)``, of a module that returns these or, for one, ``(n,)``."""
    return output[:, None] if output.dim() == 1 else output
