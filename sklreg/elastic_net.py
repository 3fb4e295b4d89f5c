"""``ElasticNetMLP`` and ``ElasticNetMLPClassifier``: weights that are exactly zero, features that are dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklreg._base import BaseRegularizedMLP
from sklreg._classifier import IncrementalMLPClassifier
from sklreg._feature_groups import resolve_feature_groups
from sklreg._fitted import to_dense, weight_of
from sklreg._parameters import (
    CLASS_ATTRIBUTE,
    ELASTIC_NET_CONSTRAINTS,
    ELASTIC_NET_DESCRIPTIONS,
    FIT_ATTRIBUTES,
    IMPORTANCE_ATTRIBUTE,
    MEMBERS_ATTRIBUTE,
    document,
)
from sklreg._regressor import IncrementalMLPRegressor
from sklreg._warnings import warn_user
from sklreg.engine import Ensemble, SelectInputs, has_a_say, with_linears


class PenaltyGroupsMixin(BaseRegularizedMLP):
    """Groups of weights that leave together, and what is left of each feature."""

    penalty_groups: str
    feature_groups: Any
    hierarchy: float

    def _group_labels(self) -> tuple[int, ...] | None:
        if self.feature_groups is None:
            return None
        names = getattr(self, "feature_names_in_", None)
        return resolve_feature_groups(self.feature_groups, self.n_features_in_, names, type(self).__name__)

    def _check_parameters(self, n_train: int) -> None:
        super()._check_parameters(n_train)
        name = type(self).__name__
        if self.feature_groups is not None and self.penalty_groups not in ("features", "hierarchical"):
            raise ValueError(
                f"{name}: feature_groups says which features leave together, and penalty_groups="
                f"{self.penalty_groups!r} does not look at features. Set penalty_groups='features' or 'hierarchical', "
                "or feature_groups=None."
            )
        has_hidden = bool(np.size(self.hidden_layer_sizes))
        if self.penalty_groups in ("neurons", "hierarchical") and not has_hidden:
            raise ValueError(
                f"{name}: penalty_groups={self.penalty_groups!r} acts on hidden layers, and hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} has none. Set penalty_groups='features', or add a hidden layer."
            )
        self._group_labels()

    def _check_fitted(self) -> None:
        self._warn_if_nothing_is_left()

    def _warn_if_nothing_is_left(self) -> None:
        members = self._members()
        # One that has diverged may be as it was before training, which its own warning says.
        n_empty = sum(not (member._diverged or member.feature_importances_.any()) for member in members)
        if n_empty:
            of_members = "" if len(members) == 1 else f" in {n_empty} of its {len(members)} networks"
            who = "it predicts" if n_empty == len(members) else "these predict"
            warn_user(
                f"{type(self).__name__} has dropped all {self.n_features_in_} features{of_members}: {who} the same for "
                "every sample, what is known without inputs. Lower alpha (or l1_ratio) to keep some.",
            )

    @property
    def skip_coef_(self) -> Any:
        """Weights of the linear connection from inputs to outputs, where there is one."""
        return None if self._skip is None else weight_of(self._skip)

    @property
    def feature_importances_(self) -> NDArray[Any]:
        """Norm of each feature's weights into the first layer; exactly 0 for a feature that no output depends on."""
        if isinstance(self.module_, Ensemble):
            return np.asarray(np.mean([member.feature_importances_ for member in self._members()], axis=0))
        weights = [self.coefs_[0], *([] if self.skip_coef_ is None else [self.skip_coef_])]
        dense = [weight.toarray() if sparse.issparse(weight) else weight for weight in weights]
        norms = np.linalg.norm(np.hstack(dense), axis=1)
        norms[~has_a_say(with_linears(self._network, to_dense)).numpy()] = 0
        first = self._layers[0][0]
        if not isinstance(first, SelectInputs):
            return np.asarray(norms)
        importances = np.zeros(self.n_features_in_, dtype=norms.dtype)
        importances[first.index.numpy()] = norms
        return importances


class ElasticNetMixin(PenaltyGroupsMixin):
    """``alpha`` and ``l1_ratio`` in place of ``l1`` and ``l2``."""

    alpha: float
    l1_ratio: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = ELASTIC_NET_CONSTRAINTS

    def _penalty_strengths(self) -> tuple[float, float]:
        return self.alpha * self.l1_ratio, self.alpha * (1 - self.l1_ratio)


@document(attributes=FIT_ATTRIBUTES + MEMBERS_ATTRIBUTE + IMPORTANCE_ATTRIBUTE, descriptions=ELASTIC_NET_DESCRIPTIONS)
class ElasticNetMLP(ElasticNetMixin, IncrementalMLPRegressor):
    r"""Multilayer perceptron regressor with an elastic net penalty: weights become exactly zero.

    Minimizes over the weights :math:`W` and biases of the network :math:`f`

    .. math:: \frac{1}{2 n} \sum_i \|y_i - f(x_i)\|^2
        + \alpha \left(\rho \sum |W| + \tfrac{1 - \rho}{2} \sum W^2\right)

    with :math:`\alpha` = ``alpha`` and :math:`\rho` = ``l1_ratio``: the objective of
    :class:`~sklearn.linear_model.ElasticNet`, which is the case ``hidden_layer_sizes=()``.  To control the two
    penalties separately, ``alpha = l1 + l2`` and ``l1_ratio = l1 / (l1 + l2)``.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ElasticNetMLPClassifier : The same for classification.
    RegularizedMLPRegressor : The same with ``l1`` and ``l2``.
    sklearn.linear_model.ElasticNet : The linear case, by coordinate descent.

    Notes
    -----
    The L1 penalty acts by its proximal operator after every step, in the metric of the optimizer, so that training
    settles where the objective is stationary.  To get the coefficients of the linear model to many digits, train on all
    samples at once and let the step size fall: ``early_stopping=False, batch_size='full', learning_rate='cosine'`` with
    ``learning_rate_init`` around 0.05 and ``max_iter`` of 1,000 or more, on scaled features.

    ``alpha`` is in the target's own units, as in ElasticNet.

    With ``penalty_groups='features'`` the penalty :math:`\sum |W|` becomes :math:`\sum_g \sqrt{n_g} \|W_g\|` for the
    first layer, over groups :math:`g` of :math:`n_g` inputs; with ``'neurons'`` :math:`\sqrt{d} \sum_k \|W_k\|` for
    every hidden layer of :math:`d` inputs, over its units :math:`k`; with ``'hierarchical'`` the prediction is
    :math:`\theta^T x + f(x)`, the penalty is :math:`\sum_g \sqrt{n_g} \|\theta_g\|` in place of that on the first
    layer, and :math:`|W_{jk}| \le M \|\theta_g\|` for every input :math:`j` of the group.

    :class:`~sklearn.feature_selection.SelectFromModel` keeps features above the mean importance unless told otherwise;
    ``threshold=1e-10`` keeps those that were not dropped.

    Early stopping keeps the epoch of the best validation score, which may come before training has made weights zero.
    Where zeros are what you are after, set ``early_stopping=False``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklreg import ElasticNetMLP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 10))
    >>> y = 2 * X[:, 0] + X[:, 1]
    >>> model = ElasticNetMLP(hidden_layer_sizes=(), alpha=0.1, l1_ratio=0.9, early_stopping=False, batch_size="full",
    ...                       learning_rate="cosine", learning_rate_init=0.05, max_iter=500, random_state=0)
    >>> model.fit(X, y).feature_importances_.round(2)
    array([1.9, 0.9, 0. , 0. , 0. , 0. , 0. , 0. , 0. , 0. ])
    """

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        *,
        activation: str = "relu",
        alpha: float = 1e-3,
        l1_ratio: float = 0.5,
        penalty_groups: str = "weights",
        feature_groups: Any = None,
        hierarchy: float = 10.0,
        penalty_warmup: float = 0.0,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        swap_noise: float = 0.0,
        normalization: str | None = None,
        max_norm: float | None = None,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        learning_rate: str = "constant",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        weight_averaging: float | str = 0.0,
        batch_size: int | str = "auto",
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
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self._store(locals())


@document(
    attributes=CLASS_ATTRIBUTE + FIT_ATTRIBUTES + MEMBERS_ATTRIBUTE + IMPORTANCE_ATTRIBUTE,
    descriptions=ELASTIC_NET_DESCRIPTIONS,
)
class ElasticNetMLPClassifier(ElasticNetMixin, IncrementalMLPClassifier):
    r"""Multilayer perceptron classifier with an elastic net penalty: weights become exactly zero.

    Minimizes over the weights :math:`W` and biases of the network :math:`f`

    .. math:: \frac{1}{n} \sum_i \mathrm{loss}(y_i, f(x_i))
        + \alpha \left(\rho \sum |W| + \tfrac{1 - \rho}{2} \sum W^2\right)

    with the cross-entropy as loss, :math:`\alpha` = ``alpha`` and :math:`\rho` = ``l1_ratio``.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ElasticNetMLP : The same for regression.
    RegularizedMLPClassifier : The same with ``l1`` and ``l2``.
    sklearn.linear_model.LogisticRegression : The linear case; its ``C`` is ``1 / (n_samples * alpha)``.

    Notes
    -----
    ``hidden_layer_sizes=()`` is the problem of
    ``LogisticRegression(solver='saga', l1_ratio=l1_ratio, C=1 / (n_samples * alpha))``, with the
    sum of the weights in place of ``n_samples`` where there are any.  To get its coefficients to
    many digits, see the notes of :class:`ElasticNetMLP`.

    Early stopping keeps the epoch of the best validation score, which may come before training has made weights zero.
    Where zeros are what you are after, set ``early_stopping=False``.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklreg import ElasticNetMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = ElasticNetMLPClassifier(hidden_layer_sizes=(32,), alpha=0.02, l1_ratio=0.9, random_state=0)
    >>> model.fit(StandardScaler().fit_transform(X), y).sparsity_ > 0.5
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        *,
        activation: str = "relu",
        alpha: float = 1e-3,
        l1_ratio: float = 0.5,
        penalty_groups: str = "weights",
        feature_groups: Any = None,
        hierarchy: float = 10.0,
        penalty_warmup: float = 0.0,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        swap_noise: float = 0.0,
        normalization: str | None = None,
        max_norm: float | None = None,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        learning_rate: str = "constant",
        momentum: float = 0.9,
        max_grad_norm: float | None = None,
        weight_averaging: float | str = 0.0,
        batch_size: int | str = "auto",
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
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self._store(locals())
