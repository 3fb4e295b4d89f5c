"""Law 4: every prox minimizes the objective that its docstring states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize, minimize_scalar

from sklreg.engine.penalties import (
    ElasticNet,
    Grouped,
    GroupLasso,
    Groups,
    Hierarchy,
    project_max_norm,
    soft_threshold,
)

CPU = torch.device("cpu")
F64 = torch.float64
numbers = st.floats(-5, 5)
steps = st.floats(-3, 0.5).map(lambda power: 10**power)


def t(value):
    return torch.tensor([[value]], dtype=torch.float64)


@settings(deadline=None, max_examples=200)
@given(w=st.floats(-5, 5), l1=st.floats(0, 3), l2=st.floats(0, 3), step=st.floats(1e-3, 3))
def test_prox_minimizes_its_definition(w, l1, l2, step):
    def objective(u):
        return 0.5 * (u - w) ** 2 + step * l1 * abs(u)  # as the docstring has it

    best = minimize_scalar(objective, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10})
    reached = ElasticNet(t(l1), t(l2)).prox(t(w), t(step)).item()
    assert objective(reached) <= min(best.fun, objective(0.0)) + 1e-9


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, (2, 5), elements=st.floats(-5, 5)), l1=st.floats(0, 3), l2=st.floats(0, 3))
def test_value_is_the_stated_sum_and_smooth_gradient_is_that_of_its_l2_part(w, l1, l2):
    strengths = torch.tensor([[l1], [2 * l1]], dtype=torch.float64), torch.tensor([[l2], [0.0]], dtype=torch.float64)
    penalty, weights = ElasticNet(*strengths), torch.tensor(w, requires_grad=True)
    expected = [l1 * np.abs(w[0]).sum() + 0.5 * l2 * (w[0] ** 2).sum(), 2 * l1 * np.abs(w[1]).sum()]
    assert_allclose(penalty.value(weights).detach(), expected, atol=1e-12)
    smooth = ElasticNet(torch.zeros(2, 1, dtype=torch.float64), strengths[1])
    gradient = torch.zeros(2, 5, dtype=torch.float64)
    penalty.add_smooth_gradient(gradient, weights.detach())
    assert_allclose(gradient, torch.autograd.grad(smooth.value(weights).sum(), weights)[0], atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, 6, elements=st.floats(-1e3, 1e3)))
def test_a_threshold_of_zero_changes_nothing_to_the_bit(w):
    w = torch.tensor(w)[None]
    assert torch.equal(soft_threshold(w, torch.zeros(1, 1, dtype=torch.float64)), w)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, (4, 3), elements=st.floats(-5, 5)), bound=st.floats(0.1, 5), seed=st.integers(0, 100))
def test_max_norm_is_the_nearest_point_within_the_bound(w, bound, seed):
    projected = project_max_norm(torch.tensor(w)[None], torch.tensor([[[bound]]], dtype=torch.float64))[0].numpy()
    assert (np.linalg.norm(projected, axis=0) <= bound * (1 + 1e-9)).all()
    others = np.random.default_rng(seed).normal(size=(50, 4, 3))
    others *= bound / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), bound)
    distance = np.linalg.norm(projected - w, axis=0)
    assert (distance <= np.linalg.norm(others - w, axis=1) + 1e-9).all()
    unbounded = project_max_norm(torch.tensor(w)[None], torch.tensor([[[torch.inf]]]).double())[0]
    assert torch.equal(unbounded, torch.tensor(w))


# Groups ---------------------------------------------------------------------------------------------------------

LABELS = (1, 0, 1, 2)  # of four rows with three columns each


def matrix_of(flat):
    return flat[:, :12].unflatten(1, (4, 3))


def lasso(strength, labels=LABELS, factor=None):
    strengths = torch.tensor(np.reshape(strength, (-1, 1, 1)), dtype=F64)
    return GroupLasso(matrix_of, Groups(labels, 4, CPU), strengths, factor)


def after(block, w, step_size, longest=None):
    """Return what the prox makes of flat weights."""
    result = torch.tensor(np.atleast_2d(w)).clone()
    block.prox_(result, torch.tensor(np.atleast_2d(step_size)).expand_as(result), longest)
    return result.numpy()


def slack(best):
    return 1e-7 * max(1.0, abs(best))


@settings(deadline=None, max_examples=40)
@given(
    w=arrays(float, 12, elements=numbers),
    step=arrays(float, 12, elements=steps),
    strength=st.floats(0, 3),
    factor=arrays(float, 3, elements=st.floats(0.2, 2)),
)
def test_prox_of_groups_minimizes_its_definition(w, step, strength, factor):
    """Every weight with a step of its own, as in Adam's metric."""

    def objective(u):
        matrix = u.reshape(4, 3) * factor
        norms = [math.sqrt(LABELS.count(g)) * np.linalg.norm(matrix[np.equal(LABELS, g)]) for g in range(3)]
        return (0.5 / step * (u - w) ** 2).sum() + strength * sum(norms)

    reached = after(lasso(strength, factor=torch.tensor(factor)[None, None]), w, step)[0]
    best = min(objective(np.zeros(12)), objective(w))
    for start in (w, 0.5 * w + 1e-3):
        best = min(best, minimize(objective, start, method="BFGS").fun)
    assert objective(reached) <= best + slack(best)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, 12, elements=numbers), step=arrays(float, 12, elements=steps), strength=st.floats(0.01, 3))
def test_a_group_is_zero_whole_exactly_where_zero_is_its_minimum(w, step, strength):
    reached = after(lasso(strength), w, step)[0].reshape(4, 3)
    for group in range(3):
        rows = np.equal(LABELS, group)
        pull = np.linalg.norm((w / step).reshape(4, 3)[rows]) / (strength * math.sqrt(rows.sum()))
        if abs(pull - 1) > 1e-9:
            assert (reached[rows] == 0).all() == (pull < 1)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, (1, 12), elements=numbers), step=st.floats(1e-3, 3), strength=st.floats(0, 3))
def test_a_group_of_one_weight_is_the_lasso(w, step, strength):
    def view(flat):
        return flat[:, :, None]

    block = GroupLasso(view, Groups(None, 12, CPU), torch.full((1, 1, 1), strength, dtype=F64), None)
    expected = soft_threshold(torch.tensor(w), t(step * strength))
    assert_allclose(after(block, w, step), expected, atol=1e-14)
    assert_allclose(block.value(torch.tensor(w)), strength * np.abs(w).sum(1), atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, (2, 12), elements=numbers), step=arrays(float, (2, 12), elements=steps))
def test_a_model_without_groups_strength_is_left_as_it_is_to_the_bit(w, step):
    reached = after(lasso([0.0, 0.5]), w, step)
    assert_array_equal(reached[0], w[0])


def test_no_weight_moves_farther_than_the_longest_step():
    w = np.linspace(-3, 3, 12)[None]
    reached = after(lasso(10.0), w, np.full((1, 12), 1e5), longest=t(0.01))
    assert_allclose(np.abs(reached - w), 0.01, rtol=1e-9)


def hierarchical(strength, bound, labels=(0, 1)):
    """Two inputs: a linear part of two outputs, columns 0 to 3, and three hidden units, columns 4 to 9."""
    linear = GroupLasso(lambda flat: flat[:, :4].unflatten(1, (2, 2)), Groups(labels, 2, CPU), t(strength)[None], None)
    return Hierarchy(linear, lambda flat: flat[:, 4:10].unflatten(1, (2, 3)), torch.tensor([[bound]], dtype=F64))


def nearest_within(w, step, strength, bound, rows):
    """Return the least objective over the length of the linear part, whose direction is searched numerically."""
    theta, theta_step = w[:4].reshape(2, 2)[rows].ravel(), step[:4].reshape(2, 2)[rows].ravel()
    size, size_step = np.abs(w[4:].reshape(2, 3)[rows]).ravel(), step[4:].reshape(2, 3)[rows].ravel()
    weight = math.sqrt(len(rows))

    def objective(u):
        r = np.linalg.norm(u)
        excess = np.maximum(size - bound * r, 0)
        return (0.5 / theta_step * (u - theta) ** 2).sum() + (0.5 / size_step * excess**2).sum() + strength * weight * r

    starts = [theta, 0.3 * theta, 1e-3 * np.ones_like(theta), -theta, np.eye(len(theta))[theta_step.argmax()]]
    found = [minimize(objective, start, method="BFGS").fun for start in starts]
    return min([*found, objective(np.zeros_like(theta))])


@settings(deadline=None, max_examples=40)
@given(
    w=arrays(float, 10, elements=numbers),
    step=arrays(float, 10, elements=st.floats(-2, 0.3).map(lambda power: 10**power)),
    strength=st.floats(0, 3),
    bound=st.floats(0, 12),
    labels=st.sampled_from([(0, 1), (0, 0)]),
)
def test_prox_of_a_hierarchy_minimizes_its_definition_and_keeps_its_bounds(w, step, strength, bound, labels):
    reached = after(hierarchical(strength, bound, labels), w, step)[0]
    theta, W = reached[:4].reshape(2, 2), reached[4:].reshape(2, 3)
    for group in set(labels):
        rows = [j for j in range(2) if labels[j] == group]
        length = np.linalg.norm(theta[rows])
        assert (np.abs(W[rows]) <= bound * length + 1e-12).all()
        moved = 0.5 / step * (reached - w) ** 2
        distance = moved[:4].reshape(2, 2)[rows].sum() + moved[4:].reshape(2, 3)[rows].sum()
        best = nearest_within(w, step, strength, bound, rows)
        assert distance + strength * math.sqrt(len(rows)) * length <= best + 1e-5 * max(1.0, best)


def test_prox_of_a_hierarchy_is_the_papers_where_all_steps_are_equal():
    """Algorithm 2 of Lemhadri et al. (2021), written down by itself."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        theta, W, strength, M = rng.normal(), rng.normal(size=3), rng.uniform(0, 2), rng.uniform(0.1, 3)
        size = np.sort(np.abs(W))[::-1]
        for m in range(4):
            w = M / (1 + m * M**2) * max(abs(theta) + M * size[:m].sum() - strength, 0)
            if (m == 3 or size[m] <= w) and (m == 0 or w <= size[m - 1]):
                break
        expected = np.sign(theta) * w / M, np.sign(W) * np.minimum(w, np.abs(W))
        linear = GroupLasso(lambda flat: flat[:, :1, None], Groups(None, 1, CPU), t(strength)[None], None)
        block = Hierarchy(linear, lambda flat: flat[:, None, 1:], t(M))
        reached = after(block, np.r_[theta, W], 1.0)[0]
        assert_allclose(reached[0], expected[0], atol=1e-9)
        assert_allclose(reached[1:], expected[1], atol=1e-9)


def test_parts_of_a_grouped_penalty_add_up():
    block = lasso(0.7)
    l1, l2 = torch.full((1, 14), 0.3, dtype=F64), t(0.2)
    l1[:, :12] = 0
    penalty = Grouped(ElasticNet(l1, l2), (block,))
    w = torch.tensor(np.random.default_rng(0).normal(size=(1, 14)))
    expected = ElasticNet(l1, l2).value(w) + block.value(w)
    assert_allclose(penalty.value(w), expected)
    reached = penalty.prox(w, t(0.5))
    assert_allclose(reached[:, 12:], soft_threshold(w[:, 12:], t(0.15)))
    assert_allclose(reached[:, :12], after(block, w, 0.5)[:, :12])


@pytest.mark.parametrize("labels", [None, (0, 1, 2, 3), (3, 1, 0, 2), (0, 0, 0, 0), LABELS])
def test_sums_over_groups_are_those_of_their_rows(labels):
    groups = Groups(labels, 4, CPU)
    values = torch.rand(2, 4, 3, dtype=F64)
    of = np.arange(4) if labels is None else np.array(labels)
    for g in range(groups.n_groups):
        assert_allclose(groups.total(values)[:, g], values[:, of == g].sum((1, 2)))
        assert_allclose(groups.greatest(values)[:, g], values[:, of == g].amax((1, 2)))
    assert_allclose(groups.spread(groups.total(values))[:, :, 0], groups.total(values)[:, of])
    assert_allclose(groups.weight, np.sqrt(np.bincount(of)))
