"""``RegularizationAblation``: what each regularizer of an estimator contributes, by doing without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone, is_classifier
from sklearn.model_selection import check_cv, cross_validate
from sklearn.utils import Tags, check_random_state, indexable
from sklearn.utils._optional_dependencies import check_pandas_support
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sklreg._base import BaseRegularizedMLP
from sklreg._batched import batched_training, is_in_block
from sklreg._given import find_network
from sklreg._techniques import techniques_on, turned_off

if TYPE_CHECKING:
    from pandas import DataFrame

Array = NDArray[Any]
Folds = list[tuple[Array, Array]]


class Variant(NamedTuple):
    """The estimator with some of its techniques."""

    name: str
    kind: str
    techniques: frozenset[str]


class RegularizationAblation(MetaEstimatorMixin, BaseEstimator):
    r"""What each regularizer of an estimator contributes: with all, without each, with each alone, with none.

    All variants are cross-validated on the same folds, with networks that start from the same weights, so that what is
    compared is paired.  All fits train together, as in :func:`batched_training`.

    Parameters
    ----------
    estimator : estimator instance
        An estimator of this package, or anything of scikit-learn's that holds one, such as a ``Pipeline``; with the
        parameters of interest set, for example the ``best_estimator_`` of a search.  The network's ``random_state``
        plays no part.
    cv : int, cross-validation generator or iterable, default=5
        The folds: their number (drawn anew in each repeat, stratified for a classifier), a scikit-learn splitter, or
        pairs of index arrays.  ``None`` is 5.
    n_repeats : int, default=3
        How often the cross-validation is repeated, with other folds and other initial weights, at least 1.  A splitter
        that draws nothing, or the same each time, and pairs of index arrays give the same folds in each repeat.
    scoring : str or callable, default=None
        What judges the folds, greater being better: the name of a scikit-learn scorer or a callable ``scorer(estimator,
        X, y)``.  ``None`` is the ``score`` of the estimator.
    techniques : list of str, default=None
        Which techniques to do without, by the names of their parameters; the others stay on in all variants.  ``None``
        is all that are on.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds and of the networks, each repeat its own.

    Attributes
    ----------
    techniques_ : list of str
        The techniques that the variants are made of.
    results_ : dict of str to ndarray
        As ``cv_results_`` of a search, with an entry for each variant: ``variant`` is its name, ``kind`` one of 'all',
        'without', 'alone' and 'none', ``params`` what was set; ``split0_test_score`` and so on are the scores of each
        fold, of one repeat after the other, and ``mean_test_score`` and ``std_test_score`` their mean and standard
        deviation; the same for ``train``.  ``mean_difference`` and ``std_difference`` are those of the paired
        differences in test score from 'all', and ``standard_error_difference`` the corrected standard error of their
        mean.
    n_splits_ : int
        Number of folds of all repeats.

    See Also
    --------
    RegularizationAblationDisplay : Draw the differences.
    search_space : Find parameters first.

    Notes
    -----
    A technique is on where its parameter has another value than the one that turns it off: ``weight_decay``, ``alpha``,
    ``l1``, ``l2``, ``dropout``, ``input_dropout``, ``stochastic_depth``, ``input_noise``, ``swap_noise``,
    ``label_smoothing``, ``focal_gamma``, ``mixup_alpha``, ``cutmix_alpha`` and ``weight_averaging`` above 0;
    ``normalization``, ``max_norm``, ``class_weight`` and ``max_grad_norm`` other than ``None``; ``n_members`` above 1;
    ``bootstrap`` and ``early_stopping``.  Mind that ``weight_decay``, ``early_stopping`` and ``weight_averaging`` are
    on by default.  Without early stopping all ``max_iter`` epochs are trained, on all samples of the fold, and the
    average goes on.  Nothing else changes: strengths that were chosen together are not tuned anew.

    Scores of overlapping training sets are not independent, and the plain standard error of their mean is too small.
    With :math:`J` folds of all repeats and :math:`n_{test} / n_{train}` the proportion of their sizes, the corrected
    one is :math:`\sqrt{(1 / J + n_{test} / n_{train}) \, s^2}`, where :math:`s^2` is the variance of the differences
    (Nadeau and Bengio, 2003).  A difference of less than about two of them says little.

    References
    ----------
    C. Nadeau and Y. Bengio (2003). Inference for the generalization error. Machine Learning 52, 239-281.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklreg import RegularizationAblation, RegularizedMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> network = RegularizedMLPClassifier(
    ...     (8,), dropout=0.2, l2=1e-3, weight_decay=0.0, early_stopping=False, max_iter=10
    ... )
    >>> model = make_pipeline(StandardScaler(), network)
    >>> ablation = RegularizationAblation(model, cv=3, n_repeats=1, scoring="neg_log_loss", random_state=0).fit(X, y)
    >>> ablation.techniques_
    ['l2', 'dropout']
    >>> ablation.results_["variant"].tolist()
    ['all', 'without l2', 'without dropout', 'l2 alone', 'dropout alone', 'none']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit"])],
        "cv": ["cv_object"],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "scoring": [str, callable, None],
        "techniques": ["array-like", None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        cv: int | Any = 5,
        n_repeats: int = 3,
        scoring: str | Callable[..., float] | None = None,
        techniques: Sequence[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.n_repeats = n_repeats
        self.scoring = scoring
        self.techniques = techniques
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None, **params: Any) -> Self:
        """Cross-validate all variants.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs, as the estimator takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        groups : array-like of shape (n_samples,), default=None
            Groups of samples, for a splitter that needs them.
        **params : dict of str to object
            Parameters of the estimator's ``fit``, such as ``sample_weight``, as in
            :func:`~sklearn.model_selection.cross_validate`.

        Returns
        -------
        self : object
            The ablation, with ``results_``.

        Raises
        ------
        TypeError
            If ``estimator`` neither is nor holds an estimator of this package.
        ValueError
            If ``techniques`` names one that it does not have or that is off, or data or folds cannot be used.
        """
        start, network = find_network(self.estimator, type(self).__name__)
        techniques = self._techniques(network)
        variants = _variants(techniques)
        settings = [
            {f"{start}{name}": value for name, value in turned_off(network, _missing(techniques, variant)).items()}
            for variant in variants
        ]
        X, y, groups = indexable(X, y, groups)
        random = check_random_state(self.random_state)
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        repeats = [self._repeat(splitter, X, y, groups, random.randint(2**31 - 1)) for _ in range(self.n_repeats)]
        # Variants with the same techniques are the same, and are fitted once.
        distinct = {variant.techniques: setting for variant, setting in zip(variants, settings, strict=True)}
        together: Any = nullcontext() if is_in_block() else batched_training()
        with together:
            outcomes = iter(
                Parallel()(
                    delayed(cross_validate)(
                        clone(self.estimator).set_params(**setting, **{f"{start}random_state": seed}),
                        X,
                        y,
                        cv=folds,
                        scoring=self.scoring,
                        params=params or None,
                        return_train_score=True,
                        error_score="raise",
                    )
                    for setting in distinct.values()
                    for folds, seed in repeats
                )
            )
        scores: dict[frozenset[str], dict[str, Array]] = {}
        for key in distinct:
            of_repeats = [next(outcomes) for _ in repeats]
            scores[key] = {
                part: np.concatenate([outcome[f"{part}_score"] for outcome in of_repeats]) for part in ("test", "train")
            }
        self.techniques_ = techniques
        self.n_splits_ = sum(len(folds) for folds, _ in repeats)
        sizes = [(len(train), len(test)) for folds, _ in repeats for train, test in folds]
        self.results_ = _results(
            variants,
            settings,
            test=np.stack([scores[variant.techniques]["test"] for variant in variants]),
            train=np.stack([scores[variant.techniques]["train"] for variant in variants]),
            ratio=float(np.mean([n_test / n_train for n_train, n_test in sizes])),
        )
        return self

    def _techniques(self, network: BaseRegularizedMLP) -> list[str]:
        """Return the techniques to do without, all of which are on."""
        name, kind = type(self).__name__, type(network).__name__
        present = techniques_on(network)
        if not present:
            raise ValueError(
                f"estimator of {name} must use at least one regularizer, and {kind} has all of them off: there is "
                "nothing to do without. Set the parameters to look at, such as dropout or weight_decay."
            )
        if self.techniques is None:
            return present
        asked = list(dict.fromkeys(self.techniques))
        wrong = [technique for technique in asked if technique not in present]
        if wrong or not asked:
            raise ValueError(
                f"techniques of {name} must be some of those that {kind} has on, {present}; got "
                f"{list(self.techniques)!r}. Set the parameters of the others in the estimator, or leave them out."
            )
        return [technique for technique in present if technique in asked]

    def _repeat(self, splitter: Any, X: Any, y: Any, groups: Any, seed: int) -> tuple[Folds, int]:
        """Return the folds of a repeat, and the seed of its networks."""
        if self.cv is None or isinstance(self.cv, Integral):
            splitter = type(splitter)(splitter.n_splits, shuffle=True, random_state=seed)
        return list(splitter.split(X, y, groups)), seed

    def to_frame(self) -> DataFrame:
        """Return the results without those of single folds, as a table of pandas.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_variants, 8)
            A row for each variant, with its name as index.
        """
        check_is_fitted(self)
        pandas = check_pandas_support(f"{type(self).__name__}.to_frame")
        columns = {
            key: values
            for key, values in self.results_.items()
            if key.startswith(("kind", "mean_", "std_", "standard_"))
        }
        frame: DataFrame = pandas.DataFrame(columns, index=pandas.Index(self.results_["variant"], name="variant"))
        return frame

    def table(self) -> str:
        """Return the results as text, to print.

        Returns
        -------
        text : str
            A line for each variant: the mean test score; its mean difference from 'all', with the corrected standard
            error; and the mean training score.
        """
        check_is_fitted(self)
        results = self.results_
        greatest = np.nanmax(np.abs(results["mean_test_score"]), initial=1e-3)
        digits = int(np.clip(3 - np.floor(np.log10(greatest)), 0, 6))
        width = max(len(name) for name in results["variant"])
        lines = [f"{'':<{width}}  {'test':>10}  {'difference from all':>23}  {'train':>10}"]
        for i, name in enumerate(results["variant"]):
            difference = ""
            if results["kind"][i] != "all":
                mean, error = results["mean_difference"][i], results["standard_error_difference"][i]
                difference = f"{mean:+.{digits}f} ± {error:.{digits}f}"
            test, train = results["mean_test_score"][i], results["mean_train_score"][i]
            lines.append(f"{name:<{width}}  {test:>10.{digits}f}  {difference:>23}  {train:>10.{digits}f}")
        return "\n".join(lines)

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: a target is needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _variants(techniques: list[str]) -> list[Variant]:
    everything = frozenset(techniques)
    return [
        Variant("all", "all", everything),
        *(Variant(f"without {name}", "without", everything - {name}) for name in techniques),
        *(Variant(f"{name} alone", "alone", frozenset({name})) for name in techniques),
        Variant("none", "none", frozenset()),
    ]


def _missing(techniques: Iterable[str], variant: Variant) -> list[str]:
    return [name for name in techniques if name not in variant.techniques]


def _results(
    variants: list[Variant], settings: list[dict[str, Any]], test: Array, train: Array, ratio: float
) -> dict[str, Array]:
    """Return the columns, of scores ``(n_variants, n_splits)``; ``ratio`` is that of test to training samples."""
    n_splits = test.shape[1]
    params = np.empty(len(variants), dtype=object)
    params[:] = settings
    results: dict[str, Array] = {
        "variant": np.array([variant.name for variant in variants], dtype=object),
        "kind": np.array([variant.kind for variant in variants], dtype=object),
        "params": params,
    }
    for part, scores in (("test", test), ("train", train)):
        results |= {f"split{i}_{part}_score": scores[:, i] for i in range(n_splits)}
        results |= {f"mean_{part}_score": scores.mean(axis=1), f"std_{part}_score": scores.std(axis=1)}
    difference = test - test[0]
    spread = difference.std(axis=1, ddof=1) if n_splits > 1 else np.full(len(variants), np.nan)
    results["mean_difference"], results["std_difference"] = difference.mean(axis=1), difference.std(axis=1)
    results["standard_error_difference"] = np.sqrt(1 / n_splits + ratio) * spread
    return results
