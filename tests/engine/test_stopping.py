"""Early stopping against the rule written as a loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklreg.engine.stopping import EarlyStopping

SCORES = st.lists(st.sampled_from([0.0, 0.5, 0.55, 1.0, 1.5, 2.0, math.nan, -math.inf]), min_size=1, max_size=15)


def loop(scores, patience, min_delta):
    """Return best epoch and the epoch after which to stop (``None`` if never), for one model."""
    best, best_iter, wait = -math.inf, 0, 0
    for epoch, score in enumerate(scores, start=1):
        if math.isfinite(score) and score > best + min_delta:
            best, best_iter, wait = score, epoch, 0
        else:
            wait += 1
        if wait >= patience:
            return best_iter, epoch
    return best_iter, None


@settings(deadline=None, max_examples=60)
@given(
    scores=st.tuples(SCORES, SCORES, SCORES),
    patience=st.tuples(*[st.integers(1, 5)] * 3),
    min_delta=st.tuples(*[st.sampled_from([0.0, 0.1, 0.5])] * 3),
)
def test_every_row_stops_and_remembers_by_its_own_rule(scores, patience, min_delta):
    n_epochs = min(map(len, scores))
    state = torch.zeros(3, 2, dtype=torch.float64)
    stopping = EarlyStopping(
        state, torch.tensor(patience, dtype=torch.float64), torch.tensor(min_delta, dtype=torch.float64)
    )
    stopped: list[int | None] = [None] * 3
    best = [(0, torch.zeros(2, dtype=torch.float64))] * 3
    for epoch in range(1, n_epochs + 1):
        state += torch.tensor([[1.0], [10.0], [100.0]])  # training goes on in place
        out = stopping.update(torch.tensor([s[epoch - 1] for s in scores], dtype=torch.float64), state, epoch)
        for k in range(3):
            if stopped[k] is None:
                best[k] = (int(stopping.best_iter[k]), stopping.best_state[k].clone())
                if out[k]:
                    stopped[k] = epoch
    for k in range(3):
        best_iter, stop = loop(scores[k][:n_epochs], patience[k], min_delta[k])
        assert stopped[k] == stop
        assert best[k][0] == best_iter
        assert best[k][1].tolist() == [best_iter * 10.0**k] * 2


@pytest.mark.parametrize("n_models", [1, 3])
def test_the_best_state_is_a_copy_from_the_first_moment_on(n_models):
    state = torch.ones(n_models, 4)
    stopping = EarlyStopping(state, torch.full((n_models,), torch.inf), torch.zeros(n_models))
    state.fill_(2.0)
    assert (stopping.best_state == 1).all()  # before any epoch
    stopping.update(torch.zeros(n_models), state, 1)
    state.fill_(3.0)
    assert (stopping.best_state == 2).all()
    assert stopping.best_state.data_ptr() != state.data_ptr()


def test_epochs_that_do_not_count_are_not_remembered_and_take_no_patience():
    inf = torch.tensor([2.0, 2.0])
    stopping = EarlyStopping(torch.zeros(2, 1), inf, torch.zeros(2), n_early=torch.tensor([3.0, 0.0]))
    out = []
    for epoch, score in enumerate([9.0, 1.0, 1.0, 2.0, 1.0, 1.0], 1):
        out.append(stopping.update(torch.tensor([score, score]), torch.full((2, 1), float(epoch)), epoch).tolist())
    assert stopping.best_iter.tolist() == [4, 1]
    assert stopping.best_state.ravel().tolist() == [4, 1]
    assert [row[0] for row in out] == [False] * 5 + [True]
    assert [row[1] for row in out] == [False, False, True, True, True, True]


def test_until_an_epoch_counts_the_latest_is_remembered():
    inf = torch.tensor([torch.inf])
    stopping = EarlyStopping(torch.zeros(1, 1), inf, torch.zeros(1), n_early=torch.tensor([3.0]))
    for epoch, score in enumerate([9.0, 8.0, math.nan], 1):
        stopping.update(torch.tensor([score]), torch.full((1, 1), float(epoch)), epoch)
    assert stopping.best_iter.item() == stopping.best_state.item() == 2
    stopping.update(torch.tensor([-5.0]), torch.full((1, 1), 4.0), 4)
    assert stopping.best_iter.item() == stopping.best_state.item() == 4


def test_an_improvement_of_exactly_min_delta_is_none():
    stopping = EarlyStopping(torch.zeros(1, 1), torch.tensor([9.0]), torch.tensor([0.25]))
    for epoch, score in enumerate((0.5, 0.75, 0.875), start=1):
        stopping.update(torch.tensor([score]), torch.zeros(1, 1), epoch)
    assert stopping.best_iter.item() == 3


def test_rows_keep_their_patience_and_best_when_others_leave():
    stopping = EarlyStopping(torch.zeros(3, 1), torch.tensor([1.0, 3.0, 2.0]), torch.zeros(3))
    for epoch, scores in enumerate(([1.0, 1.0, 1.0], [0.0, 0.0, 2.0]), start=1):
        stopping.update(torch.tensor(scores), torch.full((3, 1), float(epoch)), epoch)
    stopping.select(torch.tensor([2, 1]))
    assert stopping.update(torch.tensor([0.0, 0.0]), torch.zeros(2, 1), 3).tolist() == [False, False]
    assert stopping.update(torch.tensor([0.0, 0.0]), torch.zeros(2, 1), 4).tolist() == [True, True]
    assert stopping.best_iter.tolist() == [2, 1]
    assert stopping.best_state.flatten().tolist() == [2, 1]
