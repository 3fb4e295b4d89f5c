"""Samples, batches and random streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sklreg.engine.data import Batch, Buffer, CSRRows, DenseRows, Samples, batch_bounds, chunks, count_batches, stack
from sklreg.engine.layers import DropoutNoise
from sklreg.engine.streams import Streams

CPU = torch.device("cpu")


@given(n=st.integers(1, 2000), size=st.integers(1, 300))
def test_batches_are_as_few_and_as_equal_as_can_be_and_leave_no_sample_out(n, size):
    bounds = batch_bounds(n, count_batches(n, size))
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in bounds]
    assert len(sizes) == -(-n // size)
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert [i for start, stop in chunks(n, size) for i in range(start, stop)] == list(range(n))


@settings(deadline=None)
@given(seed=st.integers(0, 1000), density=st.floats(0, 1))
def test_sparse_rows_are_the_dense_ones_also_with_entries_stored_twice(seed, density):
    rng = np.random.default_rng(seed)
    table = np.where(rng.random((9, 5)) < density, rng.normal(size=(9, 5)), 0)
    csr = sparse.csr_array(table)
    twice = sparse.csr_array((np.repeat(csr.data / 2, 2), np.repeat(csr.indices, 2), 2 * csr.indptr), shape=table.shape)
    index = torch.from_numpy(rng.integers(0, 9, 7))
    for form in (csr, twice):
        parts = (
            torch.from_numpy(np.asarray(a)) for a in (form.indptr.astype(int), form.indices.astype(int), form.data)
        )
        rows = CSRRows(*parts, 5)
        assert_allclose(rows.take(index), table[index])
        assert_allclose(rows.slice(2, 6), table[2:6])


def test_a_slice_of_sparse_rows_ends_with_the_table_as_one_of_dense_rows_does():
    """Tables of unequal length are read in slices of the longest: an index past the end was an error."""
    X = sparse.csr_array(sparse.random(5, 3, density=0.5, random_state=0))
    rows = CSRRows(
        *(torch.from_numpy(a.copy()) for a in (X.indptr.astype(np.int64), X.indices.astype(np.int64), X.data)), 3
    )
    for start, stop in ((3, 9), (5, 9), (7, 9)):
        assert_array_equal(rows.slice(start, stop), X.toarray()[start:stop])


def test_every_row_of_a_stack_gets_the_batch_of_its_source():
    batches = [
        Batch(torch.full((4, 2), float(g)), torch.full((4, 1), float(g)), torch.full((4,), float(g))) for g in (0, 1)
    ]
    stacked = stack(batches, torch.tensor([1, 0, 1]), Buffer())
    assert stacked.X[:, 0, 0].tolist() == stacked.y[:, 0, 0].tolist() == stacked.weight[:, 0].tolist() == [1, 0, 1]
    alone = stack(batches[:1], None, Buffer())
    assert alone.X.shape == (1, 4, 2)
    assert alone.X.data_ptr() == batches[0].X.data_ptr()  # not copied
    samples = Samples(DenseRows(torch.eye(3)), torch.arange(3.0)[:, None], None)
    assert samples.take(torch.tensor([2, 0])).y.flatten().tolist() == [2, 0]
    assert samples.with_weight().weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_smaller_batch_of_a_stack_is_filled_up_with_samples_that_weigh_nothing(weighted):
    def batch(n):
        return Batch(torch.ones(n, 2), torch.ones(n, 1), torch.full((n,), 3.0) if weighted else None)

    stacked = stack([batch(3), batch(2)], torch.tensor([1, 0]), Buffer())
    real = 3.0 if weighted else 1.0
    assert stacked.weight.tolist() == [[real, real, 0], [real, real, real]]
    assert stacked.X.sum((1, 2)).tolist() == [4, 6]
    assert stacked.y.sum((1, 2)).tolist() == [2, 3]


def draws(seed):
    streams = Streams(seed, CPU)
    return [
        streams.init.random(4), streams.order.random(4), streams.mixup_partners.random(4),
        streams.mixup_shares().random(4), streams.input_dropout.draw(4).numpy(), streams.dropout.draw(4).numpy(),
    ]  # fmt: skip


def test_streams_repeat_with_the_seed_and_differ_by_seed_and_purpose():
    for a, b in zip(draws(0), draws(0), strict=True):
        assert_array_equal(a, b)
    numbers = [tuple(d.tolist()) for d in draws(0) + draws(1)]
    assert len(set(numbers)) == len(numbers)


def test_noise_is_uniform_over_16_bits_and_of_any_shape():
    noise = Streams(0, CPU).dropout.draw(401, 503).numpy().astype(float)
    counts, _ = np.histogram(noise, bins=16, range=(-(2**15), 2**15))
    assert_allclose(counts / noise.size, 1 / 16, rtol=0.03)
    assert abs(np.corrcoef(noise.ravel()[:-1], noise.ravel()[1:])[0, 1]) < 0.01
    assert Streams(0, CPU).dropout.draw(1, 3).shape == (1, 3)


def whole_mask(noise, x):
    """Return what dropout multiplies ``x`` by."""
    mask = torch.ones_like(x)
    for start, stop, values in noise.masks(x, [x.shape[1]] * len(noise.draws)):
        mask[start:stop] *= values
    return mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_a_low_rate_drops_a_higher_one_drops_too_at_the_stated_rate(dtype):
    rates = torch.tensor([0.0, 0.1, 0.5, 0.9], dtype=dtype)
    noise = DropoutNoise(rates, [Streams(0, CPU)], [0] * 4, "dropout")
    mask = whole_mask(noise, torch.empty(4, 500, 200, dtype=dtype))
    dropped = mask == 0
    assert mask.dtype == dtype
    assert (mask[0] == 1).all()
    for k in range(3):
        assert (dropped[k + 1] | ~dropped[k]).all()
    assert_allclose(dropped.double().mean((1, 2)), rates, atol=0.005)
    assert_allclose(mask.double().mean((1, 2)), 1, atol=0.03)


def test_sources_with_streams_of_their_own_get_their_own_noise():
    streams = [Streams(0, CPU), Streams(1, CPU)]
    noise = DropoutNoise(torch.full((3,), 0.5), streams, [0, 1, 0], "dropout")
    mask = whole_mask(noise, torch.empty(3, 20, 10))
    assert torch.equal(mask[0], mask[2])
    assert not torch.equal(mask[0], mask[1])
    alone = DropoutNoise(torch.full((1,), 0.5), [Streams(1, CPU)], [0], "dropout")
    assert torch.equal(mask[1:2], whole_mask(alone, torch.empty(1, 20, 10)))


@pytest.mark.parametrize("n_equal", [1, 4], ids=["a mask for every row", "a mask for each run of equal rows"])
def test_rows_of_a_source_with_fewer_samples_get_the_noise_that_they_would_get_alone(n_equal):
    rates = torch.tensor([0.3] * n_equal + [0.0] * n_equal + [0.6] * n_equal, dtype=torch.float64)
    members = [0] * n_equal + [1] * 2 * n_equal
    noise = DropoutNoise(rates, [Streams(0, CPU), Streams(1, CPU)], members, "dropout")
    masks = noise.masks(torch.empty(3 * n_equal, 20, 10, dtype=torch.float64), [20, 17])
    together = torch.ones(3 * n_equal, 20, 10, dtype=torch.float64)
    for start, stop, values in masks:
        together[start:stop] *= values
    assert (len(masks) == 1) == (n_equal == 1)
    for k, (rate, source, size) in enumerate(zip(rates, members, [20] * n_equal + [17] * 2 * n_equal, strict=True)):
        alone = DropoutNoise(rate[None], [Streams(source, CPU)], [0], "dropout")
        assert torch.equal(together[k : k + 1, :size], whole_mask(alone, torch.empty(1, size, 10, dtype=torch.float64)))
