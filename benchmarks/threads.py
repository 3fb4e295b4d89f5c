"""Where a second thread begins to pay, by the arithmetic of a step.

    python benchmarks/threads.py [--runs 5]               # one fit with one thread and with all
    python benchmarks/threads.py --together [--runs 5]    # many models: one thread, all in one stack, a stack for each

The thresholds in ``sklreg/engine/threads.py`` and ``sklreg/engine/plan.py`` come from these tables.  The second one
looks otherwise where another program keeps a core busy; try it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import make_classification
from stack_width import job_of

from sklreg import RegularizedMLPClassifier
from sklreg.engine import plan, threads, train

CASES = [((64,), 128, 20), ((128,), 256, 30), ((256,), 256, 50), ((128, 128), 256, 30), ((256, 256), 256, 30),
         ((512, 512), 256, 50)]  # fmt: skip


STACKS = [((16,), 1_600, 20, 32, 5), ((64,), 1_600, 20, 128, 20), ((64, 64), 1_600, 20, 128, 10),
          ((256,), 4_000, 50, 256, 5)]  # fmt: skip


def train_together(runs: int) -> None:
    """Print what a model takes for an epoch, by how the threads share the work on many."""
    n_threads = torch.get_num_threads()
    ways = {"one thread": (1, math.inf), "one stack": (n_threads, math.inf), "side by side": (n_threads, 0.0)}
    print(f"torch {torch.__version__}, {n_threads} threads; ms that a model takes for an epoch, medians of {runs} runs")
    print(f"{'hidden':>12} {'batch':>6} {'models':>7} {'Mflop a step':>13}" + "".join(f"{way:>14}" for way in ways))
    for hidden, n, d, batch, epochs in STACKS:
        job = job_of(hidden, n, d, batch, epochs, "float32")
        for n_models in (8, 16, 32, 64, 128):
            jobs = [replace(job, hyperparameters=job.hyperparameters._replace(l2=1e-4 * k)) for k in range(n_models)]
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(runs):
                for way, (n_used, plan._FLOPS_FOR_A_THREAD_OF_ITS_OWN) in ways.items():
                    torch.set_num_threads(n_used)
                    start = time.perf_counter()
                    train(jobs)
                    seconds[way].append(time.perf_counter() - start)
            torch.set_num_threads(n_threads)
            cells = [1000 * statistics.median(s) / n_models / epochs for s in seconds.values()]
            mflop = n_models * plan.flops_of_step(job) / 1e6
            print(f"{hidden!s:>12} {batch:>6} {n_models:>7} {mflop:>13.0f}" + "".join(f"{c:14.2f}" for c in cells),
                  flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--together", action="store_true")
    arguments = parser.parse_args()
    runs = arguments.runs
    if arguments.together:
        train_together(runs)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {runs} runs")
    print(f"{'hidden':>12} {'batch':>6} {'Mflop a step':>13} {'one thread s':>13} {'all threads s':>14} {'ratio':>6}")
    for hidden, batch, d in CASES:
        X, y = make_classification(4096, d, n_informative=d // 2, random_state=0)
        units = [d, *hidden, 1]
        flops = 6 * batch * int(np.dot(units[:-1], units[1:]))
        model = RegularizedMLPClassifier(
            hidden, activation="relu", solver="adam", batch_size=batch, max_iter=5, early_stopping=False,
            dtype="float32", random_state=0,
        )  # fmt: skip
        times: dict[float, list[float]] = {math.inf: [], 1e-9: []}
        for _ in range(runs + 1):
            for threshold, seconds in times.items():
                threads.FLOPS_FOR_ANOTHER_THREAD = threshold
                start = time.perf_counter()
                model.fit(X, y)
                seconds.append(time.perf_counter() - start)
        one, several = (statistics.median(seconds[1:]) for seconds in times.values())
        print(f"{hidden!s:>12} {batch:>6} {flops / 1e6:>13.1f} {one:>13.3f} {several:>14.3f} {one / several:>6.2f}")


if __name__ == "__main__":
    main()
