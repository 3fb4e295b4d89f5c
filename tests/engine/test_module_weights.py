"""Penalties on the weights of any module, in the steps of torch's own optimizers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sklreg.engine import Strengths, WeightRegularizer, count_zeros, weights_of
from sklreg.engine.module_weights import strength_by_name


def names(module):
    return [weight.name for weight in weights_of(module)]


def test_weights_are_told_from_biases_and_normalization_by_the_layers_they_belong_to():
    module = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "batch": nn.BatchNorm2d(4),
            "layer": nn.LayerNorm((4, 6, 6)),  # its scale has three axes
            "group": nn.GroupNorm(2, 4),
            "instance": nn.InstanceNorm2d(4, affine=True),
            "rms": nn.RMSNorm((4, 6)),
            "prelu": nn.PReLU(4),
            "embedding": nn.Embedding(7, 4),
            "lstm": nn.LSTM(4, 5),
            "attention": nn.MultiheadAttention(4, 2, add_bias_kv=True),
            "bilinear": nn.Bilinear(2, 3, 4),
        }
    )
    assert names(module) == [
        "conv.weight", "embedding.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "attention.in_proj_weight",
        "attention.out_proj.weight", "bilinear.weight",
    ]  # fmt: skip


def test_a_shared_tensor_counts_once():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    assert names(module) == ["0.weight"]


def test_the_first_pattern_that_matches_counts():
    strength = {"head.*": 0.0, "*.weight": 2.0, "conv.*": 3.0}
    found = strength_by_name(strength, ["conv.weight", "head.weight", "conv.kernel", "other"], "l1")
    assert found == {"conv.weight": 2.0, "head.weight": 0.0, "conv.kernel": 3.0, "other": 0.0}
    with pytest.raises(ValueError, match=r"l1 names 'tail', which matches no weight .* \['head.weight'\]"):
        strength_by_name({"tail": 1.0}, ["head.weight"], "l1")


SGD, ADAM = torch.optim.SGD, torch.optim.Adam


@pytest.mark.parametrize(
    ("optimizer", "kwargs"),
    [
        (SGD, {}),
        (SGD, {"momentum": 0.9}),
        (SGD, {"momentum": 0.9, "nesterov": True}),
        (SGD, {"momentum": 0.8, "dampening": 0.3}),
        (SGD, {"momentum": 0.8, "dampening": 1.0}),
        (ADAM, {}),
        (ADAM, {"amsgrad": True, "betas": (0.8, 0.9), "eps": 1e-3}),
        (torch.optim.AdamW, {"weight_decay": 0.0}),
        (ADAM, {"lr": torch.tensor(0.1), "foreach": False}),
    ],
)
def test_under_a_constant_gradient_the_prox_takes_what_the_move_gives(optimizer, kwargs):
    """Step sizes of move and prox are the same, so a gradient of the size of l1 holds a weight where it is."""
    layer = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[50.0, -50.0, 0.0]]))
    l1, is_sgd = 0.25, optimizer is SGD
    optimizer = optimizer(layer.parameters(), **{"lr": 0.1, **kwargs})
    regularizer = WeightRegularizer(weights_of(layer), [optimizer], Strengths(l1=l1), "test")
    for step in range(25):
        layer.weight.grad = torch.tensor([[-l1, l1, 0.9 * l1]], dtype=torch.float64)
        before = layer.weight.detach().clone()
        optimizer.step()
        regularizer.finish_step_()
        if is_sgd or step > 0:  # in the first step of Adam nothing is taken
            torch.testing.assert_close(layer.weight.detach()[:, :2], before[:, :2], rtol=0, atol=1e-8)
    assert layer.weight[0, 2] == 0.0 or not is_sgd  # Adam took a step before the first prox
    assert count_zeros(weights_of(layer))[1] == 3


def test_weights_without_a_gradient_rest():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    optimizer = ADAM(module.parameters(), lr=0.1)
    regularizer = WeightRegularizer(weights_of(module), [optimizer], Strengths(1.0, 1.0, 1.0, 0.1), "test")
    frozen = module[0].weight.clone()
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.ones(5, 3)).sum().backward()
        regularizer.add_smooth_gradient()
        regularizer.decay_()
        optimizer.step()
        regularizer.finish_step_()
    assert (module[0].weight == frozen).all()


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (nn.Linear(6, 4), (1,)),
        (nn.Conv2d(4, 6, 3, groups=2), (1, 2, 3)),
        (nn.ConvTranspose2d(4, 6, 3), (0, 2, 3)),
        (nn.Embedding(5, 3), (0,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_max_norm_bounds_what_comes_into_a_unit(layer, axes):
    module = nn.Sequential(layer, nn.Linear(2, 2))
    before = layer.weight.detach().clone()
    _bound(module, 0.3)
    norms = torch.linalg.vector_norm(layer.weight, dim=axes)
    torch.testing.assert_close(norms, torch.linalg.vector_norm(before, dim=axes).clamp(max=0.3))
    assert not torch.equal(before, layer.weight)


def test_max_norm_of_a_transposed_convolution_in_groups():
    layer = nn.ConvTranspose1d(4, 6, 3, groups=2)
    before = layer.weight.detach().clone()
    _bound(nn.Sequential(layer, nn.Linear(2, 2)), 0.3)
    for group in range(2):  # of two inputs and three outputs each
        part = slice(2 * group, 2 * group + 2)
        norms = before[part].square().sum((0, 2)).sqrt()
        torch.testing.assert_close(layer.weight[part].square().sum((0, 2)).sqrt(), norms.clamp(max=0.3))


def _bound(module, max_norm):
    optimizer = SGD(module.parameters(), lr=0.0)
    regularizer = WeightRegularizer(weights_of(module), [optimizer], Strengths(max_norm=max_norm), "test")
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    regularizer.finish_step_()


def test_strengths_that_would_do_nothing_are_refused():
    scale = nn.LayerNorm(3)
    optimizer = SGD(scale.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="l2 of test=0.1 acts on weights, and the module has none"):
        WeightRegularizer(weights_of(scale), [optimizer], Strengths(l2=0.1), "test")
    with pytest.raises(ValueError, match=r"max_norm=2.0 of test acts on hidden layers, .* \['weight'\]"):
        _bound(nn.Linear(3, 2), 2.0)


def test_nothing_to_do_is_nothing():
    module = nn.Linear(3, 2)
    regularizer = WeightRegularizer(weights_of(module), [torch.optim.RMSprop(module.parameters())], Strengths(), "test")
    assert not regularizer.is_active
    assert math.isinf(Strengths().max_norm)


@pytest.mark.parametrize(
    ("optimizer", "kwargs", "message"),
    [
        (torch.optim.Adagrad, {}, "known for torch.optim.Adam, AdamW and SGD; got Adagrad"),
        (SGD, {"maximize": True}, "got SGD with maximize=True"),
        (SGD, {"momentum": 1.0}, r"needs a momentum of SGD in \[0, 1\); got 1.0"),
    ],
)
def test_optimizers_that_the_prox_does_not_go_with_are_refused(optimizer, kwargs, message):
    module = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=message):
        WeightRegularizer(weights_of(module), [optimizer(module.parameters(), **kwargs)], Strengths(l1=1.0), "test")
