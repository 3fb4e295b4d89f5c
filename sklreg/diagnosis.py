"""``diagnose``: whether a fit overfits or underfits, and what to do next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklreg._base import BaseRegularizedMLP
from sklreg._given import kind_of
from sklreg._regularizers import TECHNIQUES
from sklreg._table import Table
from sklreg._techniques import has_hidden_layers, has_use_for, techniques_on

Array = NDArray[Any]
_NOISY = [name for name, technique in TECHNIQUES.items() if technique.changes_loss]
_TRIED = ("weight_decay", "dropout", "early_stopping", "mixup_alpha")  # one for each kind, in this order
_WEIGHT_PENALTIES = ("weight_decay", "alpha", "l2", "l1")  # any of them does for the first
_STILL_FALLING = 0.01  # of the baseline, over the last tenth of the epochs
_STILL_FALLING_FROM_HIGH = 0.001  # the same where the loss is high, of which a slow start is a reason


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` has found; ``print`` it to read it.

    Parameters
    ----------
    verdict : {'overfitting', 'underfitting', 'unfinished', 'good fit', 'small gap', 'diverged', 'unknown'}
        What the losses say.
    reason : str
        Why, with the numbers.
    advice : tuple of str
        What to do next, in the order in which to try it.
    train_loss : float or None
        Loss on the training samples.
    validation_loss : float or None
        Loss on the validation samples.
    baseline_loss : float or None
        Loss on the training samples of the best constant prediction, which uses no feature; or its upper bound.
    is_baseline_exact : bool
        Whether it is that loss, and no bound.
    gap : float or None
        ``(validation_loss - train_loss) / baseline_loss``.
    epoch : int
        The epoch whose weights were kept.

    See Also
    --------
    diagnose : Diagnose a fitted estimator.

    Examples
    --------
    >>> from sklreg import Diagnosis
    >>> print(Diagnosis("good fit", "The losses are low and close.", (), 0.10, 0.11, 0.69, True, 0.01, 5))
    good fit: The losses are low and close.
      training loss 0.1, validation loss 0.11, without features 0.69 (epoch 5)
    """

    verdict: str
    reason: str
    advice: tuple[str, ...]
    train_loss: float | None
    validation_loss: float | None
    baseline_loss: float | None
    is_baseline_exact: bool
    gap: float | None
    epoch: int

    def __str__(self) -> str:
        bound = "" if self.is_baseline_exact else "at most "
        numbers = [
            f"{name} {prefix}{value:.4g}"
            for name, prefix, value in (
                ("training loss", "", self.train_loss),
                ("validation loss", "", self.validation_loss),
                ("without features", bound, self.baseline_loss),
            )
            if value is not None
        ]
        lines = [f"{self.verdict}: {self.reason}", f"  {', '.join(numbers)} (epoch {self.epoch})"]
        lines += [f"  {i}. {text}" for i, text in enumerate(self.advice, start=1)]
        return "\n".join(lines)


def diagnose(
    estimator: Any,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    X_val: ArrayLike | None = None,
    y_val: ArrayLike | None = None,
    max_gap: float = 0.1,
    max_loss: float = 0.8,
) -> Diagnosis:
    """Say whether a fitted network overfits or underfits, and what to do next.

    A validation loss far above the training loss asks for more regularization; two losses that are both high ask for
    less.  Losses are compared with that of the best constant prediction, which uses no feature.

    Parameters
    ----------
    estimator : estimator instance
        A fitted estimator of this package, or a ``Pipeline`` that ends in one.  Of a search, pass ``best_estimator_``.
    X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        The training inputs, as ``fit`` got them.  With them the training loss is that of the network as it predicts;
        without, it is that of ``history_``, which is too high where there is noise in training.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The training labels or targets.
    X_val : {array-like, sparse matrix} of shape (n_validation, n_features), default=None
        Validation inputs, which no training has seen.  ``None`` takes the validation loss of ``history_``, where early
        stopping has left one.
    y_val : array-like of shape (n_validation,) or (n_validation, n_outputs), default=None
        Validation labels or targets.
    max_gap : float, default=0.1
        The greatest gap between the losses that is no overfitting, as a share of the loss without features, above 0.
    max_loss : float, default=0.8
        The least training loss that is underfitting, as a share of the loss without features, in (0, 1].

    Returns
    -------
    diagnosis : Diagnosis
        The verdict, the reason for it with the numbers, and what to do next; ``print`` it.

    Raises
    ------
    TypeError
        If ``estimator`` is not one of this package's.
    ValueError
        If one of ``X`` and ``y``, or of ``X_val`` and ``y_val``, is given without the other, ``X_val`` without ``X``,
        if a threshold is out of range, or if the estimator has several networks (``n_members``).

    See Also
    --------
    Diagnosis : What is returned.
    RegularizationAblation : What each regularizer contributes.
    TrainingCurveDisplay : Draw the losses.

    Notes
    -----
    The verdicts, the first that holds:

    * *diverged*: training ended because the loss or the weights were no longer finite;
    * *unknown*: there is no validation loss, or the losses that there are do not say enough;
    * *overfitting*: the gap is above ``max_gap`` of the loss without features;
    * *unfinished*: ``max_iter`` ended the training, in whose last tenth the loss fell by more than 1 % of that without
      features, or by 0.1 % where it is as high as in underfitting;
    * *underfitting*: the training loss is at least ``max_loss`` of that without features.  A network cannot tell this
      from features that say little about the target;
    * *good fit*: none of these;
    * *small gap*: none of these, and for want of ``y`` it is not known what the losses compare with.

    The training loss of ``history_`` is a mean over an epoch, with dropout, mixup and smoothed labels.  It is usually
    above that of the network as it predicts, and the gap larger than it seems: this can show overfitting, and not its
    absence.  For a classifier, ``history_`` does not say how rare the classes are; without ``y`` the greatest loss that
    the best constant prediction could have stands in.  Pass ``X`` and ``y`` to know both.  Samples that early stopping
    held out of ``X`` count as training samples then, which makes the gap smaller by their share.

    Losses are the mean cross-entropy or half the mean squared error, weighted by ``class_weight`` and not by
    ``sample_weight``.  The two thresholds are rules of thumb.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklreg import RegularizedMLPClassifier, diagnose
    >>> X, y = make_classification(120, 20, flip_y=0.3, random_state=0)
    >>> model = RegularizedMLPClassifier(early_stopping=False, weight_decay=0.0, random_state=0).fit(X[:60], y[:60])
    >>> diagnosis = diagnose(model, X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    >>> diagnosis.verdict
    'overfitting'
    >>> print(diagnosis.advice[0])
    Set weight_decay between 0.001 and 0.1; it is 0.0.
    """
    _check_arguments(X, y, X_val, y_val, max_gap, max_loss)
    model, steps = _model_of(estimator)
    history, epoch = model.history_, model.best_iter_
    if model._diverged:
        return Diagnosis(
            "diverged",
            f"in epoch {len(history)} the loss or the weights were no longer finite.",
            _against_divergence(model),
            None, None, None, False, None, epoch,
        )  # fmt: skip
    train_loss, validation_loss = history[epoch - 1]["loss"], history[epoch - 1].get("validation_loss")
    noisy = [name for name in _NOISY if getattr(model, name, 0.0)]
    baseline, is_exact = _baseline_of_history(model), not is_classifier(model)
    if X is not None:
        table = _table(model, steps, X, y)
        train_loss, baseline = table.mean_loss(model._outputs(table.X), model._loss()), _constant_loss(model, table)
        noisy, is_exact = [], True
    if X_val is not None:
        table_val = _table(model, steps, X_val, y_val)
        validation_loss = table_val.mean_loss(model._outputs(table_val.X), model._loss())
    gap = None if validation_loss is None else (validation_loss - train_loss) / baseline
    verdict, reason, advice = _judge(
        model, train_loss, validation_loss, baseline, is_exact, noisy, is_measured=X is not None,
        max_gap=max_gap, max_loss=max_loss,
    )  # fmt: skip
    return Diagnosis(verdict, reason, advice, train_loss, validation_loss, baseline, is_exact, gap, epoch)


# What was given -------------------------------------------------------------------------------------------------------


def _check_arguments(X: Any, y: Any, X_val: Any, y_val: Any, max_gap: float, max_loss: float) -> None:
    for first, second, names in ((X, y, ("X", "y")), (X_val, y_val, ("X_val", "y_val"))):
        if (first is None) != (second is None):
            given, missing = names if second is None else names[::-1]
            raise ValueError(f"diagnose got {given} without {missing}. Pass both.")
    if X_val is not None and X is None:
        raise ValueError(
            "diagnose got X_val and y_val without X and y: the loss on one must be compared with that on the other. "
            "Pass the training samples too."
        )
    if not max_gap > 0:
        raise ValueError(f"max_gap of diagnose must be above 0; got {max_gap!r}.")
    if not 0 < max_loss <= 1:
        raise ValueError(f"max_loss of diagnose must be in (0, 1]; got {max_loss!r}.")


def _model_of(estimator: Any) -> tuple[BaseRegularizedMLP, Pipeline | None]:
    """Return the fitted network, and the steps before it."""
    model, steps = estimator, None
    if isinstance(estimator, Pipeline):
        model, steps = estimator.steps[-1][1], estimator[:-1] if len(estimator) > 1 else None
    if not isinstance(model, BaseRegularizedMLP):
        raise TypeError(
            "diagnose needs a fitted estimator of sklreg, or a Pipeline that ends in one; got "
            f"{kind_of(model)}. Of a search, pass best_estimator_."
        )
    check_is_fitted(model)
    if len(model._members()) > 1:
        raise ValueError(
            f"diagnose needs a single network; this {type(model).__name__} has {len(model._members())}, each with "
            "losses of its own. Pass one of its estimators_ (after the steps of a Pipeline), or fit with n_members=1."
        )
    return model, steps


def _table(model: BaseRegularizedMLP, steps: Pipeline | None, X: Any, y: Any) -> Table:
    return model._check_table(X if steps is None else steps.transform(X), y, None, reset=False)


# Losses ---------------------------------------------------------------------------------------------------------------


def _constant_loss(model: BaseRegularizedMLP, table: Table) -> float:
    """Return the loss of the best prediction that uses no feature."""
    units, initial_output = model._units(table)
    constant = initial_output.double() * units.scale + units.offset
    return max(table.mean_loss(constant.numpy()[None], model._loss()), float(np.finfo(float).tiny))


def _baseline_of_history(model: BaseRegularizedMLP) -> float:
    """Return the loss of the best constant prediction: for a regressor as in training, for a classifier at most."""
    loss = model._loss()
    if loss == "squared_error":
        return float(0.5 * model._output_units.scale.square().sum())
    return model._n_outputs * math.log(2) if loss == "binary_cross_entropy" else math.log(model._n_outputs)


# The verdict ----------------------------------------------------------------------------------------------------------


def _judge(
    model: BaseRegularizedMLP,
    train_loss: float,
    validation_loss: float | None,
    baseline: float,
    is_exact: bool,
    noisy: list[str],
    *,
    is_measured: bool,
    max_gap: float,
    max_loss: float,
) -> tuple[str, str, tuple[str, ...]]:
    """Return verdict, reason and advice."""
    if validation_loss is None:
        return (
            "unknown",
            "there is no validation loss to compare the training loss with.",
            ("Set early_stopping=True, or pass X, y, X_val and y_val to diagnose.",),
        )
    gap, relative = (validation_loss - train_loss) / baseline, train_loss / baseline
    without = "the loss without features" if is_exact else "the greatest loss that it could be without features"
    if gap > max_gap:
        at_least = "" if is_measured else "at least "
        reason = f"the gap between the losses is {at_least}{gap:.1%} of {without}, above {max_gap:.0%}."
        return "overfitting", reason, _against_overfitting(model)
    fall = _last_fall(model) / baseline
    is_high = relative >= max_loss
    if fall > (_STILL_FALLING_FROM_HIGH if is_high else _STILL_FALLING):
        reason = (
            f"in the last tenth of max_iter={model.max_iter} epochs the loss still fell by {fall:.1%} of {without}."
        )
        return "unfinished", reason, ("Raise max_iter.", "Raise learning_rate_init, or set learning_rate='cosine'.")
    if is_high and (is_measured or not noisy):
        reason = f"the training loss is {relative:.0%} of {without}, and not below {max_loss:.0%}."
        return "underfitting", reason, _against_underfitting(model)
    if noisy:
        reason = (
            f"the training loss of history_ is that with {', '.join(noisy)}, which the validation loss is without; "
            "they cannot be compared."
        )
        return "unknown", reason, ("Pass X and y, the training samples, to diagnose.",)
    if not is_exact:
        reason = f"the gap is {gap:.1%} of {without}. Whether the losses are low cannot be told without y."
        return "small gap", reason, ("Pass X and y, the training samples, to diagnose.",)
    reason = f"the training loss is {relative:.0%} of {without}, and the gap {gap:.1%} of it."
    return "good fit", reason, ("Search around these strengths for what is left to gain.",)


def _last_fall(model: BaseRegularizedMLP) -> float:
    """Return by how much the loss fell over the last tenth of the epochs, if the last allowed one was the best."""
    history = model.history_
    if not len(history) == model.best_iter_ == model.max_iter:
        return 0.0
    key = "validation_loss" if "validation_loss" in history[-1] else "loss"
    n_last = max(1, len(history) // 10)
    if len(history) <= n_last:
        return 0.0
    return history[-1 - n_last].get(key, math.nan) - history[-1][key]


def _is_strength(name: str) -> bool:
    """Return whether more of a technique holds a network down more; an average looks back farther instead."""
    return TECHNIQUES[name].least is not None and name != "weight_averaging"


def _against_overfitting(model: BaseRegularizedMLP) -> tuple[str, ...]:
    parameters, on = model.get_params(deep=False), techniques_on(model)
    advice = []
    for name in _TRIED:
        technique = TECHNIQUES[name]
        is_covered = name in on or (name in _WEIGHT_PENALTIES and bool(set(on) & set(_WEIGHT_PENALTIES)))
        if is_covered or not has_use_for(model, name):
            continue
        if technique.least is None:
            advice.append(f"Set {name}=True, or a smaller max_iter.")
            continue
        text = f"Set {name} between {technique.least:g} and {technique.greatest:g}; it is {parameters[name]!r}."
        if name == "dropout" and model.normalization == "batch":
            text += " With normalization='batch' it can hurt: compare."
        advice.append(text)
    strengths = [f"{name}={parameters[name]!r}" for name in on if _is_strength(name) and name != "max_norm"]
    if strengths:
        advice.append(f"Raise the strengths: {', '.join(strengths)}.")
    advice.append("Train on more samples.")
    if has_hidden_layers(model):
        advice.append(f"Make the network smaller; it has hidden_layer_sizes={model.hidden_layer_sizes!r}.")
    return tuple(advice)


def _against_underfitting(model: BaseRegularizedMLP) -> tuple[str, ...]:
    parameters, on = model.get_params(deep=False), techniques_on(model)
    strengths = [f"{name}={parameters[name]!r}" for name in on if _is_strength(name)]
    advice = [f"Lower the strengths: {', '.join(strengths)}."] if strengths else []
    if "dropout" in on and model.normalization == "batch":
        advice.append("Do without dropout or without normalization='batch': together they can hurt.")
    advice += [
        "Scale the inputs, if they are not.",
        "Raise learning_rate_init, max_iter or patience.",
        f"Make the network larger; it has hidden_layer_sizes={model.hidden_layer_sizes!r}.",
        "If nothing helps, the features may say little about the target.",
    ]
    return tuple(advice)


def _against_divergence(model: BaseRegularizedMLP) -> tuple[str, ...]:
    return (
        f"Lower learning_rate_init; it is {model.learning_rate_init!r}.",
        "Scale the inputs, if they are not.",
        "Set max_grad_norm, for example to 1.0." if model.max_grad_norm is None else "Lower max_grad_norm.",
    )
