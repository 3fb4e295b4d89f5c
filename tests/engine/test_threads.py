"""How many threads share the operations of a training: those that are worth it, and none that are held up."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from sklreg.engine import train
from sklreg.engine.threads import FLOPS_FOR_ANOTHER_THREAD, Team

MUCH = 4 * FLOPS_FOR_ANOTHER_THREAD  # in a step of eight models


@pytest.fixture(autouse=True)
def four_threads(use_threads):
    use_threads(4)


class Machine:
    """A clock, and what a step costs by the number of threads."""

    def __init__(self, alone, together):
        self.cost, self.now, self.steps = {1: alone, 2: together, 4: together}, 0.0, Counter()

    def __call__(self):
        return self.now

    def run(self, team, n_steps):
        """Take steps, with much to do after each twelfth; return how many were taken by each number of threads."""
        self.steps.clear()
        for step in range(n_steps):
            n_threads = torch.get_num_threads()
            team.begin_step()
            self.steps[n_threads] += 1
            self.now += self.cost[n_threads]
            team.end_step()
            self.now += 100 * (step % 12 == 0)
        return self.steps


def test_all_threads_share_where_that_is_faster():
    machine = Machine(alone=2.0, together=1.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        assert machine.run(team, 1000)[1] <= 20
    assert torch.get_num_threads() == 4


def test_where_a_core_is_wanted_elsewhere_one_thread_works_by_itself():
    machine = Machine(alone=1.0, together=50.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        assert machine.run(team, 20_000)[2] <= 20
        team.share(7)
        assert machine.run(team, 100)[2] == 0


def test_a_core_that_is_wanted_later_and_given_back_is_noticed():
    machine = Machine(alone=2.0, together=1.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        machine.run(team, 500)
        machine.cost[2] = 30.0
        assert machine.run(team, 500)[2] <= 15
        machine.cost[2] = 1.0
        assert machine.run(team, 2000)[1] <= 1000


def test_what_was_timed_of_many_models_counts_no_more_for_few():
    machine = Machine(alone=60.0, together=30.0)
    with Team(MUCH / 8, machine) as team:
        team.share(32)
        machine.run(team, 100)
        machine.cost |= {1: 15.0, 2: 30.0}
        team.share(8)
        assert machine.run(team, 200)[2] <= 10


def test_a_single_slow_step_decides_nothing():
    machine = Machine(alone=2.0, together=1.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        for _ in range(50):
            machine.run(team, 11)
            machine.cost[2] = 20.0
            machine.run(team, 1)
            machine.cost[2] = 1.0
        assert machine.run(team, 100)[1] <= 20


@pytest.mark.parametrize(("flops_of_model", "n_models", "expected"), [(MUCH, 1, 4), (2e8, 3, 4), (1.0, 100, 1)])
def test_where_bits_might_change_or_work_is_small_the_number_depends_on_the_work_alone(
    flops_of_model, n_models, expected
):
    machine = Machine(alone=1.0, together=50.0)
    with Team(flops_of_model, machine) as team:
        team.share(n_models)
        assert machine.run(team, 100) == {expected: 100}


def test_models_that_leave_take_their_threads_with_them():
    machine = Machine(alone=2.0, together=1.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        machine.run(team, 100)
        assert torch.get_num_threads() == 2
        team.share(1)
        assert machine.run(team, 100) == {1: 100}


def test_the_number_is_as_before_after_an_error():
    def fails():
        with Team(MUCH / 2, Machine(1.0, 1.0)) as team:
            team.share(2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "mish", "selu", "tanh", "logistic"])
@pytest.mark.parametrize("n_models", [2, 39])
def test_what_is_computed_is_the_same_by_one_thread_and_by_two(make_job, monkeypatch, dtype, activation, n_models):
    """Or a timing would decide on the last digits."""
    setting = {"dtype": dtype, "n": 600, "batch_size": 101, "hidden": (100,), "d": 30, "activation": activation}
    jobs = [make_job(**setting, l2=1e-3 * k, max_iter=2) for k in range(n_models)]

    def trained(n_threads):
        monkeypatch.setattr(Team, "share", lambda self, n_models: torch.set_num_threads(n_threads))
        monkeypatch.setattr(Team, "end_step", lambda self: None)
        return train(jobs)

    for one, several in zip(trained(1), trained(2), strict=True):
        for name, tensor in one.module.state_dict().items():
            assert torch.equal(tensor, several.module.state_dict()[name])
        assert one.history == several.history
