"""What the regressors share: targets in units of their standard deviation, one or several."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from torch import Tensor

from sklreg._base import BaseRegularizedMLP
from sklreg._guards import all_or_nothing
from sklreg._scored import ScoredView
from sklreg._table import Array, Table
from sklreg._warnings import warn_user
from sklreg.engine import OutputUnits

_LEAST_SPREAD = 1e-30


class BaseMLPRegressor(MultiOutputMixin, RegressorMixin, BaseRegularizedMLP):
    """Base class of the regressors; do not use it directly."""

    _y_is_1d: bool
    _y_numeric: ClassVar[bool] = True

    def _learn_target(self, y: Array) -> None:
        self._y_is_1d = y.ndim == 1 or y.shape[1] == 1
        if y.ndim == 2 and y.shape[1] == 1:
            column_or_1d(y, warn=True)
        self._n_outputs = 1 if y.ndim == 1 else y.shape[1]

    def _encode(self, y: Array) -> Array:
        values = y.reshape(len(y), -1).astype(np.float64)
        if values.shape[1] != self._n_outputs:
            raise ValueError(
                f"{type(self).__name__} was fitted on {self._n_outputs} target(s); got y of shape {y.shape}. "
                "Pass as many, or fit anew."
            )
        return values

    def _strata(self, targets: Array) -> NDArray[np.int64]:
        return np.zeros(len(targets), dtype=np.int64)

    def _perfect_outputs(self, targets: Array) -> Array:
        return targets

    @property
    def _keep_strata(self) -> bool:
        return True

    def _learn_class_weight(self, targets: Array, weight: Array | None) -> None:
        """There are no classes."""

    def _class_weights(self, targets: Array) -> None:
        return None

    def _loss(self) -> str:
        return "squared_error"

    def _units(self, table: Table) -> tuple[OutputUnits, Tensor]:
        targets = table.targets
        constant = np.ptp(targets, axis=0) == 0
        # A constant target has no spread but what rounding leaves.
        mean = np.where(constant, targets[0], np.average(targets, axis=0, weights=table.loss_weight))
        farthest = np.where(constant, 1.0, np.abs(targets - mean).max(axis=0))  # its square may be out of range
        scale = farthest * np.sqrt(np.average(((targets - mean) / farthest) ** 2, axis=0, weights=table.loss_weight))
        if not np.logical_or(constant, (scale > _LEAST_SPREAD) & (scale < 1 / _LEAST_SPREAD)).all():
            raise ValueError(
                f"{type(self).__name__} needs a target whose standard deviation is between {_LEAST_SPREAD:g} and "
                f"{1 / _LEAST_SPREAD:g}, or its squared error is out of range; got {scale}. Scale y."
            )
        # Its units are those of the others, so that it has no say in how much these count.
        others = scale[~constant]
        scale[constant] = np.sqrt((others**2).mean()) if len(others) else 1.0
        units = OutputUnits(torch.from_numpy(scale), torch.from_numpy(mean))
        return units, torch.zeros_like(units.offset)

    def predict(self, X: ArrayLike) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        value : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        return self._value(self._raw_predict(X))

    def predict_samples(
        self, X: ArrayLike, n_samples: int | None = None, *, random_state: int | np.random.RandomState | None = None
    ) -> Array:
        """Return predictions of single networks: those that dropout thins out, the members of an ensemble, or both.

        How far they lie apart says how sure the model is of its mean, and their mean is the Monte Carlo estimate of
        what dropout approximates when predicting (Gal and Ghahramani, 2016).

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
        value : ndarray of shape (n_samples, n_inputs) or (n_samples, n_inputs, n_outputs)
            The predictions of each network.

        Raises
        ------
        ValueError
            If there is neither dropout nor more than one network, or if ``n_samples`` is out of range.
        """
        return self._value(self._raw_samples(X, n_samples, random_state))

    def predict_std(
        self, X: ArrayLike, n_samples: int | None = None, *, random_state: int | np.random.RandomState | None = None
    ) -> Array:
        """Return the standard deviation of :meth:`predict_samples`: how sure the model is of its mean.

        It grows where there were few samples to learn from.  It leaves out the noise of the target: single values
        spread more.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_inputs, n_features)
            Inputs.
        n_samples : int, default=None
            Number of networks, at least 2, as in :meth:`predict_samples`.
        random_state : int, RandomState instance or None, default=None
            Seed of what is dropped.

        Returns
        -------
        std : ndarray of shape (n_inputs,) or (n_inputs, n_outputs)
            The standard deviations, in the target's units.

        Raises
        ------
        ValueError
            If there is neither dropout nor more than one network, or if ``n_samples`` is out of range.
        """
        return np.asarray(self._value(self._raw_samples(X, n_samples, random_state, least=2)).std(axis=0))

    def _value(self, raw: Array) -> Array:
        return raw[..., 0] if self._y_is_1d else raw

    def _scored_view(self, raw: Array, X: Any) -> Any:
        return _ScoredRegressor(self, raw, X)


class IncrementalMLPRegressor(BaseMLPRegressor):
    """Base class of the regressors that also learn pass by pass; do not use it directly."""

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Take one pass over the samples, continuing from the weights and the optimizer of the last one.

        The pass runs at ``learning_rate_init``; schedule, ``max_iter``, early stopping and ``warm_start`` play no part.
        The units of the target are those of the first call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If data or parameters are out of range, do not go together or not with the calls before.  The estimator
            stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the loss or the weights were no longer finite; those before the pass are kept.
        UserWarning
            If all targets of the first call are equal, which leaves their units unknown.
        """

        def learn_target(y: Array) -> None:
            if not self.__sklearn_is_fitted__():
                self._learn_target(y)
                if (np.ptp(y, axis=0) == 0).any():
                    warn_user(
                        f"partial_fit of {type(self).__name__} takes the units of the target from the first call, "
                        f"whose {len(y)} targets are equal; they are trained in units of 1. Begin with more samples."
                    )

        return self._partial_fit(X, y, sample_weight, learn_target)


class _ScoredRegressor(RegressorMixin, ScoredView):
    """What a scorer sees of a regressor in training."""

    def predict(self, X: Any) -> Any:
        return self._estimator._value(self._outputs_for(X))
