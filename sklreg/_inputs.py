"""Statistics of the training set by which a network scales its inputs and cuts them into bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklreg.engine import Bins, InputMap, InputScale, scale_and_clip

Array = NDArray[Any]
_LEAST_WIDTH = 1e-5  # of a bin, as a share of the distance from the first edge to the last
_LEAST_SPREAD = 1e-30  # of a feature; its reciprocal is finite in single precision


def learn_input_map(X: Array, weight: Array | None, is_scaled: bool, n_bins: int | None) -> InputMap:
    """Return what is to be done to inputs like ``X`` ``(n, d)``, of which a sample counts by its ``weight``."""
    scale, bins = None, None
    if is_scaled:
        scale = _robust_scale(X, weight)
        X = scale_and_clip(torch.from_numpy(X), *scale).numpy()
    if n_bins is not None:
        bins = _bins(X, weight, n_bins)
    return InputMap(scale, bins)


def _robust_scale(X: Array, weight: Array | None) -> InputScale:
    """Return the median, and the reciprocal of the interquartile range.

    Of a feature whose quartiles are equal the half range takes its place, as in RealMLP (Holzmueller et al., 2024); a
    constant one is 0.
    """
    lower, median, upper = _quantiles(X, weight, np.array([0.25, 0.5, 0.75]))
    spread = np.where(upper > lower, upper - lower, np.ptp(X, axis=0) / 2)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > _LEAST_SPREAD)
    return InputScale(torch.from_numpy(median), torch.from_numpy(scale))


def _bins(X: Array, weight: Array | None, n_bins: int) -> Bins:
    """Cut every feature at its quantiles; one of two values is a bin by itself already, and gets none.

    Where nearly all samples have one value, the quantiles are those of the distinct values.
    """
    shares = np.linspace(0, 1, n_bins + 1)
    edges = _quantiles(X, weight, shares)
    feature: list[int] = []
    starts, widths = [X[:0, 0]], [X[:0, 0]]
    for j, of_feature in enumerate(edges.T):
        distinct = _apart(np.unique(of_feature))
        if len(distinct) <= 2:
            values = _apart(np.unique(X[:, j]))
            distinct = _apart(np.unique(_quantiles(values[:, None], None, shares)))
        if len(distinct) > 2:
            feature += [j] * (len(distinct) - 1)
            starts.append(distinct[:-1])
            widths.append(np.diff(distinct))
    return Bins(tuple(feature), torch.from_numpy(np.concatenate(starts)), torch.from_numpy(np.concatenate(widths)))


def _apart(values: Array) -> Array:
    """Return sorted values without those that differ from the one before by rounding, which no bin is to be between."""
    least = _LEAST_WIDTH * (values[-1] - values[0])
    kept = values[:1].tolist()
    for value in values[1:].tolist():
        if value - kept[-1] > least:
            kept.append(value)
    return np.array(kept, dtype=values.dtype)


def _quantiles(X: Array, weight: Array | None, shares: Array) -> Array:
    """Return for each of ``shares`` the least value that so much of the weight does not exceed, ``(len(shares), d)``.

    Always a value that occurs, and the same for a weight of two as for two samples.
    """
    order = np.argsort(X, axis=0, kind="stable")
    weight = np.ones(len(X)) if weight is None else weight
    quantiles = np.empty((len(shares), X.shape[1]), dtype=X.dtype)
    for j, of_feature in enumerate(order.T):
        below = np.cumsum(weight[of_feature])
        # A little less, as sums of weights round otherwise than those of copies.
        places = np.searchsorted(below, shares * below[-1] * (1 - 1e-12))
        quantiles[:, j] = X[of_feature[places], j]
    return quantiles
