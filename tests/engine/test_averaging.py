"""Averages of weights: which, and what they leave as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from sklreg.engine import train
from sklreg.engine.averaging import WeightAveraging


def numbers_of(module):
    return torch.cat([t.flatten() for t in module.state_dict().values()])


def weights_of(module):
    return torch.cat([t.flatten() for name, t in module.state_dict().items() if "weight" in name])


def trained_with_snapshots(job):
    """Return the result and the network as it was shown after every epoch."""
    shown = []

    def listen(record, snapshot):
        shown.append(numbers_of(snapshot()))
        return False

    return train([replace(job, on_epoch=listen)])[0], shown


def test_the_first_average_is_nearly_the_first_state_and_later_ones_move_by_the_decay():
    averaging = WeightAveraging(torch.zeros(2, 64), torch.tensor([0.9, 0.0]), 64)
    expected = 0.0
    for step in range(1, 200):
        averaging.update(torch.full((2, 64), float(step)), step)
        decay = min(0.9, step / (step + 9))
        expected = decay * expected + (1 - decay) * step
        assert_close(averaging.average[0], torch.full((64,), expected))
        assert (averaging.average[1] == step).all()


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_the_module_is_the_average_of_the_networks_after_each_step_with_its_running_averages(make_job, normalization):
    setting = {"normalization": normalization, "batch_size": 1000, "n_validation": 0, "max_iter": 12}
    _, raw = trained_with_snapshots(make_job(**setting))
    result, shown = trained_with_snapshots(make_job(**setting, weight_averaging=0.5))
    average = shown[0]  # a tenth of it is the start, which no listener sees
    for step, (numbers, seen) in enumerate(zip(raw[1:], shown[1:], strict=True), start=2):
        decay = min(0.5, step / (step + 9))
        average = decay * average + (1 - decay) * numbers
        assert_close(average, seen)
    assert torch.equal(numbers_of(result.module), shown[-1])


def test_training_goes_on_with_the_weights_themselves(make_job):
    without, averaged = train([make_job(n_validation=0), make_job(n_validation=0, weight_averaging=0.9)])
    assert [r["loss"] for r in without.history] == [r["loss"] for r in averaged.history]
    assert not torch.equal(numbers_of(without.module), numbers_of(averaged.module))


@pytest.mark.parametrize("normalization", [None, "batch"])
def test_early_stopping_judges_and_restores_the_average(make_job, normalization):
    job = make_job(normalization=normalization, weight_averaging=0.7, learning_rate_init=0.1, max_iter=12)
    result, shown = trained_with_snapshots(job)
    assert torch.equal(numbers_of(result.module), shown[result.best_iter - 1])
    losses = [r["validation_loss"] for r in result.history]
    assert result.best_iter == losses.index(min(losses)) + 1 < 12
    held = job.validation_set
    with torch.no_grad():
        loss = torch.nn.functional.binary_cross_entropy_with_logits(result.module(held.X.values), held.y)
    assert_close(loss.item(), min(losses))


@pytest.mark.parametrize(
    ("penalty_groups", "l1"), [("weights", 0.006), ("features", 0.006), ("neurons", 0.003), ("hierarchical", 0.006)]
)
def test_the_average_has_the_zeros_of_the_weights_and_no_others(make_job, penalty_groups, l1):
    setting = {"penalty_groups": penalty_groups, "n_validation": 0, "l1": l1, "max_iter": 60}
    raw, averaged = train([make_job(**setting), make_job(**setting, weight_averaging=0.98)])
    zeros = weights_of(raw.module) == 0
    assert 0.1 < zeros.double().mean() < 0.95
    assert torch.equal(weights_of(averaged.module) == 0, zeros)


def test_where_the_averaging_rows_have_left_the_others_go_on_as_they_would_alone(make_job):
    jobs = [make_job(weight_averaging=0.9, max_iter=2), make_job(seed=1), make_job(dropout=0.3)]
    for together, job in zip(train(jobs), jobs, strict=True):
        assert_close(numbers_of(together.module), numbers_of(train([job])[0].module), rtol=1e-12, atol=1e-13)


def test_a_training_that_diverges_keeps_the_average_of_its_last_good_epoch(make_job):
    job = make_job(solver="sgd", max_iter=12, learning_rate_init=1e200, weight_averaging=0.9)
    result = train([job])[0]
    assert result.diverged
    assert numbers_of(result.module).isfinite().all()


def test_the_weights_behind_an_average_hold_no_memory_of_other_rows(make_job):
    jobs = [make_job(n_validation=0, max_iter=1, weight_averaging=0.9, seed=k) for k in range(3)]
    for result in train(jobs):
        raw = result.optimizer_state.raw
        assert raw.untyped_storage().nbytes() == raw.nbytes
