"""A diagnosis follows from losses that the estimators' own methods confirm, and claims no more than these say."""

from __future__ import annotations

import dataclasses
from copy import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklreg import (
    ElasticNetMLPClassifierCV,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    diagnose,
)

QUICK = {"random_state": 0, "learning_rate_init": 0.01}


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(300, 10, n_informative=5, class_sep=2.0, flip_y=0.0, weights=[0.7], random_state=0)
    return X[:200], y[:200], X[200:], y[200:]


@pytest.fixture(scope="module")
def noise():
    """A table of which nothing can be learnt."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 30)), rng.integers(2, size=60), rng.normal(size=(60, 30)), rng.integers(2, size=60)


@pytest.fixture(scope="module")
def stopped(data):
    return RegularizedMLPClassifier((8,), max_iter=100, **QUICK).fit(*data[:2])


def with_history(model, losses, validation_losses=None, best_iter=None, **parameters):
    """Return a copy of a fitted model with another history."""
    model = copy(model).set_params(**parameters)
    model.history_ = [{"epoch": i + 1.0, "loss": loss} for i, loss in enumerate(losses)]
    for record, loss in zip(model.history_, validation_losses or [], strict=bool(validation_losses)):
        record |= {"validation_loss": loss, "validation_score": -loss}
    model.best_iter_ = len(losses) if best_iter is None else best_iter
    return model


# The numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_losses_of_a_classifier_are_log_losses(n_classes):
    X, y = make_classification(120, 8, n_informative=5, n_classes=n_classes, random_state=0)
    model = RegularizedMLPClassifier((8,), dropout=0.3, max_iter=20, **QUICK).fit(X[:80], y[:80])
    diagnosis = diagnose(model, X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    shares = np.bincount(y[:80]) / 80
    assert_allclose(diagnosis.train_loss, log_loss(y[:80], model.predict_proba(X[:80])), rtol=1e-6)
    assert_allclose(diagnosis.validation_loss, log_loss(y[80:], model.predict_proba(X[80:])), rtol=1e-6)
    assert_allclose(diagnosis.baseline_loss, -(shares * np.log(shares)).sum(), rtol=1e-6)
    assert diagnosis.is_baseline_exact
    gap = (diagnosis.validation_loss - diagnosis.train_loss) / diagnosis.baseline_loss
    assert_allclose(diagnosis.gap, gap)


def test_losses_of_a_regressor_are_half_squared_errors():
    X, y = make_regression(120, 5, n_targets=2, noise=5.0, random_state=0)
    model = RegularizedMLPRegressor((8,), early_stopping=False, max_iter=20, **QUICK).fit(X, y)
    diagnosis = diagnose(model, X, y, X_val=X[:40], y_val=y[:40])
    assert_allclose(diagnosis.train_loss, 0.5 * ((model.predict(X) - y) ** 2).sum(axis=1).mean(), rtol=1e-6)
    assert_allclose(diagnosis.baseline_loss, 0.5 * y.var(axis=0).sum(), rtol=1e-6)
    assert_allclose(diagnose(model).baseline_loss, diagnosis.baseline_loss, rtol=1e-6)


def test_losses_have_the_weights_of_the_classes(data):
    X, y, X_val, y_val = data
    model = RegularizedMLPClassifier((8,), class_weight={0: 1.0, 1: 4.0}, max_iter=5, **QUICK).fit(X, y)
    diagnosis = diagnose(model, X, y, X_val=X_val, y_val=y_val)
    expected = log_loss(y_val, model.predict_proba(X_val), sample_weight=np.where(y_val == 1, 4.0, 1.0))
    assert_allclose(diagnosis.validation_loss, expected, rtol=1e-6)


def test_without_samples_the_losses_are_those_of_the_history_at_the_epoch_that_was_kept(stopped):
    diagnosis, record = diagnose(stopped), stopped.history_[stopped.best_iter_ - 1]
    assert (diagnosis.train_loss, diagnosis.validation_loss) == (record["loss"], record["validation_loss"])
    assert diagnosis.epoch == stopped.best_iter_
    assert diagnosis.baseline_loss == np.log(2)
    assert not diagnosis.is_baseline_exact
    assert "without features at most 0.6931" in str(diagnosis)


def test_validation_samples_of_fit_give_the_validation_loss_of_the_history(data):
    X, y, X_val, y_val = data
    model = RegularizedMLPClassifier((8,), max_iter=10, **QUICK).fit(X, y, X_val=X_val, y_val=y_val)
    assert_allclose(
        diagnose(model, X, y).validation_loss, diagnose(model, X, y, X_val=X_val, y_val=y_val).validation_loss
    )


def test_a_pipeline_is_diagnosed_on_what_it_is_given(data):
    X, y, X_val, y_val = data
    model = RegularizedMLPClassifier((8,), max_iter=10, **QUICK)
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    diagnosis = diagnose(pipeline, X, y, X_val=X_val, y_val=y_val)
    assert_allclose(diagnosis.train_loss, log_loss(y, pipeline.predict_proba(X)), rtol=1e-6)
    assert diagnose(make_pipeline(model)).train_loss == model.history_[model.best_iter_ - 1]["loss"]


@pytest.mark.filterwarnings("ignore:.*Training was too short")
def test_what_has_chosen_alpha_is_diagnosed_too(data):
    X, y, X_val, y_val = data
    model = ElasticNetMLPClassifierCV((4,), alphas=3, cv=2, max_iter=20, **QUICK).fit(X, y)
    diagnosis = diagnose(model, X, y, X_val=X_val, y_val=y_val)
    assert_allclose(diagnosis.train_loss, log_loss(y, model.predict_proba(X)), rtol=1e-6)


# The verdicts ---------------------------------------------------------------------------------------------------------


def test_a_network_that_learns_noise_by_heart_overfits(noise):
    X, y, X_val, y_val = noise
    model = RegularizedMLPClassifier(early_stopping=False, weight_decay=0.0, **QUICK).fit(X, y)
    diagnosis = diagnose(model, X, y, X_val=X_val, y_val=y_val)
    assert diagnosis.verdict == "overfitting"
    starts = ["Set weight_decay", "Set dropout", "Set early_stopping", "Set mixup", "Train on more", "Make the network"]
    assert [text.startswith(start) for text, start in zip(diagnosis.advice, starts, strict=True)] == [True] * 6


def test_a_network_held_down_by_a_penalty_underfits(data):
    X, y, X_val, y_val = data
    model = RegularizedMLPClassifier((8,), l2=10.0, weight_decay=0.0, max_iter=30, **QUICK).fit(X, y)
    diagnosis = diagnose(model, X, y, X_val=X_val, y_val=y_val)
    assert diagnosis.verdict == "underfitting"
    assert diagnosis.advice[0] == "Lower the strengths: l2=10.0."


def test_a_network_that_learns_what_holds_elsewhere_fits_well(data, stopped):
    X, y, X_val, y_val = data
    assert diagnose(stopped, X, y, X_val=X_val, y_val=y_val).verdict == "good fit"
    assert diagnose(stopped, X, y).verdict == "good fit"


def test_a_training_that_max_iter_cuts_is_unfinished(data):
    X, y, X_val, y_val = data
    model = RegularizedMLPClassifier((8,), max_iter=5, random_state=0).fit(X, y)
    assert diagnose(model, X, y, X_val=X_val, y_val=y_val).verdict == "unfinished"
    without = RegularizedMLPClassifier((8,), max_iter=5, early_stopping=False, random_state=0).fit(X, y)
    assert diagnose(without, X, y, X_val=X_val, y_val=y_val).verdict == "unfinished"


@pytest.mark.filterwarnings("ignore:.*diverged")
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_training_that_blows_up_has_diverged(data, early_stopping):
    X, y, *_ = data
    model = RegularizedMLPRegressor(
        (8,), solver="sgd", learning_rate_init=1e6, early_stopping=early_stopping, random_state=0
    )
    diagnosis = diagnose(model.fit(X * 100, y.astype(float)))
    assert diagnosis.verdict == "diverged"
    assert diagnosis.advice[0] == "Lower learning_rate_init; it is 1000000.0."
    assert "diverged" in str(diagnosis)


def test_a_pass_that_blows_up_has_diverged_and_the_one_before_it_is_kept(data):
    X, y, *_ = data
    model = RegularizedMLPRegressor((8,), solver="sgd", learning_rate_init=1e-3, batch_size=50, random_state=0)
    for _ in range(3):
        model.partial_fit(X, y.astype(float))
    before = model.predict(X)
    with pytest.warns(ConvergenceWarning, match=r"diverged in epoch 4: .* weights of epoch 3 .* are kept"):
        model.set_params(learning_rate_init=1e300).partial_fit(X, y.astype(float))
    assert_array_equal(model.predict(X), before)
    assert model.best_iter_ == 3
    assert diagnose(model).verdict == "diverged"
    assert diagnose(model.set_params(learning_rate_init=1e-3).partial_fit(X, y.astype(float))).verdict != "diverged"


def test_without_a_validation_set_it_cannot_tell(data):
    X, y, *_ = data
    model = RegularizedMLPClassifier((8,), early_stopping=False, max_iter=5, random_state=0).fit(X, y)
    for diagnosis in (diagnose(model), diagnose(model, X, y)):
        assert diagnosis.verdict == "unknown"
        assert diagnosis.gap is diagnosis.validation_loss is None
        assert diagnosis.advice == ("Set early_stopping=True, or pass X, y, X_val and y_val to diagnose.",)
    assert diagnose(model.partial_fit(X, y)).verdict == "unknown"


def test_a_small_gap_to_a_training_loss_with_noise_says_nothing_and_a_large_one_does(stopped):
    noisy = with_history(stopped, [0.3, 0.3], [0.31, 0.31], dropout=0.5)
    diagnosis = diagnose(noisy)
    assert diagnosis.verdict == "unknown"
    assert "with dropout, which the validation loss is without" in diagnosis.reason
    assert diagnose(with_history(stopped, [0.3, 0.3], [0.5, 0.5], dropout=0.5)).verdict == "overfitting"
    assert diagnose(with_history(stopped, [0.69, 0.69], [0.69, 0.69], label_smoothing=0.1)).verdict == "unknown"


def test_a_classifier_without_y_is_not_said_to_fit_well(stopped):
    diagnosis = diagnose(with_history(stopped, [0.1, 0.1], [0.11, 0.11]))
    assert diagnosis.verdict == "small gap"
    assert "cannot be told without y" in diagnosis.reason
    # Whatever the shares of the classes are, this is no better than without features.
    assert diagnose(with_history(stopped, [0.68, 0.68], [0.69, 0.69])).verdict == "underfitting"


@pytest.mark.parametrize(
    ("threshold", "verdict", "other"),
    [({"max_gap": 0.2}, "small gap", "overfitting"), ({"max_loss": 0.3}, "underfitting", "small gap")],
)
def test_thresholds_decide(stopped, threshold, verdict, other):
    gap = 0.1 if "max_gap" in threshold else 0.0
    model = with_history(stopped, [0.3, 0.3], [0.3 + gap, 0.3 + gap])
    assert diagnose(model, **threshold).verdict == verdict
    assert diagnose(model).verdict == other


def test_advice_leaves_out_what_is_on_and_what_would_be_refused(stopped):
    overfit = [0.1, 0.1], [0.6, 0.6]
    first = diagnose(with_history(stopped, *overfit)).advice[0]
    assert first == "Set dropout between 0.2 and 0.7; it is 0.0."
    linear = diagnose(with_history(stopped, *overfit, hidden_layer_sizes=())).advice
    assert not any("dropout" in text or "smaller" in text for text in linear)
    batch = diagnose(with_history(stopped, *overfit, normalization="batch")).advice[0]
    assert batch.endswith("With normalization='batch' it can hurt: compare.")
    every = diagnose(with_history(stopped, *overfit, dropout=0.2, mixup_alpha=0.1)).advice
    assert every[0] == "Raise the strengths: weight_decay=0.8, dropout=0.2, mixup_alpha=0.1."


# What is returned and refused -----------------------------------------------------------------------------------------


def test_a_diagnosis_is_read_as_text_and_does_not_change(stopped):
    diagnosis = diagnose(stopped)
    lines = str(diagnosis).splitlines()
    assert lines[0] == f"{diagnosis.verdict}: {diagnosis.reason}"
    assert lines[1].startswith("  training loss ")
    assert lines[2:] == [f"  {i}. {text}" for i, text in enumerate(diagnosis.advice, start=1)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        diagnosis.verdict = "good fit"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": [[0.0]]}, "diagnose got X without y. Pass both."),
        ({"y_val": [0]}, "diagnose got y_val without X_val. Pass both."),
        ({"X_val": [[0.0]], "y_val": [0]}, "X_val and y_val without X and y.*Pass the training samples too"),
        ({"max_gap": 0.0}, "max_gap of diagnose must be above 0; got 0.0"),
        ({"max_loss": 1.5}, r"max_loss of diagnose must be in \(0, 1\]; got 1.5"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(stopped, arguments, message):
    with pytest.raises(ValueError, match=message):
        diagnose(stopped, **arguments)


@pytest.mark.parametrize("estimator", [LogisticRegression(), RegularizedMLPClassifier, make_pipeline(StandardScaler())])
def test_what_is_not_ours_is_refused(estimator):
    with pytest.raises(TypeError, match="diagnose needs a fitted estimator of sklreg.*pass best_estimator_"):
        diagnose(estimator)


def test_what_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        diagnose(RegularizedMLPClassifier())
