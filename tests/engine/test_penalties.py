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

from sklreg.engine.data import Buffer
from sklreg.engine.penalties import (
    Block,
    ElasticNet,
    Grouped,
    GroupLasso,
    Groups,
    Hierarchy,
    _least_bound,
    project_max_norm,
    soft_threshold,
)

CPU = torch.device("cpu")
F64 = torch.float64
numbers = st.floats(-5, 5).map(lambda x: x if abs(x) > 1e-140 else 0.0)  # their squares are numbers, too
steps = st.floats(-3, 0.5).map(lambda power: 10**power)


def t(value):
    return torch.tensor([[value]], dtype=torch.float64)


class Steps:
    """The metric of steps that are given: for single weights, and for the groups of each block in turn."""

    def __init__(self, single, *groups, longest=math.inf):
        self.single, self.groups, self.longest, self.unmoved = single, groups, t(longest), t(1e8)
        self.buffers = Buffer(), Buffer()

    def of_weights(self, columns):
        return self.single if self.single.shape[1] == 1 else self.single[:, columns]

    def of_groups(self, block):
        return self.groups[("linear", "bounded").index(block.view.__name__)]


def after(penalty, w, *steps, longest=math.inf):
    """Return what the prox makes of flat weights."""
    result = torch.tensor(np.atleast_2d(w)).clone()
    penalty.prox_(result, Steps(*(torch.tensor(np.atleast_2d(step), dtype=F64) for step in steps), longest=longest))
    return result.numpy()


@settings(deadline=None, max_examples=200)
@given(w=st.floats(-5, 5), l1=st.floats(0, 3), l2=st.floats(0, 3), step=st.floats(1e-3, 3))
def test_prox_minimizes_its_definition(w, l1, l2, step):
    def objective(u):
        return 0.5 * (u - w) ** 2 + step * l1 * abs(u)  # as the docstring has it

    best = minimize_scalar(objective, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10})
    reached = after(ElasticNet(t(l1), t(l2)), w, step).item()
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


def linear(flat):
    return flat[:, :12].unflatten(1, (4, 3))


def lasso(strength, labels=LABELS, factor=None):
    strengths = torch.tensor(np.reshape(strength, (-1, 1)), dtype=F64)
    return GroupLasso(Block(linear, Groups(labels, 4, CPU), factor), strengths)


@settings(deadline=None, max_examples=40)
@given(
    w=arrays(float, 12, elements=numbers),
    step=arrays(float, 3, elements=steps),
    strength=st.floats(0, 3),
    factor=arrays(float, 3, elements=st.floats(0.2, 2)),
)
def test_prox_of_groups_minimizes_its_definition(w, step, strength, factor):
    """With a step of its own for every group."""
    block = lasso(strength, factor=torch.tensor(factor)[None, None])
    reached = (after(block, w, 1.0, step)[0].reshape(4, 3) * factor)[:, :]
    z = w.reshape(4, 3) * factor
    for group in range(3):
        rows = np.equal(LABELS, group)
        weight = strength * math.sqrt(rows.sum())

        def objective(u, rows=rows, weight=weight, group=group):
            return 0.5 * ((u - z[rows].ravel()) ** 2).sum() + step[group] * weight * np.linalg.norm(u)

        starts = [z[rows].ravel(), 0.5 * z[rows].ravel() + 1e-3]
        best = min(minimize(objective, start, method="BFGS").fun for start in starts)
        best = min(best, objective(np.zeros(3 * rows.sum())))
        assert objective(reached[rows].ravel()) <= best + 1e-7 * max(1.0, abs(best))


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, 12, elements=numbers), step=arrays(float, 3, elements=steps), strength=st.floats(0.01, 3))
def test_a_group_is_zero_whole_exactly_where_zero_is_its_minimum(w, step, strength):
    reached = after(lasso(strength), w, 1.0, step)[0].reshape(4, 3)
    for group in range(3):
        rows = np.equal(LABELS, group)
        pull = np.linalg.norm(w.reshape(4, 3)[rows]) / (step[group] * strength * math.sqrt(rows.sum()))
        if abs(pull - 1) > 1e-9:
            assert (reached[rows] == 0).all() == (pull < 1)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, (1, 12), elements=numbers), step=arrays(float, 12, elements=steps), strength=st.floats(0, 3))
def test_a_group_of_one_weight_is_the_lasso(w, step, strength):
    def linear(flat):
        return flat[:, :, None]

    block = GroupLasso(Block(linear, Groups(None, 12, CPU)), t(strength))
    expected = soft_threshold(torch.tensor(w), torch.tensor(step * strength))
    assert_allclose(after(block, w, 1.0, step), expected, atol=1e-14)
    assert_allclose(block.value(torch.tensor(w)), strength * np.abs(w).sum(1), atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(w=arrays(float, (2, 12), elements=numbers), step=arrays(float, (2, 3), elements=steps))
def test_a_model_without_groups_strength_is_left_as_it_is_to_the_bit(w, step):
    reached = after(lasso([0.0, 0.5]), w, 1.0, step)
    assert_array_equal(reached[0], w[0])


def test_no_group_moves_farther_than_the_longest_step_of_all_its_weights():
    w = np.linspace(-3, 3, 12)[None]
    moved = (after(lasso(10.0), w, 1.0, np.full(3, 1e5), longest=0.01) - w).reshape(4, 3)
    for group in range(3):
        rows = np.equal(LABELS, group)
        assert_allclose(np.linalg.norm(moved[rows]), 0.01 * math.sqrt(3 * rows.sum()), rtol=1e-9)


def hierarchical(strength, bound, labels=(0, 1), factor=None):
    """Two inputs: a linear part of two outputs, columns 0 to 3, and three hidden units, columns 4 to 9."""

    def linear(flat):
        return flat[:, :4].unflatten(1, (2, 2))

    def bounded(flat):
        return flat[:, 4:10].unflatten(1, (2, 3))

    groups = Groups(labels, 2, CPU)
    return Hierarchy(GroupLasso(Block(linear, groups, factor), t(strength)), Block(bounded, groups), t(bound))


@settings(deadline=None, max_examples=200)
@given(
    w=arrays(float, 10, elements=numbers),
    step=arrays(float, (2, 2), elements=st.floats(-4, 0.5).map(lambda power: 10**power)),
    strength=st.floats(0, 3),
    bound=st.floats(0, 12),
    labels=st.sampled_from([(0, 1), (0, 0)]),
    factor=arrays(float, 2, elements=st.floats(0.2, 2)),
)
def test_prox_of_a_hierarchy_minimizes_its_definition_and_keeps_its_bounds(w, step, strength, bound, labels, factor):
    n_groups = max(labels) + 1
    penalty = hierarchical(strength, bound, labels, torch.tensor(factor)[None, None])
    reached = after(penalty, w, 1.0, step[0, :n_groups], step[1, :n_groups])[0]
    for group in range(n_groups):
        rows = np.equal(labels, group)
        s, t_ = step[:, group]

        def parts(flat, rows=rows):
            return (flat[:4].reshape(2, 2)[rows] * factor).ravel(), flat[4:].reshape(2, 3)[rows].ravel()

        (theta, W), (new_theta, new_W) = parts(w), parts(reached)

        def least(r, theta=theta, W=W, s=s, t_=t_, rows=rows):
            """The objective where the linear part has length r, and points where it did."""
            distance = 0.5 / s * (r - np.linalg.norm(theta)) ** 2
            excess = np.maximum(np.abs(W) - bound * r, 0)
            return distance + 0.5 / t_ * (excess**2).sum() + strength * math.sqrt(rows.sum()) * r

        length = np.linalg.norm(new_theta)
        assert (np.abs(new_W) <= bound * length + 1e-12).all()
        end = np.linalg.norm(theta) + np.abs(W).max() / max(bound, 1e-9) + 1
        found = minimize_scalar(least, bounds=(0, min(end, 1e3)), method="bounded", options={"xatol": 1e-12})
        best = min(found.fun, least(0.0), least(np.linalg.norm(theta)))
        moved = 0.5 / s * ((new_theta - theta) ** 2).sum() + 0.5 / t_ * ((new_W - W) ** 2).sum()
        assert moved + strength * math.sqrt(rows.sum()) * length <= best + 1e-7 * max(1.0, best)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_prox_of_a_hierarchy_is_the_papers_where_all_steps_are_equal(dtype):
    """Algorithm 2 of Lemhadri et al. (2021), written down by itself."""

    def linear(flat):
        return flat[:, :1, None]

    def bounded(flat):
        return flat[:, None, 1:]

    rng = np.random.default_rng(0)
    groups = Groups(None, 1, CPU)
    for _ in range(200):
        theta, W, strength, M = rng.normal(), rng.normal(size=3), rng.uniform(0, 2), rng.uniform(0.1, 12)
        size = np.sort(np.abs(W))[::-1]
        for m in range(4):
            w = M / (1 + m * M**2) * max(abs(theta) + M * size[:m].sum() - strength, 0)
            if (m == 3 or size[m] <= w) and (m == 0 or w <= size[m - 1]):
                break
        expected = np.r_[np.sign(theta) * w / M, np.sign(W) * np.minimum(w, np.abs(W))]
        penalty = Hierarchy(GroupLasso(Block(linear, groups), t(strength).to(dtype)), Block(bounded, groups), t(M))
        flat = torch.tensor(np.r_[theta, W][None], dtype=dtype)
        penalty.prox_(flat, Steps(t(1.0), t(1.0).to(dtype), t(1.0).to(dtype)))
        assert_allclose(flat[0], expected, atol=1e-9 if dtype == F64 else 1e-5)


def test_a_linear_part_of_zero_is_pulled_by_what_it_bounds():
    """Where the minimum is not at zero, it has some direction."""
    reached = after(hierarchical(0.1, 2.0), np.r_[np.zeros(4), np.ones(6)], 1.0, np.ones(2), np.ones(2))[0]
    lengths = np.linalg.norm(reached[:4].reshape(2, 2), axis=1)
    assert_allclose(lengths, (2 * 3 - 0.1) / (1 + 4 * 3))
    assert_allclose(reached[4:], 2 * lengths[0])


def test_parts_of_a_grouped_penalty_add_up():
    block = lasso(0.7)
    w = torch.tensor(np.random.default_rng(0).normal(size=(1, 14)))
    penalty = Grouped((block,), slice(12, 14), t(0.3), t(0.2))
    on_single = torch.zeros(1, 14, dtype=F64)
    on_single[:, 12:] = 0.3
    assert_allclose(penalty.value(w), ElasticNet(on_single, t(0.2)).value(w) + block.value(w))
    reached = after(penalty, w, 0.5, np.full(3, 0.25))
    assert_allclose(reached[:, 12:], soft_threshold(w[:, 12:], t(0.15)))
    assert_allclose(reached[:, :12], after(block, w, 0.5, np.full(3, 0.25))[:, :12])


@pytest.mark.parametrize("labels", [None, (0, 1, 2, 3), (3, 1, 0, 2), (0, 0, 0, 0), LABELS])
def test_sums_over_groups_are_those_of_their_rows(labels):
    groups = Groups(labels, 4, CPU)
    values = torch.rand(2, 4, 3, dtype=F64)
    of = np.arange(4) if labels is None else np.array(labels)
    for g in range(groups.n_groups):
        assert_allclose(groups.total(values)[:, g], values[:, of == g].sum((1, 2)))
    assert_allclose(groups.spread(groups.total(values))[:, :, 0], groups.total(values)[:, of])
    assert_allclose(groups.weight, np.sqrt(np.bincount(of)))


def test_memory_of_a_hierarchy_does_not_grow_with_its_greatest_group():
    """Groups were filled up to the greatest: one of 500 columns made all others as wide."""
    n_rows, n_columns = 800, 4
    generator = torch.Generator().manual_seed(0)
    size = torch.rand(1, n_rows, n_columns, generator=generator, dtype=F64)
    least, pull = torch.rand(2, 1, 301, generator=generator, dtype=F64)
    groups, buffers = Groups([0] * 500 + list(range(1, 301)), n_rows, CPU), (Buffer(), Buffer())
    bound = _least_bound(size, groups, least, pull, buffers)
    assert all(buffer._memory is None or buffer._memory.numel() <= n_rows * n_columns for buffer in buffers)
    excess = groups.total((size - groups.spread(bound)).clamp_min(0))
    torch.testing.assert_close(bound, least + pull * excess)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_bound_of_a_group_does_not_depend_on_how_long_others_are_looked_for(dtype):
    generator = torch.Generator().manual_seed(0)
    size = (torch.randn(1, 400, 60, generator=generator, dtype=dtype) ** 3).abs()
    least, pull = torch.randn(2, 1, 400, generator=generator, dtype=dtype).abs().mul_(0.01)
    pull = pull * 1000

    def bounds(rows):
        groups = Groups(None, len(rows), CPU)
        return _least_bound(size[:, rows], groups, least[:, rows], pull[:, rows], (Buffer(), Buffer()))

    together = bounds(list(range(400)))[0]
    alone = torch.stack([bounds([k])[0, 0] for k in range(400)])
    assert torch.equal(together, alone)
    excess = (size[0] - together[:, None]).clamp_min(0).sum(1)
    torch.testing.assert_close(together, least[0] + pull[0] * excess, rtol=1e-4, atol=1e-6)
