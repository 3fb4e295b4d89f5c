"""The images example runs, goes on where it was, and prints tables that its results bear out."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("skorch", reason="the nets stand on skorch, an extra")

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "images_regularization.py"
QUICK = ["--n-train", "120", "--n-test", "100", "--epochs", "2"]
ROWS = [
    "none", "L2", "dropout", "batch norm", "L2 + dropout", "L2 + batch norm", "dropout + batch norm", "all three",
]  # fmt: skip

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the examples are not here")


@pytest.fixture
def run(run_script, monkeypatch):
    """Run the script's ``main`` in this process, on the CPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return partial(run_script, SCRIPT)


@pytest.fixture
def folder(tmp_path):
    """Write a small set of colour images whose class is a channel that is bright."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    X = rng.integers(0, 100, size=(300, 3, 8, 8)).astype(np.uint8)
    X[np.arange(300), y] += 100
    (tmp_path / "cifar10_like").mkdir()
    table = pd.DataFrame(X.reshape(300, -1)).rename(columns=str).assign(target=y)
    table.to_parquet(tmp_path / "cifar10_like" / "data.parquet")
    (tmp_path / "cifar10_like" / "meta.json").write_text(json.dumps({"n_train": 180}))
    return tmp_path


def tables(stdout: str) -> str:
    return stdout[stdout.index("\ndigits, ") :]


def test_digits_give_all_tables_and_the_figure_and_go_on_where_they_were(tmp_path, run):
    file, figure = tmp_path / "images.jsonl", tmp_path / "images.png"
    options = [*QUICK, "--models", "MLP", "--seeds", "2", "--results", file]
    done = run(*options, "--figure", figure)
    assert done.returncode == 0, done.stderr
    for name in ROWS:
        assert len(re.findall(rf"^{re.escape(name)}  +\d+\.\d ± ", done.stdout, re.MULTILINE)) == 1, name
    assert "digits, MLP: 120 training and 100 test images, 2 seeds" in done.stdout
    assert re.search(r"beat each alone in [01] of 1 experiments on average", done.stdout)
    assert figure.read_bytes().startswith(b"\x89PNG")

    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 5 + 2 * len(ROWS)
    none = [r["result"]["test"] for r in records if r["fit"]["seed"] < 2 and not any(list(r["fit"].values())[1:])]
    assert re.search(
        rf"^none  +{100 * np.mean(none):.1f} ± {100 * np.std(none, ddof=1):.1f}", done.stdout, re.MULTILINE
    )

    before = file.read_text()
    file.write_text(before[:-20])  # interrupted while it wrote
    again = run(*options)
    assert tables(again.stdout) == tables(done.stdout)
    strip = re.compile(r'"seconds": [\d.]+')
    assert strip.sub("", file.read_text()) == strip.sub("", before)
    assert run("--results", file, "--table").stdout.strip() == tables(done.stdout).strip()


def test_set_of_a_folder_is_read_and_augmented(folder, run):
    done = run(*QUICK, "--data", folder, "--sets", "cifar10_like", "--models", "CNN", "--seeds", "1", "--augment")
    assert done.returncode == 0, done.stderr
    assert "cifar10_like, CNN: 120 training and 100 test images" in done.stdout
    assert "crops and flips" in done.stdout
    assert "(-3.5)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sets", "mnist"], "mnist needs a folder to read it from"),
        (["--sets", "mnist", "--data", "nowhere"], "cannot be read"),
        (["--table"], "--table needs --results"),
        (["--table", "--results", "nowhere.jsonl"], "has not all combinations of any set"),
        (["--seeds", "0"], "--seeds must be at least 1"),
    ],
)
def test_what_cannot_be_used_is_refused(run, arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
