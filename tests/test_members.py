"""Laws of ``n_members``: several networks that are trained as one computation and predict as one estimator."""

from __future__ import annotations

import io
import pickle
import time
from copy import copy

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    RegularizationAblation,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    StabilitySelector,
    TrainingCurveDisplay,
    batched_training,
    diagnose,
    elastic_net_mlp_path,
)

QUICK = {"hidden_layer_sizes": (12,), "max_iter": 8, "learning_rate_init": 0.01, "random_state": 3}


def tables():
    X, y = load_breast_cancer(return_X_y=True)
    yield "binary", RegularizedMLPClassifier(**QUICK), scale(X), y
    X, y = load_iris(return_X_y=True)
    yield "multiclass", ElasticNetMLPClassifier(**QUICK, alpha=1e-4), scale(X), np.array(["a", "b", "c"])[y]
    X, y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    yield "multilabel", RegularizedMLPClassifier(**QUICK), scale(X), y
    X, y = load_diabetes(return_X_y=True)
    yield "regression", RegularizedMLPRegressor(**QUICK, normalization="batch"), scale(X), y
    yield "two targets", ElasticNetMLP(**QUICK, alpha=1e-4), scale(X), np.column_stack([y, -2 * y + X[:, 0]])


TABLES = {name: rest for name, *rest in tables()}


@pytest.fixture(params=TABLES)
def table(request):
    model, X, y = TABLES[request.param]
    return clone(model), X, y


@pytest.fixture
def cancer():
    return TABLES["binary"][1:]


def predictions(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def same_networks(a, b):
    return all(
        torch.equal(p, q) for p, q in zip(a.module_.state_dict().values(), b.module_.state_dict().values(), strict=True)
    )


def test_a_member_is_the_fit_with_its_random_state_to_the_bit(table):
    model, X, y = table
    for member in model.set_params(n_members=3).fit(X, y).estimators_:
        alone = clone(member).fit(X, y)
        assert same_networks(member, alone)
        assert member.history_ == alone.history_
        assert member.best_iter_ == alone.best_iter_


def test_more_members_leave_the_first_ones_as_they_are(cancer):
    X, y = cancer
    one, two, five = (RegularizedMLPClassifier(**QUICK, n_members=n).fit(X, y) for n in (1, 2, 5))
    assert same_networks(one, two.estimators_[0])
    assert all(same_networks(a, b) for a, b in zip(two.estimators_, five.estimators_[:2], strict=True))


def test_members_differ_in_weights_order_and_validation_set(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**{**QUICK, "random_state": None}, n_members=3).fit(X, y)
    scores = {tuple(member.validation_scores_) for member in model.estimators_}
    assert len(scores) == 3
    assert len({member.coefs_[0][0, 0] for member in model.estimators_}) == 3


def test_the_mean_of_probabilities_or_of_values_is_predicted(table):
    model, X, y = table
    model.set_params(n_members=3).fit(X, y)
    mean = np.mean([predictions(member, X) for member in model.estimators_], axis=0)
    np.testing.assert_allclose(predictions(model, X), mean, rtol=1e-12, atol=1e-12 * np.abs(mean).max())
    if hasattr(model, "predict_log_proba"):
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), mean, rtol=1e-12)
        assert (model.predict(X) == model._label(model._raw_predict(X))).all()


def test_a_mean_of_probabilities_that_round_to_0_or_1_is_exact(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**QUICK, n_members=2).fit(X, y)
    for member in model.estimators_:
        member.module_[-1].weight.data *= 1e3
    log_proba = model.predict_log_proba(X)
    assert np.isfinite(log_proba).all()
    raw = np.stack([member.decision_function(X) for member in model.estimators_])
    assert (expit(raw) == 1).any()
    expected = np.logaddexp.reduce(-np.logaddexp(0, raw), axis=0) - np.log(2)
    np.testing.assert_allclose(log_proba[:, 0], expected, rtol=1e-10, atol=1e-15)


def test_members_are_trained_in_one_call(cancer, trainings):
    RegularizedMLPClassifier(**QUICK, n_members=4).fit(*cancer)
    assert trainings == [4]


def test_module_is_the_whole_ensemble_as_a_torch_module(table):
    model, X, y = table
    model.set_params(n_members=2).fit(X, y)
    with torch.inference_mode():
        raw = model.module_(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(raw, model._raw_predict(X), rtol=1e-10, atol=1e-10)
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(predictions(copy, X), predictions(model, X))
    assert copy.estimators_[1].module_ is copy.module_.members[1]  # held once
    file = io.BytesIO()
    torch.save(model.module_.state_dict(), file)


def test_what_is_told_of_one_network_is_told_by_the_members(cancer):
    model = RegularizedMLPClassifier(**QUICK, l1=1e-2, n_members=2).fit(*cancer)
    for name in ("coefs_", "intercepts_", "history_", "best_iter_", "loss_curve_", "validation_scores_"):
        assert not hasattr(model, name)
        assert hasattr(model.estimators_[0], name)
    with pytest.raises(AttributeError, match=r"n_members=2 has no coefs_ of its own.*estimators_\[0\]\.coefs_"):
        _ = model.coefs_
    with pytest.raises(AttributeError, match="no attribute 'coef_'"):
        _ = model.coef_
    members = model.estimators_
    assert model.n_iter_ == max(member.n_iter_ for member in members)
    assert model.n_nonzero_ == sum(member.n_nonzero_ for member in members)
    assert model.sparsity_ == pytest.approx(np.mean([member.sparsity_ for member in members]))
    assert model.sparsity_ > 0


def test_a_fit_with_one_network_leaves_nothing_of_an_ensemble(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**QUICK, n_members=2).fit(X, y).set_params(n_members=1).fit(X, y)
    assert not hasattr(model, "estimators_")
    assert same_networks(model, RegularizedMLPClassifier(**QUICK).fit(X, y))


@pytest.mark.parametrize("groups", ["weights", "hierarchical"])
def test_pruned_and_sparse_ensembles_predict_the_same(groups):
    X, y = TABLES["regression"][1:]
    model = ElasticNetMLP(
        **{**QUICK, "max_iter": 60}, alpha=20.0, l1_ratio=1.0, penalty_groups=groups, early_stopping=False, n_members=2
    ).fit(X, y)
    expected = model.predict(X)
    pruned = model.prune()
    np.testing.assert_allclose(pruned.predict(X), expected, rtol=1e-10)
    assert sum(w.size for m in pruned.estimators_ for w in m.coefs_) < sum(
        w.size for m in model.estimators_ for w in m.coefs_
    )
    assert np.array_equal(model.predict(X), expected)
    n_nonzero = model.n_nonzero_
    np.testing.assert_allclose(model.sparsify().predict(X), expected, rtol=1e-10)
    assert model.n_nonzero_ == n_nonzero
    assert np.array_equal(model.densify().predict(X), expected)


def test_the_importance_of_a_feature_is_the_mean_of_the_members():
    X, y = TABLES["regression"][1:]
    model = ElasticNetMLP(
        **{**QUICK, "max_iter": 60}, alpha=20.0, penalty_groups="features", early_stopping=False, n_members=2
    )
    selector = SelectFromModel(model, threshold=1e-10).fit(X, y)
    members = selector.estimator_.estimators_
    importances = np.mean([member.feature_importances_ for member in members], axis=0)
    assert np.array_equal(selector.estimator_.feature_importances_, importances)
    assert np.array_equal(selector.get_support(), importances > 0)
    assert 0 < selector.get_support().sum() < X.shape[1]


def test_an_ensemble_that_has_dropped_everything_warns_once():
    X, y = TABLES["regression"][1:]
    model = ElasticNetMLP(**{**QUICK, "max_iter": 60}, alpha=1e4, l1_ratio=1.0, early_stopping=False, n_members=3)
    with pytest.warns(UserWarning, match="has dropped all") as caught:
        model.fit(X, y)
    assert len(caught) == 1


# Training further -------------------------------------------------------------------------------------------------


def test_members_learn_pass_by_pass_as_each_would_alone(table):
    model, X, y = table
    classes = {"classes": np.unique(y)} if hasattr(model, "predict_proba") and y.ndim == 1 else {}
    model.set_params(n_members=2)
    for step in (0.01, 0.003):
        model.set_params(learning_rate_init=step).partial_fit(X, y, **classes)
    for member in model.estimators_:
        alone = clone(member)
        for step in (0.01, 0.003):
            alone.set_params(learning_rate_init=step).partial_fit(X, y, **classes)
        assert same_networks(member, alone)
        assert member.history_ == alone.history_
        assert member.learning_rate_init == 0.003


def test_a_warm_start_goes_on_from_every_member(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**{**QUICK, "early_stopping": False}, n_members=2, warm_start=True).fit(X, y)
    before = [member.loss_curve_[-1] for member in model.estimators_]
    model.fit(X, y)
    assert all(m.loss_curve_[0] < loss * 1.05 for m, loss in zip(model.estimators_, before, strict=True))


@pytest.mark.parametrize("further", ["fit", "partial_fit"])
def test_training_further_with_another_number_of_members_is_refused_and_changes_nothing(cancer, further):
    X, y = cancer
    model = RegularizedMLPClassifier(**QUICK, n_members=2, warm_start=True).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"fitted with n_members=2, and n_members=3 now.*warm_start=False"):
        getattr(model.set_params(n_members=3), further)(X, y)
    assert np.array_equal(model.predict_proba(X), before)


def test_a_pass_that_fails_leaves_all_members_as_they_were(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**QUICK, n_members=2).partial_fit(X, y, classes=[0, 1])
    before = [len(member.history_) for member in model.estimators_], model.predict_proba(X)
    with pytest.raises(ValueError, match="labels that RegularizedMLPClassifier does not know"):
        model.partial_fit(X, y + 1)
    assert [len(member.history_) for member in model.estimators_] == before[0]
    assert np.array_equal(model.predict_proba(X), before[1])


# With the rest of the library -------------------------------------------------------------------------------------


def test_a_batched_search_over_the_number_of_members_finds_what_it_finds_without(cancer):
    X, y = cancer

    def search():
        model = RegularizedMLPClassifier(**QUICK)
        return GridSearchCV(model, {"n_members": [1, 3], "l2": [0.0, 1e-2]}, cv=3, scoring="neg_log_loss").fit(X, y)

    plain = search()
    with batched_training():
        batched = search()
    assert np.array_equal(plain.cv_results_["mean_test_score"], batched.cv_results_["mean_test_score"])
    assert len(set(plain.cv_results_["mean_test_score"])) == 4


def test_progress_names_the_member(cancer, capsys):
    RegularizedMLPClassifier(**{**QUICK, "max_iter": 1}, n_members=2, verbose=True).fit(*cancer)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" epoch")[0] for line in lines] == [
        f"RegularizedMLPClassifier (member {k} of 2)" for k in (1, 2)
    ]


def test_a_given_validation_set_is_that_of_all_members(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**QUICK, n_members=2).fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    for member in model.estimators_:
        alone = clone(member).fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
        assert member.validation_scores_ == alone.validation_scores_


def test_paths_and_stability_selection_refuse_several_members():
    X, y = TABLES["regression"][1:]
    with pytest.raises(TypeError, match="takes no n_members"):
        elastic_net_mlp_path(X, y, n_members=2)
    with pytest.raises(ValueError, match=r"must have n_members=1; got 2.*n_resamples"):
        StabilitySelector(ElasticNetMLP(early_stopping=False, n_members=2)).fit(X, y)


def test_diagnose_asks_for_a_single_network(cancer):
    model = RegularizedMLPClassifier(**QUICK, n_members=2).fit(*cancer)
    with pytest.raises(ValueError, match=r"RegularizedMLPClassifier has 2, each.*Pass one of its estimators_"):
        diagnose(model)
    assert diagnose(model.estimators_[1]).epoch == model.estimators_[1].best_iter_


def test_an_ablation_does_without_the_ensemble_too(cancer):
    model = RegularizedMLPClassifier(**QUICK, n_members=2, weight_decay=0.0, early_stopping=False)
    ablation = RegularizationAblation(model, cv=2, n_repeats=1, random_state=0).fit(*cancer)
    assert ablation.techniques_ == ["n_members"]
    assert [dict(p) for p in ablation.results_["params"]] == [{}, {"n_members": 1}, {}, {"n_members": 1}]


@pytest.mark.parametrize("names", [None, ["one", "three"]])
def test_training_curves_show_every_member(cancer, names):
    models = [RegularizedMLPClassifier(**QUICK, n_members=n).fit(*cancer) for n in (1, 3)]
    display = TrainingCurveDisplay.from_estimator(models, names=names)
    first, second = names or ["RegularizedMLPClassifier 1", "RegularizedMLPClassifier 2"]
    assert display.names == [first, *(f"{second}, member {k}" for k in (1, 2, 3))]
    assert display.histories[2][0]["loss"] == models[1].estimators_[1].history_[0]["loss"]


# Found by reviews -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_groups", [None, [0, 0, 0, 1, 1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("n_members", [1, 3])
def test_a_hierarchy_is_trained_by_sgd(n_members, feature_groups):
    """Its steps are one number for all groups of a network; they were taken for one of each group."""
    X, y = TABLES["regression"][1:]
    model = ElasticNetMLP(
        (16,), alpha=0.05, penalty_groups="hierarchical", feature_groups=feature_groups, solver="sgd",
        learning_rate_init=0.05, early_stopping=False, max_iter=40, n_members=n_members, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.score(X, y) > 0.4
    for member in model._members():
        alone = clone(member).fit(X, y)
        np.testing.assert_allclose(alone.predict(X), member.predict(X), rtol=1e-9)


@pytest.mark.usefixtures("side_by_side")
def test_callbacks_hear_of_one_epoch_at_a_time(cancer, use_threads):
    callback = pytest.importorskip("sklearn.callback")
    busy, most, count = [0], [0], [0]

    class Watch(callback.ProgressBar):
        def on_fit_task_end(self, *args, **kwargs):
            busy[0] += 1
            most[0] = max(most[0], busy[0])
            count[0] += 1
            time.sleep(1e-4)
            busy[0] -= 1
            return False

    model = RegularizedMLPClassifier((4,), max_iter=5, early_stopping=False, n_members=20, random_state=0)
    use_threads(2)
    model.set_callbacks(Watch()).fit(*cancer)
    assert count[0] >= 20 * 5
    assert most[0] == 1


def test_members_share_data_that_is_the_same(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**{**QUICK, "early_stopping": False}, n_members=4, dtype="float32")
    _, jobs, _ = model._prepare(X, y, None, None, None, None)
    assert len({job.train_set.X.values.data_ptr() for job in jobs}) == 1


def test_a_copy_that_becomes_sparse_leaves_the_original_as_it_was(cancer):
    X, y = cancer
    model = RegularizedMLPClassifier(**QUICK, l1=1e-2, n_members=2).fit(X, y)
    copy(model).sparsify()
    assert all(isinstance(w, np.ndarray) for member in model.estimators_ for w in member.coefs_)
    model.set_params(warm_start=True).fit(X, y)


def test_some_members_that_have_dropped_everything_are_told_of():
    X, y = TABLES["regression"][1:]
    model = ElasticNetMLP(**QUICK, alpha=1e-3, early_stopping=False, n_members=2).fit(X, y)
    model.estimators_[1].module_[0].weight.data.zero_()
    with pytest.warns(UserWarning, match=r"dropped all 10 features in 1 of its 2 networks: these predict"):
        model._check_fitted()
