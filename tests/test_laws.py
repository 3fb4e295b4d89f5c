"""The five laws of the engine (docs/design)."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_classification, make_regression

from sklreg import ElasticNetMLPClassifier, RegularizedMLPClassifier, RegularizedMLPRegressor
from sklreg.engine import ACTIVATIONS, Bins, Hyperparameters, InputMap, InputScale, train

DTYPES = [torch.float32, torch.float64]
VARIED = [
    {},
    {"dropout": 0.5, "input_dropout": 0.1, "input_noise": 0.3, "seed": 1, "max_iter": 9, "data_seed": 1},
    {"l1": 2e-3, "l2": 1e-2, "mixup_alpha": 0.4, "label_smoothing": 0.1, "patience": 2, "max_iter": 20},
    {"weight_decay": 0.5, "max_norm": 0.8, "max_grad_norm": 0.05, "dropout": 0.2, "data_seed": 1, "swap_noise": 0.2},
    {"learning_rate_init": 0.1, "input_noise": 0.1, "weight_averaging": 0.5, "seed": 1, "patience": 3, "max_iter": 20},
    {"l1": 2e-3, "penalty_warmup": 0.5, "swap_noise": 0.1, "max_iter": 8, "min_delta": 0.01, "weight_averaging": 0.9},
    {"cutmix_alpha": 0.5, "focal_gamma": 1.5, "stochastic_depth": 0.3, "max_iter": 8},
]
SCALE = InputScale(torch.linspace(-1, 1, 10).double(), torch.linspace(0.5, 2, 10).double())
BINS = Bins((0, 0, 0, 4, 4), torch.tensor([-1.0, 0.1, 0.4, -0.3, 0.2]), torch.tensor([1.1, 0.3, 0.5, 0.5, 1.0]))


def parameters(result):
    """Return all numbers of a fitted network."""
    return torch.cat([t.flatten().double() for t in result.module.state_dict().values()])


def assert_same_fit(a, b):
    """Assert that two results are one, to the bit."""
    assert torch.equal(parameters(a), parameters(b))
    assert a.history == b.history
    assert (a.best_iter, a.diverged) == (b.best_iter, b.diverged)


# 1. A row is a fit ----------------------------------------------------------------------------------------------

# Whether one product rounds as several do is up to the library and the processor's instructions.
rounds_alike = torch.backends.mkl.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX2"
bitwise = pytest.mark.skipif(not rounds_alike, reason="to the bit it has been seen with MKL on AVX2 only")


@bitwise
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize(
    "static",
    [
        {},
        {"solver": "sgd"},
        {"solver": "scaled_adam"},
        {"solver": "scaled_adam", "hidden": (16,), "d": 3, "weighted": True},
        {"batch_size": 1000, "schedule": "cosine"},
        {"schedule": "one_cycle", "activation": "mish"},
        {"schedule": "flat_cosine", "activation": "selu"},
        {"weighted": True},
        {"n_validation": 0},
        {"penalty_groups": "features", "feature_groups": (0, 1, 1, 2, 3, 3, 3, 4, 5, 6)},
        {"penalty_groups": "neurons"},
        {"hidden": (16, 16, 8, 8), "residual": True},
        {"input_map": InputMap(SCALE, BINS)},
        {"penalty_groups": "hierarchical", "d": 16},
    ],
    ids=str,
)
def test_row_of_a_stack_is_the_single_fit_to_the_bit(make_job, dtype, normalization, static):
    jobs = [make_job(dtype=dtype, normalization=normalization, **{**static, **varied}) for varied in VARIED]
    for together, job in zip(train(jobs), jobs, strict=True):
        assert_same_fit(together, train([job])[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)], ids=str)
def test_row_of_a_stack_is_the_single_fit_where_widths_are_odd(make_job, dtype, tolerance):
    """A product of odd width may round otherwise alone than in a stack."""
    jobs = [make_job(dtype=dtype, hidden=(33, 7), d=13, max_iter=3, seed=k, l2=k * 1e-3) for k in range(3)]
    for together, job in zip(train(jobs), jobs, strict=True):
        torch.testing.assert_close(parameters(together), parameters(train([job])[0]), rtol=tolerance, atol=tolerance)


@bitwise
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_row_of_a_stack_is_the_single_fit_to_the_bit_with_every_activation(make_job, activation, dtype):
    """Also where batches leave numbers over that fill no vector register."""
    jobs = [make_job(dtype=dtype, activation=activation, seed=k, dropout=0.1 * k, n=199) for k in range(3)]
    for together, job in zip(train(jobs), jobs, strict=True):
        assert_same_fit(together, train([job])[0])


@bitwise
def test_row_is_a_fit_through_the_estimators_data(make_job):
    """Jobs of different estimators and folds, made by the estimators themselves."""
    X, y = make_classification(400, 12, random_state=0)
    models = [RegularizedMLPClassifier((16,), dropout=0.2 * k, max_iter=5, random_state=0) for k in range(3)]
    jobs, expected = [], []
    for model, fold in zip(models, (slice(0, 300), slice(100, 400), slice(50, 350)), strict=True):
        jobs.append(captured_job(model, X[fold], y[fold]))
        expected.append(model.fit(X[fold], y[fold]))
    for result, model in zip(train(jobs), expected, strict=True):
        assert_array_equal(result.module[0].weight.detach().numpy().T, model.coefs_[0])
        assert result.history == model.history_


def captured_job(model, X, y):
    """Return the job that ``fit`` hands to the engine."""
    import sklreg._batched

    taken = []

    def take(jobs):
        taken.extend(jobs)
        raise InterruptedError

    original, sklreg._batched.train = sklreg._batched.train, take
    try:
        with pytest.raises(InterruptedError):
            model.fit(X, y)
    finally:
        sklreg._batched.train = original
    return taken[0]


# 2. Rows do not see each other ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_changing_adding_and_permuting_rows_changes_no_other_row(make_job, n_rows, dtype):
    jobs = [make_job(dtype=dtype, normalization="batch", **VARIED[k]) for k in range(n_rows)]
    reference = train([*jobs, make_job(dtype=dtype, normalization="batch", seed=7)])
    changed = train([*jobs, make_job(dtype=dtype, normalization="batch", seed=8, dropout=0.9, l1=1.0, data_seed=3)])
    added = train([make_job(dtype=dtype, normalization="batch", seed=s, max_iter=s) for s in (3, 4)] + jobs)
    permuted = train([*jobs, make_job(dtype=dtype, normalization="batch", seed=7)][::-1])[::-1]
    for k in range(n_rows):
        for other in (changed[k], added[2 + k], permuted[k]):
            assert_same_fit(reference[k], other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_that_diverges_ends_alone_with_finite_weights(make_job, dtype):
    jobs = [make_job(dtype=dtype, solver="sgd", max_iter=12, dropout=0.1 * k) for k in range(3)]
    jobs[1] = make_job(dtype=dtype, solver="sgd", max_iter=12, learning_rate_init=1e30 if dtype == DTYPES[0] else 1e200)
    results = train(jobs)
    assert [r.diverged for r in results] == [False, True, False]
    assert parameters(results[1]).isfinite().all()
    without = train([jobs[0], jobs[2]])
    assert_same_fit(results[0], without[0])
    assert_same_fit(results[2], without[1])


def test_jobs_of_different_static_choices_are_trained_apart_and_returned_in_order(make_job):
    jobs = [make_job(hidden=h, n=n) for h, n in (((8,), 203), ((16,), 203), ((8,), 203), ((8,), 180))]
    results = train(jobs)
    assert [r.module[0].weight.shape[0] for r in results] == [8, 16, 8, 8]
    assert_same_fit(results[0], results[2])


# 3. Draws belong to streams, not rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_of_one_seed_share_every_draw_and_rows_of_others_none(make_job, dtype):
    setting = {
        "dtype": dtype,
        "dropout": 0.5,
        "input_dropout": 0.2,
        "input_noise": 0.1,
        "swap_noise": 0.1,
        "mixup_alpha": 0.3,
    }
    same, twin, other = train([make_job(**setting), make_job(**setting), make_job(**setting, seed=1)])
    assert_same_fit(same, twin)
    assert same.history[0] != other.history[0]


def test_switching_one_regularizer_on_shifts_no_other_draw(make_job):
    """Noise too weak to do anything leaves the fit as it is: order and initialization draw from elsewhere."""
    plain, *barely = train(
        [make_job(), make_job(dropout=1e-9), make_job(input_noise=1e-100), make_job(swap_noise=1e-9)]
    )
    for fit in barely:
        assert_same_fit(plain, fit)


def global_state():
    return (
        np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate(), torch.get_num_threads(),
        torch.get_default_dtype(), torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(), dict(os.environ),
    )  # fmt: skip


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("raises", [False, True])
def test_global_state_is_as_before_also_when_the_fit_raises(random_state, raises):
    X, y = make_classification(200, 10, random_state=0)

    def score(estimator, X, y, calls=[]):  # noqa: B006  # counts its calls
        calls.append(1)
        return 1 / 0 if raises and len(calls) > 2 else 0.5

    before = global_state()
    model = RegularizedMLPClassifier(
        (16,),
        dropout=0.2,
        input_noise=0.1,
        mixup_alpha=0.2,
        normalization="batch",
        scoring=score,
        max_iter=4,
        random_state=random_state,
    )
    if raises:
        with pytest.raises(ZeroDivisionError):
            model.fit(X, y)
    else:
        model.fit(X, y).predict_proba(X)
    model.set_params(scoring="loss").partial_fit(X, y, classes=[0, 1])
    assert global_state() == before


def test_without_a_seed_every_fit_draws_anew_whatever_the_global_seed():
    X, y = make_classification(100, 5, random_state=0)
    state = np.random.get_state()
    try:
        fits = []
        for _ in range(2):
            np.random.seed(0)
            fits.append(RegularizedMLPClassifier((8,), max_iter=2).fit(X, y).coefs_[0])
    finally:
        np.random.set_state(state)
    assert not np.array_equal(*fits)


# 5. No regularizer is silent (law 4 is in engine/test_penalties.py) ---------------------------------------------

X, y = make_classification(300, 16, n_informative=6, flip_y=0.1, random_state=0)
BASE = {
    "hidden_layer_sizes": (16,), "max_iter": 30, "early_stopping": False, "learning_rate_init": 0.01, "random_state": 0,
    "weight_decay": 0.0,
}  # fmt: skip


def confidence(model):
    return np.abs(model.decision_function(X)).mean()


def weight_norm(model):
    return np.sqrt(sum((c**2).sum() for c in model.coefs_))


REGULARIZERS = {
    # parameter: absent, increasing strengths, the statistic that it must lower
    "l1": (0.0, [1e-3, 1e-2, 1e-1], lambda m: m.n_nonzero_),
    "l2": (0.0, [1e-3, 1e-2, 1e-1], weight_norm),
    "weight_decay": (0.0, [0.1, 1.0, 5.0], weight_norm),
    "dropout": (0.0, [0.2, 0.5, 0.8], lambda m: -m.loss_curve_[-1]),
    "input_dropout": (0.0, [0.1, 0.4, 0.8], lambda m: -m.loss_curve_[-1]),
    "input_noise": (0.0, [0.1, 0.5, 2.0], lambda m: -m.loss_curve_[-1]),
    "swap_noise": (0.0, [0.1, 0.3, 0.8], lambda m: -m.loss_curve_[-1]),
    "label_smoothing": (0.0, [0.05, 0.2, 0.4], confidence),
    "mixup_alpha": (0.0, [0.1, 0.5, 2.0], confidence),
    "cutmix_alpha": (0.0, [0.1, 0.5, 2.0], confidence),
    "focal_gamma": (0.0, [0.5, 1.0, 4.0], confidence),
    "stochastic_depth": (0.0, [0.1, 0.3, 0.8], lambda m: -m.loss_curve_[-1]),
    "max_norm": (None, [1.0, 0.5, 0.1], lambda m: np.linalg.norm(m.coefs_[0], axis=0).max()),
    "max_grad_norm": (None, [0.1, 1e-3, 1e-5], lambda m: -m.loss_curve_[-1]),
    "weight_averaging": (0.0, [0.3, 0.6, 0.85], weight_norm),  # of weights that grow, the average is behind
}


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        (name, solver)
        for name in REGULARIZERS
        # Adam takes the length out of a gradient.
        for solver in (["sgd"] if name == "max_grad_norm" else ["adam", "scaled_adam", "sgd"])
    ],
)
def test_a_regularizer_is_absent_at_zero_present_above_and_monotone(name, solver):
    absent, strengths, statistic = REGULARIZERS[name]
    setting = {**BASE, "solver": solver}
    if name == "stochastic_depth":  # of what can be left out
        setting |= {"hidden_layer_sizes": (16, 16), "residual": True}
    without = RegularizedMLPClassifier(**setting).fit(X, y)
    switched_off = RegularizedMLPClassifier(**{**setting, name: absent}).fit(X, y)
    assert_array_equal(without.coefs_[0], switched_off.coefs_[0])
    fits = [RegularizedMLPClassifier(**{**setting, name: s}).fit(X, y) for s in strengths]
    for fit in fits:
        assert not np.array_equal(fit.coefs_[0], without.coefs_[0])
    values = [statistic(fit) for fit in [without, *fits]]
    assert all(a > b for a, b in pairwise(values)), values


@bitwise
@pytest.mark.parametrize(
    "name",
    [
        n
        for n in Hyperparameters._fields
        if n not in ("learning_rate_init", "momentum", "max_iter", "hierarchy", "penalty_warmup")
    ],
)
def test_a_row_without_a_regularizer_is_the_same_beside_a_row_with_it(make_job, name):
    strength = {"max_norm": 0.5, "max_grad_norm": 0.01, "patience": 2}.get(name, 0.3)
    residual = {"hidden": (16, 16), "residual": True} if name == "stochastic_depth" else {}
    beside, strong = train([make_job(**residual), make_job(**residual, **{name: strength})])
    assert_same_fit(beside, train([make_job(**residual)])[0])
    if name not in ("min_delta", "patience"):  # these act on the number of epochs
        assert not torch.equal(parameters(beside), parameters(strong))


@pytest.mark.parametrize("bound", [0.5, 0.05])
def test_max_norm_bounds_the_weights_into_every_hidden_unit(bound):
    model = RegularizedMLPClassifier(**{**BASE, "hidden_layer_sizes": (16, 8), "max_norm": bound}).fit(X, y)
    for coef in model.coefs_[:-1]:
        assert (np.linalg.norm(coef, axis=0) <= bound * (1 + 1e-12)).all()


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalization_changes_the_fit_and_is_in_the_module(normalization):
    without, with_it = (RegularizedMLPClassifier(**BASE, normalization=n).fit(X, y) for n in (None, normalization))
    assert not np.array_equal(without.coefs_[0], with_it.coefs_[0])
    assert "Norm" in str(with_it.module_)
    assert "Norm" not in str(without.module_)


def test_more_patience_trains_longer_and_min_delta_shorter():
    def n_iter(**setting):
        model = RegularizedMLPClassifier(**{**BASE, "early_stopping": True, "max_iter": 300, **setting})
        return model.fit(X, y).n_iter_

    assert n_iter(patience=1) < n_iter(patience=10) < n_iter(patience=60)
    assert n_iter(patience=10, min_delta=0.5) < n_iter(patience=10, min_delta=0.01) <= n_iter(patience=10)


@pytest.mark.parametrize("penalty", [{"alpha": 0.05, "l1_ratio": 1.0}, {"alpha": 0.2, "l1_ratio": 0.0}])
def test_penalties_do_not_depend_on_the_batch_size(penalty):
    """The minimum is the objective's, whatever the batches: their noise dies out with the step size."""
    fits = [
        ElasticNetMLPClassifier(
            hidden_layer_sizes=(), **penalty, batch_size=b, early_stopping=False, learning_rate="cosine", solver="sgd",
            learning_rate_init=0.05, max_iter=400, random_state=0,
        ).fit(X, y)
        for b in (20, 100, "full")
    ]  # fmt: skip
    largest = np.abs(fits[-1].coefs_[0]).max()
    for fit in fits[:-1]:
        assert_allclose(fit.coefs_[0], fits[-1].coefs_[0], atol=0.03 * largest)


def test_a_regression_target_in_units_does_not_change_what_a_stack_does():
    """Rows with targets of different units, one of them constant, are the single fits."""
    X, y = make_regression(200, 16, random_state=0)
    targets = [y, 1e4 * y + 3, np.full(200, 2.0)]
    setting = {"hidden_layer_sizes": (16,), "max_iter": 5, "l1": 1e-3, "l2": 1e-2, "random_state": 0}
    models = [RegularizedMLPRegressor(**setting) for _ in targets]
    jobs = [captured_job(m, X, t) for m, t in zip(models, targets, strict=True)]
    for result, model, target in zip(train(jobs), models, targets, strict=True):
        model.fit(X, target)
        assert_allclose(result.module[0].weight.detach().numpy().T, model.coefs_[0], rtol=1e-9, atol=1e-12)


def test_a_job_keeps_nothing_of_another_runs_state(make_job):
    job = make_job(normalization="batch", dropout=0.3)
    first = train([job])[0]
    train([replace(job, seed=5)])
    assert_same_fit(first, train([job])[0])
