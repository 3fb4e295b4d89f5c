"""Smaller and sparser networks predict what the trained one does."""

from __future__ import annotations

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from torch import nn

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, ElasticNetMLPCV, RegularizedMLPClassifier

X, y = make_classification(200, 15, n_informative=3, n_redundant=0, random_state=0)
SETTING = {
    "hidden_layer_sizes": (20, 10), "alpha": 0.02, "l1_ratio": 1.0, "max_iter": 120, "learning_rate_init": 0.01,
    "batch_size": "full", "early_stopping": False, "learning_rate": "cosine", "random_state": 0,
}  # fmt: skip
SETTINGS = [
    {},
    {"penalty_groups": "features"},
    {"penalty_groups": "neurons"},
    {"penalty_groups": "hierarchical", "alpha": 0.5},
    {"normalization": "batch", "alpha": 0.1},
    {"normalization": "layer", "alpha": 0.05},
    {"activation": "logistic"},
    {"activation": "tanh", "dropout": 0.2, "input_dropout": 0.1},
    {"hidden_layer_sizes": ()},
]
pytestmark = pytest.mark.filterwarnings("ignore:.*has dropped all")


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def fitted(request):
    setting = {**SETTING, **request.param}
    if setting["hidden_layer_sizes"] == ():
        setting["learning_rate_init"] = 0.05
    return ElasticNetMLPClassifier(**setting).fit(X, y)


def sizes(model):
    return [coef.shape for coef in model.coefs_]


def test_a_pruned_network_is_smaller_and_predicts_the_same(fitted):
    before = pickle.dumps(fitted)
    pruned = fitted.prune()
    assert pickle.dumps(fitted) == before
    assert_allclose(pruned.predict_proba(X), fitted.predict_proba(X), atol=1e-12)
    assert_allclose(pruned.predict_proba(sparse.csr_array(X)), fitted.predict_proba(X), atol=1e-12)
    n_units = [shape[1] for shape in sizes(fitted)[:-1]]
    fewer = [shape[1] for shape in sizes(pruned)[:-1]]
    assert sizes(pruned)[0][0] < 15
    assert all(a <= b for a, b in zip(fewer, n_units, strict=False))
    if fitted.normalization != "layer" and n_units:
        assert sum(fewer) < sum(n_units)
    assert len(pickle.dumps(pruned)) <= len(before) + 500
    importances = pruned.feature_importances_
    assert importances.shape == (15,)
    assert (importances[fitted.feature_importances_ == 0] == 0).all()


def test_every_unit_and_input_of_a_pruned_network_has_a_say(fitted):
    pruned = fitted.prune()
    if fitted.normalization == "layer" or not fitted.hidden_layer_sizes:
        return
    for before, after in zip(pruned.coefs_, pruned.coefs_[1:], strict=False):
        assert (before != 0).any(axis=0).all()  # something comes in
        assert (after != 0).any(axis=1).all()  # and goes out
    assert sizes(pruned.prune()) == sizes(pruned)


def test_a_pruned_estimator_goes_through_pickle_clone_and_fit(fitted):
    pruned = fitted.prune()
    again = pickle.loads(pickle.dumps(pruned))
    assert_array_equal(again.predict_proba(X), pruned.predict_proba(X))
    assert_array_equal(clone(pruned).fit(X, y).predict_proba(X), fitted.predict_proba(X))
    with pytest.raises(ValueError, match="cannot continue: its network was pruned"):
        pruned.partial_fit(X, y)


def test_a_constant_unit_is_taken_over_by_the_biases():
    """By hand: nothing comes into the second unit, which says tanh(0.7); nothing goes out of the third."""
    model = ElasticNetMLP((3,), activation="tanh", max_iter=1, early_stopping=False).fit(X[:, :2], y)
    first, _, last = model.module_
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0], [5.0, 5.0]]))
        first.bias.copy_(torch.tensor([0.1, 0.7, 0.2]))
        last.weight.copy_(torch.tensor([[2.0, 3.0, 0.0]]))
        last.bias.fill_(0.5)
    pruned = model.prune()
    assert sizes(pruned) == [(1, 1), (1, 1)]
    assert_allclose(pruned.intercepts_[1], 0.5 + 3 * np.tanh(0.7))
    assert_allclose(pruned.predict(X[:, :2]), model.predict(X[:, :2]))


@pytest.mark.parametrize("setting", [{}, {"normalization": "batch"}, {"penalty_groups": "hierarchical"}], ids=str)
def test_a_network_of_nothing_is_its_prior(setting):
    model = ElasticNetMLPClassifier(**{**SETTING, **setting, "alpha": 50.0}).fit(X, y)
    pruned = model.prune()
    assert sizes(pruned) == [(0, 1)]
    assert_allclose(pruned.predict_proba(X), model.predict_proba(X), atol=1e-12)
    assert not pruned.feature_importances_.any()


def test_sparse_weights_predict_the_same_and_are_undone(fitted):
    proba, importances, n_nonzero = fitted.predict_proba(X), fitted.feature_importances_, fitted.n_nonzero_
    model = deepcopy(fitted)
    assert model.sparsify() is model
    assert all(sparse.issparse(coef) for coef in model.coefs_)
    for a, b in zip(model.coefs_, fitted.coefs_, strict=True):
        assert_array_equal(a.toarray(), b)
    assert_allclose(model.predict_proba(X), proba, atol=1e-12)
    assert_allclose(model.feature_importances_, importances)
    assert (model.n_nonzero_, model.sparsity_) == (n_nonzero, fitted.sparsity_)
    again = pickle.loads(pickle.dumps(deepcopy(model)))
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert sizes(model.prune()) == sizes(fitted.prune())
    with pytest.raises(ValueError, match=r"Call densify\(\) before"):
        model.partial_fit(X, y)
    assert_array_equal(model.densify().predict_proba(X), proba)
    assert all(isinstance(layer, nn.Linear) for layer in model._linears)


def test_sparse_weights_take_less_memory_where_most_are_gone():
    setting = {name: SETTING[name] for name in ("early_stopping", "learning_rate_init", "max_iter", "random_state")}
    model = RegularizedMLPClassifier((300,), l1=0.02, **setting).fit(X, y)
    dense = len(pickle.dumps(model))
    assert model.sparsity_ > 0.9
    assert len(pickle.dumps(model.sparsify())) < 0.6 * dense
    assert len(pickle.dumps(model.prune())) < dense


def test_a_cross_validated_estimator_can_be_pruned():
    setting = {name: value for name, value in SETTING.items() if name != "alpha"}
    model = ElasticNetMLPCV(**{**setting, "max_iter": 40, "alphas": [0.05], "cv": 2}).fit(X, y)
    assert_allclose(model.prune().predict(X), model.predict(X), atol=1e-12)


def test_a_network_of_which_nothing_is_left_has_no_share_of_zeros():
    model = ElasticNetMLP(
        (8,), alpha=100.0, l1_ratio=1.0, early_stopping=False, learning_rate_init=0.05, random_state=0
    )
    pruned = model.fit(X, y).prune()
    assert pruned.sparsity_ == 0.0
    assert_allclose(pruned.predict(X), model.predict(X))
