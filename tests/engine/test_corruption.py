"""Disturbed inputs: who is disturbed by how much, and by which draws."""

from __future__ import annotations

import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from sklreg import ElasticNetMLP
from sklreg.engine.corruption import InputNoise, SwapNoise
from sklreg.engine.streams import Streams

CPU = torch.device("cpu")


def streams(*seeds):
    return [Streams(seed, CPU) for seed in seeds]


def test_noise_has_the_standard_deviation_of_each_row_and_mean_zero():
    X = torch.full((3, 2000, 10), 5.0, dtype=torch.float64)
    std = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    noise = InputNoise(std, streams(0), [0, 0, 0]).disturb(X, [2000]) - X
    assert_close(noise.std((1, 2)), std, rtol=0.02, atol=0)
    assert (noise.mean((1, 2)).abs() <= 5 * std / 20_000**0.5).all()
    assert (X == 5).all()


def test_rows_of_one_source_share_the_draws_in_their_own_strength():
    X = torch.zeros(3, 50, 4)
    noise = InputNoise(torch.tensor([0.5, 1.0, 1.0]), streams(0, 1), [0, 0, 1]).disturb(X, [50, 50])
    assert torch.equal(2 * noise[0], noise[1])
    assert (noise[1] != noise[2]).all()


def test_a_source_draws_as_many_numbers_as_it_has_samples():
    """What fills a smaller batch up takes no draws: the next batch is that of the source by itself."""
    small, large = streams(0, 1)
    noise = InputNoise(torch.ones(2), [small, large], [0, 1])
    alone = InputNoise(torch.ones(1), streams(0), [0])
    for _ in range(2):
        together = noise.disturb(torch.zeros(2, 7, 3), [5, 7])
        assert torch.equal(together[0, :5], alone.disturb(torch.zeros(1, 5, 3), [5])[0])
        assert not together[0, 5:].any()


@pytest.mark.slow
def test_noise_on_the_inputs_of_a_linear_model_is_ridge():
    """Bishop (1995), exactly: the mean of the squared error over the noise is the error plus a penalty."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(400, 3, generator=generator, dtype=torch.float64).numpy()
    y = X @ [2.0, -1.0, 0.5] + 3
    setting = {
        "hidden_layer_sizes": (), "early_stopping": False, "batch_size": "full", "learning_rate": "cosine",
        "learning_rate_init": 0.02, "max_iter": 3000, "random_state": 0,
    }  # fmt: skip
    noisy = ElasticNetMLP(alpha=0.0, input_noise=0.7, **setting).fit(X, y)
    ridge = ElasticNetMLP(alpha=0.7**2, l1_ratio=0.0, **setting).fit(X, y)
    assert_allclose(noisy.coefs_[0], ridge.coefs_[0], atol=0.02)


def table(n, d, n_models=1):
    """Return inputs of which each is another number, in the order of the features: sample ``i % 10,000``."""
    return (torch.arange(n)[:, None] + 10_000 * torch.arange(d)).double().expand(n_models, -1, -1)


@pytest.mark.parametrize("n_tables", [1, 3])
def test_swaps_are_as_frequent_as_each_row_says_and_take_the_same_feature_of_another_sample(n_tables):
    X = table(2000, 10, n_tables)
    swapped = SwapNoise(torch.tensor([0.0, 0.1, 0.7]), streams(0), [0, 0, 0]).disturb(X, [2000])
    assert swapped.shape == (3, 2000, 10)
    shares = (swapped != X).double().mean((1, 2))  # a swap for itself would be missing
    assert_close(shares, torch.tensor([0.0, 0.1, 0.7], dtype=torch.float64), rtol=0, atol=0.02)
    assert ((swapped - X).abs() < 10_000).all()  # of the same feature
    assert torch.equal(X, table(2000, 10, n_tables))


def test_of_two_rows_the_one_that_swaps_more_swaps_all_that_the_other_does_and_for_the_same():
    X = table(500, 6)
    less, more = SwapNoise(torch.tensor([0.2, 0.5]), streams(0), [0, 0]).disturb(X, [500])
    is_swapped = less != X[0]
    assert torch.equal(more[is_swapped], less[is_swapped])
    assert (more != X[0]).sum() > is_swapped.sum()


@pytest.mark.parametrize("n", [2, 3, 50])
def test_every_other_sample_is_as_likely_a_partner(n):
    swapped = SwapNoise(torch.tensor([1.0]), streams(0), [0]).disturb(table(n, 4000), [n])[0] % 10_000
    counts = torch.stack([torch.bincount(row.long(), minlength=n) for row in swapped]).double()
    counts.fill_diagonal_(4000 / (n - 1))  # a sample by itself: but for one in 65,536, none
    spread = (4000 / (n - 1)) ** 0.5
    assert ((counts - 4000 / (n - 1)).abs() < 5 * spread).all()


def test_partners_are_spread_evenly_over_more_samples_than_there_is_noise():
    n = 200_000
    swapped = SwapNoise(torch.tensor([1.0]), streams(0), [0]).disturb(torch.arange(n)[None, :, None], [n])[0, :, 0]
    counts = torch.histc(swapped.double(), bins=20)
    assert ((counts - n / 20).abs() < 5 * (n / 20) ** 0.5).all()


def test_a_source_swaps_among_its_own_samples_as_it_would_alone():
    small, large = streams(0, 1)
    swaps = SwapNoise(torch.tensor([0.5, 0.5]), [small, large], [0, 1])
    alone = SwapNoise(torch.tensor([0.5]), streams(0), [0])
    X = table(7, 3, 2).clone()
    X[0, 5:] = -1  # filled up
    for _ in range(2):
        together = swaps.disturb(X, [5, 7])
        assert torch.equal(together[0, :5], alone.disturb(X[:1, :5], [5])[0])
