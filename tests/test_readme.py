"""What the README and the documentation say can be done is done here: their code runs, and their tables are true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import dedent

import pytest
import sklearn

import sklreg
from sklreg._regularizers import TECHNIQUES

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SLOW_PAGES = {"ablation.rst", "imbalanced.rst", "index.rst", "search.rst", "select_features.rst", "uncertainty.rst"}
DOCS = sorted((ROOT / "docs").glob("**/*.rst"))
# Those of one fit; what chooses between fits has their parameters and some that do not regularize.
ESTIMATORS = [getattr(sklreg, name) for name in sklreg.__all__ if hasattr(getattr(sklreg, name), "partial_fit")]
# Parameters of the network, of the optimizer and of the work: what is left regularizes.
NO_REGULARIZERS = {
    "hidden_layer_sizes", "activation", "solver", "learning_rate_init", "learning_rate", "momentum", "batch_size",
    "max_iter", "warm_start", "device", "dtype", "random_state", "verbose", "input_scaling", "n_bins",
}  # fmt: skip
# Regularizers that say how another one acts, and do nothing without it.
MANNERS = {
    "l1_ratio", "penalty_groups", "feature_groups", "hierarchy", "penalty_warmup", "validation_fraction", "patience",
    "min_delta", "scoring", "residual",
}  # fmt: skip

pytestmark = pytest.mark.skipif(not DOCS, reason="the documentation is not here")


def constructor_parameters() -> set[str]:
    return {name for estimator in ESTIMATORS for name in inspect.signature(estimator).parameters}


def fit_parameters() -> set[str]:
    return {name for estimator in ESTIMATORS for name in inspect.signature(estimator.fit).parameters} - {
        "self",
        "X",
        "y",
    }


def markdown_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def rst_blocks(text: str) -> list[str]:
    return [dedent(b) for b in re.findall(r"^\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", text, re.MULTILINE)]


def table_rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first Markdown table under a heading, without its first two lines."""
    section = text.split(f"\n## {heading}\n")[1]
    table = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def quoted(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.fixture
def parameter_cells() -> list[str]:
    # No parameter's name holds a `|`; the last column may, and is not used.
    return [row[1] for row in table_rows(README.read_text(encoding="utf-8"), "The regularizers")]


def test_readme_has_python_to_run():
    assert markdown_blocks(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (page.name in SLOW_PAGES), id=page.relative_to(ROOT).as_posix())
        for page in [README, *DOCS]
    ],
)
def test_code_of_page_runs(page, tmp_path, monkeypatch):
    """The blocks of a page run one after the other, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = markdown_blocks(text) if page.suffix == ".md" else rst_blocks(text)
    namespace: dict[str, object] = {"__name__": page.stem}
    with sklearn.config_context():  # a block may set scikit-learn's configuration; it is put back
        for i, block in enumerate(blocks):
            exec(compile(block, f"{page.name}, block {i + 1}", "exec"), namespace)


def test_table_names_parameters_that_exist(parameter_cells):
    names = quoted(parameter_cells) - {"fit"}
    assert names <= constructor_parameters() | fit_parameters()


def test_table_misses_no_regularizer(parameter_cells):
    assert constructor_parameters() - NO_REGULARIZERS <= quoted(parameter_cells)
    assert fit_parameters() <= quoted(parameter_cells)
    assert constructor_parameters() >= NO_REGULARIZERS


def test_table_names_files_that_exist():
    rows = table_rows(README.read_text(encoding="utf-8"), "The regularizers")
    files = quoted([row[2] for row in rows])
    assert len(files) > 5
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_documentation_has_the_same_table(parameter_cells):
    table = (ROOT / "docs" / "regularizer_table.inc").read_text(encoding="utf-8")
    rows = [re.findall(r"``([\w]+)``", row) for row in table.split("    * - ")[2:]]
    assert [set(row) for row in rows] == [quoted([cell]) for cell in parameter_cells]


def test_every_regularizer_has_a_section():
    text = (ROOT / "docs" / "regularizers.rst").read_text(encoding="utf-8")
    missing = [p for p in constructor_parameters() - NO_REGULARIZERS if f"``{p}``" not in text]
    assert missing == []


def test_an_ablation_and_a_search_know_every_regularizer():
    assert constructor_parameters() - NO_REGULARIZERS - MANNERS == set(TECHNIQUES)


def test_links_of_readme_lead_to_files():
    links = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_commands_of_readme_are_marked_for_ci():
    """``.ci/run`` takes the two commands from here."""
    commands = re.findall(r"<!-- command: (\w+) -->\n```shell\n([^\n]+)\n```", README.read_text(encoding="utf-8"))
    assert [name for name, _ in commands] == ["example", "test"]
    assert all(command.startswith("python3 -m venv .venv && ") for _, command in commands)


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_pin_every_direct_dependency(file):
    pins = re.findall(r"^([\w.-]+)==[\w.]+$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert {"numpy", "scipy", "scikit-learn", "torch", "pandas", "matplotlib", "pyarrow", "pytest"} <= set(pins)
