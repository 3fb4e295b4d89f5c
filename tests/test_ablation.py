"""An ablation compares the same fits that cross-validation would make, on the same folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    ElasticNetMLPClassifierCV,
    RegularizationAblation,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    batched_training,
)
from sklreg._regularizers import TECHNIQUES
from sklreg._techniques import techniques_on, turned_off

OFF = {"weight_decay": 0.0, "early_stopping": False}
FAST = {"hidden_layer_sizes": (4,), "max_iter": 3, "learning_rate_init": 0.05}


@pytest.fixture(scope="module")
def data():
    return make_classification(80, 6, flip_y=0.1, random_state=0)


@pytest.fixture
def model():
    return make_pipeline(StandardScaler(), RegularizedMLPClassifier(dropout=0.3, l2=0.1, **FAST, **OFF))


# What is on -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor, ElasticNetMLPClassifier])
def test_what_is_on_by_default(estimator):
    if estimator is ElasticNetMLPClassifier:
        assert techniques_on(estimator()) == ["alpha", "early_stopping"]
    else:
        assert techniques_on(estimator()) == ["weight_decay", "early_stopping", "weight_averaging"]
        assert techniques_on(estimator(early_stopping=False)) == ["weight_decay"]  # 'auto' averages nothing then


def test_all_techniques_can_be_turned_off(data):
    network = RegularizedMLPClassifier(
        weight_decay=0.1, l2=0.1, l1=0.1, dropout=0.1, input_dropout=0.1, label_smoothing=0.1, mixup_alpha=0.1,
        normalization="batch", max_norm=1.0, class_weight="balanced", max_grad_norm=1.0, n_members=2, bootstrap=True,
        input_noise=0.1, swap_noise=0.1, weight_averaging=0.9, cutmix_alpha=0.1, focal_gamma=1.0, stochastic_depth=0.1,
        residual=True, scoring="accuracy", **{**FAST, "hidden_layer_sizes": (8, 8)},
    )  # fmt: skip
    on = techniques_on(network)
    assert set(on) == set(TECHNIQUES) - {"alpha"}
    bare = clone(network).set_params(**turned_off(network, on))
    assert techniques_on(bare) == []
    assert bare.fit(*data).validation_scores_ is None


def test_without_early_stopping_the_average_goes_on():
    network = RegularizedMLPClassifier()
    assert turned_off(network, ["early_stopping"]) == {"early_stopping": False, "weight_averaging": 0.99}
    assert turned_off(network, ["early_stopping", "weight_averaging"])["weight_averaging"] == 0.0


def test_a_search_for_alpha_keeps_its_score():
    network = ElasticNetMLPClassifierCV(scoring="accuracy", early_stopping=True)
    assert turned_off(network, ["early_stopping"]) == {"early_stopping": False}


# The comparison -------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_cross_validate_on_the_same_folds(data, model):
    X, y = data
    folds = list(StratifiedKFold(3).split(X, y))
    ablation = RegularizationAblation(model, cv=folds, n_repeats=2, scoring="neg_log_loss", random_state=0).fit(X, y)
    seeds = np.random.RandomState(0).randint(2**31 - 1, size=2)
    assert ablation.n_splits_ == 6
    for i, params in enumerate(ablation.results_["params"]):
        for repeat in range(2):
            alone = clone(model).set_params(**params, regularizedmlpclassifier__random_state=int(seeds[repeat]))
            expected = cross_validate(alone, X, y, cv=folds, scoring="neg_log_loss", return_train_score=True)
            for fold in range(3):
                for part in ("test", "train"):
                    score = ablation.results_[f"split{3 * repeat + fold}_{part}_score"][i]
                    assert_allclose(score, expected[f"{part}_score"][fold], rtol=1e-12)


def test_all_fits_meet_once_and_equal_variants_are_fitted_once(data, model, trainings):
    ablation = RegularizationAblation(model, cv=3, n_repeats=2, random_state=0).fit(*data)
    # All, l2, dropout, none: without one of two is the other alone.
    assert trainings == [4 * 2 * 3]
    assert ablation.techniques_ == ["l2", "dropout"]
    results = ablation.results_
    assert results["variant"].tolist() == [
        "all", "without l2", "without dropout", "l2 alone", "dropout alone", "none",
    ]  # fmt: skip
    assert results["kind"].tolist() == ["all", "without", "without", "alone", "alone", "none"]
    assert results["mean_test_score"][1] == results["mean_test_score"][4]
    assert results["params"][5] == {"regularizedmlpclassifier__l2": 0.0, "regularizedmlpclassifier__dropout": 0.0}
    assert not model[-1].__sklearn_is_fitted__()
    assert model[-1].dropout == 0.3


def test_inside_a_block_the_fits_join_it(data, model, trainings, capsys):
    with batched_training(verbose=1):
        RegularizationAblation(model, cv=2, n_repeats=1).fit(*data)
    assert trainings == [8]
    assert "[batched_training] 8 fits" in capsys.readouterr().out


def test_differences_are_paired_and_their_error_is_corrected_for_overlapping_training_sets(data, model):
    ablation = RegularizationAblation(model, cv=4, n_repeats=2, scoring="neg_log_loss", random_state=1).fit(*data)
    results = ablation.results_
    scores = np.stack([results[f"split{i}_test_score"] for i in range(8)], axis=1)
    difference = scores - scores[0]
    assert_allclose(results["mean_test_score"], scores.mean(axis=1))
    assert_allclose(results["std_test_score"], scores.std(axis=1))
    assert_allclose(results["mean_difference"], difference.mean(axis=1), atol=1e-15)
    assert_allclose(results["std_difference"], difference.std(axis=1), atol=1e-15)
    error = np.sqrt((1 / 8 + 20 / 60) * difference.var(axis=1, ddof=1))
    assert_allclose(results["standard_error_difference"], error, atol=1e-15)
    assert results["mean_difference"][0] == results["standard_error_difference"][0] == 0


def test_an_int_as_random_state_gives_the_same_again_and_the_networks_own_plays_no_part(data, model):
    first = RegularizationAblation(model, cv=2, n_repeats=2, random_state=3).fit(*data)
    model.set_params(regularizedmlpclassifier__random_state=5)
    again = RegularizationAblation(model, cv=2, n_repeats=2, random_state=3).fit(*data)
    assert_array_equal(first.results_["mean_test_score"], again.results_["mean_test_score"])


def test_repeats_have_other_folds_and_other_networks(data):
    linear = RegularizedMLPClassifier((), l2=1.0, batch_size="full", max_iter=3, **OFF)
    ablation = RegularizationAblation(linear, cv=2, n_repeats=2, scoring="neg_log_loss", random_state=0).fit(*data)
    assert ablation.results_["split0_test_score"][0] != ablation.results_["split2_test_score"][0]
    folds = KFold(2)  # which draws nothing
    network = RegularizedMLPClassifier(l2=1.0, **FAST, **OFF)
    ablation = RegularizationAblation(network, cv=folds, n_repeats=2, scoring="neg_log_loss", random_state=0).fit(*data)
    assert ablation.results_["split0_test_score"][0] != ablation.results_["split2_test_score"][0]


def test_a_generator_of_folds_is_read_once(data, model):
    X, y = data
    ablation = RegularizationAblation(model, cv=KFold(2).split(X), n_repeats=2, random_state=0).fit(X, y)
    assert ablation.n_splits_ == 4


def test_techniques_narrow_what_is_done_without(data, model, trainings):
    ablation = RegularizationAblation(model, cv=2, n_repeats=1, techniques=["dropout"]).fit(*data)
    assert trainings == [2 * 2]
    assert ablation.results_["variant"].tolist() == ["all", "without dropout", "dropout alone", "none"]
    assert ablation.results_["params"][-1] == {"regularizedmlpclassifier__dropout": 0.0}  # l2 stays


def test_early_stopping_by_a_score_can_be_done_without(data):
    network = RegularizedMLPClassifier(scoring="roc_auc", weight_decay=0.0, weight_averaging=0.0, **FAST)
    ablation = RegularizationAblation(network, cv=2, n_repeats=1, scoring="roc_auc").fit(*data)
    assert ablation.techniques_ == ["early_stopping"]
    assert ablation.results_["params"][-1] == {"early_stopping": False, "scoring": "loss"}


def test_a_regressor_inside_a_transformed_target():
    X, y = make_regression(60, 4, random_state=0)
    network = make_pipeline(StandardScaler(), ElasticNetMLP(penalty_groups="features", **FAST))
    model = TransformedTargetRegressor(network, transformer=StandardScaler())
    ablation = RegularizationAblation(model, cv=KFold(3), n_repeats=1).fit(pd.DataFrame(X).add_prefix("x"), y)
    assert ablation.techniques_ == ["alpha", "early_stopping"]
    assert ablation.results_["params"][1] == {"regressor__elasticnetmlp__alpha": 0.0}


def test_weights_and_groups_reach_the_fits_and_the_folds(data):
    X, y = data
    groups = np.repeat(np.arange(4), 20)
    network = RegularizedMLPClassifier(l2=0.1, **FAST, **OFF)
    plain, weighted = (
        RegularizationAblation(network, cv=GroupKFold(4), n_repeats=1, scoring="neg_log_loss", random_state=0).fit(
            X, y, groups=groups, **params
        )
        for params in ({}, {"sample_weight": np.where(y == 1, 5.0, 1.0)})
    )
    assert plain.n_splits_ == 4
    assert (plain.results_["mean_test_score"] != weighted.results_["mean_test_score"]).all()


# What is told ---------------------------------------------------------------------------------------------------------


def test_table_and_frame_have_a_row_for_each_variant(data, model):
    ablation = RegularizationAblation(model, cv=2, n_repeats=2, random_state=0).fit(*data)
    lines = ablation.table().splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ablation.results_["variant"].tolist()
    assert len({len(line) for line in lines}) == 1
    frame = ablation.to_frame()
    assert frame.shape == (6, 8)
    assert frame.loc["none", "mean_difference"] == ablation.results_["mean_difference"][-1]
    assert frame.columns[0] == "kind"


def test_of_a_single_fold_there_is_no_spread(data, model):
    X, y = data
    ablation = RegularizationAblation(model, cv=[(np.arange(40), np.arange(40, 80))], n_repeats=1).fit(X, y)
    assert np.isnan(ablation.results_["standard_error_difference"]).all()
    assert "nan" in ablation.table()


# Refused before training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"estimator": RegularizedMLPClassifier(**OFF)}, ValueError, "must use at least one regularizer, and Regul"),
        ({"estimator": LogisticRegression()}, TypeError, "needs an estimator of sklreg.*got LogisticRegression"),
        ({"techniques": ["l1"]}, ValueError, r"that RegularizedMLPClassifier has on, \['weight_decay', 'ea.*'l1'\]"),
        ({"techniques": []}, ValueError, "techniques of RegularizationAblation must be some of those"),
        ({"n_repeats": 0}, ValueError, "'n_repeats' parameter of RegularizationAblation"),
        ({"scoring": "no score"}, ValueError, "scoring"),
        ({"cv": 1}, ValueError, "'cv' parameter of RegularizationAblation"),
    ],
)
def test_bad_parameters_are_refused_before_training(data, trainings, parameters, error, message):
    ablation = RegularizationAblation(RegularizedMLPClassifier(**FAST)).set_params(**parameters)
    with pytest.raises(error, match=message):
        ablation.fit(*data)
    assert trainings == []
