"""What the classifiers share: labels and probabilities."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import Tags, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch import Tensor

from sklreg._base import BaseRegularizedMLP
from sklreg._guards import all_or_nothing
from sklreg._labels import balanced_class_weight, check_label_smoothing, encode_labels, given_class_weight
from sklreg._scored import ScoredView
from sklreg._table import Array, Table
from sklreg.engine import OutputUnits

_LEAST_PRIOR = 1e-4  # a label that (almost) every sample has, or none, starts at this distance from certainty


class BaseMLPClassifier(ClassifierMixin, BaseRegularizedMLP):
    """Base class of the classifiers; do not use it directly."""

    label_smoothing: float
    class_weight: dict[Any, float] | str | None
    classes_: Array
    _multilabel: bool
    _class_weight: Array | None
    _y_numeric: ClassVar[bool] = False

    # Labels ---------------------------------------------------------------------------------------------------

    def _learn_target(self, y: Array, classes: ArrayLike | None = None) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                f"{type(self).__name__} takes one label a sample, or several as a 0/1 matrix; got a matrix of several "
                "classes. Wrap the estimator in sklearn.multioutput.MultiOutputClassifier."
            )
        before = (self.classes_, self._multilabel) if self.warm_start and self.__sklearn_is_fitted__() else None
        self._multilabel = kind == "multilabel-indicator"
        if self._multilabel:
            self.classes_ = np.arange(y.shape[1])
        else:
            self.classes_ = np.unique(column_or_1d(y, warn=True) if classes is None else np.asarray(classes))
            if len(self.classes_) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes; got 1 class: {self.classes_[0]!r} "
                    "(samples of weight 0 do not count)."
                )
        if before is not None and not (np.array_equal(before[0], self.classes_) and before[1] == self._multilabel):
            raise ValueError(
                f"{type(self).__name__} cannot continue with warm_start=True: it was fitted on the classes "
                f"{before[0]!r}, and y holds {self.classes_!r}. Set warm_start=False, or keep the classes."
            )
        self._n_outputs = len(self.classes_) if self._multilabel or len(self.classes_) > 2 else 1
        self._check_label_parameters()

    def _check_label_parameters(self) -> None:
        """Refuse what does not go with the labels."""
        if self._multilabel and self.class_weight is not None:
            raise ValueError(
                f"{type(self).__name__}: class_weight={self.class_weight!r} is for one label a sample; got several. "
                "Set class_weight=None and weight samples by sample_weight."
            )
        check_label_smoothing(self.label_smoothing, len(self.classes_), type(self).__name__, several=self._multilabel)

    def _encode(self, y: Array) -> Array:
        if self._multilabel:
            if type_of_target(y) != "multilabel-indicator" or y.shape[1] != self._n_outputs:
                raise ValueError(
                    f"{type(self).__name__} was fitted on a 0/1 matrix of {self._n_outputs} labels; got y of shape "
                    f"{y.shape} ({type_of_target(y)}). Pass such a matrix, or fit anew."
                )
            return (y.toarray() if hasattr(y, "toarray") else y).astype(np.float64)
        codes = encode_labels(column_or_1d(y, warn=False), self.classes_, type(self).__name__)
        if self._n_outputs == 1:
            return codes[:, None].astype(np.float64)
        return np.eye(self._n_outputs)[codes]

    def _strata(self, targets: Array) -> NDArray[np.int64]:
        if self._multilabel or self._n_outputs == 1:
            return np.asarray(np.unique(targets, axis=0, return_inverse=True)[1].ravel())
        return np.asarray(targets.argmax(axis=1))

    def _perfect_outputs(self, targets: Array) -> Array:
        return np.where(targets > 0, 10.0, -10.0)

    @property
    def _keep_strata(self) -> bool:
        return not self._multilabel  # a combination of labels is no class of its own

    def _one_hot(self, targets: Array) -> Array:
        return np.hstack([1 - targets, targets]) if self._n_outputs == 1 else targets

    def _learn_class_weight(self, targets: Array, weight: Array | None) -> None:
        self._class_weight = None
        if self.class_weight == "balanced":
            one_hot = self._one_hot(targets)
            self._class_weight = balanced_class_weight(one_hot.sum(axis=0) if weight is None else weight @ one_hot)
        elif isinstance(self.class_weight, dict):
            self._class_weight = given_class_weight(self.class_weight, self.classes_, type(self).__name__)

    def _class_weights(self, targets: Array) -> Array | None:
        return None if self._class_weight is None else np.asarray(self._one_hot(targets) @ self._class_weight)

    def _loss(self) -> str:
        return "binary_cross_entropy" if self._multilabel or self._n_outputs == 1 else "cross_entropy"

    def _units(self, table: Table) -> tuple[OutputUnits, Tensor]:
        prior = np.average(table.targets, axis=0, weights=table.loss_weight)
        prior = np.clip(prior, _LEAST_PRIOR, 1 - _LEAST_PRIOR)
        if self._loss() == "binary_cross_entropy":
            initial = np.log(prior) - np.log1p(-prior)
        else:
            initial = np.log(prior) - np.log(prior).mean()
        n = self._n_outputs
        units = OutputUnits(torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64))
        return units, torch.from_numpy(initial)

    # Predicting -----------------------------------------------------------------------------------------------

    def decision_function(self, X: ArrayLike) -> Array:
        """Return log-odds, or for more than two classes log-probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The log-odds of the second class where there are two, and of every label where a sample has several; else
            the log-probability of every class.
        """
        return self._decision(self._raw_predict(X))

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of every class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``; for several labels, that of each label.
        """
        return self._proba(self._raw_predict(X))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of the probability of every class, exact where the probability would round to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
            Log-probabilities in the order of ``classes_``.
        """
        return self._log_proba(self._raw_predict(X))

    def _log_proba(self, raw: Array) -> Array:
        if self._multilabel:
            return np.asarray(-np.logaddexp(0, -raw))
        if self._n_outputs == 1:
            return np.asarray(-np.logaddexp(0, np.hstack([raw, -raw])))
        return self._decision(raw)

    def predict_proba_samples(
        self, X: ArrayLike, n_samples: int | None = None, *, random_state: int | np.random.RandomState | None = None
    ) -> Array:
        """Return probabilities from single networks: those that dropout thins out, the members of an ensemble, or both.

        How far they lie apart says how sure the model is of its probabilities, and their mean is the Monte Carlo
        estimate of what dropout approximates when predicting (Gal and Ghahramani, 2016).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_inputs, n_features)
            Inputs.
        n_samples : int, default=None
            Number of networks, at least 1.  Each drops the same units for all inputs.  With ``n_members`` above 1 they
            come from the members in turn; without dropout they are the members, and there are no more than these.
            ``None`` is 100, or the next multiple of ``n_members``; without dropout ``n_members``.
        random_state : int, RandomState instance or None, default=None
            Seed of what is dropped.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_inputs, n_classes)
            The probabilities of each network.

        Raises
        ------
        ValueError
            If there is neither dropout nor more than one network, or if ``n_samples`` is out of range.
        """
        raw = self._raw_samples(X, n_samples, random_state)
        proba = self._proba(raw.reshape(-1, raw.shape[2]))
        return proba.reshape(*raw.shape[:2], proba.shape[1])

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class, or the labels more probable than not.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        label : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Class labels.
        """
        return self._label(self._raw_predict(X))

    def _decision(self, raw: Array) -> Array:
        if self._multilabel:
            return raw
        # Outputs are those of a sample up to a number that is the sample's own.  What looks at one class at a time, as
        # CalibratedClassifierCV does, needs numbers that compare between samples.
        return raw[:, 0] if self._n_outputs == 1 else np.asarray(log_softmax(raw, axis=1))

    def _proba(self, raw: Array) -> Array:
        if self._multilabel:
            return np.asarray(expit(raw))
        return np.hstack([expit(-raw), expit(raw)]) if self._n_outputs == 1 else np.asarray(softmax(raw, axis=1))

    def _label(self, raw: Array) -> Array:
        if self._multilabel:
            return (raw > 0).astype(int)
        codes = (raw[:, 0] > 0).astype(int) if self._n_outputs == 1 else raw.argmax(axis=1)
        label: Array = self.classes_[codes]
        return label

    def _scored_view(self, raw: Array, X: Any) -> Any:
        return _ScoredClassifier(self, raw, X)

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: several labels are taken."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class IncrementalMLPClassifier(BaseMLPClassifier):
    """Base class of the classifiers that also learn pass by pass; do not use it directly."""

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take one pass over the samples, continuing from the weights and the optimizer of the last one.

        The pass runs at ``learning_rate_init``; schedule, ``max_iter``, early stopping and ``warm_start`` play no part.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur; needed in the first call, unless ``y`` holds several labels a sample.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If data or parameters are out of range, do not go together or not with the calls before, or ``classes`` is
            missing in the first call.  The estimator stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the loss or the weights were no longer finite; those before the pass are kept.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                f"{type(self).__name__}: class_weight='balanced' needs all samples, and partial_fit sees some at a "
                "time. Compute the weights beforehand (sklearn.utils.class_weight.compute_class_weight) and pass a "
                "dict."
            )

        def learn_target(y: Array) -> None:
            if classes is None and not self.__sklearn_is_fitted__() and type_of_target(y) != "multilabel-indicator":
                raise ValueError(
                    f"classes must be passed on the first call to partial_fit of {type(self).__name__}, because later "
                    "calls may bring classes that this one does not. Pass classes=np.unique(all labels)."
                )
            if self.__sklearn_is_fitted__():
                if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
                    raise ValueError(
                        f"classes={classes!r} is not the same as in the first call to partial_fit of "
                        f"{type(self).__name__}, which had {self.classes_!r}. Pass the same, or none."
                    )
                self._check_label_parameters()
                return
            self._learn_target(y, classes)

        return self._partial_fit(X, y, sample_weight, learn_target)


class _ScoredClassifier(ClassifierMixin, ScoredView):
    """What a scorer sees of a classifier in training."""

    @property
    def classes_(self) -> Any:
        return self._estimator.classes_

    def predict(self, X: Any) -> Any:
        return self._estimator._label(self._outputs_for(X))

    def predict_proba(self, X: Any) -> Any:
        return self._estimator._proba(self._outputs_for(X))

    def predict_log_proba(self, X: Any) -> Any:
        return self._estimator._log_proba(self._outputs_for(X))

    def decision_function(self, X: Any) -> Any:
        return self._estimator._decision(self._outputs_for(X))
