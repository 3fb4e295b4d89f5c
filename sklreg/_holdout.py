"""The validation set of early stopping."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]
MOST_COPIES = 8
_CHUNK = 2**20  # numbers hashed at once


def check_validation_arguments(
    owner: str, X_val: Any, *, early_stopping: bool | str, holds_y: bool = False, **others: Any
) -> None:
    """Refuse arguments of ``fit`` for validation of which one is missing, or that nobody would use.

    ``others`` are those besides ``X_val``, ``y_val`` among them; with ``holds_y`` the targets are in ``X_val``.
    """
    if X_val is None:
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise ValueError(f"{owner}.fit got {' and '.join(given)} without X_val. Pass X_val and y_val.")
        return
    if others["y_val"] is None and not holds_y:
        raise ValueError(f"{owner}.fit got X_val without y_val. Pass both.")
    if not early_stopping:
        raise ValueError(
            f"{owner}.fit got X_val, which early stopping uses, and early_stopping=False. Set early_stopping=True or "
            "leave X_val out."
        )


def hold_out_for(owner: str, n: int, *arguments: Any, **options: Any) -> tuple[IntArray, IntArray]:
    """Call :func:`hold_out` for ``n`` samples of an estimator, and refuse what cannot be split."""
    mend = "Set early_stopping=False, pass X_val and y_val, or pass more data."
    if n < 2:
        raise ValueError(
            f"{owner} holds out a validation set and needs at least 2 samples for that (of a weight above 0); got "
            f"n_samples = {n}. {mend}"
        )
    train, validation = hold_out(*arguments, **options)
    if len(validation) == 0:
        raise ValueError(
            f"{owner} holds out a validation set and keeps a sample of every class for training; got n_samples = {n} "
            f"with one sample of each class. {mend}"
        )
    return train, validation


def hold_out(
    X: Any,
    strata: NDArray[np.int64],
    weight: NDArray[np.floating] | None,
    fraction: float,
    seed: int,
    keep_strata: bool = True,
) -> tuple[IntArray, IntArray]:
    """Split samples, dense or csr, holding out ``fraction`` of the total weight for validation, stratum by stratum.

    Return the indices of training and validation.

    A sample's side is drawn from its inputs, not from its place: copies share a side (a copy of a training sample
    validates nothing), the order of the samples does not matter, and a sample of weight two is treated as two copies of
    it.  Inputs that occur more than ``MOST_COPIES`` times in a stratum are no copies but the nature of the data (a few
    categories, say): these samples are drawn one by one, so that no value is missing from training.

    With ``keep_strata`` every stratum stays in training and, where the validation set has room for all of them, has a
    part in validation.  What a small stratum gives too little or too much, the next one makes up for.
    """
    key = _content_key(X, seed)
    weight = np.ones(len(key)) if weight is None else weight
    order = np.lexsort((np.arange(len(key)), key, strata))
    divided = [_Stratum.of(part, key, weight) for part in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)]
    n_divisible = sum(len(stratum.weight) > 1 for stratum in divided)
    has_room = n_divisible <= fraction * sum(len(stratum.weight) for stratum in divided)
    least = 1 if keep_strata and has_room else 0

    is_validation = np.zeros(len(key), dtype=bool)
    owed = 0.0
    for stratum in divided:
        owed += fraction * stratum.weight.sum()
        n_groups = len(stratum.weight)
        taken = _take(stratum.weight, owed, min(least, n_groups - 1), n_groups - 1 if keep_strata else n_groups)
        owed -= stratum.weight[taken].sum()
        is_validation[stratum.samples_of(taken)] = True
    if not is_validation.any():
        is_validation[_smallest_part(divided)] = True
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)


class _Stratum(NamedTuple):
    """The samples of a stratum in random order, cut into groups of copies."""

    samples: IntArray
    starts: IntArray
    weight: NDArray[np.floating]  # of each group

    @classmethod
    def of(cls, samples: IntArray, key: NDArray[np.uint64], weight: NDArray[np.floating]) -> _Stratum:
        _, group, n_copies = np.unique(key[samples], return_inverse=True, return_counts=True)
        recurs = n_copies[group] > MOST_COPIES
        keys = key[samples]
        if recurs.any():
            keys[recurs] = _mix(keys[recurs] + np.arange(recurs.sum(), dtype=np.uint64))
            order = np.argsort(keys, kind="stable")
            samples, keys = samples[order], keys[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        return cls(samples, starts, np.add.reduceat(weight[samples], starts))

    def samples_of(self, groups: IntArray) -> IntArray:
        is_taken = np.zeros(len(self.starts), dtype=bool)
        is_taken[groups] = True
        n_copies = np.diff(np.r_[self.starts, len(self.samples)])
        samples: IntArray = self.samples[np.repeat(is_taken, n_copies)]
        return samples


def _take(weight: NDArray[np.floating], target: float, least: int, most: int) -> IntArray:
    """Choose groups, in order, whose total weight comes near to ``target``; pass over those that are too heavy."""
    reached = np.cumsum(weight)
    taken = list(range(int(np.searchsorted(reached, target, side="right"))))[:most]
    missing = target - (reached[len(taken) - 1] if taken else 0.0)
    for i in range(len(taken), len(weight)):
        if len(taken) == most or missing <= 0.5 * weight.min():
            break
        if 2 * missing > weight[i]:  # with it the total is nearer than without
            taken.append(i)
            missing -= weight[i]
    if len(taken) < least:
        taken = [int(weight.argmin())]
    return np.array(taken, dtype=np.int64)


def _smallest_part(divided: list[_Stratum]) -> IntArray:
    """Return the least that can validate anything: the lightest group of the heaviest stratum that has two."""
    divisible = [stratum for stratum in divided if len(stratum.weight) > 1]
    if divisible:
        heaviest = max(divisible, key=lambda stratum: float(stratum.weight.sum()))
        return heaviest.samples_of(np.array([heaviest.weight.argmin()]))
    # Every stratum is a few copies of one sample: nothing can keep copies together but an empty side.  (Where it is one
    # sample alone, nothing can be held out at all.)
    largest = max((stratum.samples for stratum in divided), key=len)
    return largest[: len(largest) // 2]


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
