"""``RegularizedMLPClassifier`` and ``RegularizedMLPRegressor``: every regularizer a parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sklreg._classifier import IncrementalMLPClassifier
from sklreg._parameters import CLASS_ATTRIBUTE, FIT_ATTRIBUTES, MEMBERS_ATTRIBUTE, document
from sklreg._regressor import IncrementalMLPRegressor


@document(attributes=CLASS_ATTRIBUTE + FIT_ATTRIBUTES + MEMBERS_ATTRIBUTE)
class RegularizedMLPClassifier(IncrementalMLPClassifier):
    r"""Multilayer perceptron classifier with every regularizer as a parameter.

    Minimizes over the weights :math:`W` and biases of the network :math:`f`

    .. math:: \frac{1}{n} \sum_i \mathrm{loss}(y_i, f(x_i)) + \mathtt{l1} \sum |W|
        + \tfrac{1}{2} \mathtt{l2} \sum W^2

    with the cross-entropy as loss, summed over labels where a sample has several.  The mean is weighted by sample and
    class weights.  Penalties touch weight matrices only, never biases or normalization parameters.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ElasticNetMLPClassifier : The same with ``alpha`` and ``l1_ratio``, and the importance of each feature.
    RegularizedMLPRegressor : The same for regression.
    sklearn.neural_network.MLPClassifier : Its ``alpha`` is divided by the size of the batch; ``alpha=a`` with batches
        of ``b`` is ``l2=a / b`` here.

    Notes
    -----
    Papers and libraries write the L2 penalty as :math:`\lambda \|W\|^2` or as
    :math:`\tfrac{\lambda}{2} \|W\|^2`.  Here it is the second, as in torch and in scikit-learn's ElasticNet; a
    strength of the first kind is ``l2 / 2``.

    Training ends after ``max_iter`` epochs, or once ``patience`` epochs in a row have not bettered the best validation
    score by more than ``min_delta``; the weights of the best epoch are then restored.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklreg import RegularizedMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), RegularizedMLPClassifier(dropout=0.3, l2=1e-3, random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (128, 128),
        *,
        activation: str = "gelu",
        residual: bool = False,
        input_scaling: str | None = None,
        n_bins: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        penalty_warmup: float = 0.1,
        weight_decay: float = 0.8,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        input_noise: float = 0.0,
        swap_noise: float = 0.0,
        normalization: str | None = None,
        max_norm: float | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "scaled_adam",
        learning_rate_init: float = 3e-3,
        learning_rate: str = "constant",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        weight_averaging: float | str = "auto",
        batch_size: int | str = 128,
        max_iter: int = 200,
        early_stopping: bool | str = True,
        validation_fraction: float = 0.1,
        patience: int = 20,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "loss",
        warm_start: bool = False,
        device: str = "auto",
        dtype: str = "auto",
        n_members: int = 1,
        bootstrap: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self._store(locals())

    def _penalty_strengths(self) -> tuple[float, float]:
        return self.l1, self.l2


@document(attributes=FIT_ATTRIBUTES + MEMBERS_ATTRIBUTE)
class RegularizedMLPRegressor(IncrementalMLPRegressor):
    r"""Multilayer perceptron regressor with every regularizer as a parameter.

    Minimizes over the weights :math:`W` and biases of the network :math:`f`

    .. math:: \frac{1}{2 n} \sum_i \|y_i - f(x_i)\|^2 + \mathtt{l1} \sum |W|
        + \tfrac{1}{2} \mathtt{l2} \sum W^2

    where the mean is weighted by ``sample_weight``.  Penalties touch weight matrices only, never biases or
    normalization parameters.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ElasticNetMLP : The same with ``alpha`` and ``l1_ratio``, and the importance of each feature.
    RegularizedMLPClassifier : The same for classification.

    Notes
    -----
    The objective is that of the target's own units, as in :class:`~sklearn.linear_model.Ridge` and
    :class:`~sklearn.linear_model.ElasticNet`: in other units of the target, ``l1`` and (behind hidden layers) ``l2``
    have to be other numbers to do the same.  ``weight_decay`` has no units.  Inside, the network is trained on targets
    in units of their standard deviation, which changes the path of the training and not its objective: one target need
    not be scaled. Several targets of very different spread should be: in a sum of squared errors the small ones have
    hardly a say.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklreg import RegularizedMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), RegularizedMLPRegressor(dropout=0.2, random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.4
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (128, 128),
        *,
        activation: str = "gelu",
        residual: bool = False,
        input_scaling: str | None = None,
        n_bins: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        penalty_warmup: float = 0.1,
        weight_decay: float = 0.2,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        input_noise: float = 0.0,
        swap_noise: float = 0.0,
        normalization: str | None = None,
        max_norm: float | None = None,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        solver: str = "scaled_adam",
        learning_rate_init: float = 3e-3,
        learning_rate: str = "constant",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        weight_averaging: float | str = "auto",
        batch_size: int | str = 128,
        max_iter: int = 200,
        early_stopping: bool | str = True,
        validation_fraction: float = 0.1,
        patience: int = 20,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "loss",
        warm_start: bool = False,
        device: str = "auto",
        dtype: str = "auto",
        n_members: int = 1,
        bootstrap: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self._store(locals())

    def _penalty_strengths(self) -> tuple[float, float]:
        return self.l1, self.l2
