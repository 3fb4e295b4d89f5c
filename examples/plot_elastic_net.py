"""
Weights that become exactly zero
================================

The elastic net penalty sets weights to exactly zero, the more the greater ``alpha``.  Without a hidden layer
:class:`~sklreg.ElasticNetMLP` is scikit-learn's :class:`~sklearn.linear_model.ElasticNet`, and reaches the same
coefficients by another road.  With a hidden layer, a feature whose weights are all zero is dropped from the network.
"""

# %%
# Twenty features, of which the first four matter, the first two of them not linearly.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import enet_path

from sklreg import ElasticNetMLP

N_FEATURES, N_RELEVANT = 20, 4


def make_data(n_samples, random_state, noise=0.3):
    """Return inputs and a target that depends on the first four of them."""
    rng = np.random.default_rng(random_state)
    X = rng.normal(size=(n_samples, N_FEATURES))
    y = 2 * np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + X[:, 2] - 1.5 * X[:, 3]
    return X, y + noise * rng.normal(size=n_samples)


X, y = make_data(1_000, random_state=0)

# %%
# The linear model, for thirteen strengths.  To get the coefficients to many digits, train on all samples at once and
# let the step size fall to zero.

alphas = np.geomspace(0.003, 3, 13)
common = {"l1_ratio": 0.9, "early_stopping": False, "batch_size": "full", "learning_rate": "cosine", "random_state": 0}
linear = [ElasticNetMLP((), alpha=alpha, learning_rate_init=0.05, max_iter=400, **common).fit(X, y) for alpha in alphas]
ours = np.array([model.coefs_[0][:, 0] for model in linear])

centred = X - X.mean(axis=0), y - y.mean()
_, path, _ = enet_path(*centred, l1_ratio=0.9, alphas=alphas[::-1], tol=1e-12, max_iter=100_000)
theirs = path.T[::-1]

print(f"largest difference from scikit-learn: {np.abs(ours - theirs).max():.1e}")
print(f"the same weights are exactly zero: {np.array_equal(ours == 0, theirs == 0)}")

# %%
# The same data for a network.  Early stopping is off here too, so that nothing but the penalty regularizes.  The linear
# model cannot see the first two features; the network can.

network_alphas = alphas[alphas < 0.31]
network = [
    ElasticNetMLP((32,), alpha=alpha, learning_rate_init=0.02, max_iter=500, **common).fit(X, y)
    for alpha in network_alphas
]
importances = np.array([model.feature_importances_ for model in network])

# %%
# Left: coefficients of the linear model, ours as lines and scikit-learn's as dots.  Middle: the norm of each feature's
# weights into the network.  Right: the share of weights that are exactly zero.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for j in reversed(range(N_FEATURES)):
    matters = j < N_RELEVANT
    style = {"color": "C0" if matters else "0.75", "label": {0: "matters", N_FEATURES - 1: "does not matter"}.get(j)}
    axes[0].semilogx(alphas, ours[:, j], **style)
    axes[0].semilogx(alphas, theirs[:, j], "k.", markersize=4)
    axes[1].semilogx(network_alphas, importances[:, j], **style)
axes[2].semilogx(alphas, [model.sparsity_ for model in linear], "o-", color="C1", label="linear")
axes[2].semilogx(network_alphas, [model.sparsity_ for model in network], "o-", color="C2", label="network")
axes[0].set(title="Linear model: coefficients", xlabel="alpha")
axes[1].set(title="Network: feature importances", xlabel="alpha")
axes[2].set(title="Share of weights that are exactly 0", xlabel="alpha", ylim=(-0.02, 1.04))
for axis in axes[1:]:
    axis.legend(frameon=False)
plt.show()

# %%
# What each network still uses, and how well it does on new samples.

X_new, y_new = make_data(2_000, random_state=1, noise=0)
print(f"{'alpha':>7} {'R2':>6} {'features that matter':>21} {'that do not':>12} {'weights that are 0':>19}")
for alpha, model in zip(network_alphas, network, strict=True):
    kept = model.feature_importances_ > 0
    print(
        f"{alpha:>7.3f} {model.score(X_new, y_new):>6.3f} {kept[:N_RELEVANT].sum():>21} {kept[N_RELEVANT:].sum():>12} "
        f"{model.sparsity_:>19.3f}"
    )

# %%
# Learnt: a moderate ``alpha`` removes most weights, and with them the noise of the features that do not matter; the
# network is the better for it.  A greater one removes those features altogether, but by then it also flattens what
# matters.  To select features, choose ``alpha`` for that, and fit a network with a smaller one on what is left.
