"""Where a second thread begins to pay: one fit with one thread and with all, by the arithmetic of a step.

    python benchmarks/threads.py [--runs 5]

The threshold in ``sklreg/engine/threads.py`` comes from this table.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import numpy as np
import torch
from sklearn.datasets import make_classification

from sklreg import RegularizedMLPClassifier
from sklreg.engine import threads

CASES = [((64,), 128, 20), ((128,), 256, 30), ((256,), 256, 50), ((128, 128), 256, 30), ((256, 256), 256, 30),
         ((512, 512), 256, 50)]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
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
