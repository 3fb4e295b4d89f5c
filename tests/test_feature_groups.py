"""Weights that leave together: inputs, groups of inputs, hidden units, and LassoNet's hierarchy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import ElasticNet, LogisticRegression, LogisticRegressionCV, MultiTaskElasticNet
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, batched_training, elastic_net_mlp_path
from sklreg._feature_groups import resolve_feature_groups

TO_THE_END = {"early_stopping": False, "batch_size": "full", "learning_rate": "cosine", "random_state": 0}
CONVEX = {"hidden_layer_sizes": (), "learning_rate_init": 0.05, "max_iter": 800, **TO_THE_END}
NETWORK = {"hidden_layer_sizes": (12,), "learning_rate_init": 0.02, "max_iter": 200, **TO_THE_END}
LABELS = [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4]
COLUMNS = ["onehot__color_red", "onehot__color_blue", "onehot__color_dark_red", "num__age", "remainder__flag_x"]


@pytest.fixture(scope="module")
def data():
    X, y = make_regression(150, 12, n_informative=4, noise=5.0, random_state=0)
    return X, y / 10


# Linear limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_single_columns_of_the_linear_model_are_the_elastic_net(data, scale):
    X, y = data[0], data[1] * scale
    setting = {"alpha": 0.5 * scale, "l1_ratio": 0.8 if scale == 1 else 1.0}
    ours = ElasticNetMLP(penalty_groups="features", **setting, **CONVEX).fit(X, y)
    theirs = ElasticNet(**setting, tol=1e-12).fit(X, y)
    assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, atol=1e-5 * scale)
    assert_array_equal(ours.coefs_[0][:, 0] == 0, theirs.coef_ == 0)


def test_single_columns_of_the_linear_classifier_are_logistic_regression():
    X, y = make_classification(150, 8, random_state=0)
    ours = ElasticNetMLPClassifier(penalty_groups="features", alpha=0.05, l1_ratio=0.9, **CONVEX).fit(X, y)
    penalty = {} if hasattr(LogisticRegressionCV(), "use_legacy_attributes") else {"penalty": "elasticnet"}
    saga = {"solver": "saga", "tol": 1e-10, "max_iter": 10_000}
    theirs = LogisticRegression(C=1 / (150 * 0.05), l1_ratio=0.9, **saga, **penalty).fit(X, y)
    assert_allclose(ours.coefs_[0][:, 0], theirs.coef_[0], atol=1e-4)


def test_rows_of_several_outputs_are_the_multi_task_elastic_net(data):
    """Targets of unequal spread: the norm of a row is that of weights in the targets' own units."""
    X, y = data
    Y = np.c_[y, 0.3 * X[:, 0] - X[:, 3]]
    ours = ElasticNetMLP(penalty_groups="features", alpha=0.7, l1_ratio=0.9, **CONVEX).fit(X, Y)
    theirs = MultiTaskElasticNet(alpha=0.7, l1_ratio=0.9, tol=1e-12, max_iter=10_000).fit(X, Y)
    assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-4)
    assert_array_equal((ours.coefs_[0] == 0).all(1), (theirs.coef_ == 0).all(0))


def test_groups_of_the_linear_model_are_those_of_the_group_lasso_package(data):
    group_lasso = pytest.importorskip("group_lasso")
    X, y = data
    ours = ElasticNetMLP(penalty_groups="features", feature_groups=LABELS, alpha=1.0, l1_ratio=1.0, **CONVEX).fit(X, y)
    theirs = group_lasso.GroupLasso(  # of the mean squared error, not of half of it
        LABELS, group_reg=0.5, l1_reg=0, n_iter=10_000, tol=1e-12, scale_reg="group_size", supress_warning=True
    ).fit(X, y[:, None])
    assert_allclose(ours.coefs_[0], theirs.coef_, atol=1e-3)
    assert_array_equal(ours.coefs_[0] == 0, np.abs(theirs.coef_) < 1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_where_a_grouped_linear_fit_rests_its_objective_is_stationary(data, scale):
    X, y = data[0], scale * data[1]
    model = ElasticNetMLP(penalty_groups="features", feature_groups=LABELS, alpha=scale, l1_ratio=0.9, **CONVEX).fit(
        X, y
    )
    coef = model.coefs_[0][:, 0]
    gradient = -X.T @ (y - model.predict(X)) / len(y) + 0.1 * scale * coef
    for group in set(LABELS):
        rows = np.equal(LABELS, group)
        strength = 0.9 * scale * np.sqrt(rows.sum())
        if coef[rows].any():
            assert_allclose(gradient[rows], -strength * coef[rows] / np.linalg.norm(coef[rows]), atol=1e-4 * scale)
        else:
            assert np.linalg.norm(gradient[rows]) <= strength


# Networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["features", "hierarchical"])
def test_a_group_of_features_leaves_whole(data, kind):
    X, y = data
    model = ElasticNetMLP(penalty_groups=kind, feature_groups=LABELS, alpha=1.5, l1_ratio=1.0, **NETWORK).fit(X, y)
    importances = model.feature_importances_
    is_gone = [np.all(importances[np.equal(LABELS, g)] == 0) for g in range(5)]
    assert 0 < sum(is_gone) < 5
    for group in range(5):
        assert is_gone[group] or (importances[np.equal(LABELS, group)] > 0).all()
    gone = np.array(is_gone)[LABELS]
    assert (model.coefs_[0][gone] == 0).all()
    moved = X + 100 * gone
    assert_allclose(model.predict(moved), model.predict(X), rtol=1e-12)


def test_hidden_units_leave_whole(data):
    X, y = data
    model = ElasticNetMLP(penalty_groups="neurons", alpha=0.3, l1_ratio=1.0, **NETWORK).fit(X, y)
    alive = (model.coefs_[0] != 0).any(axis=0)
    assert 0 < alive.sum() < 12
    assert (model.coefs_[0][:, alive] != 0).mean() > 0.9
    single = ElasticNetMLP(alpha=0.3, l1_ratio=1.0, **NETWORK).fit(X, y)
    assert (single.coefs_[0][:, (single.coefs_[0] != 0).any(axis=0)] != 0).mean() < 0.9


@pytest.mark.parametrize("kind", ["weights", "features", "hierarchical"])
def test_more_alpha_leaves_fewer_features(data, kind):
    X, y = data
    counts = [
        np.count_nonzero(
            ElasticNetMLP(penalty_groups=kind, alpha=a, l1_ratio=1.0, **NETWORK).fit(X, y).feature_importances_
        )
        for a in (0.01, 0.5, 2.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@pytest.mark.parametrize("hierarchy", [0.0, 0.5, 10.0])
def test_the_linear_part_bounds_the_first_layer(data, hierarchy):
    X, y = data
    setting = {"penalty_groups": "hierarchical", "hierarchy": hierarchy, "alpha": 0.3, "l1_ratio": 1.0}
    model = ElasticNetMLP(**setting, **NETWORK).fit(X, y)
    bound = hierarchy * np.abs(model.skip_coef_[:, 0]) / y.std()  # in units of the target's standard deviation
    assert (np.abs(model.coefs_[0]).max(axis=1) <= bound * (1 + 1e-12)).all()
    assert (model.feature_importances_ == 0).tolist() == (model.skip_coef_[:, 0] == 0).tolist()


def test_without_room_for_the_network_the_hierarchy_is_the_lasso(data):
    X, y = data
    setting = {"alpha": 0.5, "l1_ratio": 1.0}
    network = {**NETWORK, "learning_rate_init": 0.05, "max_iter": 800}
    ours = ElasticNetMLP(penalty_groups="hierarchical", hierarchy=0.0, **setting, **network).fit(X, y)
    theirs = ElasticNet(**setting, tol=1e-12).fit(X, y)
    assert_allclose(ours.skip_coef_[:, 0], theirs.coef_, atol=1e-5)


def test_a_linear_connection_goes_through_warm_start_partial_fit_and_a_scorer(data):
    X, y = data
    model = ElasticNetMLP(
        (8,),
        penalty_groups="hierarchical",
        warm_start=True,
        max_iter=3,
        scoring="r2",
        input_dropout=0.1,
        random_state=0,
    )
    first = model.fit(X, y).predict(X)
    model.fit(X, y).partial_fit(X, y)
    assert not np.array_equal(model.predict(X), first)
    model.set_params(penalty_groups="features")
    with pytest.raises(
        ValueError, match="fitted with penalty_groups='hierarchical', .* ask for penalty_groups='features'"
    ):
        model.fit(X, y)


# As steps of scikit-learn ---------------------------------------------------------------------------------------


def test_columns_of_one_feature_leave_together_through_a_pipeline():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "color": rng.choice(["red", "green", "blue"], 200),
        "shape": rng.choice(["round", "square", "long"], 200),
        "size": rng.normal(size=200),
        "age": rng.normal(size=200),
    })  # fmt: skip
    y = 3.0 * (frame["color"] == "red") + 2 * frame["size"]
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["color", "shape"]), (StandardScaler(), ["size", "age"])
    ).set_output(transform="pandas")
    model = ElasticNetMLP(
        penalty_groups="features", feature_groups=list(frame.columns), alpha=0.1, l1_ratio=1.0, **NETWORK
    )
    pipeline = make_pipeline(
        columns, SelectFromModel(model, threshold=1e-10), clone(model).set_params(feature_groups=None)
    )
    pipeline.fit(frame, y)
    names = list(pipeline[:-1].get_feature_names_out())
    assert [n for n in names if "color" in n] == [f"onehotencoder__color_{c}" for c in ("blue", "green", "red")]
    assert "standardscaler__size" in names
    assert not [n for n in names if "shape" in n or "age" in n]


def test_selection_inside_a_search_is_the_same_under_batched_training(data):
    X, y = data
    model = ElasticNetMLP(penalty_groups="features", l1_ratio=1.0, **{**NETWORK, "max_iter": 20})
    pipeline = make_pipeline(StandardScaler(), SelectFromModel(model, threshold=1e-10), clone(model))
    search = GridSearchCV(pipeline, {"selectfrommodel__estimator__alpha": [0.1, 1.0]}, cv=2)
    alone = clone(search).fit(X, y).cv_results_["mean_test_score"]
    with batched_training():
        together = search.fit(X, y).cv_results_["mean_test_score"]
    assert_allclose(together, alone, rtol=1e-9)


# Groups as users give them --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, 1, 1, 0, 2], (0, 0, 0, 1, 2)),
        (np.array(["a", "a", "a", "b", "c"]), (0, 0, 0, 1, 2)),
        (["color", "age", "flag"], (0, 0, 0, 1, 2)),
        (["age", "color", "color_dark", "flag"], (0, 0, 1, 2, 3)),
        ([[0, 1, 2], [3], [4]], (0, 0, 0, 1, 2)),
        ({"color": COLUMNS[:3], "rest": [3, "remainder__flag_x"]}, (0, 0, 0, 1, 1)),
        ([range(3), 3, "remainder__flag_x"], (0, 0, 0, 1, 2)),
    ],
)
def test_every_form_of_groups_gives_the_number_of_each_columns_group(given, expected):
    assert resolve_feature_groups(given, 5, COLUMNS, "ElasticNetMLP") == expected


@pytest.mark.parametrize(
    ("given", "names", "message"),
    [
        ([0, 1], COLUMNS, "needs a label for each of the 5 features; got 2"),
        ([[0, 1], [1, 2, 3, 4]], None, "must not overlap: column 1 is in more than one group"),
        ([[0, 1, 2, 3]], None, r"must hold every column; 1 of 5 are in no group: \[4\]"),
        ([[0, 1, 2, 3, 5]], None, "names an unknown column: 5. X has indices from 0 to 4"),
        ([COLUMNS[:4], ["weight"]], COLUMNS, "names an unknown column: 'weight'. X has names such as"),
        ([["color"], [1, 2, 3, 4]], None, "names column 'color', and X has no column names. Pass a DataFrame"),
        (["color", "age"], COLUMNS, r"1 of 5 were made of none of the features .*\['remainder__flag_x'\]"),
        (["color", "age", "flag", "size"], COLUMNS, r"names unknown features: \['size'\]"),
        (["color", "age"], None, "names features .*, and X has no column names"),
    ],
)
def test_groups_that_are_none_are_refused(given, names, message):
    with pytest.raises(ValueError, match=message):
        resolve_feature_groups(given, 5, names, "ElasticNetMLP")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"feature_groups": LABELS}, "does not look at features. Set penalty_groups='features'"),
        ({"penalty_groups": "neurons", "hidden_layer_sizes": ()}, "acts on hidden layers, and hidden_layer_sizes="),
        ({"penalty_groups": "hierarchical", "hidden_layer_sizes": ()}, "acts on hidden layers"),
        ({"penalty_groups": "features", "feature_groups": [0, 1]}, "needs a label for each of the 12 features; got 2"),
    ],
)
@pytest.mark.parametrize("estimator", [ElasticNetMLP, ElasticNetMLPClassifier])
def test_parameters_that_do_not_go_together_are_refused(data, estimator, parameters, message):
    with pytest.raises(ValueError, match=message):
        estimator(**parameters).fit(data[0], (data[1] > 0).astype(int))


@pytest.mark.parametrize("kind", ["weights", "features", "hierarchical"])
@pytest.mark.parametrize("estimator", [ElasticNetMLP, ElasticNetMLPClassifier])
def test_with_all_features_gone_the_prior_is_predicted_with_a_warning(data, kind, estimator):
    X, y = data[0], (data[1] > 5).astype(int)
    model = estimator(penalty_groups=kind, alpha=100.0, l1_ratio=1.0, **NETWORK)
    with pytest.warns(UserWarning, match="has dropped all 12 features"):
        model.fit(X, y)
    predicted = model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)
    assert_allclose(predicted, y.mean(), atol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(("kind", "hidden"), [("features", ()), ("features", (8,)), ("neurons", (8,))])
def test_groups_without_a_penalty_are_absent_to_the_bit(data, kind, hidden, solver):
    """Also beside others that have one: their weights share a step size, and these do not."""
    X, y = data
    Y = np.column_stack([y, 1e-2 * np.roll(y, 1), y[::-1]])  # of different scales
    setting = {
        "hidden_layer_sizes": hidden, "solver": solver, "l1_ratio": 1.0, "penalty_warmup": 0.0, "max_iter": 5,
        "early_stopping": False, "learning_rate": "constant", "learning_rate_init": 0.01, "random_state": 0,
    }  # fmt: skip
    expected = ElasticNetMLP(alpha=0.0, **setting).fit(X, Y)
    path = elastic_net_mlp_path(X, Y, alphas=[0.0, 0.1], penalty_groups=kind, **setting)
    alone = ElasticNetMLP(alpha=0.0, penalty_groups=kind, **setting).fit(X, Y)
    for model in (path.models[-1], alone):
        for weights, others in zip(model.coefs_, expected.coefs_, strict=True):
            assert_array_equal(weights, others)


@pytest.mark.parametrize("kind", ["weights", "features", "neurons"])
def test_a_penalty_of_next_to_nothing_does_next_to_nothing(kind):
    """With long steps, too: the first of them come before anything is known of a weight."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    X[:, 40:] *= rng.random((300, 20)) < 0.02  # rarely seen
    y = 2 * X[:, 0] + X[:, 1] + X[:, 2] * X[:, 3]
    setting = {"l1_ratio": 1.0, "penalty_groups": kind, "learning_rate_init": 0.1, "batch_size": 30, "max_iter": 15}
    none, little = (
        ElasticNetMLP((16,), alpha=alpha, early_stopping=False, random_state=0, **setting).fit(X, y)
        for alpha in (0.0, 1e-12)
    )
    assert little.score(X, y) > 0.9 < none.score(X, y)
    assert (little.feature_importances_ > 0.5 * none.feature_importances_.min()).all()
