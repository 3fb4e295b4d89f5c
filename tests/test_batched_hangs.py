"""Nothing hangs under ``batched_training``, and nothing is left behind, whatever goes wrong."""

from __future__ import annotations

import _thread
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sklreg._batched
import sklreg._meeting
from sklreg import ElasticNetMLPClassifier, RegularizedMLPClassifier, batched_training

pytestmark = pytest.mark.timeout(60, method="thread")

X, y = make_classification(120, 6, random_state=0)
FAST = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
ENDLESS = {**FAST, "max_iter": 10**7, "patience": 10**7}


def net(**parameters):
    return RegularizedMLPClassifier(**{**FAST, **parameters})


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("sklreg-")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Watch that a test leaves no thread; those of an aborted search may take an epoch to see it."""
    yield
    end = time.monotonic() + 20
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == []


@pytest.fixture
def two_threads(side_by_side, use_threads):
    """Train stacks side by side."""
    use_threads(2)


@pytest.fixture
def interruptible():
    """Take Ctrl-C as Python does; a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def scores(**search):
    parameters = {"cv": 3, "refit": False, **search}
    return GridSearchCV(**parameters).fit(X, y).cv_results_["mean_test_score"]


def fit(**parameters):
    return net(**parameters).fit(X, y).n_iter_


def test_a_fit_that_fails_ends_the_search_with_its_own_error():
    with batched_training(), pytest.raises(ValueError, match="needs at least 2 samples in a batch") as caught:
        scores(estimator=net(normalization="batch"), param_grid={"batch_size": [16, 1]}, error_score="raise")
    assert "test_batched_hangs" not in str(caught.value)
    assert "in fit" in str(caught.value.__cause__)  # where in its thread it came from


def test_a_fit_that_fails_costs_no_other_its_score():
    search = {"estimator": net(normalization="batch"), "param_grid": {"batch_size": [16, 1, 32]}}
    with batched_training(), pytest.warns(FitFailedWarning):
        together = scores(**search)
    assert np.isnan(together).tolist() == [False, True, False]
    assert_array_equal(
        together[[0, 2]], scores(estimator=net(normalization="batch"), param_grid={"batch_size": [16, 32]})
    )


def test_a_row_that_diverges_costs_no_other_its_score():
    search = {"estimator": net(solver="sgd"), "param_grid": {"learning_rate_init": [0.01, 1e300, 0.1]}}
    with batched_training(), pytest.warns(ConvergenceWarning, match="diverged"):
        together = scores(**search)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        assert_array_equal(together, scores(**search))


def refuse(X):
    if len(X) % 2 == 0:
        raise FloatingPointError("from the task")
    return X


@pytest.mark.parametrize("moment", ["before its fit", "after its fit"])
@pytest.mark.parametrize("n_jobs", [None, 3])
def test_a_task_that_fails_ends_the_search(moment, n_jobs):
    def fails(estimator, X, y):
        raise FloatingPointError("from the task")

    pipeline = make_pipeline(FunctionTransformer(refuse), net()) if moment == "before its fit" else net()
    scoring = None if moment == "before its fit" else fails
    with batched_training(), pytest.raises(FloatingPointError, match="from the task"):
        cross_validate(pipeline, X, y, scoring=scoring, error_score="raise", n_jobs=n_jobs)


def test_the_block_goes_on_working_after_a_failure():
    with batched_training():
        for _ in range(2):
            with pytest.raises(FloatingPointError):
                cross_validate(make_pipeline(FunctionTransformer(refuse), net()), X, y, error_score="raise")
            assert_array_equal(cross_val_score(net(), X, y), cross_val_score(net(), X, y, n_jobs=2))


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("by_threads", [False, True])
def test_an_interrupt_ends_a_training_that_would_go_on_for_years(nested, by_threads, request):
    if by_threads:
        request.getfixturevalue("two_threads")
    estimator = GridSearchCV(net(**ENDLESS), {"l2": [0.0, 0.1]}, cv=2) if nested else net(**ENDLESS)
    interrupt = threading.Timer(1.0, _thread.interrupt_main)
    start = time.monotonic()
    with batched_training():
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            cross_validate(estimator, X, y, cv=3)
        assert time.monotonic() - start < 15
        assert np.isfinite(cross_val_score(net(), X, y)).all()


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_a_single_fit_and_leaves_the_estimator_as_it_was():
    estimator = net(**ENDLESS)
    threading.Timer(0.5, _thread.interrupt_main).start()
    with batched_training(), pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    assert not hasattr(estimator, "module_")


@pytest.mark.usefixtures("two_threads")
def test_a_timeout_ends_all_fits():
    with batched_training(), pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.5)(delayed(fit)(**ENDLESS) for _ in range(4))


def test_a_timeout_does_not_wait_for_a_task_that_sleeps():
    start = time.monotonic()
    with batched_training(), pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2, n_jobs=2)(delayed(time.sleep)(seconds) for seconds in (4, 0, 0))
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("inner", [None, 2])
def test_searches_in_searches_meet(trainings, inner):
    search = GridSearchCV(net(), {"l2": [0.0, 0.1]}, cv=2, n_jobs=inner)
    with batched_training():
        together = cross_val_score(search, X, y, cv=3)
    assert max(trainings) >= 3 * 4
    assert_array_equal(together, cross_val_score(search.set_params(n_jobs=None), X, y, cv=3))


def test_searches_in_searches_find_room_however_small_the_bound(trainings):
    search = GridSearchCV(net(), {"l2": [0.0, 0.1]}, cv=2)
    with batched_training(max_models=2):
        together = cross_val_score(search, X, y, cv=3)
    assert max(trainings) == 2
    assert_array_equal(together, cross_val_score(search, X, y, cv=3))


def test_a_failure_in_an_inner_search_ends_the_outer_one():
    search = GridSearchCV(make_pipeline(FunctionTransformer(refuse), net()), {}, cv=3, error_score="raise")
    with batched_training(), pytest.raises(FloatingPointError):
        cross_val_score(search, X, y, cv=4, error_score="raise")


@pytest.mark.parametrize("shares_backend", [False, True])
def test_two_searches_at_once_from_two_threads(shares_backend):
    found = {}
    block = sklreg._batched.BatchedTrainingBackend()

    def search(name, seed):
        with joblib.parallel_config(backend=block) if shares_backend else batched_training():
            for _ in range(3):
                found[name] = cross_val_score(net(random_state=seed), X, y)

    searches = [threading.Thread(target=search, args=(seed, seed)) for seed in (0, 1)]
    for thread in searches:
        thread.start()
    for thread in searches:
        thread.join()
    for seed in (0, 1):
        assert_array_equal(found[seed], cross_val_score(net(random_state=seed), X, y))


def test_an_estimator_of_ours_inside_of_another():
    def by_another(estimator, X, y):
        return net(random_state=3).fit(X, y).score(X, y)

    select = make_pipeline(SelectFromModel(ElasticNetMLPClassifier(**FAST)), net(scoring=by_another))
    stacked = StackingClassifier([("a", select), ("b", net(random_state=1))], final_estimator=net(), cv=2)
    with batched_training():
        together = cross_val_score(stacked, X, y, cv=2)
    assert_array_equal(together, cross_val_score(stacked, X, y, cv=2))


def small_fit(seed):
    model = net(random_state=seed, hidden_layer_sizes=(), max_iter=1, early_stopping=False)
    return model.fit(X[:20], y[:20]).coefs_[0]


@pytest.mark.parametrize("max_models", [pytest.param(None, marks=pytest.mark.slow), 64])
def test_a_thousand_tasks(trainings, max_models):
    with batched_training(max_models=max_models):
        together = Parallel()(delayed(small_fit)(seed % 10) for seed in range(1000))
    assert sum(trainings) == 1000
    assert max(trainings) == (max_models or 1000)
    alone = [small_fit(seed) for seed in range(10)]
    for k, coefs in enumerate(together):
        np.testing.assert_allclose(coefs, alone[k % 10], rtol=1e-12)


@pytest.mark.parametrize("pre_dispatch", [1, "n_jobs", "all"])
def test_few_tasks_dispatched_at_a_time(pre_dispatch):
    search = {"estimator": net(), "param_grid": {"l2": [0.0, 0.1, 1.0]}}
    with batched_training(max_models=3):
        together = scores(**search, pre_dispatch=pre_dispatch)
    assert_array_equal(together, scores(**search))


def test_one_model_at_a_time_is_the_plain_search(trainings):
    with batched_training(max_models=1):
        cross_val_score(net(), X, y)
    assert set(trainings) == {1}


def fit_in_processes():
    with joblib.parallel_config("loky"):
        return Parallel(n_jobs=2)(delayed(fit)(max_iter=2) for _ in range(2))


def test_an_inner_backend_of_processes():
    with batched_training():
        assert Parallel()(delayed(fit_in_processes)() for _ in range(2)) == [[2, 2], [2, 2]]


def fit_in_fork():
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        process = os.fork()
    if process == 0:
        try:
            torch.set_num_threads(1)
            found = cross_val_score(net(), X, y, cv=2)
            os.write(writer, found.tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(process, 0)
    with os.fdopen(reader, "rb") as pipe:
        return np.frombuffer(pipe.read())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_inside_of_a_task_trains_by_itself():
    with batched_training():
        for found in Parallel()(delayed(fit_in_fork)() for _ in range(2)):
            assert_array_equal(found, cross_val_score(net(), X, y, cv=2))


@pytest.mark.parametrize("kind", ["generator", "generator_unordered"])
def test_a_generator_of_results(kind):
    with batched_training():
        assert sorted(Parallel(return_as=kind)(delayed(fit)(max_iter=n) for n in (1, 2, 3))) == [1, 2, 3]


def test_a_generator_that_nobody_reads():
    with batched_training():
        results = [Parallel(return_as="generator")(delayed(fit)(**ENDLESS) for _ in range(3))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib may tell of it
            results.clear()


def test_generators_side_by_side_and_a_search_beside_them():
    with batched_training():
        one, other = (Parallel(return_as="generator")(delayed(fit)(max_iter=n) for n in ns) for ns in ((1, 2), (3, 4)))
        alone = cross_val_score(net(), X, y, cv=2)
        assert (list(one), list(other)) == ([1, 2], [3, 4])
    assert_array_equal(alone, cross_val_score(net(), X, y, cv=2))


def test_a_generator_read_in_another_thread():
    read = []
    with batched_training():
        results = Parallel(return_as="generator")(delayed(fit)(max_iter=n) for n in (1, 2))
        reader = threading.Thread(target=lambda: read.extend(results))
        reader.start()
        reader.join()
    assert read == [1, 2]


def test_a_task_that_fits_between_the_results_of_its_own_tasks():
    def task(k):
        return [(n, fit(max_iter=5 + k)) for n in Parallel(return_as="generator")(delayed(slow_fit)(n) for n in (1, 2))]

    def slow_fit(n):
        n_iter = fit(max_iter=n)
        time.sleep(0.1 * n)
        return n_iter

    with batched_training():
        assert Parallel()(delayed(task)(k) for k in (0, 1)) == [[(1, 5), (2, 5)], [(1, 6), (2, 6)]]


def slower_fit(k, n):
    time.sleep(0.1 * k)
    return fit(max_iter=n)


@pytest.mark.parametrize("max_models", [None, 1, 2])
def test_a_task_that_ends_before_it_has_read_all_results(max_models):
    left = []

    def task(k):
        if k > 0:
            return fit(max_iter=k)
        left.append(Parallel(return_as="generator")(delayed(slower_fit)(n, 2) for n in range(4)))
        return next(left[0])

    with batched_training(max_models=max_models):
        assert Parallel()(delayed(task)(k) for k in range(4)) == [2, 1, 2, 3]
        list(left.pop())


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("max_models", [None, 2])
def test_a_task_whose_result_is_a_generator(max_models, n_jobs):
    def task():
        return Parallel(return_as="generator", n_jobs=2, pre_dispatch="all")(
            delayed(slower_fit)(3, 2) for _ in range(3)
        )

    with batched_training(max_models=max_models, n_jobs=n_jobs):
        generators = Parallel()(delayed(task)() for _ in range(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib may tell that nobody has read them
            generators.clear()


def test_a_generator_that_is_collected_as_garbage_in_the_middle_of_what_is_locked(monkeypatch, request):
    start = sklreg._meeting.Meeting._start

    def start_after_collection(self, entry):
        if gc.isenabled():  # as it may happen then
            gc.collect()
        return start(self, entry)

    def task():
        results = Parallel(return_as="generator", n_jobs=1)(delayed(fit)(max_iter=1) for _ in range(3))
        next(results)
        cycle = [results]
        cycle.append(cycle)
        del results, cycle
        return sum(Parallel()(delayed(fit)(max_iter=n) for n in (1, 2)))

    monkeypatch.setattr(sklreg._meeting.Meeting, "_start", start_after_collection)
    before = gc.get_threshold()
    request.addfinalizer(lambda: gc.set_threshold(*before))
    gc.set_threshold(10**9)  # and nowhere else
    with batched_training(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib may tell that nobody has read them
        for _ in range(3):
            assert Parallel()(delayed(task)() for _ in range(4)) == [3] * 4


def test_a_task_that_reads_on_what_another_thread_has_begun_to_read(monkeypatch):
    monkeypatch.setattr(sklreg._meeting, "LONG_WITHOUT_EVENT", 0.1)  # the task waits for a thread of its own

    def task():
        results = Parallel(return_as="generator")(delayed(slower_fit)(1, n) for n in (1, 2, 3))
        first = []
        reader = threading.Thread(target=lambda: first.append(next(results)))
        reader.start()
        reader.join()
        return [*first, *results, fit(max_iter=4)]

    with batched_training():
        assert Parallel(n_jobs=2)(delayed(task)() for _ in range(2)) == [[1, 2, 3, 4]] * 2


@pytest.mark.parametrize("max_models", [None, 1, 2])
def test_a_task_that_starts_others_between_the_results_of_its_own(max_models):
    def task(k):
        results = Parallel(return_as="generator")(delayed(slower_fit)(n, k) for n in range(4))
        first = next(results)
        inner = Parallel()(delayed(fit)(max_iter=n) for n in (1, 2, 3))
        return [first, sum(inner), fit(max_iter=4), *results]

    with batched_training(max_models=max_models):
        found = Parallel()(delayed(task)(k) for k in (1, 2, 3))
    assert found == [[k, 6, 4, k, k, k] for k in (1, 2, 3)]


def test_tasks_that_are_made_by_a_search():
    def tasks():
        for _ in range(2):
            cross_val_score(net(), X, y, cv=2)
            yield delayed(fit)(max_iter=2)

    with batched_training():
        assert Parallel()(tasks()) == [2, 2]
        assert Parallel(pre_dispatch=1)(tasks()) == [2, 2]


def test_a_slow_task_that_starts_no_tasks_of_its_own_and_then_fits(monkeypatch):
    monkeypatch.setattr(sklreg._meeting, "LONG_WITHOUT_EVENT", 0.1)

    def waits_for_it():
        return fit(max_iter=1)

    def slow():
        time.sleep(0.5)
        Parallel()(delayed(abs)(k) for k in ())
        return fit(max_iter=2)

    with batched_training():
        assert Parallel()([delayed(waits_for_it)(), delayed(slow)()]) == [1, 2]


def test_steps_that_all_are_slow_are_waited_for_longer_each_time(monkeypatch, trainings):
    monkeypatch.setattr(sklreg._meeting, "LONG_WITHOUT_EVENT", 0.05)

    def slow(k):
        time.sleep(0.08)
        return fit(max_iter=k)

    with batched_training():
        assert Parallel()(delayed(slow)(k) for k in range(1, 7)) == [1, 2, 3, 4, 5, 6]
    assert max(trainings) >= 3


def test_a_task_that_waits_for_what_another_holds_in_its_fit(monkeypatch):
    monkeypatch.setattr(sklreg._meeting, "LONG_WITHOUT_EVENT", 0.2)
    lock = threading.Lock()

    def guarded(n):
        with lock:
            return fit(max_iter=n)

    with batched_training():
        assert Parallel(n_jobs=2)(delayed(guarded)(n) for n in (1, 2, 3)) == [1, 2, 3]
        assert Parallel(n_jobs=1)(delayed(guarded)(n) for n in (1, 2, 3)) == [1, 2, 3]


@pytest.mark.parametrize("error", [RuntimeError("from the engine"), MemoryError()])
def test_an_error_of_the_training_itself_reaches_the_caller(monkeypatch, error):
    def fails(*args):
        raise error

    monkeypatch.setattr(sklreg._batched, "train", fails)
    with batched_training(), pytest.raises(type(error)):
        cross_validate(net(), X, y, error_score="raise")


def limited_to(n):
    """Return a ``Thread.start`` for a system that has ``n`` threads for us."""
    start = threading.Thread.start

    def limited(thread):
        if thread.name.startswith("sklreg-") and len(threads()) >= n:
            raise RuntimeError("can't start new thread")
        start(thread)

    return limited


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("n", [2, 4, 6])
def test_a_system_that_has_no_more_threads(monkeypatch, n):
    monkeypatch.setattr(threading.Thread, "start", limited_to(n))
    with batched_training():
        together = cross_val_score(net(), X, y, cv=10)
    assert_array_equal(together, cross_val_score(net(), X, y, cv=10))


def test_a_system_that_has_one_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", limited_to(1))
    with batched_training():
        assert Parallel()(delayed(abs)(-k) for k in range(5)) == [0, 1, 2, 3, 4]
        with pytest.raises(RuntimeError, match="can't start new thread"):
            cross_val_score(net(), X, y, error_score="raise")


def test_global_state_is_as_before():
    def state():
        return (
            list(warnings.filters), warnings.showwarning, torch.get_num_threads(), torch.get_default_dtype(),
            torch.initial_seed(), np.random.get_state()[1].tolist(), dict(os.environ), torch.is_grad_enabled(),
            joblib.parallel.get_active_backend()[0].__class__,
        )  # fmt: skip

    def complains(estimator, X, y):
        warnings.warn("told by the scorer", UserWarning, stacklevel=1)
        return 0.0

    before = state()
    filters = warnings.filters
    with batched_training(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cross_validate(net(scoring="roc_auc"), X, y, scoring=complains)
    assert warnings.filters is filters
    assert state() == before
    assert len([w for w in told if "told by the scorer" in str(w.message)]) == 5


def test_a_task_takes_its_warnings_filters_through_its_fit(trainings):
    def heard(category):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fit()
            warnings.warn("own", category, stacklevel=1)
        return [w.category for w in told]

    filters = list(warnings.filters)
    with batched_training():
        assert Parallel()(delayed(heard)(c) for c in (UserWarning, FutureWarning)) == [[UserWarning], [FutureWarning]]
    assert warnings.filters == filters
    assert trainings == [2]


def test_a_failing_call_does_not_hold_up_another_of_the_same_block():
    block = sklreg._batched.BatchedTrainingBackend()
    opened, failed, results = threading.Event(), threading.Event(), []

    def tasks():
        yield delayed(fit)(max_iter=2)
        opened.set()
        assert failed.wait(10)
        yield delayed(fit)(max_iter=3)

    def run():
        with joblib.parallel_config(backend=block):
            results.extend(Parallel(pre_dispatch="all")(tasks()))

    other = threading.Thread(target=run)
    other.start()
    assert opened.wait(10)
    with joblib.parallel_config(backend=block), pytest.raises(FloatingPointError):
        Parallel()([delayed(refuse)(X), delayed(abs)(1)])
    failed.set()
    other.join(10)
    assert results == [2, 3]


@pytest.mark.parametrize("max_models", [0, -1, 1.5, True, "many"])
def test_a_bound_that_is_no_count_is_refused(max_models):
    with (
        pytest.raises(ValueError, match="max_models of batched_training must be None or an int"),
        batched_training(max_models),
    ):
        pass


def test_a_process_ends_as_it_should_after_an_interrupt_in_the_middle_of_an_epoch():
    code = (
        "import os, signal, threading, numpy as np; from sklearn.model_selection import cross_val_score;"
        "import sklreg._batched; from sklreg import RegularizedMLPClassifier, batched_training;"
        "sklreg._batched._GRACE = 0.0;"  # else it would take long epochs
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # a job in the background ignores it else
        "X = np.random.default_rng(0).normal(size=(20000, 30)); y = X[:, 0] > 0;"
        "model = RegularizedMLPClassifier((100, 100), max_iter=10**6, early_stopping=False, random_state=0);"
        "threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    with batched_training(): cross_val_score(model, X, y, cv=6)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert (ended.stdout, ended.returncode) == ("interrupted\n", 0), ended.stderr


def test_a_device_that_is_not_there_is_refused_before_training():
    with pytest.raises(ValueError, match="device"), batched_training(device="cuda:99"):
        cross_val_score(net(), X, y, error_score="raise")
    with batched_training(device="cpu"):
        assert np.isfinite(cross_val_score(net(), X, y)).all()


def test_no_jobs_is_refused():
    with batched_training(), pytest.raises(ValueError, match="n_jobs == 0"):
        cross_val_score(net(), X, y, n_jobs=0)
