"""How good defaults are: every model as it comes, on many tables, ours against scikit-learn's and boosted trees.

    python benchmarks/quality.py --data DIR --results FILE      # fit and judge; goes on where it stopped
    python benchmarks/quality.py --table --results FILE         # print what is there
    python benchmarks/quality.py --data DIR --results FILE --models --variant 'slow={"learning_rate_init": 3e-4}'

DIR holds tables ``NAME/data.parquet`` with a last column ``target``, categories as strings, and ``NAME/meta.json`` with
the ``task``.  Our defaults were chosen on the tables of ``CHOSEN_ON`` alone; those of ``LEFT_ASIDE`` (every third of
each task, by name) tell whether the choice holds elsewhere.  The report keeps them apart.

A table of more than ``--max-rows`` rows is sampled, anew for every split; of the sample a quarter is the test part.
Linear models and networks get the same inputs: medians and indicators for missing numbers, standard scaling, and
one-hot columns.  Trees, and RealMLP with preprocessing of its own, get categories as such.  Whatever a model calls a
default it has, early stopping included, with these exceptions: the target of scikit-learn's MLPRegressor is scaled, as
ours is scaled inside; LogisticRegression may take 1,000 iterations; and everything is told its seed, to be quiet and to
use one thread, so that times compare.  What is not installed is left out; RealMLP comes with pytabkit.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CHOSEN_ON = (
    "adult", "bank_marketing", "compas", "covtype_20k", "credit_default_taiwan", "creditcard_ulb_rep", "electricity",
    "jm1", "letter", "mammography", "nursery", "oil_spill", "pendigits", "phoneme", "segment", "sick", "texture",
    "vehicle_claim_fraud",
    "reg_ailerons", "reg_airfoil", "reg_brazilian_houses", "reg_california_housing", "reg_parkinsons", "reg_pol",
    "reg_skillcraft", "reg_sml", "reg_yacht",
)  # fmt: skip
LEFT_ASIDE = (
    "churn", "credit_a", "dna", "kr_vs_kp", "mfeat_factors", "optdigits", "ring", "sylvine", "waveform_40",
    "reg_bike", "reg_energy", "reg_protein", "reg_wine",
)  # fmt: skip
OURS = "sklreg"
SKLEARN_MLP = "MLP of scikit-learn"
BOOSTING = ("XGBoost", "LightGBM", "CatBoost")
_RAREST = 20  # a class of fewer samples is left out: it could be missing on one side
_TEST_SHARE = 0.25


class Data(NamedTuple):
    """One split of a table: inputs as data frames, classes as numbers."""

    X: Any
    y: Array
    X_test: Any
    y_test: Array
    n_classes: int  # 0: regression


def load(data: Path, name: str, split: int, max_rows: int) -> Data:
    import pandas as pd
    from sklearn.model_selection import train_test_split

    frame = pd.read_parquet(data / name / "data.parquet")
    is_regression = json.loads((data / name / "meta.json").read_text())["task"] == "regression"
    y = frame.pop("target").to_numpy()
    frame.columns = [f"x{j}" for j in range(frame.shape[1])]  # LightGBM refuses some of the names
    X = frame.apply(
        lambda column: column.astype(np.float32) if pd.api.types.is_numeric_dtype(column) else _category(column)
    )
    if not is_regression:
        _, y, counts = np.unique(y, return_inverse=True, return_counts=True)
        kept = counts[y] >= _RAREST
        X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    sample = np.arange(len(y))
    strata = None if is_regression else y
    if len(y) > max_rows:
        sample, _ = train_test_split(sample, train_size=max_rows, stratify=strata, random_state=split)
    train, test = train_test_split(
        sample, test_size=_TEST_SHARE, stratify=None if is_regression else y[sample], random_state=split
    )
    return Data(X.iloc[train], y[train], X.iloc[test], y[test], 0 if is_regression else int(y.max()) + 1)


def _category(column: Any) -> Any:
    """Return strings as pandas' categories, with missing as one of them."""
    return column.astype(object).where(column.notna(), "missing").astype(str).astype("category")


# Models: each takes whether it is to classify, and a seed -----------------------------------------------------------

Maker = Callable[[bool, int], Any]


def numbers_and_categories(encode: bool) -> Any:
    """Return the preprocessing of models that take neither missing numbers nor (if to ``encode``) categories."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    imputer = SimpleImputer(strategy="median", add_indicator=True)
    numbers = make_pipeline(imputer, StandardScaler()) if encode else imputer
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False, dtype=np.float32
    )
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (encoder if encode else "passthrough", make_column_selector(dtype_include="category")),
        verbose_feature_names_out=False,
    ).set_output(transform="default" if encode else "pandas")


def encoded(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(numbers_and_categories(encode=True), model)


def linear(classify: bool, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return encoded(LogisticRegression(max_iter=1000, random_state=seed) if classify else Ridge(random_state=seed))


def sklearn_mlp(classify: bool, seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    if classify:
        return encoded(MLPClassifier(random_state=seed))
    return encoded(TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler()))


def hist_gradient_boosting(classify: bool, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return (HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor)(random_state=seed)


def ours(classify: bool, seed: int, **parameters: Any) -> Any:
    from sklreg import RegularizedMLPClassifier, RegularizedMLPRegressor

    if classify:
        return encoded(RegularizedMLPClassifier(random_state=seed).set_params(**parameters))
    model = RegularizedMLPRegressor(random_state=seed)
    shared = {name: parameters[name] for name in parameters if name in model.get_params()}  # no label_smoothing
    return encoded(model.set_params(**shared))


def xgboost(classify: bool, seed: int) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBClassifier if classify else XGBRegressor)(enable_categorical=True, n_jobs=1, random_state=seed)


def lightgbm(classify: bool, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classify else LGBMRegressor)(n_jobs=1, random_state=seed, verbose=-1)


def catboost(classify: bool, seed: int) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    class WithCategories(CatBoostClassifier if classify else CatBoostRegressor):  # type: ignore[misc]
        """CatBoost, told which columns are categories."""

        def fit(self, X: Any, y: Array) -> Any:
            return super().fit(X, y, cat_features=list(X.select_dtypes("category")))

    return WithCategories(thread_count=1, random_seed=seed, verbose=False, allow_writing_files=False)


def realmlp(classify: bool, seed: int, kind: str) -> Any:
    import pytabkit
    from sklearn.pipeline import make_pipeline

    make = getattr(pytabkit, f"RealMLP_{kind}_{'Classifier' if classify else 'Regressor'}")
    return make_pipeline(numbers_and_categories(encode=False), make(random_state=seed, device="cpu", n_threads=1))


MODELS: dict[str, Maker] = {
    "linear": linear,
    SKLEARN_MLP: sklearn_mlp,
    "HistGradientBoosting": hist_gradient_boosting,
    OURS: ours,
    "XGBoost": xgboost,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "RealMLP-TD-S": partial(realmlp, kind="TD_S"),
    "RealMLP-TD": partial(realmlp, kind="TD"),
}

# Judging ------------------------------------------------------------------------------------------------------------


def installed(models: Iterable[str]) -> dict[str, Maker]:
    """Return those that can be made, and tell of the others."""
    makers = {}
    for name in models:
        try:
            MODELS[name](True, 0)
            makers[name] = MODELS[name]
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return makers


def variant(text: str) -> tuple[str, Maker]:
    """Parse ``NAME={"parameter": value}``: other settings of ours."""
    name, _, parameters = text.partition("=")
    return name, partial(ours, **json.loads(parameters))


def scores(model: Any, data: Data) -> dict[str, float]:
    from sklearn.metrics import log_loss, r2_score, roc_auc_score, root_mean_squared_error

    if not data.n_classes:
        predictions = model.predict(data.X_test)
        rmse = float(root_mean_squared_error(data.y_test, predictions))
        return {"rmse": rmse, "r2": float(r2_score(data.y_test, predictions))}
    probabilities = model.predict_proba(data.X_test)
    shown = probabilities[:, 1] if data.n_classes == 2 else probabilities
    return {
        "roc_auc": float(roc_auc_score(data.y_test, shown, multi_class="ovr")),
        "log_loss": float(log_loss(data.y_test, probabilities.astype(np.float64), labels=range(data.n_classes))),
    }


def judge(
    data: Path, results: Path, makers: dict[str, Maker], tables: Iterable[str], n_splits: int, max_rows: int
) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    done = {(r["table"], r["split"], r["model"], r["max_rows"]) for r in read(results)}
    for split in range(n_splits):
        for name in tables:
            due = [model for model in makers if (name, split, model, max_rows) not in done]
            if not due:
                continue
            part = load(data, name, split, max_rows)
            for model in due:
                estimator = makers[model](part.n_classes > 0, split)
                start = time.perf_counter()
                with threadpool_limits(1):
                    estimator.fit(part.X, part.y)
                seconds = time.perf_counter() - start
                record = {"table": name, "split": split, "model": model, "max_rows": max_rows, "seconds": seconds}
                record |= scores(estimator, part)
                with results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(record, flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


# Report -------------------------------------------------------------------------------------------------------------

Cells = dict[str, dict[str, float]]  # by table and model

METRICS = {"roc_auc": "ROC-AUC", "log_loss": "Log loss", "rmse": "RMSE", "r2": "R2"}
GREATER_IS_BETTER = ("roc_auc", "r2")
JUDGED_BY = {"classification": ("roc_auc", "log_loss"), "regression": ("rmse", "r2")}


def means(records: list[dict[str, Any]], metric: str) -> Cells:
    """Return the mean over splits, of each table and model."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if metric in record:
            values[record["table"]][record["model"]].append(record[metric])
    return {table: {model: mean(v) for model, v in row.items()} for table, row in values.items()}


def ranks(cells: Cells, metric: str, models: list[str]) -> dict[str, float]:
    """Return the mean rank of each model among ``models``; 1 is best."""
    from scipy.stats import rankdata

    sign = -1 if metric in GREATER_IS_BETTER else 1
    by_table = [rankdata([sign * row[model] for model in models]) for row in cells.values()]
    return dict(zip(models, np.mean(by_table, axis=0).tolist(), strict=True))


def share_of_wins(cells: Cells, metric: str, model: str, other: str) -> float:
    """Return the share of tables on which ``model`` is better than ``other``."""
    sign = 1 if metric in GREATER_IS_BETTER else -1
    return mean(float(sign * (row[model] - row[other]) > 0) for row in cells.values())


def print_cells(cells: Cells, models: list[str], title: str) -> None:
    print(f"\n{title}\n{'':24}" + "".join(f"{_short(model):>14}" for model in models))
    for table, row in cells.items():
        print(f"{table:24}" + "".join(f"{row[m]:14.5g}" if m in row else f"{'-':>14}" for m in models))


def _short(model: str) -> str:
    return model if len(model) <= 13 else model[:12] + "."


def print_summary(records: list[dict[str, Any]], models: list[str], task: str) -> None:
    """Print means over the tables that every model has been fitted to."""
    metrics = JUDGED_BY[task]
    by_metric = {metric: means(records, metric) for metric in (*metrics, "seconds")}
    common = [table for table, row in by_metric[metrics[0]].items() if all(model in row for model in models)]
    by_metric = {metric: {table: cells[table] for table in common} for metric, cells in by_metric.items()}
    print(f"{len(common)} tables that all of these models have been fitted to")
    if not common:
        return
    boosting = [model for model in BOOSTING if model in models]
    with_mean = [metric for metric in metrics if metric != "rmse"]  # errors of different targets have no common unit
    header = [f"{METRICS[metric]}, mean" for metric in with_mean] + [f"{METRICS[metric]}, rank" for metric in metrics]
    header += [f"wins by {METRICS[metric]}" for metric in metrics] + ["rank, trees", "seconds, mean"]
    print(f"{'':24}" + "".join(f"{text:>18}" for text in header))
    for model in models:
        row = [f"{mean(cells[model] for cells in by_metric[metric].values()):.4f}" for metric in with_mean]
        row += [f"{ranks(by_metric[metric], metric, models)[model]:.2f}" for metric in metrics]
        for metric in metrics:
            against = SKLEARN_MLP in models and model != SKLEARN_MLP
            row.append(f"{share_of_wins(by_metric[metric], metric, model, SKLEARN_MLP):.0%}" if against else "-")
        if boosting and model not in boosting:
            decisive = "log_loss" if task == "classification" else "rmse"
            row.append(f"{ranks(by_metric[decisive], decisive, [model, *boosting])[model]:.2f} of {len(boosting) + 1}")
        else:
            row.append("-")
        row.append(f"{mean(cells[model] for cells in by_metric['seconds'].values()):.1f}")
        print(f"{model:24}" + "".join(f"{text:>18}" for text in row))


def report(results: Path, models: list[str] | None) -> None:
    records = read(results)
    known = list(dict.fromkeys([*MODELS, *(r["model"] for r in records)]))
    fitted = {r["model"] for r in records}
    models = [model for model in known if model in fitted and (models is None or model in models)]
    records = [r for r in records if r["model"] in models]
    for metric, title in METRICS.items():
        print_cells(means(records, metric), models, f"{title}, mean over splits")
    print_cells(means(records, "seconds"), models, "Seconds to fit")
    for title, tables in {"Chosen on": CHOSEN_ON, "Left aside": LEFT_ASIDE}.items():
        for task, (metric, _) in JUDGED_BY.items():
            print(f"\n{title}, {task}: ", end="")
            print_summary([r for r in records if r["table"] in tables and metric in r], models, task)
    boosting = ", ".join(model for model in BOOSTING if model in models) or "boosted trees"
    print(
        f"\nRanks are among all models of the report, 1 being best.  Wins are the share of tables on which a model is"
        f"\nbetter than {SKLEARN_MLP}.  The rank with trees is that among a model and {boosting}, by log loss or RMSE."
    )


def command_line(
    doc: str | None,
    judge: Callable[[Path, Path, Iterable[str], int, int], None],
    report: Callable[[Path], None],
    *,
    results: str,
    tables: Iterable[str],
    n_splits: int,
    max_rows: int,
) -> None:
    """Run a benchmark on these tables as its user asks, who is told ``doc``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path(results), help="of one --max-rows alone")
    parser.add_argument("--tables", nargs="+", default=list(tables))
    parser.add_argument("--splits", type=int, default=n_splits)
    parser.add_argument("--max-rows", type=int, default=max_rows)
    parser.add_argument("--table", action="store_true", help="print the report")
    arguments = parser.parse_args()
    if arguments.table:
        report(arguments.results)
    elif arguments.data is None:
        parser.error("--data is missing: the folder of the tables")
    else:
        judge(arguments.data, arguments.results, arguments.tables, arguments.splits, arguments.max_rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path("quality.jsonl"), help="of one --max-rows alone")
    parser.add_argument("--tables", nargs="+", default=[*CHOSEN_ON, *LEFT_ASIDE])
    parser.add_argument("--models", nargs="*", help="of " + ", ".join(MODELS) + ", and in reports the variants' names")
    parser.add_argument("--variant", action="append", default=[], type=variant, metavar='NAME={"parameter": value}')
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--max-rows", type=int, default=10_000)
    parser.add_argument("--table", action="store_true", help="print the report")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of scikit-learn's networks that do not converge in the iterations they have
    if arguments.table:
        report(arguments.results, arguments.models)
    elif arguments.data is None:
        parser.error("--data is missing: the folder of the tables")
    else:
        makers = installed(MODELS if arguments.models is None else arguments.models) | dict(arguments.variant)
        judge(arguments.data, arguments.results, makers, arguments.tables, arguments.splits, arguments.max_rows)


if __name__ == "__main__":
    main()
