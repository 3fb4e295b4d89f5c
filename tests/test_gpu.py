"""The laws on a GPU, where there is one."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

from sklreg import RegularizedMLPClassifier, batched_training
from sklreg._inputs import learn_input_map
from sklreg.engine import Committee, train

pytestmark = pytest.mark.gpu
# A product sums in another order in a stack, and Adam's first steps go by the sign of a gradient however small.
TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-8}
VARIED = [
    {},
    {"dropout": 0.5, "input_dropout": 0.1, "input_noise": 0.3, "seed": 1, "max_iter": 9, "data_seed": 1},
    {"l1": 2e-3, "l2": 1e-2, "mixup_alpha": 0.4, "label_smoothing": 0.1, "max_iter": 8},
    {"weight_decay": 0.5, "max_norm": 0.8, "max_grad_norm": 0.05, "dropout": 0.2, "data_seed": 1, "n": 199},
    {"learning_rate_init": 0.05, "swap_noise": 0.2, "weight_averaging": 0.9, "seed": 1, "max_iter": 12},
    {"cutmix_alpha": 0.5, "focal_gamma": 1.5, "stochastic_depth": 0.3, "max_iter": 8},
]
INPUT_MAP = learn_input_map(np.random.default_rng(0).normal(size=(60, 10)), None, True, 4)
STATIC = [
    {}, {"solver": "sgd"}, {"weighted": True}, {"n_validation": 0}, {"hidden": (16, 16), "residual": True},
    {"input_map": INPUT_MAP},
]  # fmt: skip


@pytest.fixture
def make_jobs(make_job):
    """Return a maker of jobs on the GPU."""

    def make(settings, **shared):
        jobs = [make_job(**{"batch_size": 55, **shared, **setting}) for setting in settings]
        return [replace(job, static=replace(job.static, device=torch.device("cuda"))) for job in jobs]

    return make


PROBE = torch.randn(50, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assert_close(a, b, tolerance):
    """Compare what networks put out: a bias before batch normalization has no say in that, and drifts by rounding."""
    first, second = (result.module.double()(PROBE) for result in (a, b))
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("static", STATIC, ids=lambda static: "-".join(static))
def test_row_of_a_stack_is_the_single_fit(make_jobs, dtype, normalization, static):
    # In single precision differences grow from step to step: a bias before batch normalization goes by the sign of
    # rounding errors, and its running mean is behind.
    short = {"max_iter": 3, "learning_rate_init": 1e-3} if dtype == torch.float32 else {}
    jobs = make_jobs([{**varied, **short} for varied in VARIED], dtype=dtype, normalization=normalization, **static)
    for together, job in zip(train(jobs), jobs, strict=True):
        assert_close(together, train([job])[0], TOLERANCE[dtype])
        assert next(together.module.parameters()).device.type == "cpu"


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_what_draws_nothing_is_the_fit_on_the_cpu(make_jobs, normalization):
    """Noise of dropout comes from another generator there; order, initial weights and mixup do not."""
    jobs = make_jobs([{}, {"l1": 2e-3, "mixup_alpha": 0.4}], normalization=normalization)
    on_cpu = [replace(job, static=replace(job.static, device=torch.device("cpu"))) for job in jobs]
    for there, here in zip(train(jobs), train(on_cpu), strict=True):
        assert_close(there, here, 1e-7)


def test_changing_adding_and_permuting_rows_changes_no_other_row(make_jobs):
    jobs = make_jobs(VARIED)
    reference = train(jobs)
    changed = train([*jobs, *make_jobs([{"seed": 8, "dropout": 0.9, "l1": 1.0, "data_seed": 3}])])
    permuted = train(jobs[::-1])[::-1]
    for k in range(len(jobs)):
        assert_close(reference[k], changed[k], 1e-8)
        assert_close(reference[k], permuted[k], 1e-8)


def test_a_row_that_diverges_ends_alone(make_jobs):
    jobs = make_jobs([{}, {"learning_rate_init": 1e200}, {"seed": 1}], solver="sgd")
    results = train(jobs)
    assert [r.diverged for r in results] == [False, True, False]
    assert_close(results[0], train(jobs[:1])[0], 1e-8)


def test_a_committee_is_judged_there_as_on_the_cpu(make_jobs):
    committee = Committee()
    settings = [{"seed": k, "patience": 3, "max_iter": 30} for k in range(3)]
    jobs = [*(replace(job, committee=committee) for job in make_jobs(settings)), *make_jobs([{"seed": 4}])]
    on_cpu = [replace(job, static=replace(job.static, device=torch.device("cpu"))) for job in jobs]
    there, here = train(jobs), train(on_cpu)
    assert len({result.best_iter for result in there[:3]}) == 1
    for a, b in zip(there, here, strict=True):
        assert a.best_iter == b.best_iter
        assert_close(a, b, 1e-8)


def test_generators_are_as_before(make_jobs):
    before = torch.get_rng_state(), torch.cuda.get_rng_state(), np.random.get_state()[1]
    train(make_jobs(VARIED))
    after = torch.get_rng_state(), torch.cuda.get_rng_state(), np.random.get_state()[1]
    for a, b in zip(before, after, strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()


def test_memory_is_given_back(make_jobs):
    train(make_jobs(VARIED))
    gc.collect()
    before = torch.cuda.memory_allocated()
    train(make_jobs(VARIED * 20))
    gc.collect()
    assert torch.cuda.memory_allocated() <= before


def test_equal_data_is_there_once(make_jobs):
    jobs = make_jobs([{"l2": 1e-3 * k, "max_iter": 1, "n": 50_000} for k in range(20)], batch_size=1000)
    n_bytes = sum(tensor.nbytes for tensor in jobs[0].tensors())
    train(make_jobs([{"max_iter": 1}]))  # torch's libraries keep memory of their own from the first time on
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    train(jobs)
    assert torch.cuda.max_memory_allocated() - before < 8 * n_bytes  # of 20 copies, and activations of 20 rows


def test_a_search_finds_what_it_finds_one_by_one():
    X, y = make_classification(400, 10, n_informative=5, random_state=0)
    model = RegularizedMLPClassifier((16,), max_iter=5, random_state=0, dtype="float64")
    grid = {"dropout": [0.0, 0.3], "l2": [1e-3, 1e-1]}
    with batched_training(device="cuda"):
        together = GridSearchCV(model, grid, cv=3, scoring="neg_log_loss").fit(X, y)
    alone = GridSearchCV(model.set_params(device="cuda"), grid, cv=3, scoring="neg_log_loss").fit(X, y)
    assert_allclose(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-7)


def test_what_was_fitted_there_predicts_where_there_is_none(tmp_path):
    X, y = make_classification(200, 10, random_state=0)
    model = RegularizedMLPClassifier((16,), max_iter=3, device="cuda", random_state=0).fit(X, y)
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps((model, X)))
    code = (
        f"import pickle; model, X = pickle.load(open({str(path)!r}, 'rb')); print(model.predict_proba(X)[:, 1].sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(model.predict_proba(X)[:, 1].sum(), rel=1e-4)
