"""What training on a GPU asks for, seen on a pretended one: see ``pretend_cuda.py``."""

from __future__ import annotations

import sys

import pytest
import torch
from numpy.testing import assert_array_equal
from pretend_cuda import pretended_cuda, waits
from scipy import sparse
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV

from sklreg import ElasticNetMLP, RegularizedMLPClassifier, RegularizedMLPRegressor, batched_training

X, y = make_classification(203, 10, n_informative=6, n_classes=3, random_state=0)
X_real, y_real = make_regression(203, 10, n_targets=2, noise=5, random_state=0)
COMMON = {"hidden_layer_sizes": (16, 16), "max_iter": 3, "batch_size": 60, "random_state": 0, "dtype": "float64"}
DRAWS_NOTHING = [
    *[
        {"solver": solver, "normalization": normalization, "l1": 1e-3, "l2": 1e-2}
        for solver in ("adam", "scaled_adam", "sgd")
        for normalization in (None, "batch", "layer")
    ],
    # Not mish in single precision, and not gelu in double: there they are not the same functions as here.
    *[
        {"activation": activation, "dtype": dtype}
        for activation in ("relu", "tanh", "logistic", "identity", "silu", "selu", "leaky_relu")
        for dtype in ("float32", "float64")
    ],
    {"activation": "gelu", "dtype": "float32"},
    {"mixup_alpha": 0.4, "label_smoothing": 0.1, "focal_gamma": 1.0, "class_weight": "balanced"},
    {"max_norm": 0.5, "max_grad_norm": 0.1},
    {"n_members": 3, "early_stopping": "ensemble"},
    {"n_members": 2, "bootstrap": True},
    {"scoring": "accuracy", "patience": 1, "max_iter": 20},
    {"input_scaling": "robust", "n_bins": 4},
    {"residual": True},
    {"batch_size": "full"},
    {"learning_rate": "one_cycle", "early_stopping": False},
]
DRAWS = [
    {"activation": "gelu"},
    {"dropout": 0.3, "input_dropout": 0.1},
    {"input_noise": 0.2, "swap_noise": 0.2},
    {"cutmix_alpha": 0.4},
    {"residual": True, "stochastic_depth": 0.3},
    {"dropout": 0.3, "n_members": 3, "early_stopping": "ensemble"},
]


@pytest.fixture
def waits_in_epochs(monkeypatch):
    """Return how often each epoch has waited for the device once its steps had begun."""
    stack, found, begin = sys.modules["sklreg.engine.train"]._Stack, [], []
    step, epoch = stack._step, stack._epoch

    def counted_step(self, *args):
        if not begin:
            begin.append(waits.total())
        return step(self, *args)

    def counted_epoch(self, *args):
        result = epoch(self, *args)
        found.append(waits.total() - begin.pop())
        return result

    monkeypatch.setattr(stack, "_step", counted_step)
    monkeypatch.setattr(stack, "_epoch", counted_epoch)
    return found


def fitted(estimator, X, y, **parameters):
    """Return a fitted estimator and what it predicts."""
    model = estimator(**{**COMMON, "activation": "relu", **parameters}).fit(X, y)
    return model, (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(X)


def fitted_there(estimator, X, y, **parameters):
    """Fit on the device; what is fitted is kept here."""
    with pretended_cuda():
        model, predictions = fitted(estimator, X, y, device="cuda", **parameters)
    for tensor in [*model.module_.parameters(), *model.module_.buffers()]:
        assert type(tensor.data) is torch.Tensor
        assert tensor.device.type == "cpu"
    return predictions


def assert_fitted_alike(estimator, X, y, **parameters):
    there = fitted_there(estimator, X, y, **parameters)
    assert_array_equal(there, fitted(estimator, X, y, device="cpu", **parameters)[1])


@pytest.mark.parametrize("parameters", DRAWS_NOTHING, ids=str)
def test_what_draws_nothing_is_there_the_fit_on_the_cpu(waits_in_epochs, parameters):
    there = fitted_there(RegularizedMLPClassifier, X, y, **parameters)
    assert waits_in_epochs
    assert not any(waits_in_epochs)
    assert_array_equal(there, fitted(RegularizedMLPClassifier, X, y, device="cpu", **parameters)[1])


@pytest.mark.parametrize("parameters", DRAWS, ids=str)
def test_draws_come_from_there(waits_in_epochs, parameters):
    fitted_there(RegularizedMLPClassifier, X, y, **parameters)
    assert waits_in_epochs
    assert not any(waits_in_epochs)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("kind", "groups"),
    [(kind, None) for kind in ("weights", "features", "neurons", "hierarchical")]
    + [(kind, [0, 0, 1, 1, 1, 2, 3, 3, 4, 4]) for kind in ("features", "hierarchical")],
)
def test_penalties_act_there(waits_in_epochs, kind, groups, solver):
    parameters = {"penalty_groups": kind, "feature_groups": groups, "alpha": 0.05, "solver": solver}
    fitted_there(ElasticNetMLP, X_real, y_real, **parameters)
    assert waits_in_epochs
    assert not any(waits_in_epochs)
    assert_fitted_alike(ElasticNetMLP, X_real, y_real, **parameters)


def test_several_targets_are_fitted_there():
    assert_fitted_alike(RegularizedMLPRegressor, X_real, y_real, l1=1e-3, l2=1e-3)


def test_sparse_inputs_are_fitted_there():
    """How many numbers a batch has is known on the device alone, so that each batch waits for it."""
    assert_fitted_alike(RegularizedMLPClassifier, sparse.csr_array(X * (X > 0)), y)


def test_passes_and_warm_starts_go_on_there():
    def passes(device):
        model = RegularizedMLPClassifier(
            **COMMON, activation="relu", device=device, warm_start=True, weight_averaging=0.9
        )
        for _ in range(2):
            model.partial_fit(X, y, classes=[0, 1, 2])
        return model.fit(X, y).predict_proba(X)

    with pretended_cuda():
        there = passes("cuda")
    assert_array_equal(there, passes("cpu"))


def test_a_search_trains_there():
    def scores(device):
        model = RegularizedMLPClassifier(**COMMON, activation="relu")
        search = GridSearchCV(model, {"l2": [1e-3, 1e-1], "n_members": [1, 2]}, cv=3, scoring="neg_log_loss")
        with batched_training(device=device):
            return search.fit(X, y).cv_results_["mean_test_score"]

    with pretended_cuda():
        there = scores("cuda")
    assert_array_equal(there, scores("cpu"))


def test_torchs_default_dtype_and_inference_mode_do_not_matter_there():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with pretended_cuda(), torch.inference_mode():
            there = fitted(RegularizedMLPClassifier, X, y, device="cuda")[1]
    finally:
        torch.set_default_dtype(before)
    assert_array_equal(there, fitted(RegularizedMLPClassifier, X, y, device="cpu")[1])
