"""Losses against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sklreg.engine.losses import LOSSES, LossOptions, smooth_labels

ROWS = pytest.mark.parametrize("n_models", [1, 3])


def numbers(seed, *shape, spread=3.0):
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smoothing_of(values):
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


@ROWS
def test_cross_entropy_is_torchs_with_soft_targets(n_models):
    output, target = numbers(0, n_models, 7, 4), numbers(1, n_models, 7, 4).softmax(-1)
    ours = LOSSES["cross_entropy"].value(output, target).sum(-1)
    assert_close(ours, F.cross_entropy(output.mT, target.mT, reduction="none"))


@ROWS
def test_binary_cross_entropy_is_torchs_summed_over_labels(n_models):
    output, target = numbers(0, n_models, 7, 4), (numbers(1, n_models, 7, 4) > 0).double()
    ours = LOSSES["binary_cross_entropy"].value(output, target).sum(-1)
    assert_close(ours, F.binary_cross_entropy_with_logits(output, target, reduction="none").sum(-1))


@ROWS
def test_squared_error_is_half_torchs_summed_over_outputs(n_models):
    output, target = numbers(0, n_models, 7, 4), numbers(1, n_models, 7, 4)
    ours = LOSSES["squared_error"].value(output, target, LossOptions(smoothing_of([0.1] * n_models)))
    assert_close(ours.sum(-1), 0.5 * F.mse_loss(output, target, reduction="none").sum(-1))


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_a_certain_and_wrong_prediction_costs_its_distance_and_not_infinity(name):
    output = torch.tensor([[[1e4, -1e4]]], dtype=torch.float32)
    right, wrong = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    value = LOSSES[name].value
    assert value(output, right).sum() == 0
    assert value(output, wrong).sum() == 2e4


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n_classes=st.integers(2, 6), epsilon=st.floats(0, 0.4))
def test_smoothing_is_torchs_at_the_epsilon_that_leaves_the_true_class_as_much(seed, n_classes, epsilon):
    """Torch gives the true class a part of epsilon back, so its epsilon for the same target is C / (C - 1) of ours."""
    output = numbers(seed, 1, 5, n_classes)
    label = torch.randint(n_classes, (1, 5), generator=torch.Generator().manual_seed(seed))
    target = F.one_hot(label, n_classes).double()
    ours = LOSSES["cross_entropy"].value(output, target, LossOptions(smoothing_of([epsilon]))).sum(-1)
    torchs_epsilon = epsilon * n_classes / (n_classes - 1)
    theirs = F.cross_entropy(output.mT, label, reduction="none", label_smoothing=torchs_epsilon)
    assert_close(ours, theirs)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n_classes=st.integers(2, 6), epsilon=st.floats(0, 0.4), share=st.floats(0, 1))
def test_a_smoothed_mixture_is_the_mixture_of_smoothed_parts_and_sums_to_one(seed, n_classes, epsilon, share):
    labels = torch.randint(n_classes, (2, 1, 5), generator=torch.Generator().manual_seed(seed))
    a, b = F.one_hot(labels, n_classes).double()
    strength = smoothing_of([epsilon])
    mixed = smooth_labels((1 - share) * a + share * b, strength, n_classes)
    parts = [smooth_labels(part, strength, n_classes) for part in (a, b)]
    assert_close(mixed, (1 - share) * parts[0] + share * parts[1])
    assert_close(mixed.sum(-1), torch.ones(1, 5, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["value", "gradient"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_models_loss_is_the_same_to_the_bit_whatever_is_beside_it(name, kind, dtype):
    """Some kernels round otherwise at the end of memory, and 37 samples of 3 outputs fill no vector register there.

    Members of an ensemble for several labels were not quite their single fits, for the logistic function.
    """
    output, target = numbers(0, 31, 37, 3).to(dtype), numbers(1, 31, 37, 3).softmax(-1).to(dtype)
    function = getattr(LOSSES[name], kind)
    together = function(output, target)
    for k in range(31):
        assert torch.equal(together[k], function(output[k : k + 1], target[k : k + 1])[0])


@pytest.mark.parametrize("option", LossOptions._fields)
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_a_model_without_an_option_is_untouched_to_the_bit_beside_one_with_it(name, option):
    output, target = numbers(0, 2, 7, 4), F.one_hot(torch.arange(7) % 4, 4).double().expand(2, -1, -1)
    options = LossOptions(**{option: smoothing_of([0.0, 0.2])})
    for function in LOSSES[name]:
        beside, plain = function(output, target, options), function(output, target)
        assert torch.equal(beside[0], plain[0])
        assert not torch.equal(beside[1], plain[1])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), gamma=st.floats(0.01, 5))
def test_the_focal_loss_is_its_definition(seed, gamma):
    output, label = numbers(seed, 1, 5, 3), torch.randint(3, (5,), generator=torch.Generator().manual_seed(seed))
    p = output.softmax(-1)[0, torch.arange(5), label]
    ours = LOSSES["cross_entropy"].value(output, F.one_hot(label, 3).double(), LossOptions(focus=smoothing_of([gamma])))
    assert_close(ours.sum(-1)[0], -((1 - p) ** gamma) * p.log())
    q, is_one = output.sigmoid(), torch.rand(1, 5, 3, generator=torch.Generator().manual_seed(seed)) > 0.5
    p = torch.where(is_one, q, 1 - q)
    ours = LOSSES["binary_cross_entropy"].value(output, is_one.double(), LossOptions(focus=smoothing_of([gamma])))
    assert_close(ours, -((1 - p) ** gamma) * p.log())


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("gamma", [0.3, 2.0])
def test_the_focal_loss_of_a_certain_prediction_is_finite_and_so_is_its_gradient(name, gamma):
    output = torch.tensor([[[1e4, -1e4], [1e4, -1e4], [0.0, 0.0]]], dtype=torch.float32)
    target = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    options = LossOptions(focus=torch.tensor([[[gamma]]]))
    value, gradient = (function(output, target, options) for function in LOSSES[name])
    assert value[0, 0].sum() == 0
    assert value[0, 1].sum() == 2e4
    assert gradient.isfinite().all()
    assert_close(gradient[0, 0], torch.zeros(2))
