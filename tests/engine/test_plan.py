"""Which jobs train together: every job once, none with what it must not meet, and no wider than it pays."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklreg.engine import OptimizerState
from sklreg.engine.plan import cut, plan


def sizes_of(jobs):
    return [(len(job.train_set), len(job.validation_set)) for job in jobs]


@given(st.lists(st.integers(0, 1000), unique=True, min_size=1), st.integers(1, 50))
def test_pieces_hold_everything_in_order_and_differ_by_one_at_most(indices, width):
    pieces = cut(indices, width)
    assert [i for piece in pieces for i in piece] == indices
    assert max(map(len, pieces)) <= width
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_every_job_is_in_one_stack_with_others_that_it_may_meet(make_job, n_threads, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(n):
        return int(torch.randint(n, (), generator=generator))

    jobs = []
    for _ in range(60):
        job = make_job(hidden=[(8,), (16,)][draw(2)], n=180 + 10 * draw(6), n_validation=64 + draw(3), seed=draw(2))
        n_steps = 5 * draw(2)
        state = OptimizerState(n_steps, [torch.zeros(1)]) if n_steps else None
        jobs.append(replace(job, optimizer_state=state))
    stacks = plan(jobs, n_threads)
    assert sorted(i for stack in stacks for i in stack) == list(range(60))
    assert len(stacks) >= n_threads
    for stack in stacks:
        members = [jobs[i] for i in stack]
        assert len({job.static for job in members}) == 1
        assert len({job.n_steps for job in members}) == 1
        for values in zip(*sizes_of(members), strict=True):
            assert max(values) <= 1.1 * min(values)  # little is computed in vain


def test_many_of_one_size_meet_none_of_another_and_few_do(make_job):
    of_many = [make_job(n=n) for n in (201, 202) for _ in range(8)]
    assert all(len({len(of_many[i].train_set) for i in stack}) == 1 for stack in plan(of_many, 1))
    of_few = [make_job(n=n) for n in (201, 202, 203)]
    assert plan(of_few, 1) == [[0, 1, 2]]


def test_a_stack_is_bounded_and_narrower_for_larger_networks(make_job):
    small = plan([make_job()] * 1000, 1)
    assert max(map(len, small)) == 125
    large = plan([make_job(hidden=(512, 512), d=200)] * 100, 1)
    assert max(map(len, large)) < 20


def test_rows_that_share_a_dropout_mask_are_neighbours(make_job):
    rates = [0.0, 0.2, 0.4]
    jobs = [make_job(dropout=rates[k % 3], seed=k % 2) for k in range(24)]
    (stack,) = plan(jobs, 1)
    kinds = [(jobs[i].seed, jobs[i].hyperparameters.dropout) for i in stack]
    assert sum(a != b for a, b in pairwise(kinds)) == 5


def test_every_thread_gets_a_stack_where_it_is_worth_one(make_job):
    large = make_job(hidden=(256, 256), n=2000, d=30, batch_size=256)  # 1.1e8 operations in a step
    assert len(plan([large] * 8, 2)) == 2
    assert len(plan([large] * 7, 2)) == 1
    assert len(plan([make_job()] * 100, 2)) == 1
    larger = make_job(hidden=(256, 256), n=4000, d=30, batch_size=700)  # 3e8: of three, one would be left by itself
    assert len(plan([larger] * 3, 2)) == 1


@pytest.mark.parametrize(("n_jobs", "n_threads"), [(50, 2), (120, 2), (300, 4), (1000, 3)])
def test_no_thread_is_left_with_a_stack_while_the_others_wait(make_job, n_jobs, n_threads):
    stacks = plan([make_job(hidden=(512,), d=400)] * n_jobs, n_threads)
    assert sorted(i for stack in stacks for i in stack) == list(range(n_jobs))
    loads = [0] * n_threads
    for stack in stacks:  # each goes to the thread that is free first
        loads[loads.index(min(loads))] += len(stack)
    assert max(loads) <= 1.12 * n_jobs / n_threads


def test_the_stack_with_the_most_work_is_first(make_job):
    jobs = [make_job(max_iter=1)] * 12 + [make_job(max_iter=100)] * 12 + [make_job(hidden=(64,), max_iter=100)] * 10
    stacks = plan(jobs, 1)
    assert stacks[0] == list(range(24, 34))


def test_a_few_large_fits_are_shared_out_over_threads_and_small_ones_are_not(make_job):
    large = plan([make_job(hidden=(256, 256), n=4000, d=30, batch_size=1000)] * 5, 2)
    assert sorted(map(len, large)) == [2, 3]
    assert plan([make_job()] * 5, 2) == [[0, 1, 2, 3, 4]]
    assert plan([make_job(hidden=(256, 256), n=2000, d=30, batch_size=256)], 2) == [[0]]
