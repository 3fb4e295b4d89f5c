"""Mixup: what a mixed sample stands for, and whose draws it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sklreg.engine.data import Batch
from sklreg.engine.losses import LOSSES
from sklreg.engine.mixup import CutMix, Mixup, cut_and_mix, mix
from sklreg.engine.streams import Streams

CPU = torch.device("cpu")
BOUNDS = [(0, 7), (7, 13)]
KINDS = (Mixup, CutMix)


def batch_of(n_models, seed=0, weighted=True):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n_models, 6, 3, generator=generator, dtype=torch.float64)
    y = (torch.rand(n_models, 6, 1, generator=generator) > 0.5).double()
    weight = torch.rand(n_models, 6, generator=generator, dtype=torch.float64) + 0.1
    partners = torch.stack([torch.randperm(6, generator=generator) for _ in range(n_models)])
    return Batch(X, y, weight if weighted else None), partners


def shares(*values):
    return torch.tensor(values, dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0, 0.5))
def test_the_loss_of_a_mixed_sample_is_the_weighted_loss_of_its_two_parts(seed, share):
    batch, partners = batch_of(1, seed)
    mixed = mix(batch, partners, shares(share))
    output = torch.randn(1, 6, 1, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    loss = LOSSES["binary_cross_entropy"].value
    own = batch.weight[0] * loss(output, batch.y)[0, :, 0]
    y_partner, w_partner = batch.y[:, partners[0]], batch.weight[0, partners[0]]
    partners_loss = w_partner * loss(output, y_partner)[0, :, 0]
    expected = (1 - share) * own + share * partners_loss
    assert_close(mixed.weight[0] * loss(output, mixed.y)[0, :, 0], expected)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0, 0.5))
def test_a_batch_keeps_its_total_weight(seed, share):
    batch, partners = batch_of(2, seed)
    assert_close(mix(batch, partners, shares(share, 0.5)).weight.sum(1), batch.weight.sum(1))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_share_of_zero_changes_nothing_to_the_bit(weighted):
    batch, partners = batch_of(2, weighted=weighted)
    mixed = mix(batch, partners, shares(0.3, 0.0))
    for before, after in zip(batch, mixed, strict=True):
        if before is not None:
            assert torch.equal(before[1], after[1])
    assert not torch.equal(batch.X[0], mixed.X[0])


def test_rows_that_share_a_batch_are_mixed_as_if_each_had_a_copy():
    batch, partners = batch_of(1)
    together = mix(batch, partners, shares(0.1, 0.4))
    for k, share in enumerate((0.1, 0.4)):
        for shared, own in zip(together, mix(batch, partners, shares(share)), strict=True):
            assert torch.equal(shared[k], own[0])


def test_partners_are_a_shuffle_of_each_batch():
    mixup = Mixup([0.4], [Streams(0, CPU)])
    draws = mixup.draw([BOUNDS, BOUNDS], [Streams(0, CPU), Streams(1, CPU)], torch.float64, CPU)
    for (start, stop), partners in zip(BOUNDS, draws.partners, strict=True):
        assert partners.sort(1).values.tolist() == 2 * [list(range(stop - start))]
    assert not torch.equal(*draws.partners[0])  # two seeds, two shuffles


def test_a_row_draws_the_same_shares_in_any_company_also_after_others_left():
    def epochs(alphas, seeds, then_keep=None):
        streams = [Streams(seed, CPU) for seed in seeds]
        mixup = Mixup(alphas, streams)
        first = mixup.draw([BOUNDS] * len(streams), streams, torch.float64, CPU).shares
        if then_keep is not None:
            mixup.select(then_keep)
        return first, mixup.draw([BOUNDS] * len(streams), streams, torch.float64, CPU).shares

    alone = epochs([0.4], [3])
    company = epochs([1.5, 0.4, 0.0], [3, 3, 5], then_keep=[1])
    assert torch.equal(alone[0][:, 0], company[0][:, 1])
    assert torch.equal(alone[1], company[1])


def test_mixup_is_active_while_a_row_mixes():
    mixup = Mixup([0.0, 0.3], [Streams(0, CPU), Streams(0, CPU)])
    assert mixup.is_active
    mixup.select([0])
    assert not mixup.is_active


def test_the_expected_share_grows_with_alpha():
    means = []
    for alpha in (0.05, 0.3, 1.0, 10.0):
        mixup = Mixup([alpha], [Streams(0, CPU)])
        means.append(mixup.draw([[(0, 1)] * 3000], [Streams(0, CPU)], torch.float64, CPU).shares.mean().item())
    assert means == sorted(means)
    assert np.isclose(means[2], 0.25, atol=0.01)  # beta(1, 1) is uniform, and the smaller part of it is 1/4 on average


# Cutmix -----------------------------------------------------------------------------------------------------------


def noise_of(n_models, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**15), 2**15, (n_models, 6, 3), generator=generator).to(torch.int16)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0, 0.5))
def test_cutmix_gives_the_share_of_the_label_that_the_partner_has_of_the_features(seed, share):
    batch, partners = batch_of(1, seed)
    mixed = cut_and_mix(batch, partners, shares(share), noise_of(1, seed))
    others = batch.X[:, partners[0]]
    is_partners = others == mixed.X
    assert torch.equal(mixed.X, torch.where(is_partners, others, batch.X))
    output = torch.randn(1, 6, 1, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    loss, part = LOSSES["binary_cross_entropy"].value, is_partners[0].double().mean(1)
    part[partners[0] == torch.arange(6)] = 0  # of itself
    own = batch.weight[0] * loss(output, batch.y)[0, :, 0]
    partners_loss = batch.weight[0, partners[0]] * loss(output, batch.y[:, partners[0]])[0, :, 0]
    assert_close(mixed.weight[0] * loss(output, mixed.y)[0, :, 0], (1 - part) * own + part * partners_loss)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_share_of_zero_cuts_nothing_to_the_bit(weighted):
    batch, partners = batch_of(2, weighted=weighted)
    mixed = cut_and_mix(batch, partners, shares(0.3, 0.0), noise_of(1))
    for before, after in zip(batch, mixed, strict=True):
        if before is not None:
            assert torch.equal(before[1], after[1])
    assert not torch.equal(batch.X[0], mixed.X[0])


def test_cutmix_and_mixup_draw_from_streams_of_their_own():
    draws = [kind([0.4], [Streams(0, CPU)]).draw([BOUNDS], [Streams(0, CPU)], torch.float64, CPU) for kind in KINDS]
    assert not torch.equal(draws[0].shares, draws[1].shares)
    assert not torch.equal(draws[0].partners[0], draws[1].partners[0])
