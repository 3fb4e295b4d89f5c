"""The intervals that ``docs/how_to/uncertainty.rst`` makes hold the share of new values that the page says."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from sklreg import RegularizedMLPRegressor

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how_to" / "uncertainty.rst"
N_HELD_OUT, N_NEW, N_REPETITIONS = 50, 200, 300

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not here")


def draw(n, random):
    """Draw noise that depends on the input, and few inputs near 1."""
    x = 1 - random.uniform(size=n) ** 2
    return x[:, None], np.sin(4 * x) + (0.1 + 0.4 * x) * random.standard_t(3, size=n)


def page_function(name):
    """Return a function that the page defines."""
    source = re.search(
        rf"^    def {name}\(.*?(?=^    [^ \n])", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert source is not None
    namespace = {"np": np}
    exec(dedent(source[0]), namespace)
    return namespace[name]


@pytest.fixture(scope="module")
def bound():
    return page_function("bound")


@pytest.fixture(scope="module")
def predictions():
    """Return the values of many samples, the predictions of a poor network, and their spread."""
    random = np.random.default_rng(0)
    model = RegularizedMLPRegressor(
        (16,), activation="relu", dropout=0.2, weight_decay=0.0, learning_rate_init=0.01, max_iter=30,
        early_stopping=False, random_state=0,
    ).fit(*draw(100, random))  # fmt: skip
    X, y = draw(20_000, random)
    return y, model.predict(X), model.predict_std(X, random_state=0)


def share_held(predictions, half_widths):
    """Return the mean share that intervals hold, over many sets that are held out, and its standard error."""
    y, mean, std = predictions
    random, shares = np.random.default_rng(1), []
    for _ in range(N_REPETITIONS):
        held_out, new = np.split(random.choice(len(y), N_HELD_OUT + N_NEW, replace=False), [N_HELD_OUT])
        half = half_widths(np.abs(y - mean)[held_out], std[held_out], std[new])
        shares.append(np.mean(np.abs(y - mean)[new] <= half))
    return np.mean(shares), np.std(shares) / np.sqrt(N_REPETITIONS)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_intervals_of_one_width_hold_their_share(bound, predictions, level):
    share, error = share_held(predictions, lambda errors, _, __: bound(errors, level))
    assert level - 3 * error <= share <= level + 1 / (N_HELD_OUT + 1) + 3 * error


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_that_follow_the_spread_hold_their_share(bound, predictions, level):
    """The noise is of the same samples, so the share is not exact."""

    def half_widths(errors, std, std_new):
        noise = max(np.mean(errors**2 - std**2), 0.0)
        return np.sqrt(std_new**2 + noise) * bound(errors / np.sqrt(std**2 + noise), level)

    share, error = share_held(predictions, half_widths)
    assert level - 0.01 - 3 * error <= share <= level + 0.01 + 1 / (N_HELD_OUT + 1) + 3 * error


def test_too_few_samples_bound_nothing(bound):
    assert bound(np.arange(9.0)) == 8.0
    assert bound(np.arange(8.0)) == np.inf
    assert bound(np.arange(99.0), 0.5) == 49.0
