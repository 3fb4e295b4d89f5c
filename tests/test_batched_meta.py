"""scikit-learn's tools give under ``batched_training`` what they give without it, and their fits train together."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFECV, SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import sklreg._batched
from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    batched_training,
)

pytestmark = pytest.mark.timeout(120)

# Three folds of these have equal numbers of samples of each class, so that all rows of a stack are of one size.
X, y = make_classification(120, 6, n_informative=4, flip_y=0, random_state=0)
X3, y3 = make_classification(120, 6, n_informative=4, n_classes=3, flip_y=0, random_state=0)
X_rare, y_rare = make_classification(120, 6, n_informative=4, weights=[0.8], flip_y=0, random_state=0)
X_many, Y_many = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
X_real, y_real = make_regression(120, 6, n_informative=4, n_targets=1, noise=1.0, random_state=0)
Y_real = np.column_stack([y_real, 100 * X_real[:, 0], X_real[:, 1] ** 2])
WEIGHT = np.random.default_rng(0).uniform(0.5, 2, 120)

FAST = {
    "hidden_layer_sizes": (8,), "batch_size": 32, "learning_rate_init": 0.02, "max_iter": 6, "patience": 2,
    "random_state": 0,
}  # fmt: skip
L2_AND_DROPOUT = {"l2": [1e-4, 1.0], "dropout": [0.0, 0.4]}


def net(estimator=RegularizedMLPClassifier, **parameters):
    return estimator(**{**FAST, **parameters})


def scaled(estimator=RegularizedMLPClassifier, **parameters):
    return Pipeline([("scale", StandardScaler()), ("net", net(estimator, **parameters))])


def of_net(grid):
    """Name the parameters as those of the last step of ``scaled``."""
    return {f"net__{name}": values for name, values in grid.items()}


def fitted_networks(tool):
    """Yield our fitted estimators inside of a fitted tool."""
    if isinstance(tool, list | tuple):
        for part in tool:
            yield from fitted_networks(part)
    elif hasattr(tool, "module_"):
        yield tool
    elif isinstance(tool, BaseEstimator) or type(tool).__name__ == "_CalibratedClassifier":
        yield from fitted_networks(list(vars(tool).values()))


def learnt(tool, X):
    """Return all that a fitted tool has learnt, and what it predicts for ``X``."""
    networks = list(fitted_networks(tool))
    assert networks
    return {
        "coefs": [network.coefs_ for network in networks],
        "history": [network.history_ for network in networks],
        "predict": tool.predict(X),
        "predict_proba": tool.predict_proba(X) if hasattr(tool, "predict_proba") else [],
    }


def found(search, X):
    """Return what a search has found; how long it took differs in every run."""
    table = search.cv_results_
    names = [name for name in table if name.endswith("score") or name in ("iter", "n_resources")]
    return {**{name: table[name] for name in names}, "best": str(search.best_params_), **learnt(search, X)}


def leaves(tree):
    """Yield names and arrays of nested results."""
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else None
    if items is None:
        yield "", np.asarray(tree)
        return
    for name, branch in items:
        for path, array in leaves(branch):
            yield f"{name} {path}", array


# Where products round alike whatever the number of rows (see test_laws).
rounds_alike = torch.backends.mkl.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX2"


def compare(one, other, exact):
    names, arrays = zip(*leaves(one), strict=True)
    other_names, other_arrays = zip(*leaves(other), strict=True)
    assert names == other_names
    for name, array, other_array in zip(names, arrays, other_arrays, strict=True):
        if (exact and rounds_alike) or array.dtype.kind != "f":
            assert_array_equal(array, other_array, err_msg=name)
        else:
            assert_allclose(array, other_array, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture
def check(monkeypatch):
    """Return a check that ``run()`` gives the same in the block, where up to ``n_met`` fits are trained in one call."""
    train, calls = sklreg._batched.train, []

    def recording(jobs, *args):
        outcomes = train(jobs, *args)
        calls.append([outcome.n_together for outcome in outcomes])
        return outcomes

    monkeypatch.setattr(sklreg._batched, "train", recording)

    def check_run(run, n_met, exact=True, block=batched_training, run_together=None):
        alone = run()
        n_fits = len(calls)
        assert calls == [[1]] * n_fits
        calls.clear()
        with block():
            together = (run_together or run)()
        assert max(map(len, calls)) == n_met
        assert max(map(max, calls)) > 1  # some were in one stack
        assert sum(map(len, calls)) == n_fits
        compare(alone, together, exact)

    return check_run


# Searches -----------------------------------------------------------------------------------------------------


def search_in(kind, estimator=None, grid=None, data=(X, y), fit_params=None, **parameters):
    """Return a run of a search."""

    def run():
        tool = kind(estimator or scaled(), grid or of_net(L2_AND_DROPOUT), **{"cv": 3, **parameters})
        return found(tool.fit(*data, **(fit_params or {})), data[0])

    return run


grid_search = partial(search_in, GridSearchCV)
halving = partial(search_in, HalvingGridSearchCV, factor=2, random_state=0)
random_search = partial(search_in, RandomizedSearchCV, n_iter=5, random_state=0)


@pytest.mark.parametrize(
    ("run", "n_met", "exact"),
    [
        pytest.param(grid_search(), 12, True, id="grid"),
        pytest.param(grid_search(scoring=["roc_auc", "neg_log_loss"], refit="roc_auc"), 12, True, id="two scores"),
        pytest.param(
            random_search(grid={"net__weight_decay": loguniform(1e-3, 1), "net__dropout": [0.0, 0.4]}),
            15, True, id="random",
        ),
        pytest.param(halving(resource="n_samples", min_resources=30), 12, True, id="halving samples"),
        pytest.param(
            halving(resource="net__max_iter", max_resources=8, min_resources=2), 12, True, id="halving epochs"
        ),
    ],
)  # fmt: skip
def test_a_search_finds_what_it_finds_without(check, run, n_met, exact):
    check(run, n_met, exact)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_a_search_finds_the_same_with_any_n_jobs(check, n_jobs):
    check(grid_search(), 12, run_together=grid_search(n_jobs=n_jobs))


def test_the_backend_by_its_name_does_the_same(check):
    check(grid_search(), 12, block=partial(joblib.parallel_config, backend="sklreg"))


def other_kind():
    """Return a grid of both ours and another estimator."""
    constant = {"net": [DummyClassifier()], "net__strategy": ["most_frequent", "prior"]}
    return [{"net": [net()], **of_net(L2_AND_DROPOUT)}, constant]


@pytest.mark.parametrize(
    ("run", "n_met"),
    [
        pytest.param(grid_search(grid=other_kind()), 12, id="another estimator"),
        pytest.param(
            grid_search(grid={"scale": [StandardScaler(), MinMaxScaler(), "passthrough"], "net__l2": [0.0, 1.0]}),
            18, id="other steps",
        ),
        pytest.param(
            grid_search(Pipeline([("select", SelectKBest()), ("net", net())]),
                        {"select__k": [4, 6], "net__l2": [0.0, 1.0]}),
            12, id="other widths",
        ),
        pytest.param(
            grid_search(make_pipeline(ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2])]),
                        net()), {"columntransformer__a__with_mean": [True, False]}),
            6, id="a step that uses joblib",
        ),
    ],
)  # fmt: skip
def test_steps_before_and_beside_the_network_are_searched_as_ever(check, run, n_met):
    check(run, n_met)


def test_cached_steps_give_the_same(check, tmp_path):
    def run():
        estimator = scaled().set_params(memory=tempfile.mkdtemp(dir=tmp_path))
        return grid_search(estimator)()

    check(run, 12)


def test_oversampling_inside_of_folds_gives_the_same(check):
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    pipeline = pytest.importorskip("imblearn.pipeline")
    estimator = pipeline.Pipeline([("smote", over_sampling.SMOTE(random_state=0)), ("net", net())])
    grid = {"smote__k_neighbors": [3, 5], "net__l2": [1e-4, 1.0]}
    check(grid_search(estimator, grid, (X_rare, y_rare), scoring="average_precision"), 12)


@pytest.mark.parametrize(
    "weighted",
    [
        grid_search(fit_params={"net__sample_weight": WEIGHT}),
        grid_search(net(), L2_AND_DROPOUT, fit_params={"sample_weight": WEIGHT}),
    ],
    ids=["of a step", "of the estimator"],
)
def test_weights_of_samples_reach_every_fit(check, weighted):
    check(weighted, 12)


def test_routed_weights_reach_every_fit(check):
    def run():
        estimator = net(l2=0.1).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        return validated(estimator, params={"sample_weight": WEIGHT})

    with sklearn.config_context(enable_metadata_routing=True):
        check(run, 3, exact=False)  # the held-out parts of the folds differ in size


# What is searched ---------------------------------------------------------------------------------------------


def of_class(estimator, data, grid):
    return grid_search(scaled(estimator), of_net(grid), data)


ELASTIC_NET = {"alpha": [1e-3, 0.1], "l1_ratio": [0.2, 0.9]}


@pytest.mark.parametrize(
    ("run", "exact"),
    [
        pytest.param(of_class(RegularizedMLPRegressor, (X_real, y_real), L2_AND_DROPOUT), True, id="regressor"),
        pytest.param(of_class(ElasticNetMLP, (X_real, y_real), ELASTIC_NET), True, id="elastic net"),
        pytest.param(of_class(ElasticNetMLP, (X_real, Y_real), ELASTIC_NET), True, id="elastic net, several outputs"),
        pytest.param(of_class(ElasticNetMLPClassifier, (X, y), ELASTIC_NET), True, id="elastic net classifier"),
        pytest.param(of_class(RegularizedMLPClassifier, (X3, y3), L2_AND_DROPOUT), True, id="three classes"),
        pytest.param(of_class(RegularizedMLPClassifier, (X_many, Y_many), L2_AND_DROPOUT), True, id="several labels"),
    ],
)
def test_every_kind_of_estimator_and_target_is_searched_alike(check, run, exact):
    check(run, 12, exact)


SPARSE_X = sparse.csr_array(np.where(np.abs(X) < 0.5, 0, X))


@pytest.mark.parametrize(
    ("parameters", "grid"),
    [
        ({"scoring": "average_precision"}, L2_AND_DROPOUT),
        ({}, {"scoring": ["loss", "roc_auc"], "patience": [1, 3]}),
        ({"normalization": "batch"}, L2_AND_DROPOUT),
        ({}, {"normalization": [None, "batch"], "hidden_layer_sizes": [(8,), (8, 4)]}),
        ({"mixup_alpha": 0.3}, L2_AND_DROPOUT),
        ({}, {"mixup_alpha": [0.0, 0.2], "label_smoothing": [0.0, 0.1]}),
        ({"warm_start": True}, L2_AND_DROPOUT),
        ({"class_weight": "balanced", "max_norm": 1.0}, L2_AND_DROPOUT),
        ({}, {"solver": ["adam", "sgd"], "learning_rate": ["constant", "cosine"]}),
        ({}, {"random_state": [0, 1], "early_stopping": [True, False]}),
        ({"dtype": "float32"}, L2_AND_DROPOUT),
    ],
    ids=str,
)
def test_options_of_the_network_are_searched_alike(check, parameters, grid):
    check(grid_search(scaled(**parameters), of_net(grid)), 12)


def test_sparse_tables_are_searched_alike(check):
    check(grid_search(net(), L2_AND_DROPOUT, (SPARSE_X, y)), 12)


def test_fits_that_go_on_from_earlier_ones_go_on_alike(check):
    def fit_twice(l2):
        model = net(warm_start=True, l2=l2).fit(X, y)
        return learnt(model.set_params(learning_rate_init=0.001).fit(X, y), X)

    check(lambda: Parallel()(delayed(fit_twice)(l2) for l2 in (1e-3, 0.1, 1.0)), 3)


# Functions of model selection ---------------------------------------------------------------------------------


def validated(estimator, X=X, y=y, **parameters):
    result = cross_validate(estimator, X, y, **{"cv": 3, **parameters}, return_estimator=True, return_train_score=True)
    return {
        "test": result["test_score"],
        "train": result["train_score"],
        "fitted": [learnt(fitted, X) for fitted in result["estimator"]],
    }


def nested(tool):
    """Return a cross-validation of a search."""
    return partial(validated, tool(scaled(), of_net(L2_AND_DROPOUT), cv=2), scoring="neg_log_loss")


@pytest.mark.parametrize(
    ("run", "n_met", "exact"),
    [
        pytest.param(partial(validated, scaled(l2=0.1)), 3, True, id="cross_validate"),
        pytest.param(
            partial(cross_val_predict, scaled(), X, y, cv=3, method="predict_proba"), 3, True, id="cross_val_predict"
        ),
        pytest.param(
            partial(learning_curve, scaled(), X, y, cv=3, train_sizes=[20, 40, 80], scoring="neg_log_loss"),
            9, True, id="learning_curve",
        ),
        pytest.param(
            partial(
                learning_curve, net(), X, y, cv=3, train_sizes=[20, 40, 80], scoring="neg_log_loss",
                exploit_incremental_learning=True,
            ),
            3, True, id="learning_curve by partial_fit",
        ),
        pytest.param(
            partial(
                validation_curve, scaled(), X, y, param_name="net__dropout", param_range=[0.0, 0.3, 0.6], cv=3,
                scoring="neg_log_loss",
            ),
            9, True, id="validation_curve",
        ),
        pytest.param(
            partial(
                permutation_test_score, scaled(), X, y, cv=3, n_permutations=4, random_state=0, scoring="neg_log_loss"
            ),
            4, True, id="permutation_test_score",
        ),
        pytest.param(nested(GridSearchCV), 24, True, id="nested search"),
        pytest.param(
            nested(partial(HalvingGridSearchCV, factor=2, min_resources=40, random_state=0)),
            24, True, id="nested halving",
        ),
    ],
)  # fmt: skip
def test_a_function_returns_what_it_returns_without(check, run, n_met, exact):
    check(run, n_met, exact)


def test_a_search_inside_of_a_pipeline_finds_the_same(check):
    def run():
        search = HalvingGridSearchCV(net(), L2_AND_DROPOUT, factor=2, min_resources=40, random_state=0, cv=3)
        pipeline = make_pipeline(StandardScaler(), search).fit(X, y)
        return {"pipeline": learnt(pipeline, X), "search": found(pipeline[-1], X)}

    check(run, 12)


# Estimators of estimators -------------------------------------------------------------------------------------


def fitted(tool, X, y):
    """Return a run of a fit."""
    return lambda: learnt(sklearn.clone(tool).fit(X, y), X)


def parts(estimator, other):
    """Return networks, and another estimator beside them, by name."""
    return [("a", scaled(estimator)), ("b", scaled(estimator, l2=1.0, dropout=0.3)), ("other", other)]


CLASSES = parts(RegularizedMLPClassifier, LogisticRegression())
VALUES = parts(RegularizedMLPRegressor, Ridge())
IMPORTANT = net(ElasticNetMLPClassifier, alpha=0.02)


@pytest.mark.parametrize(
    ("run", "n_met", "exact"),
    [
        pytest.param(fitted(BaggingClassifier(scaled(), 6, random_state=0), X, y), 6, True, id="BaggingClassifier"),
        pytest.param(
            fitted(BaggingRegressor(scaled(ElasticNetMLP), 6, max_samples=0.5, random_state=0), X_real, y_real),
            6, True, id="BaggingRegressor",
        ),
        pytest.param(fitted(OneVsRestClassifier(scaled()), X3, y3), 3, True, id="OneVsRestClassifier"),
        pytest.param(fitted(OneVsOneClassifier(scaled()), X3, y3), 3, True, id="OneVsOneClassifier"),
        pytest.param(fitted(MultiOutputClassifier(net()), X_many, Y_many), 3, True, id="MultiOutputClassifier"),
        pytest.param(
            fitted(MultiOutputRegressor(net(RegularizedMLPRegressor)), X_real, Y_real),
            3, True, id="MultiOutputRegressor",
        ),
        pytest.param(fitted(VotingClassifier(CLASSES, voting="soft"), X, y), 2, True, id="VotingClassifier"),
        pytest.param(fitted(VotingRegressor(VALUES), X_real, y_real), 2, True, id="VotingRegressor"),
        pytest.param(fitted(StackingClassifier(CLASSES, cv=3), X, y), 6, True, id="StackingClassifier"),
        pytest.param(fitted(StackingRegressor(VALUES, cv=3), X_real, y_real), 6, True, id="StackingRegressor"),
        pytest.param(fitted(CalibratedClassifierCV(scaled(), cv=3), X, y), 3, True, id="CalibratedClassifierCV"),
        pytest.param(
            fitted(CalibratedClassifierCV(scaled(), cv=3, ensemble=False), X, y), 3, True, id="calibrated, one model"
        ),
        pytest.param(
            fitted(RFECV(IMPORTANT, step=2, min_features_to_select=2, cv=3, scoring="neg_log_loss"), X, y),
            3, True, id="RFECV",
        ),
        pytest.param(
            fitted(TunedThresholdClassifierCV(scaled(), cv=StratifiedKFold(3)), X_rare, y_rare),
            3, True, id="TunedThresholdClassifierCV",
        ),
    ],
)  # fmt: skip
def test_an_estimator_of_estimators_learns_what_it_learns_without(check, run, n_met, exact):
    check(run, n_met, exact)
