"""Several networks that predict as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _of_softmax(outputs: Tensor) -> Tensor:
    return F.log_softmax(outputs, dim=-1).logsumexp(0) - math.log(len(outputs))


def _of_logistic(outputs: Tensor) -> Tensor:
    return F.logsigmoid(outputs).logsumexp(0) - F.logsigmoid(-outputs).logsumexp(0)


# Of probabilities, or of values.  In logarithms, where probabilities would round to 0 or 1.
_MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "cross_entropy": _of_softmax,
    "binary_cross_entropy": _of_logistic,
    "squared_error": lambda outputs: outputs.mean(0),
}


def mean_output(outputs: Tensor, loss: str) -> Tensor:
    """Return the outputs ``(n, C)`` that stand for the mean of what the ``outputs`` ``(M, n, C)`` stand for."""
    return _MEANS[loss](outputs)


class Ensemble(nn.Module):
    """The mean of networks that were trained for one loss: of the probabilities that they give, or of their values."""

    def __init__(self, members: Sequence[nn.Module], loss: str) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.loss = loss
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs ``(n, C)`` of the kind that each member gives."""
        return mean_output(torch.stack([member(x) for member in self.members]), self.loss)
