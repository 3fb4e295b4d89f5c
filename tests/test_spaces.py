"""A search space has what an estimator can use, over the ranges that the documentation gives."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification
from sklearn.ensemble import VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import HalvingRandomSearchCV, ParameterSampler, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    ElasticNetMLPClassifierCV,
    ElasticNetMLPCV,
    OffOr,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    batched_training,
    search_space,
    suggest_params,
)
from sklreg._regularizers import TECHNIQUES

SEARCH_PAGE = Path(__file__).resolve().parents[1] / "docs" / "how_to" / "search.rst"
ESTIMATORS = [
    RegularizedMLPClassifier, RegularizedMLPRegressor, ElasticNetMLP, ElasticNetMLPClassifier, ElasticNetMLPCV,
    ElasticNetMLPClassifierCV,
]  # fmt: skip
OF_CLASSIFIERS = {"label_smoothing"}


@pytest.fixture(scope="module")
def data():
    return make_classification(60, 5, random_state=0)


class FakeTrial:
    """Records what it is asked, and answers with the greatest value, or with what it is told to."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, {}

    def suggest_float(self, name, low, high, *, log=False):
        self.asked[name] = ("float", low, high, log)
        return self.answers.get(name, high)

    def suggest_int(self, name, low, high):
        self.asked[name] = ("int", low, high)
        return self.answers.get(name, high)

    def suggest_categorical(self, name, choices):
        self.asked[name] = ("categorical", tuple(choices))
        return self.answers.get(name, choices[0])


# What is in it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "medium", "cocktail"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_a_space_holds_parameters_of_the_estimator_that_fit_accepts(estimator, size):
    model = estimator(max_iter=1)
    space = search_space(model, size)
    assert "dropout" in space
    assert set(space) <= set(model.get_params())
    assert ("weight_decay" in space) == (estimator.__name__.startswith("Regularized") or size == "cocktail")
    assert ("alpha" in space) == ("l1_ratio" in space) == ("alpha" in model.get_params())
    for candidate in ParameterSampler(space, 30, random_state=0):
        clone(model).set_params(**candidate)._validate_params()


def test_sizes_contain_one_another():
    for estimator in ESTIMATORS:
        small, medium, cocktail = (set(search_space(estimator(), s)) for s in ("small", "medium", "cocktail"))
        assert small < medium < cocktail


def test_a_cocktail_has_every_regularizer_but_those_without_a_strength():
    for estimator in (RegularizedMLPClassifier, ElasticNetMLPClassifier):
        model = estimator()
        # What the classes weigh and steps that are too long are not about generalizing, and of members more is better.
        others = {
            "early_stopping", "class_weight", "focal_gamma", "max_grad_norm", "n_members", "bootstrap",
            "stochastic_depth",
        }  # fmt: skip
        regularizers = (set(TECHNIQUES) & set(model.get_params())) - others
        assert regularizers <= set(search_space(model, "cocktail"))


def test_regressors_have_nothing_of_classifiers():
    assert not OF_CLASSIFIERS & set(search_space(RegularizedMLPRegressor(), "cocktail"))
    assert set(search_space(RegularizedMLPClassifier(), "cocktail")) >= OF_CLASSIFIERS


def test_what_acts_on_hidden_layers_is_left_out_of_a_linear_model():
    space = search_space(RegularizedMLPClassifier(()), "cocktail")
    assert not {"dropout", "normalization", "max_norm"} & set(space)
    assert {"weight_decay", "input_dropout"} <= set(space)


def test_patience_is_there_under_early_stopping_only():
    assert "patience" in search_space(RegularizedMLPClassifier(), "cocktail")
    assert "patience" not in search_space(RegularizedMLPClassifier(early_stopping=False), "cocktail")


def test_ranges_are_those_of_the_table_in_the_documentation():
    section = SEARCH_PAGE.read_text(encoding="utf-8").split("Which strengths to try\n")[1]
    rows = re.findall(r"    \* - (``.+)\n      - ([\d.e-]+) to ([\d.e-]+).*\n      - (\w+)", section)
    documented = {
        name: (float(low), float(high), scale == "logarithmic")
        for names, low, high, scale in rows
        for name in re.findall(r"``(\w+)``", names)
    }
    of_space = {name: (t.least, t.greatest, t.is_log) for name, t in TECHNIQUES.items() if t.least is not None}
    patience = search_space(RegularizedMLPClassifier(), "cocktail")["patience"].support()
    assert documented == {**of_space, "patience": (*patience, False)}


@pytest.mark.parametrize("name", ["weight_decay", "l2", "l1", "dropout", "mixup_alpha", "max_norm"])
def test_values_are_off_or_within_their_range(name):
    technique = TECHNIQUES[name]
    space = search_space(RegularizedMLPClassifier(), "cocktail")
    values = [candidate[name] for candidate in ParameterSampler({name: space[name]}, 200, random_state=0)]
    on = [value for value in values if value not in (0.0, None)]
    assert 60 < len(on) < 140
    assert {value for value in values if value in (0.0, None)} == {technique.off}
    assert technique.least <= min(on) <= max(on) <= technique.greatest
    if technique.is_log:
        assert abs(np.log(on).mean() - np.log([technique.least, technique.greatest]).mean()) < 0.5


# Where the network is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda net: net, ""),
        (lambda net: make_pipeline(StandardScaler(), net), "regularizedmlpclassifier__"),
        (lambda net: Pipeline([("net", net), ("again", "passthrough")]), "net__"),
        (lambda net: Pipeline([("scale", StandardScaler()), ("rest", Pipeline([("net", net)]))]), "rest__net__"),
        (lambda net: TransformedTargetRegressor(make_pipeline(net)), "regressor__regularizedmlpclassifier__"),
    ],
)
def test_the_network_is_found_inside(wrap, prefix):
    net = RegularizedMLPClassifier()
    space = search_space(wrap(net), "small")
    assert list(space) == [f"{prefix}weight_decay", f"{prefix}dropout"]
    assert set(space) <= set(wrap(net).get_params())


def test_of_several_networks_prefix_says_which():
    voting = VotingClassifier([("a", RegularizedMLPClassifier()), ("b", ElasticNetMLPClassifier())])
    with pytest.raises(ValueError, match=r"holds 2: \['a__', 'b__'\]"):
        search_space(voting)
    assert "b__alpha" in search_space(voting, prefix="b")
    assert search_space(voting, prefix="a__").keys() == search_space(voting, prefix="a").keys()
    with pytest.raises(ValueError, match="must lead to an estimator of sklreg in VotingClassifier; got 'c'"):
        search_space(voting, prefix="c")


@pytest.mark.parametrize(
    ("estimator", "got"),
    [
        (LogisticRegression(), "got LogisticRegression"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "got Pipeline"),
        (RegularizedMLPClassifier, "got the class RegularizedMLPClassifier"),
        (None, "got NoneType"),
    ],
)
def test_what_holds_none_of_our_estimators_is_refused(estimator, got):
    with pytest.raises(TypeError, match=f"search_space needs an estimator of sklreg.*{got}"):
        search_space(estimator)


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size of search_space must be one of .*got 'large'"):
        search_space(RegularizedMLPClassifier(), "large")


# Searching ------------------------------------------------------------------------------------------------------------


def test_all_fits_of_a_randomized_search_meet(data, trainings):
    model = make_pipeline(StandardScaler(), RegularizedMLPClassifier((4,), max_iter=2, random_state=0))
    search = RandomizedSearchCV(model, search_space(model, "cocktail"), n_iter=12, cv=2, random_state=0, refit=False)
    with batched_training():
        search.fit(*data)
    assert trainings == [24]
    again = clone(search).fit(*data)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])


@pytest.mark.parametrize("estimator", [RegularizedMLPClassifier, ElasticNetMLP])
def test_all_candidates_of_a_medium_space_can_share_a_stack(data, estimator):
    model = estimator((4,), random_state=0)
    kinds = [
        clone(model).set_params(**candidate)._prepare(*data, None, None, None, None)[1][0].static
        for candidate in ParameterSampler(search_space(model, "medium"), 20, random_state=0)
    ]
    assert all(kind == kinds[0] for kind in kinds)


def test_halving_takes_a_space(data):
    model = RegularizedMLPClassifier((4,), early_stopping=False, random_state=0)
    halving = HalvingRandomSearchCV(
        model, search_space(model, "medium"), resource="max_iter", min_resources=1, max_resources=9, cv=2,
        random_state=0,
    )  # fmt: skip
    with batched_training():
        halving.fit(*data)
    assert set(halving.best_params_) == {*search_space(model, "medium"), "max_iter"}


# OffOr ----------------------------------------------------------------------------------------------------------------


def test_off_or_is_off_with_its_probability_and_depends_on_the_generator_alone():
    value = OffOr(stats.uniform(1, 1), off=None, probability=0.3)
    random = np.random.RandomState(0)
    drawn = [value.rvs(random_state=random) for _ in range(2000)]
    assert abs(np.mean([one is None for one in drawn]) - 0.3) < 0.04
    assert all(1 <= one <= 2 for one in drawn if one is not None)
    before = np.random.get_state()[1].copy()
    assert value.rvs(random_state=5) == value.rvs(random_state=5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    assert OffOr([3], probability=0.0).rvs() == 3
    assert OffOr([3], probability=1.0, off="none").rvs() == "none"


def test_off_or_pickles_and_shows_how_it_was_made():
    space = search_space(RegularizedMLPClassifier(), "cocktail")
    again = pickle.loads(pickle.dumps(space))
    assert repr(again["l2"]) == repr(space["l2"]) == "OffOr(loguniform(1e-05, 0.001), off=0.0, probability=0.5)"
    assert repr(space["normalization"]) == "OffOr(['batch', 'layer'], off=None, probability=0.5)"
    assert repr(OffOr(stats.uniform(loc=0.1, scale=2))) == "OffOr(uniform(loc=0.1, scale=2), off=0.0, probability=0.5)"
    assert list(ParameterSampler(again, 5, random_state=1)) == list(ParameterSampler(space, 5, random_state=1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"distribution": 0.5}, TypeError, "must be a frozen distribution of scipy.stats.*got 0.5"),
        ({"distribution": []}, ValueError, "must not be an empty list"),
        ({"distribution": [1], "probability": 1.5}, ValueError, r"probability of OffOr must be in \[0, 1\]; got 1.5"),
    ],
)
def test_off_or_refuses_what_it_cannot_draw_from(arguments, error, message):
    with pytest.raises(error, match=message):
        OffOr(**arguments)


# Optuna ---------------------------------------------------------------------------------------------------------------


def test_a_trial_is_asked_for_the_range_and_scale_of_every_value():
    model = make_pipeline(StandardScaler(), RegularizedMLPClassifier())
    space = search_space(model, "cocktail")
    net = "regularizedmlpclassifier__"
    trial = FakeTrial(**{f"{net}dropout_is_on": False, f"{net}max_norm_is_on": False})
    params = suggest_params(trial, space)
    assert list(params) == list(space)
    assert trial.asked[f"{net}l2_is_on"] == ("categorical", (True, False))
    assert trial.asked[f"{net}l2"] == ("float", 1e-5, 1e-3, True)
    assert trial.asked[f"{net}mixup_alpha"] == ("float", 0.1, 0.4, False)
    assert trial.asked[f"{net}patience"] == ("int", 5, 30)
    assert trial.asked[f"{net}normalization"] == ("categorical", ("batch", "layer"))
    assert f"{net}dropout" not in trial.asked
    assert params[f"{net}dropout"] == 0.0
    assert params[f"{net}max_norm"] is None
    model.set_params(**params)[-1]._validate_params()


def test_a_trial_takes_lists_and_refuses_other_distributions():
    assert suggest_params(FakeTrial(a=2), {"a": [1, 2]}) == {"a": 2}
    with pytest.raises(TypeError, match="must hold uniform, loguniform or randint .* for 'a'"):
        suggest_params(FakeTrial(), {"a": stats.norm()})


def test_optuna_finds_the_best_parameters_again():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    model = ElasticNetMLPClassifier()
    space = search_space(model, "cocktail")
    seen = []

    def objective(trial):
        seen.append(suggest_params(trial, space))
        clone(model).set_params(**seen[-1])._validate_params()
        return seen[-1]["dropout"] - seen[-1]["alpha"]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=15)
    assert suggest_params(study.best_trial, space) == seen[study.best_trial.number]
