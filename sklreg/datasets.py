"""Simulated data for examples and tests."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_N_DAYS = 60.0
_CATEGORIES = np.array(
    ["groceries", "restaurant", "fuel", "clothing", "electronics", "travel", "online_shop", "digital_goods"]
)
_N_CATEGORIES = len(_CATEGORIES)
_TYPICAL_AMOUNT = np.array([32.0, 24.0, 45.0, 55.0, 120.0, 160.0, 48.0, 12.0])
_SPREAD = np.array([0.6, 0.6, 0.4, 0.7, 0.9, 0.8, 0.8, 0.8])  # of the logarithm of the amount
_HONEST_SHARE = np.array([0.30, 0.17, 0.10, 0.09, 0.05, 0.04, 0.15, 0.10])
_ONLINE = np.array([False, False, False, False, False, False, True, True])


class _Payments(NamedTuple):
    """Transactions, one entry of every array for each: who paid, what, where and when."""

    customer: Ints
    category: Ints
    terminal: Ints
    time: Floats  # days since the start
    amount: Floats
    place: Floats  # (n, 2), in km; of the terminal, or of the device for payments online
    swiped: NDArray[np.bool_]  # the magnetic stripe was used, as with a cloned card


class _World:
    """Customers with habits, and terminals with a category and a place."""

    def __init__(self, n_samples: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.n_customers = n = max(5, n_samples // 40)
        self.home = rng.normal(scale=60.0, size=(n, 2))
        self.level = rng.normal(scale=0.5, size=n)  # of spending, on the scale of logarithms
        activity = rng.gamma(2.0, size=n)
        self.activity = activity / activity.sum()
        # Some people work at night: payments at odd hours are not fraud by themselves.
        night = rng.random(n) < 0.10
        self.peak_hour = np.where(night, rng.normal(1.0, 2.0, n), rng.normal(14.5, 2.0, n))
        taste = _HONEST_SHARE * rng.gamma(3.0, size=(n, _N_CATEGORIES))
        self.taste = taste / taste.sum(axis=1, keepdims=True)
        self.age = rng.integers(18, 85, n)
        self.tenure = rng.exponential(6.0, n) + 0.1
        self.utilization = rng.beta(2.0, 4.0, n)
        self.trip_start = np.where(rng.random(n) < 0.35, rng.uniform(0, _N_DAYS, n), np.inf)
        self.trip_end = self.trip_start + rng.uniform(3, 12, n)
        self.trip_place = self.home + rng.normal(scale=250.0, size=(n, 2))
        # What the bank knows of the months before.
        self.earlier_mean = 55.0 * np.exp(self.level + rng.normal(scale=0.15, size=n))

        self.n_terminals = n_terminals = max(3 * _N_CATEGORIES, n_samples // 40)
        shares = np.sqrt(_HONEST_SHARE)
        category = rng.choice(_N_CATEGORIES, size=n_terminals, p=shares / shares.sum())
        category[:_N_CATEGORIES] = np.arange(_N_CATEGORIES)  # at least one of each
        self.terminal_category = np.sort(category)
        self.first_terminal = np.searchsorted(self.terminal_category, np.arange(_N_CATEGORIES + 1))
        self.terminal_place = rng.normal(scale=70.0, size=(n_terminals, 2))

    def hours(self, customer: Ints) -> Floats:
        """Return hours of the day at which these customers pay."""
        hours: Floats = (self.peak_hour[customer] + self.rng.normal(scale=4.0, size=len(customer))) % 24
        return hours

    def whereabouts(self, customer: Ints, time: Floats) -> Floats:
        """Return where these customers are: at home, or on a trip."""
        away = (self.trip_start[customer] <= time) & (time < self.trip_end[customer])
        return np.where(away[:, None], self.trip_place[customer], self.home[customer])

    def amounts(self, customer: Ints, category: Ints) -> Floats:
        """Return ordinary amounts of these customers in these categories."""
        noise = self.rng.normal(size=len(customer)) * _SPREAD[category]
        amounts: Floats = _TYPICAL_AMOUNT[category] * np.exp(self.level[customer] + noise)
        return amounts

    def terminals(self, category: Ints, near: Floats) -> Ints:
        """Return terminals of these categories, each the nearest of a few."""
        first, last = self.first_terminal[category], self.first_terminal[category + 1]
        candidates = first[:, None] + (self.rng.random((len(category), 4)) * (last - first)[:, None]).astype(np.int64)
        distance = np.linalg.norm(self.terminal_place[candidates] - near[:, None, :], axis=2)
        chosen: Ints = np.take_along_axis(candidates, distance.argmin(axis=1)[:, None], axis=1)[:, 0]
        return chosen

    def pay(
        self,
        customer: Ints,
        category: Ints,
        time: Floats,
        amount: Floats,
        near: Floats,
        *,
        share_far: float = 0.04,
        share_swiped: float = 0.05,
        terminal: Ints | None = None,
    ) -> _Payments:
        """Return payments near the places ``near``; online a share of the devices seems to be far away."""
        n = len(customer)
        if terminal is None:
            terminal = self.terminals(category, near)
        online = _ONLINE[category]
        far = self.rng.random(n) < share_far
        device = near + self.rng.normal(size=(n, 2)) * np.where(far, 400.0, 12.0)[:, None]
        # A terminal stands somewhere near the customer: chains have branches.
        branch = near + 0.35 * (self.terminal_place[terminal] - near)
        place = np.where(online[:, None], device, branch)
        swiped = ~online & (self.rng.random(n) < share_swiped)
        return _Payments(customer, category, terminal, time % _N_DAYS, amount, place, swiped)


def _honest(world: _World, n: int) -> _Payments:
    """Return honest payments, some of which look like fraud."""
    rng = world.rng
    customer = rng.choice(world.n_customers, size=n, p=world.activity)
    cumulated = world.taste.cumsum(axis=1)[customer]
    category = np.minimum((rng.random(n)[:, None] > cumulated).sum(axis=1), _N_CATEGORIES - 1)
    time = np.floor(rng.uniform(0, _N_DAYS, n)) + world.hours(customer) / 24
    # People shop in bouts: a fifth of the payments follow another of the same customer within hours.
    follows = np.flatnonzero(rng.random(n) < 0.2)
    leader = rng.integers(0, n, len(follows))
    customer[follows] = customer[leader]
    time[follows] = time[leader] + rng.exponential(0.06, len(follows))
    amount = world.amounts(customer, category)
    amount = np.where(rng.random(n) < 0.04, amount * rng.uniform(2.5, 8.0, n), amount)  # big purchases
    small = _ONLINE[category] & (rng.random(n) < 0.10)  # in-game purchases, fares, tips
    amount = np.where(small, rng.uniform(0.5, 6.0, n), amount)
    return world.pay(customer, category, time, amount, world.whereabouts(customer, time))


def _attacks(world: _World, n: int, sizes: tuple[int, int]) -> tuple[Ints, Ints]:
    """Return for each of ``n`` frauds the attack it belongs to, and how many came before it in that attack."""
    attack = np.repeat(np.arange(n), world.rng.integers(sizes[0], sizes[1] + 1, n))[:n]
    return attack, np.arange(n) - np.searchsorted(attack, attack)


def _attack_time(world: _World, attack: Ints) -> Floats:
    return world.rng.uniform(0, _N_DAYS - 1, len(attack))[attack]


def _stolen_card(world: _World, n: int) -> _Payments:
    """Return larger payments in shops within a day of the theft, more often at night and away from home."""
    rng = world.rng
    attack, _ = _attacks(world, n, (2, 6))
    customer = rng.integers(0, world.n_customers, n)[attack]
    category = rng.choice(_N_CATEGORIES, size=n, p=[0.14, 0.08, 0.14, 0.22, 0.24, 0.08, 0.08, 0.02])
    day = np.floor(rng.uniform(0, _N_DAYS, n))[attack]
    odd = (rng.random(n) < 0.7)[attack]
    time = day + np.where(odd, rng.normal(1.0, 3.0, n) % 24, world.hours(customer)) / 24
    amount = world.amounts(customer, category) * np.exp(rng.normal(1.0, 0.5, n))
    shift = rng.normal(size=(n, 2))[attack] * np.where(rng.random(n) < 0.6, 120.0, 20.0)[attack][:, None]
    return world.pay(customer, category, time, amount, world.home[customer] + shift, share_swiped=0.45)


def _compromised_terminal(world: _World, n: int) -> _Payments:
    """Return ordinary amounts, with cloned cards, at one terminal during a week."""
    rng = world.rng
    attack, _ = _attacks(world, n, (20, 40))
    in_shops = np.flatnonzero(~_ONLINE[world.terminal_category])
    terminal = rng.choice(in_shops, size=n)[attack]
    category = world.terminal_category[terminal]
    customer = rng.choice(world.n_customers, size=n, p=world.activity)
    time = np.floor(_attack_time(world, attack) + rng.uniform(0, 7, n)) + world.hours(customer) / 24
    amount = world.amounts(customer, category) * np.exp(rng.normal(0.25, 0.3, n))
    near = world.whereabouts(customer, time)
    return world.pay(customer, category, time, amount, near, share_swiped=0.85, terminal=terminal)


def _card_not_present(world: _World, n: int) -> _Payments:
    """Return payments online with stolen card numbers, slightly larger, over a day or two."""
    rng = world.rng
    attack, _ = _attacks(world, n, (1, 5))
    customer = rng.integers(0, world.n_customers, n)[attack]
    category = np.where(rng.random(n) < 0.75, 6, 7)
    time = _attack_time(world, attack) + rng.exponential(0.4, n)
    amount = world.amounts(customer, category) * np.exp(rng.normal(0.8, 0.4, n))
    return world.pay(customer, category, time, amount, world.whereabouts(customer, time), share_far=0.65)


def _card_testing(world: _World, n: int) -> _Payments:
    """Return small payments online within an hour, and a larger one after each four."""
    rng = world.rng
    attack, position = _attacks(world, n, (3, 6))
    customer = rng.integers(0, world.n_customers, n)[attack]
    category = np.where(rng.random(n) < 0.3, 6, 7)
    time = _attack_time(world, attack) + position * rng.uniform(0.003, 0.02, n)[attack]
    large = position >= 3
    amount = np.where(large, 1.5 * world.amounts(customer, category), rng.uniform(0.5, 6.0, n))
    return world.pay(customer, category, time, amount, world.whereabouts(customer, time), share_far=0.60)


_SCENARIOS = ((_stolen_card, 0.30), (_compromised_terminal, 0.25), (_card_not_present, 0.30), (_card_testing, 0.15))


def _frauds(world: _World, n: int) -> list[_Payments]:
    """Return ``n`` frauds in all, shared among the scenarios."""
    bounds = np.rint(np.cumsum([0.0] + [share for _, share in _SCENARIOS]) * n).astype(int)
    return [
        scenario(world, int(size)) for (scenario, _), size in zip(_SCENARIOS, np.diff(bounds), strict=True) if size > 0
    ]


def _gather(kinds: list[_Payments], order: Ints | slice = slice(None)) -> _Payments:
    """Return all payments of ``kinds``, in ``order``."""
    columns: list[NDArray[Any]] = [np.concatenate(parts)[order] for parts in zip(*kinds, strict=True)]
    return _Payments(*columns)


def _n_recent(group: Ints, time: Floats, window: float) -> Ints:
    """Return how many earlier transactions of its group each has within ``window`` days before it.

    The transactions are in order of time.
    """
    span = 10 * (_N_DAYS + window)  # keeps groups apart on one axis
    order = np.lexsort((np.arange(len(time)), group))
    key = (group * span + time)[order]
    recent = np.empty(len(time), dtype=np.int64)
    recent[order] = np.arange(len(time)) - np.searchsorted(key, key - window)
    return recent


def _past_of_customers(customer: Ints, time: Floats, amount: Floats, earlier_mean: Floats) -> tuple[Floats, Floats]:
    """Return mean amount and seconds since the last transaction, of each transaction's customer before it.

    The transactions are in order of time.  ``earlier_mean`` is each customer's mean amount before the first of them; it
    counts as three.
    """
    order = np.lexsort((np.arange(len(time)), customer))
    by_customer, sums = customer[order], np.cumsum(amount[order]) - amount[order]
    first = np.searchsorted(by_customer, by_customer)
    n_past = np.arange(len(order)) - first
    mean = (3 * earlier_mean[by_customer] + sums - sums[first]) / (3 + n_past)
    gap = np.diff(time[order], prepend=0.0)
    gap = np.where(n_past == 0, 7.0, np.minimum(gap, 7.0))  # the bank looks back a week
    past_mean, since_last = np.empty(len(order)), np.empty(len(order))
    past_mean[order], since_last[order] = mean, gap * 86_400
    return past_mean, since_last


def make_transactions(
    n_samples: int = 10_000,
    *,
    fraud_rate: float = 0.05,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Simulate card transactions, a few of which are frauds.

    The data are simulated: no customer, merchant or payment is real, and how well a model does on them says nothing
    about any bank.  Customers with a home, a level of spending and hours of their own pay over 60 days.  Four kinds of
    fraud are mixed in: stolen cards, compromised terminals, card numbers used online, and tests with small amounts.
    They overlap with honest travel, night work, bouts of shopping and big purchases.  A few labels are wrong, as in
    practice: 4 % of the frauds went unnoticed, and as many honest payments were disputed.

    Needs pandas (``pip install "sklreg[examples]"``).

    Parameters
    ----------
    n_samples : int, default=10000
        Number of transactions, at least 20.
    fraud_rate : float, default=0.05
        Share of transactions labelled as fraud, in (0, 0.5].  Exactly ``round(n_samples * fraud_rate)`` are, which must
        be at least 1.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the simulation.  The same int gives the same data.  No global generator is read or changed; None takes
        fresh entropy from the system.

    Returns
    -------
    X : DataFrame of shape (n_samples, 19)
        One transaction a row, in order of time; ``category`` and ``channel`` are strings, the others numbers.  Features
        of a customer's or terminal's history are made of earlier transactions only.  The last four columns are noise.
    y : ndarray of shape (n_samples,)
        1 for fraud, 0 for honest.

    Examples
    --------
    >>> from sklreg.datasets import make_transactions
    >>> X, y = make_transactions(1_000, fraud_rate=0.05, random_state=0)
    >>> X.shape, int(y.sum())
    ((1000, 19), 50)
    """
    n_samples, n_frauds = _check_sizes(n_samples, fraud_rate)
    rng = _check_generator(random_state)
    pd = _import_pandas()

    world = _World(n_samples, rng)
    kinds = [_honest(world, n_samples - n_frauds), *_frauds(world, n_frauds)]
    payments = _gather(kinds)
    y = np.repeat(np.array([0, 1], dtype=np.int64), [n_samples - n_frauds, n_frauds])
    n_wrong = round(0.04 * n_frauds)
    unnoticed = n_samples - n_frauds + rng.choice(n_frauds, size=n_wrong, replace=False)
    disputed = rng.choice(n_samples - n_frauds, size=n_wrong, replace=False)
    y[unnoticed], y[disputed] = 0, 1

    order = np.argsort(payments.time, kind="stable")
    payments, y = _gather([payments], order), y[order]
    return pd.DataFrame(_features(world, payments)), y


def _features(world: _World, payments: _Payments) -> dict[str, NDArray[Any]]:
    """Return what a bank knows at the time of each payment."""
    rng, n = world.rng, len(payments.time)
    customer, time = payments.customer, payments.time
    amount = np.maximum(payments.amount, 0.01).round(2)
    past_mean, since_last = _past_of_customers(customer, time, amount, world.earlier_mean)
    in_shop = np.where(payments.swiped, "swipe", np.where(rng.random(n) < 0.6, "contactless", "chip"))
    return {
        "amount": amount,
        "hour": np.floor(time * 24 % 24).astype(np.int64),
        "weekday": np.floor(time % 7).astype(np.int64),
        "category": _CATEGORIES[payments.category],
        "channel": np.where(_ONLINE[payments.category], "online", in_shop),
        "customer_age": world.age[customer],
        "customer_tenure_years": (world.tenure[customer] + time / 365).round(2),
        "credit_utilization": (world.utilization[customer] + rng.normal(scale=0.05, size=n)).clip(0, 1).round(3),
        "distance_from_home_km": np.linalg.norm(payments.place - world.home[customer], axis=1).round(1),
        "amount_to_past_mean": (amount / past_mean).round(4),
        "n_customer_last_day": _n_recent(customer, time, 1.0),
        "n_customer_last_week": _n_recent(customer, time, 7.0),
        "n_terminal_last_day": _n_recent(payments.terminal, time, 1.0),
        "n_terminal_last_week": _n_recent(payments.terminal, time, 7.0),
        "seconds_since_last": since_last.round(0),
        "network_latency_ms": rng.lognormal(4.0, 0.4, n).round(1),
        "batch_position": rng.integers(0, 1_000, n),
        "clock_drift_ms": rng.normal(scale=20.0, size=n).round(2),
        "days_since_statement": rng.integers(0, 31, n),
    }


def _check_sizes(n_samples: int, fraud_rate: float) -> tuple[int, int]:
    """Return the numbers of transactions and of frauds."""
    if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 20:
        raise ValueError(
            f"The 'n_samples' parameter of make_transactions must be an int of at least 20. Got {n_samples!r} instead."
        )
    if isinstance(fraud_rate, bool) or not isinstance(fraud_rate, Real) or not 0 < fraud_rate <= 0.5:
        raise ValueError(
            "The 'fraud_rate' parameter of make_transactions must be a float in (0, 0.5], a share and not a "
            f"percentage. Got {fraud_rate!r} instead."
        )
    n_frauds = round(int(n_samples) * float(fraud_rate))
    if n_frauds < 1:
        raise ValueError(
            f"make_transactions: fraud_rate={fraud_rate!r} of n_samples={n_samples!r} is not one fraud. "
            f"Raise n_samples to at least {int(np.ceil(1 / float(fraud_rate)))}, or raise fraud_rate."
        )
    return int(n_samples), n_frauds


def _check_generator(random_state: Any) -> np.random.Generator:
    """Return a generator of its own: numpy's global one stays as it is."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31, size=4))
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, Integral) and not isinstance(random_state, bool) and int(random_state) >= 0:
        return np.random.default_rng(int(random_state))
    raise ValueError(
        "The 'random_state' parameter of make_transactions must be an int of at least 0, a RandomState, a Generator or "
        f"None. Got {random_state!r} instead."
    )


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "make_transactions returns a pandas DataFrame, and pandas is missing. "
            'Install it with pip install "sklreg[examples]".'
        ) from error
    return pandas
