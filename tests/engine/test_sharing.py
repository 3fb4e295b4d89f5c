"""Equal data of different jobs is held once."""

from __future__ import annotations

import gc
from dataclasses import replace
from weakref import ref

import torch

from sklreg.engine import Samples, share_equal_samples


def copied(job):
    """Return the job as another fit to the same data would make it."""
    return replace(job, train_set=job.train_set.map(torch.clone), validation_set=job.validation_set.map(torch.clone))


def test_equal_data_becomes_the_same_memory(make_job):
    first = share_equal_samples(make_job(weighted=True))
    for other in (copied(first), replace(copied(first), seed=3)):
        shared = share_equal_samples(other)
        assert shared.train_set.identity == first.train_set.identity
        assert shared.validation_set.identity == first.validation_set.identity


def test_different_data_stays_apart(make_job):
    one, other = (share_equal_samples(make_job(data_seed=s)) for s in (0, 1))
    assert not set(one.train_set.identity) & set(other.train_set.identity)
    nearly = copied(one)
    nearly.train_set.X.values[-1, -1] += 1e-12
    assert share_equal_samples(nearly).train_set.X.values is nearly.train_set.X.values


def test_targets_with_equal_sums_do_not_hide_each_other(make_job):
    """Of stratified folds, all targets have as many ones."""
    job = make_job()
    folds = [job.train_set.y.roll(k) for k in range(5)]

    def share(y):
        train_set = Samples(job.train_set.X, y.clone(), None)
        return share_equal_samples(replace(job, train_set=train_set))

    held = [share(y) for y in folds]
    again = [share(y) for y in folds]
    assert [a.train_set.y is b.train_set.y for a, b in zip(held, again, strict=True)] == [True] * 5
    assert len({id(a.train_set.y) for a in held}) == 5


def test_data_is_let_go_of_with_its_last_job(make_job):
    job = share_equal_samples(copied(make_job()))
    tensor = ref(job.train_set.X.values)
    assert tensor() is not None
    del job
    gc.collect()
    assert tensor() is None
