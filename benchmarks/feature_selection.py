"""Fifty features out of hundreds or thousands: how good they are, and how long a path takes, against other selectors.

    python benchmarks/feature_selection.py --data DIR --results FILE      # select and judge; goes on where it stopped
    python benchmarks/feature_selection.py --results FILE --table         # print what is there
    python benchmarks/feature_selection.py --data DIR --time              # the path's time against LassoNet's

DIR holds tables ``NAME/data.parquet`` with a last column ``target``.  The protocol is LassoNet's (Lemhadri et al.,
2021): select at most 50 features on the training part, train a model anew on these alone, and take its accuracy on the
test part.  The models are extremely randomized trees, as in its second table, and scikit-learn's MLPClassifier.
LassoNet takes the first point of its path with at most 50 features.  Of madelon's features 20 are known to matter: the
last table counts those among the best 20 (of what LassoNet kept, those with the greatest linear weights).

LassoNet runs with its default network of 100 hidden units, whole-set batches and patience, with path steps of 1.05 in
place of 1.02, and until 50 features are left, all to its advantage in time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SETS = ("fs_madelon", "fs_isolet", "fs_pcmac", "fs_glioma", "fs_allaml", "fs_leukemia")
N_FEATURES = 50
FEW_SAMPLES = 100
_L1_PATH = 30


def load(data: Path, name: str) -> tuple[Array, Array, list[int]]:
    """Return inputs, classes, and the features that are known to matter, if any."""
    import pandas as pd

    table = pd.read_parquet(data / name / "data.parquet")
    meta = json.loads((data / name / "meta.json").read_text())
    X = table.iloc[:, :-1].to_numpy(dtype=np.float32)
    return X, np.unique(table["target"], return_inverse=True)[1], meta.get("relevant_features", [])


# Selectors: each returns features, the best first --------------------------------------------------------------------


def path_of(groups: str) -> Callable[[Array, Array, int], Array]:
    def select(X: Array, y: Array, seed: int) -> Array:
        path = our_path(X, y, groups, seed)
        return path.select(min(N_FEATURES, int(np.count_nonzero(path.entry_alphas))))

    return select


def our_path(X: Array, y: Array, groups: str, seed: int, **parameters: Any) -> Any:
    from sklreg import elastic_net_mlp_path

    chosen = {"l1_ratio": 1.0, "eps": 0.01, "alphas": 50, "batch_size": 256, "max_iter": 100} | parameters
    return elastic_net_mlp_path(X, y, loss="log_loss", penalty_groups=groups, random_state=seed, **chosen)


def stability(X: Array, y: Array, seed: int) -> Array:
    from sklreg import ElasticNetMLPClassifier, StabilitySelector

    model = ElasticNetMLPClassifier(
        l1_ratio=1.0, penalty_groups="hierarchical", early_stopping=False, penalty_warmup=0.3, learning_rate="cosine",
        batch_size=256, max_iter=50, random_state=seed,
    )  # fmt: skip
    selector = StabilitySelector(model, n_resamples=20, n_features_per_fit=N_FEATURES, random_state=seed).fit(X, y)
    return np.argsort(-selector.selection_probabilities_, kind="stable")[:N_FEATURES]


class EnoughError(Exception):
    """Ends a path."""


def lassonet(X: Array, y: Array, seed: int) -> Array:
    from lassonet import LassoNetClassifier

    model = LassoNetClassifier(
        path_multiplier=1.05, M=10, val_size=0.125, verbose=0, random_state=seed, torch_seed=seed
    )

    def watch(model: Any, history: list[Any]) -> None:
        if history[-1].selected.sum() <= N_FEATURES:
            raise EnoughError

    with contextlib.suppress(EnoughError):
        model.path(X, y, callback=watch)
    kept = np.flatnonzero(model.model.input_mask().numpy())
    strength = model.model.skip.weight.detach().norm(dim=0).numpy()
    return kept[np.argsort(-strength[kept], kind="stable")]


def l1_logistic(X: Array, y: Array, seed: int) -> Array:
    """Order features by where they enter the path of L1 logistic regressions, one against the rest."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import l1_min_c

    order: list[int] = []
    for C in l1_min_c(X, y, loss="log") * np.geomspace(1, 1e3, _L1_PATH):
        model = OneVsRestClassifier(LogisticRegression(C=C, l1_ratio=1.0, solver="liblinear", random_state=seed))
        strength = sum(np.abs(single.coef_[0]) for single in model.fit(X, y).estimators_ if hasattr(single, "coef_"))
        new = [int(j) for j in np.argsort(-np.asarray(strength)) if strength[j] > 0 and j not in order]
        order += new
        if len(order) >= N_FEATURES:
            break
    return np.array(order[:N_FEATURES])


def mutual_information(X: Array, y: Array, seed: int) -> Array:
    from sklearn.feature_selection import mutual_info_classif

    return np.argsort(-mutual_info_classif(X, y, random_state=seed))[:N_FEATURES]


def forest(X: Array, y: Array, seed: int) -> Array:
    from sklearn.ensemble import RandomForestClassifier

    return np.argsort(-RandomForestClassifier(500, random_state=seed).fit(X, y).feature_importances_)[:N_FEATURES]


def everything(X: Array, y: Array, seed: int) -> Array:
    return np.arange(X.shape[1])


SELECTORS: dict[str, Callable[[Array, Array, int], Array]] = {
    "sklreg, hierarchical": path_of("hierarchical"),
    "sklreg, features": path_of("features"),
    "sklreg, stability": stability,
    "LassoNet": lassonet,
    "L1 logistic": l1_logistic,
    "mutual information": mutual_information,
    "random forest": forest,
    "all features": everything,
}

# Judging ------------------------------------------------------------------------------------------------------------


def accuracies(X: Array, y: Array, X_test: Array, y_test: Array, seed: int) -> tuple[float, float]:
    """Return the test accuracies of trees and of a network."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.neural_network import MLPClassifier

    models = ExtraTreesClassifier(300, random_state=seed), MLPClassifier(random_state=seed)
    trees, network = (float(model.fit(X, y).score(X_test, y_test)) for model in models)
    return trees, network


def judge(data: Path, results: Path, sets: list[str], selectors: list[str], n_splits: int) -> None:
    from sklearn.model_selection import StratifiedShuffleSplit
    from sklearn.preprocessing import StandardScaler

    done = {(r["set"], r["selector"], r["split"]) for r in read(results)}
    for name in sets:
        X, y, relevant = load(data, name)
        n = n_splits if len(X) > FEW_SAMPLES else 2 * n_splits
        splitter = StratifiedShuffleSplit(n, test_size=0.25, random_state=0)
        for split, (train, test) in enumerate(splitter.split(X, y)):
            scaler = StandardScaler().fit(X[train])
            X_train, X_test = scaler.transform(X[train]), scaler.transform(X[test])
            for selector in selectors:
                if (name, selector, split) in done:
                    continue
                start = time.perf_counter()
                chosen = SELECTORS[selector](X_train, y[train], split)
                seconds = time.perf_counter() - start
                trees, network = accuracies(X_train[:, chosen], y[train], X_test[:, chosen], y[test], split)
                record = {"set": name, "selector": selector, "split": split, "n": len(chosen), "seconds": seconds,
                          "trees": trees, "network": network}  # fmt: skip
                if relevant:
                    record["true"] = len(set(chosen[: len(relevant)].tolist()) & set(relevant)) / len(relevant)
                with results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(record, flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(results: Path) -> None:
    records = read(results)
    sets = [name for name in SETS if any(r["set"] == name for r in records)]
    titles = {
        "trees": "Accuracy of trees on 50 features, % (± standard deviation over so many splits)",
        "network": "Accuracy of MLPClassifier on 50 features, %",
        "seconds": "Seconds to select",
    }
    for measure, title in titles.items():
        print(title)
        print(f"{'':22}" + "".join(f"{name.removeprefix('fs_'):>16}" for name in sets) + f"{'mean':>9}")
        for selector in SELECTORS:
            cells, means = [], []
            for name in sets:
                values = [r[measure] for r in records if (r["set"], r["selector"]) == (name, selector)]
                factor = 1 if measure == "seconds" else 100
                if values:
                    means.append(factor * mean(values))
                    spread = factor * stdev(values) if len(values) > 1 else 0.0
                    cells.append(f"{means[-1]:.1f} ± {spread:.1f} ({len(values)})")
                else:
                    cells.append("-")
            total = f"{mean(means):9.2f}" if len(means) == len(sets) else f"{'-':>9}"
            print(f"{selector:22}" + "".join(f"{cell:>16}" for cell in cells) + total)
        print()
    print("Share of madelon's 20 features among the best 20")
    for selector in SELECTORS:
        found = [r["true"] for r in records if r["selector"] == selector and "true" in r]
        if found and selector != "all features":
            print(f"{selector:22}{mean(found):6.2f}")


# Time ---------------------------------------------------------------------------------------------------------------


def compare_times(data: Path, n_alphas: int, epochs: int, runs: int) -> None:
    """Time paths of as many alphas and epochs; LassoNet's first, dense network counts as one more alpha."""
    import torch
    from lassonet import LassoNetClassifier
    from sklearn.preprocessing import StandardScaler

    print(f"{n_alphas} alphas, {epochs} epochs each, {torch.get_num_threads()} threads; medians of {runs} runs")
    print(f"{'':12}{'n x d':>14}{'batch':>7}{'sklreg s':>10}{'LassoNet s':>12}{'ratio':>7}")
    for name in SETS[:2]:
        X, y, _ = load(data, name)
        X = StandardScaler().fit_transform(X)
        for batch in (256, len(X)):
            ours, theirs = [], []
            for run in range(runs):
                start = time.perf_counter()
                our_path(X, y, "hierarchical", run, alphas=n_alphas, max_iter=epochs, batch_size=batch)
                ours.append(time.perf_counter() - start)
                model = LassoNetClassifier(
                    M=10, batch_size=None if batch == len(X) else batch, n_iters=epochs, patience=None, val_size=0,
                    lambda_seq=np.geomspace(1e-3, 1e-2, n_alphas).tolist(), verbose=0, torch_seed=run,
                )  # fmt: skip
                start = time.perf_counter()
                history = model.path(X, y, disable_lambda_warning=True)
                assert len(history) == n_alphas + 1, "the path ended early"
                theirs.append((time.perf_counter() - start) * n_alphas / (n_alphas + 1))
            ratio = np.median(theirs) / np.median(ours)
            print(f"{name.removeprefix('fs_'):12}{len(X):>7} x {X.shape[1]:4}{batch:>7}{np.median(ours):>10.1f}"
                  f"{np.median(theirs):>12.1f}{ratio:>7.1f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path("feature_selection.jsonl"))
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--selectors", nargs="+", default=list(SELECTORS), choices=list(SELECTORS))
    parser.add_argument("--splits", type=int, default=3, help="twice as many for sets of less than 100 samples")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--alphas", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # unconverged networks and empty models on the way are part of it
    if arguments.table:
        table(arguments.results)
    elif arguments.data is None:
        parser.error("--data is missing: the folder of the tables")
    elif arguments.time:
        compare_times(arguments.data, arguments.alphas, arguments.epochs, arguments.runs)
    else:
        judge(arguments.data, arguments.results, arguments.sets, arguments.selectors, arguments.splits)


if __name__ == "__main__":
    main()
