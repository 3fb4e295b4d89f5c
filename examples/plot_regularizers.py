"""
What dropout, L2 and early stopping do to the curves
====================================================

A network of almost 5,000 weights learns 200 noisy samples by heart: its training loss goes to zero while its
validation loss climbs.  The four panels show the same network, the same data and the same seed with no regularizer,
with dropout, with an L2 penalty, and with early stopping.
"""

# %%
# The data: two interleaved half-moons, a tenth of the labels wrong, and ten columns of noise.
# The validation samples come from the same source, and there are many of them, so that their curve is smooth.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from sklreg import RegularizedMLPClassifier


def noisy_moons(n_samples, random_state):
    """Return half-moons with ten columns of noise and a tenth of the labels flipped."""
    X, y = make_moons(n_samples, noise=0.3, random_state=random_state)
    rng = np.random.default_rng(random_state)
    return np.hstack([X, rng.normal(size=(n_samples, 10))]), np.where(rng.random(n_samples) < 0.1, 1 - y, y)


X, y = noisy_moons(200, random_state=0)
X_val, y_val = noisy_moons(2_000, random_state=1)

# %%
# To see the whole validation curve, the first three models get a ``patience`` as long as the training: they are
# watched and never stopped.  ``weight_decay`` is the regularizer that is on by default, so it is switched off.
# The training loss of dropout is that of the thinned network.

MAX_ITER = 150
common = {
    "hidden_layer_sizes": (64, 64),
    "activation": "relu",
    "weight_decay": 0.0,
    "solver": "adam",
    "learning_rate_init": 1e-3,
    "batch_size": 50,
    "max_iter": MAX_ITER,
    "random_state": 0,
}
models = {
    "no regularizer": RegularizedMLPClassifier(patience=MAX_ITER, **common),
    "dropout=0.5": RegularizedMLPClassifier(dropout=0.5, patience=MAX_ITER, **common),
    "l2=0.04": RegularizedMLPClassifier(l2=0.04, patience=MAX_ITER, **common),
    "early stopping, patience=10": RegularizedMLPClassifier(patience=10, **common),
}
for model in models.values():
    model.fit(X, y, X_val=X_val, y_val=y_val)

# %%
# The dot is the epoch whose weights are kept.

figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, sharey=True, layout="constrained")
for axis, (name, model) in zip(axes.flat, models.items(), strict=True):
    epoch = [record["epoch"] for record in model.history_]
    validation_loss = [record["validation_loss"] for record in model.history_]
    axis.plot(epoch, model.loss_curve_, label="training")
    axis.plot(epoch, validation_loss, label="validation")
    axis.plot(model.best_iter_, min(validation_loss), "ko", label="kept")
    axis.set(title=name, ylim=(0, 1.2))
axes[0, 0].legend(frameon=False)
figure.supxlabel("epoch")
figure.supylabel("cross-entropy")
plt.show()

# %%
# What the last epoch would have left, and what is kept.

print(f"{'':<28} {'epochs':>6} {'kept':>5} {'validation loss: last':>22} {'kept':>6}")
for name, model in models.items():
    loss = [record["validation_loss"] for record in model.history_]
    print(f"{name:<28} {model.n_iter_:>6} {model.best_iter_:>5} {loss[-1]:>22.3f} {min(loss):>6.3f}")

# %%
# Learnt: dropout and L2 keep the validation loss from climbing as training goes on.  Early stopping does not change the
# network's path; it gets off in time, and so costs the fewest epochs.  On these data the kept weights are about equally
# good in all four panels: the first panel too was watched, and restored its best epoch.
