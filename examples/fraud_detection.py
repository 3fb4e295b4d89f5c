"""
Fraud detection on a table
==========================

One card payment in twenty is a fraud, and a network with many more weights than there are frauds learns the training
set by heart.  This example shows what each regularizer does about it, and what comes after the model: a search for the
strengths, a comparison with other models, a decision threshold that costs least, and the features that matter.

By default the payments are simulated.  ``--data FILE --target COLUMN`` takes a table of your own, and ``--openml`` the
public credit-card set::

    python examples/fraud_detection.py
    python examples/fraud_detection.py --data payments.csv --target is_fraud
    python examples/fraud_detection.py --openml --output creditcard

It prints tables and writes three figures.  With the default data it takes less than two minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    precision_recall_curve,
    roc_curve,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from sklreg import ElasticNetMLPClassifier, RegularizedMLPClassifier
from sklreg.datasets import make_transactions

LAYERS = (128, 64)
TEST_SHARE = 0.25
# Strengths fixed beforehand, the same for every table: what is compared is which regularizers there are.
UNREGULARIZED = {"weight_decay": 0.0, "early_stopping": False}
FOUR_ROWS = {
    "no regularization": UNREGULARIZED,
    "L2 only": {**UNREGULARIZED, "l2": 1e-3},
    "dropout only": {**UNREGULARIZED, "dropout": 0.3},
    "L2 + dropout + early stopping": {"weight_decay": 0.0, "l2": 1e-3, "dropout": 0.3, "patience": 10},
}
# A list of grids: regularizers that go together, not every combination of all of them.
GRID = [
    {"l2": [1e-3, 3e-3], "dropout": [0.3, 0.5], "patience": [10]},
    {"l1": [1e-4, 3e-4], "dropout": [0.1], "patience": [10, 20]},
    {"l2": [1e-3], "dropout": [0.3], "normalization": ["batch", "layer"], "patience": [20]},
]
QUICK_GRID = [{"l2": [1e-3], "dropout": [0.3, 0.5]}]
METRICS = {
    "average precision": "avg. precision",
    "recall": "recall at 1 % FA",
    "balanced accuracy": "balanced acc.",
    "Brier": "Brier score",
    "accuracy": "accuracy",
}
START = time.perf_counter()


class BadInputError(Exception):
    """The table or an option cannot be used; the message says why and what to do."""


def say(text: str) -> None:
    """Print a stage line with the time since the start."""
    print(f"[{time.perf_counter() - START:6.1f} s] {text}", flush=True)


# Data -----------------------------------------------------------------------------------------------------------------


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or parquet file."""
    if not path.is_file():
        raise BadInputError(f"--data: there is no file {path}.")
    try:
        return pd.read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else pd.read_csv(path)
    except Exception as error:  # whatever the reader raises, the user has to hear of it in one line
        raise BadInputError(f"--data: {path} cannot be read as CSV or parquet ({error}).") from error


def encode_target(target: pd.Series) -> np.ndarray:
    """Return 1 for the rarer of two values, which is taken to be the fraud."""
    if target.isna().any():
        raise BadInputError(
            f"--target: column {target.name!r} is missing in {target.isna().sum():,} rows. Remove these rows."
        )
    counts = target.value_counts()
    if len(counts) != 2:
        shown = ", ".join(str(value) for value in counts.index[:5]) + (", ..." if len(counts) > 5 else "")
        raise BadInputError(
            f"--target: column {target.name!r} must have two values, fraud or not. It has {len(counts)}: {shown}."
        )
    fraud = counts.index[-1]
    print(f"Fraud is {target.name} = {fraud}, the rarer value.")
    return (target == fraud).to_numpy().astype(int)


def split_target(table: pd.DataFrame, column: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the features, numbers or strings, and the target."""
    if column not in table:
        shown = ", ".join(map(str, table.columns[:40]))
        raise BadInputError(f"--target: there is no column {column!r}. The columns are: {shown}.")
    y = encode_target(table[column])
    X = table.drop(columns=column)
    if X.shape[1] == 0:
        raise BadInputError("--data: there is no column beside the target.")
    for name in X.columns:
        if pd.api.types.is_numeric_dtype(X[name]) and not pd.api.types.is_bool_dtype(X[name]):
            X[name] = X[name].astype(float).replace([np.inf, -np.inf], np.nan)
        else:
            X[name] = X[name].astype(object).map(str, na_action="ignore")
    return X, y


def load(args: argparse.Namespace) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the table that the options ask for."""
    if args.data is not None:
        say(f"Read {args.data.name}")
        X, y = split_target(read_table(args.data), args.target)
    elif args.openml:
        from sklearn.datasets import fetch_openml

        say("Fetch creditcard from OpenML")
        try:
            X, y = split_target(fetch_openml("creditcard", version=1, as_frame=True).frame, "Class")
        except OSError as error:  # no network, or no such set any more
            raise BadInputError(
                f"--openml: the set could not be fetched ({error}). Give a file with --data."
            ) from error
    else:
        say("Simulate transactions")
        X, y = make_transactions(random_state=args.seed)
    if len(y) > args.max_rows:
        print(f"Of {len(y):,} rows {args.max_rows:,} are drawn, with the same share of frauds (--max-rows).")
        X, _, y, _ = train_test_split(X, y, train_size=args.max_rows, stratify=y, random_state=args.seed)
    if y.sum() < 50:
        raise BadInputError(f"There are {y.sum()} frauds in {len(y):,} rows. Splits and folds need at least 50.")
    return X.reset_index(drop=True), y


def split(X: pd.DataFrame, y: np.ndarray, for_search: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test rows.  Rows that the search has seen are never tested on."""
    rest = np.setdiff1d(np.arange(len(y)), for_search)
    train, test = train_test_split(rest, test_size=round(TEST_SHARE * len(y)), stratify=y[rest], random_state=seed)
    return np.concatenate([for_search, train]), test


# Models ---------------------------------------------------------------------------------------------------------------


def preprocessing() -> ColumnTransformer:
    """Return the preprocessing that all models share."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median"),
        # Amounts and durations have long tails; arcsinh is the logarithm for large values and takes zero and negatives.
        FunctionTransformer(np.arcsinh, feature_names_out="one-to-one"),
        StandardScaler(),
    )
    # Rare categories share a column, and so do those that the training set did not have; a missing value is a category.
    strings = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20, sparse_output=False)
    return ColumnTransformer(
        [
            ("number", numbers, make_column_selector(dtype_include="number")),
            ("string", strings, make_column_selector(dtype_exclude="number")),
        ],
        verbose_feature_names_out=False,
    )


def pipeline(model) -> Pipeline:
    """Return the model behind the preprocessing."""
    return Pipeline([("prepare", preprocessing()), ("model", model)])


def network(seed: int, max_iter: int, **parameters) -> RegularizedMLPClassifier:
    """Return a network.  float32 is faster, and exact enough."""
    # As scikit-learn's, beside which it is shown; its regularizers are what differs.
    settings = {"activation": "relu", "solver": "adam", "learning_rate_init": 1e-3, "weight_decay": 0.01} | parameters
    return RegularizedMLPClassifier(LAYERS, max_iter=max_iter, dtype="float32", random_state=seed, **settings)


def candidates(args: argparse.Namespace) -> dict[str, tuple]:
    """Return the models to compare, each with its grid."""
    # scikit-learn's early stopping watches the accuracy.
    mlp = MLPClassifier(LAYERS, max_iter=args.epochs, random_state=args.seed, n_iter_no_change=10)
    mlp_grid = {"alpha": [1e-4, 1e-1, 1.0], "early_stopping": [False, True]}
    boosting_grid = {"learning_rate": [0.05, 0.1], "max_leaf_nodes": [7, 31]}
    quick = args.quick
    return {
        "RegularizedMLPClassifier": (network(args.seed, args.epochs, weight_decay=0.0), QUICK_GRID if quick else GRID),
        "LogisticRegression": (LogisticRegression(max_iter=2_000), {"C": [1.0] if quick else [0.01, 0.1, 1.0]}),
        "MLPClassifier": (mlp, {"alpha": [1e-4]} if quick else mlp_grid),
        "HistGradientBoosting": (
            HistGradientBoostingClassifier(random_state=args.seed),
            {"learning_rate": [0.1]} if quick else boosting_grid,
        ),
    }


def search(model, grid, X: pd.DataFrame, y: np.ndarray, args: argparse.Namespace) -> Pipeline:
    """Return the pipeline with the best parameters of the grid, not fitted."""
    grids = grid if isinstance(grid, list) else [grid]
    found = GridSearchCV(
        pipeline(model),
        [{f"model__{name}": values for name, values in each.items()} for each in grids],
        scoring="average_precision",
        cv=StratifiedKFold(3, shuffle=True, random_state=args.seed),
        n_jobs=args.jobs,
        refit=False,
    )
    quiet_fit(found, X, y)
    chosen = ", ".join(f"{name.removeprefix('model__')}={value}" for name, value in found.best_params_.items())
    n_tried = len(found.cv_results_["params"])
    say(f"  {type(model).__name__}: {chosen} (average precision {found.best_score_:.3f}, best of {n_tried})")
    return clone(found.estimator).set_params(**found.best_params_)


def quiet_fit(model, X, y):
    """Fit without the warning that scikit-learn's network gives where ``max_iter`` ends its training."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


# Figures of merit -----------------------------------------------------------------------------------------------------


def recall_at_false_alarms(y: np.ndarray, probability: np.ndarray, share: float = 0.01) -> float:
    """Return the greatest share of frauds found while at most ``share`` of the honest payments raise an alarm."""
    false_alarms, recall, _ = roc_curve(y, probability, drop_intermediate=False)
    return float(recall[false_alarms <= share].max())


def measure(y: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Return all metrics; accuracies are at a threshold of 0.5."""
    decision = probability >= 0.5
    return {
        "average precision": average_precision_score(y, probability),
        "recall": recall_at_false_alarms(y, probability),
        "balanced accuracy": balanced_accuracy_score(y, decision),
        "Brier": brier_score_loss(y, probability),
        "accuracy": accuracy_score(y, decision),
    }


def evaluate(model, X: pd.DataFrame, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict:
    """Fit on one split and measure on both of its sides."""
    start = time.perf_counter()
    fitted = quiet_fit(clone(model), X.iloc[train], y[train])
    seconds = time.perf_counter() - start
    probability = fitted.predict_proba(X.iloc[test])[:, 1]
    return {
        "train": measure(y[train], fitted.predict_proba(X.iloc[train])[:, 1]),
        "test": measure(y[test], probability),
        "seconds": seconds,
        "probability": probability,
    }


def evaluate_all(models: dict, X: pd.DataFrame, y: np.ndarray, splits: list, n_jobs: int) -> dict[str, list[dict]]:
    """Return for each model what ``evaluate`` says of each split."""
    tasks = [(name, *rows) for rows in splits for name in models]
    results = Parallel(n_jobs)(delayed(evaluate)(models[name], X, y, train, test) for name, train, test in tasks)
    by_name: dict[str, list[dict]] = {name: [] for name in models}
    for (name, _, _), result in zip(tasks, results, strict=True):
        by_name[name].append(result)
    return by_name


def spread(values: list[float], digits: int = 3) -> str:
    """Return mean ± standard deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]))


def print_results(results: dict[str, list[dict]]) -> None:
    """Print train and test figures of each model."""
    rows = []
    for name, repeats in results.items():
        for part in ("train", "test"):
            figures = [
                spread([r[part][key] for r in repeats], 4 if key in ("Brier", "accuracy") else 3) for key in METRICS
            ]
            seconds = f"{np.mean([r['seconds'] for r in repeats]):.1f} s" if part == "test" else ""
            rows.append([name if part == "train" else "", part, *figures, seconds])
    print_table(["", "", *METRICS.values(), "fit time"], rows)


def print_gaps(results: dict[str, list[dict]]) -> None:
    """Say how far apart training and test are in each row, and whether the gap closes in the order of the table."""
    gaps = {
        name: np.mean([r["train"]["average precision"] - r["test"]["average precision"] for r in repeats])
        for name, repeats in results.items()
    }
    print(
        "\nGap of average precision between train and test: " + "; ".join(f"{n} {g:.3f}" for n, g in gaps.items()) + "."
    )
    if list(gaps.values()) == sorted(gaps.values(), reverse=True):
        print("It closes in the order of the table.")
    else:
        print("It does not close in the order of the table: " + " > ".join(sorted(gaps, key=lambda n: -gaps[n])) + ".")
    tests = {name: np.mean([r["test"]["average precision"] for r in repeats]) for name, repeats in results.items()}
    print("On the test rows, best first: " + ", ".join(sorted(tests, key=lambda n: -tests[n])) + ".")


# Threshold ------------------------------------------------------------------------------------------------------------


def cost_curve(y: np.ndarray, probability: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Return thresholds, and the cost for each of 1,000 payments at each of them.  A false alarm costs 1."""
    # The last one raises no alarm at all.
    thresholds = np.append(np.unique(probability), 1.0 + 1e-9)
    frauds, honest = np.sort(probability[y == 1]), np.sort(probability[y == 0])
    missed = np.searchsorted(frauds, thresholds)
    false_alarms = len(honest) - np.searchsorted(honest, thresholds)
    return thresholds, 1_000 * (ratio * missed + false_alarms) / len(y)


def cost_at(y: np.ndarray, probability: np.ndarray, threshold: float, ratio: float) -> float:
    """Return the cost for each of 1,000 payments at one threshold."""
    alarm = probability >= threshold
    return 1_000 * float(ratio * (y & ~alarm).sum() + ((1 - y) & alarm).sum()) / len(y)


def choose_threshold(model, X: pd.DataFrame, y: np.ndarray, train: np.ndarray, test: np.ndarray, ratio: float) -> dict:
    """Choose the threshold that costs least on validation rows, and see what it costs on test rows."""
    fit_rows, validation = train_test_split(train, test_size=0.3, stratify=y[train], random_state=0)
    fitted = quiet_fit(clone(model), X.iloc[fit_rows], y[fit_rows])
    thresholds, costs = cost_curve(y[validation], fitted.predict_proba(X.iloc[validation])[:, 1], ratio)
    # Several thresholds may cost the same: take the middle one.
    cheapest = thresholds[costs == costs.min()]
    threshold = float(cheapest[len(cheapest) // 2])
    probability = fitted.predict_proba(X.iloc[test])[:, 1]
    return {
        "threshold": threshold,
        "curve": (thresholds, costs),
        "test_curve": cost_curve(y[test], probability, ratio),
        "chosen": cost_at(y[test], probability, threshold, ratio),
        "half": cost_at(y[test], probability, 0.5, ratio),
        "no alarm": 1_000 * ratio * float(y[test].mean()),
    }


def print_threshold(choices: list[dict], ratio: float) -> None:
    """Print test costs at the chosen threshold and at 0.5."""
    print(f"A missed fraud costs as much as {ratio:g} false alarms (--cost-ratio).")
    print(f"Probabilities without error would call for a threshold of 1 / (1 + {ratio:g}) = {1 / (1 + ratio):.3f}.")
    rows = [
        [
            "chosen on validation rows",
            spread([c["threshold"] for c in choices]),
            spread([c["chosen"] for c in choices], 1),
        ],
        ["one half", "0.500", spread([c["half"] for c in choices], 1)],
        ["no alarm at all", "", spread([c["no alarm"] for c in choices], 1)],
    ]
    print_table(["threshold", "value", "test cost of 1,000 payments"], rows)
    saved = 1 - np.mean([c["chosen"] for c in choices]) / np.mean([c["half"] for c in choices])
    print(f"The chosen threshold costs {abs(saved):.0%} {'less' if saved >= 0 else 'MORE'} than one half.")


# Features -------------------------------------------------------------------------------------------------------------


def select_features(X: pd.DataFrame, y: np.ndarray, train: np.ndarray, test: np.ndarray, args) -> None:
    """Fit the elastic net network at several strengths, and print the features that it keeps."""
    fit_rows, validation = train_test_split(train, test_size=0.3, stratify=y[train], random_state=args.seed)
    path, rows = [], []
    for alpha in [3e-4, 3e-3] if args.quick else [3e-4, 6e-4, 1e-3, 2e-3, 4e-3]:
        # Without early stopping, which may keep an early epoch, before the penalty has set weights to zero.
        net = ElasticNetMLPClassifier(
            hidden_layer_sizes=(64,),
            alpha=alpha,
            l1_ratio=0.9,
            early_stopping=False,
            max_iter=args.epochs,
            dtype="float32",
            random_state=args.seed,
        )
        model = quiet_fit(pipeline(net), X.iloc[fit_rows], y[fit_rows])
        score = average_precision_score(y[validation], model.predict_proba(X.iloc[validation])[:, 1])
        kept = np.count_nonzero(model["model"].feature_importances_)
        path.append((alpha, score, model))
        rows.append([f"{alpha:g}", f"{kept}", f"{model['model'].sparsity_:.1%}", f"{score:.3f}"])
    print_table(["alpha", "features kept", "weights exactly 0", "validation avg. precision"], rows)
    best = max(score for _, score, _ in path)
    alpha, _, model = [step for step in path if step[1] >= 0.9 * best][-1]  # a little precision for fewer features
    tested = average_precision_score(y[test], model.predict_proba(X.iloc[test])[:, 1])
    names, importances = model["prepare"].get_feature_names_out(), model["model"].feature_importances_
    order = np.argsort(-importances)
    kept = order[importances[order] > 0]
    print(
        f"\nThe greatest alpha with at least 90 % of the best average precision is {alpha:g} "
        f"(test average precision {tested:.3f}). "
        f"It keeps {len(kept)} of {len(names)} features; {len(names) - len(kept)} are dropped, "
        "all their weights being exactly 0."
    )
    if len(kept):
        width = max(len(names[i]) for i in kept[:20])
        for i in kept[:20]:
            bar = "#" * max(1, round(40 * importances[i] / importances[kept[0]]))
            print(f"  {names[i].ljust(width)}  {importances[i]:7.4f}  {bar}")
    if len(kept) > 20:
        print(f"  and {len(kept) - 20} more")
    dropped = [str(names[i]) for i in order[len(kept) :]]
    if dropped:
        print("  Dropped: " + ", ".join(dropped[:12]) + (f" and {len(dropped) - 12} more" if len(dropped) > 12 else ""))


# Plots ----------------------------------------------------------------------------------------------------------------


def new_axes(xlabel: str, ylabel: str, title: str) -> tuple:
    """Return a figure with one pair of axes."""
    figure, axes = plt.subplots(figsize=(7.0, 4.6), layout="constrained")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure, path: Path) -> None:
    """Write a figure and free it."""
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_precision_recall(results: dict[str, list[dict]], y_test: np.ndarray, path: Path) -> None:
    """Plot precision against recall of each model on the first split."""
    figure, axes = new_axes("recall", "precision", "Precision and recall on the test rows of the first split")
    for name, repeats in results.items():
        precision, recall, _ = precision_recall_curve(y_test, repeats[0]["probability"])
        # Above a handful of alarms: before that, precision jumps between 0 and 1.
        shown = recall >= min(0.03, recall.max())
        score = repeats[0]["test"]["average precision"]
        axes.step(recall[shown], precision[shown], where="post", linewidth=1.5, label=f"{name} ({score:.3f})")
    rate = y_test.mean()
    axes.axhline(rate, color="grey", linestyle=":", linewidth=1.5, label=f"chance ({rate:.3f})")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(title="average precision", fontsize=8, title_fontsize=8, frameon=False)
    save(figure, path)


def plot_losses(X: pd.DataFrame, y: np.ndarray, train: np.ndarray, args, path: Path) -> None:
    """Plot training and validation losses of the first and last of the four rows."""
    fit_rows, validation = train_test_split(train, test_size=0.3, stratify=y[train], random_state=args.seed)
    prepare = preprocessing().fit(X.iloc[fit_rows])
    X_fit, X_val = prepare.transform(X.iloc[fit_rows]), prepare.transform(X.iloc[validation])
    figure, axes = new_axes(
        "epoch", "mean cross-entropy", "Loss during training; early stopping keeps the marked epoch"
    )
    low, high, rows = [], [], list(FOUR_ROWS)
    for color, name in zip(["C3", "C0"], [rows[0], rows[-1]], strict=True):
        # With this patience nothing stops: the curve shows what early stopping would have prevented.
        parameters = {**FOUR_ROWS[name], "early_stopping": True, "patience": args.epochs}
        with threadpool_limits(1):
            net = network(args.seed, args.epochs, **parameters).fit(
                X_fit, y[fit_rows], X_val=X_val, y_val=y[validation]
            )
        epochs = [record["epoch"] for record in net.history_]
        training = np.array([record["loss"] for record in net.history_])
        validating = np.array([record["validation_loss"] for record in net.history_])
        label = name.replace(" + early stopping", "")
        axes.plot(
            epochs,
            training,
            color=color,
            linestyle="--",
            linewidth=1.5,
            label=f"{label}: training" + (" (with dropout)" if "dropout" in label else ""),
        )
        axes.plot(epochs, validating, color=color, linewidth=1.5, label=f"{label}: validation")
        best = net.best_iter_
        axes.plot(best, validating[best - 1], "o", color=color, label=f"best epoch: {best}")
        low.append(min(training.min(), validating.min()))
        high.append(max(validating.max(), training.max()))
    if max(high) > 20 * min(low):
        axes.set_yscale("log")
    axes.legend(fontsize=8, frameon=False)
    save(figure, path)


def plot_costs(choice: dict, ratio: float, path: Path) -> None:
    """Plot cost against threshold on validation and test rows of the first split."""
    figure, axes = new_axes(
        "threshold", "cost of 1,000 payments", f"Cost where a missed fraud costs {ratio:g} false alarms (first split)"
    )
    for key, label, color in [("curve", "validation rows", "C0"), ("test_curve", "test rows", "C1")]:
        thresholds, costs = choice[key]
        # The last point stands for no alarm at all, and lies beyond 1.
        axes.step(thresholds[:-1], costs[:-1], where="pre", color=color, linewidth=1.5, label=label)
    axes.axvline(choice["threshold"], color="C2", linewidth=1.5, label=f"chosen: {choice['threshold']:.3f}")
    axes.axvline(0.5, color="grey", linestyle="--", linewidth=1.2, label="one half")
    axes.axhline(choice["no alarm"], color="black", linestyle=":", linewidth=1.2, label="no alarm at all")
    axes.set(xscale="log", xlim=(1e-3, 1.0), ylim=(0, 1.6 * choice["no alarm"]))
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    save(figure, path)


# The whole ------------------------------------------------------------------------------------------------------------


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Regularized networks for fraud detection, compared.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="FILE", help="CSV or parquet table (default: simulated data)")
    source.add_argument("--openml", action="store_true", help="fetch the public credit-card set from OpenML")
    parser.add_argument(
        "--target", default="target", metavar="COLUMN", help="target column of --data (default: target)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("fraud_detection_output"), metavar="DIR", help="for figures"
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed of the splits (default: 0)")
    parser.add_argument("--repeats", type=int, default=5, help="number of train-test splits (default: 5)")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (default: 2)")
    parser.add_argument("--max-rows", type=int, default=100_000, help="draw so many of larger tables (default: 100000)")
    parser.add_argument("--epochs", type=int, default=60, help="greatest number of epochs (default: 60)")
    parser.add_argument(
        "--cost-ratio", type=float, default=20.0, help="cost of a missed fraud in false alarms (default: 20)"
    )
    parser.add_argument("--quick", action="store_true", help="smaller searches")
    args = parser.parse_args(argv)
    for name, least in [("repeats", 1), ("jobs", 1), ("max_rows", 500), ("epochs", 1), ("seed", 0)]:
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}. Got {getattr(args, name)}.")
    if not 0 < args.cost_ratio < float("inf"):
        parser.error(f"--cost-ratio must be greater than 0. Got {args.cost_ratio:g}.")
    return args


def run(args: argparse.Namespace) -> None:
    """Go through the stages."""
    X, y = load(args)
    rate = y.mean()
    n_strings = len(make_column_selector(dtype_exclude="number")(X))
    print(f"{len(y):,} rows, {X.shape[1]} columns ({n_strings} of them strings), {y.sum():,} frauds ({rate:.2%}).")
    print(
        f"Plain accuracy misleads here: always saying 'legit' is right in {1 - rate:.1%} of the cases "
        "and finds not one fraud."
    )
    args.output.mkdir(parents=True, exist_ok=True)
    for_search, _ = train_test_split(np.arange(len(y)), train_size=0.5, stratify=y, random_state=args.seed)
    splits = [split(X, y, for_search, args.seed + i) for i in range(args.repeats)]
    train, test = splits[0]

    say(f"Four ways to train one network, on {args.repeats} splits of {len(train):,} train and {len(test):,} test rows")
    four = {name: pipeline(network(args.seed, args.epochs, **p)) for name, p in FOUR_ROWS.items()}
    four_results = evaluate_all(four, X, y, splits, args.jobs)
    print_results(four_results)
    print("Mean ± standard deviation over the splits. FA: false alarms, the share of honest payments that raise one.")
    print_gaps(four_results)

    print()
    say(f"Search by cross-validation, on {len(for_search):,} rows that are never tested on")
    tuned = {
        name: search(model, grid, X.iloc[for_search], y[for_search], args)
        for name, (model, grid) in candidates(args).items()
    }
    say("Compare the tuned models on the same splits")
    tuned_results = evaluate_all(tuned, X, y, splits, args.jobs)
    print_results(tuned_results)
    scores = {name: np.mean([r["test"]["average precision"] for r in rs]) for name, rs in tuned_results.items()}
    print("By average precision on the test rows: " + ", ".join(sorted(scores, key=lambda n: -scores[n])) + ".")

    print()
    say("Decision threshold of the tuned RegularizedMLPClassifier")
    model = tuned["RegularizedMLPClassifier"]
    choices = Parallel(args.jobs)(delayed(choose_threshold)(model, X, y, *rows, args.cost_ratio) for rows in splits)
    print_threshold(choices, args.cost_ratio)

    print()
    say("Features that ElasticNetMLPClassifier keeps, on the first split")
    select_features(X, y, train, test, args)

    print()
    say("Figures")
    shown = {"no regularization": four_results["no regularization"], **tuned_results}
    plot_precision_recall(shown, y[test], args.output / "precision_recall.png")
    plot_losses(X, y, train, args, args.output / "loss_curves.png")
    plot_costs(choices[0], args.cost_ratio, args.output / "threshold_cost.png")
    say(f"Done; the figures are in {args.output}")


def main(argv: list[str] | None = None) -> int:
    """Run the example; return 2 where the input cannot be used."""
    args = parse(argv)
    try:
        run(args)
    except BadInputError as error:
        print(f"fraud_detection: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
