"""Statistics of the training set by which a network scales its inputs and cuts them into bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from sklreg.engine import Bins, InputMap, InputScale, scale_and_clip

Array = NDArray[Any]
_LEAST_WIDTH = 1e-5  # of a bin, as a share of the distance from the first edge to the last
_LEAST_SPREAD = 1e-30  # of a feature; its reciprocal is finite in single precision


def learn_input_map(X: Any, weight: Array | None, is_scaled: bool, n_bins: int | None) -> InputMap:
    """Return what is to be done to inputs like ``X`` ``(n, d)``, of which a sample counts by its ``weight``.

    One column after the other, so that sparse inputs are never dense as a whole.
    """
    if sparse.issparse(X):
        X = X.tocsc()
    scales: list[tuple[float, float]] = []
    edges: list[Array] = []
    for j in range(X.shape[1]):
        x = X[:, [j]].toarray()[:, 0] if sparse.issparse(X) else X[:, j]
        if is_scaled:
            scales.append(_robust_scale(x, weight))
            center_and_scale = torch.from_numpy(np.array(scales[-1], dtype=x.dtype))
            x = scale_and_clip(torch.from_numpy(x), *center_and_scale).numpy()
        if n_bins is not None:
            edges.append(_edges(x, weight, n_bins))
    scale = InputScale(*torch.from_numpy(np.array(scales, dtype=X.dtype)).unbind(1)) if is_scaled else None
    return InputMap(scale, None if n_bins is None else _bins(edges, X.dtype))


def _robust_scale(x: Array, weight: Array | None) -> tuple[float, float]:
    """Return the median, and the reciprocal of the interquartile range.

    Of a feature whose quartiles are equal the half range takes its place, as in RealMLP (Holzmueller et al., 2024); a
    constant one is 0.
    """
    lower, median, upper = _quantiles(x, weight, np.array([0.25, 0.5, 0.75])).astype(np.float64).tolist()
    spread = upper - lower if upper > lower else float(np.ptp(x)) / 2
    return median, 1 / spread if spread > _LEAST_SPREAD else 0.0


def _edges(x: Array, weight: Array | None, n_bins: int) -> Array:
    """Return the distinct quantiles; one of two values is a bin by itself already, and needs none.

    Where nearly all samples have one value, the quantiles are those of the distinct values.
    """
    shares = np.linspace(0, 1, n_bins + 1)
    edges = _apart(_quantiles(x, weight, shares))
    return edges if len(edges) > 2 else _apart(_quantiles(_apart(np.unique(x)), None, shares))


def _bins(edges: list[Array], dtype: Any) -> Bins:
    of_feature = [(j, edge) for j, edge in enumerate(edges) if len(edge) > 2]
    feature = [j for j, edge in of_feature for _ in edge[1:]]
    start = np.concatenate([np.empty(0, dtype), *(edge[:-1] for _, edge in of_feature)])
    width = np.concatenate([np.empty(0, dtype), *(np.diff(edge) for _, edge in of_feature)])
    return Bins(tuple(feature), torch.from_numpy(start), torch.from_numpy(width))


def _apart(values: Array) -> Array:
    """Return sorted values without those that differ from the one before by rounding, which no bin is to be between."""
    least = _LEAST_WIDTH * (values[-1] - values[0])
    kept = values[:1].tolist()
    for value in values[1:].tolist():
        if value - kept[-1] > least:
            kept.append(value)
    return np.array(kept, dtype=values.dtype)


def _quantiles(x: Array, weight: Array | None, shares: Array) -> Array:
    """Return for each of ``shares`` the least value that so much of the weight does not exceed.

    Always a value that occurs, and the same for a weight of two as for two samples.
    """
    order = np.argsort(x, kind="stable")
    below = np.arange(1.0, len(x) + 1) if weight is None else np.cumsum(weight[order])
    # A little less, as sums of weights round otherwise than those of copies.
    return np.asarray(x[order[np.searchsorted(below, shares * below[-1] * (1 - 1e-12))]])
