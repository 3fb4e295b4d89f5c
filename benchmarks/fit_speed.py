"""One fit against scikit-learn's MLP and skorch on the same work: network, epochs, batches, optimizer, precision.

    python benchmarks/fit_speed.py [--runs 5]

Every case runs all in turn, ``runs`` times, and reports medians and the ratio of medians to ours: above 1, ours is
faster.  scikit-learn's own stopping is switched off, and skorch's validation split and printing.  "as it comes" is ours
with its own defaults for all else (activation, optimizer, regularization): more work in each step.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
import warnings
from itertools import pairwise

import numpy as np
import sklearn
import skorch
import torch
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetBinaryClassifier

from sklreg import RegularizedMLPClassifier

CASES = [
    # hidden layers, samples, features, batch size, epochs, dtype
    ((64,), 2_000, 20, 128, 20, "float32"),
    ((64,), 2_000, 20, 128, 20, "float64"),
    ((100,), 10_000, 30, 200, 10, "float32"),
    ((256, 256), 10_000, 30, 256, 5, "float32"),
    ((256, 256), 10_000, 30, 256, 5, "float64"),
]


class Net(torch.nn.Module):
    """The network as a skorch user would write it."""

    def __init__(self, n_features: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        units = [n_features, *hidden]
        layers: list[torch.nn.Module] = []
        for n_in, n_out in pairwise(units):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(units[-1], 1))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (n,)."""
        return self.layers(X).squeeze(-1)


def contestants(hidden, d, batch, epochs, dtype):
    """Return what is to be fitted, by name."""
    same = {"batch_size": batch, "max_iter": epochs, "early_stopping": False, "random_state": 0, "device": "cpu"}
    made = {
        "sklreg": RegularizedMLPClassifier(
            hidden, activation="relu", weight_decay=0.0, l2=1e-4, solver="adam", **same
        ),
        "as it comes": RegularizedMLPClassifier(hidden, **same),
        "scikit-learn": MLPClassifier(
            hidden, alpha=1e-4, batch_size=batch, max_iter=epochs, n_iter_no_change=epochs + 1, tol=0.0, random_state=0
        ),
    }  # fmt: skip
    if dtype == "float32":
        made["skorch"] = NeuralNetBinaryClassifier(
            Net, module__n_features=d, module__hidden=hidden, optimizer=torch.optim.Adam, optimizer__weight_decay=1e-4,
            lr=1e-3, max_epochs=epochs, batch_size=batch, train_split=None, iterator_train__shuffle=True, verbose=0,
        )  # fmt: skip
    return made


def seconds(estimator, X, y) -> float:
    """Time one fit."""
    start = time.perf_counter()
    estimator.fit(X, y)
    return time.perf_counter() - start


def import_seconds(runs: int) -> tuple[float, float]:
    """Time importing torch and scikit-learn's parts that we use, without and with sklreg after them."""
    code = (
        "import time, sys; import torch, sklearn.base, sklearn.metrics, scipy.special; s = time.perf_counter();"
        "import sklreg; print(time.perf_counter() - s)"
    )
    times = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
             for _ in range(runs)]  # fmt: skip
    return statistics.median(times), max(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"skorch {skorch.__version__}, {torch.get_num_threads()} threads; medians of {runs} runs"
    )
    print(f"{'hidden':>12} {'n x d':>12} {'batch':>6} {'epochs':>6} {'dtype':>8} "
          f"{'sklreg s':>9} {'scikit-learn s':>15} {'ratio':>6} {'skorch s':>9} {'ratio':>6} "
          f"{'as it comes s':>14}")  # fmt: skip
    for hidden, n, d, batch, epochs, dtype in CASES:
        X, y = make_classification(n, d, n_informative=d // 2, random_state=0)
        X = X.astype(dtype)
        y_of = {"skorch": y.astype(np.float32)}
        times: dict[str, list[float]] = {}
        for _ in range(runs + 1):
            for name, estimator in contestants(hidden, d, batch, epochs, dtype).items():
                times.setdefault(name, []).append(seconds(estimator, X, y_of.get(name, y)))
        median = {name: statistics.median(t[1:]) for name, t in times.items()}  # the first run warms up
        row = f"{hidden!s:>12} {f'{n} x {d}':>12} {batch:>6} {epochs:>6} {dtype:>8} {median['sklreg']:>9.3f}"
        for name, width in (("scikit-learn", 15), ("skorch", 9)):
            if name in median:
                row += f" {median[name]:>{width}.3f} {median[name] / median['sklreg']:>6.2f}"
            else:
                row += f" {'-':>{width}} {'-':>6}"
        print(f"{row} {median['as it comes']:>14.3f}", flush=True)
    median_import, worst = import_seconds(runs)
    print(f"import sklreg adds {median_import:.3f} s (median; worst {worst:.3f} s) to importing torch and scikit-learn")


if __name__ == "__main__":
    main()
