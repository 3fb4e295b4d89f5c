"""Jobs for the engine, and a record of what it was asked to train."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import sklreg._batched
from sklreg.engine import AS_GIVEN, DenseRows, Hyperparameters, Job, OutputUnits, Samples, Static, count_batches

# Processes side by side (pytest -n) share the cores: threads that wait for one another hold all of them up.
if n_processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    torch.set_num_threads(max(1, torch.get_num_threads() // n_processes))


def make_samples(n, d, dtype=torch.float64, seed=0, weighted=False):
    """Draw samples of a noisy threshold on two features."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    y = (X[:, 0] + X[:, 1] ** 2 + 0.3 * noise > 0.5)[:, None]
    weight = None
    if weighted:
        weight = torch.rand(n, generator=generator, dtype=torch.float64) + 0.5
        weight = (weight / weight.mean()).to(dtype)
    return Samples(DenseRows(X.to(dtype)), y.to(dtype), weight)


@pytest.fixture
def use_threads():
    """Return what sets the number of torch's threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def side_by_side(monkeypatch):
    """Let stacks train side by side, each by a thread of its own, however short their operations are."""
    monkeypatch.setattr(sys.modules["sklreg.engine.plan"], "_FLOPS_FOR_A_THREAD_OF_ITS_OWN", 0.0)


@pytest.fixture
def make_job():
    """Return a maker of jobs; what is not given is the same for all of them."""
    shared = {}

    def make(
        *, dtype=torch.float64, n=203, d=10, hidden=(16, 8), normalization=None, solver="adam", schedule="constant",
        activation="relu", batch_size=50, data_seed=0, n_validation=64, weighted=False, seed=0, score=None,
        penalty_groups="weights", feature_groups=None, residual=False, input_map=AS_GIVEN, **hyperparameters,
    ):  # fmt: skip
        def samples(size, offset):
            key = (size, d, dtype, data_seed, offset, weighted)
            if key not in shared:
                shared[key] = make_samples(size, d, dtype, 2 * data_seed + offset, weighted)
            return shared[key]

        static = Static(
            n_features=d, hidden_layer_sizes=hidden, n_outputs=1, activation=activation, normalization=normalization,
            loss="binary_cross_entropy", solver=solver, schedule=schedule, n_batches=count_batches(n, batch_size),
            has_validation=n_validation > 0, weighted=weighted, is_sparse=False, dtype=dtype,
            device=torch.device("cpu"), penalty_groups=penalty_groups, feature_groups=feature_groups,
            residual=residual, scales_inputs=input_map.scale is not None,
            binned=input_map.bins and input_map.bins.feature,
        )  # fmt: skip
        return Job(
            static=static,
            hyperparameters=Hyperparameters(**{"learning_rate_init": 0.01, "max_iter": 6, **hyperparameters}),
            train_set=samples(n, 0),
            validation_set=samples(n_validation, 1) if n_validation else None,
            seed=seed,
            units=OutputUnits(torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)),
            initial_output=torch.zeros(1, dtype=dtype),
            score=score,
            input_map=input_map,
        )

    return make


def record_trainings(monkeypatch, what):
    """Return a list that gets ``what`` of the jobs of every call of the engine."""
    train, taken = sklreg._batched.train, []

    def recording(jobs, *args):
        taken.append(what(jobs))
        return train(jobs, *args)

    monkeypatch.setattr(sklreg._batched, "train", recording)
    return taken


@pytest.fixture
def trainings(monkeypatch):
    """Return how many fits were trained in each call of the engine."""
    return record_trainings(monkeypatch, len)


@pytest.fixture
def trained_jobs(monkeypatch):
    """Return the jobs of every call of the engine."""
    return record_trainings(monkeypatch, list)


class Done(NamedTuple):
    """How a script ended, by the names of ``subprocess``."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run_script(capsys):
    """Return a function that runs the ``main`` of a script in this process, which spares the imports."""

    def call(script: Path, *arguments: str | Path) -> Done:
        main = runpy.run_path(str(script))["main"]
        try:
            returncode = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            returncode = stop.code
        return Done(returncode, *capsys.readouterr())

    return call
