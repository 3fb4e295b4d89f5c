"""What ``batched_training`` says, holds and passes on."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
import sklearn
from joblib import Parallel, delayed, effective_n_jobs
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

import sklreg._base
import sklreg._batched
from sklreg import RegularizedMLPClassifier, batched_training

pytestmark = pytest.mark.timeout(120)

X, y = make_classification(120, 6, n_informative=4, flip_y=0, random_state=0)
FOLDS = KFold(3)
FAST = {"hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False, "random_state": 0}


def net(**parameters):
    return RegularizedMLPClassifier(**{**FAST, **parameters})


def search(early_stopping=False, **parameters):
    grid = {"l2": [0.0, 1e-3, 0.1, 1.0]}
    return GridSearchCV(net(early_stopping=early_stopping), grid, **{"cv": FOLDS, **parameters})


# What it says -------------------------------------------------------------------------------------------------


def test_silent_by_default(capsys):
    with batched_training():
        search().fit(X, y)
    assert capsys.readouterr() == ("", "")


def test_one_line_tells_how_many_fits_trained_together(capsys):
    with batched_training(verbose=1):
        search().fit(X, y)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[batched_training\] 12 fits in \d+\.\d\d s, up to 12 in one stack", line)


def test_one_more_line_tells_of_every_fit(capsys):
    with batched_training(verbose=2):
        search().fit(X, y)
    *lines, _ = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    for i, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"\[batched_training\] fit {i} of 12: 3 epochs, loss \d\S*", line)


def test_a_fit_that_fails_is_told_of_by_its_error(capsys):
    def fails(estimator, X, y, calls=[]):  # noqa: B006  # counts its calls
        calls.append(1)
        return 1 / 0 if len(calls) > 3 else 0.5  # not before training

    with batched_training(verbose=2), pytest.raises(ValueError, match="All the 3 fits failed"):
        cross_val_score(net(early_stopping=True, scoring=fails), X, y, cv=FOLDS)
    told = capsys.readouterr().out
    assert told.count("ZeroDivisionError('division by zero')") == 3
    assert "3 failed" in told


# What it holds ------------------------------------------------------------------------------------------------


def test_equal_folds_of_all_candidates_are_held_once(trained_jobs):
    with batched_training():
        search(refit=False).fit(X, y)
    (jobs,) = trained_jobs
    assert len(jobs) == 12
    assert len({job.train_set.identity for job in jobs}) == 3
    assert len({id(job.train_set.y) for job in jobs}) == 3


@pytest.mark.parametrize("max_models", [2, 5, 12, 100])
def test_no_more_fits_wait_than_allowed(trainings, max_models):
    with batched_training(max_models):
        together = search(refit=False).fit(X, y).cv_results_["mean_test_score"]
    assert max(trainings) == min(max_models, 12)
    assert sum(trainings) == 12
    assert_array_equal(together, search(refit=False).fit(X, y).cv_results_["mean_test_score"])


@pytest.mark.parametrize("max_models", [2, 5])
def test_no_more_fits_wait_than_allowed_however_many_are_at_work(trainings, max_models):
    with batched_training(max_models):
        search(refit=False, n_jobs=8).fit(X, y)
    assert max(trainings) <= max_models
    assert sum(trainings) == 12


def test_inside_of_a_task_work_is_not_cut_into_pieces_as_if_it_were_fits():
    with batched_training():
        assert effective_n_jobs(None) > 100
        assert Parallel()([delayed(effective_n_jobs)(None)]) == [1]


def test_a_waiting_fit_keeps_no_copy_of_its_data_beside_scikit_learns(monkeypatch):
    """scikit-learn's slices take one table for each task; ours are shared between the candidates of a fold."""
    rng = np.random.default_rng(0)
    table, labels = rng.normal(size=(3000, 40)), rng.integers(2, size=3000)
    train, seen = sklreg._batched.train, []

    def measuring(jobs, *args):
        seen.append(tracemalloc.get_traced_memory()[0])
        return train(jobs, *args)

    monkeypatch.setattr(sklreg._batched, "train", measuring)
    tracemalloc.start()
    try:
        with batched_training():
            search(refit=False, early_stopping=True).fit(table, labels)
    finally:
        tracemalloc.stop()
    assert len(seen) == 1
    n_tasks, n_folds = 12, 3
    assert seen[0] < 1.1 * (n_tasks + n_folds) * table.nbytes


def test_memory_bounds_what_waits(monkeypatch, trainings):
    monkeypatch.setattr(sklreg._batched, "_memory", lambda: 4 * 4 * 4.5 * X[:80].nbytes)
    with batched_training():
        search(refit=False).fit(X, y)
    assert max(trainings) <= 5
    assert sum(trainings) == 12


# What it passes on --------------------------------------------------------------------------------------------


def test_scores_are_computed_under_the_configuration_of_their_own_call():
    seen = []

    def score(estimator, X, y):
        seen.append(sklearn.get_config()["assume_finite"])
        return 0.5

    with sklearn.config_context(assume_finite=True), batched_training():
        cross_val_score(net(early_stopping=True, scoring=score), X, y, cv=FOLDS)
    assert len(seen) == 3 * (3 + 1)  # epochs, and the check before training
    assert all(seen)


def test_a_search_without_callbacks_prepares_none(monkeypatch):
    """scikit-learn's search gives each of its estimators a context for callbacks, whether there are any or not."""

    def never(*args):
        raise AssertionError("prepared")

    monkeypatch.setattr(sklreg._base.EpochTasks, "__init__", never)
    with batched_training():
        search(error_score="raise").fit(X, y)


def test_passes_of_partial_fit_meet_those_that_are_as_far(trainings):
    def passes(n, l2):
        model = net(l2=l2)
        for _ in range(n):
            model.partial_fit(X, y, classes=[0, 1])
        return model.coefs_[0]

    tasks = [(n, l2) for n in (1, 2, 3) for l2 in (0.0, 0.1)]
    with batched_training():
        together = Parallel()(delayed(passes)(*task) for task in tasks)
    assert trainings == [6, 4, 2]
    for coef, task in zip(together, tasks, strict=True):
        assert_array_equal(coef, passes(*task))
