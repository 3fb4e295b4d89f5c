"""What the texts behind the library state, checked on its own classes; each test names its fact."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import ElasticNet, LogisticRegression
from sklearn.utils.fixes import parse_version
from torch.testing import assert_close

from sklreg import ElasticNetMLP, ElasticNetMLPClassifier, RegularizedMLPClassifier, RegularizedMLPRegressor
from sklreg.engine.data import Batch
from sklreg.engine.layers import DropoutNoise, Network, TrainingMode
from sklreg.engine.layout import Layout, initial_row
from sklreg.engine.losses import LOSSES, LossOptions, smooth_labels
from sklreg.engine.mixup import Mixup, mix
from sklreg.engine.optim import SGD, Adam, Optimizer, schedule_factor
from sklreg.engine.penalties import ElasticNet as ElasticNetPenalty
from sklreg.engine.penalties import Matrix, Parts, soft_threshold
from sklreg.engine.stopping import EarlyStopping
from sklreg.engine.streams import Streams

CPU = torch.device("cpu")
CONVEX = {
    "hidden_layer_sizes": (), "early_stopping": False, "batch_size": "full", "learning_rate": "cosine",
    "learning_rate_init": 0.05, "max_iter": 1500, "random_state": 0,
}  # fmt: skip


def optimizer_of(kind: type[Optimizer], w, *, n_weights=None, l1=0.0, l2=0.0, weight_decay=0.0, momentum=0.0):
    """Return an optimizer on the parameters ``w`` ``(K, P)``, all of them weights unless ``n_weights`` says less."""

    def column(value):
        return torch.full((len(w), 1), float(value), dtype=w.dtype)

    penalty = ElasticNetPenalty(column(l1), column(l2))
    n_weights = w.shape[1] if n_weights is None else n_weights
    matrix = Matrix(slice(0, n_weights), lambda flat: flat[:, :n_weights, None], n_weights)
    parts = Parts([matrix], slice(n_weights, w.shape[1]))
    return kind(w, parts, penalty, column(weight_decay), column(momentum), column(np.inf))


def minimize(kind, gradient, w, n_steps=2000, learning_rate=0.05, schedule="cosine", **strengths):
    """Run the library's optimizer on a loss given by its gradient."""
    w = torch.tensor([[float(w)]], dtype=torch.float64)
    optimizer = optimizer_of(kind, w, **strengths)
    for step in range(n_steps):
        rate = learning_rate * schedule_factor(schedule, torch.tensor([[step / n_steps]], dtype=torch.float64))
        optimizer.step(gradient(w.clone()), rate)
    return w.item()


def test_p1_the_convention_is_said_once_where_a_reader_looks():
    for estimator in (RegularizedMLPClassifier, RegularizedMLPRegressor):
        assert r"\tfrac{1}{2} \mathtt{l2} \sum W^2" in estimator.__doc__
    assert "is ``l2 / 2``" in RegularizedMLPClassifier.__doc__


def test_p2_one_sgd_step_takes_five_to_four_point_nine_six():
    w = torch.tensor([[5.0]], dtype=torch.float64)
    optimizer_of(SGD, w, l2=2 * 0.01).step(torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[0.1]]))
    assert_allclose(w.item(), 4.96)


@pytest.mark.parametrize(("kind", "momentum"), [(SGD, 0.0), (SGD, 0.9), (Adam, 0.0)])
def test_p3_l1_stops_at_three_quarters_and_at_exactly_zero_and_l2_never_does(kind, momentum):
    def gradient(w):
        return 2 * (w - 1)

    # The text's own problems: (w - 1)^2 + λ|w| and (w - 1)^2 + λ/2 w^2.
    assert_allclose(minimize(kind, gradient, 1.0, l1=0.5, momentum=momentum), 0.75, atol=1e-5)
    # At λ = 2 the gradient at zero is just the threshold; powers of two keep rounding out of that.
    assert minimize(kind, gradient, 1.0, learning_rate=0.25, schedule="constant", l1=2.0, momentum=momentum) == 0.0
    assert minimize(kind, gradient, 1.0, l1=2.1, momentum=momentum) == 0.0
    assert_allclose(minimize(kind, gradient, 1.0, l2=0.5, momentum=momentum), 0.8, atol=1e-5)
    assert_allclose(minimize(kind, gradient, 1.0, l2=2.0, momentum=momentum), 0.5, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(mu=st.floats(-3, 3), strength=st.floats(0, 3))
def test_p4_the_minimum_of_the_scalar_lasso_is_the_soft_threshold(mu, strength):
    expected = np.sign(mu) * max(abs(mu) - strength, 0)
    assert_allclose(
        soft_threshold(torch.tensor([mu], dtype=torch.float64), torch.tensor([strength], dtype=torch.float64)).item(),
        expected,
        atol=1e-15,
    )
    for kind in (SGD, Adam):
        reached = minimize(kind, lambda w: w - mu, 0.5, n_steps=400, learning_rate=0.1, l1=strength)
        assert_allclose(reached, expected, atol=2e-3)
        if abs(mu) < strength - 0.05:
            assert reached == 0.0


def test_p5_l2_is_weight_decay_under_sgd_and_not_under_adam():
    start, grad, rate = (torch.tensor([[v]], dtype=torch.float64) for v in (2.0, 0.7, 0.1))
    stepped = {}
    for kind, mode in product((SGD, Adam), ("l2", "weight_decay")):
        w = start.clone()
        optimizer_of(kind, w, **{mode: 0.3}).step(grad.clone(), rate)
        stepped[kind, mode] = w.item()
    assert_allclose(stepped[SGD, "l2"], (1 - 0.1 * 0.3) * 2 - 0.1 * 0.7, atol=1e-6)
    assert_allclose(stepped[SGD, "l2"], stepped[SGD, "weight_decay"], atol=1e-12)
    # After one step the corrected moments are the gradient and its square.
    assert_allclose(stepped[Adam, "weight_decay"], 2 - 0.1 * (0.7 / (0.7 + 1e-8) + 0.3 * 2), atol=1e-6)
    assert_allclose(stepped[Adam, "l2"], 2 - 0.1 * 1.0, atol=1e-6)


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("penalty", [{"l1": 1e3}, {"l2": 1e3}, {"weight_decay": 50.0}])
@pytest.mark.parametrize("solver", ["adam", "scaled_adam"])
def test_p6_biases_and_normalization_parameters_are_never_penalised(normalization, penalty, solver):
    X, y = make_regression(200, 5, random_state=0)
    y = 1 + (y - y.mean()) / y.std()
    model = RegularizedMLPRegressor(
        (8,), activation="relu", **{"weight_decay": 0.0, **penalty}, normalization=normalization, solver=solver,
        early_stopping=False, learning_rate="cosine", learning_rate_init=0.01, max_iter=1500, random_state=0,
    ).fit(X, y)  # fmt: skip
    # Under decay a weight rests where decay and step are equal.  Adam's step is one learning rate at most; with
    # scaled_adam, the root of 100 by the layer's inputs, in the first layer times gains of 2 at most.
    longest = [1.0, 1.0] if solver == "adam" else [2 * (100 / 5) ** 0.5, (100 / 8) ** 0.5]
    for coef, step in zip(model.coefs_, longest, strict=True):
        assert np.abs(coef).max() < (step / 50 if "weight_decay" in penalty else 1e-2) * 1.3
    if "l1" in penalty:
        assert model.n_nonzero_ == 0
    if "weight_decay" not in penalty:
        assert_allclose(model.predict(X), y.mean(), atol=0.05)
    assert abs(model.intercepts_[-1][0] - y.mean()) < 0.3  # free to be the mean, 1
    if normalization:
        scale = model.module_[1].weight.detach().numpy()
        # Still about where it began, at 1; penalised, it would be as small as the weights.
        assert (np.abs(scale) > (0.5 if solver == "adam" else 0.25)).all()


def test_p7_l1_gives_exact_zeros_l2_none_and_the_elastic_net_keeps_twins_together():
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    X = np.column_stack([z, z, rng.normal(size=(300, 4))])
    y = 2 * z + 0.1 * rng.normal(size=300)
    lasso, ridge, net = (
        ElasticNetMLP(alpha=0.1, l1_ratio=r, **CONVEX, warm_start=True).fit(X, y) for r in (1.0, 0.0, 0.5)
    )
    assert lasso.n_nonzero_ < X.shape[1]
    assert ridge.n_nonzero_ == X.shape[1]
    assert_allclose(net.coefs_[0][0], net.coefs_[0][1], rtol=1e-6)
    assert (net.coefs_[0][2:] == 0).all()
    # Any split of the twins' sum is a minimum of the lasso: from unequal weights, L1 leaves them unequal.
    for model in (lasso, net):
        with torch.no_grad():
            model.module_[0].weight[0, :2] = torch.tensor([1.5, 0.3], dtype=torch.float64)
        model.fit(X, y)
    assert abs(lasso.coefs_[0][0] - lasso.coefs_[0][1]) > 0.5
    assert_allclose(net.coefs_[0][0], net.coefs_[0][1], rtol=1e-3)


@pytest.mark.parametrize("alpha", [0.02, 0.3])
@pytest.mark.parametrize("l1_ratio", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_p8_without_hidden_layer_regression_is_elastic_net(alpha, l1_ratio, weighted):
    X, y = make_regression(200, 12, n_informative=5, noise=20, random_state=1)
    X, y = (X - X.mean(0)) / X.std(0), 3 * y / y.std() + 7
    weight = np.random.default_rng(0).uniform(0.2, 2, 200) if weighted else None
    expected = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-10, max_iter=100_000).fit(X, y, sample_weight=weight)
    model = ElasticNetMLP(alpha=alpha, l1_ratio=l1_ratio, **CONVEX).fit(X, y, sample_weight=weight)
    assert_allclose(model.coefs_[0][:, 0], expected.coef_, atol=1e-4)
    assert_array_equal(model.coefs_[0][:, 0] == 0, expected.coef_ == 0)
    assert_allclose(model.intercepts_[0][0], expected.intercept_, atol=1e-4)


def test_p8_several_outputs_are_as_many_elastic_nets():
    X, Y = make_regression(200, 8, n_informative=4, n_targets=2, noise=10, random_state=0)
    Y = np.array([1.0, 5.0]) * Y / Y.std(0)
    expected = ElasticNet(alpha=0.1, tol=1e-10).fit(X, Y)
    model = ElasticNetMLP(alpha=0.1, **CONVEX).fit(X, Y)
    assert_allclose(model.coefs_[0].T, expected.coef_, atol=1e-4)
    assert_array_equal(model.coefs_[0].T == 0, expected.coef_ == 0)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_p8_without_hidden_layer_classification_is_logistic_regression(n_classes, l1_ratio):
    X, y = make_classification(250, 10, n_informative=4, n_classes=n_classes, flip_y=0.1, random_state=0)
    X, alpha = (X - X.mean(0)) / X.std(0), 0.03
    # "penalty" is deprecated from 1.8 on, and needed before.
    penalty = {} if parse_version(sklearn.__version__) >= parse_version("1.8") else {"penalty": "elasticnet"}
    expected = LogisticRegression(
        solver="saga", l1_ratio=l1_ratio, C=1 / (len(y) * alpha), tol=1e-9, max_iter=100_000, **penalty
    ).fit(X, y)
    model = ElasticNetMLPClassifier(alpha=alpha, l1_ratio=l1_ratio, **CONVEX).fit(X, y)
    assert_allclose(model.coefs_[0].T, expected.coef_, atol=1e-4)
    assert_array_equal(model.coefs_[0].T == 0, expected.coef_ == 0)
    assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-3)


def test_p9_the_stronger_the_penalty_the_smaller_the_weights_and_too_much_predicts_a_constant():
    X, y = make_classification(300, 10, n_informative=5, random_state=0)
    setting = {
        "weight_decay": 0.0,
        "early_stopping": False,
        "learning_rate_init": 0.01,
        "max_iter": 60,
        "random_state": 0,
    }
    for penalty in ("l1", "l2"):
        models = [
            RegularizedMLPClassifier((16,), **{penalty: s}, **setting).fit(X, y) for s in (0, 1e-3, 1e-2, 1e-1, 1e6)
        ]
        norms = [sum((c**2).sum() for c in m.coefs_) for m in models]
        zeros = [m.sparsity_ for m in models]
        assert norms == sorted(norms, reverse=True)
        assert zeros == sorted(zeros)
        assert (zeros[-1] == 1.0) == (penalty == "l1")
        assert np.ptp(models[-1].predict_proba(X)[:, 1]) < 1e-3
        assert models[-1].loss_curve_[-1] > models[0].loss_curve_[-1]


def dropout(rate):
    return DropoutNoise(torch.full((1,), rate, dtype=torch.float64), [Streams(0, CPU)], [0], "dropout")


def mask_of(rate, x):
    (mask,) = dropout(rate).masks(x, [x.shape[1]])
    return mask.values


def test_d1_dropout_zeroes_or_scales_up_and_its_mean_is_the_inference_output():
    mask = mask_of(0.5, torch.empty(1, 1000, 100))
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    assert_allclose(mask.mean().item(), 1, atol=0.02)
    # Two hidden units: over the four masks, the mean output is the one without dropout.
    w, h = np.array([0.7, -1.3]), np.array([2.0, 0.5])
    outputs = [(w * h * np.array(kept) / 0.5).sum() for kept in product((0, 1), repeat=2)]
    assert_allclose(np.mean(outputs), (w * h).sum())
    pairs = mask.reshape(-1, 2).numpy()
    assert_allclose((pairs @ (w * h)).mean(), (w * h).sum(), atol=0.03)


def test_d1_dropout_is_off_when_predicting_and_never_on_the_output():
    layout = Layout(4, (6,), 2, None)
    state = initial_row(layout, "relu", torch.zeros(2, dtype=torch.float64), Streams(0, CPU))
    layout.view(state, "weight1").normal_(generator=torch.Generator().manual_seed(0))
    network = Network(layout, "relu", state)
    X = torch.randn(1, 50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network.forward(X), network.forward(X))
    # All hidden units dropped: what is left is the output's own bias, which no dropout touches.
    layout.view(state, "bias1")[:] = 5.0
    mostly = TrainingMode(None, dropout(0.9999), [50], None, 0)
    assert (network.forward(X, mostly) == 5.0).double().mean() > 0.9
    X, y = make_classification(100, 5, random_state=0)
    model = RegularizedMLPClassifier((8,), activation="relu", dropout=0.5, max_iter=3, random_state=0).fit(X, y)
    names = [type(layer).__name__ for layer in model.module_]
    assert names == ["Linear", "ReLU", "Dropout", "Linear"]
    assert_array_equal(model.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_d2_variance_of_a_unit_under_dropout(rate):
    mu, sigma = 1.5, 0.7
    x = mu + sigma * torch.randn(1, 2000, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dropped = x * mask_of(rate, x)
    assert_allclose(dropped.var().item(), sigma**2 / (1 - rate) + mu**2 * rate / (1 - rate), rtol=0.02)


def batch_norm_network(gamma, beta):
    """Return a network that is one batch norm: one unit, weights of one, no activation."""
    layout = Layout(1, (1,), 1, "batch")
    state = initial_row(layout, "identity", torch.zeros(1, dtype=torch.float64), Streams(0, CPU))
    for name, value in (("weight0", 1.0), ("weight1", 1.0), ("norm_scale0", gamma), ("norm_shift0", beta)):
        layout.view(state, name)[:] = value
    return layout, state, Network(layout, "identity", state)


TRAINING = TrainingMode(None, None, [], None, 0)


def test_n1_batch_norm_of_ten_to_fifty():
    X = torch.tensor([10.0, 20, 30, 40, 50], dtype=torch.float64)[None, :, None]
    for gamma, beta, expected in (
        (1.0, 0.0, [-1.41, -0.71, 0, 0.71, 1.41]),
        (2.0, 1.0, [-1.82, -0.42, 1.0, 2.42, 3.82]),
    ):
        _, _, network = batch_norm_network(gamma, beta)
        assert_allclose(network.forward(X, TRAINING).flatten(), expected, atol=0.01)


def test_n2_batch_norm_takes_the_batch_in_training_and_running_averages_in_prediction():
    layout, state, network = batch_norm_network(1.0, 0.0)
    batches = 3 + 2 * torch.randn(200, 1, 64, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for step, batch in enumerate(batches):
        out = network.forward(batch, TrainingMode(None, None, [], None, step))
        assert_allclose((out.mean().item(), out.std(correction=0).item()), (0, 1), atol=1e-4)
    assert_allclose(layout.view(state, "running_mean0").item(), 3, atol=0.2)
    assert_allclose(layout.view(state, "running_var0").item(), 4, atol=0.6)
    X = batches[0]
    assert_close(network.forward(X)[:, 3:4], network.forward(X[:, 3:4]))

    X, y = make_classification(200, 10, random_state=0)
    model = RegularizedMLPClassifier((32,), normalization="batch", max_iter=5, random_state=0).fit(X, y)
    among = model.predict_proba(X)
    for i in range(0, 200, 25):
        assert_array_equal(model.predict_proba(X[i : i + 1])[0], among[i])  # exactly


def test_n3_layer_norm_takes_one_samples_features_in_training_and_prediction():
    layout = Layout(3, (6,), 1, "layer")
    state = initial_row(layout, "tanh", torch.zeros(1, dtype=torch.float64), Streams(0, CPU))
    layout.view(state, "weight1").fill_(0.3)
    network = Network(layout, "tanh", state)
    X = torch.randn(1, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.forward(X, TRAINING), network.forward(X))
    assert_close(network.forward(X[:, 4:5]), network.forward(X)[:, 4:5])
    hidden = X[0] @ layout.view(state, "weight0")[0]
    normalized = (hidden - hidden.mean(1, keepdim=True)) / hidden.std(1, correction=0, keepdim=True)
    assert_close(network.forward(X)[0, :, 0], 0.3 * torch.tanh(normalized).sum(1), rtol=1e-4, atol=1e-4)


def test_n4_the_docs_name_the_convention_of_the_batch_norm_momentum():
    doc = " ".join(RegularizedMLPClassifier.__doc__.split())
    assert "a new batch has a share of 0.1 (torch's ``momentum``; elsewhere called a momentum of 0.9)" in doc
    module = (
        RegularizedMLPClassifier((4,), normalization="batch", max_iter=1)
        .fit([[0.0], [1], [2], [3]], [0, 0, 1, 1])
        .module_
    )
    assert module[1].momentum == 0.1


def test_e1_an_improvement_resets_the_counter_and_the_best_weights_are_a_copy():
    losses = [1.0, 0.8, 0.79, 0.85, 0.6, 0.61, 0.62, 0.63, 0.1]
    state = torch.zeros(1, 3, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    stopping = EarlyStopping(state, 3 * one, 0.05 * one)
    at_epoch = {}
    for epoch, loss in enumerate(losses, start=1):
        state += 1  # training goes on in place
        at_epoch[epoch] = state.clone()
        if stopping.update(-loss * one, state, epoch).item():
            break
    # 0.79 is less than 0.05 better than 0.8 and does not count; 0.6 does; three epochs later it is over.
    assert epoch == 8
    assert stopping.best_iter.item() == 5
    assert_close(stopping.best_state, at_epoch[5])
    assert_allclose(stopping.best_score.item(), -0.6)


def test_e1_the_restored_network_is_that_of_the_best_epoch():
    X, y = make_classification(200, 10, flip_y=0.3, random_state=0)
    setting = {"learning_rate_init": 0.02, "batch_size": "full", "random_state": 0, "hidden_layer_sizes": (64,)}
    model = RegularizedMLPClassifier(patience=5, **setting).fit(X, y)
    assert model.n_iter_ == model.best_iter_ + 5
    shorter = RegularizedMLPClassifier(max_iter=model.best_iter_, patience=1000, **setting).fit(X, y)
    assert shorter.best_iter_ == shorter.n_iter_  # ends there, so nothing is restored
    for coef, expected in zip(model.coefs_, shorter.coefs_, strict=True):
        assert_array_equal(coef, expected)


def test_t1_label_smoothing_gives_the_others_an_equal_share_of_epsilon():
    target = torch.tensor([[[1.0, 0, 0]]], dtype=torch.float64)
    epsilon = torch.full((1, 1, 1), 0.1, dtype=torch.float64)
    assert_allclose(smooth_labels(target, epsilon, 3).flatten(), [0.9, 0.05, 0.05])
    output = torch.log(torch.tensor([[[0.7, 0.2, 0.1]]], dtype=torch.float64))
    gradient = LOSSES["cross_entropy"].gradient
    assert_allclose(gradient(output, target).flatten(), [-0.3, 0.2, 0.1])
    assert_allclose(gradient(output, target, LossOptions(epsilon)).flatten(), [-0.2, 0.15, 0.05])


def test_t1_two_classes_are_smoothed_alike_by_one_output_or_two():
    target, epsilon = torch.tensor([[[1.0], [0.0]]]), torch.full((1, 1, 1), 0.1)
    assert_allclose(smooth_labels(target, epsilon, 2).flatten(), [0.9, 0.1], rtol=1e-6)
    both = smooth_labels(torch.cat([1 - target, target], dim=-1), epsilon, 2)
    assert_allclose(both[..., 1].flatten(), [0.9, 0.1], rtol=1e-6)


def test_t2_mixup_moves_inputs_and_targets_by_the_same_beta_share():
    torch.manual_seed(0)
    X, y = torch.randn(2, 6, 3, dtype=torch.float64), torch.rand(2, 6, 1, dtype=torch.float64)
    partners = torch.stack([torch.randperm(6), torch.randperm(6)])
    share = torch.tensor([0.3, 0.0], dtype=torch.float64)
    mixed = mix(Batch(X, y, None), partners, share)
    for k in range(2):
        for part, result in ((X, mixed.X), (y, mixed.y)):
            assert_close(result[k], (1 - share[k]) * part[k] + share[k] * part[k][partners[k]])
    assert torch.equal(mixed.X[1], X[1])

    draws = Mixup([0.4, 0.0], [Streams(0, CPU), Streams(0, CPU)]).draw(
        [[(0, 8)] * 4000], [Streams(1, CPU)], X.dtype, CPU
    )
    share = draws.shares[:, 0].numpy()
    assert (draws.shares[:, 1] == 0).all()
    assert share.max() <= 0.5
    # The smaller of a share and the rest; its squared distance to 1/2 knows no difference: the variance of beta(a, a).
    assert_allclose(((share - 0.5) ** 2).mean(), 1 / (4 * (2 * 0.4 + 1)), rtol=0.05)
