"""Law 4: every prox minimizes the objective that its docstring states."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from sklreg.engine.penalties import ElasticNet, project_max_norm, soft_threshold


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
