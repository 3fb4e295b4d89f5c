"""
Two hundred candidates in one batched search
============================================

A grid of 20 strengths of ``l2`` and 10 rates of ``dropout``, in five folds: 1,000 fits.  Inside
:func:`~sklreg.batched_training` scikit-learn's ``GridSearchCV`` runs as ever, and all its fits train together.  That
takes about a minute on two cores, and makes a map of how the two regularizers act together.
"""

# %%
# The data: 1,000 samples to search on, a tenth of their labels drawn at random, and 10,000 more to check the outcome.
# Single precision is enough here, and trains about twice as fast as double on a CPU.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split

from sklreg import RegularizedMLPClassifier, batched_training

X, y = make_classification(
    11_000, n_features=20, n_informative=6, n_redundant=4, n_clusters_per_class=4, flip_y=0.1, random_state=0
)
X_train, X_new, y_train, y_new = train_test_split(X.astype(np.float32), y, train_size=1_000, random_state=0)

# %%
# Early stopping and weight decay are off, so that nothing but ``l2`` and ``dropout`` regularizes, and every fit takes
# 100 epochs.  With an int as ``random_state`` all candidates start from the same weights.  ``verbose=1`` prints a line
# when the fits have trained.

network = RegularizedMLPClassifier(
    (32, 32),
    activation="relu",
    weight_decay=0.0,
    solver="adam",
    learning_rate_init=3e-3,
    learning_rate="cosine",
    batch_size=100,
    max_iter=100,
    early_stopping=False,
    random_state=0,
)
grid = {"dropout": np.linspace(0.0, 0.45, 10).round(2), "l2": np.geomspace(1e-4, 1e-1, 20)}
search = GridSearchCV(network, grid, cv=5, scoring="neg_log_loss")

start = time.perf_counter()
with batched_training(verbose=1):
    search.fit(X_train, y_train)
batched_time = time.perf_counter() - start

n_fits = search.n_splits_ * len(search.cv_results_["params"])
print(f"{n_fits} fits, their scores and the refit: {batched_time:.0f} s")

# %%
# The same search without ``batched_training`` fits one network after the other.  Four candidates drawn from the grid
# give an idea of how long that would take.  It is an extrapolation: it takes the other fits to be as long as these.
# Two processes (``n_jobs=2``) would at best halve it.  The four candidates also show that the scores are the same.

sample = RandomizedSearchCV(network, grid, n_iter=4, cv=5, scoring="neg_log_loss", refit=False, random_state=0)
start = time.perf_counter()
sample.fit(X_train, y_train)
sample_time = time.perf_counter() - start

n_sample_fits = sample.n_splits_ * len(sample.cv_results_["params"])
print(f"{n_sample_fits} fits one by one: {sample_time:.1f} s")
print(f"{n_fits} fits one by one, extrapolated from these: {sample_time * n_fits / n_sample_fits:.0f} s")

results = search.cv_results_
rows = [results["params"].index(candidate) for candidate in sample.cv_results_["params"]]
difference = results["mean_test_score"][rows] - sample.cv_results_["mean_test_score"]
print(f"largest difference of their mean test scores: {np.abs(difference).max():.1g}")

# %%
# ``GridSearchCV`` lists the candidates with the last name of the grid changing fastest, which here is ``l2``.  So the
# scores reshape to a table of ``dropout`` by ``l2``.
#
# Some folds are harder than others, for all candidates alike, and ``std_test_score`` holds that too.  What tells
# candidates apart is the difference from the best one in the same fold.  The dots are the candidates whose mean
# difference is within one standard error.

shape = len(grid["dropout"]), len(grid["l2"])
score = results["mean_test_score"].reshape(shape)
of_folds = np.stack([results[f"split{i}_test_score"] for i in range(search.n_splits_)])
behind = of_folds[:, [search.best_index_]] - of_folds
is_close = behind.mean(axis=0) <= behind.std(axis=0, ddof=1) / np.sqrt(search.n_splits_)
is_close[search.best_index_] = False  # gets a mark of its own

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
filled = left.contourf(grid["l2"], grid["dropout"], score, levels=20)
left.plot(search.best_params_["l2"], search.best_params_["dropout"], "r*", markersize=15, label="best")
left.plot(
    results["param_l2"][is_close],
    results["param_dropout"][is_close],
    "ko",
    markersize=4,
    label="within a standard error",
)
left.set(title="Mean test score (negative log loss)", xscale="log", xlabel="l2", ylabel="dropout")
left.legend(loc="upper left", framealpha=0.9)
figure.colorbar(filled, ax=left, format="%.2f")

for row, color in zip((0, 1, 3, 9), plt.colormaps["plasma"](np.linspace(0.0, 0.85, 4)), strict=True):
    right.plot(grid["l2"], score[row], "o-", markersize=3, color=color, label=f"dropout={grid['dropout'][row]}")
right.set(title="The same against l2, for four rates", xscale="log", xlabel="l2", ylabel="mean test score")
right.grid(alpha=0.3)
right.legend(frameon=False)
plt.show()

# %%
# What would have come of searching one parameter at a time?

best_l2 = score[0].argmax()
print(f"{'dropout alone, at the smallest l2':<36} {score[:, 0].max():.3f}")
print(f"{'l2 alone, without dropout':<36} {score[0].max():.3f}")
print(f"{'then dropout, at that l2':<36} {score[:, best_l2].max():.3f}")
print(f"{'both together':<36} {score.max():.3f}")

# %%
# The best of 200 mean scores looks a little better than it is.  New samples are the judge; the search has refitted the
# best candidate to all 1,000 samples.

weakest = clone(network).set_params(dropout=0.0, l2=grid["l2"][0]).fit(X_train, y_train)
for name, model in {"least regularized": weakest, "best of the search": search}.items():
    print(f"{name:<18}  log loss on new samples: {log_loss(y_new, model.predict_proba(X_new)):.3f}")

# %%
# Learnt: a little of both regularizers is better here than much of either.  Dropout moves the best ``l2`` to smaller
# values, so that a search of one parameter after the other ends somewhere else.  A fine grid over both shows this, and
# is affordable where the fits train together.
