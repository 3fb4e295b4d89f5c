"""The backward pass by hand against autograd on torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sklreg.engine.activations import ACTIVATIONS
from sklreg.engine.layers import DropoutNoise, Network, TrainingMode
from sklreg.engine.layout import Layout, initial_row
from sklreg.engine.losses import LOSSES, LossOptions
from sklreg.engine.streams import Streams

CPU = torch.device("cpu")


def parameter_names(layout):
    """Return the names of what is trained."""
    return [name for name, span in layout.spans.items() if span.stop <= layout.n_params]


def network(n_models, normalization, activation):
    layout = Layout(5, (7, 4), 3, normalization)
    rows = [
        initial_row(layout, activation, torch.zeros(3, dtype=torch.float64), Streams(k, CPU)) for k in range(n_models)
    ]
    state = torch.cat(rows)
    torch.manual_seed(0)
    for name in parameter_names(layout):
        view = layout.view(state, name)
        view += 0.3 * torch.randn_like(view)
    return layout, state, Network(layout, activation, state)


def by_autograd(layout, state, activation, X, weight, masks, downstream):
    """Return the gradient of every parameter of every model, from torch's own operations."""
    gradients = []
    for k in range(len(state)):
        t = {name: layout.view(state, name)[k].clone().requires_grad_() for name in parameter_names(layout)}
        x = X[k]
        for i in range(layout.n_layers):
            x = x @ t[f"weight{i}"] + t[f"bias{i}"]
            if i == layout.n_layers - 1:
                break
            if layout.normalization == "batch":
                w = torch.ones(len(x), dtype=x.dtype) if weight is None else weight[k]
                share = (w / w.sum())[:, None]
                mean = (share * x).sum(0)
                var = (share * (x - mean) ** 2).sum(0)
                x = (x - mean) / (var + 1e-5).sqrt() * t[f"norm_scale{i}"] + t[f"norm_shift{i}"]
            elif layout.normalization == "layer":
                x = torch.nn.functional.layer_norm(x, x.shape[-1:]) * t[f"norm_scale{i}"] + t[f"norm_shift{i}"]
            x = ACTIVATIONS[activation].module()(x)
            if masks is not None:
                x = x * masks[i][k]
        gradients.append(dict(zip(t, torch.autograd.grad((x * downstream[k]).sum(), list(t.values())), strict=True)))
    return gradients


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_autograds(activation, normalization, n_models, weighted):
    layout, state, net = network(n_models, normalization, activation)
    X = torch.randn(n_models, 11, 5, dtype=torch.float64)
    downstream = torch.randn(n_models, 11, 3, dtype=torch.float64)
    weight = torch.rand(n_models, 11, dtype=torch.float64) + 0.1 if weighted else None
    before = state[:, : layout.n_params].clone()
    net.forward(X, TrainingMode(None, None, [11], weight, 0))
    net.backward(downstream)
    expected = by_autograd(layout, state, activation, X, weight, None, downstream)
    for name in parameter_names(layout):
        assert_close(layout.view(net.gradient, name), torch.stack([e[name] for e in expected]))
    assert torch.equal(before, state[:, : layout.n_params])


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_gradient_passes_only_what_dropout_let_through(activation, normalization):
    layout, state, net = network(2, normalization, activation)
    rate = torch.tensor([0.2, 0.6], dtype=torch.float64)
    X = torch.randn(2, 9, 5, dtype=torch.float64)
    downstream = torch.randn(2, 9, 3, dtype=torch.float64)
    net.forward(X, TrainingMode(None, DropoutNoise(rate, [Streams(0, CPU)], [0, 0], "dropout"), [9], None, 0))
    net.backward(downstream)
    noise = DropoutNoise(rate, [Streams(0, CPU)], [0, 0], "dropout")
    masks = [noise.masks(torch.empty(2, 9, h, dtype=torch.float64), [9])[0].values for h in (7, 4)]
    expected = by_autograd(layout, state, activation, X, None, masks, downstream)
    for name in parameter_names(layout):
        assert_close(layout.view(net.gradient, name), torch.stack([e[name] for e in expected]))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("smoothing", [None, 0.2])
@pytest.mark.parametrize("focus", [None, 0.5, 2.0])
def test_gradient_of_each_loss_is_autograds(name, smoothing, focus):
    torch.manual_seed(0)
    output = 3 * torch.randn(2, 6, 4, dtype=torch.float64)
    output.requires_grad_()
    target = torch.rand(2, 6, 4, dtype=torch.float64)
    target = target / target.sum(-1, keepdim=True)
    options = LossOptions(
        *(s and torch.tensor([s, 0.0], dtype=torch.float64)[:, None, None] for s in (smoothing, focus))
    )
    loss = LOSSES[name]
    expected = torch.autograd.grad(loss.value(output, target, options).sum(), output)[0]
    assert_close(loss.gradient(output, target, options), expected)
