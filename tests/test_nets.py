"""Nets around modules of one's own: the same regularizers as in the MLP estimators, and scikit-learn's contract."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

pytest.importorskip("skorch", reason="the nets stand on skorch, an extra")

from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.exceptions import NotInitializedError
from skorch.helper import predefined_split

import sklreg
from sklreg import RegularizedMLPClassifier, RegularizedMLPRegressor, RegularizedNetClassifier, RegularizedNetRegressor
from sklreg._random import seed_of
from sklreg.engine import Streams
from sklreg.engine.data import OutputUnits
from sklreg.engine.layout import Layout, initial_row
from sklreg.engine.plain import plain_module


class Net(nn.Sequential):
    """One hidden layer, told by the data how wide its ends are."""

    def __init__(self, n_features, n_outputs, dropout=0.0, n_hidden=16):
        super().__init__(
            nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(n_hidden, n_outputs)
        )


class Linear(nn.Module):
    """The linear model in double precision, from zero."""

    def __init__(self, n_features, n_outputs, one_output=False):
        super().__init__()
        self.linear = nn.Linear(n_features, 1 if one_output else n_outputs).double()
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x):
        return self.linear(x)


class MLP(nn.Module):
    """A multilayer perceptron with the initial weights of the MLP estimators."""

    def __init__(self, n_features, initial_output, seed, hidden=(16, 8)):
        super().__init__()
        initial = torch.as_tensor(initial_output)
        layout = Layout(n_features, hidden, len(initial), None)
        row = initial_row(layout, "relu", initial, Streams(seed, torch.device("cpu")))
        units = OutputUnits(torch.ones_like(initial), torch.zeros_like(initial))
        self.network = plain_module(layout, "relu", row, units, 0.0, 0.0)

    def forward(self, x):
        return self.network(x)

    @property
    def coefs(self):
        return [layer.weight.detach().numpy().T for layer in self.network if isinstance(layer, nn.Linear)]


@pytest.fixture(scope="module")
def three_classes():
    return make_classification(300, 12, n_informative=6, n_classes=3, random_state=0)


@pytest.fixture(scope="module")
def two_classes():
    X, y = make_classification(240, 10, n_informative=4, random_state=1)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def numbers():
    X, y = make_regression(150, 10, n_informative=3, noise=5.0, random_state=0)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def names():
    return np.array(["no", "yes"])


# The same regularizers ------------------------------------------------------------------------------------------

EVERYTHING = {"l1": 3e-3, "l2": 1e-2, "weight_decay": 0.1, "label_smoothing": 0.1, "mixup_alpha": 0.3, "max_norm": 1.0}
SETTINGS = [
    {"weight_decay": 0.0},
    {"l1": 3e-3},
    {"l2": 1e-2},
    {"weight_decay": 0.1},
    {"label_smoothing": 0.1, "scoring": "accuracy"},
    {"mixup_alpha": 0.3, "class_weight": {0: 1, 1: 2, 2: 5}, "early_stopping": False},
    {**EVERYTHING, "class_weight": "balanced"},
]
OPTIMIZERS = {
    "adam": {"optimizer": torch.optim.Adam, "lr": 0.01},
    "sgd": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.05},
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "-".join(setting))
@pytest.mark.parametrize("solver", OPTIMIZERS)
def test_a_perceptron_as_a_module_goes_the_way_of_the_estimator(solver, setting, three_classes):
    X, y = three_classes
    optimizer = OPTIMIZERS[solver]
    shared = {"random_state": 0, "batch_size": 64, "patience": 4, "weight_decay": 1e-2, **setting}
    mlp = RegularizedMLPClassifier(
        (16, 8),
        activation="relu",
        weight_averaging=0.0,
        penalty_warmup=0.0,
        solver=solver,
        learning_rate_init=optimizer["lr"],
        max_iter=10,
        device="cpu",
        **shared,
    ).fit(X, y)
    still = {**shared, "weight_decay": 0.0, "l1": 0.0, "l2": 0.0, "max_norm": None, "scoring": "loss"}
    start = RegularizedMLPClassifier((16, 8), learning_rate_init=1e-300, max_iter=1, device="cpu", **still).fit(X, y)
    net = RegularizedNetClassifier(
        MLP, module__initial_output=start.intercepts_[-1].copy(), module__seed=seed_of(0), max_epochs=10,
        **optimizer, **shared,
    ).fit(X, y)  # fmt: skip

    for coef, expected in zip(net.module_.coefs, mlp.coefs_, strict=True):
        np.testing.assert_allclose(coef, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.history[:, "train_loss"], mlp.loss_curve_, rtol=1e-12)
    assert (net.n_iter_, net.best_iter_, net.n_nonzero_) == (mlp.n_iter_, mlp.best_iter_, mlp.n_nonzero_)
    assert net.sparsity_ == pytest.approx(mlp.sparsity_)
    np.testing.assert_allclose(net.predict_proba(X), mlp.predict_proba(X), atol=1e-10)


def test_a_regression_goes_the_way_of_the_estimator(numbers):
    X, y = numbers
    shared = {
        "random_state": 0, "batch_size": 32, "l1": 1e-3, "l2": 1e-2, "weight_decay": 1e-2, "early_stopping": False,
        "mixup_alpha": 0.2,
    }  # fmt: skip
    mlp = RegularizedMLPRegressor(
        (16, 8),
        activation="relu",
        solver="adam",
        learning_rate_init=0.01,
        max_iter=5,
        penalty_warmup=0.0,
        device="cpu",
        **shared,
    ).fit(X, y)
    net = RegularizedNetRegressor(
        MLP, module__initial_output=[float(y.mean())], module__seed=seed_of(0), max_epochs=5, lr=0.01, **shared
    )
    net.set_params(module__initial_output=np.array([y.mean()])).fit(X, y)
    for coef, expected in zip(net.module_.coefs, mlp.coefs_, strict=True):
        np.testing.assert_allclose(coef, expected, rtol=0, atol=1e-8)  # the estimator divides by a scale of 1 + 1e-16
    np.testing.assert_allclose(net.predict(X), mlp.predict(X), atol=1e-8)


CONVEX = {
    "lr": 0.1, "max_epochs": 300, "batch_size": -1, "early_stopping": False, "weight_decay": 0.0,
    "callbacks": [LRScheduler("CosineAnnealingLR", T_max=300)],
}  # fmt: skip


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": torch.optim.Adam},
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.8, "optimizer__nesterov": True},
    ],
    ids=lambda optimizer: optimizer["optimizer"].__name__,
)
def test_a_linear_module_reaches_the_coefficients_of_the_elastic_net_zeros_included(optimizer, numbers):
    X, y = numbers
    reference = ElasticNet(alpha=0.1, l1_ratio=0.8, tol=1e-12, max_iter=100_000).fit(X, y)
    net = RegularizedNetRegressor(Linear, l1=0.08, l2=0.02, **CONVEX, **optimizer).fit(X, y)
    coef = net.module_.linear.weight.detach().numpy()[0]
    np.testing.assert_allclose(coef, reference.coef_, atol=1e-5)
    assert ((coef == 0) == (reference.coef_ == 0)).all()
    assert 0 < net.n_nonzero_ < 10


def test_one_output_reaches_the_coefficients_of_logistic_regression(two_classes):
    X, y = two_classes
    alpha, ratio = 0.05, 0.8
    reference = LogisticRegression(
        C=1 / (alpha * len(y)), l1_ratio=ratio, solver="saga", tol=1e-9, max_iter=20_000,
        **({} if sklreg_has_new_logistic() else {"penalty": "elasticnet"}),
    ).fit(X, y)  # fmt: skip
    net = RegularizedNetClassifier(
        Linear, module__one_output=True, l1=alpha * ratio, l2=alpha * (1 - ratio), **CONVEX
    ).fit(X, y)
    coef = net.module_.linear.weight.detach().numpy()
    np.testing.assert_allclose(coef, reference.coef_, atol=1e-4)
    assert ((coef == 0) == (reference.coef_ == 0)).all()
    np.testing.assert_allclose(net.predict_proba(X), reference.predict_proba(X), atol=1e-4)


def sklreg_has_new_logistic() -> bool:
    from sklearn import __version__
    from sklearn.utils.fixes import parse_version

    return bool(parse_version(__version__) >= parse_version("1.8"))


def test_lbfgs_takes_l2_into_the_loss_and_refuses_what_acts_once_a_step(numbers):
    X, y = numbers
    shared = {**CONVEX, "callbacks": None, "lr": 1.0, "max_epochs": 5, "optimizer": torch.optim.LBFGS}
    net = RegularizedNetRegressor(Linear, l2=0.1, optimizer__line_search_fn="strong_wolfe", **shared).fit(X, y)
    reference = ElasticNet(alpha=0.1, l1_ratio=0.0, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(net.module_.linear.weight.detach().numpy()[0], reference.coef_, atol=1e-5)
    with pytest.raises(ValueError, match="weight_decay of RegularizedNetRegressor acts once in every step, and LBFGS"):
        RegularizedNetRegressor(Linear, **{**shared, "weight_decay": 0.1}).fit(X, y)


def test_l1_refuses_an_optimizer_whose_steps_it_does_not_know(numbers):
    net = RegularizedNetRegressor(Linear, l1=0.1, optimizer=torch.optim.RMSprop, max_epochs=1)
    with pytest.raises(ValueError, match="known for torch.optim.Adam, AdamW and SGD; got RMSprop"):
        net.fit(*numbers)
    net.set_params(l1=0.0).fit(*numbers)


def test_decay_is_one_of_weights_whatever_the_optimizer(two_classes):
    shared = {"max_epochs": 3, "random_state": 0, "weight_decay": 0.5, "lr": 0.01}
    adam, adamw = (
        RegularizedNetClassifier(Net, optimizer=optimizer, **shared).fit(*two_classes)
        for optimizer in (torch.optim.Adam, torch.optim.AdamW)
    )
    np.testing.assert_array_equal(adam.predict_proba(two_classes[0]), adamw.predict_proba(two_classes[0]))
    assert adamw.optimizer_.param_groups[0]["weight_decay"] == 0
    kept = RegularizedNetClassifier(Net, optimizer=torch.optim.AdamW, optimizer__weight_decay=0.3, **shared)
    assert kept.fit(*two_classes).optimizer_.param_groups[0]["weight_decay"] == 0.3


class Normalized(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.inputs = nn.Linear(n_features, 8)
        self.norm = nn.BatchNorm1d(8)
        self.slope = nn.PReLU(8)
        self.outputs = nn.Linear(8, n_outputs)

    def forward(self, x):
        return self.outputs(self.slope(self.norm(self.inputs(x))))


def test_biases_and_normalization_are_never_penalised(two_classes):
    net = RegularizedNetClassifier(Normalized, l1=10.0, l2=10.0, lr=0.05, max_epochs=30, early_stopping=False)
    net.fit(*two_classes)
    assert net.sparsity_ == 1.0
    assert set(net.module_.state_dict()) >= {"inputs.weight", "norm.weight", "slope.weight"}
    for name, parameter in net.module_.named_parameters():
        assert (parameter == 0).all() == (name in ("inputs.weight", "outputs.weight")), name
    np.testing.assert_allclose(net.predict_proba(two_classes[0]), 0.5, atol=0.05)  # constant


@pytest.mark.parametrize("what", ["l1", "l2", "weight_decay"])
def test_strengths_by_pattern_act_where_they_say(what, two_classes):
    def norms(strength):
        net = RegularizedNetClassifier(
            Normalized, **{"weight_decay": 0.0, what: strength}, lr=0.01, max_epochs=20, early_stopping=False,
            random_state=0,
        ).fit(*two_classes)  # fmt: skip
        return [float(net.module_.get_submodule(name).weight.detach().abs().sum()) for name in ("inputs", "outputs")]

    strong = {"l1": 1.0, "l2": 10.0, "weight_decay": 20.0}[what]
    free, first, last = norms(0.0), norms({"inputs*": strong}), norms({"*puts.weight": 0.0, "outputs*": strong})
    assert first[0] < 0.3 * free[0]
    assert first[1] > 0.3 * free[1]
    assert last == free  # of the patterns that match, the first counts
    assert norms({"outputs.weight": strong})[1] < 0.3 * free[1]


def test_a_pattern_that_matches_no_weight_is_refused(two_classes):
    for pattern in ("nothing*", "inputs.bias"):
        net = RegularizedNetClassifier(Normalized, l1={pattern: 0.1})
        with pytest.raises(ValueError, match=r"l1 of RegularizedNetClassifier names .* \['inputs.weight', 'outputs"):
            net.fit(*two_classes)
    with pytest.raises(ValueError, match="'l2' parameter of RegularizedNetClassifier must map patterns"):
        RegularizedNetClassifier(Normalized, l2={"inputs*": -1.0}).fit(*two_classes)


def test_max_norm_bounds_hidden_units_or_what_is_named(two_classes):
    shared = {"lr": 0.05, "max_epochs": 10, "weight_decay": 0.0, "random_state": 0}
    net = RegularizedNetClassifier(Net, max_norm=0.3, **shared).fit(*two_classes)
    hidden, output = (layer.weight.detach().norm(dim=1) for layer in (net.module_[0], net.module_[3]))
    assert hidden.max() <= 0.3 + 1e-6
    assert output.max() > 0.3
    net = RegularizedNetClassifier(Net, max_norm={"3.*": 0.3}, **shared).fit(*two_classes)
    hidden, output = (layer.weight.detach().norm(dim=1) for layer in (net.module_[0], net.module_[3]))
    assert hidden.max() > 0.3
    assert output.max() <= 0.3 + 1e-6


# scikit-learn's contract ----------------------------------------------------------------------------------------


@parametrize_with_checks(
    [RegularizedNetClassifier(Net, max_epochs=6, lr=0.1), RegularizedNetRegressor(Net, max_epochs=6, lr=0.1)]
)
def test_net_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        RegularizedNetClassifier(Normalized, max_epochs=25, lr=0.02, l1=1e-4, label_smoothing=0.05, mixup_alpha=0.1),
        RegularizedNetRegressor(
            Net, max_epochs=60, lr=0.05, optimizer=torch.optim.SGD, optimizer__momentum=0.9, early_stopping=False
        ),
    ],
    expected_failed_checks=lambda net: (
        {"check_no_attributes_set_in_init": "skorch's parameters of parts are known by their prefix alone"}
        if hasattr(net, "optimizer__momentum")
        else {}
    ),
)
def test_net_with_more_regularizers_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


def test_labels_of_any_kind_are_predicted_scored_and_shown_to_callbacks(two_classes):
    X, y = two_classes
    seen = []

    class Watch(Callback):
        def on_batch_end(self, net, batch, **kwargs):
            seen.append(batch[1])

    net = RegularizedNetClassifier(
        Net, max_epochs=15, lr=0.05, scoring="roc_auc", random_state=0, class_weight={"yes": 2.0},
        callbacks=[Watch(), EpochScoring("f1_macro", name="f1", lower_is_better=False, use_caching=False)],
    )  # fmt: skip
    net.fit(X, names()[y])
    assert set(net.predict(X)) == {"no", "yes"}
    assert net.classes_.tolist() == ["no", "yes"]
    assert net.score(X, names()[y]) > 0.75
    assert set(np.concatenate(seen)) == {"no", "yes"}
    for name in ("valid_acc", "valid_score", "f1"):
        assert max(net.history[:, name]) > 0.7, name
    codes = clone(net).set_params(class_weight={1: 2.0}, callbacks=None).fit(X, y)
    np.testing.assert_array_equal(codes.predict_proba(X), net.predict_proba(X))


def test_grid_search_over_penalties_and_the_modules_own_parameters(two_classes):
    net = make_pipeline(StandardScaler(), RegularizedNetClassifier(Net, max_epochs=3, lr=0.02, random_state=0))
    name = "regularizednetclassifier"
    grid = {f"{name}__l1": [0.0, 1.0], f"{name}__module__dropout": [0.0, 0.5]}
    search = GridSearchCV(net, grid, cv=2, error_score="raise").fit(two_classes[0], names()[two_classes[1]])
    best = search.best_estimator_[-1]
    assert best.l1 == 0.0
    assert best.module_[2].p == search.best_params_[f"{name}__module__dropout"]
    assert len(set(search.cv_results_["mean_test_score"])) > 1


def test_clone_and_pickle(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(
        Net, max_epochs=3, l1={"0.*": 1e-3}, module__dropout=0.2, optimizer=torch.optim.SGD,
        optimizer__momentum=0.9, callbacks=[("clip", GradientNormClipping(1.0))], random_state=0,
    )  # fmt: skip
    copy = clone(net)
    assert {k: v for k, v in copy.get_params(deep=False).items() if k != "callbacks"} == {
        k: v for k, v in net.get_params(deep=False).items() if k != "callbacks"
    }
    net.fit(X, names()[y])
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    np.testing.assert_array_equal(copy.fit(X, names()[y]).predict_proba(X), net.predict_proba(X))
    again.partial_fit(X, names()[y])
    net.partial_fit(X, names()[y])
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    assert not any(isinstance(value, np.ndarray) and len(value) == len(X) for value in vars(again).values())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, bool])
def test_inputs_of_any_dtype_are_cast_to_the_modules(dtype, two_classes):
    X = (10 * np.abs(two_classes[0])).astype(dtype)
    net = RegularizedNetClassifier(Net, max_epochs=2, random_state=0).fit(X, two_classes[1])
    assert next(net.module_.parameters()).dtype == torch.float32
    assert net.predict_proba(X).shape == (len(X), 2)


class Bag(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.embedding = nn.EmbeddingBag(20, 4)
        self.outputs = nn.Linear(4, n_outputs)

    def forward(self, x):
        return self.outputs(self.embedding(x))


def test_integers_are_looked_up_by_a_module_that_has_an_embedding():
    X = np.random.default_rng(0).integers(20, size=(200, 6))
    y = (X < 5).sum(1) > 1
    net = RegularizedNetClassifier(Bag, max_epochs=30, lr=0.1, random_state=0).fit(X, y)
    assert net.score(X, y) > 0.9
    with pytest.raises(ValueError, match="mixup_alpha=0.2 mixes inputs that are one tensor of floats; got torch.int64"):
        net.set_params(mixup_alpha=0.2).fit(X, y)


class TwoInputs(nn.Module):
    def __init__(self, n_outputs=2):
        super().__init__()
        self.left, self.right = nn.LazyLinear(n_outputs), nn.LazyLinear(n_outputs)

    def forward(self, a, b):
        return self.left(a) + self.right(b)


def test_inputs_of_several_kinds(two_classes):
    pd = pytest.importorskip("pandas")
    X, y = two_classes
    net = RegularizedNetClassifier(Net, max_epochs=3, random_state=0)
    expected = net.fit(X, y).predict_proba(X)
    others = [
        torch.from_numpy(X),
        pd.DataFrame(X, columns=[f"x{i}" for i in range(10)]),
        sparse.csr_array(X),
        X.tolist(),
    ]
    for other in others:
        np.testing.assert_allclose(net.fit(other, y).predict_proba(other), expected, atol=1e-6)
    np.testing.assert_array_equal(net.fit(Dataset(X, y), None).predict_proba(X), expected)

    parts = {"a": X[:, :4], "b": X[:, 4:]}
    net = RegularizedNetClassifier(TwoInputs, max_epochs=20, lr=0.1, l1=1e-3, random_state=0).fit(parts, names()[y])
    assert net.score(parts, names()[y]) > 0.6
    assert net.n_nonzero_ > 0
    with pytest.raises(ValueError, match="contains NaN"):
        net.predict({"a": X[:, :4], "b": X[:, 4:] * np.nan})


class Labelled(torch.utils.data.Dataset):
    """Samples that are made when they are asked for."""

    def __init__(self, X, y):
        self.X_, self.targets = X.astype(np.float32), y

    def __len__(self):
        return len(self.X_)

    def __getitem__(self, i):
        return self.X_[i], self.targets[i]


def test_a_dataset_of_ones_own(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(
        Net, module__n_features=10, module__n_outputs=2, max_epochs=2, class_weight={0: 2.0}, classes=[0, 1],
        train_split=ValidSplit(3), random_state=0,
    )  # fmt: skip
    probability = net.fit(Labelled(X, y), None).predict_proba(X)
    np.testing.assert_array_equal(clone(net).fit(Labelled(X, y), None).predict_proba(X), probability)
    assert net.predict(X).tolist() == probability.argmax(1).tolist()


@pytest.mark.slow
def test_workers_change_nothing(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(Net, max_epochs=2, random_state=0)
    expected = net.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(net.set_params(iterator_train__num_workers=1).fit(X, y).predict_proba(X), expected)


# Draws ----------------------------------------------------------------------------------------------------------


def state_of_generators():
    return torch.get_rng_state().tolist(), [repr(part) for part in np.random.get_state()], random.getstate()


def test_global_generators_are_left_alone(two_classes):
    X, y = two_classes
    before = state_of_generators()
    net = RegularizedNetClassifier(
        Net, module__dropout=0.5, max_epochs=2, mixup_alpha=0.3, augmentation=lambda X: X + torch.randn_like(X)
    )
    net.fit(X, y).predict(X)
    net.partial_fit(X, y)
    with pytest.raises(RuntimeError, match="boom"):
        net.set_params(augmentation=boom).fit(X, y)
    RegularizedNetClassifier(nn.LazyLinear, module__out_features=2, max_epochs=1).fit(X, y)
    assert state_of_generators() == before


def boom(X):
    torch.rand(3)
    raise RuntimeError("boom")


def test_draws_belong_to_the_random_state(two_classes):
    X, y = two_classes

    def probability(random_state=0, **params):
        net = RegularizedNetClassifier(Net, module__dropout=0.3, max_epochs=3, random_state=random_state, **params)
        return net.fit(X, y).predict_proba(X)

    expected = probability()
    torch.manual_seed(7)
    np.testing.assert_array_equal(probability(), expected)
    assert (probability(1) != expected).any()
    # One regularizer does not shift the draws of another.
    np.testing.assert_array_equal(probability(augmentation=lambda X: (torch.rand_like(X), X)[1]), expected)
    lazy = RegularizedNetClassifier(nn.LazyLinear, module__out_features=2, max_epochs=1, random_state=0)
    np.testing.assert_array_equal(lazy.fit(X, y).predict_proba(X), clone(lazy).fit(X, y).predict_proba(X))


def test_an_instance_is_where_every_fit_begins_and_is_not_trained(two_classes):
    X, y = two_classes
    module = Net(10, 2)
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = RegularizedNetClassifier(module, max_epochs=3, random_state=0).fit(X, y)
    assert all((tensor == start[name]).all() for name, tensor in module.state_dict().items())
    expected = net.predict_proba(X)
    np.testing.assert_array_equal(net.fit(X, y).predict_proba(X), expected)


# Augmentation ---------------------------------------------------------------------------------------------------


class Convolution(nn.Sequential):
    def __init__(self, n_features, n_outputs):
        super().__init__(
            nn.Conv2d(n_features, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(16, n_outputs),
        )  # fmt: skip


def flip(images):
    is_flipped = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(is_flipped, images.flip(-1), images)


def test_augmentation_sees_batches_of_training_only_in_the_modules_dtype_on_its_device():
    X = np.random.default_rng(0).integers(0, 255, size=(60, 1, 8, 8)).astype(np.uint8)
    y = names()[(X[:, 0, :4].mean((1, 2)) > X[:, 0, 4:].mean((1, 2))).astype(int)]
    seen = []

    def augment(images):
        seen.append(images)
        return flip(images)

    net = RegularizedNetClassifier(
        Convolution, augmentation=augment, max_epochs=3, batch_size=16, mixup_alpha=0.2, l1=1e-4, random_state=0
    ).fit(X, y)
    assert net.n_features_in_ == 1
    assert sum(map(len, seen)) == 3 * 54  # a tenth is held out
    assert {(images.dtype, images.device.type, images.shape[1:]) for images in seen} == {
        (torch.float32, "cpu", (1, 8, 8))
    }
    net.predict(X)
    assert sum(map(len, seen)) == 3 * 54
    assert not any(images.requires_grad for images in seen)
    plain = clone(net).set_params(augmentation=None).fit(X, y)
    assert (plain.predict_proba(X) != net.predict_proba(X)).any()
    net.set_params(augmentation=lambda images: images[:3])
    with pytest.raises(ValueError, match="must return as many samples as it is given; it was given 14 and returned 3"):
        net.fit(X, y)


@pytest.mark.gpu
def test_training_on_a_gpu():
    X, y = make_classification(400, 10, random_state=0)
    devices = set()

    def augment(X):
        devices.add(X.device.type)
        return X + 0.01 * torch.randn_like(X)

    net = RegularizedNetClassifier(
        Net, device="cuda", max_epochs=20, lr=0.02, l1=1e-3, l2=1e-3, max_norm=2.0, label_smoothing=0.1,
        mixup_alpha=0.2, class_weight="balanced", augmentation=augment, module__dropout=0.2, random_state=0,
    )  # fmt: skip
    before = torch.cuda.get_rng_state().tolist()
    probability = net.fit(X, names()[y]).predict_proba(X)
    assert torch.cuda.get_rng_state().tolist() == before
    assert devices == {"cuda"}
    assert net.sparsity_ > 0
    assert net.score(X, names()[y]) > 0.8
    np.testing.assert_allclose(clone(net).fit(X, names()[y]).predict_proba(X), probability, atol=1e-3)
    on_cpu = pickle.loads(pickle.dumps(net.set_params(augmentation=None)))  # a function in a test cannot be pickled
    np.testing.assert_allclose(on_cpu.predict_proba(X), probability, atol=1e-5)


# Early stopping -------------------------------------------------------------------------------------------------


def test_the_best_epoch_is_restored(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(
        Net, module__n_hidden=64, lr=0.05, max_epochs=60, patience=5, weight_decay=0.0, random_state=0
    )
    net.fit(X[:160], y[:160], X_val=X[160:], y_val=y[160:])
    losses = net.history[:, "valid_loss"]
    assert net.best_iter_ == int(np.argmin(losses)) + 1
    assert net.n_iter_ == net.best_iter_ + 5 < 60
    assert log_loss(y[160:], net.predict_proba(X[160:])) == pytest.approx(min(losses), rel=1e-5)
    greedy = clone(net).set_params(min_delta=10.0).fit(X[:160], y[:160], X_val=X[160:], y_val=y[160:])
    assert (greedy.best_iter_, greedy.n_iter_) == (1, 6)
    last = clone(net).set_params(early_stopping=False, max_epochs=12).fit(X, y)
    assert (last.best_iter_, last.n_iter_) == (12, 12)
    assert "valid_loss" not in last.history[-1]


def test_callbacks_are_told_of_the_last_epoch(two_classes):
    told = []

    class Count(Callback):
        def on_epoch_end(self, net, **kwargs):
            told.append(len(net.history))

    net = RegularizedNetClassifier(Net, lr=0.05, max_epochs=50, patience=2, min_delta=10.0, callbacks=[Count()])
    net.fit(*two_classes)
    assert told == [1, 2, 3]


def test_skorchs_splits_go_on_working(two_classes):
    X, y = two_classes
    labels = names()[y]
    shared = {"max_epochs": 3, "random_state": 0}
    folds = RegularizedNetClassifier(Net, train_split=ValidSplit(4, stratified=True), **shared).fit(X, labels)
    assert sum(folds.history[0, "batches", :, "train_batch_size"]) == 180
    apart = RegularizedNetClassifier(Net, train_split=predefined_split(Dataset(X[:40], labels[:40])), **shared)
    given = RegularizedNetClassifier(Net, **shared).fit(X, labels, X_val=X[:40], y_val=labels[:40])
    none = clone(given).set_params(train_split=None).fit(X, labels, X_val=X[:40], y_val=labels[:40])
    assert none.history[:, "valid_loss"] == given.history[:, "valid_loss"]
    assert apart.fit(X, labels).history[:, "valid_loss"] == given.history[:, "valid_loss"]


def test_a_training_that_diverges_ends_with_what_was_finite(numbers):
    net = RegularizedNetRegressor(Net, optimizer=torch.optim.SGD, lr=1e30, max_epochs=20, random_state=0)
    with pytest.warns(ConvergenceWarning, match="diverged in epoch"):
        net.fit(*numbers)
    assert (net.n_iter_, net.best_iter_) == (1, 0)
    assert np.isfinite(net.predict(numbers[0])).all()


def test_partial_fit_and_warm_start_go_on(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(Net, max_epochs=2, early_stopping=False, random_state=0)
    net.partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert net.module_[3].out_features == 3
    net.partial_fit(X[100:], y[100:])
    assert net.n_iter_ == 4
    warm = RegularizedNetClassifier(Net, max_epochs=2, early_stopping=False, warm_start=True, random_state=0)
    first = warm.fit(X, y).predict_proba(X)
    assert (warm.fit(X, y).predict_proba(X) != first).any()
    assert warm.n_iter_ == 4


# What is refused ------------------------------------------------------------------------------------------------


def no_training(**kwargs):
    raise AssertionError("The module was made before the input was checked.")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"l1": -1.0}, "'l1' parameter"),
        ({"label_smoothing": 0.5}, "label_smoothing must be below 0.5 for 2 classes"),
        ({"class_weight": {5: 1.0}}, "names classes that are not in y: [5]"),
        ({"scoring": "accuracy", "early_stopping": False}, "scoring='accuracy' is what early stopping watches"),
        ({"train_split": None}, "early_stopping=True needs a validation set, and train_split=None"),
        ({"patience": 0}, "'patience' parameter"),
        ({"augmentation": 3}, "'augmentation' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"criterion": nn.NLLLoss, "mixup_alpha": 0.2}, "needs a criterion that takes mixtures of classes"),
        ({"criterion": nn.MultiMarginLoss, "label_smoothing": 0.2}, "needs a criterion that takes mixtures of classes"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_parameters_are_checked_before_any_training(params, message, two_classes):
    import re

    with pytest.raises(ValueError, match=re.escape(message)):
        RegularizedNetClassifier(no_training, **params).fit(*two_classes)


def test_outputs_that_do_not_fit_the_target_are_refused(three_classes, numbers):
    net = RegularizedNetClassifier(Net, module__n_outputs=2)
    with pytest.raises(ValueError, match=r"must return 3 outputs for 3 classes; it returned 2"):
        net.fit(*three_classes)
    X, y = numbers
    with pytest.raises(ValueError, match=r"must return 1 output\(s\) for each sample"):
        RegularizedNetRegressor(Net, module__n_outputs=2).fit(X, y)  # (n, 2) and (n,) would broadcast where n is 2


class Flat(Net):
    def forward(self, x):
        return super().forward(x)[:, 0]


def test_one_number_for_each_sample_never_meets_a_column(numbers):
    """Of (n,) and (n, 1) torch makes (n, n), and skorch trains on it."""
    shared = {"max_epochs": 30, "lr": 0.02, "random_state": 0}
    X, y = numbers
    expected = RegularizedNetRegressor(Net, **shared).fit(X, y)
    flat = RegularizedNetRegressor(Flat, **shared).fit(X, y)
    np.testing.assert_allclose(flat.predict(X), expected.predict(X), atol=1e-6)
    assert flat.predict(X).shape == y.shape
    mse = RegularizedNetRegressor(Flat, criterion=nn.MSELoss, **shared).fit(X, y)
    assert mse.score(X, y) > 0.5


def test_criteria_of_torch(three_classes):
    X, y = three_classes
    shared = {"max_epochs": 4, "random_state": 0, "lr": 0.02}
    own = RegularizedNetClassifier(Net, **shared, label_smoothing=0.1, mixup_alpha=0.2, class_weight="balanced")
    torchs = clone(own).set_params(criterion=nn.CrossEntropyLoss)
    np.testing.assert_allclose(torchs.fit(X, y).predict_proba(X), own.fit(X, y).predict_proba(X), atol=1e-4)
    focal = RegularizedNetClassifier(Net, criterion=nn.MultiMarginLoss, class_weight="balanced", **shared)
    assert focal.fit(X, y).predict(X).shape == y.shape


# The package ----------------------------------------------------------------------------------------------------


def test_without_skorch_the_package_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("sklreg.nets", "sklreg._net"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skorch", None)
    with pytest.raises(ImportError, match=r'skorch is not installed: pip install "sklreg\[skorch\]"'):
        sklreg.RegularizedNetClassifier  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        sklreg.Nothing  # noqa: B018
    assert "RegularizedNetRegressor" in dir(sklreg)


@pytest.mark.slow
def test_importing_the_package_leaves_skorch_alone():
    code = "import sys, sklreg; assert 'skorch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# What reviews have found ------------------------------------------------------------------------------------------


def test_a_net_that_is_continued_holds_out_the_same_samples(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(Net, max_epochs=1, warm_start=True, random_state=0)
    held_out = []
    for _ in range(2):
        net.fit(X, y)
        held_out.append(net.get_split_datasets(X, y)[1].indices)
    assert held_out[0] == held_out[1]


def test_a_refused_fit_leaves_a_net_as_it_was(two_classes):
    X, y = two_classes
    net = RegularizedNetClassifier(Net, max_epochs=2, random_state=0).fit(X, np.array(["a", "b"])[y])
    before = net.predict(X)
    with pytest.raises(ValueError, match="y_val"):
        net.fit(X, np.array(["yy", "zz"])[y], X_val=X)
    np.testing.assert_array_equal(net.predict(X), before)


def test_what_would_take_early_stopping_away_is_refused(two_classes):
    X, y = two_classes
    for gone in ({"callbacks": "disable"}, {"callbacks__early_stopping": None}):
        with pytest.raises(ValueError, match="stops and restores by a callback, which"):
            RegularizedNetClassifier(Net, **gone).fit(X, y)
        RegularizedNetClassifier(Net, **gone, early_stopping=False, max_epochs=1).fit(X, y)
    with pytest.raises(TypeError, match="criterion of RegularizedNetClassifier must be a class"):
        RegularizedNetClassifier(Net, criterion=nn.CrossEntropyLoss(), class_weight="balanced").fit(X, y)


def test_a_module_may_stay_where_it_is(two_classes):
    X, y = two_classes
    here, told = (
        RegularizedNetClassifier(Net, max_epochs=2, device=d, random_state=0).fit(X, y) for d in (None, "cpu")
    )
    np.testing.assert_array_equal(here.predict_proba(X), told.predict_proba(X))


def test_l2_of_a_layer_with_sparse_gradients_says_what_to_do():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.output = nn.EmbeddingBag(10, 4, sparse=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.output(self.embedding(x))

    X = np.random.default_rng(0).integers(0, 10, (60, 5))
    net = RegularizedNetClassifier(Words, optimizer=torch.optim.SGD, l2=0.1, weight_decay=0.0, max_epochs=1)
    with pytest.raises(ValueError, match="needs dense gradients.*embedding.weight"):
        net.fit(X, X[:, 0] % 2)
    net.set_params(l2={"output.*": 0.1}).fit(X, X[:, 0] % 2)


# Bugs that were found once -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves():
    X = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int)


def test_a_criterion_of_log_probabilities_takes_probabilities_as_in_skorch(halves):
    settings = {"max_epochs": 4, "lr": 0.05, "random_state": 0}
    by_logits = RegularizedNetClassifier(nn.Linear(5, 2), **settings).fit(*halves)
    module = nn.Sequential(deepcopy(by_logits.module), nn.Softmax(1))
    by_probabilities = RegularizedNetClassifier(module, criterion=nn.NLLLoss, **settings).fit(*halves)
    np.testing.assert_allclose(by_probabilities.predict_proba(halves[0]), by_logits.predict_proba(halves[0]), rtol=1e-4)


def test_a_criterion_of_log_probabilities_refuses_what_are_no_probabilities(halves):
    module = nn.Sequential(nn.Linear(5, 2), nn.LogSoftmax(1))
    with pytest.raises(ValueError, match="takes a module that returns probabilities"):
        RegularizedNetClassifier(module, criterion=nn.NLLLoss, random_state=0).fit(*halves)


def test_one_output_for_two_classes_goes_with_torchs_criterion_for_it(halves):
    settings = {"max_epochs": 4, "lr": 0.05, "random_state": 0}
    module = nn.Linear(5, 1)
    own = RegularizedNetClassifier(module, **settings).fit(*halves)
    torchs = RegularizedNetClassifier(module, criterion=nn.BCEWithLogitsLoss, **settings).fit(*halves)
    np.testing.assert_allclose(torchs.predict_proba(halves[0]), own.predict_proba(halves[0]), rtol=1e-4)
    assert (torchs.predict(halves[0]) == own.predict(halves[0])).all()


def test_a_fit_that_fails_in_training_leaves_the_net_as_it_was(halves):
    def fail(x):
        raise ZeroDivisionError

    net = RegularizedNetClassifier(nn.Linear(5, 2), max_epochs=3, random_state=0)
    net.fit(*halves)
    before = net.predict_proba(halves[0]), net.n_iter_, net.best_iter_
    with pytest.raises(ZeroDivisionError):
        net.set_params(augmentation=fail).fit(*halves)
    np.testing.assert_array_equal(net.predict_proba(halves[0]), before[0])
    assert (net.n_iter_, net.best_iter_) == before[1:]
    unfitted = clone(net)
    with pytest.raises(ZeroDivisionError):
        unfitted.fit(*halves)
    with pytest.raises(NotInitializedError):
        unfitted.predict(halves[0])


@pytest.mark.parametrize("attribute", ["n_iter_", "n_nonzero_", "sparsity_"])
def test_what_training_tells_is_not_there_before_it(attribute):
    assert not hasattr(RegularizedNetClassifier(nn.Linear(5, 2)), attribute)
