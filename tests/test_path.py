"""Paths and cross-validation: their rows are single fits, and their linear limits scikit-learn's."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import ElasticNetCV, LogisticRegressionCV, enet_path
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklreg._batched
from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    ElasticNetMLPClassifierCV,
    ElasticNetMLPCV,
    batched_training,
    elastic_net_mlp_path,
)

CONVEX = {
    "hidden_layer_sizes": (),
    "learning_rate_init": 0.05,
    "max_iter": 600,
    "batch_size": "full",
    "random_state": 0,
}
NETWORK = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02, "max_iter": 30, "random_state": 0}
# What scikit-learn trainings them now, and what it called them before.
IS_NEW = hasattr(LogisticRegressionCV(), "use_legacy_attributes")
EIGHT_ALPHAS = {"alphas": 8} if IS_NEW else {"n_alphas": 8}
LEGACY = {"use_legacy_attributes": False} if IS_NEW else {"penalty": "elasticnet"}
SETTLED = {"early_stopping": False, "learning_rate": "cosine", "penalty_warmup": 0.3}
pytestmark = pytest.mark.filterwarnings("ignore:.*has dropped all", "ignore:.*features are left. Training was too")
KINDS = ["weights", "features", "neurons", "hierarchical"]


@pytest.fixture(scope="module")
def regression():
    X, y = make_regression(120, 10, n_informative=4, noise=5.0, random_state=0)
    return X, y / y.std()


@pytest.fixture(scope="module")
def classes():
    return make_classification(150, 8, n_informative=3, flip_y=0.1, random_state=1)


# Rows are fits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", [{}, {"early_stopping": True}, {"dropout": 0.3, "normalization": "batch"}], ids=str)
def test_rows_of_a_path_are_single_fits(regression, kind, setting):
    X, y = regression
    alphas = [0.3, 0.03, 0.003]
    setting = {**NETWORK, **setting, "penalty_groups": kind}
    path = elastic_net_mlp_path(X, y, l1_ratio=0.8, alphas=alphas, **setting)
    for alpha, model, *coefs in zip(path.alphas, path.models, *(np.moveaxis(c, 2, 0) for c in path.coefs), strict=True):
        single = ElasticNetMLP(alpha=alpha, l1_ratio=0.8, **{**SETTLED, **setting}).fit(X, y)
        for ours, theirs in zip(coefs, single.coefs_, strict=True):
            assert_allclose(ours, theirs, atol=1e-10)
        assert model.get_params() == single.get_params()
        assert_allclose(model.predict(X), single.predict(X), atol=1e-9)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_cross_validation_is_what_a_grid_search_of_single_fits_finds(classes, class_weight, trainings):
    X, y = classes
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    folds = StratifiedKFold(3)
    setting = {**NETWORK, **SETTLED, "class_weight": class_weight}
    model = ElasticNetMLPClassifierCV(alphas=[0.2, 0.02], l1_ratio=[0.5, 1.0], cv=folds, scoring="roc_auc", **setting)
    model.fit(X, y, weight)
    assert trainings == [2 * 2 * (3 + 1)]
    search = GridSearchCV(
        ElasticNetMLPClassifier(**setting), {"l1_ratio": [0.5, 1.0], "alpha": [0.2, 0.02]}, cv=folds, scoring="roc_auc"
    ).fit(X, y, sample_weight=weight)
    by_fold = np.stack([search.cv_results_[f"split{f}_test_score"] for f in range(3)], axis=-1)
    unweighted = ElasticNetMLPClassifierCV(**model.get_params()).fit(X, y)
    assert model.scores_.shape == unweighted.scores_.shape == (2, 2, 3)
    search = search.fit(X, y)
    by_fold = np.stack([search.cv_results_[f"split{f}_test_score"] for f in range(3)], axis=-1)
    by_ratio = np.moveaxis(by_fold.reshape(2, 2, 3), 0, 1)  # alpha is the grid's first key
    assert_allclose(unweighted.scores_, by_ratio, atol=1e-10)
    assert search.best_params_ == {"alpha": unweighted.alpha_, "l1_ratio": unweighted.l1_ratio_}
    assert_allclose(unweighted.predict_proba(X), search.predict_proba(X), atol=1e-10)


@pytest.mark.parametrize("estimator", [ElasticNetMLPCV, ElasticNetMLPClassifierCV])
def test_the_chosen_network_is_the_single_fit_to_all_samples(classes, estimator):
    X, y = classes
    single = {ElasticNetMLPCV: ElasticNetMLP, ElasticNetMLPClassifierCV: ElasticNetMLPClassifier}[estimator]
    model = estimator(alphas=6, cv=3, penalty_groups="features", **NETWORK).fit(X, y)
    setting = {"alpha": model.alpha_, "l1_ratio": 0.5, "penalty_groups": "features", **NETWORK, **SETTLED}
    expected = single(**setting).fit(X, y)
    assert_allclose(model.feature_importances_, expected.feature_importances_, atol=1e-10)
    assert_allclose(model.predict(X), expected.predict(X), atol=1e-9)
    place = model.alphas_.tolist().index(model.alpha_)
    assert_array_equal(model.feature_importances_path_[:, place], model.feature_importances_)


def test_scores_are_those_of_the_predictions_of_each_fold(classes):
    X, y = classes
    folds = list(KFold(3).split(X))
    regressor = ElasticNetMLPCV(alphas=[0.1], cv=folds, **NETWORK).fit(X, y)
    classifier = ElasticNetMLPClassifierCV(alphas=[0.1], cv=folds, **NETWORK).fit(X, y)
    for f, (train, test) in enumerate(folds):
        single = ElasticNetMLP(alpha=0.1, **NETWORK, **SETTLED).fit(X[train], y[train])
        error = mean_squared_error(y[test], single.predict(X[test]))
        assert_allclose([regressor.mse_path_[0, f], -2 * regressor.scores_[0, f]], error, rtol=1e-9)
        single = ElasticNetMLPClassifier(alpha=0.1, **NETWORK, **SETTLED).fit(X[train], y[train])
        assert_allclose(-classifier.scores_[0, f], log_loss(y[test], single.predict_proba(X[test])), rtol=1e-9)


# Linear limits ----------------------------------------------------------------------------------------------------


def test_without_hidden_layers_the_path_is_scikit_learns(regression):
    X, y = regression
    ours = elastic_net_mlp_path(X, y, l1_ratio=0.7, alphas=8, **CONVEX)
    alphas, coefs, _ = enet_path(X - X.mean(axis=0), y - y.mean(), l1_ratio=0.7, tol=1e-12, **EIGHT_ALPHAS)
    assert_allclose(ours.alphas, alphas, rtol=1e-8)
    assert_allclose(ours.coefs[0][:, 0], coefs, atol=1e-4)
    assert_array_equal(ours.feature_importances > 0, coefs != 0)


def test_without_hidden_layers_cross_validation_is_scikit_learns(regression):
    X, y = regression
    setting = {"l1_ratio": [0.5, 0.9], "cv": 3}
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    ours = ElasticNetMLPCV(alphas=8, **setting, **CONVEX).fit(X, y, weight)
    theirs = ElasticNetCV(**EIGHT_ALPHAS, **setting, tol=1e-10).fit(X, y, weight)
    assert_allclose(ours.alphas_, theirs.alphas_, rtol=1e-8)
    assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-3)
    assert_allclose([ours.alpha_, ours.l1_ratio_], [theirs.alpha_, theirs.l1_ratio_], rtol=1e-8)
    assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, atol=1e-4)


def test_without_hidden_layers_the_classifier_is_logistic_regression(classes):
    X, y = classes
    folds = [(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    alphas = np.array([0.1, 0.03, 0.01])
    ours = ElasticNetMLPClassifierCV(alphas=alphas, l1_ratio=0.9, cv=folds, scoring="roc_auc", **CONVEX).fit(X, y)
    theirs = LogisticRegressionCV(
        Cs=1 / (100 * alphas), l1_ratios=[0.9], cv=folds, scoring="roc_auc", solver="saga", tol=1e-8, max_iter=10_000,
        **LEGACY,
    ).fit(X, y)  # fmt: skip
    scores = theirs.scores_[:, 0] if IS_NEW else theirs.scores_[1][:, :, 0]
    assert_allclose(ours.scores_, scores.T, atol=3e-3)  # of few pairs each


# The path ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "setting", [{}, {"hidden_layer_sizes": (8, 8)}, {"activation": "selu"}, {"activation": "logistic"}], ids=str
)
@pytest.mark.parametrize("task", ["squared_error", "log_loss"])
def test_a_path_goes_from_all_zero_to_dense(regression, classes, kind, setting, task):
    X, y = regression if task == "squared_error" else classes
    setting = {**NETWORK, "max_iter": 250, **setting, "penalty_groups": kind, "loss": task}
    path = elastic_net_mlp_path(5 + X, y, l1_ratio=1.0, alphas=8, eps=1e-3, **setting)
    first, last = path.models[0], path.models[-1]
    if kind == "hierarchical":
        # The last feature leaves slowly, with a bound of 10: all its weights have to shrink with its linear one.
        assert path.n_features[0] <= 3
    else:
        assert first.n_nonzero_ == 0
        assert (first.predict(X) == first.predict(X)[0]).all()
    assert path.n_features[-1] == X.shape[1]
    assert last.sparsity_ < 0.9


def test_above_alpha_max_no_network_has_a_lower_objective(regression):
    """Zero is the global minimum: no random network, however scaled, pays for its weights."""
    X, y = regression
    rng = np.random.default_rng(0)
    alpha = elastic_net_mlp_path(X, y, l1_ratio=1.0, alphas=1, **{**NETWORK, "max_iter": 1}).alphas[0]
    base = 0.5 * np.var(y)
    for _ in range(500):
        W, v = rng.normal(size=(10, 4)) * rng.uniform(0, 1, (10, 1)) ** 8, rng.normal(size=4)
        hidden = np.maximum(X @ W + rng.normal(size=4), 0)
        f = (hidden - hidden.mean(axis=0)) @ v
        best = f @ (y - y.mean()) / max(f @ f, 1e-12)  # the scale that fits best
        f *= best
        size = 2 * np.sqrt(np.abs(W).sum() * np.abs(v * best).sum())  # scaled between the layers at the least cost
        assert 0.5 * np.mean((y - y.mean() - f) ** 2) + alpha * size >= base


def test_sparse_inputs_and_sample_weights_give_the_same_grid(regression):
    from scipy import sparse

    X, y = regression
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    setting = {**NETWORK, "max_iter": 1, "alphas": 3}
    dense = elastic_net_mlp_path(X, y, sample_weight=weight, **setting).alphas
    assert_allclose(elastic_net_mlp_path(sparse.csr_array(X), y, sample_weight=weight, **setting).alphas, dense)
    assert_allclose(elastic_net_mlp_path(np.repeat(X, weight, 0), np.repeat(y, weight), **setting).alphas, dense)


def test_features_are_read_off_in_the_order_of_entry():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8))
    y = 3 * X[:, 2] + X[:, 5] + 0.1 * rng.normal(size=200)
    setting = {**NETWORK, "max_iter": 300}
    path = elastic_net_mlp_path(X, y, l1_ratio=1.0, alphas=15, penalty_groups="features", **setting)
    assert path.select(2).tolist() == [2, 5]
    assert (path.entry_alphas[2], path.n_features[0]) == (max(path.entry_alphas), 0)
    with pytest.raises(
        ValueError, match="k must be an int from 1 to the number of features that enter the path, 8 of 8"
    ):
        path.select(9)


def test_the_sparser_of_equally_good_is_chosen_by_the_one_standard_error_rule(regression):
    X, y = regression
    best = ElasticNetMLPCV(alphas=10, cv=4, **CONVEX).fit(X, y)
    sparse = clone(best).set_params(one_standard_error=True).fit(X, y)
    mean = best.scores_.mean(axis=1)
    error = best.scores_[mean.argmax()].std(ddof=1) / 2
    assert best.alpha_ == best.alphas_[mean.argmax()]
    assert sparse.alpha_ == best.alphas_[np.flatnonzero(mean >= mean.max() - error)[0]]
    assert sparse.alpha_ > best.alpha_


# As steps of scikit-learn -----------------------------------------------------------------------------------------


def test_the_k_best_of_the_path_are_a_step_of_a_pipeline(regression):
    X, y = regression
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(10)])
    chooser = ElasticNetMLPCV(alphas=12, cv=3, l1_ratio=1.0, penalty_groups="features", **NETWORK)
    selector = SelectFromModel(chooser, importance_getter="entry_scores_", max_features=3, threshold=-np.inf)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), selector, ElasticNetMLP(**NETWORK))
    pipeline.fit(frame, y)
    names = pipeline[:-1].get_feature_names_out()
    assert len(names) == 3
    assert [int(name[1:]) for name in names] == sorted(selector.estimator_.select(3))


def test_a_search_over_cross_validated_selections_meets_in_one_training(classes, trainings):
    X, y = classes
    chooser = ElasticNetMLPClassifierCV(alphas=[0.1, 0.01], cv=2, **{**NETWORK, "max_iter": 5})
    pipeline = make_pipeline(StandardScaler(), SelectFromModel(chooser), ElasticNetMLPClassifier(**NETWORK))
    grid = {"selectfrommodel__estimator__penalty_groups": ["weights", "features"]}
    search = GridSearchCV(pipeline, grid, cv=2)
    alone = clone(search).fit(X, y).cv_results_["mean_test_score"]
    trainings.clear()
    with batched_training():
        together = search.fit(X, y).cv_results_["mean_test_score"]
    assert_allclose(together, alone)
    # Four tasks hand in both alphas on two folds and on all samples; then each its last step; then the refit.
    assert trainings == [4 * 2 * 3, 4, 6, 1]


def test_cross_validation_of_a_cross_validated_estimator_is_the_same_under_batched_training(regression):
    X, y = regression
    model = ElasticNetMLPCV(alphas=4, cv=2, **{**NETWORK, "max_iter": 5})
    alone = cross_validate(model, X, y, cv=2)["test_score"]
    with batched_training():
        assert_allclose(cross_validate(model, X, y, cv=2)["test_score"], alone, rtol=1e-9)


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_training(monkeypatch):
    def train(*args):
        raise AssertionError("training began")

    monkeypatch.setattr(sklreg._batched, "train", train)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alphas": []}, "'alphas' parameter of .* must be an int .* or an array of at least one number"),
        ({"alphas": [0.1, -0.1]}, r"numbers? in \[0, inf\)"),
        ({"alphas": [0.1, np.nan]}, "at least one number"),
        ({"alphas": [[0.1], [0.2]]}, "at least one number"),
        ({"alphas": 0}, "'alphas' parameter of"),
        ({"alphas": "auto"}, "'alphas' parameter of"),
        ({"eps": 0.0}, "'eps' parameter of"),
        ({"eps": 1.0}, "'eps' parameter of"),
        ({"l1_ratio": 1.5}, "'l1_ratio' parameter of"),
        ({"l1_ratio": 0.0}, "cannot place alphas for l1_ratio=0, which sets no weight to zero"),
    ],
    ids=str,
)
def test_alphas_and_ratios_that_are_none_are_refused_before_training(classes, parameters, message):
    for estimator in (ElasticNetMLPCV, ElasticNetMLPClassifierCV):
        with pytest.raises(ValueError, match=message):
            estimator(**parameters).fit(*classes)
    with pytest.raises(ValueError, match=message):
        elastic_net_mlp_path(*classes, **parameters)


@pytest.mark.usefixtures("no_training")
def test_folds_that_cannot_be_trained_or_judged_are_refused_before_training(classes):
    X, y = classes
    order = np.argsort(y)
    with pytest.raises(ValueError, match=r"fold 1 of cv=KFold.* leaves 75 samples of one class, .*0.*, to train on"):
        ElasticNetMLPClassifierCV(cv=KFold(2)).fit(X[order], y[order])
    halves = [(np.arange(150), order[:20])]
    with pytest.raises(ValueError, match="gives nan for perfect predictions of the 20 test samples of fold 0"):
        ElasticNetMLPClassifierCV(cv=halves, scoring="roc_auc").fit(X, y)
    with pytest.raises(ValueError, match="l1_ratio' parameter of ElasticNetMLPCV must be a float in"):
        ElasticNetMLPCV(l1_ratio=[0.5, 1.5]).fit(X, y)
    with pytest.raises(ValueError, match="loss of elastic_net_mlp_path must be 'squared_error' or 'log_loss'"):
        elastic_net_mlp_path(X, y, loss="hinge")
    with pytest.raises(TypeError, match="alpha_"):
        elastic_net_mlp_path(X, y, alpha_=1.0)


def test_alphas_in_any_order_are_sorted(regression):
    X, y = regression
    path = elastic_net_mlp_path(X, y, alphas=[0.1, 1.0, 0.01], **{**NETWORK, "max_iter": 1})
    assert path.alphas.tolist() == [1.0, 0.1, 0.01]


def test_samples_of_weight_zero_are_in_no_fold(classes):
    X, y = classes
    weight = np.ones(150)
    weight[::7] = 0
    folds = list(StratifiedKFold(3).split(X, y))
    ours = ElasticNetMLPClassifierCV(alphas=[0.1], cv=folds, **NETWORK).fit(X, y, weight)
    kept = np.flatnonzero(weight)
    place = {int(i): k for k, i in enumerate(kept)}
    smaller = [tuple([place[i] for i in part if i in place] for part in fold) for fold in folds]
    expected = ElasticNetMLPClassifierCV(alphas=[0.1], cv=smaller, **NETWORK).fit(X[kept], y[kept])
    assert_allclose(ours.scores_, expected.scores_)


def test_when_no_feature_is_worth_it_the_choice_warns(classes):
    X, _ = classes
    with pytest.warns(UserWarning, match="has dropped all 8 features"):
        ElasticNetMLPCV(alphas=[5.0, 4.0], l1_ratio=1.0, **{**NETWORK, "max_iter": 60}).fit(X, X[:, 0])


def test_training_too_short_to_empty_the_first_network_of_a_path_is_told(regression):
    X, y = regression
    with pytest.warns(ConvergenceWarning, match="at the greatest alpha, .* features are left"):
        elastic_net_mlp_path(X, y, alphas=3, hidden_layer_sizes=(8,), max_iter=2, random_state=0)


def test_fits_that_diverge_are_told_of_once_with_their_alphas(regression):
    X, y = regression
    with pytest.warns(ConvergenceWarning) as caught:
        elastic_net_mlp_path(
            X, y, alphas=[0.1, 0.2], hidden_layer_sizes=(8,), learning_rate_init=1e30, solver="sgd", max_iter=5,
            random_state=0,
        )  # fmt: skip
    told = [str(w.message) for w in caught if "diverged" in str(w.message)]
    assert len(told) == 1
    assert "2 of 2 fits diverged, with alpha from 0.1 to 0.2" in told[0]


@pytest.mark.parametrize("name", ["alpha", "warm_start"])
def test_a_path_refuses_what_it_would_ignore(regression, name):
    with pytest.raises(TypeError, match=f"takes no {name}"):
        elastic_net_mlp_path(*regression, **{name: 1})


def test_features_that_enter_at_an_alpha_of_zero_are_in(regression):
    X, y = regression
    model = ElasticNetMLPCV((4,), alphas=[100.0, 0.0], l1_ratio=1.0, cv=2, max_iter=3, random_state=0).fit(X, y)
    assert sorted(model.select(X.shape[1])) == list(range(X.shape[1]))
    assert (model.entry_alphas_[model.feature_importances_path_[:, 0] == 0] == 0).all()


@pytest.mark.parametrize(("cv", "rule"), [([], False), ([(range(20), range(20, 40))], True)])
def test_too_few_folds_are_refused_before_training(regression, monkeypatch, cv, rule):
    monkeypatch.setattr("sklreg._path_fits.train_all_here", None)
    with pytest.raises(ValueError, match="needs (a fold|at least 2 folds)"):
        ElasticNetMLPCV((4,), cv=cv, one_standard_error=rule).fit(*regression)


def test_early_stopping_judges_a_network_only_once_its_penalty_has_grown(regression):
    X, y = regression
    model = ElasticNetMLP((16,), alpha=0.1, penalty_warmup=0.5, max_iter=20, patience=3, random_state=0).fit(X, y)
    assert len(model.history_) >= 13
    assert model.best_iter_ >= 10


def test_a_class_that_is_missing_from_a_fold_has_no_balanced_weight(classes):
    X, y = classes
    y = np.where(np.arange(len(y)) == 7, 9, y)  # one sample of a class of its own
    folds = [(np.delete(np.arange(len(y)), 7), np.arange(10)), (np.arange(10, len(y)), np.arange(7))]
    model = ElasticNetMLPClassifierCV(
        (4,), class_weight="balanced", alphas=[0.01, 0.1], cv=folds, max_iter=3, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert np.isfinite(model.fit(X, y).scores_).all()


@pytest.mark.parametrize("ratio", [["a"], [[0.5]], [[0.1], [0.2, 0.3]], [], [1.5]])
def test_ratios_that_are_no_list_of_shares_are_refused(regression, ratio):
    with pytest.raises(ValueError, match="'l1_ratio' parameter of ElasticNetMLPCV must be a float in"):
        ElasticNetMLPCV((4,), l1_ratio=ratio).fit(*regression)


def test_verbose_tells_how_many_fits_there_were(regression, capsys):
    ElasticNetMLPCV((4,), alphas=3, cv=2, max_iter=2, verbose=True, random_state=0).fit(*regression)
    assert re.fullmatch(r"\[ElasticNetMLPCV\] 9 fits in [0-9.]+ s\n", capsys.readouterr().out)


def test_the_k_best_of_groups_are_whole_groups(regression):
    X, y = regression
    labels = [0, 1, 0, 2, 1, 3, 4, 4, 5, 5]
    path = elastic_net_mlp_path(
        X, y, penalty_groups="features", feature_groups=labels, l1_ratio=1.0, alphas=10, hidden_layer_sizes=(8,),
        max_iter=60, random_state=0,
    )  # fmt: skip
    for k in (1, 3, 6):
        index = path.select(k)
        chosen = {labels[j] for j in index}
        assert len(chosen) == k
        assert sorted(index) == [j for j in range(10) if labels[j] in chosen]
    with pytest.raises(ValueError, match="from 1 to the number of groups that enter the path, 6 of 6; got 7.$"):
        path.select(7)


def test_a_constant_target_is_no_reason_to_train_longer(regression):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.filterwarnings("ignore", ".*no input says anything of this target")
        elastic_net_mlp_path(regression[0], np.ones(120), alphas=3, hidden_layer_sizes=(4,), max_iter=3)


def test_a_fold_that_a_scorer_refuses_is_named(classes):
    X, y = classes
    y = np.where(X[:, 0] > 1, 2, y)
    folds = [(np.arange(len(y)), np.flatnonzero(y < 2)), (np.arange(len(y)), np.arange(len(y)))]
    with pytest.raises(ValueError, match="scoring='roc_auc_ovr' cannot judge the .* test samples of fold 0"):
        ElasticNetMLPClassifierCV((4,), cv=folds, scoring="roc_auc_ovr").fit(X, y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("scoring", ["average_precision", "f1", "recall"])
def test_a_fold_without_positives_is_refused_where_the_scoring_needs_them(classes, scoring):
    X, y = classes
    folds = [(np.arange(150), np.flatnonzero(y == 0)), (np.arange(150), np.arange(150))]
    with pytest.raises(ValueError, match=f"'{scoring}' gives .* of the .* test samples of fold 0 .*it cannot choose"):
        ElasticNetMLPClassifierCV((4,), cv=folds, scoring=scoring).fit(X, y)


def test_a_warm_up_without_an_l1_penalty_does_not_delay_early_stopping(regression):
    X, y = regression
    setting = {"l1_ratio": 0.0, "alpha": 0.01, "max_iter": 30, "patience": 3, "random_state": 0}
    with_warmup, without = (
        ElasticNetMLP((16,), penalty_warmup=warmup, learning_rate_init=0.05, **setting).fit(X, y) for warmup in (0.9, 0)
    )
    assert with_warmup.best_iter_ == without.best_iter_ < 20
