"""Do probabilities mean what they say?  A network as it is, and what makes its probabilities more honest.

    python benchmarks/calibration.py --data DIR --results FILE      # fit and judge; goes on where it stopped
    python benchmarks/calibration.py --results FILE --table         # print what is there

DIR holds tables as for ``quality.py``, and inputs are prepared as there.  The first model is a network without any
regularization; each of the others changes one thing about it, but for the defaults.  Those behind
``CalibratedClassifierCV`` are refitted on all training samples (``ensemble=False``): what is gained is gained by the
calibration, not by an average of five networks.

The Brier score is half the squared distance from the true class, summed over classes, so that it is the usual one for
two.  The expected calibration error takes the predicted class: the samples are cut into 15 bins of equal size by its
probability, and the distances of mean probability and accuracy are averaged.  It is never 0: for a perfect model, bins
of 100 samples would make about 0.02 of it at an accuracy of 0.9.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from quality import Data, encoded, load, read

Array = NDArray[Any]
TABLES = ("adult", "credit_default_taiwan", "electricity", "jm1", "letter", "phoneme", "segment", "waveform_40")
PLAIN = {
    "hidden_layer_sizes": (64, 64), "activation": "relu", "weight_decay": 0.0, "solver": "adam",
    "learning_rate_init": 1e-3, "batch_size": 256, "max_iter": 100, "early_stopping": False,
}  # fmt: skip
N_BINS = 15
_N_SAMPLES = 100
_MAX_ROWS = 10_000  # of a table, of which a quarter is the test part

# Models: each takes a split and a seed, and returns the probabilities of the test part --------------------------------


def probabilities(part: Data, seed: int, **parameters: Any) -> Array:
    return _network(seed, **parameters).fit(part.X, part.y).predict_proba(part.X_test)


def means_of_passes(part: Data, seed: int, **parameters: Any) -> Array:
    model = _network(seed, **parameters).fit(part.X, part.y)
    return (
        model[-1].predict_proba_samples(model[:-1].transform(part.X_test), _N_SAMPLES, random_state=seed).mean(axis=0)
    )


def calibrated(part: Data, seed: int, method: str, **parameters: Any) -> Array:
    from sklearn.calibration import CalibratedClassifierCV

    model = CalibratedClassifierCV(_network(seed, **parameters), method=method, cv=5, ensemble=False)
    return model.fit(part.X, part.y).predict_proba(part.X_test)


def _network(seed: int, **parameters: Any) -> Any:
    from sklreg import RegularizedMLPClassifier

    return encoded(RegularizedMLPClassifier(random_state=seed, **parameters))


def _of_plain(predict: Callable[..., Array], **changes: Any) -> tuple[Callable[..., Array], dict[str, Any]]:
    return predict, {**PLAIN, **changes}


MODELS: dict[str, tuple[Callable[..., Array], dict[str, Any]]] = {
    "no regularization": _of_plain(probabilities),
    "early stopping": _of_plain(probabilities, early_stopping=True),
    "label_smoothing=0.1": _of_plain(probabilities, label_smoothing=0.1),
    "dropout=0.3": _of_plain(probabilities, dropout=0.3),
    "dropout=0.3, mean of 100 passes": _of_plain(means_of_passes, dropout=0.3),
    "n_members=5": _of_plain(probabilities, n_members=5),
    "calibrated, sigmoid": _of_plain(calibrated, method="sigmoid"),
    "calibrated, isotonic": _of_plain(calibrated, method="isotonic"),
    "calibrated, temperature": _of_plain(calibrated, method="temperature"),
    "defaults": (probabilities, {}),
    "defaults, calibrated, temperature": (calibrated, {"method": "temperature"}),
}

# Judging ------------------------------------------------------------------------------------------------------------

METRICS = {"brier": "Brier score", "log_loss": "log loss", "ece": "calibration error", "error": "error rate"}


def scores(y: Array, proba: Array) -> dict[str, float]:
    from sklearn.metrics import log_loss

    proba = proba.astype(np.float64)
    proba /= proba.sum(axis=1, keepdims=True)
    truth = np.eye(proba.shape[1])[y]
    return {
        "brier": float(((proba - truth) ** 2).sum(axis=1).mean() / 2),
        "log_loss": float(log_loss(y, proba, labels=range(proba.shape[1]))),
        "ece": calibration_error(y, proba),
        "error": float((proba.argmax(axis=1) != y).mean()),
    }


def calibration_error(y: Array, proba: Array) -> float:
    """Return the expected calibration error of the predicted class, in bins of equal size."""
    confidence = proba.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    gaps = (confidence - (proba.argmax(axis=1) == y))[order]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, N_BINS)) / len(y))


def judge(data: Path, results: Path, tables: Iterable[str], n_splits: int, n_train: int) -> None:
    from joblib import Parallel, delayed

    from sklreg import batched_training

    def run(model: str, table: str, split: int, part: Data) -> dict[str, Any]:
        predict, parameters = MODELS[model]
        return {
            "table": table,
            "split": split,
            "model": model,
            **scores(part.y_test, predict(part, split, **parameters)),
        }

    done = {(record["table"], record["split"], record["model"]) for record in read(results)}
    for split in range(n_splits):
        for table in tables:
            due = [model for model in MODELS if (table, split, model) not in done]
            part = few(load(data, table, split, _MAX_ROWS), n_train, split)
            with batched_training(verbose=1), results.open("a") as file:
                for record in Parallel(return_as="generator_unordered")(
                    delayed(run)(m, table, split, part) for m in due
                ):
                    file.write(json.dumps(record) + "\n")


def few(part: Data, n_train: int, seed: int) -> Data:
    """Return the split with fewer training samples."""
    from sklearn.model_selection import train_test_split

    if len(part.y) > n_train:
        X, _, y, _ = train_test_split(part.X, part.y, train_size=n_train, stratify=part.y, random_state=seed)
        part = part._replace(X=X, y=y)
    return part


def report(results: Path) -> None:
    cells: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in read(results):
        for metric in METRICS:
            cells[metric][record["model"]][record["table"]].append(record[metric])
    models = [model for model in MODELS if model in cells["brier"]]
    tables = [table for table in TABLES if all(table in cells["brier"][model] for model in models)]
    for metric, title in METRICS.items():
        print(
            f"\n{title}, mean over splits\n{'':34}" + "".join(f"{table[:11]:>13}" for table in tables) + f"{'mean':>13}"
        )
        for model in models:
            row = [mean(cells[metric][model][table]) for table in tables]
            print(f"{model:34}" + "".join(f"{value:13.4f}" for value in [*row, mean(row)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path("calibration.jsonl"))
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--train-rows", type=int, default=2000, help="at most; one number for one file of results")
    parser.add_argument("--table", action="store_true", help="print the report")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of scikit-learn: temperature scaling may end before it has converged
    if arguments.table:
        report(arguments.results)
    elif arguments.data is None:
        parser.error("--data is missing: the folder of the tables")
    else:
        judge(arguments.data, arguments.results, arguments.tables, arguments.splits, arguments.train_rows)


if __name__ == "__main__":
    main()
