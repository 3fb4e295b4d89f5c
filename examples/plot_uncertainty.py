"""
How sure is a network?  Spread, intervals and calibrated probabilities
======================================================================

Three questions that are often taken for one: how far several networks lie apart, where the next value will be, and
whether a probability of 0.8 comes true in eight cases of ten.
"""

# %%
# One input, some noise, and two places without samples: a gap in the middle and everything outside.  Half of the
# samples are set aside, for the intervals.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import train_test_split

from sklreg import RegularizedMLPClassifier, RegularizedMLPRegressor, batched_training

NOISE = 0.15
random = np.random.default_rng(0)


def draw(n):
    """Draw inputs on both sides of the gap, and noisy values of a curve."""
    x = random.choice([-1, 1], n) * random.uniform(0.25, 1.0, n)
    return x[:, None], truth(x) + NOISE * random.normal(size=n)


def truth(x):
    """Return the curve."""
    return np.sin(6 * x)


X, y = draw(400)
X_train, X_held_out, y_train, y_held_out = train_test_split(X, y, test_size=0.5, random_state=0)

settings = {
    "activation": "relu",
    "weight_decay": 1e-4,
    "solver": "adam",
    "learning_rate_init": 0.01,
    "max_iter": 300,
    "early_stopping": False,
}
models = {
    "dropout=0.1": RegularizedMLPRegressor((64, 64), dropout=0.1, **settings, random_state=0),
    "n_members=10": RegularizedMLPRegressor((64, 64), n_members=10, **settings, random_state=0),
}
for model in models.values():
    model.fit(X_train, y_train)

# %%
# ``predict_std`` is the spread of the networks: those that dropout thins one out to, or the members of an ensemble.
# An interval for the next value has to hold the noise, too.  How wide it must be is read off the samples that were set
# aside: the width that holds nine tenths of them (split conformal prediction).


def half_width(model, X_held_out, y_held_out, level=0.9):
    """Return half the width of intervals that hold a share ``level`` of new values."""
    error = np.sort(np.abs(y_held_out - model.predict(X_held_out)))
    return error[int(np.ceil((len(error) + 1) * level)) - 1]


grid = np.linspace(-1.6, 1.6, 321)[:, None]
X_new, y_new = draw(10_000)
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    mean, std = model.predict(grid), model.predict_std(grid, random_state=0)
    half = half_width(model, X_held_out, y_held_out)
    ax.fill_between(grid[:, 0], mean - half, mean + half, color="C0", alpha=0.15, label="90 % interval, conformal")
    ax.fill_between(grid[:, 0], mean - 2 * std, mean + 2 * std, color="C1", alpha=0.45, label="two predict_std")
    ax.plot(grid, mean, color="C0", label="predict")
    ax.plot(grid, truth(grid), "k:", linewidth=1, label="the truth")
    ax.plot(X_train, y_train, "k.", markersize=3, label="trained on")
    ax.set(title=name, xlabel="input", ylim=(-3.5, 3.5))
    inside = np.abs(y_new - model.predict(X_new)) <= half
    print(f"{name:<13} of new values the interval holds {inside.mean():.1%}")
axes[0].legend(loc="lower left", fontsize="small", ncols=2)
plt.show()

# %%
# In the gap the members disagree, and outside, where nothing holds them, too.  The networks that dropout makes of one
# disagree less in the gap, and have a say where there are samples.  The interval has one width everywhere.  Its share
# is that of new values from where the samples came from, give or take what the luck of 200 samples makes; elsewhere it
# promises nothing.
#
# Now probabilities.  A network that was let to learn its samples by heart is too certain: of the cases to which it
# gives a probability of 0.95, fewer come true.

X, y = make_classification(
    11_500, n_features=20, n_informative=5, n_clusters_per_class=2, class_sep=0.5, flip_y=0.05, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(X.astype(np.float32), y, train_size=1_500, random_state=0)

plain = RegularizedMLPClassifier(
    (100,), activation="relu", weight_decay=0.0, solver="adam", learning_rate_init=3e-3, max_iter=60,
    early_stopping=False, random_state=0,
)  # fmt: skip
classifiers = {
    "no regularization": plain,
    "the same, calibrated": CalibratedClassifierCV(plain, method="sigmoid", ensemble=False),
    "defaults": RegularizedMLPClassifier(random_state=0),
    "defaults, n_members=5": RegularizedMLPClassifier(n_members=5, random_state=0),
}

figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
for name, classifier in classifiers.items():
    with batched_training():  # the folds of the calibration train together
        classifier.fit(X_train, y_train)
    proba = classifier.predict_proba(X_test)[:, 1]
    CalibrationDisplay.from_predictions(y_test, proba, n_bins=10, strategy="quantile", name=name, ax=ax, markersize=4)
    print(f"{name:<22} Brier score {brier_score_loss(y_test, proba):.3f}  log loss {log_loss(y_test, proba):.3f}")
ax.legend(loc="upper left", fontsize="small")
plt.show()

# %%
# Learnt: calibration makes an overfitted network honest, and no better at telling the classes apart.  Regularization
# does both, and several networks do it once more.  :ref:`calibration` has more tables and more ways.
