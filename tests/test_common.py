"""scikit-learn's own checks, for every estimator and every setting that takes another path through the code."""

from __future__ import annotations

from collections import Counter

import pytest
import sklearn
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.fixes import parse_version

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    ElasticNetMLPClassifierCV,
    ElasticNetMLPCV,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    StabilitySelector,
)

FEW_EPOCHS = {"max_iter": 25, "learning_rate_init": 0.01}
SMALL = {**FEW_EPOCHS, "hidden_layer_sizes": (50,)}  # beside the defaults
INSTANCES = [
    RegularizedMLPClassifier(**FEW_EPOCHS),
    RegularizedMLPRegressor(**FEW_EPOCHS),
    RegularizedMLPClassifier(**SMALL, normalization="batch"),
    RegularizedMLPRegressor(**{**SMALL, "hidden_layer_sizes": (), "learning_rate_init": 0.05}),
    RegularizedMLPRegressor(**SMALL, batch_size="full", early_stopping=False, learning_rate="cosine"),
    RegularizedMLPClassifier(**SMALL, n_members=2),
    RegularizedMLPClassifier((16, 16), **FEW_EPOCHS, residual=True, input_scaling="robust", n_bins=4, focal_gamma=0.5),
    ElasticNetMLPClassifier(**FEW_EPOCHS),
    ElasticNetMLP(**{**FEW_EPOCHS, "hidden_layer_sizes": (), "learning_rate_init": 0.05}, n_members=2),
    ElasticNetMLP(**{**FEW_EPOCHS, "penalty_groups": "hierarchical", "max_iter": 15}),
    ElasticNetMLPCV(**FEW_EPOCHS, alphas=[1e-4], cv=2),
    ElasticNetMLPClassifierCV(**FEW_EPOCHS, alphas=[1e-4], l1_ratio=0.0, cv=2),
    StabilitySelector(
        ElasticNetMLP((8,), max_iter=5, early_stopping=False), n_resamples=2, alphas=[1e-2, 1e-3], threshold=0.0
    ),
]
# What the two have in common is checked once.
MORE_INSTANCES = [
    RegularizedMLPClassifier(**SMALL, normalization="layer", activation="silu"),
    RegularizedMLPClassifier(**SMALL, l1=1e-4),
    RegularizedMLPClassifier(**SMALL, scoring="accuracy"),
    RegularizedMLPRegressor(**SMALL, scoring="neg_mean_absolute_error"),
    RegularizedMLPRegressor(**{**SMALL, "batch_size": 32, "max_iter": 15}),
    RegularizedMLPRegressor(
        **{**SMALL, "solver": "sgd", "learning_rate_init": 0.05, "max_norm": 4.0, "max_grad_norm": 10.0}
    ),
    ElasticNetMLPClassifier(**{**FEW_EPOCHS, "penalty_groups": "features", "max_iter": 15}),
]


@pytest.mark.filterwarnings("ignore:.*has dropped all")
@parametrize_with_checks(INSTANCES)
def test_estimator_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*has dropped all")
@parametrize_with_checks(MORE_INSTANCES)
def test_estimator_with_other_settings_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="older versions have fewer checks"
)
def test_no_check_is_missing():
    """A wrong tag would drop most checks and leave the rest green."""
    counts = Counter(type(e).__name__ for e, _ in estimator_checks_generator(RegularizedMLPClassifier()))
    counts.update(type(e).__name__ for e, _ in estimator_checks_generator(RegularizedMLPRegressor()))
    assert counts["RegularizedMLPClassifier"] >= 66
    assert counts["RegularizedMLPRegressor"] >= 58
