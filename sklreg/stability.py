"""``StabilitySelector``: the features that are selected again and again, on half of the samples at a time."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone, is_classifier
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from sklreg._alphas import alpha_grid, check_alphas, warn_of_large_units, warn_unless_empty
from sklreg._guards import on_cpu_unless_told
from sklreg._path import first_to_enter, group_importances
from sklreg._path_fits import PathFits, fit_together, on_part
from sklreg.elastic_net import ElasticNetMixin

Array = NDArray[Any]


class StabilitySelector(SelectorMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Select the features that enter the path of penalties first on most random halves of the samples.

    Stability selection (Meinshausen and Bühlmann, 2010): on each resample the ``n_features_per_fit`` features that
    enter first are counted, and those counted in a share of at least ``threshold`` of the resamples are selected.  All
    fits, of every resample and alpha, are rows of one computation.

    Parameters
    ----------
    estimator : ElasticNetMLP or ElasticNetMLPClassifier
        The network, with ``early_stopping=False``.  Its ``alpha`` and ``random_state`` play no part.  ``l1_ratio=1.0``,
        ``penalty_groups='features'`` or ``'hierarchical'``, ``penalty_warmup=0.3``, ``learning_rate='cosine'`` and
        ``learning_rate_init=0.01`` suit best.
    n_resamples : int, default=50
        Number of random parts of the samples, at least 1; stratified for a classifier.
    sample_fraction : float, default=0.5
        Share of the samples in each, in (0, 1).
    n_features_per_fit : int, default=None
        Number of features (or of the network's ``feature_groups``) that are counted on each resample, at least 1.
        ``None`` is the square root of 0.8 times the number of features, with which at most 1.6 of those selected at the
        default ``threshold`` are there by chance, on average, and at most one at 0.9.
    alphas : int or array-like, default=20
        Number of alphas along the path, or the alphas themselves.
    eps : float, default=0.01
        Length of the path: the smallest alpha as a share of the greatest, in (0, 1).
    threshold : float, default=0.75
        Least share of the resamples in which a selected feature is counted, in [0, 1].
    random_state : int, RandomState instance or None, default=None
        Seed of the resamples and of the networks, each its own.

    Attributes
    ----------
    selection_probabilities_ : ndarray of shape (n_features,)
        Share of the resamples in which each feature is counted.
    alphas_ : ndarray of shape (n_alphas,)
        The strengths along the path, decreasing.
    n_features_per_fit_ : int
        Number of features that are counted on each resample.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where ``X`` had any.

    Warns
    -----
    ConvergenceWarning
        If fits diverge (their features are not counted), or if training was too short to take the networks of the
        greatest ``alpha`` to zero: features may then be counted because of the weights that training began with.

    See Also
    --------
    sklearn.feature_selection.SelectFromModel : Select by the importances in one fit.
    ElasticNetMLPCV : Choose alpha by cross-validation.

    Notes
    -----
    If :math:`q` features are counted on each of many halves, of :math:`p` features that are exchangeable but for those
    that matter, at most :math:`q^2 / ((2 \pi - 1) p)` are selected by chance, on average, at a threshold :math:`\pi`
    above 0.5.

    References
    ----------
    N. Meinshausen and P. Bühlmann (2010). Stability selection. Journal of the Royal Statistical Society B 72(4).

    Examples
    --------
    >>> import numpy as np
    >>> from sklreg import ElasticNetMLP, StabilitySelector
    >>> X = np.random.default_rng(0).normal(size=(200, 10))
    >>> y = 2 * X[:, 2] + X[:, 5]
    >>> network = ElasticNetMLP((8,), l1_ratio=1.0, penalty_groups="features", early_stopping=False, random_state=0,
    ...                         learning_rate="cosine", learning_rate_init=0.02, max_iter=100)
    >>> selector = StabilitySelector(network, n_resamples=10, random_state=0).fit(X, y)
    >>> selector.get_support(indices=True)
    array([2, 5])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "sample_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_features_per_fit": [Interval(Integral, 1, None, closed="left"), None],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        n_resamples: int = 50,
        sample_fraction: float = 0.5,
        n_features_per_fit: int | None = None,
        alphas: int | ArrayLike = 20,
        eps: float = 0.01,
        threshold: float = 0.75,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_resamples = n_resamples
        self.sample_fraction = sample_fraction
        self.n_features_per_fit = n_features_per_fit
        self.alphas = alphas
        self.eps = eps
        self.threshold = threshold
        self.random_state = random_state

    @on_cpu_unless_told
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Count on every resample which features enter first.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative, in the fits; resamples are drawn without them.

        Returns
        -------
        self : object
            The fitted selector.

        Raises
        ------
        ValueError
            If ``estimator`` is none of ours or has settings that select nothing, or data or parameters are out of
            range: before any training.

        Warns
        -----
        ConvergenceWarning
            If fits diverge, or if training was too short to take the network of the greatest ``alpha`` to zero.
        """
        model = self._model()
        given = check_alphas(self.alphas, self.eps, type(self).__name__)
        table = model._check_table(X, y, sample_weight, reset=True, learn_target=model._learn_target)
        labels = model._group_labels()
        n_features = model.n_features_in_ if labels is None else max(labels) + 1
        per_fit = max(1, int(np.sqrt(0.8 * n_features))) if self.n_features_per_fit is None else self.n_features_per_fit
        if per_fit > n_features:
            raise ValueError(
                f"n_features_per_fit of {type(self).__name__} must be at most the number of features (or groups), "
                f"{n_features}; got {per_fit}."
            )
        warn_of_large_units(model, table, type(self).__name__)
        alphas = alpha_grid(model, table, given, self.eps, model.l1_ratio, type(self).__name__)
        random = check_random_state(self.random_state)
        is_stratified = is_classifier(model) and not model._multilabel
        splitter = StratifiedShuffleSplit if is_stratified else ShuffleSplit
        resamples = splitter(self.n_resamples, train_size=self.sample_fraction, random_state=random.randint(2**31))
        # Each from weights of its own: what one draw of them favours is not to be counted again and again.
        seeds = random.randint(2**31, size=self.n_resamples).tolist()
        strengths = [(alpha, model.l1_ratio) for alpha in alphas]
        groups = [
            PathFits.of(*on_part(model, table.select(part)), seed, strengths)
            for seed, (part, _) in zip(seeds, resamples.split(table.targets, table.y), strict=True)
        ]
        paths = fit_together(groups, type(self).__name__)
        warn_unless_empty(max((path[0] for path in paths), key=_n_selected), given, type(self).__name__)
        counts = np.zeros(model.n_features_in_)
        for path in paths:
            # A fit that has diverged was stopped before its last epoch, and says nothing of features.
            converged = [not fitted._diverged for fitted in path]
            importances = np.stack([fitted.feature_importances_ for fitted in path], axis=1) * converged
            n_entered = int(group_importances(importances, labels).any(axis=1).sum())
            if n_entered:
                counts[first_to_enter(alphas, importances, min(per_fit, n_entered), labels)] += 1
        self.selection_probabilities_ = counts / self.n_resamples
        self.alphas_, self.n_features_per_fit_, self.n_features_in_ = alphas, per_fit, model.n_features_in_
        if hasattr(model, "feature_names_in_"):
            self.feature_names_in_ = model.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def _model(self) -> ElasticNetMixin:
        if not isinstance(self.estimator, ElasticNetMixin):
            raise ValueError(
                f"estimator of {type(self).__name__} must be an ElasticNetMLP or an ElasticNetMLPClassifier; got "
                f"{self.estimator!r}."
            )
        model: ElasticNetMixin = clone(self.estimator)
        model._validate_params()
        if model.early_stopping:
            raise ValueError(
                f"estimator of {type(self).__name__} must have early_stopping=False: an early stop keeps weights that "
                "the penalty has not yet taken to zero. Set it, and learning_rate='cosine'."
            )
        if model.n_members > 1:
            raise ValueError(
                f"estimator of {type(self).__name__} must have n_members=1; got {model.n_members}. Raise n_resamples: "
                "every resample has a network of its own."
            )
        return model

    def _get_support_mask(self) -> Array:
        check_is_fitted(self)
        return np.asarray(self.selection_probabilities_ >= self.threshold)

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: those of the estimator's input, and that a target is needed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags


def _n_selected(model: ElasticNetMixin) -> int:
    return int(np.count_nonzero(model.feature_importances_))
