"""Penalties on weight matrices and constraints on units: a value, a gradient of the smooth part, a proximal operator.

Strengths broadcast against the weights they act on: ``(K, 1)`` for one strength a model, ``(K, P)`` where the strength
differs between weights (the output layer of a regression is held in units of the target's standard deviation, and is
penalised for what it is in the target's own units).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def soft_threshold(w: Tensor, threshold: Tensor) -> Tensor:
    """Move every entry towards zero by ``threshold``, and set those that would cross it to exactly zero."""
    return w - torch.minimum(torch.maximum(w, -threshold), threshold)


class ElasticNet(NamedTuple):
    r"""Elastic net :math:`\ell_1 \sum |w| + \tfrac{1}{2} \ell_2 \sum w^2`.

    Either strength may be zero: L2 alone is the ridge, L1 alone the lasso.
    """

    l1: Tensor
    l2: Tensor

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``, for weights ``(K, P)``."""
        return (self.l1 * w.abs() + 0.5 * self.l2 * w.square()).sum(-1)

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        r"""Add :math:`\ell_2 w`, the gradient of the L2 term, to ``grad`` in place."""
        grad.addcmul_(w, self.l2)

    def prox(self, w: Tensor, step_size: Tensor) -> Tensor:
        r"""Return :math:`\arg\min_u \tfrac{1}{2} (u - w)^2 + s\, \ell_1 |u|` for each entry.

        The proximal operator of the L1 term.  ``step_size`` :math:`s` may differ between entries: an optimizer that
        scales its steps by a metric of its own passes the steps that it took, and a fixed point of step and prox is
        then a stationary point of the objective.
        """
        return soft_threshold(w, step_size * self.l1)


def project_max_norm(weight: Tensor, max_norm: Tensor) -> Tensor:
    r"""Return the nearest weights whose columns have an Euclidean norm of at most ``max_norm``.

    ``weight`` is ``(K, n_in, n_out)``: a column holds the weights that come into one unit.  ``max_norm`` is ``(K, 1,
    1)`` and may be ``inf``.
    """
    norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return torch.where(norm > max_norm, weight * (max_norm / norm), weight)
