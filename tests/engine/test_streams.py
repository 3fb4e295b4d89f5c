"""Random streams: what one purpose draws shifts no other."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sklreg.engine.streams import Streams

CPU = torch.device("cpu")
DRAW = {
    "init": lambda s: s.init.random(5),
    "order": lambda s: s.order.permutation(5),
    "mixup_partners": lambda s: s.mixup_partners.permutation(5),
    "mixup_shares": lambda s: s.mixup_shares().random(5),
    "input_dropout": lambda s: s.input_dropout.draw(5).numpy(),
    "input_noise": lambda s: s.input_noise.draw(5).numpy(),
    "swap_noise": lambda s: s.swap_noise.draw(5).numpy(),
    "dropout": lambda s: s.dropout.draw(5).numpy(),
}


@pytest.mark.parametrize("purpose", DRAW)
def test_what_one_purpose_draws_shifts_no_other(purpose):
    used, fresh = Streams(0, CPU), Streams(0, CPU)
    for _ in range(3):
        DRAW[purpose](used)
    for name in DRAW.keys() - {purpose}:
        np.testing.assert_array_equal(DRAW[name](used), DRAW[name](fresh))


@pytest.mark.parametrize("purpose", sorted(DRAW.keys() - {"mixup_shares"}))
def test_a_stream_goes_on_and_does_not_repeat_itself(purpose):
    streams = Streams(0, CPU)
    drawn = [tuple(DRAW[purpose](streams).tolist()) for _ in range(4)]
    assert len(set(drawn)) > 1


def test_every_row_of_a_seed_gets_the_same_shares_from_the_start():
    streams = Streams(0, CPU)
    a, b = streams.mixup_shares(), streams.mixup_shares()
    np.testing.assert_array_equal(a.beta(0.4, 0.4, 20), b.beta(0.4, 0.4, 20))


def test_noise_has_both_halves_and_no_bias_in_any_of_the_four_parts_of_a_word():
    noise = Streams(0, CPU).dropout.draw(40_000).view(-1, 4).double()
    assert noise.min() < -32_000
    assert noise.max() > 32_000
    assert (noise.mean(0).abs() < 5 * 2**16 / 12**0.5 / 100).all()  # five standard errors of 10,000 draws
    assert (torch.corrcoef(noise.T) - torch.eye(4, dtype=torch.float64)).abs().max() < 0.05


def test_no_global_generator_is_read_or_written():
    def state():
        return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()

    before = state()
    drawn = [DRAW[name](Streams(7, CPU)).tolist() for name in DRAW]
    assert state() == before
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert [DRAW[name](Streams(7, CPU)).tolist() for name in DRAW] == drawn
