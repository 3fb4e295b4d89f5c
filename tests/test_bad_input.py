"""Bad input gets a clear error before any training: what was expected, of whom, what came, the mend."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

import sklreg._base
from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, RegularizedMLPClassifier, RegularizedMLPRegressor

ALL = [RegularizedMLPClassifier, RegularizedMLPRegressor, ElasticNetMLP, ElasticNetMLPClassifier]
CLASSIFIERS = [RegularizedMLPClassifier, ElasticNetMLPClassifier]
X, y = make_classification(100, 6, random_state=0)


@pytest.fixture
def no_training(monkeypatch):
    """Fail where training begins."""

    def train_all_here(jobs):
        raise AssertionError("training began")

    monkeypatch.setattr(sklreg._base, "train_all_here", train_all_here)


def changed(array, value):
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", ALL)
class TestData:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, estimator, value):
        weight = np.ones(100)
        for arguments in (
            {"X": changed(X, value), "y": y},
            {"X": X, "y": changed(y, value)},
            {"X": X, "y": y, "sample_weight": changed(weight, value)},
            {"X": X, "y": y, "X_val": changed(X, value), "y_val": y},
            {"X": X, "y": y, "X_val": X, "y_val": changed(y, value)},
            {"X": X, "y": y, "X_val": X, "y_val": y, "sample_weight_val": changed(weight, value)},
        ):
            model = estimator()
            with pytest.raises(ValueError, match="NaN|infinity"):
                model.fit(**arguments)
            assert not [name for name in vars(model) if name.endswith("_")]

    def test_weights_that_leave_nothing_or_are_negative(self, estimator):
        with pytest.raises(
            ValueError, match="at least one non-zero number; all 100 of sample_weight are 0, which leaves"
        ):
            estimator().fit(X, y, sample_weight=np.zeros(100))
        with pytest.raises(ValueError, match="must not hold negative weights; got a least weight of -1"):
            estimator().fit(X, y, sample_weight=changed(np.ones(100), -1))
        with pytest.raises(ValueError, match="sample_weight_val of .* must not hold negative"):
            estimator().fit(X, y, X_val=X, y_val=y, sample_weight_val=changed(np.ones(100), -1))

    def test_shapes_that_do_not_fit(self, estimator):
        for arguments, message in (
            ({"X": X[0], "y": y}, "Expected 2D array, got 1D array"),
            ({"X": X, "y": y[:-1]}, "inconsistent numbers of samples"),
            ({"X": X, "y": y, "sample_weight": np.ones(3)}, "sample_weight"),
            ({"X": X, "y": y, "X_val": X[:, :4], "y_val": y}, "4 features"),
            ({"X": X, "y": y, "X_val": X}, "X_val without y_val"),
            ({"X": X, "y": y, "y_val": y}, "without X_val"),
            ({"X": np.array([["a"] * 6] * 100), "y": y}, "could not convert string"),
        ):
            with pytest.raises(ValueError, match=message):
                estimator().fit(**arguments)

    def test_one_sample(self, estimator):
        with pytest.raises(ValueError, match="1 sample|n_samples = 1|1 class"):
            estimator().fit(X[:1], y[:1])

    def test_a_batch_of_one_under_batch_norm(self, estimator):
        with pytest.raises(ValueError, match="normalization='batch' needs at least 2 samples in a batch"):
            estimator(normalization="batch", batch_size=1).fit(X, y)
        with pytest.raises(ValueError, match="mixup_alpha=0.2 needs at least 2 samples"):
            estimator(mixup_alpha=0.2, batch_size=1).fit(X, y)
        with pytest.raises(ValueError, match="swap_noise=0.1 needs at least 2 samples"):
            estimator(swap_noise=0.1, batch_size=1).fit(X, y)

    def test_a_validation_set_that_nothing_would_use(self, estimator):
        with pytest.raises(ValueError, match="X_val, which early stopping uses, and early_stopping=False"):
            estimator(early_stopping=False).fit(X, y, X_val=X, y_val=y)
        with pytest.raises(ValueError, match="what early stopping watches, and early_stopping=False"):
            estimator(early_stopping=False, scoring="r2").fit(X, y)

    @pytest.mark.parametrize("parameter", [{"dropout": 0.5}, {"normalization": "batch"}, {"max_norm": 2.0}], ids=str)
    def test_a_regularizer_of_hidden_layers_without_hidden_layers(self, estimator, parameter):
        with pytest.raises(ValueError, match="acts on hidden layers, and hidden_layer_sizes=\\(\\) has none"):
            estimator(hidden_layer_sizes=(), **parameter).fit(X, y)

    def test_devices_that_are_not_there(self, estimator):
        with pytest.raises(ValueError, match="must be 'auto', 'cpu', 'cuda' or 'cuda:N'. Got 'tpu'"):
            estimator(device="tpu").fit(X, y)
        if not torch.cuda.is_available():
            with pytest.raises(ValueError, match="is 'cuda', and torch sees 0 CUDA devices"):
                estimator(device="cuda").fit(X, y)


OUT_OF_RANGE = {
    "hidden_layer_sizes": [0, (8, 0), (8, -1), (2.5,), "many"], "activation": ["swish", None], "weight_decay": [-1e-3],
    "dropout": [1, 1.0, -0.1], "input_dropout": [1.0], "input_noise": [-0.1], "swap_noise": [1.0, -0.1],
    "normalization": ["group"], "max_norm": [0, -1.0], "mixup_alpha": [-1], "cutmix_alpha": [-0.1],
    "solver": ["lbfgs"], "learning_rate_init": [0, -1], "learning_rate": ["adaptive"],
    "momentum": [1.0, -0.5], "max_grad_norm": [0.0], "weight_averaging": [1.0, -0.1, "always"],
    "batch_size": [0, "half", 2.5], "max_iter": [0, 1.5],
    "early_stopping": ["yes"], "validation_fraction": [0, 1.0], "patience": [0, 2.5], "min_delta": [-1],
    "scoring": [3], "device": [0], "dtype": ["float16"], "n_members": [0], "random_state": ["seed"], "verbose": [-1],
}  # fmt: skip
OF_SOME = [
    (RegularizedMLPClassifier, "l1", -1), (RegularizedMLPRegressor, "l2", -1), (ElasticNetMLP, "alpha", -1),
    (ElasticNetMLP, "penalty_groups", "inputs"), (ElasticNetMLP, "feature_groups", "color"),
    (ElasticNetMLP, "hierarchy", -1), (ElasticNetMLP, "penalty_warmup", 1.0),
    (ElasticNetMLP, "l1_ratio", 1.1), (ElasticNetMLPClassifier, "l1_ratio", -0.1),
    (RegularizedMLPClassifier, "label_smoothing", 1.0), (RegularizedMLPClassifier, "class_weight", "even"),
    (RegularizedMLPClassifier, "focal_gamma", -1), (RegularizedMLPRegressor, "residual", 3),
    (RegularizedMLPRegressor, "stochastic_depth", 1.0), (RegularizedMLPRegressor, "input_scaling", "standard"),
    (RegularizedMLPRegressor, "n_bins", 1), (RegularizedMLPClassifier, "bootstrap", "yes"),
]  # fmt: skip


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("estimator", "parameter", "value"),
    [(e, p, v) for e in ALL for p, values in OUT_OF_RANGE.items() for v in values] + OF_SOME,
)
def test_every_parameter_out_of_range_is_named(estimator, parameter, value):
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of {estimator.__name__}"):
        estimator(**{parameter: value}).fit(X, y)


def test_every_parameter_has_a_bad_value_above():
    tested = set(OUT_OF_RANGE) | {parameter for _, parameter, _ in OF_SOME}
    for estimator in ALL:
        assert set(estimator().get_params()) - tested == {"warm_start"}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", CLASSIFIERS)
class TestLabels:
    def test_one_class(self, estimator):
        with pytest.raises(ValueError, match="at least 2 classes; got 1 class"):
            estimator().fit(X, np.zeros(100))
        with pytest.raises(ValueError, match="1 class"):
            estimator().fit(X, y, sample_weight=(y == 0).astype(float))

    def test_one_sample_of_each_class(self, estimator):
        with pytest.raises(ValueError, match="n_samples = 2 with one sample of each class. Set early_stopping=False"):
            estimator().fit(X[:2], [0, 1])

    def test_continuous_and_several_multiclass_targets(self, estimator):
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            estimator().fit(X, X[:, 0])
        with pytest.raises(ValueError, match="MultiOutputClassifier"):
            estimator().fit(X, np.column_stack([np.arange(100) % 3, np.arange(100) % 4]))

    def test_labels_unseen_in_training(self, estimator):
        with pytest.raises(ValueError, match="does not know: \\[2\\]"):
            estimator().fit(X, y, X_val=X[:3], y_val=[0, 1, 2])
        with pytest.raises(ValueError, match="does not know: \\[1\\]"):
            estimator().partial_fit(X, y, classes=[0, 5])
        with pytest.raises(ValueError, match="classes must be passed on the first call"):
            estimator().partial_fit(X, y)

    def test_weights_of_classes(self, estimator):
        with pytest.raises(ValueError, match="names classes that are not in y: \\[7\\]"):
            estimator(class_weight={7: 1.0}).fit(X, y)
        with pytest.raises(ValueError, match="finite weights above 0"):
            estimator(class_weight={0: 0.0}).fit(X, y)
        with pytest.raises(ValueError, match="for one label a sample; got several"):
            estimator(class_weight="balanced").fit(X, np.column_stack([y, 1 - y]))

    def test_smoothing_that_would_turn_the_labels_round(self, estimator):
        with pytest.raises(ValueError, match="label_smoothing must be below 0.5 for 2 classes"):
            estimator(label_smoothing=0.5).fit(X, y)
        with pytest.raises(ValueError, match="label_smoothing must be below 0.667 for 3 classes"):
            estimator(label_smoothing=0.7).fit(X, np.arange(100) % 3)

    def test_a_score_that_the_validation_set_does_not_allow(self, estimator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(
                ValueError, match="scoring='roc_auc' gives nan for perfect predictions of the validation set of 3"
            ):
                estimator(scoring="roc_auc").fit(X, y, X_val=X[:3], y_val=[0, 0, 0])
        with pytest.raises(ValueError, match="scoring"):
            estimator(scoring="no_such_score").fit(X, y)


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_warns_and_keeps_finite_weights(estimator, early_stopping):
    model = estimator(
        solver="sgd",
        learning_rate_init=1e30,
        early_stopping=early_stopping,
        max_iter=20,
        dtype="float32",
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match="diverged in epoch .* Lower learning_rate_init"):
        model.fit(X, y)
    assert model.best_iter_ < model.n_iter_ < 20
    assert all(np.isfinite(c).all() for c in (*model.coefs_, *model.intercepts_))


def test_divergence_keeps_the_best_epoch():
    # The penalty's own curvature makes every second step longer: it takes some epochs to overflow.
    model = RegularizedMLPRegressor(
        hidden_layer_sizes=(), solver="sgd", momentum=0.0, learning_rate_init=2.2, batch_size="full", max_iter=100_000,
        early_stopping=False, weight_decay=0.0, dtype="float32",
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(X, X @ np.arange(6.0))
    assert model.best_iter_ >= 1
    assert model.loss_curve_[model.best_iter_ - 1] == min(model.loss_curve_)
    assert np.isfinite(model.predict(X)).all()
