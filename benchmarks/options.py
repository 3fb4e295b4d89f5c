"""What each option adds to the defaults, alone, on the tables that the defaults were chosen on.

    python benchmarks/options.py --data DIR --results FILE      # fit and judge; goes on where it stopped
    python benchmarks/options.py --results FILE --table         # print what is there

Tables, splits, inputs and scores are those of ``quality.py``.  A regressor is fitted where it has all the parameters.
"Another seed" changes nothing: what it differs by is chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from quality import CHOSEN_ON, command_line, ours, read
from quality import judge as judge_all

from sklreg import RegularizedMLPRegressor

DEFAULTS = "defaults"
DEEP: dict[str, Any] = {"hidden_layer_sizes": (128, 128, 128)}
OPTIONS: dict[str, dict[str, Any]] = {
    DEFAULTS: {},
    "another seed": {},
    "n_bins=16": {"n_bins": 16},
    "input_scaling='robust'": {"input_scaling": "robust"},
    "both": {"n_bins": 16, "input_scaling": "robust"},
    "n_members=4": {"n_members": 4},
    "..., early_stopping='ensemble'": {"n_members": 4, "early_stopping": "ensemble"},
    "..., bootstrap=True": {"n_members": 4, "bootstrap": True},
    "normalization='batch'": {"normalization": "batch"},
    "normalization='layer'": {"normalization": "layer"},
    "dropout=0.1": {"dropout": 0.1},
    "input_noise=0.1": {"input_noise": 0.1},
    "swap_noise=0.05": {"swap_noise": 0.05},
    "mixup_alpha=0.1": {"mixup_alpha": 0.1},
    "cutmix_alpha=0.1": {"cutmix_alpha": 0.1},
    "label_smoothing=0.05": {"label_smoothing": 0.05},
    "focal_gamma=0.5": {"focal_gamma": 0.5},
    "l1=1e-4": {"l1": 1e-4},
    "l2=1e-4": {"l2": 1e-4},
    "max_norm=3": {"max_norm": 3.0},
    "(128, 128, 128)": DEEP,
    "..., residual=True": DEEP | {"residual": True},
    "..., stochastic_depth=0.1": DEEP | {"residual": True, "stochastic_depth": 0.1},
}
METRICS = ("log_loss", "rmse")


def judge(data: Path, results: Path, tables: Iterable[str], n_splits: int, max_rows: int) -> None:
    has = RegularizedMLPRegressor().get_params()
    for table in tables:
        makers = {
            option: partial(_other_seed if option == "another seed" else ours, **parameters)
            for option, parameters in OPTIONS.items()
            if not table.startswith("reg_") or set(parameters) <= set(has)
        }
        judge_all(data, results, makers, [table], n_splits, max_rows)


def _other_seed(classify: bool, seed: int) -> Any:
    return ours(classify, seed + 1000)


def report(results: Path) -> None:
    records = read(results)
    cells = {(r["model"], r["table"], r["split"]): r for r in records}
    for metric in METRICS:
        options = [option for option in OPTIONS if any(r["model"] == option and metric in r for r in records)]
        splits = [
            split
            for option, *split in cells
            if option == DEFAULTS and all(metric in cells.get((o, *split), {}) for o in options)
        ]
        if not splits:
            continue
        print(f"\n{metric}: {len(splits)} splits of {len({table for table, _ in splits})} tables")
        print(f"{'':32}{'mean':>10}{'ratio':>10}{'error':>10}{'better':>10}{'seconds':>10}")
        for option in options:
            scores = [cells[option, *split][metric] for split in splits]
            ratio, seconds = (
                [math.log(cells[option, *split][name] / cells[DEFAULTS, *split][name]) for split in splits]
                for name in (metric, "seconds")
            )
            row = [f"{mean(scores):.4f}" if metric == "log_loss" else "-", f"{math.exp(mean(ratio)):.3f}"]
            error = f"{stdev(ratio) / len(splits) ** 0.5:.3f}" if len(splits) > 1 else "-"
            row += [error, f"{mean(r < 0 for r in ratio):.0%}"]
            row += [f"{math.exp(mean(seconds)):.2f}"]
            print(f"{option:32}" + "".join(f"{text:>10}" for text in row))
    print("\nRatios are to the defaults, geometric means over splits, with standard errors; of seconds too.")


if __name__ == "__main__":
    command_line(__doc__, judge, report, results="options.jsonl", tables=CHOSEN_ON, n_splits=1, max_rows=4000)
