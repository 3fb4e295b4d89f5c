"""What a scorer sees of an estimator while it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import Tags

Array = NDArray[Any]


class ScoredView:
    """Predicts for the samples of validation, whose outputs are there; nobody can be asked about others yet."""

    def __init__(self, estimator: Any, raw: Array, X: Any) -> None:
        self._estimator, self._raw, self._X = estimator, raw, X
        self.n_features_in_ = estimator.n_features_in_

    def _outputs_for(self, X: Any) -> Array:
        """Return the network's outputs for ``X``, which must be the samples that the scorer is called with."""
        if not (X is self._X or _are_equal(X, self._X)):
            raise ValueError(
                "it predicts for other samples than those that it is called with, or changes them, and while a network "
                "trains there are predictions for its validation set alone. Predict on X as it is, and select or sort "
                "the predictions."
            )
        return self._raw

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags, those of the estimator."""
        tags: Tags = self._estimator.__sklearn_tags__()
        return tags


def _are_equal(X: Any, other: Any) -> bool:
    if np.shape(X) != other.shape:
        return False
    if sparse.issparse(X) or sparse.issparse(other):
        return bool(sparse.issparse(X) and sparse.issparse(other) and (other != X).nnz == 0)
    return np.array_equal(np.asarray(X), other)
