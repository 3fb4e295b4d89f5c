"""
A cocktail of regularizers, and what is in it
=============================================

Every regularizer of this package may be on or off, weak or strong.  A random search over all of them finds a cocktail
that works (Kadra et al., 2021), and an ablation tells which of its ingredients do the work.  All fits of either train
together.
"""

# %%
# The data: images of handwritten digits, few of them to learn from, and the others to judge the outcome.  Features are
# scaled inside the pipeline.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklreg import (
    RegularizationAblation,
    RegularizationAblationDisplay,
    RegularizedMLPClassifier,
    batched_training,
    diagnose,
    search_space,
)

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = train_test_split(X.astype(np.float32), y, train_size=300, stratify=y, random_state=0)

# %%
# A network without any regularization, and what its losses say.

network = RegularizedMLPClassifier(
    (64,),
    activation="relu",
    weight_decay=0.0,
    early_stopping=False,
    solver="adam",
    learning_rate_init=5e-3,
    learning_rate="cosine",
    batch_size=64,
    max_iter=60,
    random_state=0,
)
bare = make_pipeline(StandardScaler(), network)
part, rest, y_part, y_rest = train_test_split(X_train, y_train, test_size=0.5, stratify=y_train, random_state=0)
print(diagnose(clone(bare).fit(part, y_part), part, y_part, X_val=rest, y_val=y_rest))

# %%
# The search.  ``search_space`` finds the network in the pipeline, and gives each of its regularizers a distribution;
# in a cocktail each of them is off in half of the candidates.  (scipy's ``uniform(0.2, 0.5)`` is from 0.2 on, and 0.5
# wide.)

space = search_space(bare, "cocktail")
for name, values in space.items():
    print(f"{name:<42} {values}")

search = RandomizedSearchCV(bare, space, n_iter=60, cv=3, scoring="neg_log_loss", random_state=0)
with batched_training(verbose=1):
    search.fit(X_train, y_train)

for name, value in search.best_params_.items():
    print(f"{name:<42} {value}")

# %%
# New samples are the judge.

plain = clone(bare).fit(X_train, y_train)
for name, model in {"without regularization": plain, "best of the search": search.best_estimator_}.items():
    loss, accuracy = log_loss(y_new, model.predict_proba(X_new)), model.score(X_new, y_new)
    print(f"{name:<22}  log loss {loss:.3f}, accuracy {accuracy:.3f}")

# %%
# Which ingredients does it owe that to?  The ablation cross-validates the cocktail, the cocktail without each of its
# ingredients, each ingredient alone, and none, on the same folds.  Differences are those of the same fold; their error
# allows for the samples that the folds share.

ablation = RegularizationAblation(search.best_estimator_, cv=3, n_repeats=3, scoring="neg_log_loss", random_state=0)
with batched_training(verbose=1):
    ablation.fit(X_train, y_train)
print(ablation.table())

RegularizationAblationDisplay.from_ablation(ablation)
plt.show()

# %%
# Learnt: input dropout and batch normalization do most of the work here, ``l2`` hardly any, and ``max_norm`` none at
# all: no unit's weights grow so long that it would act.  The search cannot tell, as it compares candidates and not
# ingredients.  Most bars are shorter than two of their errors, and these say little: 300 samples do not decide more.
