"""The fraud example runs, prints its tables, draws its figures, and refuses what it cannot use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sklreg.datasets import make_transactions

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "examples" / "fraud_detection.py"
REAL_TABLES = ROOT.parent / "shared" / "data"
FIGURES = ["precision_recall.png", "loss_curves.png", "threshold_cost.png"]
FOUR_ROWS = ["no regularization", "L2 only", "dropout only", "L2 + dropout + early stopping"]
MODELS = ["RegularizedMLPClassifier", "LogisticRegression", "MLPClassifier", "HistGradientBoosting"]
# Threads that wait for each other on a busy machine take many times as long.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
QUICK = ["--quick", "--repeats", "2", "--jobs", "1", "--epochs", "4"]

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the examples are not here")


@pytest.fixture
def run(run_script):
    """Run the script's ``main`` in this process."""
    return partial(run_script, SCRIPT)


def assert_complete(done, output):
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    figure = r"\d\.\d{3} ± \d\.\d{3}"
    for name in FOUR_ROWS + MODELS:
        row = rf"^{re.escape(name)} +train +{figure} .*\n +test +{figure} .* s$"
        assert len(re.findall(row, done.stdout, re.MULTILINE)) == 1, name
    for part in [
        "Plain accuracy misleads",
        "Gap of average precision",
        "chosen on validation rows",
        "features kept",
        "It keeps",
    ]:
        assert part in done.stdout
    for name in FIGURES:
        assert (output / name).read_bytes().startswith(b"\x89PNG"), name
        assert (output / name).stat().st_size > 10_000


@pytest.mark.slow
def test_script_gives_all_tables_and_figures(tmp_path):
    command = [sys.executable, SCRIPT, *QUICK, "--max-rows", "2000", "--output", tmp_path / "figures"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False)
    assert_complete(done, tmp_path / "figures")
    assert "Of 10,000 rows 2,000 are drawn" in done.stdout
    assert "2,000 rows, 19 columns (2 of them strings), 100 frauds (5.00%)" in done.stdout
    assert "right in 95.0% of the cases" in done.stdout


@pytest.mark.slow
def test_csv_with_gaps_and_words_for_the_target_is_taken(tmp_path, run):
    X, y = make_transactions(1_200, fraud_rate=0.1, random_state=1)
    X.loc[::7, "amount"] = np.nan
    X.loc[::11, "category"] = None
    X["weekend"] = X["weekday"] > 4
    X.assign(fraudulent=np.where(y == 1, "Yes", "No")).to_csv(tmp_path / "payments.csv", index=False)
    done = run(*QUICK, "--data", tmp_path / "payments.csv", "--target", "fraudulent", "--output", tmp_path / "figures")
    assert_complete(done, tmp_path / "figures")
    assert "Fraud is fraudulent = Yes, the rarer value." in done.stdout
    assert "1,200 rows, 20 columns (3 of them strings), 120 frauds (10.00%)" in done.stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("fraud", "there is no column 'fraud'. The columns are: amount"),
        ("category", "must have two values, fraud or not. It has 8"),
        ("gaps", "is missing in 60 rows"),
        ("rare", "There are 5 frauds in 120 rows"),
    ],
)
def test_target_that_is_none_is_refused_in_one_line(tmp_path, run, target, message):
    X, _ = make_transactions(120, random_state=0)
    X["gaps"] = np.where(np.arange(120) % 2, 1.0, np.nan)
    X["rare"] = np.arange(120) < 5
    X.to_parquet(tmp_path / "payments.parquet")
    done = run("--data", tmp_path / "payments.parquet", "--target", target, "--output", tmp_path / "figures")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--cost-ratio", "-1"], "--cost-ratio must be greater than 0"),
        (["--openml", "--data", "some.csv"], "not allowed with"),
    ],
)
def test_bad_option_is_refused(run, arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["creditcard_ulb_rep", "vehicle_claim_fraud"])
def test_real_table_gives_all_tables_and_figures(tmp_path, run, name):
    table = REAL_TABLES / name / "data.parquet"
    if not table.is_file():  # these tables are no part of the project, which must pass without them
        pytest.skip(f"the real table {name} is not in ../shared/data beside the repository")
    done = run(*QUICK, "--data", table, "--max-rows", "8000", "--output", tmp_path)
    assert_complete(done, tmp_path)
