"""Fits along a path of penalties, and what can be read off them: all of them are rows of one computation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sklreg._alpha_max import Pull, l1_max
from sklreg._batched import hold_once, train_all_here
from sklreg._guards import on_cpu_unless_told
from sklreg._table import Table
from sklreg._warnings import warn_user
from sklreg.elastic_net import ElasticNetMixin, ElasticNetMLP, ElasticNetMLPClassifier
from sklreg.engine import Job

Array = NDArray[Any]
_LEAST_ALPHA = float(np.finfo(np.float64).resolution)
_ROUNDED_UP = 1 + 1e-9  # that rounding in training makes no weight of what exactly balances the penalty
# A path is to show what alpha does: no early stopping besides, a penalty that comes once there is something to choose
# from (without, a network drops everything or nothing), and steps that are long enough to take a network to zero and
# fall until the zeros have settled.
PATH_DEFAULTS: dict[str, Any] = {
    "early_stopping": False, "penalty_warmup": 0.3, "learning_rate": "cosine", "learning_rate_init": 0.01,
}  # fmt: skip


class ElasticNetMLPPath(NamedTuple):
    """Networks along a path of alphas, from the sparsest to the densest.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        The strengths, decreasing.
    coefs : list of ndarray of shape (n_in, n_out, n_alphas)
        Weight matrices of each layer along the path.
    models : list of estimators
        The fitted networks, one for each alpha.
    """

    alphas: Array
    coefs: list[Array]
    models: list[ElasticNetMixin]

    @property
    def feature_importances(self) -> Array:
        """Importance of each feature along the path, of shape (n_features, n_alphas)."""
        return np.stack([model.feature_importances_ for model in self.models], axis=1)

    @property
    def n_features(self) -> Array:
        """Number of features that are not dropped, of shape (n_alphas,)."""
        return np.asarray(np.count_nonzero(self.feature_importances, axis=0))

    @property
    def entry_alphas(self) -> Array:
        """Greatest alpha at which each feature is in, of shape (n_features,); 0 also where there is none."""
        return entry_alphas(self.alphas, self.feature_importances)

    def select(self, k: int) -> Array:
        """Return the ``k`` features that enter the path first.

        Parameters
        ----------
        k : int
            Number of features, or of ``feature_groups`` where there are any.

        Returns
        -------
        index : ndarray of shape (k,) or of the number of columns in these groups
            Their numbers, in the order of entry; of features that enter together, the more important come first.
        """
        return first_to_enter(self.alphas, self.feature_importances, k, self.models[0]._penalty_groups()[1])


def entry_alphas(alphas: Array, importances: Array) -> Array:
    """Return the greatest alpha at which each feature ``(n_features, n_alphas)`` is in, 0 where there is none."""
    is_in = importances > 0
    return np.where(is_in.any(axis=1), alphas[is_in.argmax(axis=1)], 0.0)


def first_to_enter(alphas: Array, importances: Array, k: int, labels: Sequence[int] | None = None) -> Array:
    """Return the ``k`` features that enter first, in order; more important ones first where they enter together.

    ``labels`` numbers the groups of features: then ``k`` counts groups, and all of their columns are returned.
    """
    if labels is not None:
        of_groups = group_importances(importances, labels)
        columns = [np.flatnonzero(np.equal(labels, group)) for group in first_to_enter(alphas, of_groups, k)]
        return np.concatenate(columns)
    is_in = importances > 0
    n_features, n_entered = len(is_in), int(np.count_nonzero(is_in.any(axis=1)))
    if not (isinstance(k, Integral) and 1 <= k <= n_entered):
        raise ValueError(
            f"k must be an int from 1 to the number of features that enter the path, {n_entered} of {n_features}; "
            f"got {k!r}. For more features, let the path go on to smaller alphas (eps)."
        )
    place = np.where(is_in.any(axis=1), is_in.argmax(axis=1), len(alphas))
    at_entry = importances[np.arange(n_features), np.minimum(place, len(alphas) - 1)]
    return np.lexsort((-at_entry, place))[:k]


def group_importances(importances: Array, labels: Sequence[int] | None) -> Array:
    """Return the importances of groups, ``(n_groups, n_alphas)``: norms of those of their features."""
    if labels is None:
        return importances
    squares = np.zeros((max(labels) + 1, importances.shape[1]))
    np.add.at(squares, np.asarray(labels), importances**2)
    return np.asarray(np.sqrt(squares))


@on_cpu_unless_told
def elastic_net_mlp_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    l1_ratio: float = 0.5,
    eps: float = 1e-3,
    alphas: int | ArrayLike = 50,
    loss: str = "squared_error",
    sample_weight: ArrayLike | None = None,
    **parameters: Any,
) -> ElasticNetMLPPath:
    """Fit networks with an elastic net penalty along a path of strengths, all in one computation.

    Each is what :class:`ElasticNetMLP` or :class:`ElasticNetMLPClassifier` fits with that ``alpha``.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Training inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Target values or class labels.
    l1_ratio : float, default=0.5
        Share of the L1 penalty in the elastic net, in [0, 1].
    eps : float, default=0.001
        Length of the path: the smallest alpha as a share of the greatest, in (0, 1).
    alphas : int or array-like, default=50
        Number of alphas along the path, evenly spaced on a logarithmic scale from the one at which all weights are
        zero; or the alphas themselves, in any order.
    loss : {'squared_error', 'log_loss'}, default='squared_error'
        What to fit: a regressor or a classifier.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples, not negative.
    **parameters : dict
        Further parameters of the estimator.  Other than there, ``early_stopping`` is False, ``penalty_warmup`` 0.3,
        ``learning_rate`` 'cosine' and ``learning_rate_init`` 0.01 unless set: alpha is to do the regularizing, and the
        zeros are to settle.

    Returns
    -------
    path : ElasticNetMLPPath
        A tuple of ``alphas``, ``coefs`` (for each layer the weights, of shape (n_in, n_out, n_alphas)) and fitted
        ``models``, whose ``feature_importances``, ``n_features``, ``entry_alphas`` and ``select(k)`` read features off
        the path.

    Warns
    -----
    ConvergenceWarning
        If fits diverge, or if training was too short to take the network of the greatest ``alpha`` to zero.

    See Also
    --------
    ElasticNetMLPCV : Choose alpha by cross-validation.
    sklearn.linear_model.enet_path : The linear case, by coordinate descent.

    Notes
    -----
    For the linear model the greatest alpha is the smallest at which all weights are zero, as in
    :func:`~sklearn.linear_model.enet_path`.  For networks it is a bound above which all weights zero is the global
    minimum; they may all be zero from a smaller one on.

    Examples
    --------
    >>> import numpy as np
    >>> from sklreg import elastic_net_mlp_path
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> y = 3 * X[:, 2] + X[:, 5] ** 2
    >>> path = elastic_net_mlp_path(X, y, l1_ratio=1.0, alphas=20, penalty_groups="features", learning_rate_init=0.01,
    ...                             hidden_layer_sizes=(16,), max_iter=150, random_state=0)
    >>> int(path.n_features[0])
    0
    >>> path.select(2).tolist()
    [2, 5]
    """
    kinds = {"squared_error": ElasticNetMLP, "log_loss": ElasticNetMLPClassifier}
    if loss not in kinds:
        raise ValueError(f"loss of elastic_net_mlp_path must be 'squared_error' or 'log_loss'; got {loss!r}.")
    without_say = sorted({"alpha", "n_members", "warm_start"} & parameters.keys())
    if without_say:
        raise TypeError(
            f"elastic_net_mlp_path takes no {' and no '.join(without_say)}: it fits every one of alphas from the start."
        )
    model = kinds[loss](**{**PATH_DEFAULTS, **parameters, "l1_ratio": l1_ratio})
    model._validate_params()
    if model.early_stopping == "ensemble":
        raise ValueError(
            "early_stopping of elastic_net_mlp_path must be a bool, as the networks of a path are no ensemble; got "
            "'ensemble'. Set True or False."
        )
    given = check_alphas(alphas, eps, "elastic_net_mlp_path")
    seed = model._draw_seed()
    table = model._check_table(X, y, sample_weight, reset=True, learn_target=model._learn_target)
    strengths = alpha_grid(model, table, given, eps, l1_ratio, "elastic_net_mlp_path")
    rows = Rows.of(model, table, seed, [(alpha, l1_ratio) for alpha in strengths])
    (models,) = fit_together([rows], "elastic_net_mlp_path")
    warn_unless_empty(models[0], given, "elastic_net_mlp_path")
    coefs = [np.stack(layer, axis=2) for layer in zip(*(m.coefs_ for m in models), strict=True)]
    return ElasticNetMLPPath(strengths, coefs, models)


class Rows(NamedTuple):
    """Fits to the same samples with the same seed, at several strengths of the penalty."""

    model: ElasticNetMixin  # has learnt what features and targets there are
    job: Job
    strengths: list[tuple[float, float]]  # alpha and l1_ratio

    @classmethod
    def of(cls, model: ElasticNetMixin, table: Table, seed: int, strengths: Sequence[tuple[float, float]]) -> Rows:
        """Prepare the fits."""
        split = model._split(table, None, None, None, seed)
        job = hold_once(model._first_job(*split, seed))
        model._check_watched(job.score, split[1])
        return cls(model, job, list(strengths))

    def models(self) -> list[ElasticNetMixin]:
        """Return an estimator for each, not yet fitted."""
        models = []
        for alpha, l1_ratio in self.strengths:
            model = copy(self.model)
            model.alpha, model.l1_ratio = float(alpha), float(l1_ratio)
            models.append(model)
        return models


def on_part(model: ElasticNetMixin, table: Table) -> tuple[ElasticNetMixin, Table]:
    """Return a model of a part of the samples, and the part with the weight that its classes have there."""
    part = copy(model)
    part._learn_class_weight(table.targets, table.weight)
    return part, part._weigh_classes(table)


def fit_together(groups: Sequence[Rows], owner: str) -> list[list[ElasticNetMixin]]:
    """Train all rows of all groups in one call; return the fitted estimators of each group."""
    models = [group.models() for group in groups]
    jobs = [
        replace(group.job, hyperparameters=model._hyperparameters(single_pass=False, start=None))
        for group, members in zip(groups, models, strict=True)
        for model in members
    ]
    start = time.perf_counter()
    results = train_all_here(jobs)
    if any(group.model.verbose for group in groups):
        print(f"[{owner}] {len(jobs)} fits in {time.perf_counter() - start:.2f} s")
    left = iter(results)
    for group, members in zip(groups, models, strict=True):
        for model in members:
            model._set_fitted(next(left), group.job.units)
    fitted = [model for members in models for model in members]
    diverged = sorted({model.alpha for model, result in zip(fitted, results, strict=True) if result.diverged})
    if diverged:
        warn_user(
            f"{owner}: {sum(result.diverged for result in results)} of {len(results)} fits diverged, with alpha from "
            f"{diverged[0]:.3g} to {diverged[-1]:.3g}; they are as they were after their best epoch. Lower "
            "learning_rate_init, scale the inputs, or set max_grad_norm.",
            ConvergenceWarning,
        )
    return models


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
    pull = Pull.of(table.X, table.targets, table.loss_weight, model._loss(), model.label_smoothing)
    units, _ = model._units(table)
    unit = float(units.scale.square().mean().sqrt())
    strength = l1_max(
        pull, model._layer_sizes, model.activation, model.normalization, model._penalty_groups(), model.hierarchy / unit
    )
    return strength * _ROUNDED_UP / l1_ratio
