"""Networks along a path of penalties, and what can be read off them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklreg._alphas import alpha_grid, check_alphas, warn_of_large_units, warn_unless_empty
from sklreg._guards import on_cpu_unless_told
from sklreg._path_fits import PathFits, fit_together
from sklreg.elastic_net import ElasticNetMixin, ElasticNetMLP, ElasticNetMLPClassifier

Array = NDArray[Any]
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

        Raises
        ------
        ValueError
            If fewer than ``k`` enter the path, or ``k`` is not an int from 1 on.
        """
        return first_to_enter(self.alphas, self.feature_importances, k, self.models[0]._group_labels())


def entry_alphas(alphas: Array, importances: Array) -> Array:
    """Return the greatest alpha at which each feature ``(n_features, n_alphas)`` is in, 0 where there is none."""
    is_in = importances > 0
    return np.where(is_in.any(axis=1), alphas[is_in.argmax(axis=1)], 0.0)


def first_to_enter(
    alphas: Array, importances: Array, k: int, labels: Sequence[int] | None = None, kind: str = "features"
) -> Array:
    """Return the ``k`` features that enter first, in order; more important ones first where they enter together.

    ``labels`` numbers the groups of features: then ``k`` counts groups, and all of their columns are returned.
    """
    if labels is not None:
        of_groups = group_importances(importances, labels)
        columns = [np.flatnonzero(np.equal(labels, g)) for g in first_to_enter(alphas, of_groups, k, kind="groups")]
        return np.concatenate(columns)
    is_in = importances > 0
    n_features, n_entered = len(is_in), int(np.count_nonzero(is_in.any(axis=1)))
    if not (isinstance(k, Integral) and 1 <= k <= n_entered):
        mend = "" if n_entered == n_features else f" For more {kind}, let the path go on to smaller alphas (eps)."
        raise ValueError(
            f"k must be an int from 1 to the number of {kind} that enter the path, {n_entered} of {n_features}; "
            f"got {k!r}.{mend}"
        )
    place = np.where(is_in.any(axis=1), is_in.argmax(axis=1), len(alphas))
    at_entry = importances[np.arange(n_features), np.minimum(place, len(alphas) - 1)]
    return np.lexsort((-at_entry, place))[:k]


def entry_scores(alphas: Array, importances: Array, labels: Sequence[int] | None = None) -> Array:
    """Return the order of entry as a score of each feature: greatest for the first to enter, 0 for those that never do.

    Columns of one group have the same.
    """
    of_groups = group_importances(importances, labels)
    scores, n_entered = np.zeros(len(of_groups)), int(np.count_nonzero(of_groups.any(axis=1)))
    if n_entered:
        scores[first_to_enter(alphas, of_groups, n_entered)] = len(scores) - np.arange(n_entered)
    return scores if labels is None else scores[np.asarray(labels)]


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

    Raises
    ------
    TypeError
        If a parameter is none of the estimator's, or has no say along a path (``alpha``, ``n_members``,
        ``warm_start``).
    ValueError
        If data or parameters are out of range or do not go together, before any training.

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
    warn_of_large_units(model, table, "elastic_net_mlp_path")
    strengths = alpha_grid(model, table, given, eps, l1_ratio, "elastic_net_mlp_path")
    rows = PathFits.of(model, table, seed, [(alpha, l1_ratio) for alpha in strengths])
    (models,) = fit_together([rows], "elastic_net_mlp_path")
    warn_unless_empty(models[0], given, "elastic_net_mlp_path")
    coefs = [np.stack(layer, axis=2) for layer in zip(*(m.coefs_ for m in models), strict=True)]
    return ElasticNetMLPPath(strengths, coefs, models)
