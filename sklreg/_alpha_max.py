r"""The strength from which on no weight can pay for itself: where the paths of alphas begin.

Let :math:`r_i` be the gradient of the loss with respect to the output at the best constant prediction,
:math:`\mathcal L_0` the mean loss there, and :math:`f` what a network adds to its value at the mean inputs
:math:`m`.  Losses are convex in the output and not negative, and the mean of :math:`r` is zero, so that

.. math:: \mathcal L_0 - \mathcal L(f) \le \min\left(-\tfrac{1}{n} \sum_i r_i^T f(x_i),\ \mathcal L_0\right).

For the linear model the first term is at most :math:`a \sum |W|` with :math:`a = \max_{jc} |\tfrac{1}{n} \sum_i r_{ic}
(x_{ij} - m_j)|`, and zero is the minimum exactly from :math:`\ell_1 = a` on.

A hidden layer whose activation changes by at most :math:`\kappa` times its input passes on a change of the inputs times
the sizes of its weights; biases move none of this, and neither does the value of the activation at 0.  With :math:`p`
matrices of weights it follows, first by summing over all paths through the network and then because a product of
:math:`p` numbers of sum :math:`t` is at most :math:`(t / p)^p`, that

.. math:: -\tfrac{1}{n} \sum_i r_i^T f(x_i) \le b \prod_l \sum |W_l| \le b\, (t / p)^p, \qquad
    b = \kappa^{p - 1} \max_{jc} \tfrac{1}{n} \sum_i |r_{ic}|\, |x_{ij} - m_j|,

with :math:`t = \sum |W|` over all layers.  A network with weights of total size :math:`t` therefore pays :math:`\ell_1
t` for at most :math:`\min(a t + b (t / p)^p, \mathcal L_0)`.  That is never worth it if :math:`\ell_1 \ge \mathcal L_0
/ t^*`, where :math:`a t^* + b (t^* / p)^p = \mathcal L_0`.  Without a linear connection this is :math:`\ell_1 \ge
\tfrac{1}{p} b^{1/p} \mathcal L_0^{1 - 1/p}`: all weights zero is then the *global* minimum, and L2 only adds
to the price.  It is a bound: in practice all weights are zero from a strength on that is 2 to 20 times smaller (more
for several hidden layers, and for targets far from unit variance), because no network reaches all of these inequalities
at once and because training begins at an output of zero, which is stationary at any strength.

For groups the largest entries become largest norms over groups, divided by the group's weight (Cauchy and Schwarz).
With batch or layer normalization nothing bounds the scales of the normalized units, which no penalty holds; the value
is then that for scales of at most 2 (they start at 1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq

from sklreg.engine import ACTIVATIONS, smooth_labels

Array = NDArray[Any]
_CHUNK = 2**22  # numbers at once


class Pull(NamedTuple):
    """How the data pull at weights that are zero, at the best constant prediction.

    ``signed`` and ``absolute``, ``(d, C)``, are the covariances of the inputs with the gradient of the loss by the
    outputs, and the same of their absolute values.
    """

    signed: Array
    absolute: Array
    gradient_std: float
    loss: float

    @classmethod
    def of(cls, X: Any, targets: Array, weight: Array | None, loss: str, smoothing: float) -> Pull:
        """Measure at the best constant prediction."""
        n, n_outputs = targets.shape
        share = np.full(n, 1 / n) if weight is None else weight / weight.sum()
        if loss != "squared_error" and smoothing:
            n_classes = n_outputs if loss == "cross_entropy" else 2
            targets = smooth_labels(
                torch.from_numpy(targets), torch.tensor(smoothing, dtype=torch.float64), n_classes
            ).numpy()
        mean = share @ targets
        gradient = mean - targets
        signed, absolute = np.zeros((X.shape[1], n_outputs)), np.zeros((X.shape[1], n_outputs))
        X_mean = np.asarray(share @ X).ravel()
        step = max(1, _CHUNK // X.shape[1])
        for start in range(0, n, step):
            part = X[start : start + step]
            part = (part.toarray() if sparse.issparse(part) else part) - X_mean
            weighted = share[start : start + step, None] * gradient[start : start + step]
            signed += part.T @ weighted
            absolute += np.abs(part).T @ np.abs(weighted)
        return cls(
            signed, absolute, float(np.sqrt((share @ gradient**2).max())), _loss_of_mean(mean, gradient, share, loss)
        )


def _loss_of_mean(mean: Array, gradient: Array, share: Array, loss: str) -> float:
    """Return the loss of the best constant prediction."""
    if loss == "squared_error":
        return float(0.5 * (share @ gradient**2).sum())
    probabilities = mean if loss == "cross_entropy" else np.r_[mean, 1 - mean]
    inside = probabilities[(probabilities > 0) & (probabilities < 1)]
    return float(-(inside * np.log(inside)).sum())


def l1_max(
    pull: Pull,
    hidden_layer_sizes: tuple[int, ...],
    activation: str,
    normalization: str | None,
    groups: tuple[str, tuple[int, ...] | None],
    hierarchy: float,
) -> float:
    """Return the L1 strength from which on all penalised weights are zero; ``hierarchy`` is in the target's units."""
    kind, labels = groups
    of_groups = _norms_by_group(np.arange(len(pull.signed)) if labels is None else np.array(labels))
    linear = 0.0
    if kind == "hierarchical" or (kind == "features" and not hidden_layer_sizes):
        linear = of_groups(np.linalg.norm(pull.signed, axis=1), 2).max()
    elif not hidden_layer_sizes:
        linear = np.abs(pull.signed).max()
    if not hidden_layer_sizes:
        return float(linear)
    if normalization is not None:
        return float(max(linear, 2 * pull.gradient_std))
    size = pull.absolute.max(axis=1)
    if kind == "features":
        bound = of_groups(size, 2).max()
    elif kind == "hierarchical":
        bound = hierarchy * of_groups(size, 1).max()
    elif kind == "neurons":
        bound = np.linalg.norm(size) / np.sqrt(np.prod([len(size), *hidden_layer_sizes[:-1]]))
    else:
        bound = size.max()
    bound *= ACTIVATIONS[activation].lipschitz ** len(hidden_layer_sizes)
    return _least_price(float(linear), float(bound), len(hidden_layer_sizes) + 1, pull.loss)


def _norms_by_group(labels: Array) -> Any:
    """Return a function that takes norms over the columns of each group, divided by the group's weight."""
    root = np.sqrt(np.bincount(labels))

    def norms(values: Array, order: int) -> Array:
        total = np.bincount(labels, weights=values**order)
        return np.asarray(total ** (1 / order) / root)

    return norms


def _least_price(linear: float, bound: float, p: int, loss: float) -> float:
    """Return the least l1 for which ``l1 * t >= min(linear * t + bound * (t / p) ** p, loss)`` for every size ``t``."""
    if loss <= 0 or (linear <= 0 and bound <= 0):
        return 0.0
    sizes = [loss / linear] if linear > 0 else []
    sizes += [p * (loss / bound) ** (1 / p)] if bound > 0 else []
    end = min(sizes)
    gain_at_end = linear * end + bound * (end / p) ** p
    if gain_at_end <= loss * (1 + 1e-12):
        return loss / end
    return loss / float(brentq(lambda t: linear * t + bound * (t / p) ** p - loss, 0.0, end, xtol=1e-12 * end))
