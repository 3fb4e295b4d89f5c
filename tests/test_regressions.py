"""Bugs that were found once; each test says what must hold."""

from __future__ import annotations

import pickle
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_score, train_test_split

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifier,
    ElasticNetMLPClassifierCV,
    ElasticNetMLPCV,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    StabilitySelector,
    batched_training,
    elastic_net_mlp_path,
)
from sklreg._feature_groups import feature_group_labels
from sklreg._holdout import hold_out
from sklreg.engine import train
from sklreg.engine.threads import threads_for

X, y = make_classification(200, 5, n_informative=3, n_redundant=0, random_state=0)
target = X @ [1, 2, 0, 0, -1] + np.random.default_rng(0).normal(size=200)
FAST = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}


def test_overlapping_trainings_in_two_threads_leave_each_its_number_of_threads(use_threads):
    use_threads(2)
    entered, leave, seen = threading.Event(), threading.Event(), []

    def worker():
        torch.set_num_threads(2)
        with threads_for(1.0):
            entered.set()
            leave.wait(10)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=worker)
    with threads_for(1.0):
        assert torch.get_num_threads() == 1
        thread.start()
        entered.wait(10)
    assert torch.get_num_threads() == 2
    leave.set()
    thread.join()
    assert torch.get_num_threads() == 2
    assert seen == [2]


def test_a_pass_that_diverges_does_not_spoil_those_after_it():
    model = RegularizedMLPRegressor(**FAST, dtype="float32").partial_fit(X, target)
    with pytest.warns(ConvergenceWarning):
        model.partial_fit(np.full_like(X, 1e38), target)
    before = model.coefs_[0].copy()
    model.partial_fit(X, target)
    assert not np.array_equal(before, model.coefs_[0])
    assert np.isfinite(model.coefs_[0]).all()


def test_passes_go_on_when_precision_or_solver_change():
    model = RegularizedMLPClassifier(**FAST).partial_fit(X, y, [0, 1])
    model.partial_fit(X.astype(np.float32), y)
    model.set_params(solver="sgd").partial_fit(X, y).partial_fit(X, y)
    assert model.n_iter_ == 4


def test_a_pass_after_fit_leaves_no_broken_attribute():
    model = RegularizedMLPClassifier(**FAST).fit(X, y).partial_fit(X, y)
    assert model.validation_scores_ is None
    assert model.best_validation_score_ is None
    assert model.n_iter_ == 6


def test_every_pass_checks_the_parameters():
    model = RegularizedMLPClassifier(**FAST).partial_fit(X, y, [0, 1])
    for parameter, value in (("learning_rate_init", -1), ("dropout", 2), ("label_smoothing", 0.9)):
        with pytest.raises(ValueError, match=parameter):
            model.set_params(**{parameter: value}).partial_fit(X, y)
        model.set_params(**{parameter: RegularizedMLPClassifier().get_params()[parameter]})


def test_many_small_classes_hold_out_the_fraction_all_the_same():
    classes = np.repeat(np.arange(100), 4)
    _, held = hold_out(np.random.default_rng(0).normal(size=(400, 3)), classes, None, 0.1, 0)
    assert 30 <= len(held) <= 50
    labels = np.random.default_rng(0).random((1000, 10)) < 0.2
    _, combination = np.unique(labels, axis=0, return_inverse=True)
    _, held = hold_out(np.random.default_rng(0).normal(size=(1000, 3)), combination, None, 0.1, 0, keep_strata=False)
    assert 90 <= len(held) <= 110
    assert abs(labels[held].mean() - labels.mean()) < 0.05


def test_a_rare_class_has_a_part_in_validation():
    classes = np.r_[np.zeros(996, dtype=int), np.ones(4, dtype=int)]
    _, held = hold_out(np.random.default_rng(0).normal(size=(1000, 3)), classes, None, 0.1, 0)
    assert (classes[held] == 1).sum() == 1
    assert abs(len(held) - 100) <= 1


def test_one_sample_of_great_weight_does_not_empty_either_side():
    weight = np.ones(50)
    weight[0] = 1000.0
    for seed in range(60):
        train_part, held = hold_out(
            np.random.default_rng(0).normal(size=(50, 2)), np.zeros(50, dtype=int), weight, 0.1, seed
        )
        assert 0 in train_part
        assert len(held) >= 1


def test_balanced_weights_are_those_of_the_training_target_also_where_validation_lacks_a_class():
    three = np.arange(200) % 3
    model = RegularizedMLPClassifier(**FAST, class_weight="balanced")
    with_two = (three[150:] < 2).nonzero()[0] + 150
    model.fit(X[:150], three[:150], X_val=X[with_two], y_val=three[with_two])
    assert np.isfinite(model.validation_scores_).all()
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples"):
        RegularizedMLPClassifier(class_weight="balanced").partial_fit(X, y, [0, 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("unit", [1e-25, 1e-10, 1e10, 1e25])
def test_a_target_of_any_reasonable_unit_is_learnt(dtype, unit):
    model = RegularizedMLPRegressor((32,), learning_rate_init=0.02, dtype=dtype, random_state=0).fit(X, unit * target)
    assert model.score(X, unit * target) > 0.7


@pytest.mark.parametrize("unit", [1e-200, 1e160])
def test_a_target_whose_squares_are_out_of_range_is_refused(unit):
    with pytest.raises(ValueError, match="standard deviation is between 1e-30 and 1e\\+30.* Scale y"):
        RegularizedMLPRegressor().fit(X, unit * target)


def test_a_constant_target_beside_a_small_one_takes_nothing_from_it():
    Y = np.column_stack([1e-6 * target, np.ones(200)])
    model = RegularizedMLPRegressor((32,), learning_rate_init=0.02, random_state=0).fit(X, Y)
    assert np.corrcoef(model.predict(X)[:, 0], Y[:, 0])[0, 1] > 0.85


@pytest.mark.parametrize("setting", [{"normalization": "batch"}, {"mixup_alpha": 0.2}], ids=str)
def test_a_batch_of_one_is_refused_also_where_only_the_last_is_one(setting):
    with pytest.raises(ValueError, match="needs at least 2 samples in a batch"):
        RegularizedMLPClassifier(**FAST, **setting, batch_size=2, early_stopping=False).fit(X[:3], [0, 1, 0])


def test_scorers_that_take_no_weights_get_none():
    weight = np.linspace(1, 2, 200)
    RegularizedMLPClassifier(**FAST, scoring=lambda e, X, y: (e.predict(X) == y).mean()).fit(X, y, weight)
    RegularizedMLPRegressor(**FAST, scoring="neg_max_error").fit(X, target, weight)


def test_a_scorer_that_raises_ends_its_own_row_and_no_other(make_job):
    def fails(raw):
        raise FloatingPointError("from the scorer")

    good, bad = train([make_job(), make_job(score=fails)])
    assert isinstance(bad, FloatingPointError)
    assert good.history == train([make_job()])[0].history


def test_a_job_that_nobody_waits_for_does_not_begin(make_job):
    begun = []
    jobs = [replace(make_job(), on_epoch=lambda record, snapshot, k=k: bool(begun.append(k))) for k in range(3)]
    outcomes = train(jobs, [lambda: False, lambda: True, lambda: False])
    assert isinstance(outcomes[1], InterruptedError)
    assert set(begun) == {0, 2}


def test_a_scorer_that_predicts_for_other_samples_is_refused_and_one_that_sorts_predictions_is_right():
    def of_sorted(predict):
        def scorer(estimator, X, y):
            order = np.argsort(X[:, 1])
            return average_precision_score(y[order], predict(estimator, X, order))

        return scorer

    def plain(estimator, X, y):
        assert estimator.n_features_in_ == 5
        return average_precision_score(y, np.exp(estimator.predict_log_proba(np.array(X))[:, 1]))

    wrong = of_sorted(lambda estimator, X, order: estimator.predict_proba(X[order])[:, 1])
    right = of_sorted(lambda estimator, X, order: estimator.predict_proba(X)[order, 1])
    with pytest.raises(ValueError, match="predicts for other samples than those that it is called with"):
        RegularizedMLPClassifier(**FAST, scoring=wrong).fit(X, y)
    scores = [RegularizedMLPClassifier(**FAST, scoring=s).fit(X, y).validation_scores_ for s in (right, plain)]
    assert_allclose(*scores)


def test_a_validation_set_of_one_class_cannot_be_scored():
    with pytest.raises(ValueError, match="so early stopping cannot watch it|no true nor predicted"):
        RegularizedMLPClassifier(scoring="f1").fit(X, y, X_val=X[y == 0], y_val=y[y == 0])


def test_sparse_labels_are_the_dense_ones():
    X, Y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    dense, spread = (
        ElasticNetMLPClassifier(**FAST, scoring="f1_macro").fit(X, form) for form in (Y, sparse.csr_array(Y))
    )
    assert_array_equal(dense.predict_proba(X), spread.predict_proba(X))


@pytest.mark.parametrize("setting", [{"mixup_alpha": 0.3}, {"normalization": "batch", "batch_size": 4}], ids=str)
def test_weights_too_small_for_single_precision_count_as_none(setting):
    weight = np.where(np.arange(200) % 4 == 0, 1.0, 1e-50)
    model = RegularizedMLPClassifier(**FAST, **setting).fit(X.astype(np.float32), y, weight)
    assert np.isfinite(model.loss_curve_).all()
    assert_array_equal(
        model.coefs_[0], RegularizedMLPClassifier(**FAST, **setting).fit(X[::4].astype(np.float32), y[::4]).coefs_[0]
    )


def test_read_only_inputs_are_predicted_without_a_warning(recwarn):
    model = RegularizedMLPClassifier(**FAST).fit(X, y)
    locked = X.copy()
    locked.flags.writeable = False
    assert_array_equal(model.predict(locked), model.predict(X))
    assert not recwarn.list


def test_a_fit_in_inference_mode_gives_a_module_that_can_be_trained():
    with torch.inference_mode():
        model = RegularizedMLPClassifier(**FAST).fit(X, y)
    model.module_(torch.from_numpy(X)).sum().backward()


def test_what_was_fitted_on_a_gpu_predicts_where_there_is_none(monkeypatch):
    model = RegularizedMLPClassifier(**FAST).fit(X, y).set_params(device="cuda")
    expected = model.set_params(device="cpu").predict_proba(X)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert_allclose(model.set_params(device="cuda").predict_proba(X), expected)


def test_warm_start_refuses_another_activation_and_another_kind_of_labels():
    model = RegularizedMLPClassifier(**FAST, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="cannot continue"):
        model.set_params(activation="tanh").fit(X, y)
    X3, Y3 = make_multilabel_classification(100, 5, n_classes=3, allow_unlabeled=False, random_state=0)
    several = RegularizedMLPClassifier(**FAST, warm_start=True).fit(X3, Y3)
    with pytest.raises(ValueError, match="cannot continue"):
        several.fit(X3, np.arange(100) % 3)


def test_errors_in_the_validation_set_say_so():
    with pytest.raises(ValueError, match="In the validation set"):
        RegularizedMLPClassifier().fit(X, y, X_val=np.full((3, 5), np.nan), y_val=[0, 1, 1])


def test_fitted_weights_cannot_be_changed_behind_the_modules_back():
    model = RegularizedMLPClassifier(**FAST).fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][:] = 0


@pytest.mark.parametrize("setting", [{"mixup_alpha": 0.3}, {"normalization": "batch", "batch_size": 4}], ids=str)
def test_a_class_of_hardly_any_weight_does_not_end_the_training(setting):
    model = RegularizedMLPClassifier(**FAST, **setting, class_weight={0: 1e-50, 1: 1.0})
    assert np.isfinite(model.fit(X.astype(np.float32), y).loss_curve_).all()


def test_a_moment_that_overflows_is_divergence():
    """Adam would hold the weights of an infinite second moment still, and say nothing."""
    model = RegularizedMLPRegressor(**FAST, dtype="float32").partial_fit(X, target)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.partial_fit(np.r_[1e20 * X[:1], X[1:]], target)
    assert all(part.isfinite().all() for part in model._passes.optimizer_state.memory)


def test_one_class_against_the_rest_can_be_calibrated_by_decisions():
    """CalibratedClassifierCV compares a class's decisions between samples; the outputs of a softmax do not compare."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, train_size=0.4, random_state=0)
    model = RegularizedMLPClassifier(
        (64,), weight_decay=0.0, learning_rate_init=0.01, max_iter=30, early_stopping=False, random_state=0
    )
    calibrated = CalibratedClassifierCV(model, method="isotonic", cv=3, ensemble=False).fit(X_train, y_train)
    truth = np.eye(10)[y_test]

    def brier_score(classifier):
        return np.mean((classifier.predict_proba(X_test) - truth) ** 2)

    assert brier_score(calibrated) < 1.1 * brier_score(model.fit(X_train, y_train))


@pytest.fixture(scope="module")
def rare_class():
    """One sample in twenty, which takes a while to learn."""
    X, y = make_classification(
        3000, 20, n_informative=5, n_redundant=0, n_clusters_per_class=3, weights=[0.95], flip_y=0.02, random_state=0
    )
    return X[:1500], X[1500:], y[:1500], y[1500:]


def test_l1_does_not_take_a_network_away_before_it_has_learnt(rare_class):
    """It did: early gradients are small, so in Adam's metric the penalty was great, and zero is a resting place."""
    X_train, X_test, y_train, y_test = rare_class

    def average_precision(**parameters):
        model = RegularizedMLPClassifier(l1=1e-3, max_iter=100, random_state=0, **parameters).fit(X_train, y_train)
        return average_precision_score(y_test, model.predict_proba(X_test)[:, 1])

    assert average_precision() > average_precision(penalty_warmup=0.0) + 0.2


@pytest.mark.parametrize("l1_before", [1e-3, 0.0])
def test_a_penalty_grows_in_a_warm_start_where_it_has_deleted_nothing_yet(rare_class, l1_before):
    X, _, y, _ = rare_class
    X = np.abs(X)  # so that some units are never on
    setting = {"hidden_layer_sizes": (64,), "activation": "relu", "max_iter": 3, "random_state": 0}
    model = RegularizedMLPClassifier(l1=l1_before, warm_start=True, **setting).fit(X, y)
    assert (model.coefs_[-1] == 0).any()  # not for a penalty alone
    growing, at_once = (
        pickle.loads(pickle.dumps(model)).set_params(l1=1e-3, penalty_warmup=share).fit(X, y) for share in (0.9, 0.0)
    )
    assert np.array_equal(growing.coefs_[0], at_once.coefs_[0]) == (l1_before > 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_default_device_of_torch_is_not_where_a_fit_makes_its_tensors():
    models = [
        RegularizedMLPClassifier(**FAST), RegularizedMLPRegressor(**FAST), ElasticNetMLPCV(alphas=2, cv=2, **FAST),
        StabilitySelector(ElasticNetMLP(early_stopping=False, **FAST), n_resamples=2, alphas=2),
    ]  # fmt: skip
    with torch.device("meta"):  # whose tensors hold nothing
        for model in models:
            model.fit(X, y)
        path = elastic_net_mlp_path(X, y, alphas=2, **FAST)
        assert torch.empty(0).device.type == "meta"
    assert_array_equal(models[0].coefs_[0], RegularizedMLPClassifier(**FAST).fit(X, y).coefs_[0])
    assert_array_equal(path.coefs[0], elastic_net_mlp_path(X, y, alphas=2, **FAST).coefs[0])


def test_a_scorer_may_warn_of_what_it_likes_and_be_infinite_at_perfection():
    def warning(estimator, X, y):
        warnings.warn("look at this", stacklevel=2)
        return estimator.score(X, y)

    def infinite(estimator, X, y):
        with np.errstate(divide="ignore"):
            return -np.log10(np.mean((estimator.predict(X) - y) ** 2))

    with pytest.warns(UserWarning, match="look at this"):
        RegularizedMLPClassifier(scoring=warning, **FAST).fit(X, y)
    assert RegularizedMLPRegressor(scoring=infinite, **FAST).fit(X, target).best_iter_ > 0


def test_a_fold_without_a_class_takes_the_weights_of_all():
    y_rare = np.r_[2, y[1:]]
    model = RegularizedMLPClassifier(class_weight={0: 1, 1: 1, 2: 5}, **FAST)
    assert np.isfinite(cross_val_score(model, X, y_rare, cv=KFold(3), error_score="raise")).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_several_labels_may_be_sparse_where_folds_are_made():
    labels = np.c_[y, X[:, 0] > 0].astype(int)
    model = ElasticNetMLPClassifierCV(alphas=2, cv=2, **FAST)
    expected = model.fit(X, labels).scores_
    assert_array_equal(model.fit(X, sparse.csr_matrix(labels)).scores_, expected)


def test_a_target_that_says_nothing_of_features_is_told_of():
    with pytest.warns(UserWarning, match="no input says anything of this target"):
        elastic_net_mlp_path(X, np.ones(len(X)), alphas=2, **FAST)


def test_what_enters_a_path_is_not_known_before_the_fit():
    assert not hasattr(ElasticNetMLPCV(), "entry_alphas_")
    with pytest.raises(NotFittedError):
        ElasticNetMLPCV().select(1)


@pytest.mark.parametrize("weight", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("model", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_equal_weights_are_no_weights_to_the_bit(model, weight):
    plain = model(normalization="batch", **FAST).fit(X, y)
    weighted = model(normalization="batch", **FAST).fit(X, y, sample_weight=np.full(len(X), weight))
    for of_plain, of_weighted in zip(plain.coefs_, weighted.coefs_, strict=True):
        assert_array_equal(of_plain, of_weighted)


def test_what_was_fitted_on_a_device_that_is_not_here_predicts_and_a_wrong_device_is_refused():
    model = RegularizedMLPClassifier(**FAST).fit(X, y)
    assert_array_equal(model.set_params(device="cuda:99").predict(X), model.set_params(device="cpu").predict(X))
    with pytest.raises(ValueError, match="must be 'auto', 'cpu', 'cuda' or 'cuda:N'. Got 'cdua'"):
        model.set_params(device="cdua").predict(X)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:99", 0, 1.5])
def test_a_device_that_is_none_or_not_there_is_refused_where_the_block_begins(device):
    with pytest.raises(ValueError, match="'device' parameter of batched_training"), batched_training(device=device):
        pass


def test_threads_that_begin_after_overlapping_trainings_have_the_threads_of_torch(use_threads):
    use_threads(2)
    has_begun, may_end, seen = threading.Event(), threading.Event(), []

    def train_longer():
        with threads_for(1.0):
            has_begun.set()
            may_end.wait(10)

    def train_meanwhile():
        with threads_for(0.0):
            may_end.set()
            longer.join()

    def train_in_a_block():
        with batched_training():
            cross_val_score(RegularizedMLPClassifier(**FAST), X, y, cv=2)
        seen.append(torch.get_num_threads())

    longer, meanwhile, later = map(make_thread, (train_longer, train_meanwhile, train_in_a_block))
    longer.start()
    has_begun.wait(10)
    meanwhile.start()
    meanwhile.join()
    later.start()
    later.join()
    assert seen == [2]
    assert torch.get_num_threads() == 2


def make_thread(target):
    return threading.Thread(target=target)


def test_what_batch_normalization_takes_off_again_does_not_move():
    X_single = X.astype(np.float32)
    model = RegularizedMLPRegressor((16, 16), normalization="batch", max_iter=20, random_state=0).fit(X_single, target)
    *hidden, _ = model.intercepts_
    assert all((bias == 0).all() for bias in hidden)


def test_with_batch_normalization_a_row_is_a_fit_also_where_folds_differ_in_size():
    random = np.random.default_rng(3)
    inputs = random.normal(size=(253, 8)).astype(np.float32)
    values = (inputs[:, 0] + np.sin(2 * inputs[:, 1]) + 0.3 * random.normal(size=253)).astype(np.float32)
    settings = {"normalization": "batch", "learning_rate_init": 0.02, "max_iter": 30, "random_state": 0}
    model = RegularizedMLPRegressor((16, 16), **settings)
    alone = cross_val_score(model, inputs, values)
    with batched_training():
        assert_allclose(cross_val_score(model, inputs, values), alone, atol=1e-4)


@pytest.mark.parametrize(
    "warns",
    [
        lambda: RegularizedMLPRegressor((8,), solver="sgd", learning_rate_init=1e9, max_iter=3).fit(X, target),
        lambda: ElasticNetMLP((), alpha=1e3, early_stopping=False, learning_rate_init=0.1).fit(X, target),
        lambda: ElasticNetMLPCV(alphas=2, cv=2, **{**FAST, "max_iter": 1}).fit(X, target),
        lambda: elastic_net_mlp_path(X, target, alphas=2, **{**FAST, "max_iter": 1}),
        lambda: elastic_net_mlp_path(X, np.ones(200), alphas=2, **FAST),
        lambda: cross_val_score(ElasticNetMLP((), alpha=1e3, early_stopping=False, learning_rate_init=0.1), X, target),
        lambda: in_block(ElasticNetMLP((), alpha=1e3, early_stopping=False, learning_rate_init=0.1)),
    ],
    ids=[
        "divergence",
        "no feature",
        "no empty network, folds",
        "no empty network",
        "constant target",
        "in a search",
        "in a block",
    ],
)
def test_a_warning_points_to_the_line_that_it_is_about(warns):
    with pytest.warns(UserWarning, match="MLP|mlp") as told:
        warns()
    assert {warning.filename for warning in told} == {__file__}


def in_block(model):
    with batched_training():
        return cross_val_score(model, X, target)


def test_without_a_hierarchy_a_column_that_says_nothing_does_no_harm():
    model = ElasticNetMLP(**FAST, penalty_groups="hierarchical", hierarchy=0.0, alpha=1e-3, early_stopping=False)
    assert model.fit(np.c_[X, np.zeros(200)], target).n_iter_ == 5
    assert model.feature_importances_[:5].all()


def test_the_greatest_alpha_is_exact_with_smoothed_labels():
    path = {"loss": "log_loss", "hidden_layer_sizes": (), "l1_ratio": 1.0, "alphas": 1, "max_iter": 1}
    greatest = elastic_net_mlp_path(X, y, label_smoothing=0.3, **path).alphas[0]
    smooth = y + 0.3 * (1 - 2 * y)
    exact = np.abs((X - X.mean(axis=0)).T @ (smooth - smooth.mean())).max() / len(y)
    assert_allclose(greatest, exact, rtol=2e-9)


def test_a_fit_that_diverges_at_once_is_not_told_to_lower_alpha():
    model = ElasticNetMLP((8,), alpha=1e-4, solver="sgd", learning_rate_init=1e300, batch_size=50, early_stopping=False)
    with pytest.warns(ConvergenceWarning, match="diverged") as told:
        model.fit(100 * X, target)
    assert len(told) == 1


@pytest.mark.parametrize("groups", ["weights", "features", "hierarchical"])
def test_a_column_that_says_nothing_leaves_under_any_penalty(groups):
    path = {"penalty_groups": groups, "l1_ratio": 1.0, "alphas": 6, "hidden_layer_sizes": (8,), "max_iter": 60}
    path["batch_size"] = 20
    with_zeros = elastic_net_mlp_path(np.c_[X, np.zeros(200)], target, **path, random_state=0)
    assert_array_equal(with_zeros.feature_importances[5], 0)
    assert 5 not in with_zeros.select(3)


def test_a_feature_has_an_importance_only_where_an_output_depends_on_it():
    settings = {"early_stopping": False, "learning_rate": "cosine", "learning_rate_init": 0.02, "penalty_warmup": 0.3}
    data, classes = make_classification(200, 8, n_informative=3, random_state=0)
    model = ElasticNetMLPClassifier((16,), alpha=0.08, l1_ratio=1.0, max_iter=60, random_state=0, **settings)
    model.fit(data, classes)
    plain = model.predict_proba(data)
    has_say = [(model.predict_proba(data + 100 * np.eye(8)[j]) != plain).any() for j in range(8)]
    assert_array_equal(model.feature_importances_ > 0, has_say)
    assert_array_equal(model.prune().feature_importances_ > 0, has_say)
    assert (np.abs(model.coefs_[0]).sum(axis=1) > 0).sum() > sum(has_say)  # weights into units that say nothing


def test_inputs_beyond_single_precision_are_refused_and_not_predicted_as_nan():
    model = RegularizedMLPClassifier(**FAST, dtype="float32").fit(X, y)
    for far in (np.where(X.max() == X, 1e39, X), sparse.csr_array(np.where(X.max() == X, -1e39, X))):
        with pytest.raises(ValueError, match="too large for RegularizedMLPClassifier, whose network is of float32"):
            model.predict(far)
        with pytest.raises(ValueError, match="too large for RegularizedMLPClassifier"):
            RegularizedMLPClassifier(**FAST, dtype="float32").fit(far, y)
        assert np.isfinite(RegularizedMLPClassifier(**FAST, dtype="float64").fit(X, y).predict_proba(far)).all()


def test_a_first_pass_over_equal_targets_says_that_their_units_are_unknown():
    with pytest.warns(UserWarning, match="whose 1 targets are equal; they are trained in units of 1"):
        ElasticNetMLP(**FAST).partial_fit(X[:1], target[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ElasticNetMLP(**FAST).partial_fit(X, target).partial_fit(X[:1], target[:1])


def test_a_path_for_a_target_of_large_numbers_says_that_it_says_little_of_features():
    path = {"alphas": 3, "hidden_layer_sizes": (4,), "max_iter": 3}
    with pytest.warns(UserWarning, match="standard deviation of .*e[+]05, and penalties are on its scale"):
        elastic_net_mlp_path(X, 1e5 * target, **path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*penalties are on its scale")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        elastic_net_mlp_path(X, target, **path)
        elastic_net_mlp_path(X, 1e5 * target, alphas=3, hidden_layer_sizes=())


def test_stability_selection_takes_weights_and_several_labels():
    network = {**FAST, "early_stopping": False, "l1_ratio": 1.0, "penalty_groups": "features", "max_iter": 60}
    network |= {"learning_rate_init": 0.02, "learning_rate": "cosine", "batch_size": 20}
    few = {"n_resamples": 4, "alphas": 4, "random_state": 0}
    is_first = np.arange(200) < 100  # where feature 0 tells the class, and elsewhere 1 does
    classes = np.where(is_first, X[:, 0] > 0, X[:, 1] > 0)
    for weight, best in ((np.where(is_first, 1.0, 0.01), 0), (np.where(is_first, 0.01, 1.0), 1)):
        selector = StabilitySelector(ElasticNetMLPClassifier(**network), **few, n_features_per_fit=1)
        assert selector.fit(X, classes, weight).selection_probabilities_.argmax() == best
    labels = (np.random.default_rng(0).random((200, 5)) < 0.15).astype(int)  # of rare combinations
    assert StabilitySelector(ElasticNetMLPClassifier(**network), **few).fit(X, labels).n_features_in_ == 5


def test_folds_of_a_choice_of_alpha_keep_groups_together():
    model = ElasticNetMLPClassifierCV(alphas=2, cv=GroupKFold(3), **FAST)
    with pytest.raises(ValueError, match="groups"):
        model.fit(X, y)
    groups = np.arange(200) % 7
    given = [*GroupKFold(3).split(X, y, groups)]
    by_index = ElasticNetMLPClassifierCV(alphas=2, cv=given, **FAST).fit(X, y)
    assert_array_equal(model.fit(X, y, groups=groups).scores_, by_index.scores_)


def test_a_transformer_called_like_a_feature_does_not_take_the_columns_of_others():
    names = ["amount__amount_sp_0", "amount__age_sp_0", "amount__age_sp_1", "num__amount", "num__age"]
    assert feature_group_labels(["amount", "age"], 5, names, "it") == ["amount", "age", "age", "amount", "age"]
    assert feature_group_labels(["a__b", "b"], 3, ["a__b_red", "b_red", "x__b"], "it") == ["a__b", "b", "b"]
