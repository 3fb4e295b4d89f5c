"""How wide a stack should be: the time that one model takes for an epoch, by the number of models trained together.

    python benchmarks/stack_width.py [--runs 3] [--models 120]

Threads share the work as in a batched search.  The bounds in ``sklreg/engine/plan.py`` come from this table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from sklearn.datasets import make_classification

import sklreg._base
from sklreg import RegularizedMLPClassifier
from sklreg.engine import Job, plan, train

CASES = [((64,), 1_600, 20, 128, 10), ((256, 256), 8_000, 30, 256, 1)]  # hidden, samples, features, batch, epochs
WIDTHS = (1, 4, 8, 15, 30, 60, 120)


class CaughtError(Exception):
    """Carries a job out of the fit that made it."""


def job_of(hidden: tuple[int, ...], n: int, d: int, batch: int, epochs: int, dtype: str) -> Job:
    """Return what a fit hands to the engine."""
    X, y = make_classification(n, d, n_informative=d // 2, random_state=0)
    model = RegularizedMLPClassifier(
        hidden,
        activation="relu",
        solver="adam",
        batch_size=batch,
        max_iter=epochs,
        early_stopping=False,
        dtype=dtype,
        random_state=0,
    )

    def catch(jobs: Sequence[Job]) -> Any:
        raise CaughtError(jobs[0])

    train_all_here, sklreg._base.train_all_here = sklreg._base.train_all_here, catch
    try:
        model.fit(X, y)
    except CaughtError as caught:
        job: Job = caught.args[0]
        return job
    finally:
        sklreg._base.train_all_here = train_all_here
    raise AssertionError("the fit handed nothing in")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--models", type=int, default=120)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.models} models, medians of "
          f"{arguments.runs} runs; ms that a model takes for an epoch, by the width of a stack")  # fmt: skip
    print(f"{'hidden':>12} {'dtype':>8} " + "".join(f"{width:>8}" for width in WIDTHS))
    plan._BYTES_ON_CPU = 2**62
    for hidden, n, d, batch, epochs in CASES:
        for dtype in ("float32", "float64"):
            job = job_of(hidden, n, d, batch, epochs, dtype)
            rates = [0.0, 0.2, 0.4]
            jobs = [
                replace(job, hyperparameters=job.hyperparameters._replace(l2=1e-4 * (k + 1), dropout=rates[k % 3]))
                for k in range(arguments.models)
            ]
            seconds: dict[int, list[float]] = {width: [] for width in WIDTHS}
            for _ in range(arguments.runs):
                for width in WIDTHS:
                    plan._MOST_ROWS_ON_CPU = width
                    start = time.perf_counter()
                    train(jobs)
                    seconds[width].append(time.perf_counter() - start)
            cells = [1000 * statistics.median(s) / len(jobs) / epochs for s in seconds.values()]
            print(f"{hidden!s:>12} {dtype:>8} " + "".join(f"{cell:8.2f}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
