"""Scaling and bins of the inputs: definitions, and what the network makes of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import RobustScaler

from sklreg import RegularizedMLPClassifier, RegularizedMLPRegressor, batched_training
from sklreg._inputs import learn_input_map
from sklreg.engine import PiecewiseLinear, RobustScaling, input_map_of, layers_of
from sklreg.engine.inputs import BinLimits, positions

FAST = {
    "hidden_layer_sizes": (16,), "max_iter": 6, "learning_rate_init": 0.01, "early_stopping": False, "random_state": 0
}  # fmt: skip
X, y = make_classification(301, 6, n_informative=4, n_redundant=0, random_state=0)
X[:, 4] = X[:, 4] > 0  # two values
X[:, 5] = 3.0  # one value


def scaled(X, model):
    return model.module_[0](torch.from_numpy(X)).numpy()


def encoded(X, n_bins):
    """Return inputs and their positions between quantiles, by loops."""
    columns = [*X.T]
    for x in X.T:
        edges = np.unique(np.quantile(x, np.linspace(0, 1, n_bins + 1), method="inverted_cdf"))
        if len(edges) > 2:
            for i, (start, end) in enumerate(pairwise(edges)):
                position = (x - start) / (end - start)
                least = -np.inf if i == 0 else 0
                greatest = np.inf if i == len(edges) - 2 else 1
                columns.append(np.clip(position, least, greatest))
    return np.column_stack(columns)


# Scaling ----------------------------------------------------------------------------------------------------------


def test_robust_scaling_is_scikit_learns_with_a_smooth_clip():
    model = RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(X, y)
    z = RobustScaler().fit_transform(X[:, :4])  # quantiles of 301 samples are samples
    assert_allclose(scaled(X, model)[:, :4], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-12)


def test_an_outlier_comes_no_farther_than_three_and_order_is_kept():
    model = RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(X, y)
    far = np.repeat(X[:1], 5, axis=0)
    far[:, 0] = [-1e30, -10, 0, 10, 1e30]
    values = scaled(far, model)[:, 0]
    assert_allclose(values[[0, -1]], [-3, 3])
    assert (np.diff(values) > 0).all()


def test_a_feature_of_equal_quartiles_is_scaled_by_half_its_range_and_a_constant_one_is_zero():
    rare = X.copy()
    rare[:, 4] = 0
    rare[:9, 4] = 8
    values = scaled(rare, RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(rare, y))
    assert_allclose(np.unique(values[:, 4]), [0, 2 / np.sqrt(1 + 4 / 9)])
    assert not values[:, 5].any()


def test_scaled_inside_is_scaled_before():
    inside = RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(X, y)
    before = scaled(X, inside)
    assert_allclose(
        RegularizedMLPClassifier(**FAST).fit(before, y).predict_proba(before), inside.predict_proba(X), rtol=1e-9
    )


def test_units_of_the_inputs_do_not_matter():
    units = np.array([1e-6, 1e6, 1, 100, 2, 5])
    fits = [RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(Z, y) for Z in (X, X * units + 7)]
    assert_allclose(fits[0].predict_proba(X), fits[1].predict_proba(X * units + 7), rtol=1e-4)


# Bins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bins", [2, 7])
def test_bins_are_their_definition(n_bins):
    model = RegularizedMLPClassifier(**FAST, n_bins=n_bins).fit(X, y)
    assert_allclose(model.module_[0](torch.from_numpy(X)).numpy(), encoded(X, n_bins), rtol=1e-12, atol=1e-12)
    assert model.coefs_[0].shape == (6 + 4 * n_bins, 16)  # neither two values nor one are cut


def test_encoded_inside_is_encoded_before():
    inside = RegularizedMLPRegressor(**FAST, n_bins=5).fit(X, y)
    before = encoded(X, 5)
    assert_allclose(RegularizedMLPRegressor(**FAST).fit(before, y).predict(before), inside.predict(X), rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n_bins=st.integers(2, 9), n=st.integers(3, 40))
def test_positions_in_bins_add_up_to_a_line_through_the_quantiles(seed, n_bins, n):
    """Width times position, summed over the bins of a feature, is its distance from the first edge."""
    x = np.random.default_rng(seed).integers(0, 12, (n, 1)).astype(float)
    _, bins = learn_input_map(x, None, False, n_bins)
    if bins.feature:
        limits = BinLimits(bins.feature)
        inside = positions(torch.from_numpy(x), bins.start, bins.width, limits.least, limits.greatest)
        assert_allclose(inside @ bins.width, x[:, 0] - x.min(), atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(2, 30))
def test_a_weight_of_two_is_two_samples_to_the_statistics(seed, n):
    rng = np.random.default_rng(seed)
    x, weight = rng.normal(size=(n, 3)).round(1), rng.integers(1, 4, n)
    weighted = learn_input_map(x, weight * 0.1, True, 4)
    copied = learn_input_map(np.repeat(x, weight, axis=0), None, True, 4)
    for a, b in zip((*weighted.scale, *weighted.bins[1:]), (*copied.scale, *copied.bins[1:]), strict=True):
        assert_array_equal(a, b)
    assert weighted.bins.feature == copied.bins.feature


def test_validation_samples_have_no_say_in_the_statistics():
    fits = [
        RegularizedMLPClassifier(**{**FAST, "early_stopping": True}, input_scaling="robust", n_bins=4).fit(
            X, y, X_val=X_val, y_val=y[:50]
        )
        for X_val in (X[:50], X[:50] + 100)
    ]
    for a, b in zip(*(input_map_of(layers_of(m.module_)[0])[0] for m in fits), strict=True):
        assert torch.equal(a, b)


# In the estimator ---------------------------------------------------------------------------------------------------

BOTH = {"input_scaling": "robust", "n_bins": 4}


@pytest.mark.parametrize("option", [{"input_scaling": "robust"}, {"n_bins": 4}, BOTH], ids=str)
def test_a_batched_search_is_the_plain_one(option):
    grid = {"n_bins": [None, 3], "dropout": [0.0, 0.3]} if "n_bins" in option else {"dropout": [0.0, 0.3]}
    searches = [GridSearchCV(RegularizedMLPClassifier(**FAST, **option), grid, cv=3, scoring="neg_log_loss")] * 2
    plain = searches[0].fit(X, y).cv_results_["mean_test_score"]
    with batched_training():
        assert_allclose(searches[1].fit(X, y).cv_results_["mean_test_score"], plain, rtol=1e-8)


def test_what_is_continued_keeps_its_statistics():
    model = RegularizedMLPClassifier(**FAST, **BOTH, warm_start=True).fit(X, y)
    before = model.module_[0].center.clone()
    model.fit(X + 5, y)
    assert torch.equal(model.module_[0].center, before)
    passes = RegularizedMLPClassifier(**FAST, **BOTH).partial_fit(X[:200], y[:200], classes=[0, 1])
    passes.partial_fit(X[200:201], y[200:201])
    assert [type(layer) for layer in passes.module_][:2] == [RobustScaling, PiecewiseLinear]


@pytest.mark.parametrize("change", [{"input_scaling": None}, {"n_bins": None}, {"residual": True}], ids=str)
def test_other_options_cannot_continue(change):
    model = RegularizedMLPClassifier(**{**FAST, **BOTH, "hidden_layer_sizes": (8, 8)}, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=f"cannot continue: it was fitted with {next(iter(change))}="):
        model.set_params(**change).fit(X, y)


def test_sparse_inputs_are_as_dense_ones():
    Z = np.where(np.abs(X) > 0.7, X, 0)
    dense, thin = (RegularizedMLPClassifier(**FAST, **BOTH).fit(A, y) for A in (Z, sparse.csr_array(Z)))
    assert_array_equal(thin.predict_proba(sparse.csr_array(Z)), dense.predict_proba(Z))


@pytest.mark.parametrize("setting", [{}, {"hidden_layer_sizes": (8, 8, 4, 4), "residual": True}], ids=str)
def test_a_pruned_network_reads_only_what_it_uses_and_predicts_the_same(setting):
    model = RegularizedMLPClassifier(**{**FAST, "max_iter": 60, **setting}, **BOTH, l1=0.03).fit(X, y)
    pruned = model.prune()
    assert_allclose(pruned.predict_proba(X), model.predict_proba(X), rtol=1e-9)
    assert pruned.coefs_[0].shape[0] < model.coefs_[0].shape[0]
    again = pruned.prune()
    assert_array_equal(again.predict_proba(X), pruned.predict_proba(X))


# Residual connections -----------------------------------------------------------------------------------------------


def test_a_residual_network_is_the_sum_it_says():
    model = RegularizedMLPRegressor(
        **{**FAST, "hidden_layer_sizes": (8, 8, 4, 4)}, activation="relu", residual=True
    ).fit(X, y)
    h = X
    for i, (coef, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        out = h @ coef + intercept
        if i == 4:
            break
        out = torch.nn.functional.relu(torch.from_numpy(out)).numpy()
        h = h + out if i in (1, 3) else out
    assert_allclose(out[:, 0], model.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"residual": True, "hidden_layer_sizes": (16, 8)}, "no two layers of one size after one another"),
        ({"residual": True, "hidden_layer_sizes": ()}, "no two layers of one size after one another"),
        ({"stochastic_depth": 0.2, "hidden_layer_sizes": (8, 8)}, "and residual=False"),
    ],
    ids=str,
)
def test_shortcuts_that_are_not_there(setting, message):
    with pytest.raises(ValueError, match=message):
        RegularizedMLPClassifier(**{**FAST, **setting}).fit(X, y)


def test_stochastic_depth_leaves_layers_out_when_samples_are_drawn():
    """The only layer with a shortcut is there or not, for all inputs of a sample."""
    model = RegularizedMLPRegressor(
        **{**FAST, "hidden_layer_sizes": (8, 8)}, activation="relu", residual=True, stochastic_depth=0.5
    ).fit(X, y)
    first, _, last = model.coefs_
    hidden = np.maximum(X @ first + model.intercepts_[0], 0)
    without = (hidden @ last + model.intercepts_[2])[:, 0]
    samples = model.predict_samples(X, n_samples=40, random_state=0)
    is_without = np.isclose(samples, without, rtol=1e-6).all(axis=1)
    assert 5 < is_without.sum() < 35


# What reviews have found ------------------------------------------------------------------------------------------


def test_bins_are_not_between_numbers_that_differ_by_rounding():
    x = np.random.default_rng(0).choice([0.1, 0.2, 0.3, 0.1 + 0.2], (200, 1))
    bins = learn_input_map(x, None, False, 8).bins
    assert bins.width.min() > 0.05


def test_a_feature_that_is_mostly_one_value_is_cut_at_its_other_values():
    x = np.zeros((200, 1))
    x[:20, 0] = np.arange(1, 21)
    assert len(learn_input_map(x, None, False, 8).bins.feature) >= 7


def test_the_farthest_numbers_of_single_precision_are_clipped_and_tiny_spreads_are_none():
    Z = X.astype(np.float32)
    model = RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(Z, y)
    far = np.repeat(Z[:1], 4, axis=0)
    far[:, 0] = [-3e38, -1e20, 1e20, 3e38]
    assert_allclose(scaled(far, model)[:, 0], [-3, -3, 3, 3], rtol=1e-5)
    Z[:, 0] *= 1e-42
    assert np.isfinite(RegularizedMLPClassifier(**FAST, input_scaling="robust").fit(Z, y).predict_proba(Z)).all()


@pytest.mark.parametrize("dead", range(4))
@pytest.mark.parametrize("setting", [{"residual": True}, {"normalization": "layer"}], ids=str)
def test_a_pruned_network_with_a_layer_that_says_nothing_predicts_the_same(setting, dead):
    model = RegularizedMLPRegressor(**{**FAST, "hidden_layer_sizes": (8, 4, 4)}, **setting).fit(X, y)
    linears = [part for part in model.module_.modules() if isinstance(part, torch.nn.Linear)]
    with torch.no_grad():
        linears[dead].weight.zero_()
        for linear in linears:
            linear.bias.add_(1)
    assert_allclose(model.prune().predict(X), model.predict(X), rtol=1e-9)


def test_another_number_of_bins_cannot_continue():
    model = RegularizedMLPClassifier(**FAST, n_bins=4, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="fitted with n_bins=4, .* ask for n_bins=8"):
        model.set_params(n_bins=8).fit(X, y)
