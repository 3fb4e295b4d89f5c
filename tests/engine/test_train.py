"""The training loop against one written with torch's own layers and optimizers."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import nn
from torch.testing import assert_close

from sklreg.engine import Committee, CSRRows, batch_bounds, train
from sklreg.engine.layout import Layout, initial_row
from sklreg.engine.plain import plain_module
from sklreg.engine.streams import Streams

module_of_train = sys.modules["sklreg.engine.train"]  # the package's name for it is the function's
CPU = torch.device("cpu")
# On three rows: rates and strengths of each row's own.
ROWS = [
    {"learning_rate_init": 0.01, "l2": 0.02, "label_smoothing": 0.1},
    {"learning_rate_init": 0.03, "weight_decay": 0.3, "max_norm": 0.9, "seed": 1},
    {"learning_rate_init": 0.02, "l2": 0.1, "weight_decay": 0.1, "data_seed": 1},
]
SCHEDULES = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "flat_cosine": lambda done: 1.0 if done < 0.5 else (1 + math.cos(2 * math.pi * (done - 0.5))) / 2,
    "one_cycle": lambda done: 0.04 + 3.2 * done if done < 0.3 else (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2,
}


@pytest.fixture(autouse=True)
def one_thread(use_threads):
    """Steps this small are slower with a second thread."""
    use_threads(1)


def numbers_of(module):
    return torch.cat([t.flatten() for t in module.state_dict().values()])


def mean_loss(output, y, weight):
    loss = F.binary_cross_entropy_with_logits(output, y, reduction="none")[:, 0]
    return loss.mean() if weight is None else (weight * loss).mean()


def with_torch(job):
    """Train a job with torch alone; return the best module and the losses of every epoch."""
    static, h = job.static, job.hyperparameters
    streams = Streams(job.seed, CPU)
    layout = Layout(static.n_features, static.hidden_layer_sizes, static.n_outputs, static.normalization)
    row = initial_row(layout, static.activation, job.initial_output, streams)
    module = plain_module(layout, static.activation, row, job.units, 0.0, 0.0).train()
    linears = [m for m in module if isinstance(m, nn.Linear)]
    weights = [m.weight for m in linears]
    others = [p for p in module.parameters() if all(p is not w for w in weights)]
    if static.solver == "adam":
        # L2 is in the gradient below, so that decay can be set besides it.
        groups = [{"params": weights, "weight_decay": h.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=h.learning_rate_init)
    else:
        optimizer = torch.optim.SGD(module.parameters(), lr=h.learning_rate_init, momentum=h.momentum)
    n = len(job.train_set)
    bounds = batch_bounds(n, static.n_batches)
    n_steps = h.max_iter * len(bounds)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: SCHEDULES[static.schedule](step / n_steps))
    X, y, weight = job.train_set.X.values, job.train_set.y, job.train_set.weight
    held = job.validation_set
    history, best = [], (float("inf"), 0, None)
    for epoch in range(1, h.max_iter + 1):
        order = torch.from_numpy(streams.order.permutation(n))
        total = 0.0
        for start, stop in bounds:
            index = order[start:stop]
            target = y[index] * (1 - 2 * h.label_smoothing) + h.label_smoothing
            loss = mean_loss(module(X[index]), target, None if weight is None else weight[index])
            total += loss.item() * (stop - start)
            objective = loss + 0.5 * h.l2 * sum(w.square().sum() for w in weights)
            optimizer.zero_grad()
            objective.backward()
            if static.solver == "sgd":  # torch's SGD has no decoupled decay
                with torch.no_grad():
                    for w in weights:
                        w.mul_(1 - optimizer.param_groups[0]["lr"] * h.weight_decay)
            optimizer.step()
            with torch.no_grad():
                for w in weights[:-1]:
                    w.copy_(torch.renorm(w, 2, 0, h.max_norm))
            schedule.step()
        with torch.no_grad():
            module.eval()
            validation = mean_loss(module(held.X.values), held.y, held.weight).item()
            module.train()
        history.append((total / n, validation))
        if validation < best[0]:
            best = (validation, epoch, numbers_of(module).clone())
    return best, history


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize(
    "static",
    [
        {},
        {"weighted": True, "schedule": "cosine", "activation": "selu"},
        {"schedule": "one_cycle", "activation": "leaky_relu"},
        {"schedule": "flat_cosine", "activation": "mish"},
        {"solver": "sgd"},
        {"normalization": "layer"},
        {"hidden": (), "schedule": "cosine", "weighted": True},
    ],
    ids=str,
)
def test_training_is_what_torchs_layers_and_optimizers_do(make_job, static, n_models):
    rows = [{k: v for k, v in row.items() if k != "max_norm" or static.get("hidden") != ()} for row in ROWS]
    jobs = [make_job(**static, **row, max_iter=4 + k) for k, row in enumerate(rows[:n_models])]
    for result, job in zip(train(jobs), jobs, strict=True):
        (_, best_iter, best), history = with_torch(job)
        assert_close(numbers_of(result.module), best, rtol=1e-4, atol=1e-6)
        assert result.best_iter == best_iter
        ours = [(r["loss"], r["validation_loss"]) for r in result.history]
        assert_close(torch.tensor(ours), torch.tensor(history), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_the_module_has_the_validation_loss_of_its_best_epoch(make_job, normalization):
    jobs = [make_job(normalization=normalization, dropout=0.3 * k, learning_rate_init=0.1, seed=k) for k in range(3)]
    for result, job in zip(train(jobs), jobs, strict=True):
        losses = [r["validation_loss"] for r in result.history]
        held = job.validation_set
        assert_close(mean_loss(result.module(held.X.values), held.y, held.weight).item(), min(losses))
        assert result.best_iter == losses.index(min(losses)) + 1


def in_csr_form(job):
    """Return the same job with sparse samples."""

    def converted(samples):
        csr = sparse.csr_array(samples.X.values.numpy())
        parts = ((csr.indptr, torch.int64), (csr.indices, torch.int64), (csr.data, torch.float64))
        rows = CSRRows(*(torch.from_numpy(a).to(d) for a, d in parts), csr.shape[1])
        return replace(samples, X=rows)

    return replace(
        job,
        static=replace(job.static, is_sparse=True),
        train_set=converted(job.train_set),
        validation_set=converted(job.validation_set),
    )


@pytest.mark.parametrize("batch_size", [50, 1000])
def test_sparse_inputs_train_as_their_dense_form(make_job, batch_size):
    dense = make_job(batch_size=batch_size, input_dropout=0.2, input_noise=0.1, swap_noise=0.2, mixup_alpha=0.3)
    a, b = train([dense, in_csr_form(dense)])
    assert torch.equal(numbers_of(a.module), numbers_of(b.module))
    assert a.history == b.history


def test_a_row_ends_when_its_listener_says_so_and_what_it_is_shown_is_a_copy(make_job):
    seen = []

    def listen(record, snapshot):
        seen.append((record["epoch"], snapshot(), snapshot()))
        return record["epoch"] == 3

    told, other = train([replace(make_job(n_validation=0), on_epoch=listen), make_job(n_validation=0, seed=1)])
    assert (len(told.history), len(other.history)) == (3, 6)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3]
    for (_, module, twin), (_, later, _) in pairwise(seen):
        assert torch.equal(numbers_of(module), numbers_of(twin))
        assert not torch.equal(numbers_of(module), numbers_of(later))  # went on without changing the earlier one
    assert torch.equal(numbers_of(seen[-1][1]), numbers_of(told.module))
    alone = train([make_job(n_validation=0, max_iter=3)])[0]
    assert torch.equal(numbers_of(told.module), numbers_of(alone.module))


@pytest.mark.parametrize("solver", ["adam", "scaled_adam", "sgd"])
@pytest.mark.parametrize("normalization", [None, "batch"])
@pytest.mark.parametrize("weight_averaging", [0.0, 0.6])
def test_a_training_continued_with_its_optimizer_is_one_training(make_job, solver, normalization, weight_averaging):
    setting = {
        "solver": solver, "normalization": normalization, "batch_size": 1000, "n_validation": 0, "l1": 1e-3, "l2": 1e-2,
        "weight_averaging": weight_averaging,
    }  # fmt: skip
    whole = train([make_job(**setting, max_iter=7)])[0]
    first = train([make_job(**setting, max_iter=3)])[0]
    kept = [part.clone() for part in first.optimizer_state.memory], numbers_of(first.module).clone()
    going_on = replace(make_job(**setting, max_iter=4), start=first.module, optimizer_state=first.optimizer_state)
    second = train([going_on, make_job(**setting, max_iter=2)])[0]
    assert_close(numbers_of(second.module), numbers_of(whole.module), rtol=1e-12, atol=1e-14)
    assert second.optimizer_state.n_steps == whole.optimizer_state.n_steps == 7
    # What the job came with is as it was.
    assert all(map(torch.equal, first.optimizer_state.memory, kept[0]))
    assert torch.equal(numbers_of(first.module), kept[1])


def test_a_module_shares_no_memory_with_that_of_another_row_or_with_its_start(make_job):
    start = train([make_job(n_validation=0)])[0].module
    job = replace(make_job(n_validation=0), start=start)
    a, b = (result.module for result in train([job, job]))
    pointers = [p.untyped_storage().data_ptr() for m in (start, a, b) for p in m.parameters()]
    assert len(set(pointers)) == len(pointers)


def test_penalties_are_of_the_mean_loss_and_not_of_its_history(make_job):
    """The history holds the loss alone: the first epoch's, taken before the one step, is the same under any penalty."""
    setting = {"batch_size": 1000, "max_iter": 1}
    plain, penalised = train([make_job(**setting), make_job(**setting, l1=0.5, l2=0.5)])
    assert plain.history[0]["loss"] == penalised.history[0]["loss"]
    assert not torch.equal(numbers_of(plain.module), numbers_of(penalised.module))


# Rows of different sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"weighted": True, "solver": "sgd"},
        {"batch_size": 1000},
        {"dropout": 0.4, "input_dropout": 0.2},
        {"input_noise": 0.3, "weighted": True},
        {"swap_noise": 0.2},
        {"weight_averaging": 0.8},
        {"mixup_alpha": 0.5, "label_smoothing": 0.1},
        {"mixup_alpha": 0.5, "weighted": True},
        {"l1": 1e-3, "l2": 1e-2, "hidden": (16,), "score": lambda raw: -float((raw**2).mean())},
    ],
    ids=lambda setting: "-".join(setting) or "default",
)
def test_rows_of_different_sizes_are_the_single_fits(make_job, normalization, setting):
    """Smaller rows are filled up with samples that weigh nothing and draw nothing."""
    sizes = [(203, 64), (199, 63), (201, 66), (203, 64)]
    jobs = [
        make_job(
            **{"batch_size": 55, **setting}, normalization=normalization, n=n, n_validation=m, data_seed=k, seed=k % 2
        )
        for k, (n, m) in enumerate(sizes)
    ]
    together = train(jobs)
    assert {result.n_together for result in together} == {4}
    for result, job in zip(together, jobs, strict=True):
        alone = train([job])[0]
        assert alone.n_together == 1
        assert_close(numbers_of(result.module), numbers_of(alone.module), rtol=1e-9, atol=1e-9)
        assert result.best_iter == alone.best_iter
        for a, b in zip(result.history, alone.history, strict=True):
            assert a == pytest.approx(b, rel=1e-9)


def test_sparse_rows_of_different_sizes_are_the_single_fits(make_job):
    jobs = [in_csr_form(make_job(batch_size=55, n=n, n_validation=m)) for n, m in ((203, 64), (199, 63), (201, 66))]
    together = train(jobs)
    assert {result.n_together for result in together} == {3}
    for result, job in zip(together, jobs, strict=True):
        assert_close(numbers_of(result.module), numbers_of(train([job])[0].module), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_together", [30, 60])
def test_wide_stacks_in_several_threads_are_the_single_fits(make_job, request, n_together):
    """With many rows to each dropout mask and more data sets than one, as in a search."""
    torch.set_num_threads(2)
    if n_together == 30:
        request.getfixturevalue("side_by_side")
    settings = [
        {"data_seed": k % 3, "seed": k % 2, "dropout": [0.0, 0.3, 0.5][k // 20], "l2": 1e-3 * k, "max_iter": 3 + k % 4}
        for k in range(60)
    ]
    jobs = [make_job(**setting) for setting in settings]
    together = train(jobs)
    assert {result.n_together for result in together} == {n_together}
    for result, job in zip(together, jobs, strict=True):
        alone = train([job])[0]
        assert_close(numbers_of(result.module), numbers_of(alone.module), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "scaled_adam", "sgd"])
def test_rows_that_are_further_in_their_steps_are_trained_apart(make_job, solver):
    setting = {"solver": solver, "n_validation": 0, "max_iter": 2}
    first = train([make_job(**setting)])[0]
    going_on = replace(make_job(**setting), start=first.module, optimizer_state=first.optimizer_state)
    together = train([going_on, make_job(**setting, seed=1), going_on])
    assert [result.n_together for result in together] == [2, 1, 2]
    for result, job in zip(together, [going_on, make_job(**setting, seed=1), going_on], strict=True):
        assert_close(numbers_of(result.module), numbers_of(train([job])[0].module), rtol=1e-12, atol=1e-13)


# Together, and each by itself -------------------------------------------------------------------------------------


def test_a_job_that_is_aborted_ends_with_its_epoch_and_alone(make_job):
    asked = []

    def is_aborted():
        asked.append(1)
        return len(asked) == 3  # before it begins, too

    jobs = [make_job(n_validation=0), make_job(n_validation=0, seed=1)]
    aborted, other = train(jobs, [is_aborted, lambda: False])
    assert (len(aborted.history), len(other.history)) == (2, 6)


def test_without_jobs_there_is_nothing_to_train():
    assert train([]) == []


def test_every_outcome_is_told_once_and_as_it_comes(make_job):
    told = []
    jobs = [make_job(max_iter=m) for m in (5, 2, 3)]
    outcomes = train(jobs, tell=lambda i, outcome: told.append((i, outcome)))
    assert [i for i, _ in told] == [1, 2, 0]
    assert all(outcomes[i] is outcome for i, outcome in told)


def test_an_error_of_a_jobs_own_score_ends_it_and_no_other(make_job):
    def fails(raw):
        raise ZeroDivisionError("from the score")

    failed, other = train([make_job(score=fails), make_job(seed=1)])
    assert isinstance(failed, ZeroDivisionError)
    assert len(other.history) == 6


def test_where_memory_is_short_stacks_are_halved_until_they_fit(make_job, monkeypatch):
    widths = []
    init = module_of_train._Stack.__init__

    def short(self, jobs, *rest):
        widths.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("from the device")
        init(self, jobs, *rest)

    monkeypatch.setattr(module_of_train._Stack, "__init__", short)
    jobs = [make_job(seed=k, max_iter=2) for k in range(7)]
    outcomes = train(jobs)
    assert widths[0] == 7
    assert all(len(outcome.history) == 2 for outcome in outcomes)
    monkeypatch.undo()
    for outcome, expected in zip(outcomes, train(jobs), strict=True):
        assert_close(numbers_of(outcome.module), numbers_of(expected.module), rtol=1e-11, atol=1e-12)


def test_where_memory_is_short_a_committee_is_not_parted(make_job, monkeypatch):
    widths = []

    def never(self, jobs, *rest):
        widths.append(len(jobs))
        raise torch.OutOfMemoryError("from the device")

    monkeypatch.setattr(module_of_train._Stack, "__init__", never)
    committee = Committee()
    jobs = [replace(make_job(seed=k), committee=committee) for k in range(3)] + [make_job(seed=3)]
    assert [type(outcome) for outcome in train(jobs)] == [torch.OutOfMemoryError] * 4
    assert widths == [4, 3, 1]


def test_a_committee_is_tried_again_once_others_that_took_memory_are_done(make_job, monkeypatch):
    epoch = module_of_train._Stack._epoch

    def short(self, n_done):
        if self.n_together > 3 and n_done == 2:
            raise torch.OutOfMemoryError("from the device")
        return epoch(self, n_done)

    committee = Committee()
    jobs = [replace(make_job(seed=k, max_iter=4), committee=committee) for k in range(3)]
    expected = train(jobs)
    monkeypatch.setattr(module_of_train._Stack, "_epoch", short)
    outcomes = train([*jobs, make_job(seed=3, max_iter=2)])
    assert [len(outcome.history) for outcome in outcomes] == [4, 4, 4, 2]
    for outcome, other in zip(outcomes, expected, strict=False):
        assert outcome.best_iter == other.best_iter
        assert_close(numbers_of(outcome.module), numbers_of(other.module), rtol=1e-11, atol=1e-12)


def test_where_not_even_one_fits_the_error_is_its_outcome(make_job, monkeypatch):
    def never(*args):
        raise torch.OutOfMemoryError("from the device")

    monkeypatch.setattr(module_of_train._Stack, "__init__", never)
    assert [type(outcome) for outcome in train([make_job(), make_job(seed=1)])] == [torch.OutOfMemoryError] * 2
