"""The alphas of a path: as they are given, or down from where all weights are zero."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sklreg._alpha_max import Pull, l1_max
from sklreg._table import Table
from sklreg._warnings import warn_user
from sklreg.elastic_net import ElasticNetMixin

Array = NDArray[Any]
_LEAST_ALPHA = float(np.finfo(np.float64).resolution)
_GREAT_UNIT = 300.0  # up to it, paths of real tables keep features one after another, and from 1,000 on all at once
_ROUNDED_UP = 1 + 1e-9  # that rounding in training makes no weight of what exactly balances the penalty


def warn_unless_empty(model: ElasticNetMixin, alphas: int | Array, owner: str) -> None:
    """Warn if the first network of a path still has features, where the path was to begin without any."""
    n_left = int(np.count_nonzero(model.feature_importances_))
    if n_left and isinstance(alphas, int) and model.alpha > _LEAST_ALPHA:
        warn_user(
            f"{owner}: at the greatest alpha, where no weight is worth its penalty, {n_left} of "
            f"{model.n_features_in_} features are left. Training was too short to drop them"
            f"{' (early_stopping keeps early weights)' if model.early_stopping else ''}, so that features enter the "
            "path by chance. Raise max_iter or learning_rate_init, lower batch_size, or set early_stopping=False.",
            ConvergenceWarning,
        )


def check_alphas(alphas: Any, eps: float, owner: str) -> int | Array:
    """Return a number of alphas, or the alphas, decreasing."""
    if not (isinstance(eps, Real) and 0 < eps < 1):
        raise ValueError(
            f"The 'eps' parameter of {owner} must be a float in the range (0.0, 1.0). Got {eps!r} instead."
        )
    if isinstance(alphas, Integral) and not isinstance(alphas, bool):
        if alphas < 1:
            raise ValueError(f"The 'alphas' parameter of {owner} as an int must be at least 1. Got {alphas!r} instead.")
        return int(alphas)
    try:
        values = np.asarray(alphas, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            f"The 'alphas' parameter of {owner} must be an int (how many) or an array of at least one number in [0, "
            f"inf) (which). Got {alphas!r} instead."
        )
    return np.sort(values)[::-1]


def warn_of_large_units(model: ElasticNetMixin, table: Table, owner: str) -> None:
    """Warn where penalties on the scale of the target leave weights before the output nearly free."""
    unit = _unit(model, table)
    if unit > _GREAT_UNIT and model._layer_sizes:
        warn_user(
            f"{owner}: the target has a standard deviation of {unit:.3g}, and penalties are on its scale: weights into "
            f"the output cost {unit:.3g} times as much as those before, which say little of features then. Scale the "
            "target, as sklearn.compose.TransformedTargetRegressor with a StandardScaler does."
        )


def alpha_grid(
    model: ElasticNetMixin, table: Table, alphas: int | Array, eps: float, l1_ratio: float, owner: str
) -> Array:
    """Return the alphas, decreasing: as given, or so many from where all weights are zero."""
    if not isinstance(alphas, int):
        return alphas
    if l1_ratio == 0:
        raise ValueError(
            f"{owner} cannot place alphas for l1_ratio=0, which sets no weight to zero at any alpha. "
            "Pass alphas as an array, or an l1_ratio above 0."
        )
    greatest = alpha_max(model, table, l1_ratio)
    if greatest <= _LEAST_ALPHA:
        warn_user(
            f"{owner} has no alphas to place: no input says anything of this target, which is constant "
            f"perhaps. All are {_LEAST_ALPHA:g}, which drops nothing, so there is nothing to select by.",
        )
        return np.full(alphas, _LEAST_ALPHA)
    return np.geomspace(greatest, greatest * eps, num=alphas)


def alpha_max(model: ElasticNetMixin, table: Table, l1_ratio: float) -> float:
    """Return the alpha from which on all penalised weights are zero (see :mod:`sklreg._alpha_max`)."""
    unit = _unit(model, table)
    pull = Pull.of(table.X, table.targets, table.loss_weight, model._loss(), model.label_smoothing)
    groups = model.penalty_groups, model._group_labels()
    strength = l1_max(pull, model._layer_sizes, model.activation, model.normalization, groups, model.hierarchy / unit)
    return strength * _ROUNDED_UP / l1_ratio


def _unit(model: ElasticNetMixin, table: Table) -> float:
    """Return the standard deviation of the target, 1 for classes."""
    units, _ = model._units(table)
    return float(units.scale.square().mean().sqrt())
