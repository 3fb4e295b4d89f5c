"""Laws of predictions with dropout on (Monte Carlo dropout) and of single members of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.preprocessing import scale

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, RegularizedMLPClassifier, RegularizedMLPRegressor

QUICK = {"hidden_layer_sizes": (12,), "max_iter": 15, "learning_rate_init": 0.01, "random_state": 3}
DIABETES = (lambda X, y: (scale(X), y))(*load_diabetes(return_X_y=True))


def models():
    X, y = load_breast_cancer(return_X_y=True)
    yield "binary", RegularizedMLPClassifier(**QUICK, dropout=0.4), scale(X), y
    X, y = load_iris(return_X_y=True)
    yield "multiclass", ElasticNetMLPClassifier(**QUICK, alpha=1e-4, dropout=0.3, input_dropout=0.2), scale(X), y
    X, y = make_multilabel_classification(100, 6, n_classes=3, random_state=0)
    yield "multilabel", RegularizedMLPClassifier(**QUICK, dropout=0.3, normalization="batch"), scale(X), y
    X, y = DIABETES
    yield (
        "hierarchical",
        ElasticNetMLP(**QUICK, alpha=0.1, penalty_groups="hierarchical", dropout=0.3, input_dropout=0.1),
        X,
        y,
    )
    yield "two targets", RegularizedMLPRegressor(**QUICK, dropout=0.3, normalization="layer"), X, np.c_[y, -y]
    yield "members", RegularizedMLPRegressor(**QUICK, n_members=3), X, y
    yield "members with dropout", RegularizedMLPRegressor(**QUICK, n_members=3, dropout=0.3), X, y


MODELS = {name: (model.fit(X, y), X) for name, model, X, y in models()}


@pytest.fixture(params=MODELS)
def fitted(request):
    return MODELS[request.param]


def samples_of(model, X, n_samples=7, random_state=0):
    if not (model.dropout or model.input_dropout):
        n_samples = min(n_samples, model.n_members)
    method = model.predict_proba_samples if hasattr(model, "predict_proba") else model.predict_samples
    return method(X, n_samples, random_state=random_state)


def prediction(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def test_samples_have_the_shape_of_predictions_for_each_network(fitted):
    model, X = fitted
    samples = samples_of(model, X)
    n_samples = 7 if model.dropout or model.input_dropout else 3
    assert samples.shape == (n_samples, *prediction(model, X).shape)
    assert samples.dtype == X.dtype
    if hasattr(model, "predict_proba") and not model._multilabel:
        np.testing.assert_allclose(samples.sum(axis=-1), 1)


def test_the_same_seed_gives_the_same_networks_and_another_gives_others(fitted):
    model, X = fitted
    first = samples_of(model, X)
    assert np.array_equal(first, samples_of(model, X))
    if model.dropout or model.input_dropout:
        assert not np.array_equal(first, samples_of(model, X, random_state=1))
    assert len(np.unique(first.reshape(len(first), -1), axis=0)) == len(first)


def test_the_samples_of_an_input_do_not_depend_on_the_others(fitted):
    """Each network drops the same for all inputs: to the bit, and over the edges of the parts that are predicted."""
    model, X = fitted
    n_samples = 1000  # few inputs to a part
    assert np.array_equal(samples_of(model, X[60:70], n_samples), samples_of(model, X, n_samples)[:, 60:70])


def test_a_sample_is_the_network_with_its_units_left_out():
    """By hand: the outputs of all networks that one hidden layer of three units can be thinned to."""
    X, y = DIABETES
    model = RegularizedMLPRegressor(**{**QUICK, "hidden_layer_sizes": (3,)}, activation="relu", dropout=0.5).fit(X, y)
    (first, second), (bias, output) = model.coefs_, model.intercepts_
    hidden = np.maximum(X[:1] @ first + bias, 0) * 2
    masks = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T
    possible = ((hidden * masks) @ second + output)[:, 0]
    samples = model.predict_samples(X[:1], 400, random_state=0)[:, 0]
    distance = np.abs(samples[:, None] - possible).min(axis=1)
    assert distance.max() < 1e-8
    assert {int(np.abs(possible - s).argmin()) for s in samples} == {
        int(np.abs(possible - p).argmin()) for p in possible
    }


def test_the_mean_of_many_is_the_mean_over_all_that_can_be_dropped():
    X, y = DIABETES
    model = RegularizedMLPRegressor(**QUICK, dropout=0.3).fit(X, y)
    # One hidden layer: the outputs are linear in what is dropped, so their expectation is the prediction.
    samples = model.predict_samples(X[:50], 20_000, random_state=0)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - model.predict(X[:50])) < 5 * error).all()


def test_more_dropout_lets_the_networks_lie_farther_apart():
    X, y = DIABETES
    spreads = []
    for rate in (0.1, 0.3, 0.6):
        model = RegularizedMLPRegressor(**QUICK, dropout=0.1).fit(X, y)
        for layer in model.module_:
            if isinstance(layer, torch.nn.Dropout):
                layer.p = rate
        spreads.append(model.predict_std(X, random_state=0).mean())
    assert spreads == sorted(spreads)
    assert spreads[0] > 0


def test_members_are_taken_in_turn_and_once_where_nothing_is_dropped():
    model, X = MODELS["members"]
    samples = model.predict_samples(X)
    assert len(samples) == 3
    for member, sample in zip(model.estimators_, samples, strict=True):
        np.testing.assert_allclose(sample, member.predict(X), rtol=1e-12)
    np.testing.assert_allclose(samples.mean(axis=0), model.predict(X), rtol=1e-12)
    assert np.array_equal(model.predict_samples(X, 2), samples[:2])
    with pytest.raises(ValueError, match=r"must be at most 3, as there are so many networks.*Got 4"):
        model.predict_samples(X, 4)


def test_every_member_gives_as_many_samples_by_default():
    model, X = MODELS["members with dropout"]
    assert len(model.predict_samples(X)) == 102
    assert len(MODELS["binary"][0].predict_proba_samples(MODELS["binary"][1])) == 100


def test_memory_does_not_grow_with_the_number_of_samples_but_for_what_is_returned():
    X, y = DIABETES
    model = RegularizedMLPRegressor((256,), dropout=0.3, max_iter=1, random_state=0).fit(X, y)
    greatest = []

    def watch(module, inputs, output):
        greatest.append(output.numel())

    model.module_[0].register_forward_hook(watch)
    model.module_[-1].register_forward_hook(watch)
    model.predict_samples(X, 1000, random_state=0)
    assert max(greatest) <= 64 * 64 * 256


def test_std_is_that_of_the_samples():
    for name in ("hierarchical", "two targets", "members with dropout"):
        model, X = MODELS[name]
        expected = model.predict_samples(X, 9, random_state=1).std(axis=0)
        assert np.array_equal(model.predict_std(X, 9, random_state=1), expected)


def test_probabilities_are_those_of_each_networks_outputs():
    model, X = MODELS["binary"]
    raw = model._raw_samples(X, 4, 0)
    np.testing.assert_allclose(model.predict_proba_samples(X, 4, random_state=0)[:, :, 1], expit(raw[:, :, 0]))


def test_sparse_and_pruned_networks_are_thinned_alike():
    X, y = DIABETES
    model = RegularizedMLPRegressor(**QUICK, dropout=0.4, l1=5.0).fit(X, y)
    expected = model.predict_samples(X, 5, random_state=0)
    np.testing.assert_allclose(model.predict_samples(sparse.csr_array(X), 5, random_state=0), expected)
    np.testing.assert_allclose(model.sparsify().predict_samples(X, 5, random_state=0), expected)
    with pytest.raises(ValueError, match="a pruned one has none"):
        model.densify().prune().predict_samples(X)


def test_samples_do_not_depend_on_the_default_dtype():
    model, X = MODELS["binary"]
    expected = model.predict_proba_samples(X, 3, random_state=0)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(model.predict_proba_samples(X, 3, random_state=0), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_nothing_global_is_drawn_from_or_changed():
    model, X = MODELS["binary"]
    before = torch.get_rng_state(), str(np.random.get_state()), torch.get_num_threads()
    model.predict_proba_samples(X, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # where in its numbers it is, too
    assert torch.get_num_threads() == before[2]
    assert not model.module_.training


def test_predictions_that_do_not_vary_are_refused():
    X, y = DIABETES
    model = RegularizedMLPRegressor(**QUICK).fit(X, y)
    for method in (model.predict_samples, model.predict_std):
        with pytest.raises(ValueError, match=r"without dropout.*Fit with dropout or input_dropout.*n_members"):
            method(X)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, True, "many"])
def test_a_number_of_samples_that_is_none_is_refused(n_samples):
    model, X = MODELS["binary"]
    with pytest.raises(ValueError, match="n_samples of RegularizedMLPClassifier must be None or an int of at least 1"):
        model.predict_proba_samples(X, n_samples)


def test_one_sample_has_no_spread():
    model, X = MODELS["two targets"]
    with pytest.raises(ValueError, match="must be None or an int of at least 2"):
        model.predict_std(X, 1)
