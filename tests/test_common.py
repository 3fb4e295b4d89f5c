"""scikit-learn's own checks, for every estimator and every setting that takes another path through the code."""

from __future__ import annotations

from collections import Counter

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, RegularizedMLPClassifier, RegularizedMLPRegressor

ESTIMATORS = [RegularizedMLPClassifier, RegularizedMLPRegressor, ElasticNetMLP, ElasticNetMLPClassifier]
SETTINGS = {
    "defaults": {},
    "batch norm": {"normalization": "batch"},
    "layer norm": {"normalization": "layer"},
    "mini-batches": {"batch_size": 32, "max_iter": 50},
    "full batch": {"batch_size": "full", "early_stopping": False, "learning_rate": "cosine"},
    "linear": {"hidden_layer_sizes": (), "learning_rate_init": 0.05},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "max_norm": 4.0, "max_grad_norm": 10.0},
    "scored": {"patience": 50},  # the scorer is added for each kind
}


def instances() -> list:
    """Return every estimator with every setting."""
    made = []
    for estimator in ESTIMATORS:
        for name, setting in SETTINGS.items():
            parameters = {"max_iter": 100, **setting}
            if name == "scored":
                parameters["scoring"] = "neg_mean_squared_error" if "Classifier" not in estimator.__name__ else "accuracy"
            made.append(estimator(**parameters))
        if estimator in (RegularizedMLPClassifier, RegularizedMLPRegressor):
            made.append(estimator(l1=1e-4, max_iter=100))
    return made


INSTANCES = instances()


@parametrize_with_checks(INSTANCES)
def test_estimator_keeps_scikit_learns_contract(estimator, check):
    check(estimator)
