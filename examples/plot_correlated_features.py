"""
L1 picks one of several correlated features, the elastic net keeps them together
================================================================================

L1 sets coefficients to exactly zero, and L2 never does.  Where features are nearly copies of each other, L1 is content
with one of them, and which one is a matter of chance; the L2 part of the elastic net shares the effect out among all.
"""

# %%
# The data: twelve features in three groups of four.  Those of a group are a common signal with a little noise.  The
# target depends on the signals of the first two groups.

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import ElasticNet

from sklreg import ElasticNetMLP, batched_training

N_SAMPLES, GROUP_SIZE = 50, 4
PENALTIES = {"L1": (0.3, 1.0), "elastic net": (0.3, 0.5), "L2": (0.3, 0.0)}  # alpha and l1_ratio

rng = np.random.default_rng(0)


def draw():
    """Return new samples."""
    signals = rng.normal(size=(N_SAMPLES, 3))
    X = np.repeat(signals, GROUP_SIZE, axis=1) + 0.2 * rng.normal(size=(N_SAMPLES, 3 * GROUP_SIZE))
    return X, 2 * signals[:, 0] - signals[:, 1] + 1.5 * rng.normal(size=N_SAMPLES)


def coefficients(X, y, alpha, l1_ratio):
    """Return the coefficients of the linear model."""
    model = ElasticNetMLP(
        (),
        alpha=alpha,
        l1_ratio=l1_ratio,
        early_stopping=False,
        batch_size="full",
        learning_rate="cosine",
        learning_rate_init=0.05,
        max_iter=600,
        random_state=0,
    )
    return model.fit(X, y).coefs_[0][:, 0]


# %%
# Sixteen draws of the samples.  Nothing but chance is different between them.  All 48 models train together.

draws = [draw() for _ in range(16)]
with batched_training():
    fitted = Parallel()(delayed(coefficients)(X, y, *penalty) for penalty in PENALTIES.values() for X, y in draws)
found = dict(zip(PENALTIES, np.split(np.array(fitted), len(PENALTIES)), strict=True))

# %%
# Each row is a draw, and each column a feature; white is exactly zero.

figure, axes = plt.subplots(1, 3, figsize=(11, 4.6), sharey=True, layout="constrained")
limit = max(np.abs(values).max() for values in found.values())
for axis, (name, values) in zip(axes, found.items(), strict=True):
    image = axis.pcolormesh(
        np.ma.masked_equal(values, 0.0), cmap="PuOr", vmin=-limit, vmax=limit, edgecolors="0.9", linewidth=0.5
    )
    for edge in (GROUP_SIZE, 2 * GROUP_SIZE):
        axis.axvline(edge, color="black", lw=1)
    axis.set_title(f"{name}: {np.mean(values == 0):.0%} exactly zero")
    axis.set_xticks(GROUP_SIZE * (np.arange(3) + 0.5), ["effect 2", "effect -1", "no effect"])
    axis.tick_params(length=0)
axes[0].set_ylabel("draw")
figure.colorbar(image, ax=axes, label="coefficient")
plt.show()

# %%
# In numbers: how many of the four features of the first group are kept, and how much their coefficients differ.

print(f"{'':<12} {'kept of 4':>10} {'sum':>6} {'largest - smallest':>19}")
for name, values in found.items():
    first = values[:, :GROUP_SIZE]
    kept, total, spread = (first != 0).sum(axis=1).mean(), first.sum(axis=1).mean(), np.ptp(first, axis=1).mean()
    print(f"{name:<12} {kept:>10.1f} {total:>6.2f} {spread:>19.2f}")

# %%
# Two features that are the same.  For L1 every way to share the effect between them costs the same: ours starts at zero
# and shares it equally, while scikit-learn's goes from one coefficient to the next and leaves nothing for the second.
# For the elastic net there is one answer, and it is fair.

X, y = draws[0]
twins = np.column_stack([X[:, 0], X[:, 0]])
for name in ("L1", "elastic net"):
    alpha, l1_ratio = PENALTIES[name]
    theirs = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=10_000).fit(twins, y).coef_
    ours = coefficients(twins, y, alpha, l1_ratio)
    print(f"{name:<12} scikit-learn: {theirs.round(3)}, here: {ours.round(3)}")

# %%
# Learnt: who wants a short list of features takes L1, and does not read much into which of several similar ones is on
# it.  Who wants all that matter takes an elastic net.
