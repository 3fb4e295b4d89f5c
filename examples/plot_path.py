"""
Correlated features: L1 and the elastic net
===========================================

Of several features that say the same, the L1 penalty keeps some and drops the others; which ones is chance.  The
elastic net shares the weight among them.  The displays show it: :class:`~sklreg.RegularizationPathDisplay` along the
path of penalties, :class:`~sklreg.FeatureImportanceDisplay` at the chosen one.
"""

# %%
# Three quantities are measured by five sensors each, with little noise, among columns that have nothing to do with the
# target.  The target depends on the quantities, on the temperature not linearly.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklreg import ElasticNetMLPCV, FeatureImportanceDisplay, RegularizationPathDisplay

QUANTITIES, N_SENSORS, N_OTHERS = ["temperature", "pressure", "humidity"], 5, 25
SENSORS = {quantity: [f"{quantity} {i}" for i in range(1, N_SENSORS + 1)] for quantity in QUANTITIES}


def make_data(n_samples, random_state, noise=1.0):
    """Return what the sensors read, and a target that depends on what they measure."""
    rng = np.random.default_rng(random_state)
    truth = rng.normal(size=(n_samples, len(QUANTITIES)))
    columns = {}
    for quantity, value in zip(QUANTITIES, truth.T, strict=True):
        columns |= {name: value + 0.2 * rng.normal(size=n_samples) for name in SENSORS[quantity]}
    columns |= {f"other {i}": rng.normal(size=n_samples) for i in range(1, N_OTHERS + 1)}
    temperature, pressure, humidity = truth.T
    y = 2 * np.sin(1.5 * temperature) + 1.5 * pressure + humidity
    return pd.DataFrame(columns), y + noise * rng.normal(size=n_samples)


X, y = make_data(200, random_state=2)

# %%
# The same network with either penalty, ``alpha`` chosen by cross-validation: the greatest whose error is within one
# standard error of the least.  ``penalty_groups='features'`` makes features leave whole.

models = {
    name: ElasticNetMLPCV(
        (16,), l1_ratio=l1_ratio, penalty_groups="features", alphas=10, eps=0.03, learning_rate_init=0.01, max_iter=250,
        one_standard_error=True, random_state=0,
    ).fit(X, y)
    for name, l1_ratio in {"L1": 1.0, "elastic net": 0.5}.items()
}  # fmt: skip

# %%
# The paths.  A display draws its panels in place of the axes that it is given.

figure, axes = plt.subplots(1, 2, figsize=(11, 6.5), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    display = RegularizationPathDisplay.from_estimator(model, ax=ax)
    display.axes_[0].set_title(name)
plt.show()

# %%
# The features at the chosen ``alpha``.

figure, axes = plt.subplots(1, 2, figsize=(11, 5.5), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    FeatureImportanceDisplay.from_estimator(model, ax=ax).ax_.set_title(name)
plt.show()

# %%
# New samples, first as they are; then with a sensor that has failed and reads 0, of each quantity the one that the
# network relies on most.

X_new, y_new = make_data(2_000, random_state=3, noise=0)
print(f"{'':<12} {'sensors kept':>12} {'others kept':>11} {'R2':>6}   R2 without the main sensor of")
print(f"{'':<46} {' '.join(f'{quantity:>11}' for quantity in QUANTITIES)}")
for name, model in models.items():
    importances = pd.Series(model.feature_importances_, index=X.columns)
    is_kept = importances > 0
    n_sensors = sum(is_kept[SENSORS[quantity]].sum() for quantity in QUANTITIES)
    scores = []
    for quantity in QUANTITIES:
        failed = importances[SENSORS[quantity]].idxmax()
        scores.append(model.score(X_new.assign(**{failed: 0.0}), y_new))
    print(
        f"{name:<12} {n_sensors:>12} {is_kept.sum() - n_sensors:>11} {model.score(X_new, y_new):>6.3f}   "
        f"{' '.join(f'{score:>11.3f}' for score in scores)}"
    )

# %%
# Learnt: the elastic net keeps more of the sensors.  No single one carries the weight of all, and where one fails the
# prediction suffers less.  Which of the two predicts better while all sensors work differs from one draw of the data
# to the next.  To find the fewest features that do, take L1.
