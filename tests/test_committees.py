"""Laws of members that stop together (``early_stopping="ensemble"``), and of those with samples of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.metrics import average_precision_score, log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPCV,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    RegularizedNetClassifier,
    batched_training,
    elastic_net_mlp_path,
)
from sklreg.engine import Committee, share_equal_samples, train
from sklreg.engine.plan import _widest, halves, plan

QUICK = {"hidden_layer_sizes": (12,), "max_iter": 30, "patience": 3, "learning_rate_init": 0.02, "random_state": 3}
TOGETHER = {**QUICK, "n_members": 3, "early_stopping": "ensemble"}


def tables():
    X, y = load_breast_cancer(return_X_y=True)
    yield "binary", RegularizedMLPClassifier(**TOGETHER, dropout=0.2), scale(X), y
    X, y = load_iris(return_X_y=True)
    yield "multiclass", RegularizedMLPClassifier(**TOGETHER), scale(X), np.array(["a", "b", "c"])[y]
    X, y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    yield "multilabel", RegularizedMLPClassifier(**TOGETHER), scale(X), y
    X, y = load_diabetes(return_X_y=True)
    yield "regression", RegularizedMLPRegressor(**TOGETHER), scale(X), y
    yield "two targets", ElasticNetMLP(**TOGETHER, alpha=1e-4), scale(X), np.column_stack([y, -2 * y + X[:, 0]])


TABLES = {name: rest for name, *rest in tables()}
BOOTSTRAPPED = [name for name in TABLES if name != "two targets"]  # ElasticNetMLP draws none


def table(name):
    model, X, y = TABLES[name]
    return clone(model), X, y


def same_networks(a, b):
    pairs = zip(a.module_.state_dict().values(), b.module_.state_dict().values(), strict=True)
    return all(bool((p == q).all()) for p, q in pairs)


# Stopped together -----------------------------------------------------------------------------------------------------


SCORERS = {"binary": "average_precision", "multiclass": "accuracy", "multilabel": "f1_macro"}


@pytest.mark.parametrize("watches", ["loss", "scorer"])
@pytest.mark.parametrize("name", TABLES)
def test_members_that_stop_together_keep_the_same_epoch(name, watches):
    model, X, y = table(name)
    if watches == "scorer":
        model.set_params(scoring=SCORERS.get(name, "r2"))
    members = model.fit(X, y).estimators_
    assert len({member.best_iter_ for member in members}) == 1
    assert len({len(member.history_) for member in members}) == 1
    assert len({tuple(member.validation_scores_) for member in members}) == 1
    assert members[0].best_iter_ == 1 + int(np.argmax(members[0].validation_scores_))
    assert len(members[0].history_) in (members[0].best_iter_ + QUICK["patience"], QUICK["max_iter"])


def test_what_is_watched_is_the_loss_of_the_mean_probabilities():
    model, X, y = table("binary")
    model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    best = model.estimators_[0].best_validation_score_
    assert best == pytest.approx(-log_loss(y[1::2], model.predict_proba(X[1::2])), rel=1e-10)


def test_what_is_watched_is_a_scorer_of_the_mean_probabilities():
    model, X, y = table("binary")
    model.set_params(scoring="average_precision").fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    best = model.estimators_[0].best_validation_score_
    assert best == pytest.approx(average_precision_score(y[1::2], model.predict_proba(X[1::2])[:, 1]), rel=1e-12)


@pytest.mark.parametrize("name", ["regression", "two targets"])
def test_what_is_watched_is_the_error_of_the_mean_values(name):
    model, X, y = table(name)
    model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    errors = mean_squared_error(y[1::2], model.predict(X[1::2]), multioutput="raw_values")
    expected = -0.5 * errors.sum()
    assert model.estimators_[0].best_validation_score_ == pytest.approx(expected, rel=1e-9)
    model.set_params(scoring="neg_root_mean_squared_error").fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    watched = model.estimators_[0].best_validation_score_
    assert watched == pytest.approx(
        -np.mean(np.sqrt(mean_squared_error(y[1::2], model.predict(X[1::2]), multioutput="raw_values"))), rel=1e-9
    )


@pytest.mark.parametrize("name", TABLES)
def test_the_losses_of_a_member_are_its_own(name):
    model, X, y = table(name)
    model.set_params(patience=QUICK["max_iter"], max_iter=5, weight_averaging=0.0)
    together, alone = (
        clone(model).set_params(early_stopping=how).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
        for how in ("ensemble", True)
    )
    for a, b in zip(together.estimators_, alone.estimators_, strict=True):
        assert [record["validation_loss"] for record in a.history_] == [r["validation_loss"] for r in b.history_]


@pytest.mark.parametrize("name", TABLES)
def test_how_members_are_judged_changes_nothing_of_how_they_are_trained(name):
    model, X, y = table(name)
    model.set_params(patience=QUICK["max_iter"])
    together, alone = (
        clone(model).set_params(early_stopping=how).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
        for how in ("ensemble", True)
    )
    for a, b in zip(together.estimators_, alone.estimators_, strict=True):
        assert a.loss_curve_ == b.loss_curve_
        assert a.validation_scores_ != b.validation_scores_


def test_a_single_network_is_an_ensemble_of_itself():
    model, X, y = table("binary")
    together, alone = (clone(model).set_params(n_members=1, early_stopping=how).fit(X, y) for how in ("ensemble", True))
    assert same_networks(together, alone)
    assert together.history_ == alone.history_


@pytest.mark.parametrize("max_models", [None, 2])
def test_a_search_over_how_to_stop_finds_what_it_finds_alone(max_models):
    model, X, y = table("binary")
    grid = {"early_stopping": [True, "ensemble"], "l2": [0.0, 1e-2], "bootstrap": [False, True]}

    def searched():
        return GridSearchCV(model, grid, cv=3, scoring="neg_log_loss").fit(X, y)

    plain = searched()
    with batched_training(max_models):
        batched = searched()
    np.testing.assert_allclose(
        batched.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], rtol=0, atol=1e-10
    )


def jobs_of(model, X, y):
    _, jobs, _ = model._prepare(X, y, None, None, None, None)
    return jobs


@pytest.mark.usefixtures("side_by_side")
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("seeds", ["one", "many"])
def test_a_committee_is_never_parted_and_work_is_as_even_as_without(n_threads, seeds):
    model, X, y = table("binary")
    states = range(40) if seeds == "many" else [0] * 40
    jobs = [job for state in states for job in jobs_of(clone(model).set_params(random_state=state), X, y)]
    stacks = plan(jobs, n_threads)
    assert sorted(i for stack in stacks for i in stack) == list(range(120))
    for job in jobs:
        assert len({s for s, stack in enumerate(stacks) for i in stack if jobs[i].committee is job.committee}) == 1
    widths = [len(stack) for stack in stacks]
    assert max(widths) <= min(_widest(jobs[0]), 120 / n_threads) + 3
    assert max(widths) - min(widths) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_plans_of_committees_of_all_sizes_hold_every_job_once(seed):
    model, X, y = table("binary")
    (one,) = jobs_of(clone(model).set_params(n_members=1), X, y)
    jobs = []
    for size in np.random.default_rng(seed).integers(1, 40, 12):
        jobs += [replace(one, committee=Committee() if size > 1 else None)] * size
    for n_threads in (1, 2, 7):
        stacks = plan(jobs, n_threads)
        assert sorted(i for stack in stacks for i in stack) == list(range(len(jobs)))
        homes = {(jobs[i].committee, s) for s, stack in enumerate(stacks) for i in stack if jobs[i].committee}
        assert len(homes) == len({job.committee for job in jobs} - {None})


def test_a_committee_is_not_parted_where_memory_is_short_and_others_are():
    model, X, y = table("binary")
    jobs = [job for _ in range(4) for job in jobs_of(clone(model), X, y)]
    interleaved = [3 * c + k for k in range(3) for c in range(4)]
    first, second = halves(jobs, interleaved)
    assert sorted(first) == list(range(6))
    assert sorted(second) == list(range(6, 12))
    assert halves(jobs, [1, 0, 2]) == [[1, 0, 2]]


def test_jobs_that_cannot_train_together_are_no_committee():
    model, X, y = table("binary")
    jobs = jobs_of(model, X, y)
    assert isinstance(jobs[0].committee, Committee)
    other = replace(jobs[1], static=replace(jobs[1].static, activation="relu"))
    with pytest.raises(ValueError, match="committee must have equal static choices"):
        plan([jobs[0], other], 1)


def test_all_stop_where_a_callback_stops_one():
    model, X, y = table("binary")
    jobs = jobs_of(model.set_params(patience=QUICK["max_iter"]), X, y)
    jobs[1] = replace(jobs[1], on_epoch=lambda record, snapshot: record["epoch"] == 4)
    results = train(jobs)
    assert [len(result.history) for result in results] == [4, 4, 4]
    assert len({result.best_iter for result in results}) == 1


def test_all_keep_the_best_epoch_where_one_diverges():
    model, X, y = table("regression")
    model.set_params(weight_averaging=0.0, solver="sgd", learning_rate_init=1e-2)
    jobs = jobs_of(model, X, y)
    wild = jobs[2].hyperparameters._replace(learning_rate_init=1e9)
    jobs[2] = replace(jobs[2], hyperparameters=wild)
    results = train(jobs)
    assert [result.diverged for result in results] == [True] * 3
    assert len({(result.best_iter, len(result.history)) for result in results}) == 1


def test_a_scorer_is_asked_once_before_training_and_once_in_each_epoch():
    model, X, y = table("binary")
    asked = []

    def scorer(estimator, X, y):
        asked.append(len(X))
        return float(len(asked))

    model.set_params(scoring=scorer, max_iter=7).fit(X, y)
    assert len(asked) == 1 + 7


def test_an_error_of_the_scorer_is_raised():
    model, X, y = table("binary")
    asked = []

    def scorer(estimator, X, y):
        asked.append(len(X))
        if len(asked) > 3:
            raise ZeroDivisionError("from the scorer")
        return float(len(asked))

    with pytest.raises(ZeroDivisionError, match="from the scorer"):
        model.set_params(scoring=scorer).fit(X, y)


def test_a_committee_is_what_it_is_alone_beside_others_and_single_jobs():
    model, X, y = table("binary")
    fits = [
        clone(model).set_params(scoring="average_precision"),
        clone(model).set_params(scoring="roc_auc", random_state=5),
        clone(model).set_params(l2=1e-2, n_members=2),
        clone(model).set_params(early_stopping=True, scoring="accuracy"),
        clone(model).set_params(early_stopping=True, n_members=1),
    ]
    jobs = [jobs_of(clone(fit), X, y) for fit in fits]
    together = iter(train([job for of_fit in jobs for job in of_fit]))
    for of_fit in jobs:
        for alone in train(of_fit):
            result = next(together)
            assert result.best_iter == alone.best_iter
            for a, b in zip(result.history, alone.history, strict=True):
                assert a == pytest.approx(b, rel=1e-9)


def test_a_warm_start_in_which_l1_grows_for_some_keeps_one_epoch():
    model, X, y = table("regression")
    model.set_params(early_stopping=True, l1=0.5, penalty_warmup=0.5, warm_start=True).fit(X, y)
    model.estimators_[0].module_[0].weight.data[0, 0] = 0.0  # as if L1 had deleted it
    model.estimators_[1].module_[0].weight.data += 1e-9
    members = model.set_params(early_stopping="ensemble").fit(X, y).estimators_
    assert len({(member.best_iter_, len(member.history_)) for member in members}) == 1


def test_networks_with_bins_of_their_own_do_not_go_on_together():
    model, X, y = table("regression")
    X = np.round(1.5 * X)  # of few values, which quantiles of other samples cut otherwise
    model.set_params(early_stopping=True, n_bins=8, warm_start=True).fit(X, y)
    assert len({job.static for job in jobs_of(model, X, y)}) > 1
    with pytest.raises(ValueError, match="cannot continue with early_stopping='ensemble'"):
        model.set_params(early_stopping="ensemble").fit(X, y)


def test_members_that_stop_together_share_one_validation_set():
    model, X, y = table("regression")
    sets = {share_equal_samples(job).validation_set.identity for job in jobs_of(model, X, y)}
    assert len(sets) == 1


@pytest.mark.parametrize("search", [ElasticNetMLPCV(early_stopping="ensemble"), None])
def test_what_has_no_members_refuses_to_stop_them_together(search):
    _, X, y = table("regression")
    with pytest.raises(ValueError, match="early_stopping"):
        search.fit(X, y) if search else elastic_net_mlp_path(X, y, early_stopping="ensemble")


def test_a_net_has_no_members_that_could_stop_together():
    with pytest.raises(ValueError, match="early_stopping"):
        RegularizedNetClassifier(object, early_stopping="ensemble").fit(np.ones((4, 2), np.float32), [0, 1, 0, 1])


# With samples of their own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [True, "ensemble", False])
@pytest.mark.parametrize("name", BOOTSTRAPPED)
def test_members_draw_samples_of_their_own(name, how):
    model, X, y = table(name)
    jobs = jobs_of(model.set_params(bootstrap=True, early_stopping=how), X, y)
    drawn = [{tuple(row) for row in job.train_set.X.values.tolist()} for job in jobs]
    if how is not True:  # else they would differ by what is held out
        assert drawn[0] != drawn[1] != drawn[2]
    for job, rows in zip(jobs, drawn, strict=True):
        # Of n samples, n drawn with replacement are 1 - 1 / e different ones.
        assert len(rows) == pytest.approx(0.632 * len(job.train_set), rel=0.1)
        if how:
            assert not rows & {tuple(row) for row in job.validation_set.X.values.tolist()}


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_a_bootstrap_keeps_the_number_of_each_class(name):
    model, X, y = table(name)
    with_all, with_drawn = (
        jobs_of(clone(model).set_params(n_members=1, bootstrap=draws), X, y)[0] for draws in (False, True)
    )
    assert with_all.train_set.y.sum(0).tolist() == with_drawn.train_set.y.sum(0).tolist()


def test_a_bootstrap_is_the_fit_to_what_it_draws_to_the_bit():
    model, X, y = table("binary")
    model.set_params(n_members=1, early_stopping=False, max_iter=5, bootstrap=True)
    (job,) = jobs_of(clone(model), X, y)
    drawn, label = job.train_set.X.values.numpy(), job.train_set.y.numpy()[:, 0]
    assert same_networks(clone(model).fit(X, y), clone(model).set_params(bootstrap=False).fit(drawn, label))


@pytest.mark.parametrize("name", BOOTSTRAPPED)
def test_a_bootstrapped_member_is_the_fit_with_its_random_state_to_the_bit(name):
    model, X, y = table(name)
    model.set_params(early_stopping=True, bootstrap=True).fit(X, y)
    for member in model.estimators_:
        assert same_networks(member, clone(member).fit(X, y))


def test_bins_and_weights_of_bootstrapped_members_let_them_stop_together():
    model, X, y = table("binary")
    model.set_params(bootstrap=True, n_bins=4, input_scaling="robust")
    weight = np.where(np.arange(len(y)) == 7, 2.0, 1.0)  # which some do not draw
    members = model.fit(X, y, weight).estimators_
    assert len({tuple(member.validation_scores_) for member in members}) == 1


def test_partial_fit_refuses_to_draw_samples():
    model, X, y = table("binary")
    with pytest.raises(ValueError, match=r"partial_fit of RegularizedMLPClassifier.*bootstrap=False"):
        model.set_params(bootstrap=True).partial_fit(X, y, classes=[0, 1])


def test_sparse_samples_are_drawn_as_dense_ones_are():
    model, X, y = table("binary")
    X = np.where(np.abs(X) > 1, X, 0.0)
    model.set_params(bootstrap=True, max_iter=5)
    dense, thin = clone(model).fit(X, y), clone(model).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.predict_proba(X), dense.predict_proba(X), rtol=1e-9)
