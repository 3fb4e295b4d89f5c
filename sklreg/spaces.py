"""Search spaces: which values of the regularizers a search should try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats
from sklearn.utils import check_random_state

from sklreg._given import find_network
from sklreg._regularizers import TECHNIQUES
from sklreg._techniques import has_use_for
from sklreg.elastic_net import PenaltyGroupsMixin

_SMALL = ("weight_decay", "alpha", "l1_ratio", "dropout")
_MEDIUM = (*_SMALL, "l2", "input_dropout", "label_smoothing", "mixup_alpha")
_COCKTAIL = (
    *_MEDIUM, "l1", "input_noise", "swap_noise", "normalization", "max_norm", "weight_averaging", "cutmix_alpha",
    "stochastic_depth", "patience",
)  # fmt: skip
_SIZES = {"small": _SMALL, "medium": _MEDIUM, "cocktail": _COCKTAIL}
_ALWAYS_ON = ("weight_decay", "alpha")  # except in a cocktail
_LEAST_PATIENCE, _GREATEST_PATIENCE = 5, 30


class OffOr:
    """A random value that is off with some probability, and else drawn from a distribution.

    For scikit-learn's random searches, which take anything with a method ``rvs``, and for :func:`suggest_params`.

    Parameters
    ----------
    distribution : scipy.stats frozen distribution or list
        What the value is drawn from where it is not off: a distribution, or a list to choose from.
    off : object, default=0.0
        The value that is off.
    probability : float, default=0.5
        Probability of ``off``, in [0, 1].

    Raises
    ------
    TypeError
        If ``distribution`` is none of these.
    ValueError
        If it is an empty list, or ``probability`` is out of range.

    See Also
    --------
    search_space : Distributions for all regularizers.

    Examples
    --------
    >>> from scipy.stats import uniform
    >>> from sklreg import OffOr
    >>> dropout = OffOr(uniform(0.2, 0.3))
    >>> dropout
    OffOr(uniform(0.2, 0.3), off=0.0, probability=0.5)
    >>> [round(float(dropout.rvs(random_state=seed)), 2) for seed in range(4)]
    [0.41, 0.0, 0.0, 0.41]
    """

    def __init__(self, distribution: Any, *, off: Any = 0.0, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability of OffOr must be in [0, 1]; got {probability!r}.")
        if not hasattr(distribution, "rvs") and not isinstance(distribution, (list, tuple)):
            raise TypeError(
                "distribution of OffOr must be a frozen distribution of scipy.stats, anything else with a method rvs, "
                f"or a list; got {distribution!r}."
            )
        if isinstance(distribution, (list, tuple)) and not len(distribution):
            raise ValueError("distribution of OffOr must not be an empty list. Pass at least one value.")
        self.distribution = distribution
        self.off = off
        self.probability = probability

    def rvs(self, *, random_state: int | np.random.RandomState | None = None) -> Any:
        """Draw a value.

        Parameters
        ----------
        random_state : int, RandomState instance or None, default=None
            Where the randomness comes from.

        Returns
        -------
        value : object
            ``off``, or a value of the distribution.
        """
        random = check_random_state(random_state)
        is_off = random.random_sample() < self.probability
        # Drawn in any case, so that other parameters' draws do not depend on what came up here.
        if hasattr(self.distribution, "rvs"):
            value = self.distribution.rvs(random_state=random)
        else:
            value = self.distribution[random.randint(len(self.distribution))]
        return self.off if is_off else value

    def __repr__(self) -> str:
        return f"OffOr({_name_of(self.distribution)}, off={self.off!r}, probability={self.probability!r})"


def search_space(estimator: Any, size: str = "medium", *, prefix: str | None = None) -> dict[str, Any]:
    """Return the values of the regularizers that a random search should try.

    For ``RandomizedSearchCV`` and ``HalvingRandomSearchCV``, and through :func:`suggest_params` for Optuna.

    Parameters
    ----------
    estimator : estimator instance
        An estimator of this package, or anything of scikit-learn's that holds one, such as a ``Pipeline`` with one as
        a step.  It need not be fitted.
    size : {'small', 'medium', 'cocktail'}, default='medium'
        What to search.  ``'small'``: what shrinks the weights (``alpha`` and ``l1_ratio`` of the elastic net
        estimators, ``weight_decay`` of the others) and ``dropout``.  ``'medium'``: also ``l2``, ``input_dropout``,
        ``label_smoothing`` and ``mixup_alpha``; all of it can train in one stack of
        :func:`batched_training`.  ``'cocktail'``: also ``l1``, ``input_noise``, ``swap_noise``, ``cutmix_alpha``,
        ``normalization``, ``max_norm``, ``weight_averaging``, ``patience``, ``stochastic_depth`` where there are
        residual connections, and ``weight_decay`` in any case; each regularizer is off in half of the candidates.
    prefix : str, default=None
        Name of the estimator of this package inside ``estimator``, such as ``'net'`` for the step of a pipeline.
        ``None`` finds it where there is one only.

    Returns
    -------
    space : dict of str to distribution or list
        For each parameter, as ``estimator.set_params`` names it, a distribution of scipy, an :class:`OffOr`, or a list
        of values.  A dict like any other: change, add and remove what you like.

    Raises
    ------
    TypeError
        If ``estimator`` neither is nor holds an estimator of this package.
    ValueError
        If ``size`` is unknown, or if it is not clear which estimator is meant.

    See Also
    --------
    suggest_params : Draw from the space with Optuna.
    OffOr : A value that is off with some probability.
    batched_training : Train all candidates together.
    sklearn.model_selection.RandomizedSearchCV : The search.

    Notes
    -----
    Strengths that are multiplied are spread evenly on a logarithmic scale.  What has no effect, or would be refused, is
    left out: label smoothing for a regressor, what acts on hidden layers where there are none, ``patience`` without
    early stopping.  Whether to stop early stays as it is set.

    The ranges of ``l1``, ``l2`` and ``alpha`` are for classifiers, and for targets of a regressor with a standard
    deviation of about 1.  For other targets wrap the regressor in
    :class:`~sklearn.compose.TransformedTargetRegressor` with a ``StandardScaler``, and pass that.

    References
    ----------
    A. Kadra, M. Lindauer, F. Hutter and J. Grabocka (2021). Well-tuned simple nets excel on tabular datasets. NeurIPS.
    Their cocktails, too, choose for each regularizer whether it is on.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklreg import RegularizedMLPClassifier, search_space
    >>> model = make_pipeline(StandardScaler(), RegularizedMLPClassifier(random_state=0))
    >>> list(search_space(model, "small"))
    ['regularizedmlpclassifier__weight_decay', 'regularizedmlpclassifier__dropout']
    """
    if size not in _SIZES:
        raise ValueError(f"size of search_space must be one of {list(_SIZES)}; got {size!r}.")
    start, network = find_network(estimator, "search_space", prefix)
    parameters = network.get_params(deep=False)
    space = {}
    for name in _SIZES[size]:
        if not has_use_for(network, name):
            continue
        technique = TECHNIQUES.get(name)
        if name == "weight_decay" and size != "cocktail" and isinstance(network, PenaltyGroupsMixin):
            continue  # alpha shrinks the weights already
        if name == "l1_ratio":
            if "alpha" not in parameters:  # of several, a path chooses itself
                continue
            space[name] = stats.uniform(0.0, 1.0)
        elif name == "patience":
            if network.early_stopping:
                space[name] = stats.randint(_LEAST_PATIENCE, _GREATEST_PATIENCE + 1)
        elif name == "normalization":
            space[name] = OffOr(["batch", "layer"], off=None)
        else:
            assert technique is not None
            assert technique.least is not None
            assert technique.greatest is not None
            low, high = technique.least, technique.greatest
            drawn = stats.loguniform(low, high) if technique.is_log else stats.uniform(low, round(high - low, 12))
            always = name in _ALWAYS_ON and size != "cocktail"
            space[name] = drawn if always else OffOr(drawn, off=technique.off)
    return {f"{start}{name}": values for name, values in space.items()}


def suggest_params(trial: Any, space: Mapping[str, Any]) -> dict[str, Any]:
    """Let a trial of Optuna choose from a search space.

    Parameters
    ----------
    trial : optuna.trial.Trial
        The trial: anything with its methods ``suggest_float``, ``suggest_int`` and ``suggest_categorical``.
        ``study.best_trial`` gives the best parameters again.
    space : dict of str to distribution or list
        What :func:`search_space` returns, or a dict of ``uniform``, ``loguniform`` and ``randint`` of scipy.stats,
        :class:`OffOr` and lists.

    Returns
    -------
    params : dict of str to object
        The chosen values, for ``set_params`` of the estimator that the space is of.

    Raises
    ------
    TypeError
        If a value of ``space`` is none of these.

    See Also
    --------
    search_space : Values that are worth trying.

    Notes
    -----
    Whether an :class:`OffOr` is off is a parameter of the trial by itself, ``<name>_is_on``, so that ``trial.params``
    has names which the estimator has not.  Its own value is asked for only where it is on.  The ``probability`` plays
    no part: the sampler learns it.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklreg import RegularizedMLPClassifier, batched_training, search_space, suggest_params
    >>> model = RegularizedMLPClassifier(random_state=0)
    >>> def objective(trial, X, y):
    ...     candidate = clone(model).set_params(**suggest_params(trial, search_space(model)))
    ...     with batched_training():
    ...         return cross_val_score(candidate, X, y, scoring="neg_log_loss").mean()
    """
    params = {}
    for name, values in space.items():
        if not isinstance(values, OffOr):
            params[name] = _suggest(trial, name, values)
        elif trial.suggest_categorical(f"{name}_is_on", [True, False]):
            params[name] = _suggest(trial, name, values.distribution)
        else:
            params[name] = values.off
    return params


def _suggest(trial: Any, name: str, values: Any) -> Any:
    if isinstance(values, (list, tuple, np.ndarray)):
        return trial.suggest_categorical(name, list(values))
    kind = getattr(getattr(values, "dist", None), "name", None)
    if kind in ("loguniform", "reciprocal", "uniform"):
        low, high = (float(bound) for bound in values.support())
        return trial.suggest_float(name, low, high, log=kind != "uniform")
    if kind == "randint":
        low, high = (int(bound) for bound in values.support())
        return trial.suggest_int(name, low, high)
    raise TypeError(
        f"space of suggest_params must hold uniform, loguniform or randint of scipy.stats, OffOr or lists; got "
        f"{values!r} for {name!r}."
    )


def _name_of(distribution: Any) -> str:
    """Return how a frozen distribution was made, which scipy does not show."""
    kind = getattr(getattr(distribution, "dist", None), "name", None)
    if kind is None:
        return repr(distribution)
    arguments = [f"{value:g}" for value in distribution.args]
    arguments += [f"{name}={value:g}" for name, value in distribution.kwds.items()]
    return f"{kind}({', '.join(arguments)})"
