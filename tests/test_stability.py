"""Features that are selected again and again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.pipeline import make_pipeline

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, StabilitySelector, elastic_net_mlp_path

SETTING = {
    "hidden_layer_sizes": (8,), "l1_ratio": 1.0, "penalty_groups": "features", "early_stopping": False,
    "learning_rate": "cosine", "learning_rate_init": 0.02, "max_iter": 60, "penalty_warmup": 0.3, "random_state": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 12))
    return X, 2 * X[:, 3] + X[:, 7] + 0.5 * rng.normal(size=200)


def test_features_that_matter_are_selected_and_all_fits_are_one_computation(data, trainings):
    X, y = data
    selector = StabilitySelector(ElasticNetMLP(**SETTING), n_resamples=10, alphas=8, threshold=0.9, random_state=0)
    selector.fit(X, y)
    assert trainings == [80]
    assert selector.get_support(indices=True).tolist() == [3, 7]
    assert selector.selection_probabilities_.sum() <= selector.n_features_per_fit_ + 1e-9
    assert_array_equal(selector.transform(X), X[:, [3, 7]])


def test_a_share_is_that_of_paths_fitted_one_by_one(data):
    X, y = data
    y = (y > 0).astype(int)
    model = ElasticNetMLPClassifier(**SETTING)
    selector = StabilitySelector(model, n_resamples=3, n_features_per_fit=2, alphas=[0.2, 0.1, 0.03], random_state=1)
    selector.fit(X, y)
    from sklearn.model_selection import StratifiedShuffleSplit

    counts = np.zeros(12)
    setting = {name: value for name, value in SETTING.items() if name != "l1_ratio"}
    for part, _ in StratifiedShuffleSplit(3, train_size=0.5, random_state=1).split(X, y):
        path = elastic_net_mlp_path(X[part], y[part], loss="log_loss", l1_ratio=1.0, alphas=[0.2, 0.1, 0.03], **setting)
        counts[path.select(2)] += 1
    assert_array_equal(selector.selection_probabilities_, counts / 3)


def test_names_go_through_a_pipeline(data):
    X, y = data
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(12)])
    selector = StabilitySelector(ElasticNetMLP(**SETTING), n_resamples=4, alphas=6, threshold=0.9, random_state=0)
    pipeline = make_pipeline(selector.set_output(transform="pandas"), ElasticNetMLP(**SETTING)).fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == pipeline[:-1].get_feature_names_out().tolist()
    assert {"x3", "x7"} <= set(pipeline[-1].feature_names_in_)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": ElasticNet()}, "must be an ElasticNetMLP or an ElasticNetMLPClassifier; got ElasticNet"),
        ({"n_features_per_fit": 13}, r"must be at most the number of features \(or groups\), 12; got 13"),
        ({"threshold": 1.5}, "'threshold' parameter of StabilitySelector"),
        ({"alphas": []}, "'alphas' parameter of StabilitySelector"),
        ({"sample_fraction": 1.0}, "'sample_fraction' parameter of StabilitySelector"),
        ({"n_resamples": 0}, "'n_resamples' parameter of StabilitySelector"),
    ],
)
def test_bad_parameters_are_refused(data, parameters, message):
    selector = clone(StabilitySelector(ElasticNetMLP(**SETTING))).set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        selector.fit(*data)


def test_noise_is_not_selected_because_of_the_weights_that_training_begins_with():
    """Where all networks began alike, the same features led on every resample."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 30)), rng.normal(size=100)
    network = ElasticNetMLP(
        (8,), l1_ratio=1.0, penalty_groups="features", early_stopping=False, random_state=0, learning_rate_init=0.01,
        max_iter=40, learning_rate="cosine",
    )  # fmt: skip
    selector = StabilitySelector(network, n_resamples=20, alphas=8, random_state=0).fit(X, y)
    again = StabilitySelector(network.set_params(random_state=None), n_resamples=20, alphas=8, random_state=0).fit(X, y)
    assert selector.selection_probabilities_.max() < 0.75
    np.testing.assert_array_equal(selector.selection_probabilities_, again.selection_probabilities_)


def test_fits_that_diverge_are_not_counted():
    rng = np.random.default_rng(0)
    network = ElasticNetMLP((4,), early_stopping=False, solver="sgd", learning_rate_init=1e30, max_iter=20)
    with pytest.warns(ConvergenceWarning, match="StabilitySelector: 6 of 6 fits diverged"):
        selector = StabilitySelector(network, n_resamples=3, alphas=[0.1, 0.2], random_state=0).fit(
            rng.normal(size=(30, 5)), rng.normal(size=30)
        )
    assert not selector.selection_probabilities_.any()


def test_a_network_that_stops_early_is_refused(data):
    with pytest.raises(ValueError, match="early_stopping=False"):
        StabilitySelector(ElasticNetMLP()).fit(*data)
