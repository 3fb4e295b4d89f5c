"""The validation set of early stopping."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]
MOST_COPIES = 8
_CHUNK = 2**20  # numbers hashed at once


def hold_out(
    X: Any,
    strata: NDArray[np.int64],
    weight: NDArray[np.floating] | None,
    fraction: float,
    seed: int,
) -> tuple[IntArray, IntArray]:
    """Split samples, dense or csr, holding out ``fraction`` of the total weight of each stratum for validation.

    Return the indices of training and validation.

    A sample's side is drawn from its inputs, not from its place: copies share a side (a copy of a training sample
    validates nothing), the order of the samples does not matter, and a sample of weight two is treated as two copies of
    it. Inputs that occur more than ``MOST_COPIES`` times in a stratum are no copies but the nature of the data (a few
    categories, say): these samples are drawn one by one, so that no value is missing from training.  Every stratum
    stays represented there.
    """
    key = _content_key(X, seed)
    weight = np.ones(len(key)) if weight is None else weight
    strata_of_groups = []  # for each stratum its groups of copies, in random order
    order = np.lexsort((np.arange(len(key)), key, strata))
    for stratum in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        _, group, n_copies = np.unique(key[stratum], return_inverse=True, return_counts=True)
        recurs = n_copies[group] > MOST_COPIES
        if recurs.any():
            key[stratum[recurs]] = _mix(key[stratum[recurs]] + np.arange(recurs.sum(), dtype=np.uint64))
            stratum = stratum[np.argsort(key[stratum], kind="stable")]
        strata_of_groups.append(np.split(stratum, np.flatnonzero(np.diff(key[stratum])) + 1))

    validation = [i for groups in strata_of_groups for i in _nearest_groups(groups, weight, fraction)]
    if not validation:
        validation = _smallest_part(strata_of_groups, weight)
    is_validation = np.zeros(len(key), dtype=bool)
    is_validation[validation] = True
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)


def _nearest_groups(groups: list[IntArray], weight: NDArray[np.floating], fraction: float) -> list[int]:
    """Return the samples of the first groups whose total weight is nearest to ``fraction``, leaving out the last."""
    reached = np.cumsum([weight[group].sum() for group in groups])
    distance = np.abs(np.concatenate([[0.0], reached[:-1]]) - fraction * reached[-1])
    return [i for group in groups[: int(distance.argmin())] for i in group]


def _smallest_part(strata_of_groups: list[list[IntArray]], weight: NDArray[np.floating]) -> list[int]:
    """Return the least that can validate anything: one group of the heaviest stratum that has two."""
    divisible = [groups for groups in strata_of_groups if len(groups) > 1]
    if divisible:
        heaviest = max(divisible, key=lambda groups: sum(weight[group].sum() for group in groups))
        return list(heaviest[0])
    # Every stratum is a few copies of one sample: nothing can keep copies together but an empty side.  (Where it is one
    # sample alone, nothing can be held out at all.)
    largest = max((groups[0] for groups in strata_of_groups), key=len)
    return list(largest[: len(largest) // 2])


def _content_key(X: Any, seed: int) -> NDArray[np.uint64]:
    """Hash the inputs of every sample; zeros count for nothing, so that dense and sparse samples agree."""
    n, d = X.shape
    salt = np.random.Generator(np.random.PCG64(seed)).integers(2**64, size=d + 1, dtype=np.uint64)
    key = np.zeros(n, dtype=np.uint64)
    if sparse.issparse(X):
        X = X.tocsr().copy()
        X.sum_duplicates()
        row = np.repeat(np.arange(n), np.diff(X.indptr))
        np.add.at(key, row, _hash(X.data, salt[X.indices]))
    else:
        step = max(1, _CHUNK // d)
        for start in range(0, n, step):
            key[start : start + step] = _hash(X[start : start + step], salt[:d]).sum(axis=1, dtype=np.uint64)
    return _mix(key ^ salt[-1])


def _hash(values: NDArray[np.floating], salt: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    hashed = _mix(bits ^ salt)
    hashed[values == 0] = 0
    return hashed


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words; the finalizer of splitmix64 (Steele et al., 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
