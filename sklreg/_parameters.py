"""One text, and one range, for every constructor parameter of the package."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc, signature
from numbers import Integral, Real
from textwrap import indent
from typing import Any, TypeVar

from sklearn.utils._param_validation import Interval, Options, StrOptions

from sklreg.engine import ACTIVATIONS

T = TypeVar("T", bound=type)

_from_zero = Interval(Real, 0, None, closed="left")
_share = Interval(Real, 0, 1, closed="left")
_positive = Interval(Real, 0, None, closed="neither")
_count = Interval(Integral, 1, None, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _count],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "residual": ["boolean"],
    "input_scaling": [StrOptions({"robust"}), None],
    "n_bins": [Interval(Integral, 2, None, closed="left"), None],
    "l1": [_from_zero],
    "l2": [_from_zero],
    "alpha": [_from_zero],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "penalty_groups": [StrOptions({"weights", "features", "neurons", "hierarchical"})],
    "feature_groups": ["array-like", dict, None],
    "hierarchy": [_from_zero],
    "penalty_warmup": [_share],
    "weight_decay": [_from_zero],
    "dropout": [_share],
    "input_dropout": [_share],
    "stochastic_depth": [_share],
    "input_noise": [_from_zero],
    "swap_noise": [_share],
    "normalization": [StrOptions({"batch", "layer"}), None],
    "max_norm": [_positive, None],
    "label_smoothing": [_share],
    "focal_gamma": [_from_zero],
    "mixup_alpha": [_from_zero],
    "cutmix_alpha": [_from_zero],
    "class_weight": [StrOptions({"balanced"}), dict, None],
    "solver": [StrOptions({"scaled_adam", "adam", "sgd"})],
    "learning_rate_init": [_positive],
    "learning_rate": [StrOptions({"constant", "cosine", "one_cycle", "flat_cosine"})],
    "momentum": [_share],
    "max_grad_norm": [_positive, None],
    "weight_averaging": [_share, StrOptions({"auto"})],
    "batch_size": [_count, StrOptions({"auto", "full"})],
    "max_iter": [_count],
    "early_stopping": ["boolean", StrOptions({"ensemble"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "patience": [_count],
    "min_delta": [_from_zero],
    "scoring": [str, callable],
    "warm_start": ["boolean"],
    "device": [str],
    "dtype": [StrOptions({"auto", "float32", "float64"})],
    "n_members": [_count],
    "bootstrap": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}

# Penalties on groups of weights need the weights of a group to be moved in one metric.
ELASTIC_NET_CONSTRAINTS: dict[str, list[Any]] = {**CONSTRAINTS, "solver": [StrOptions({"adam", "sgd"})]}
CV_CONSTRAINTS: dict[str, list[Any]] = {
    **ELASTIC_NET_CONSTRAINTS,
    "l1_ratio": [Interval(Real, 0, 1, closed="both"), "array-like"],
    "eps": [Interval(Real, 0, 1, closed="neither")],
    "alphas": [_count, "array-like"],
    "cv": ["cv_object"],
    "one_standard_error": ["boolean"],
    "early_stopping": ["boolean"],
}
NET_CONSTRAINTS: dict[str, list[Any]] = {
    **{name: [*CONSTRAINTS[name], dict] for name in ("l1", "l2", "weight_decay", "max_norm")},
    **{
        name: CONSTRAINTS[name]
        for name in (
            "label_smoothing", "mixup_alpha", "class_weight", "validation_fraction", "patience", "min_delta", "scoring",
            "random_state", "verbose",
        )
    },
    "early_stopping": ["boolean"],
    "augmentation": [callable, None],
    "train_split": [StrOptions({"auto"}), callable, None],
    "max_epochs": [_count],
    "batch_size": [_count, Options(Integral, {-1})],
    "lr": [_positive],
}  # fmt: skip


DESCRIPTIONS: dict[str, str] = {
    "hidden_layer_sizes": """
        hidden_layer_sizes : int or sequence of int, default={default}
            Number of units in each hidden layer.  ``()`` is the linear model.""",
    "activation": """
        activation : {{'relu', 'leaky_relu', 'tanh', 'logistic', 'identity', 'gelu', 'silu', 'mish', 'selu'}}, \
default={default}
            Activation of the hidden layers.  ``'selu'``, as the smooth ones, starts from weights of variance
            ``1 / n_in``, which keep its units near mean 0 and variance 1; ``dropout`` does not.""",
    "residual": """
        residual : bool, default={default}
            Whether what goes into a hidden layer is added to what comes out of it, where both are of one size: from the
            second of ``(128, 128, 128)`` on.""",
    "input_scaling": """
        input_scaling : {{'robust'}} or None, default={default}
            What is done to the inputs first, by statistics of the training samples.  ``'robust'``: take off the median,
            divide by the interquartile range, and clip smoothly, ``z / sqrt(1 + (z / 3) ** 2)``, so that no outlier is
            farther from 0 than 3.  In the precision of the training: where features lie far from 0, beside their
            spread, give float64.""",
    "n_bins": """
        n_bins : int or None, default={default}
            Number of intervals, at least 2, into which each input is cut at its quantiles; the network then also gets
            the input's position in each (piecewise-linear encoding).  ``coefs_[0]`` has a row for each input and,
            behind these, each interval.  An input of two values gets none.  Typically 8 to 48.""",
    "l1": """
        l1 : float, default={default}
            Strength of the L1 penalty on weights, in [0, inf).  It acts by its proximal operator after every step, in
            the optimizer's metric, so that weights become exactly zero.  On the scale of the mean loss: it depends
            neither on the number of samples nor on ``batch_size``.""",
    "l2": """
        l2 : float, default={default}
            Strength of the L2 penalty ``0.5 * l2 * sum(W ** 2)`` on weights, in [0, inf).  A term of the objective, on
            the scale of the mean loss; its gradient goes through the optimizer, as torch's ``weight_decay`` does
            outside AdamW.  Typically 1e-5 to 1e-3.""",
    "alpha": """
        alpha : float, default={default}
            Strength of the elastic net penalty, in [0, inf), on the scale of the mean loss as in
            :class:`~sklearn.linear_model.ElasticNet`: ``l1 = alpha * l1_ratio``, ``l2 = alpha * (1 - l1_ratio)``.""",
    "l1_ratio": """
        l1_ratio : float, default={default}
            Share of the L1 penalty in the elastic net, in [0, 1].  1 is the lasso; 0 the ridge, which sets no weight to
            zero; between them correlated features stay together.""",
    "penalty_groups": """
        penalty_groups : {{'weights', 'features', 'neurons', 'hierarchical'}}, default={default}
            Which weights the L1 part penalises together, by the norm of the group, so that they become zero together.
            ``'weights'``: each by itself.  ``'features'``: all weights of an input into the first layer; an input
            leaves whole.  ``'neurons'``: all weights into a hidden unit; units leave whole.  ``'hierarchical'``:
            the network gets a linear connection from inputs to outputs; its weights are penalised for each input, and
            bound those into the first layer, as in LassoNet.  Weights in no group are penalised each by itself, and
            the L2 part acts on all weights.""",
    "feature_groups": """
        feature_groups : array-like, dict or None, default={default}
            Columns that stay or leave together under ``'features'`` and ``'hierarchical'``, such as those which one-hot
            encoding makes of one feature.  A label for each column; or the names of the original features, in the
            columns' names (``'color'`` for ``'onehot__color_red'``); or the groups, as lists of columns (names or
            indices) or a dict of such lists.  A group of ``n`` columns is penalised ``sqrt(n)`` times.  ``None``: each
            column by itself.""",
    "hierarchy": """
        hierarchy : float, default={default}
            With ``'hierarchical'``, what a weight into the first layer may be at most, as a multiple of the norm of its
            input's weights in the linear connection, in [0, inf); LassoNet's ``M``.  0 leaves the linear model.  In
            regression, the linear connection counts in units of the target's standard deviation.""",
    "penalty_warmup": """
        penalty_warmup : float, default={default}
            Share of the steps over which the L1 part (of weights or groups) grows from 0 to its strength, in [0, 1).
            What training has found useful before the penalty is at its full strength is more likely to stay; the
            objective is the same.  Early stopping counts the epochs from then on.  Not in ``partial_fit``, nor in a
            warm start from weights of which the penalty has deleted some: they stay.""",
    "weight_decay": """
        weight_decay : float, default={default}
            Decoupled weight decay, in [0, inf): every step multiplies the weights by
            ``1 - learning_rate * weight_decay`` (with ``solver='adam'`` this is AdamW).  Not a term of the objective.
            Typically 1e-3 to 1.""",
    "dropout": """
        dropout : float, default={default}
            Probability that a hidden unit's output is set to zero in training, in [0, 1); the others are scaled up, and
            nothing is dropped when predicting.  Typically 0.2 to 0.5.  With batch normalization it can hurt.""",
    "input_dropout": """
        input_dropout : float, default={default}
            The same for the inputs, in [0, 1).  Typically 0.1 to 0.2.""",
    "stochastic_depth": """
        stochastic_depth : float, default={default}
            Probability that a hidden layer with a residual connection is left out for a sample in training, in [0, 1).
            Typically 0.1 to 0.3.  Needs ``residual``.""",
    "input_noise": """
        input_noise : float, default={default}
            Standard deviation of the Gaussian noise that is added to every input in training, in [0, inf), in units of
            ``X`` as it is given, before any ``input_scaling``: scale the features first.  Typically 0.05 to 0.3.""",
    "swap_noise": """
        swap_noise : float, default={default}
            Probability that an input is swapped, in training, for the same feature of another sample of the batch, in
            [0, 1).  Typically 0.05 to 0.2.""",
    "normalization": """
        normalization : {{'batch', 'layer'}} or None, default={default}
            Normalization between each hidden layer's weights and its activation.  ``'batch'`` uses the statistics of
            the batch in training (weighted by sample and class weights) and running averages when predicting, of which
            a new batch has a share of 0.1 (torch's ``momentum``; elsewhere called a momentum of 0.9).  ``'layer'`` uses
            each sample's own statistics.""",
    "max_norm": """
        max_norm : float or None, default={default}
            Greatest Euclidean norm of the weights that come into a hidden unit, in (0, inf); after every step longer
            ones are scaled back.  Typically 2 to 4.""",
    "label_smoothing": """
        label_smoothing : float, default={default}
            Share of the true class that training spreads evenly over the other classes, in [0, 1 - 1 / n_classes).
            (torch spreads it over all classes, the true one included.)  For several labels at once, each label is
            smoothed on its own.  Validation losses use the labels as they are.  Typically 0.1.""",
    "focal_gamma": """
        focal_gamma : float, default={default}
            Focus of the loss on samples that are predicted badly, in [0, inf): the loss of each class is multiplied by
            ``(1 - p) ** focal_gamma``, with ``p`` the probability that the network gives it.  Validation losses are
            without it.  Probabilities are drawn towards one half.  Typically 0.5 to 3.""",
    "mixup_alpha": """
        mixup_alpha : float, default={default}
            Parameter of the symmetric beta distribution from which mixup draws how much of another sample is mixed into
            each sample of a batch, in [0, inf).  0 mixes nothing.  Typically 0.1 to 0.4.""",
    "cutmix_alpha": """
        cutmix_alpha : float, default={default}
            The same for cutmix: which share of a sample's features is taken from another sample, and with it the same
            share of its label, in [0, inf).  0 mixes nothing.  Typically 0.1 to 0.4.""",
    "class_weight": """
        class_weight : dict, 'balanced' or None, default={default}
            Weights of the classes in the loss, ``{{label: weight}}``; ``'balanced'`` gives every class the same total
            weight.  Multiplies ``sample_weight``.  Not for several labels at once.""",
    "solver": """
        solver : {{'scaled_adam', 'adam', 'sgd'}}, default={default}
            Optimizer.  ``'scaled_adam'`` is Adam with a gain for each input, trained along and multiplied into
            ``coefs_[0]``, and with steps by the width of a layer: inputs that say nothing fade quickly.  What is
            minimized stays the same.  Of a linear model it is ``'adam'``.  ``'sgd'`` has ``momentum``.""",
    "learning_rate_init": """
        learning_rate_init : float, default={default}
            Initial step size, in (0, inf).  With ``solver='scaled_adam'`` that of weights in a layer with 100 inputs;
            with ``n`` inputs it is ``sqrt(100 / n)`` times that; biases take 5 times ``learning_rate_init`` in every
            layer, normalization parameters once; what is above 1 sets in over some ten steps.  Of a linear model none
            of this holds.""",
    "learning_rate": """
        learning_rate : {{'constant', 'cosine', 'one_cycle', 'flat_cosine'}}, default={default}
            Schedule of the step size over ``max_iter`` epochs.  ``'cosine'`` lets it fall to zero, which the last
            digits of a convex problem need.  ``'flat_cosine'`` does so in the second half only.  ``'one_cycle'`` lets
            it rise from a twenty-fifth over the first 30 % of the steps, and then fall.  Where early stopping ends
            training long before ``max_iter``, little of the fall is seen.""",
    "momentum": """
        momentum : float, default={default}
            Momentum of ``solver='sgd'``, in [0, 1).""",
    "max_grad_norm": """
        max_grad_norm : float or None, default={default}
            Greatest Euclidean norm of the loss's gradient, in (0, inf); longer ones are scaled back.  In
            regression, of the loss in units of the target's variance.  The gradient of
            the L2 penalty is added afterwards.""",
    "weight_averaging": """
        weight_averaging : float or 'auto', default={default}
            Decay of an exponential moving average of the weights, taken after every step, in [0, 1).  Early stopping
            watches the average, and ``module_`` is the average; training goes on with the weights themselves.  A
            weight that is exactly zero at the end of an epoch is zero in the average, too.  0 averages nothing;
            ``'auto'`` is 0.99 under early stopping, else 0.  Typically 0.98 to 0.999: the average looks back over about
            ``1 / (1 - weight_averaging)`` steps.""",
    "batch_size": """
        batch_size : int, 'auto' or 'full', default={default}
            Greatest number of samples in a step, at least 1.  An epoch is cut into the fewest batches, as equal as can
            be, and leaves no sample out.  ``'auto'`` is ``min(256, n_samples)``, ``'full'`` all samples.""",
    "max_iter": """
        max_iter : int, default={default}
            Greatest number of epochs, at least 1.""",
    "early_stopping": """
        early_stopping : bool or 'ensemble', default={default}
            Whether to hold out a validation set (or use ``X_val``), stop once it has not improved for ``patience``
            epochs, and restore the weights of the best epoch.  If False, all ``max_iter`` epochs are trained on all
            samples.  Of ``n_members`` networks each does so on its own; with ``'ensemble'`` they share one validation
            set, their mean prediction is watched, and all keep the weights of the same epoch.""",
    "validation_fraction": """
        validation_fraction : float, default={default}
            Share of the samples that early stopping holds out, in (0, 1); stratified by class.  Copies of a sample (up
            to eight) stay on one side.  Not used where ``X_val`` is given.""",
    "patience": """
        patience : int, default={default}
            Number of epochs in a row without an improvement after which early stopping stops, at least 1.  Typically 5
            to 30.""",
    "min_delta": """
        min_delta : float, default={default}
            An epoch is an improvement if it is better than the best by more than this, in [0, inf).""",
    "scoring": """
        scoring : str or callable, default={default}
            What early stopping watches on the validation set: ``'loss'``, the name of a scikit-learn scorer
            (``'average_precision'`` where one class is rare) or a callable ``scorer(estimator, X, y)``,
            which may predict with ``estimator`` on ``X`` as it is.  Sample weights are passed to scorers that take
            them.""",
    "warm_start": """
        warm_start : bool, default={default}
            Whether ``fit`` continues from the weights of the last fit.  The optimizer and its schedule start anew.""",
    "device": """
        device : str, default={default}
            Where to compute: ``'auto'`` (CUDA if there is one), ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.  Resolved in
            ``fit``; what is fitted is kept on the CPU.""",
    "dtype": """
        dtype : {{'auto', 'float32', 'float64'}}, default={default}
            Precision of the computation.  ``'auto'`` is that of ``X`` on the CPU and float32 on CUDA.""",
    "n_members": """
        n_members : int, default={default}
            Number of networks that are trained together, at least 1, each from initial weights, an order of the samples
            and a validation set (but see ``early_stopping``) of its own; the mean of their probabilities, or of their
            values, is predicted.  Two to ten usually predict better, and with more honest probabilities, than one.  See
            ``estimators_``.""",
    "bootstrap": """
        bootstrap : bool, default={default}
            Whether each network learns from a bootstrap sample: of the samples it does not hold out as many, drawn with
            replacement; of each class as many as it has (of several labels, and of values, from all).  Weights go along
            with their samples; one of weight two is no longer two samples, of which either may be drawn.""",
    "random_state": """
        random_state : int, RandomState instance or None, default={default}
            Seed of initialization, order, validation split, dropout, noise and mixup.  Fits with the same int share all
            draws.  No global generator is read or changed; None takes fresh entropy from the system.""",
    "verbose": """
        verbose : bool or int, default={default}
            Whether to print a line every epoch.""",
}

_PLAIN_SOLVER = """
        solver : {{'adam', 'sgd'}}, default={default}
            Optimizer.  ``'sgd'`` has ``momentum``."""
_PLAIN_STEP = """
        learning_rate_init : float, default={default}
            Initial step size, in (0, inf)."""
ELASTIC_NET_DESCRIPTIONS: dict[str, str] = {"solver": _PLAIN_SOLVER, "learning_rate_init": _PLAIN_STEP}

CV_DESCRIPTIONS: dict[str, str] = {
    **ELASTIC_NET_DESCRIPTIONS,
    "l1_ratio": """
        l1_ratio : float or list of float, default={default}
            Share of the L1 penalty in the elastic net, in [0, 1]; of several, the best is chosen.""",
    "eps": """
        eps : float, default={default}
            Length of the path: the smallest alpha as a share of the greatest, in (0, 1).""",
    "alphas": """
        alphas : int or array-like, default={default}
            Number of alphas to try, evenly spaced on a logarithmic scale from the one at which all weights are zero
            (for networks a bound, see :func:`elastic_net_mlp_path`); or the alphas themselves, in any order.""",
    "cv": """
        cv : int, cross-validation generator or iterable, default={default}
            The folds: their number, a scikit-learn splitter, or pairs of index arrays.  ``None`` is 5 folds, stratified
            for a classifier.  For a splitter that needs groups, pass ``list(splitter.split(X, y, groups))``.""",
    "one_standard_error": """
        one_standard_error : bool, default={default}
            Whether to choose, of the alphas whose mean score is within one standard error of the best, the greatest:
            the sparsest network that is not clearly worse (Breiman et al., 1984).  If False, the best is chosen.""",
    "early_stopping": """
        early_stopping : bool, default={default}
            Whether every fit holds out a validation set, stops early by it and restores the weights of its best epoch.
            If False, ``alpha`` alone is to regularize, and all ``max_iter`` epochs are trained on all samples.""",
    "scoring": """
        scoring : str or callable, default={default}
            What judges the folds: ``'loss'``, the name of a scikit-learn scorer or a callable ``scorer(estimator, X,
            y)``.  Early stopping, where there is any, watches it too.""",
    "verbose": """
        verbose : bool or int, default={default}
            Whether to print how many fits there were and how long they took.""",
}
_BY_PATTERN = """  One number for all weights, or one for each pattern of names
            (``{{'conv*.weight': 1e-4}}``, matched as by :mod:`fnmatch`): of those that match a name, the first counts,
            and a weight that none matches has 0."""

NET_DESCRIPTIONS: dict[str, str] = {
    "module": """
        module : class or instance of torch.nn.Module
            The network.  If its constructor requires ``n_features`` or ``n_outputs`` and no ``module__n_features`` or
            ``module__n_outputs`` is given, they are what the data says: the length of the second axis of ``X``, and the
            number of classes or targets.  Lazy layers see samples before training.  An instance is copied: every fit
            begins at its weights.""",
    "criterion": """
        criterion : class of torch.nn.Module or None, default={default}
            The loss.  ``None`` is that of the MLP estimators.""",
    "optimizer": """
        optimizer : class of torch.optim.Optimizer, default={default}
            The optimizer.  ``l1`` needs :class:`torch.optim.Adam`, :class:`torch.optim.AdamW` or
            :class:`torch.optim.SGD`.  AdamW's own ``weight_decay`` is 0 unless ``optimizer__weight_decay`` is set.""",
    "lr": """
        lr : float, default={default}
            Step size, in (0, inf).""",
    "max_epochs": """
        max_epochs : int, default={default}
            Greatest number of epochs, at least 1.""",
    "batch_size": """
        batch_size : int, default={default}
            Greatest number of samples in a step, at least 1; -1 is all.  An epoch is cut into the fewest batches, as
            equal as can be, and leaves no sample out.""",
    "l1": DESCRIPTIONS["l1"] + _BY_PATTERN,
    "l2": DESCRIPTIONS["l2"] + _BY_PATTERN,
    "weight_decay": """
        weight_decay : float or dict, default={default}
            Decoupled weight decay, in [0, inf): every step multiplies the weights by ``1 - lr * weight_decay``,
            whatever the optimizer (Adam with it is AdamW).  Not a term of the objective.  Typically 1e-3 to 1e-1."""
    + _BY_PATTERN,
    "max_norm": """
        max_norm : float, dict or None, default={default}
            Greatest Euclidean norm of the weights that come into a unit or a channel, in (0, inf); after every step
            longer ones are scaled back.  A number is for hidden layers: for all weights but those that the module
            registers last.  A dict gives one for each pattern of names, and leaves what none matches.  Typically 2 to
            4.""",
    "augmentation": """
        augmentation : callable or None, default={default}
            Takes the inputs of every training batch, on the device and in the module's dtype, and returns what to train
            on, as many samples: random crops and flips, say.  What it draws from torch's global generator comes from
            ``random_state``.  Never called when validating or predicting.""",
    "early_stopping": """
        early_stopping : bool, default={default}
            Whether to hold out a validation set, stop once it has not improved for ``patience`` epochs, and restore the
            weights of the best epoch.  If False, all ``max_epochs`` epochs are trained on all samples.""",
    "train_split": """
        train_split : 'auto', callable or None, default={default}
            Where the validation set comes from.  ``'auto'``: under ``early_stopping``, ``validation_fraction`` of the
            samples is held out, stratified by class; else there is none.  A callable is called as by skorch, which has
            ``ValidSplit`` and ``predefined_split``.  ``None``: there is none.""",
    "callbacks": """
        callbacks : list or None, default={default}
            More of skorch's callbacks.  They meet labels as ``y`` has them.""",
    "device": """
        device : str, default={default}
            Where to compute, such as ``'cpu'`` or ``'cuda'``.""",
    "warm_start": """
        warm_start : bool, default={default}
            Whether ``fit`` continues from the weights and the optimizer of the last fit.""",
    "random_state": """
        random_state : int, RandomState instance or None, default={default}
            Seed of the module's initial weights, order, validation split, dropout, augmentation and mixup.  torch's
            global generator is as it was after every step.  None takes fresh entropy from the system.""",
    "verbose": """
        verbose : int, default={default}
            Whether skorch prints a line every epoch.""",
    "kwargs": """
        **kwargs : dict
            Other parameters of skorch's ``NeuralNet``, such as ``iterator_train__num_workers``; what begins with
            ``module__``, ``optimizer__``, ``criterion__`` or ``callbacks__`` goes to these.""",
}

NET_ATTRIBUTES = """
n_features_in_ : int
    Length of the second axis of ``X``, where it is one table.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features, where ``X`` had any.
module_ : torch.nn.Module
    The trained module.
history_ : skorch.history.History
    What each epoch has recorded: ``train_loss`` without penalties, ``valid_loss``, ``valid_score`` unless ``scoring``
    is ``'loss'``, and what callbacks add.
n_iter_ : int
    Number of epochs trained.
best_iter_ : int
    The epoch whose weights were kept, counted from 1; 0 if training diverged before any was finite.
n_nonzero_ : int
    Number of weights that are not exactly zero.
sparsity_ : float
    Share of the weights that are exactly zero."""


FIT_ATTRIBUTES = """
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features, where ``X`` had any.
module_ : torch.nn.Module
    The trained network (of several, all and their mean) as a plain torch module on the CPU, in evaluation mode:
    linear outputs before softmax or logistic for classifiers, predictions for regressors.
coefs_ : list of ndarray of shape (n_in, n_out)
    Weight matrix of each layer.
intercepts_ : list of ndarray of shape (n_out,)
    Bias of each layer.
n_iter_ : int
    Number of epochs trained.
best_iter_ : int
    The epoch whose weights were kept, counted from 1; 0 if training diverged before any was finite.
history_ : list of dict
    For every epoch ``epoch``, the mean training ``loss`` without penalties and, under early stopping,
    ``validation_loss`` and ``validation_score``.
loss_curve_ : list of float
    The training losses of ``history_``.
validation_scores_ : list of float or None
    The validation scores of ``history_``, greater being better (``scoring='loss'`` is the negative loss).
best_validation_score_ : float or None
    The score of ``best_iter_``.
n_nonzero_ : int
    Number of weights that are not exactly zero.
sparsity_ : float
    Share of the weights that are exactly zero."""

MEMBERS_ATTRIBUTE = """
estimators_ : list
    Where ``n_members`` is above 1, a fitted estimator of each network: ``coefs_``, ``intercepts_``, ``history_``,
    ``best_iter_`` and what else is told of a single network are theirs alone.  With ``early_stopping='ensemble'`` they
    have ``best_iter_`` and ``validation_scores_`` in common, which are those of their mean prediction."""

CLASS_ATTRIBUTE = """
classes_ : ndarray of shape (n_classes,)
    Class labels."""

IMPORTANCE_ATTRIBUTE = """
feature_importances_ : ndarray of shape (`n_features_in_`,)
    Euclidean norm of each feature's weights into the first layer, and into the outputs where there is a linear
    connection, mean of all networks; exactly 0 for a feature that no output depends on.
skip_coef_ : ndarray of shape (n_features, n_out) or None
    Weights of the linear connection of ``penalty_groups='hierarchical'``."""


CV_ATTRIBUTES = """
alpha_ : float
    The chosen strength of the penalty.
l1_ratio_ : float
    The chosen share of the L1 penalty.
alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
    The strengths that were tried, decreasing, for each ``l1_ratio``.
scores_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratio, n_alphas, n_folds)
    Score of each fold, greater being better (``scoring='loss'`` is the negative mean loss).
feature_importances_path_ : ndarray of shape (n_features, n_alphas)
    Importances along the path of ``l1_ratio_`` in the fits to all samples.
entry_alphas_ : ndarray of shape (n_features,)
    Greatest alpha at which each feature is not dropped; 0 for one that always is.
entry_scores_ : ndarray of shape (n_features,)
    The order in which features enter, as ``select`` has it: the greatest number is that of the first, 0 that of one
    that is always dropped.  Unlike ``entry_alphas_`` it tells those apart that enter at the same alpha."""

ERROR_ATTRIBUTE = """
mse_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratio, n_alphas, n_folds)
    Mean squared error of each fold."""


def default_text(default: Any) -> str:
    """Return a default as documentation names it."""
    return f"{default.__module__.rpartition('.')[0]}.{default.__name__}" if isinstance(default, type) else repr(default)


def document(*, attributes: str, descriptions: dict[str, str] | None = None) -> Callable[[T], T]:
    """Fill in ``{parameters}``, in the order of the constructor, and ``{attributes}`` of a class docstring.

    ``descriptions`` take the place of those that all estimators share.
    """
    texts = {**DESCRIPTIONS, **(descriptions or {})}

    def decorate(cls: T) -> T:
        if cls.__doc__ is not None:  # python -OO
            parameters = "\n".join(
                cleandoc(texts[name]).format(default=default_text(parameter.default))
                for name, parameter in signature(cls).parameters.items()
            )
            doc = cleandoc(cls.__doc__)
            doc = doc.replace("{parameters}", parameters).replace("{attributes}", attributes.strip())
            cls.__doc__ = "\n" + indent(doc, "    ") + "\n    "
        return cls

    return decorate
