"""What the estimators promise beyond scikit-learn's checks."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.feature_selection import SelectFromModel
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, RegularizedMLPClassifier, RegularizedMLPRegressor

FAST = {"hidden_layer_sizes": (16,), "max_iter": 15, "random_state": 0}
ALL = [RegularizedMLPClassifier, RegularizedMLPRegressor, ElasticNetMLP, ElasticNetMLPClassifier]
CLASSIFIERS = [RegularizedMLPClassifier, ElasticNetMLPClassifier]


@pytest.fixture(scope="module")
def binary():
    return make_classification(300, 8, n_informative=5, random_state=0)


@pytest.fixture(scope="module")
def regression():
    X, y = make_regression(300, 8, n_informative=4, noise=1.0, random_state=0)
    return X, y


# Targets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [["legit", "fraud"], [False, True], [5, 9], ["a", "b", "c"], [-1, 3, 10], np.array([2, 7], dtype=np.int8)],
    ids=str,
)
def test_labels_of_any_kind_come_back_as_they_were_given(labels):
    X, codes = make_classification(300, 8, n_informative=5, n_classes=len(labels), random_state=0)
    y = np.asarray(labels)[codes]
    model = RegularizedMLPClassifier(hidden_layer_sizes=(32,), learning_rate_init=0.01, random_state=0).fit(X, y)
    assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype
    assert model.score(X, y) > 0.8
    assert model.predict_proba(X).shape == (300, len(labels))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_logarithms_and_decisions_agree(n_classes):
    X, y = make_classification(200, 8, n_informative=6, n_classes=n_classes, random_state=0)
    model = RegularizedMLPClassifier(**FAST).fit(X, y)
    proba = model.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    assert_allclose(np.exp(model.predict_log_proba(X)), proba)
    assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
    if n_classes == 2:
        assert_allclose(1 / (1 + np.exp(-model.decision_function(X))), proba[:, 1])
    else:
        assert_array_equal(model.decision_function(X), model.predict_log_proba(X))
    assert np.isfinite(model.predict_log_proba(1e6 * X)).all()  # where the probability itself is 0


def test_several_labels_are_as_good_as_one_model_for_each():
    X, Y = make_multilabel_classification(400, 10, n_classes=3, random_state=0)
    model = RegularizedMLPClassifier(**{**FAST, "max_iter": 100}).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert set(np.unique(model.predict(X))) <= {0, 1}
    assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
    prior = [log_loss(y, np.full(len(y), y.mean())) for y in Y.T]
    loss = [log_loss(y, p) for y, p in zip(Y.T, model.predict_proba(X).T, strict=True)]
    assert (np.array(loss) < 0.8 * np.array(prior)).all()


@pytest.mark.slow
def test_outputs_of_a_linear_regression_do_not_influence_one_another(regression):
    X, y = regression
    Y = np.column_stack([y, 1000 * X[:, 0], np.full(len(y), 3.0)])
    setting = {
        "hidden_layer_sizes": (), "alpha": 0.1, "early_stopping": False, "batch_size": "full",
        "learning_rate": "cosine", "learning_rate_init": 0.05, "max_iter": 1500, "random_state": 0,
    }  # fmt: skip
    together = ElasticNetMLP(**setting).fit(X, Y)
    assert together.predict(X).shape == Y.shape
    for t in range(2):
        alone = ElasticNetMLP(**setting).fit(X, Y[:, t])
        assert alone.predict(X).shape == (len(y),)
        assert_allclose(together.coefs_[0][:, t], alone.coefs_[0][:, 0], atol=1e-3 * Y[:, t].std())
    assert_allclose(together.predict(X)[:, 2], 3.0)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_target_is_predicted_exactly(regression, value):
    X, _ = regression
    for estimator in (RegularizedMLPRegressor, ElasticNetMLP):
        model = estimator(**FAST, dropout=0.2).fit(X, np.full(len(X), value))
        assert_array_equal(model.predict(X), np.full(len(X), value))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_of_the_target_do_not_matter_without_penalties(regression, unit):
    X, y = regression
    reference = RegularizedMLPRegressor(**FAST).fit(X, y).predict(X)
    scaled = RegularizedMLPRegressor(**FAST).fit(X, unit * y + 5 * unit).predict(X)
    assert_allclose((scaled - 5 * unit) / unit, reference, rtol=1e-6, atol=1e-6 * y.std())


def test_penalties_are_in_the_targets_own_units(regression):
    """Scale the target and the penalty with it: a linear network scales, too."""
    X, y = regression
    setting = {**FAST, "hidden_layer_sizes": (), "l1": 0.5, "l2": 0.3, "weight_decay": 0.0, "max_iter": 50}
    one = RegularizedMLPRegressor(**setting).fit(X, y)
    ten = RegularizedMLPRegressor(**{**setting, "l1": 5.0}).fit(X, 10 * y)
    assert one.n_nonzero_ > 0
    assert_allclose(ten.coefs_[0], 10 * one.coefs_[0])


# Input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
@pytest.mark.parametrize("estimator", ALL)
def test_sparse_input_gives_what_dense_input_gives(estimator, container, binary):
    X, y = binary
    X = np.where(np.abs(X) < 0.5, 0, X)
    dense, spread = (estimator(**FAST, batch_size=64).fit(form, y) for form in (X, container(X)))
    assert dense.history_ == spread.history_
    for form in (X, container(X)):
        assert_array_equal(dense.predict(form), spread.predict(form))


def test_data_frames_keep_their_names_and_float32_its_precision(binary):
    X, y = binary
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    model = RegularizedMLPClassifier(**FAST).fit(frame, pd.Series(y))
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    assert_array_equal(model.predict(frame), RegularizedMLPClassifier(**FAST).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"x0": "other"}))
    assert next(model.module_.parameters()).dtype == torch.float64
    single = RegularizedMLPClassifier(**FAST).fit(X.astype(np.float32), y)
    assert next(single.module_.parameters()).dtype == torch.float32
    assert next(RegularizedMLPClassifier(**FAST, dtype="float32").fit(X, y).module_.parameters()).dtype == torch.float32


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_a_prediction_does_not_depend_on_its_company(binary, normalization):
    X, y = binary
    model = RegularizedMLPClassifier(hidden_layer_sizes=(50, 7), max_iter=3, normalization=normalization).fit(X, y)
    among = model.predict_proba(X)
    for i in (0, 17, 299):
        assert_array_equal(model.predict_proba(X[i : i + 1])[0], among[i])
    assert_array_equal(model.predict_proba(X[::-1])[::-1], among)


# Fitted attributes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_the_torch_module_predicts_what_the_estimator_predicts(estimator, normalization, binary):
    X, y = binary
    model = estimator(**FAST, normalization=normalization, dropout=0.1, input_dropout=0.1).fit(X, y)
    with torch.no_grad():
        raw = model.module_(torch.from_numpy(X)).numpy()[:, 0]
    expected = model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)
    assert_allclose(raw, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("setting", [{"input_noise": 0.3}, {"swap_noise": 0.2}, {"weight_averaging": 0.8}], ids=str)
def test_what_acts_in_training_alone_goes_with_weights_early_stopping_passes_and_pickles(estimator, setting, binary):
    X, y = binary
    weight = np.random.default_rng(0).uniform(0.2, 2, len(y))
    shared = {**FAST, "weight_averaging": 0.0, "normalization": "batch", "patience": 3}
    model = estimator(**{**shared, **setting})
    without = estimator(**shared).fit(X, y, sample_weight=weight)
    assert not np.array_equal(model.fit(X, y, sample_weight=weight).coefs_[0], without.coefs_[0])
    assert not np.array_equal(model.coefs_[0], clone(model).fit(X, y).coefs_[0])
    assert_array_equal(model.coefs_[0], clone(model).fit(X, y, sample_weight=2 * weight).coefs_[0])
    with torch.no_grad():
        raw = model.module_(torch.from_numpy(X)).numpy()[:, 0]
    assert_allclose(raw, model.decision_function(X) if hasattr(model, "classes_") else model.predict(X), rtol=1e-9)
    classes = {"classes": [0, 1]} if hasattr(model, "classes_") else {}
    passes = clone(model).partial_fit(X, y, **classes).partial_fit(X, y)
    copied = pickle.loads(pickle.dumps(passes)).partial_fit(X, y)
    assert_array_equal(copied.predict(X), passes.partial_fit(X, y).predict(X))


def test_partial_fit_goes_on_from_the_weights_behind_their_average_and_warm_start_from_the_average(binary):
    X, y = binary
    passes, averaged = (RegularizedMLPClassifier(**FAST, weight_averaging=decay) for decay in (0.0, 0.7))
    for _ in range(5):
        passes.partial_fit(X, y, classes=[0, 1])
        averaged.partial_fit(X, y, classes=[0, 1])
    assert averaged.loss_curve_ == passes.loss_curve_
    assert not np.array_equal(averaged.coefs_[0], passes.coefs_[0])
    assert_array_equal(
        averaged.set_params(weight_averaging=0.0).partial_fit(X, y).coefs_[0], passes.partial_fit(X, y).coefs_[0]
    )
    warm = RegularizedMLPClassifier(**FAST, weight_averaging=0.7, warm_start=True).fit(X, y)
    average = warm.predict_proba(X)
    warm.set_params(learning_rate_init=1e-12).fit(X, y)
    assert_allclose(warm.predict_proba(X), average, atol=1e-8)


def test_attributes_of_early_stopping_fit_together(binary):
    X, y = binary
    model = RegularizedMLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.02, patience=4, random_state=0)
    model.fit(X, y)
    assert model.n_iter_ == model.best_iter_ + 4 < model.max_iter
    assert len(model.history_) == len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert [record["epoch"] for record in model.history_] == list(range(1, model.n_iter_ + 1))
    assert model.coefs_[0].shape == (8, 64)
    assert model.intercepts_[-1].shape == (1,)
    assert json.loads(json.dumps(model.history_)) == model.history_


def test_without_early_stopping_all_epochs_are_trained_on_all_samples(binary):
    X, y = binary
    model = RegularizedMLPClassifier(**FAST, early_stopping=False).fit(X, y)
    assert model.n_iter_ == model.best_iter_ == 15
    assert model.validation_scores_ is None
    assert model.best_validation_score_ is None


def test_a_given_validation_set_is_what_is_watched(binary):
    X, y = binary
    X_val, y_val = X[200:], y[200:]
    model = RegularizedMLPClassifier(**FAST, patience=50).fit(X[:200], y[:200], X_val=X_val, y_val=y_val)
    assert_allclose(-model.best_validation_score_, log_loss(y_val, model.predict_proba(X_val)))
    weight = np.linspace(1, 3, 100)
    model.fit(X[:200], y[:200], X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert_allclose(-model.best_validation_score_, log_loss(y_val, model.predict_proba(X_val), sample_weight=weight))


def test_scoring_is_scikit_learns_score_of_the_kept_weights(binary):
    X, y = binary
    X_val, y_val = X[200:], y[200:]
    for scoring in ("average_precision", "roc_auc", "neg_brier_score", "accuracy", "f1"):
        model = RegularizedMLPClassifier(**FAST, scoring=scoring).fit(X[:200], y[:200], X_val=X_val, y_val=y_val)
        scorer = sklearn.metrics.get_scorer(scoring)
        assert_allclose(model.best_validation_score_, scorer(model, X_val, y_val))
        assert model.best_validation_score_ == max(model.validation_scores_)

    def custom(estimator, X, y):
        return average_precision_score(y, estimator.predict_proba(X)[:, 1])

    model = RegularizedMLPClassifier(**FAST, scoring=custom).fit(X[:200], y[:200], X_val=X_val, y_val=y_val)
    assert_allclose(model.best_validation_score_, custom(model, X_val, y_val))
    regressor = RegularizedMLPRegressor(**FAST, scoring="r2").fit(X[:200], X[:200, 0], X_val=X_val, y_val=X_val[:, 0])
    assert_allclose(regressor.best_validation_score_, regressor.score(X_val, X_val[:, 0]))


def test_every_class_stays_in_training_and_copies_share_a_side():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.array([0] * 58 + [1, 1])
    model = RegularizedMLPClassifier(**FAST).fit(X, y)
    assert model.predict_proba(X)[:, 1].mean() < 0.3
    doubled = RegularizedMLPClassifier(**FAST, batch_size="full").fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    once = RegularizedMLPClassifier(**FAST, batch_size="full").fit(X, y)
    assert_allclose(doubled.validation_scores_, once.validation_scores_)


# Weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("estimator", ALL)
def test_a_weight_of_two_is_two_samples_and_of_zero_is_none(estimator, normalization, binary):
    X, y = binary
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    setting = {**FAST, "batch_size": "full", "normalization": normalization}
    weighted = estimator(**setting).fit(X, y, sample_weight=weight)
    repeated = estimator(**setting).fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-7, atol=1e-10)
    assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)


@pytest.mark.parametrize("factor", [1e-300, 0.1, 7.0, 1e300])
def test_the_scale_of_weights_does_not_matter(binary, factor):
    X, y = binary
    weight = np.random.default_rng(0).uniform(1, 2, len(X))
    one, other = (RegularizedMLPClassifier(**FAST).fit(X, y, sample_weight=w) for w in (weight, factor * weight))
    assert_allclose(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_class_weights_are_sample_weights(estimator, binary):
    X, y = binary
    X, y = X[60:], np.r_[y[60:]]
    by_class = estimator(**FAST, early_stopping=False, class_weight={0: 1.0, 1: 5.0}).fit(X, y)
    by_sample = estimator(**FAST, early_stopping=False).fit(X, y, sample_weight=np.where(y == 1, 5.0, 1.0))
    assert_allclose(by_class.predict_proba(X), by_sample.predict_proba(X))
    keep = (y == 0) | (np.arange(len(y)) % 8 == 0)
    balanced = estimator(**FAST, class_weight="balanced").fit(X[keep], y[keep])
    plain = estimator(**FAST).fit(X[keep], y[keep])
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1


# Continuing ---------------------------------------------------------------------------------------------------


def test_passes_one_by_one_learn_and_go_on_with_the_optimizer(binary):
    X, y = binary
    model = RegularizedMLPClassifier(hidden_layer_sizes=(32,), random_state=0, learning_rate_init=0.01)
    for i in range(20):
        model.partial_fit(X, y, classes=[0, 1] if i == 0 else None)
        assert model.n_iter_ == model.best_iter_ == i + 1
    assert model.score(X, y) > 0.85
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    copied = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    assert_array_equal(copied.predict_proba(X), model.partial_fit(X, y).predict_proba(X))


def test_full_batch_passes_are_one_fit(regression):
    """Two routes to one number: the optimizer's state is carried over completely."""
    X, y = regression
    setting = {
        **FAST,
        "batch_size": "full",
        "early_stopping": False,
        "max_iter": 6,
        "normalization": "batch",
        "l1": 1e-3,
    }
    for solver in ("adam", "sgd"):
        whole = RegularizedMLPRegressor(**setting, solver=solver).fit(X, y)
        passes = RegularizedMLPRegressor(**setting, solver=solver)
        start = RegularizedMLPRegressor(**{**setting, "max_iter": 1}, solver=solver).fit(X, y)
        for _ in range(6):
            passes.partial_fit(X, y)
        assert passes.n_iter_ == 6
        assert start.loss_curve_[0] == whole.loss_curve_[0]
        # Initialization differs (another seed for every pass), so compare how far the loss has come.
        assert_allclose(
            passes.loss_curve_[-1] / passes.loss_curve_[0], whole.loss_curve_[-1] / whole.loss_curve_[0], rtol=0.2
        )


def test_partial_fit_knows_classes_that_come_later(binary):
    X, y = binary
    model = RegularizedMLPClassifier(**FAST)
    model.partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
    model.partial_fit(X, y)
    assert model.predict_proba(X).shape == (300, 3)
    with pytest.raises(ValueError, match="does not know: \\[7\\]"):
        model.partial_fit(X[:2], [7, 0])
    with pytest.raises(ValueError, match="not the same as in the first call"):
        model.partial_fit(X, y, classes=[0, 1])


def test_warm_start_goes_on_from_the_weights(regression):
    X, y = regression
    setting = {**FAST, "early_stopping": False, "max_iter": 20}
    cold = RegularizedMLPRegressor(**setting).fit(X, y)
    warm = RegularizedMLPRegressor(**setting, warm_start=True).fit(X, y)
    assert_array_equal(cold.predict(X), warm.predict(X))
    warm.fit(X, y)
    assert warm.loss_curve_[0] < cold.loss_curve_[-1] * 1.05
    assert_array_equal(cold.fit(X, y).predict(X), RegularizedMLPRegressor(**setting).fit(X, y).predict(X))
    other_units = clone(warm).fit(X, y)
    other_units.fit(X, 1e3 * y)  # weights are kept in the target's units, whatever they were trained in
    assert np.isfinite(other_units.predict(X)).all()
    with pytest.raises(ValueError, match="cannot continue"):
        warm.set_params(hidden_layer_sizes=(8,)).fit(X, y)
    with pytest.raises(ValueError, match="cannot continue"):
        RegularizedMLPClassifier(**FAST, warm_start=True).fit(X, y > 0).fit(X, np.arange(300) % 3)


# In scikit-learn ----------------------------------------------------------------------------------------------


def test_grid_search_over_every_regularizer_in_a_pipeline(binary):
    X, y = binary
    model = make_pipeline(StandardScaler(), RegularizedMLPClassifier(**FAST))
    grid = {
        "regularizedmlpclassifier__l1": [0, 1e-3], "regularizedmlpclassifier__dropout": [0, 0.3],
        "regularizedmlpclassifier__normalization": [None, "batch"],
    }  # fmt: skip
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert len(np.unique(search.cv_results_["mean_test_score"])) > 3  # the parameters arrive
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scores_with_one_and_two_jobs(binary):
    X, y = binary
    model = RegularizedMLPClassifier(**FAST, dropout=0.2, mixup_alpha=0.2, batch_size=32)
    assert_array_equal(cross_val_score(model, X, y, cv=2, n_jobs=1), cross_val_score(model, X, y, cv=2, n_jobs=2))


def test_a_subclass_has_the_parameters_of_its_own_constructor():
    class Wide(RegularizedMLPClassifier):
        def __init__(self, width=8, random_state=None):
            super().__init__((width,), max_iter=2, random_state=random_state)
            self.width = width

    class AsBefore(RegularizedMLPClassifier):
        pass

    parent = RegularizedMLPClassifier().get_params()
    assert AsBefore().get_params() == parent
    assert clone(Wide(3)).get_params() == {"width": 3, "random_state": None}
    Wide.__init__ = lambda self, depth=1: None
    assert list(Wide._get_param_names()) == ["depth"]
    names = RegularizedMLPClassifier._get_param_names()
    names.clear()
    assert RegularizedMLPClassifier().get_params() == parent


def test_dropped_features_are_dropped_by_select_from_model(regression):
    X, y = regression
    model = ElasticNetMLP(hidden_layer_sizes=(16,), alpha=0.05, l1_ratio=1.0, learning_rate_init=0.01, random_state=0)
    X = (X - X.mean(0)) / X.std(0)
    y = (y - y.mean()) / y.std()
    informative = np.abs(np.corrcoef(X.T, y)[-1, :-1]) > 0.2
    selector = SelectFromModel(model, threshold=1e-12).fit(X, y)
    importances = selector.estimator_.feature_importances_
    assert (importances[~informative] == 0).all()
    assert (importances[informative] > 0).all()
    assert_array_equal(selector.get_support(), importances > 0)
    assert_allclose(importances, np.sqrt((selector.estimator_.coefs_[0] ** 2).sum(axis=1)))


@pytest.mark.skipif(
    not hasattr(sklearn.pipeline.Pipeline, "set_callbacks"), reason="scikit-learn before 1.9: no callbacks"
)
def test_callbacks_see_every_epoch_and_can_stop_the_fit(binary, capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    X, y = binary
    model = RegularizedMLPClassifier(**FAST)
    model.set_callbacks(ProgressBar())
    model.fit(X, y)
    assert "RegularizedMLPClassifier - fit" in capsys.readouterr().out
    assert_array_equal(model.predict(X), RegularizedMLPClassifier(**FAST).fit(X, y).predict(X))

    monitored = RegularizedMLPClassifier(**FAST, early_stopping=False).set_callbacks(ScoringMonitor(scoring="accuracy"))
    monitored.fit(X, y)
    assert monitored.n_iter_ == 15

    class Stop:
        epochs = 0

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            assert fitted_estimator.predict(X).shape == y.shape
            self.epochs += context.task_name == "epoch"
            return self.epochs == 3

    callback = Stop()
    stopped = RegularizedMLPClassifier(**FAST).set_callbacks(callback).fit(X, y)
    assert stopped.n_iter_ == callback.epochs == 3


def test_verbose_prints_a_line_an_epoch(binary, capsys):
    RegularizedMLPClassifier(**FAST, verbose=True).fit(*binary)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert lines[0].startswith("RegularizedMLPClassifier epoch 1: loss ")
    assert "validation_loss" in lines[0]


# Machines and processes ---------------------------------------------------------------------------------------


def test_pickles_predict_the_same_in_another_process_without_cuda(binary, tmp_path):
    X, y = binary
    models = [estimator(**FAST, normalization="batch").fit(X, y) for estimator in ALL]
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "models.pkl").write_bytes(pickle.dumps(models))
    code = (
        "import pickle, numpy as np; models = pickle.load(open('models.pkl', 'rb')); X = np.load('X.npy');"
        "print(*[model.predict(X).sum() for model in models])"
    )
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=env
    )
    assert_allclose([float(text) for text in out.stdout.split()], [model.predict(X).sum() for model in models])
    for model in models:
        assert len(pickle.dumps(model)) < 20_000 + 4 * sum(8 * c.size for c in model.coefs_)  # no data inside


def test_threads_are_as_found_also_after_trainings_at_the_same_time(binary, use_threads):
    X, y = binary
    use_threads(2)
    fits = [threading.Thread(target=RegularizedMLPClassifier(**FAST).fit, args=(X, y)) for _ in range(4)]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        RegularizedMLPClassifier(**FAST, scoring=_fails_later()).fit(X, y)
    assert torch.get_num_threads() == 2


def _fails_later():
    calls = []

    def score(estimator, X, y):
        calls.append(1)
        return 1 / 0 if len(calls) > 3 else 0.5

    return score


def test_a_failed_fit_leaves_the_estimator_as_it_was(binary):
    X, y = binary
    model = RegularizedMLPClassifier(**FAST).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ZeroDivisionError):
        model.set_params(scoring=_fails_later()).fit(X[:, :3], np.arange(300) % 4)
    model.set_params(scoring="loss")
    assert model.n_features_in_ == 8
    assert_array_equal(model.predict_proba(X), before)
    fresh = RegularizedMLPClassifier(**FAST, scoring=_fails_later())
    with pytest.raises(ZeroDivisionError):
        fresh.fit(X, y)
    assert not [name for name in vars(fresh) if name.endswith("_")]


@pytest.mark.gpu
@pytest.mark.parametrize("estimator", ALL)
def test_what_is_fitted_on_cuda_is_close_to_the_cpu_and_kept_there(estimator, binary):
    X, y = binary
    on_gpu = estimator(**FAST, device="cuda", dtype="float64").fit(X, y)
    on_cpu = estimator(**FAST, device="cpu").fit(X, y)
    assert next(on_gpu.module_.parameters()).device.type == "cpu"
    assert_allclose(on_gpu.coefs_[0], on_cpu.coefs_[0], rtol=1e-4, atol=1e-6)


def test_a_validation_set_goes_through_a_pipelines_steps(binary):
    X, y = binary
    X = 100 * X + 5
    with sklearn.config_context(enable_metadata_routing=True):
        model = RegularizedMLPClassifier(**FAST).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        pipeline.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert_allclose(-pipeline[-1].best_validation_score_, log_loss(y[200:], pipeline.predict_proba(X[200:])))
