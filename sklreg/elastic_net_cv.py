"""``ElasticNetMLPCV`` and ``ElasticNetMLPClassifierCV``: the penalty chosen by cross-validation, all fits at once."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.validation import _num_samples, check_is_fitted

from sklreg._alphas import alpha_grid, check_alphas, warn_of_large_units, warn_unless_empty
from sklreg._classifier import BaseMLPClassifier
from sklreg._guards import all_or_nothing
from sklreg._parameters import (
    CLASS_ATTRIBUTE,
    CV_ATTRIBUTES,
    CV_CONSTRAINTS,
    CV_DESCRIPTIONS,
    ERROR_ATTRIBUTE,
    FIT_ATTRIBUTES,
    IMPORTANCE_ATTRIBUTE,
    document,
)
from sklreg._path import entry_alphas, entry_scores, first_to_enter
from sklreg._path_fits import PathFits, fit_together, on_part
from sklreg._regressor import BaseMLPRegressor
from sklreg._table import Table, check_weight
from sklreg.elastic_net import ElasticNetMixin, ElasticNetMLP, ElasticNetMLPClassifier, PenaltyGroupsMixin

Array = NDArray[Any]
# What a table teaches an estimator before training.
_LEARNT = (
    "n_features_in_", "feature_names_in_", "classes_", "_multilabel", "_n_outputs", "_y_is_1d", "_class_weight"
)  # fmt: skip


class Fold(NamedTuple):
    """The training and test samples of one fold, a model that knows its classes' weights, and how it is scored."""

    model: ElasticNetMixin
    train: Table
    test: Table
    score: Callable[[Array], float] | None  # of outputs for the test samples; ``None`` is their loss


class _ElasticNetCVMixin(PenaltyGroupsMixin):
    """Chooses ``alpha`` and ``l1_ratio``, and is then the network fitted with them."""

    l1_ratio: Any
    alphas: int | ArrayLike
    eps: float
    cv: Any
    one_standard_error: bool

    alpha_: float
    l1_ratio_: float
    alphas_: Array
    scores_: Array
    feature_importances_path_: Array

    warm_start: bool = False  # every fit starts anew
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CV_CONSTRAINTS
    _single: ClassVar[type[ElasticNetMixin]]

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose the penalty by cross-validation, and fit the network with it to all samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative; in training, and in the scores of the folds.
        groups : array-like of shape (n_samples,), default=None
            Groups of samples, for a splitter ``cv`` that keeps them together.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If data, folds or parameters are out of range or do not go together, or ``scoring`` cannot judge a fold:
            before any training, and the estimator stays as it was.

        Warns
        -----
        ConvergenceWarning
            If fits diverge, or if training was too short to take the network of the greatest ``alpha`` to zero.
        UserWarning
            If the chosen network has no feature left, or there is nothing to place alphas by.
        """
        name = type(self).__name__
        given = check_alphas(self.alphas, self.eps, name)
        ratios = self._l1_ratios()
        seed = self._draw_seed()
        table = self._check_table(X, y, sample_weight, reset=True, learn_target=self._learn_target)
        whole = self._single_model()
        folds = self._folds(whole, X, y, groups, sample_weight, table)
        warn_of_large_units(whole, table, name)
        grids = [alpha_grid(whole, table, given, self.eps, ratio, name) for ratio in ratios]
        strengths = [(alpha, ratio) for ratio, grid in zip(ratios, grids, strict=True) for alpha in grid]
        # The fits to all samples are rows beside those of the folds: the chosen one is already there.
        fits = [PathFits.of(whole, table, seed, strengths)]
        fits += [PathFits.of(fold.model, fold.train, seed, strengths) for fold in folds]
        on_all, *on_folds = fit_together(fits, name)
        warn_unless_empty(on_all[0], given, name)

        shape = (len(ratios), len(grids[0]), len(folds))
        raws = [[model._outputs(fold.test.X) for model in models] for models, fold in zip(on_folds, folds, strict=True)]
        by_fold = [[_score_of(fold, raw) for raw in of_fold] for fold, of_fold in zip(folds, raws, strict=True)]
        scores = np.array(by_fold).T.reshape(shape)
        self.scores_ = scores[0] if len(ratios) == 1 else scores
        self._keep_errors(raws, folds)
        best = self._choose(scores)
        self.alphas_ = np.array(grids) if isinstance(given, int) and len(ratios) > 1 else grids[0]
        self.alpha_, self.l1_ratio_ = float(grids[best[0]][best[1]]), float(ratios[best[0]])
        n_alphas = len(grids[0])
        path = on_all[best[0] * n_alphas : (best[0] + 1) * n_alphas]
        self._path_alphas = grids[best[0]]
        self.feature_importances_path_ = np.stack([model.feature_importances_ for model in path], axis=1)
        self._take_fitted(path[best[1]])
        self._warn_if_nothing_is_left()
        return self

    # Before training ------------------------------------------------------------------------------------------

    def _penalty_strengths(self) -> tuple[float, float]:
        return self.alpha_ * self.l1_ratio_, self.alpha_ * (1 - self.l1_ratio_)

    def _l1_ratios(self) -> list[float]:
        try:
            ratios = np.atleast_1d(np.asarray(self.l1_ratio, dtype=np.float64))
        except (TypeError, ValueError):  # no numbers, or lists of several lengths
            ratios = np.empty(0)
        if ratios.ndim != 1 or not len(ratios) or not ((ratios >= 0) & (ratios <= 1)).all():
            raise ValueError(
                f"The 'l1_ratio' parameter of {type(self).__name__} must be a float in [0, 1] or a list of such "
                f"floats. Got {self.l1_ratio!r} instead."
            )
        return [float(ratio) for ratio in ratios]

    def _single_model(self) -> ElasticNetMixin:
        """Return an estimator of one penalty that knows what this one has learnt of features and targets."""
        parameters = self.get_params(deep=False)
        own = {name: value for name, value in parameters.items() if name in self._single().get_params()}
        if not self.early_stopping:
            own["scoring"] = "loss"  # it judges the folds, and there is nothing else to watch
        model = self._single(**{**own, "alpha": 0.0, "l1_ratio": 0.0})
        for name in _LEARNT:
            if name in vars(self):
                setattr(model, name, getattr(self, name))
        return model

    def _folds(
        self, whole: ElasticNetMixin, X: Any, y: Any, groups: Any, sample_weight: Any, table: Table
    ) -> list[Fold]:
        """Return the folds, checked for what would only show after training."""
        X, y, groups = indexable(X, y, groups)
        splits = list(check_cv(self.cv, table.y, classifier=is_classifier(self)).split(X, y, groups))
        if len(splits) < 1 + self.one_standard_error:
            need = "at least 2 folds: a standard error comes from several" if self.one_standard_error else "a fold"
            raise ValueError(
                f"{type(self).__name__} with one_standard_error={self.one_standard_error} needs {need}; cv makes "
                f"{len(splits)}."
            )
        n_given = _num_samples(X)
        if len(table.targets) < n_given:  # samples of weight 0 are none
            kept = check_weight(sample_weight, np.empty((n_given, 1)), "sample_weight", type(self).__name__) > 0
            place = np.cumsum(kept) - 1
            splits = [tuple(place[part][kept[part]] for part in split) for split in splits]
        folds = []
        for number, (train, test) in enumerate(splits):
            self._check_fold(number, table.select(train), len(test))
            model, train_table = on_part(whole, table.select(train))
            test_table = model._weigh_classes(table.select(test))
            judge = copy(model)
            judge.scoring = self.scoring  # which the model has only where early stopping watches it, too
            score = judge._score_function(test_table)
            if score is not None:
                of_every_class = " of every class" if is_classifier(self) else ""
                self._check_score(
                    score,
                    test_table,
                    f"the {len(test)} test samples of fold {number}",
                    f"it cannot choose. Choose folds (cv) with more samples{of_every_class}, or another scoring.",
                )
            folds.append(Fold(model, train_table, test_table, score))
        return folds

    def _check_fold(self, number: int, train: Table, n_test: int) -> None:
        name = type(self).__name__
        if not len(train.targets) or not n_test:
            raise ValueError(
                f"{name} needs samples to train on and to test on in every fold; fold {number} has "
                f"{len(train.targets)} and {n_test} (samples of weight 0 do not count). Use fewer folds (cv)."
            )
        if is_classifier(self) and not self._multilabel and len(np.unique(train.y)) < 2:
            raise ValueError(
                f"{name} needs samples of at least 2 classes in every fold; fold {number} of cv={self.cv!r} leaves "
                f"{len(train.y)} samples of one class, {train.y[:1].tolist()[0]!r}, to train on. Use stratified folds, "
                "fewer of them, or pass more data."
            )

    # After training -------------------------------------------------------------------------------------------

    def _keep_errors(self, raws: list[list[Array]], folds: list[Fold]) -> None:
        """Keep what there is to know of the folds besides their scores."""

    def _choose(self, scores: Array) -> tuple[int, int]:
        """Return the place of the chosen l1_ratio and alpha in ``(n_l1_ratio, n_alphas, n_folds)`` scores."""
        mean = scores.mean(axis=2)
        if np.isnan(mean).all():
            raise ValueError(
                f"{type(self).__name__}: scoring={self.scoring!r} is not a number for any alpha. Choose another."
            )
        ratio, place = np.unravel_index(np.nanargmax(mean), mean.shape)
        if self.one_standard_error:
            error = standard_error(scores[ratio])[place]
            place = np.flatnonzero(mean[ratio] >= mean[ratio, place] - error)[0]
        return int(ratio), int(place)

    @property
    def entry_alphas_(self) -> Array:
        """Greatest alpha at which each feature is in; 0 also where there is none."""
        return entry_alphas(self._path_alphas, self.feature_importances_path_)

    @property
    def entry_scores_(self) -> Array:
        """Order of entry as a score: greatest for the first feature, 0 for those that never enter."""
        return entry_scores(self._path_alphas, self.feature_importances_path_, self._group_labels())

    def select(self, k: int) -> Array:
        """Return the ``k`` features that enter the path of ``l1_ratio_`` first.

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
        NotFittedError
            If it is not fitted.
        ValueError
            If fewer than ``k`` enter the path, or ``k`` is not an int from 1 on.
        """
        check_is_fitted(self)
        return first_to_enter(self._path_alphas, self.feature_importances_path_, k, self._group_labels())


def standard_error(scores: Array) -> Array:
    """Return the standard error of the mean of ``(n_alphas, n_folds)`` scores."""
    with np.errstate(invalid="ignore"):  # of scores that are not finite
        return np.asarray(scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1]))


def _score_of(fold: Fold, raw: Array) -> float:
    """Return the score of outputs for the test samples, greater being better."""
    if fold.score is None:
        return -fold.test.mean_loss(raw, fold.model._loss())
    return fold.score(raw) if np.isfinite(raw).all() else -np.inf


@document(
    attributes=CV_ATTRIBUTES + ERROR_ATTRIBUTE + FIT_ATTRIBUTES + IMPORTANCE_ATTRIBUTE, descriptions=CV_DESCRIPTIONS
)
class ElasticNetMLPCV(_ElasticNetCVMixin, BaseMLPRegressor):
    r"""ElasticNetMLP with ``alpha`` and ``l1_ratio`` chosen by cross-validation.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ElasticNetMLP : The same with a given penalty.
    elastic_net_mlp_path : All networks along the path.
    ElasticNetMLPClassifierCV : The same for classification.
    sklearn.linear_model.ElasticNetCV : The linear case, by coordinate descent.

    Notes
    -----
    All fits are rows of one computation: each alpha and ``l1_ratio`` on each fold, and on all samples.  The chosen one
    of the latter is what :class:`ElasticNetMLP` fits with ``alpha_`` and ``l1_ratio_``.  Under
    :func:`batched_training` they train together with those of other tasks, too.

    To keep the ``k`` features that enter the path first, as a step of a pipeline, use
    :class:`~sklearn.feature_selection.SelectFromModel` with ``importance_getter='entry_scores_', max_features=k,
    threshold=-np.inf``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklreg import ElasticNetMLPCV
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> y = 3 * X[:, 2] + X[:, 5]
    >>> model = ElasticNetMLPCV(hidden_layer_sizes=(), l1_ratio=[0.5, 1.0], alphas=20, learning_rate_init=0.05,
    ...                         one_standard_error=True, random_state=0).fit(X, y)
    >>> model.l1_ratio_, model.mse_path_.shape
    (1.0, (2, 20, 5))
    >>> model.select(2).tolist()
    [2, 5]
    """

    mse_path_: Array
    _single = ElasticNetMLP

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        *,
        activation: str = "relu",
        l1_ratio: float | list[float] = 0.5,
        eps: float = 1e-3,
        alphas: int | ArrayLike = 50,
        cv: Any = None,
        one_standard_error: bool = False,
        penalty_groups: str = "weights",
        feature_groups: Any = None,
        hierarchy: float = 10.0,
        penalty_warmup: float = 0.3,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        swap_noise: float = 0.0,
        normalization: str | None = None,
        max_norm: float | None = None,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        solver: str = "adam",
        learning_rate_init: float = 1e-2,
        learning_rate: str = "cosine",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        weight_averaging: float | str = 0.0,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 20,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "loss",
        device: str = "auto",
        dtype: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self._store(locals())

    def _keep_errors(self, raws: list[list[Array]], folds: list[Fold]) -> None:
        errors = [
            [
                float(np.average(((raw - fold.test.targets) ** 2).mean(axis=1), weights=fold.test.weight))
                for raw in of_fold
            ]
            for of_fold, fold in zip(raws, folds, strict=True)
        ]
        self.mse_path_ = np.array(errors).T.reshape(self.scores_.shape)


@document(
    attributes=CV_ATTRIBUTES + CLASS_ATTRIBUTE + FIT_ATTRIBUTES + IMPORTANCE_ATTRIBUTE, descriptions=CV_DESCRIPTIONS
)
class ElasticNetMLPClassifierCV(_ElasticNetCVMixin, BaseMLPClassifier):
    r"""ElasticNetMLPClassifier with ``alpha`` and ``l1_ratio`` chosen by cross-validation.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ElasticNetMLPClassifier : The same with a given penalty.
    elastic_net_mlp_path : All networks along the path.
    ElasticNetMLPCV : The same for regression.
    sklearn.linear_model.LogisticRegressionCV : The linear case.

    Notes
    -----
    All fits are rows of one computation: each alpha and ``l1_ratio`` on each fold, and on all samples.  The chosen one
    of the latter is what :class:`ElasticNetMLPClassifier` fits with ``alpha_`` and ``l1_ratio_``.  Under
    :func:`batched_training` they train together with those of other tasks, too.

    To keep the ``k`` features that enter the path first, as a step of a pipeline, use
    :class:`~sklearn.feature_selection.SelectFromModel` with ``importance_getter='entry_scores_', max_features=k,
    threshold=-np.inf``.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklreg import ElasticNetMLPClassifierCV
    >>> X, y = make_classification(200, 10, n_informative=2, n_redundant=0, shuffle=False, random_state=0)
    >>> model = ElasticNetMLPClassifierCV((8,), penalty_groups="features", l1_ratio=1.0, alphas=20, cv=3,
    ...                                   learning_rate_init=0.01, max_iter=100, random_state=0).fit(X, y)
    >>> sorted(model.select(2).tolist())
    [0, 1]
    """

    _single = ElasticNetMLPClassifier

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        *,
        activation: str = "relu",
        l1_ratio: float | list[float] = 0.5,
        eps: float = 1e-3,
        alphas: int | ArrayLike = 50,
        cv: Any = None,
        one_standard_error: bool = False,
        penalty_groups: str = "weights",
        feature_groups: Any = None,
        hierarchy: float = 10.0,
        penalty_warmup: float = 0.3,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        swap_noise: float = 0.0,
        normalization: str | None = None,
        max_norm: float | None = None,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "adam",
        learning_rate_init: float = 1e-2,
        learning_rate: str = "cosine",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        weight_averaging: float | str = 0.0,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 20,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "loss",
        device: str = "auto",
        dtype: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self._store(locals())
