"""Optimizers against torch's own, and their fixed points against the objective."""

from __future__ import annotations

import math

import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from sklreg.engine.optim import SGD, Adam, ScaledAdam, schedule_factor
from sklreg.engine.penalties import Block, ElasticNet, Grouped, GroupLasso, Groups, Matrix, Parts

RATES = [1e-2, 3e-2, 1e-3]
STRENGTHS = [0.1, 0.0, 1.0]


def column(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)[:, None]


def one_layer(n_in, n_out):
    """Return the parts of parameters that are one matrix and its biases."""
    stop = n_in * n_out
    matrix = Matrix(slice(0, stop), lambda flat: flat[:, :stop].unflatten(1, (n_in, n_out)), n_in)
    return Parts([matrix], slice(stop, stop + n_out))


def ours(kind, w, *, l1=None, l2=None, weight_decay=None, momentum=None, max_grad_norm=None, n_weights=None):
    n_models, n = len(w), w.shape[1] if n_weights is None else n_weights
    zero = [0.0] * n_models
    return kind(
        w,
        one_layer(n, 1),
        ElasticNet(column(l1 or zero, w.dtype), column(l2 or zero, w.dtype)),
        column(weight_decay or zero, w.dtype),
        column(momentum or zero, w.dtype),
        column(max_grad_norm or [math.inf] * n_models, w.dtype),
    )


CASES = {
    "adam": (Adam, {}, lambda w, k: torch.optim.Adam([w], lr=RATES[k])),
    "adam with l2": (
        Adam, {"l2": STRENGTHS}, lambda w, k: torch.optim.Adam([w], lr=RATES[k], weight_decay=STRENGTHS[k])
    ),
    "adamw": (
        Adam, {"weight_decay": STRENGTHS}, lambda w, k: torch.optim.AdamW([w], lr=RATES[k], weight_decay=STRENGTHS[k])
    ),
    "sgd": (SGD, {}, lambda w, k: torch.optim.SGD([w], lr=RATES[k])),
    "sgd with momentum and l2": (
        SGD,
        {"momentum": [0.9, 0.5, 0.0], "l2": STRENGTHS},
        lambda w, k: torch.optim.SGD([w], lr=RATES[k], momentum=[0.9, 0.5, 0.0][k], weight_decay=STRENGTHS[k]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_are_torchs_with_rates_and_strengths_of_each_models_own(case, n_models, dtype):
    kind, strengths, reference = CASES[case]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(n_models, 7, generator=generator, dtype=dtype)
    target = torch.randn(n_models, 7, generator=generator, dtype=dtype)
    w = start.clone()
    optimizer = ours(kind, w, **{name: values[:n_models] for name, values in strengths.items()})
    theirs = [start[k].clone().requires_grad_() for k in range(n_models)]
    references = [reference(w_k, k) for k, w_k in enumerate(theirs)]
    for _ in range(20):
        optimizer.step((w - target) ** 3, column(RATES[:n_models], dtype))
        for k in range(n_models):
            theirs[k].grad = (theirs[k].detach() - target[k]) ** 3
            references[k].step()
    for k in range(n_models):
        assert_close(w[k], theirs[k].detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "momentum"), [(Adam, 0.0), (ScaledAdam, 0.0), (SGD, 0.0), (SGD, 0.9)])
def test_where_training_rests_the_objective_is_stationary(kind, momentum):
    """Least squares with an elastic net: the conditions of optimality hold, for every model its own."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(50, 12, generator=generator, dtype=torch.float64)
    b = A[:, :4].sum(1) + 0.5 * torch.randn(50, generator=generator, dtype=torch.float64)
    l1, l2 = [0.05, 0.3, 1.5], [0.0, 0.2, 0.0]
    w = torch.zeros(3, 12, dtype=torch.float64)
    optimizer = ours(kind, w, l1=l1, l2=l2, momentum=[momentum] * 3)
    for step in range(3000):
        rate = 0.05 * schedule_factor("cosine", torch.full((3, 1), step / 3000, dtype=torch.float64))
        optimizer.step((w @ A.T - b) @ A / 50, rate)
    gradient = (w @ A.T - b) @ A / 50 + column(l2) * w
    zero = w == 0
    assert zero.any()
    assert (~zero).any()
    assert (gradient.abs() <= column(l1) + 1e-9)[zero].all()
    assert_allclose((gradient + column(l1) * w.sign())[~zero], 0, atol=1e-5)


def by_gains(V, X, y, n_steps, rate, l2, decay):
    """Train the product of gains and weights as two parameters of torch's own AdamW; return the product.

    Rates of the layer, of its biases and of the gains that are above 1 set in within some steps.  Gains are 2 at most.
    After each step those below 1 fade, and what they lose the weights gain.
    """
    log_gains = torch.zeros(len(V), 1, dtype=V.dtype, requires_grad=True)
    V, b = V.clone().requires_grad_(), torch.zeros(V.shape[1], dtype=V.dtype, requires_grad=True)
    optimizer = torch.optim.AdamW([{"params": [p], "weight_decay": 0.0} for p in (V, b, log_gains)])
    for step in range(1, n_steps + 1):
        share = 1 - math.exp(-step / 10)
        of_layer = math.sqrt(100 / len(V))
        of_layer = rate * (of_layer if of_layer < 1 else 1 + (of_layer - 1) * share)
        of_biases, of_gains = rate * (1 + 4 * share), rate * 10 * share
        for group, length in zip(optimizer.param_groups, (of_layer, of_biases, of_gains), strict=True):
            group["lr"] = length
        optimizer.param_groups[0]["weight_decay"] = decay * rate / of_layer
        optimizer.zero_grad()
        W = log_gains.exp() * V
        (0.5 * (X @ W + b - y).square().sum(1).mean() + 0.5 * l2 * W.square().sum()).backward()
        optimizer.step()
        with torch.no_grad():
            log_gains.clamp_(max=math.log(2))
            lost = log_gains.clamp(max=0) * rate * 10 * 0.02
            log_gains.sub_(lost)
            V.mul_(lost.exp())
    return (log_gains.exp() * V).detach(), b.detach()


@pytest.mark.parametrize("d", [6, 200])
@pytest.mark.parametrize(("l2", "decay"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.5)])
def test_scaled_adam_is_adam_on_gains_and_weights_whose_product_is_the_first_matrix(l2, decay, d):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, d, generator=generator, dtype=torch.float64)
    y = X[:, :1] + 2 + 0.1 * torch.randn(50, 2, generator=generator, dtype=torch.float64)
    start = torch.randn(d, 2, generator=generator, dtype=torch.float64)
    params = torch.cat([start.flatten(), torch.zeros(2, dtype=torch.float64)])[None]
    zero = torch.zeros(1, 1, dtype=torch.float64)
    penalty = ElasticNet(zero, zero + l2)
    optimizer = ScaledAdam(params, one_layer(d, 2), penalty, zero + decay, zero, zero + math.inf)
    for _ in range(30):
        W, b = params[0, : 2 * d].view(d, 2), params[0, 2 * d :]
        slope = (X @ W + b - y) / 50
        optimizer.step(torch.cat([(X.T @ slope).flatten(), slope.sum(0)])[None], column([1e-2]))
    W, b = by_gains(start, X, y, 30, 1e-2, l2, decay)
    assert_close(params[0, : 2 * d].view(d, 2), W, rtol=1e-7, atol=1e-9)
    assert_close(params[0, 2 * d :], b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("factor", [None, [1.0, 0.3]])
@pytest.mark.parametrize(("kind", "momentum"), [(Adam, 0.0), (SGD, 0.9)])
def test_where_training_rests_the_objective_with_groups_is_stationary(kind, momentum, factor):
    """Least squares for two targets, whose weights for each of four pairs of inputs form a group."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(50, 8, generator=generator, dtype=torch.float64)
    scale = torch.tensor([1.0, 1.0] if factor is None else factor, dtype=torch.float64)
    b = (A[:, :2] @ torch.randn(2, 2, generator=generator, dtype=torch.float64)).repeat(3, 1, 1) / scale
    b += 0.5 * torch.randn(3, 50, 2, generator=generator, dtype=torch.float64) / scale
    strength, labels = column([0.01, 0.1, 0.4]), (0, 0, 1, 1, 2, 2, 3, 3)

    def view(flat):
        return flat.unflatten(1, (8, 2))

    def gradient_at(w):
        return (A.T @ ((A @ view(w) - b) * scale**2) / 50).flatten(1)

    factors = None if factor is None else scale.expand(3, 1, 2)
    lasso = GroupLasso(Block(view, Groups(labels, 8, torch.device("cpu")), factors), strength)
    zero = torch.zeros(3, 1, dtype=torch.float64)
    w = torch.zeros(3, 16, dtype=torch.float64)
    penalty = Grouped((lasso,), slice(16, 16), zero, zero)
    optimizer = kind(w, one_layer(8, 2), penalty, zero, zero + momentum, zero + math.inf)
    for step in range(3000):
        rate = 0.05 * schedule_factor("cosine", torch.full((3, 1), step / 3000, dtype=torch.float64))
        optimizer.step(gradient_at(w), rate)
    z, slope = (view(w) * scale).reshape(3, 4, 4), (view(gradient_at(w)) / scale).reshape(3, 4, 4)
    length, bound = z.norm(dim=2), strength * math.sqrt(2)
    zero_groups = length == 0
    assert 0 < zero_groups.sum() < 12
    assert (slope.norm(dim=2) <= bound + 1e-9)[zero_groups].all()
    rest = slope + bound[:, :, None] * z / length[:, :, None]
    assert_allclose(rest[~zero_groups], 0, atol=1e-5)


def test_no_gradient_so_far_does_not_let_the_prox_delete_a_weight():
    """Adam's metric is zero there: an unbounded threshold would take the whole weight in one step."""
    w = torch.tensor([[0.5]], dtype=torch.float64)
    optimizer = ours(Adam, w, l1=[1e-3])
    optimizer.step(torch.zeros(1, 1, dtype=torch.float64), column([1e-3]))
    assert w.item() == 0.5
    optimizer.step(torch.zeros(1, 1, dtype=torch.float64), column([1e-3]))
    assert 0.49 < w.item() < 0.5


@pytest.mark.parametrize("kind", [Adam, ScaledAdam, SGD])
def test_only_weights_are_penalised_and_decay(kind):
    w = torch.full((1, 6), 0.5, dtype=torch.float64)
    optimizer = ours(kind, w, l1=[0.1], l2=[0.1], weight_decay=[0.1], n_weights=4)
    optimizer.step(torch.zeros(1, 6, dtype=torch.float64), column([0.01]))
    assert (w[:, :4] < 0.5).all()
    assert (w[:, 4:] == 0.5).all()


def test_a_gradient_longer_than_the_bound_is_scaled_back_to_it_and_a_shorter_one_left():
    w = torch.zeros(2, 2, dtype=torch.float64)
    gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    ours(SGD, w, max_grad_norm=[1.0, 1.0]).step(gradient, column([1.0, 1.0]))
    assert_allclose(w, [[-0.6, -0.8], [-0.3, -0.4]])


def test_cosine_falls_from_one_to_zero_and_constant_stays():
    progress = torch.tensor([0.0, 0.5, 1.0, 1.5], dtype=torch.float64)
    assert_allclose(schedule_factor("cosine", progress), [1, 0.5, 0, 0], atol=1e-15)
    assert_allclose(schedule_factor("constant", progress), 1)
    with pytest.raises(ValueError, match="'one_cycle' or 'flat_cosine'; got 'step'"):
        schedule_factor("step", progress)


def test_flat_cosine_stays_for_half_of_the_steps_and_then_falls_to_zero():
    progress = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.5], dtype=torch.float64)
    assert_allclose(schedule_factor("flat_cosine", progress), [1, 1, 1, 0.5, 0, 0], atol=1e-15)


def test_one_cycle_rises_on_a_line_over_three_tenths_of_the_steps_and_then_falls_to_zero():
    progress = torch.tensor([0.0, 0.15, 0.3, 0.65, 1.0, 1.5], dtype=torch.float64)
    assert_allclose(schedule_factor("one_cycle", progress), [0.04, 0.52, 1, 0.5, 0, 0], atol=1e-15)


@pytest.mark.parametrize("schedule", ["one_cycle", "flat_cosine"])
def test_schedules_leave_no_jump_between_their_parts(schedule):
    factor = schedule_factor(schedule, torch.linspace(0, 1, 10_001, dtype=torch.float64))
    assert factor.diff().abs().max() < 5e-4
    assert (factor[:-1] > 0).all()


def test_a_share_of_the_penalty_is_a_weaker_penalty():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    gradients = torch.randn(5, 1, 6, generator=generator, dtype=torch.float64)
    weaker, shared = w.clone(), w.clone()
    a, b = ours(SGD, weaker, l1=[0.1], momentum=[0.5]), ours(SGD, shared, l1=[0.4], momentum=[0.5])
    for gradient in gradients:
        a.step(gradient.clone(), column([0.1]))
        b.step(gradient.clone(), column([0.1]), column([0.25]))
    assert_close(weaker, shared)
