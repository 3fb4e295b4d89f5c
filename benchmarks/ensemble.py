"""What an ensemble of several networks costs and gains: one fit with ``n_members``, and as many single fits.

    python benchmarks/ensemble.py [--members 1 2 5 10] [--runs 5]

Every run takes another split in halves of one table, trains with early stopping, and judges on the other half.  Medians
of times, means of losses.  The table is scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from sklreg import RegularizedMLPClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")
    seconds: dict[int, list[float]] = {n: [] for n in arguments.members}
    singly: dict[int, list[float]] = {n: [] for n in arguments.members}
    losses: dict[int, list[float]] = {n: [] for n in arguments.members}
    accuracies: dict[int, list[float]] = {n: [] for n in arguments.members}
    for run in range(arguments.runs):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=run)
        for n in arguments.members:
            model = RegularizedMLPClassifier(n_members=n, random_state=run)
            start = time.perf_counter()
            model.fit(X_train, y_train)
            seconds[n].append(time.perf_counter() - start)
            losses[n].append(log_loss(y_test, model.predict_proba(X_test)))
            accuracies[n].append(accuracy_score(y_test, model.predict(X_test)))
            start = time.perf_counter()
            for k in range(n):
                RegularizedMLPClassifier(random_state=run + 1000 * k).fit(X_train, y_train)
            singly[n].append(time.perf_counter() - start)

    print(f"digits, {len(X_train)} samples, torch {torch.__version__}, {torch.get_num_threads()} threads, "
          f"{arguments.runs} runs")  # fmt: skip
    print(f"{'n_members':>10}{'seconds':>10}{'of one':>8}{'singly':>10}{'ratio':>7}{'log loss':>10}{'accuracy':>10}")
    one = statistics.median(seconds[arguments.members[0]])
    for n in arguments.members:
        together, apart = statistics.median(seconds[n]), statistics.median(singly[n])
        print(f"{n:>10}{together:>10.2f}{together / one:>8.2f}{apart:>10.2f}{apart / together:>7.1f}"
              f"{statistics.mean(losses[n]):>10.4f}{statistics.mean(accuracies[n]):>10.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
