r"""
Early stopping is L2, for a linear model
========================================

Gradient descent finds first what the data show most clearly.  Whoever stops it early leaves out the rest, and so does
an L2 penalty.  For a linear model and squared error both can be computed: along the eigenvector of the covariance with
eigenvalue :math:`\lambda_i`, :math:`t` steps of size :math:`\eta` from zero reach a share of
:math:`1 - (1 - \eta \lambda_i)^t` of the least-squares solution, and a penalty of strength ``l2`` leaves
:math:`\lambda_i / (\lambda_i + \mathtt{l2})` of it.  For small eigenvalues the two are the same where ``l2`` is
:math:`1 / (\eta t)`.
"""

# %%
# The data: ten measurements of patients with diabetes, some of them strongly correlated, so that the eigenvalues of
# their covariance go over three orders of magnitude.  Everything is centred, and there is no intercept to learn.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from sklreg import RegularizedNetRegressor

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=60, random_state=1)
inputs, target = StandardScaler().fit(X_train), StandardScaler().fit(y_train[:, None])
X_train, X_test = inputs.transform(X_train), inputs.transform(X_test)
y_train, y_test = target.transform(y_train[:, None])[:, 0], target.transform(y_test[:, None])[:, 0]

eigenvalues, directions = np.linalg.eigh(X_train.T @ X_train / len(X_train))
least_squares = np.linalg.lstsq(X_train, y_train)[0]
print("eigenvalues", eigenvalues.round(3))

# %%
# A linear module that starts at zero, and a callback that keeps its weights of every step.  ``batch_size=-1`` makes an
# epoch one step on all samples.


class LinearFromZero(nn.Linear):
    """Linear model in double precision, with weights and intercept of zero."""

    def __init__(self, n_features):
        super().__init__(n_features, 1, dtype=torch.float64)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class WeightsOfEpochs(Callback):
    """Keep the weights after every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.weights = []

    def on_epoch_end(self, net, **kwargs):
        self.weights.append(net.module_.weight.detach().numpy()[0].copy())


STEP_SIZE, N_STEPS = 0.2, 300
path = WeightsOfEpochs()
common = {"module": LinearFromZero, "batch_size": -1, "weight_decay": 0.0, "early_stopping": False}
RegularizedNetRegressor(optimizer=torch.optim.SGD, lr=STEP_SIZE, max_epochs=N_STEPS, callbacks=[path], **common).fit(
    X_train, y_train
)
descent = np.array(path.weights)

# %%
# L2 penalties of the strengths that belong to some of the steps, ``1 / (step size * steps)``, each minimized with
# another optimizer of torch, L-BFGS.

shown = np.array([1, 3, 10, 30, 100, 300])
penalized = np.array(
    [
        RegularizedNetRegressor(optimizer=torch.optim.LBFGS, lr=1.0, max_epochs=5, l2=1 / (STEP_SIZE * steps), **common)
        .fit(X_train, y_train)
        .module_.weight.detach()
        .numpy()[0]
        for steps in shown
    ]
)


def share(weights):
    """Return how much of the least-squares solution there is along each eigenvector."""
    return weights @ directions / (least_squares @ directions)


by_formula = 1 - (1 - STEP_SIZE * eigenvalues) ** shown[:, None]
ridge_by_formula = eigenvalues / (eigenvalues + 1 / (STEP_SIZE * shown[:, None]))
print(
    f"gradient descent, largest difference from the formula: {np.abs(share(descent[shown - 1]) - by_formula).max():.0e}"
)
print(f"L2, largest difference from the formula:               {np.abs(share(penalized) - ridge_by_formula).max():.0e}")
print(f"largest difference between the two:                    {np.abs(by_formula - ridge_by_formula).max():.2f}")

# %%
# Left: what three numbers of steps, and the three penalties that belong to them, keep along each eigenvector; dots are
# the networks, lines the formulas.  Middle: all ten coefficients as training goes on, and as the penalty falls.  Right:
# the error on new samples.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
grid = np.geomspace(eigenvalues.min() / 8, eigenvalues.max() * 1.2, 200)
for color, steps in enumerate([3, 30, 300]):
    strength = 1 / (STEP_SIZE * steps)
    row = np.flatnonzero(shown == steps)[0]
    axes[0].plot(grid, 1 - (1 - STEP_SIZE * grid) ** steps, color=f"C{color}", label=f"{steps} steps")
    axes[0].plot(grid, grid / (grid + strength), "--", color=f"C{color}", label=f"l2 = {strength:.3g}")
    axes[0].plot(eigenvalues, share(descent[steps - 1]), "o", color=f"C{color}", ms=4)
    axes[0].plot(eigenvalues, share(penalized[row]), "s", color=f"C{color}", ms=4, mfc="none")
axes[0].set(xscale="log", xlabel="eigenvalue", title="share of the least-squares solution")
axes[0].legend(frameon=False, fontsize=8)

time, time_shown = STEP_SIZE * np.arange(1, N_STEPS + 1), STEP_SIZE * shown
for j in range(X_train.shape[1]):
    axes[1].plot(time, descent[:, j], color=f"C{j}", lw=1.2)
    axes[1].plot(time_shown, penalized[:, j], "s--", color=f"C{j}", lw=0.8, ms=4, mfc="none")
axes[1].set(xscale="log", xlabel="step size x steps, or 1 / l2", title="coefficients: descent —, L2 - -")


def test_error(weights):
    """Return the mean squared error on the test samples for each row of weights."""
    return ((X_test @ weights.T - y_test[:, None]) ** 2).mean(axis=0)


axes[2].plot(time, test_error(descent), label="descent")
axes[2].plot(time_shown, test_error(penalized), "s--", mfc="none", label="L2")
axes[2].axhline(test_error(least_squares[None])[0], color="grey", ls=":", label="least squares")
axes[2].set(xscale="log", xlabel="step size x steps, or 1 / l2", title="mean squared error on new samples")
axes[2].legend(frameon=False)
plt.show()

# %%
# Learnt: for a linear model the number of steps is a strength of regularization, of one over step size times steps.  It
# is not quite that of L2: descent keeps more of what the data show clearly, and at its best stops at fewer steps than
# the rule says.  What either gains on new samples is the same here.  For a deeper network nothing as exact holds.
