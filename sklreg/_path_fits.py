"""Fits at many strengths of the penalty and to many parts of the samples: all are rows of one computation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sklreg._batched import hold_once, train_all_here
from sklreg._table import Table
from sklreg._warnings import warn_user
from sklreg.elastic_net import ElasticNetMixin
from sklreg.engine import Job

Array = NDArray[Any]


class PathFits(NamedTuple):
    """Fits to the same samples with the same seed, at several strengths of the penalty."""

    model: ElasticNetMixin  # has learnt what features and targets there are
    job: Job
    strengths: list[tuple[float, float]]  # alpha and l1_ratio

    @classmethod
    def of(cls, model: ElasticNetMixin, table: Table, seed: int, strengths: Sequence[tuple[float, float]]) -> PathFits:
        """Prepare the fits."""
        split = model._split(table, None, None, None, seed)
        job = hold_once(model._first_job(*split, seed))
        model._check_watched(job.score, split[1])
        return cls(model, job, list(strengths))

    def models(self) -> list[ElasticNetMixin]:
        """Return an estimator for each, not yet fitted."""
        models = []
        for alpha, l1_ratio in self.strengths:
            model = copy(self.model)
            model.alpha, model.l1_ratio = float(alpha), float(l1_ratio)
            models.append(model)
        return models


def on_part(model: ElasticNetMixin, table: Table) -> tuple[ElasticNetMixin, Table]:
    """Return a model of a part of the samples, and the part with the weight that its classes have there."""
    part = copy(model)
    part._learn_class_weight(table.targets, table.weight)
    return part, part._weigh_classes(table)


def fit_together(groups: Sequence[PathFits], owner: str) -> list[list[ElasticNetMixin]]:
    """Train all rows of all groups in one call; return the fitted estimators of each group."""
    models = [group.models() for group in groups]
    jobs = [
        replace(group.job, hyperparameters=model._hyperparameters(single_pass=False, start=None))
        for group, members in zip(groups, models, strict=True)
        for model in members
    ]
    start = time.perf_counter()
    results = train_all_here(jobs)
    if any(group.model.verbose for group in groups):
        print(f"[{owner}] {len(jobs)} fits in {time.perf_counter() - start:.2f} s")
    left = iter(results)
    for group, members in zip(groups, models, strict=True):
        for model in members:
            model._set_fitted(next(left), group.job.units)
    fitted = [model for members in models for model in members]
    diverged = sorted({model.alpha for model, result in zip(fitted, results, strict=True) if result.diverged})
    if diverged:
        warn_user(
            f"{owner}: {sum(result.diverged for result in results)} of {len(results)} fits diverged, with alpha from "
            f"{diverged[0]:.3g} to {diverged[-1]:.3g}; they are as they were after their best epoch. Lower "
            "learning_rate_init, scale the inputs, or set max_grad_norm.",
            ConvergenceWarning,
        )
    return models
