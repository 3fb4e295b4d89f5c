"""Laws of the simulated transactions."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split

from sklreg.datasets import _n_recent, _past_of_customers, make_transactions


@pytest.mark.parametrize(
    ("n_samples", "rate", "n_frauds"),
    [(10_000, 0.05, 500), (1_000, 0.013, 13), (333, 0.5, 166), (20, 0.05, 1), (100, np.float32(0.1), 10)],
)
def test_number_of_rows_and_frauds_is_exact(n_samples, rate, n_frauds):
    X, y = make_transactions(n_samples, fraud_rate=rate, random_state=3)
    assert len(X) == len(y) == n_samples
    assert y.sum() == n_frauds
    assert set(np.unique(y)) == {0, 1}


@pytest.mark.parametrize("seed", [0, np.int64(7)])
def test_same_seed_gives_same_data(seed):
    X, y = make_transactions(500, random_state=seed)
    X_again, y_again = make_transactions(500, random_state=seed)
    pd.testing.assert_frame_equal(X, X_again)
    np.testing.assert_array_equal(y, y_again)


@pytest.mark.parametrize("make_state", [np.random.RandomState, np.random.default_rng])
def test_same_generator_gives_same_data_and_is_advanced(make_state):
    state = make_state(0)
    first, _ = make_transactions(500, random_state=state)
    second, _ = make_transactions(500, random_state=state)
    again, _ = make_transactions(500, random_state=make_state(0))
    pd.testing.assert_frame_equal(first, again)
    assert not first["amount"].equals(second["amount"])


def test_other_seeds_and_none_give_other_data():
    seeds = [0, 1, None, None]
    amounts = [make_transactions(200, random_state=seed)[0]["amount"].tolist() for seed in seeds]
    assert all(a != b for i, a in enumerate(amounts) for b in amounts[:i])


@pytest.mark.parametrize("seed", [0, None])
def test_numpys_global_generator_is_not_changed(seed):
    before = np.random.get_state()
    make_transactions(200, random_state=seed)
    after = np.random.get_state()
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


def test_columns_are_what_a_bank_has_and_nothing_is_missing():
    X, _ = make_transactions(2_000, random_state=0)
    assert X.shape[1] == 19
    assert not X.isna().any().any()
    strings = X.select_dtypes(exclude="number").columns.tolist()
    assert strings == ["category", "channel"]
    assert np.isfinite(X.drop(columns=strings).to_numpy(dtype=float)).all()
    assert (X["amount"] > 0).all()
    assert X["hour"].between(0, 23).all()
    assert X["weekday"].between(0, 6).all()
    online = X["category"].isin(["online_shop", "digital_goods"])
    assert ((X["channel"] == "online") == online).all()


def test_frauds_overlap_with_honest_payments():
    """A good model finds many frauds and far from all; no single feature gives the label away."""
    X, y = make_transactions(random_state=0)
    numbers = X.select_dtypes("number")
    for name in numbers:
        honest, fraud = numbers.loc[y == 0, name], numbers.loc[y == 1, name]
        assert honest.min() <= fraud.quantile(0.02), name
        assert honest.max() >= fraud.quantile(0.98), name
    assert (pd.crosstab(X["category"], y) > 0).all(axis=None)
    assert (pd.crosstab(X["channel"], y) > 0).all(axis=None)

    X = X.assign(**{name: pd.factorize(X[name])[0] for name in ("category", "channel")})
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    model = HistGradientBoostingClassifier(random_state=0).fit(X_train, y_train)
    assert 0.5 < average_precision_score(y_test, model.predict_proba(X_test)[:, 1]) < 0.8


def test_noise_columns_know_nothing_of_the_label():
    X, y = make_transactions(random_state=0)
    for name in X.columns[-4:]:
        assert abs(np.corrcoef(X[name], y)[0, 1]) < 0.04, name


@pytest.fixture
def payments():
    rng = np.random.default_rng(0)
    n = 300
    return rng.integers(0, 12, n), np.sort(rng.uniform(0, 60, n)), rng.lognormal(3, 1, n), rng.lognormal(3, 0.3, 12)


def test_history_features_are_those_of_the_definition(payments):
    customer, time, amount, earlier = payments
    past_mean, since_last = _past_of_customers(customer, time, amount, earlier)
    for window in (1.0, 7.0):
        recent = _n_recent(customer, time, window)
        for i in range(len(time)):
            mine = customer[:i] == customer[i]
            assert recent[i] == (mine & (time[:i] >= time[i] - window)).sum()
    for i in range(len(time)):
        mine = customer[:i] == customer[i]
        mean = (3 * earlier[customer[i]] + amount[:i][mine].sum()) / (3 + mine.sum())
        gap = min(7.0, time[i] - time[:i][mine][-1]) if mine.any() else 7.0
        assert past_mean[i] == pytest.approx(mean)
        assert since_last[i] == pytest.approx(gap * 86_400)


def test_history_features_use_only_the_past(payments):
    """What comes later, the amount of the payment itself included, changes nothing before."""
    customer, time, amount, earlier = payments
    now = 150
    other_customer, other_amount = customer.copy(), amount.copy()
    other_customer[now + 1 :] = 0
    other_amount[now:] *= 100
    for whole, other in zip(
        _past_of_customers(customer, time, amount, earlier),
        _past_of_customers(other_customer, time, other_amount, earlier),
        strict=True,
    ):
        np.testing.assert_allclose(whole[: now + 1], other[: now + 1])
    np.testing.assert_array_equal(
        _n_recent(customer, time, 7.0)[: now + 1], _n_recent(other_customer, time, 7.0)[: now + 1]
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 19}, "'n_samples'.*at least 20.*19"),
        ({"n_samples": 100.0}, "'n_samples'.*int.*100.0"),
        ({"n_samples": True}, "'n_samples'"),
        ({"fraud_rate": 5}, "'fraud_rate'.*share and not a percentage.*5"),
        ({"fraud_rate": 0.0}, "'fraud_rate'"),
        ({"fraud_rate": float("nan")}, "'fraud_rate'.*nan"),
        ({"fraud_rate": "5 %"}, "'fraud_rate'.*5 %"),
        ({"n_samples": 50, "fraud_rate": 0.005}, "not one fraud.*at least 200"),
        ({"random_state": -1}, "'random_state'.*-1"),
        ({"random_state": "seed"}, "'random_state'.*seed"),
    ],
)
def test_bad_parameters_are_refused_by_name(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_transactions(**parameters)


def test_missing_pandas_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r'pandas is missing.*pip install "sklreg\[examples\]"'):
        make_transactions(100)
