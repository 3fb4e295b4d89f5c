"""Batched layers against torch's, model by model."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sklreg.engine.activations import ACTIVATIONS, DoubleGelu
from sklreg.engine.data import OutputUnits
from sklreg.engine.layers import Network, TrainingMode, batch_statistics
from sklreg.engine.layout import Layout, initial_row
from sklreg.engine.plain import plain_module, row_of_module
from sklreg.engine.stopping import EarlyStopping
from sklreg.engine.streams import Streams

CPU = torch.device("cpu")


def random_state(layout, n_models, dtype):
    rows = [initial_row(layout, "relu", torch.zeros(2, dtype=dtype), Streams(k, CPU)) for k in range(n_models)]
    state = torch.cat(rows)
    generator = torch.Generator().manual_seed(0)
    for name in layout.spans:
        view = layout.view(state, name)
        noise = torch.randn(view.shape, generator=generator, dtype=dtype)
        view += 0.3 * (noise.abs() if name.startswith("running_var") else noise)
    return state


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_each_model_predicts_what_its_plain_module_predicts(activation, normalization, n_models, dtype):
    layout = Layout(5, (7, 4), 2, normalization)
    state = random_state(layout, n_models, dtype)
    X = torch.randn(n_models, 11, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)
    units = OutputUnits(torch.tensor([2.0, 0.5], dtype=dtype), torch.tensor([-1.0, 10.0], dtype=dtype))
    outputs = Network(layout, activation, state).forward(X)
    for k in range(n_models):
        module = plain_module(layout, activation, state[k : k + 1], units, 0.3, 0.1)
        assert_close(module(X[k]), outputs[k] * units.scale + units.offset, rtol=1e-4, atol=1e-5)
        row = row_of_module(layout, module, units, dtype)
        assert_close(row, masked(layout, state[k : k + 1]), rtol=1e-5, atol=1e-5)
        assert not module.training


@pytest.mark.parametrize("n", [1, 64, 200_003])  # one number, and more than a thread takes at once
def test_the_gelu_of_double_precision_is_torchs_and_so_is_its_gradient(n):
    x = torch.linspace(-45, 45, n, dtype=torch.float64, requires_grad=True)
    upstream = torch.linspace(-2, 3, n, dtype=torch.float64)
    expected = nn.functional.gelu(x)
    (gradient,) = torch.autograd.grad(expected, x, upstream)
    layer = DoubleGelu()
    y = layer.forward(x.detach().clone()[None, None], None)
    assert_close(y[0, 0], expected.detach(), rtol=1e-14, atol=1e-15)
    assert_close(layer.backward(upstream.clone()[None, None])[0, 0], gradient, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("activation", "bound"),
    [("relu", (6 / 40) ** 0.5), ("mish", (3 / 40) ** 0.5), ("tanh", (6 / 340) ** 0.5), ("selu", (3 / 40) ** 0.5)],
)
def test_hidden_layers_start_within_the_bound_of_their_activation(activation, bound):
    layout = Layout(40, (300,), 1, None)
    weight = layout.view(initial_row(layout, activation, torch.zeros(1), Streams(0, CPU)), "weight0")
    assert 0.99 * bound < weight.abs().max() <= bound


def test_selu_keeps_units_near_mean_zero_and_variance_one_through_many_layers():
    layout = Layout(256, (256,) * 10, 1, None)
    state = initial_row(layout, "selu", torch.zeros(1), Streams(0, CPU))
    network = Network(layout, "selu", state)
    network.forward(torch.randn(1, 500, 256, generator=torch.Generator().manual_seed(0)))
    units = network.layers[-1].x
    assert units.mean().abs() < 0.1
    assert 0.8 < units.var() < 1.2


def masked(layout, row):
    """Return the row with its padding at zero."""
    clean = torch.zeros_like(row)
    for name in layout.spans:
        layout.view(clean, name).copy_(layout.view(row, name))
    return clean


def test_batch_norm_is_torchs_in_training_and_after_it():
    layout = Layout(3, (4,), 1, "batch")
    state = initial_row(layout, "identity", torch.zeros(1, dtype=torch.float64), Streams(0, CPU))
    layout.view(state, "weight1").fill_(1.0)
    network = Network(layout, "identity", state)
    linear = layout.view(state, "weight0")[0].clone()
    reference = nn.BatchNorm1d(4, momentum=None, dtype=torch.float64)  # None: a plain average over batches
    generator = torch.Generator().manual_seed(0)
    for step in range(8):  # until its share is a tenth, ours is the plain average too
        X = torch.randn(1, 32, 3, generator=generator, dtype=torch.float64)
        out = network.forward(X, TrainingMode(None, None, [], None, step))
        assert_close(out[0, :, 0], reference(X[0] @ linear).sum(1))
    assert_close(layout.view(state, "running_mean0")[0, 0], reference.running_mean)
    # torch averages the unbiased variance; what is biased does not depend on how samples are counted.
    assert_close(layout.view(state, "running_var0")[0, 0], reference.running_var * 31 / 32)


def test_statistics_weigh_a_sample_as_its_copies():
    X = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.tensor([[1.0, 2, 3, 1, 1, 2]], dtype=torch.float64).expand(2, -1)
    repeated = X.repeat_interleave(weight[0].long(), dim=1)
    for weighted, plain in zip(batch_statistics(X, weight)[:2], batch_statistics(repeated, None)[:2], strict=True):
        assert_close(weighted, plain)


def test_every_model_stops_by_its_own_patience_and_keeps_its_own_best():
    scores = torch.tensor([[1.0, 1.0], [2.0, 0.5], [1.5, 0.4], [1.4, 3.0], [1.3, 2.0]], dtype=torch.float64)
    state = torch.zeros(2, 3, dtype=torch.float64)
    patience = torch.tensor([2.0, 3.0], dtype=torch.float64)
    stopping = EarlyStopping(state, patience, torch.zeros(2, dtype=torch.float64))
    stops = []
    for epoch, score in enumerate(scores, start=1):
        state += 1
        stops.append(stopping.update(score, state, epoch).tolist())
    assert stops == [[False, False], [False, False], [False, False], [True, False], [True, False]]
    assert stopping.best_iter.tolist() == [2, 4]
    assert stopping.best_state[:, 0].tolist() == [2, 4]
    stopping.select(torch.tensor([1]))
    assert stopping.best_iter.tolist() == [4]


def test_a_score_that_is_not_finite_is_never_the_best():
    state = torch.zeros(1, 1)
    stopping = EarlyStopping(state, torch.tensor([torch.inf]), torch.zeros(1))
    for epoch, score in enumerate((torch.nan, torch.inf, 1.0, torch.nan), start=1):
        assert not stopping.update(torch.tensor([score]), state + epoch, epoch).item()
    assert stopping.best_iter.item() == 3
    assert stopping.best_state.item() == 3


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_no_activation_changes_by_more_than_its_lipschitz_constant(activation):
    x = torch.linspace(-10, 10, 200_001, dtype=torch.float64, requires_grad=True)
    ACTIVATIONS[activation].module()(x).sum().backward()
    greatest, lipschitz = x.grad.abs().max().item(), ACTIVATIONS[activation].lipschitz
    assert lipschitz - 1e-3 < greatest <= lipschitz
