"""What zeros pay: size on disk and time to predict, before and after ``prune`` and ``sparsify``.

    python benchmarks/pruning.py [--runs 7] [--rows 10000]

Networks of two hidden layers of 256 units on 200 features, 10 of which matter, each fitted with an elastic net whose
zeros are single weights, whole features, or whole units.  Sizes are those of pickles; times are medians over ``--runs``
of predictions for ``--rows`` rows, in turns.
"""

from __future__ import annotations

import argparse
import pickle
import time
from copy import deepcopy
from statistics import median

import numpy as np
import torch
from sklearn.datasets import make_classification

from sklreg import ElasticNetMLPClassifier

ALPHAS = {"weights": 0.003, "features": 0.02, "neurons": 0.003, "hierarchical": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    X, y = make_classification(
        2_000 + arguments.rows, 200, n_informative=10, n_redundant=0, class_sep=1.5, random_state=0
    )
    X = X.astype(np.float32)
    X_new, y_new = X[2_000:], y[2_000:]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {arguments.rows} rows, medians of "
          f"{arguments.runs} runs")  # fmt: skip
    print(f"{'penalty_groups':<16}{'network':<12}{'layers':<26}{'zeros':>7}{'accuracy':>10}{'KiB':>9}{'ms':>8}"
          f"{'largest change':>16}")  # fmt: skip
    for kind, alpha in ALPHAS.items():
        model = ElasticNetMLPClassifier(
            (256, 256), alpha=alpha, l1_ratio=1.0, penalty_groups=kind, early_stopping=False, penalty_warmup=0.3,
            learning_rate="cosine", learning_rate_init=0.003, max_iter=60, random_state=0,
        ).fit(X[:2_000], y[:2_000])  # fmt: skip
        networks = {"as trained": model, "pruned": model.prune(), "sparse": deepcopy(model).sparsify()}
        networks["both"] = model.prune().sparsify()
        times: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(arguments.runs):
            for name, network in networks.items():
                start = time.perf_counter()
                network.predict_proba(X_new)
                times[name].append(1000 * (time.perf_counter() - start))
        expected = model.predict_proba(X_new)
        for name, network in networks.items():
            layers = " ".join("x".join(map(str, weights.shape)) for weights in network.coefs_)
            change = np.abs(network.predict_proba(X_new) - expected).max()
            print(f"{kind:<16}{name:<12}{layers:<26}{network.sparsity_:>7.3f}{network.score(X_new, y_new):>10.3f}"
                  f"{len(pickle.dumps(network)) / 1024:>9.1f}{median(times[name]):>8.1f}{change:>16.1e}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
