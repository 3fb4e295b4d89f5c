"""The split that early stopping watches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from sklreg._holdout import MOST_COPIES, hold_out


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(2, 120), n_classes=st.integers(1, 4), fraction=st.floats(0.02, 0.9), n_values=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_both_sides_have_samples_and_training_has_every_class(n, n_classes, fraction, n_values, seed):
    rng = np.random.default_rng(seed)
    X, classes = rng.integers(0, n_values, size=(n, 2)).astype(float), rng.integers(0, n_classes, size=n)
    train, validation = hold_out(X, classes, None, fraction, seed)
    assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    assert len(train)
    can_be_split = np.bincount(classes).max() > 1
    assert (len(validation) > 0) == can_be_split
    assert set(classes[train]) == set(classes)


def test_the_fraction_is_met_in_every_class():
    rng = np.random.default_rng(0)
    X, classes = rng.normal(size=(5000, 3)), (rng.random(5000) < 0.02).astype(int)
    _, validation = hold_out(X, classes, None, 0.2, 1)
    for k in (0, 1):
        assert abs((classes[validation] == k).sum() - 0.2 * (classes == k).sum()) <= 1


def test_weights_count_and_order_and_storage_do_not():
    rng = np.random.default_rng(0)
    X, classes = np.where(rng.random((300, 4)) < 0.5, 0, rng.normal(size=(300, 4))), rng.integers(0, 2, 300)
    X[:, 0] = rng.normal(size=300)
    weight = rng.integers(1, 5, 300)
    _, held = hold_out(X, classes, weight.astype(float), 0.3, 0)
    assert abs(weight[held].sum() / weight.sum() - 0.3) < 0.03
    _, of_copies = hold_out(X.repeat(weight, axis=0), classes.repeat(weight), None, 0.3, 0)
    assert_array_equal(np.unique(np.arange(300).repeat(weight)[of_copies]), held)
    order = rng.permutation(300)
    _, of_shuffled = hold_out(X[order], classes[order], weight[order].astype(float), 0.3, 0)
    assert_array_equal(np.sort(order[of_shuffled]), held)
    _, of_sparse = hold_out(sparse.csr_array(X), classes, weight.astype(float), 0.3, 0)
    assert_array_equal(of_sparse, held)
    _, of_another_seed = hold_out(X, classes, weight.astype(float), 0.3, 1)
    assert not np.array_equal(of_another_seed, held)


@pytest.mark.parametrize("n_copies", [MOST_COPIES, MOST_COPIES + 1])
def test_a_few_copies_share_a_side_and_values_that_recur_are_on_both(n_copies):
    X = np.repeat(np.arange(40.0)[:, None], n_copies, axis=0)
    train, validation = hold_out(X, np.zeros(len(X), dtype=int), None, 0.3, 0)
    shared = set(X[train, 0]) & set(X[validation, 0])
    assert (len(shared) == 0) == (n_copies <= MOST_COPIES)
    if n_copies > MOST_COPIES:
        assert set(X[train, 0]) == set(range(40))
