"""
Features that matter only together
==================================

A linear model, or any measure that looks at one feature at a time, cannot see features that matter only in
combination.  A network can, and with a penalty on whole features it says which they are.  Here two features decide by
their product, two by their sum, and 36 not at all.
"""

# %%
# By itself neither of the first two features tells anything about the class.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_selection import f_classif, mutual_info_classif

from sklreg import ElasticNetMLPClassifier, RegularizationPathDisplay, StabilitySelector, elastic_net_mlp_path

N_FEATURES = 40
NAMES = ["product 1", "product 2", "sum 1", "sum 2", *(f"noise {i}" for i in range(1, N_FEATURES - 3))]

rng = np.random.default_rng(0)
X = rng.normal(size=(3_000, N_FEATURES))
signal = 2 * X[:, 0] * X[:, 1] + X[:, 2] + X[:, 3]
y = (signal + 0.5 * rng.normal(size=3_000) > 0).astype(int)

# %%
# A path of 20 networks for L1 logistic regression (no hidden layer), and for a network: whole features leave.  All
# networks of a path train at once.

common = {"loss": "log_loss", "penalty_groups": "features", "l1_ratio": 1.0, "alphas": 20, "eps": 0.03}
paths = {
    "linear": elastic_net_mlp_path(
        X, y, hidden_layer_sizes=(), batch_size="full", max_iter=300, learning_rate_init=0.03, random_state=0, **common
    ),
    "network": elastic_net_mlp_path(X, y, hidden_layer_sizes=(16,), max_iter=60, random_state=0, **common),
}
figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, (name, path) in zip(axes, paths.items(), strict=True):
    display = RegularizationPathDisplay.from_path(path, feature_names=NAMES, ax=ax)
    display.axes_[0].set_title(name)
plt.show()

# %%
# The four best features by each measure.


def four_best(scores):
    """Return the names of the features with the greatest scores."""
    return [NAMES[j] for j in np.argsort(-scores)[:4]]


print(f"F test              {four_best(f_classif(X, y)[0])}")
print(f"mutual information  {four_best(mutual_info_classif(X, y, random_state=0))}")
for name, path in paths.items():
    print(f"{name + ' path':<19} {[NAMES[j] for j in path.select(4)]}")

# %%
# One path may find a feature by chance.  Stability selection asks for features that enter first again and again, on
# random halves of the samples.

network = ElasticNetMLPClassifier(
    (16,), penalty_groups="features", l1_ratio=1.0, early_stopping=False, learning_rate="cosine",
    learning_rate_init=0.01, penalty_warmup=0.3, max_iter=40,
)  # fmt: skip
selector = StabilitySelector(network, n_resamples=20, alphas=12, eps=0.03, n_features_per_fit=4, random_state=0)
selector.fit(X, y)
print(f"selected            {[NAMES[j] for j in selector.get_support(indices=True)]}")
print(f"share of resamples  {selector.selection_probabilities_[selector.get_support()].tolist()}")

# %%
# Learnt: look for features with a model that can use them.
