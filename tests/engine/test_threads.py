"""How many threads share the operations of a training: those that are worth it, and none that are held up."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from sklreg.engine import train
from sklreg.engine.threads import FLOPS_FOR_ANOTHER_THREAD, Team

MUCH = 4 * FLOPS_FOR_ANOTHER_THREAD


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Machine:
    """A clock, and what a step costs by the number of threads."""

    def __init__(self, alone, together):
        self.cost, self.now, self.steps = {1: alone, 4: together}, 0.0, Counter()

    def __call__(self):
        return self.now

    def run(self, team, n_steps):
        """Take steps; return how many were taken by each number of threads."""
        self.steps.clear()
        for _ in range(n_steps):
            team.next_step()
            n_threads = torch.get_num_threads()
            self.steps[n_threads] += 1
            self.now += self.cost[n_threads]
        return self.steps


def test_all_threads_share_where_that_is_faster():
    machine = Machine(alone=2.0, together=1.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        assert machine.run(team, 1000)[1] <= 10
    assert torch.get_num_threads() == 4


def test_where_a_core_is_wanted_elsewhere_one_thread_works_by_itself():
    machine = Machine(alone=1.0, together=50.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        machine.run(team, 20_000)
    assert machine.now <= 1.1 * 20_000


def test_a_core_that_is_wanted_later_and_given_back_is_noticed():
    machine = Machine(alone=2.0, together=1.0)
    with Team(MUCH / 8, machine) as team:
        team.share(8)
        machine.run(team, 500)
        machine.cost[4] = 30.0
        assert machine.run(team, 500)[4] <= 15
        machine.cost[4] = 1.0
        assert machine.run(team, 2000)[1] <= 1000


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
        assert torch.get_num_threads() == 4
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
def test_what_is_computed_is_the_same_by_any_number_of_threads(make_job, monkeypatch, dtype):
    """Or a timing would decide on the last digits."""
    jobs = [make_job(dtype=dtype, n=600, batch_size=100, hidden=(64,), d=30, l2=1e-3 * k) for k in range(12)]

    def trained(n_threads):
        monkeypatch.setattr(Team, "share", lambda self, n_models: torch.set_num_threads(n_threads))
        monkeypatch.setattr(Team, "next_step", lambda self: None)
        return train(jobs)

    for one, several in zip(trained(1), trained(2), strict=True):
        for name, tensor in one.module.state_dict().items():
            assert torch.equal(tensor, several.module.state_dict()[name])
        assert one.history == several.history
