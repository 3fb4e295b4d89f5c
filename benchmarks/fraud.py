"""Fraud: a search over networks, trained together, against a search over boosted trees, by average precision.

    python benchmarks/fraud.py --data DIR --results FILE      # search and judge; goes on where it stopped
    python benchmarks/fraud.py --results FILE --table         # print what is there

DIR holds tables as for ``quality.py``, and inputs are prepared as there; of each split a quarter of the rows is the
test part.  Every model is what a random search finds: as many candidates, the same three folds, the average precision
of their left-out parts.  Networks stop early on average precision, on a tenth of what they are given.  The network that
is found is then fitted once, and as an ensemble of eight, which trains as one computation; trees are ensembles anyway.

Average precision is that of the table's own share of fraud (``creditcard_ulb_rep`` has all frauds of the original and
one honest row in 6.62).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from quality import Data, encoded, load, read

Array = NDArray[Any]
TABLES = ("creditcard_ulb_rep", "vehicle_claim_fraud")
OURS, ENSEMBLE = "sklreg", "sklreg, 8 members"
N_FOLDS = 3
N_MEMBERS = 8


class Found(NamedTuple):
    """A model that a search found, refitted on the whole training part."""

    name: str
    model: Any
    parameters: dict[str, Any]
    seconds: float  # of the search and of the fit


# Searches: each takes a split, its number and the number of candidates ------------------------------------------------


def random_search(model: Any, space: dict[str, Any], seed: int, n_candidates: int) -> Any:
    from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold

    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    return RandomizedSearchCV(
        model, space, n_iter=n_candidates, scoring="average_precision", cv=folds, refit=False, random_state=seed
    )


def found(name: str, model: Any, parameters: dict[str, Any], data: Data, start: float, **further: Any) -> Found:
    from sklearn.base import clone

    model = clone(model).set_params(**parameters, **further).fit(data.X, data.y)
    return Found(name, model, parameters, time.perf_counter() - start)


def networks(data: Data, seed: int, n_candidates: int) -> Iterator[Found]:
    from scipy.stats import loguniform

    from sklreg import OffOr, RegularizedMLPClassifier, batched_training

    space = {
        "hidden_layer_sizes": [(128, 128), (256, 256), (256,)],
        "activation": ["gelu", "relu"],
        "learning_rate_init": loguniform(3e-3, 1.5e-2),
        "weight_decay": loguniform(0.1, 2.0),
        "dropout": OffOr([0.1, 0.2, 0.3]),
        "input_dropout": OffOr([0.05, 0.1, 0.2]),
    }
    network = RegularizedMLPClassifier(scoring="average_precision", max_iter=100, dtype="float32", random_state=seed)
    model = encoded(network)
    prefix = model.steps[-1][0]
    search = random_search(model, {f"{prefix}__{name}": values for name, values in space.items()}, seed, n_candidates)
    start = time.perf_counter()
    with batched_training():
        search.fit(data.X, data.y)
    searched = time.perf_counter()
    yield found(OURS, model, search.best_params_, data, start)
    ensemble_start = start + time.perf_counter() - searched  # its own fit, and not the other's
    yield found(ENSEMBLE, model, search.best_params_, data, ensemble_start, **{f"{prefix}__n_members": N_MEMBERS})


def hist_gradient_boosting(data: Data, seed: int, n_candidates: int) -> Iterator[Found]:
    from scipy.stats import loguniform, randint
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(categorical_features="from_dtype", early_stopping=False, random_state=seed)
    space = {
        "learning_rate": loguniform(0.01, 0.2),
        "max_iter": [100, 200, 400, 800],
        "max_leaf_nodes": [4, 8, 16, 31, 63],
        "min_samples_leaf": randint(5, 100),
        "l2_regularization": loguniform(1e-3, 10),
        "max_features": [0.3, 0.5, 1.0],
    }
    yield from trees("HistGradientBoosting", model, space, data, seed, n_candidates)


def xgboost(data: Data, seed: int, n_candidates: int) -> Iterator[Found]:
    from scipy.stats import loguniform, uniform
    from xgboost import XGBClassifier

    model = XGBClassifier(enable_categorical=True, n_jobs=1, random_state=seed)
    space = {
        "learning_rate": loguniform(0.01, 0.2),
        "n_estimators": [100, 200, 400, 800],
        "max_depth": [2, 3, 4, 6, 8],
        "min_child_weight": loguniform(1, 30),
        "reg_lambda": loguniform(1e-2, 10),
        "subsample": uniform(0.6, 0.4),
        "colsample_bytree": uniform(0.3, 0.7),
    }
    yield from trees("XGBoost", model, space, data, seed, n_candidates)


def trees(name: str, model: Any, space: dict[str, Any], data: Data, seed: int, n_candidates: int) -> Iterator[Found]:
    search = random_search(model, space, seed, n_candidates)
    start = time.perf_counter()
    search.fit(data.X, data.y)
    yield found(name, model, search.best_params_, data, start)


Search = Callable[[Data, int, int], Iterator[Found]]
# What each search finds, and the search.
SEARCHES: dict[tuple[str, ...], Search] = {
    (OURS, ENSEMBLE): networks,
    ("HistGradientBoosting",): hist_gradient_boosting,
    ("XGBoost",): xgboost,
}


# Searching and judging ------------------------------------------------------------------------------------------------


def judge(search: Search, data: Data, seed: int, n_candidates: int) -> Iterator[dict[str, Any]]:
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model, parameters, seconds in search(data, seed, n_candidates):
            p = np.asarray(model.predict_proba(data.X_test)[:, 1], float)
            yield {
                "model": name,
                "average_precision": float(average_precision_score(data.y_test, p)),
                "roc_auc": float(roc_auc_score(data.y_test, p)),
                "log_loss": float(log_loss(data.y_test, p)),
                "seconds": seconds,
                "parameters": parameters,
            }


def report(results: Path) -> None:
    records = read(results)
    models = list(dict.fromkeys(r["model"] for r in records))
    for table in dict.fromkeys(r["table"] for r in records):
        of_table = [r for r in records if r["table"] == table]
        cells = {m: {r["split"]: r for r in of_table if r["model"] == m} for m in models}
        splits = sorted(set.intersection(*(set(of_model) for of_model in cells.values())))
        print(f"\n{table}: means of {len(splits)} splits, and the difference to {OURS}'s with its standard error")
        print(f"{'':24}{'avg. precision':>15}{'difference':>18}{'ROC-AUC':>9}{'log loss':>10}{'seconds':>9}")
        for model in models:
            rows = [cells[model][s] for s in splits]
            precision, auc, loss, seconds = (
                mean(r[name] for r in rows) for name in ("average_precision", "roc_auc", "log_loss", "seconds")
            )
            differences = [r["average_precision"] - cells[OURS][r["split"]]["average_precision"] for r in rows]
            error = f" ± {stdev(differences) / len(splits) ** 0.5:.3f}" if len(splits) > 1 else ""
            difference = "" if model == OURS else f"{mean(differences):+.3f}{error}"
            print(f"{model:24}{precision:15.3f}{difference:>18}{auc:9.3f}{loss:10.4f}{seconds:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path("fraud.jsonl"), help="of one --candidates alone")
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2], help="their numbers")
    parser.add_argument("--candidates", type=int, default=24, help="of each search")
    parser.add_argument("--table", action="store_true", help="print the report")
    options = parser.parse_args()
    if options.table:
        report(options.results)
        return
    if options.data is None:
        parser.error("--data is needed, but for --table.")
    done = {(r["table"], r["split"], r["model"]) for r in read(options.results)}
    for split in options.splits:
        for table in options.tables:
            for names, search in SEARCHES.items():
                if all((table, split, name) in done for name in names):
                    continue
                data = load(options.data, table, split, max_rows=10**9)
                for record in judge(search, data, split, options.candidates):
                    with options.results.open("a") as file:
                        print(json.dumps({"table": table, "split": split, **record}, default=str), file=file)
                    print(table, split, record["model"], f"{record['average_precision']:.3f}", flush=True)


if __name__ == "__main__":
    main()
