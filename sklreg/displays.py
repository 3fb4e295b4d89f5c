"""Displays in scikit-learn's style: ``from_estimator`` reads a fitted estimator, ``plot`` keeps the artists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklreg._base import BaseRegularizedMLP
from sklreg._feature_groups import feature_group_labels
from sklreg._path import ElasticNetMLPPath
from sklreg.ablation import RegularizationAblation
from sklreg.elastic_net import ElasticNetMixin
from sklreg.elastic_net_cv import ElasticNetMLPClassifierCV, ElasticNetMLPCV
from sklreg.stability import StabilitySelector

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.container import BarContainer, ErrorbarContainer
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

Array = NDArray[Any]
_QUIET, _DARK = "0.8", "0.25"  # greys of what is not named, and of marks
_LEGEND: dict[str, Any] = {"fontsize": "small", "framealpha": 0.8, "edgecolor": "none"}


class Panels(NamedTuple):
    """Axes one above another, the axes in whose place they are, if any, and their figure."""

    axes: Array
    bounding_ax: Axes | None
    figure: Figure | SubFigure


class RegularizationPathDisplay:
    """Importances, score and number of features along a path of penalties.

    Three panels, one above another, against alpha on a logarithmic scale that grows to the right: the importance of
    each feature, the mean score of the folds with its standard error, and the number of features that are not dropped.
    Without scores there are two.

    Use :meth:`from_estimator` or :meth:`from_path` to create one.  All parameters are stored as attributes.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,)
        The strengths of the penalty, in order.
    feature_importances : array-like of shape (n_features, n_alphas)
        Importance of each feature at each alpha; 0 for a dropped one.
    scores : array-like of shape (n_alphas, n_folds), default=None
        Score of each fold, greater being better; without, there is no panel for it.
    score_name : str, default='Score'
        Name of the score, or of the error if it is negated.
    negate_score : bool, default=False
        Whether to draw the negative scores: an error, less being better.
    alpha : float, default=None
        The chosen alpha, which is marked.
    feature_names : array-like of shape (n_features,), default=None
        Names of the features; ``None`` is ``x0``, ``x1`` and so on.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels,)
        The axes of importances, of the score (if any) and of the number of features.
    bounding_ax_ : matplotlib Axes or None
        The axes in whose place the panels are, if one was given.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of matplotlib Line2D
        The importances of each feature.
    score_line_ : matplotlib Line2D or None
        The mean score.
    fill_between_ : matplotlib PolyCollection or None
        The band of one standard error around it; ``None`` also for a single fold.
    n_features_line_ : matplotlib Line2D
        The number of features.
    alpha_lines_ : dict of str to list of matplotlib Line2D
        Vertical lines in each panel at 'chosen', ``alpha``, and where they are elsewhere at 'best score',
        ``alpha_best``, and at 'one standard error', ``alpha_one_standard_error``.

    See Also
    --------
    ElasticNetMLPCV : Choose alpha by cross-validation.
    elastic_net_mlp_path : All networks along the path.
    FeatureImportanceDisplay : The importances at one alpha.

    Notes
    -----
    An alpha of 0 has a place on the left, where the scale is linear.

    Examples
    --------
    >>> import numpy as np
    >>> from sklreg import ElasticNetMLPCV, RegularizationPathDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> y = 3 * X[:, 2] + X[:, 5]
    >>> model = ElasticNetMLPCV((), l1_ratio=1.0, alphas=20, learning_rate_init=0.05, random_state=0).fit(X, y)
    >>> display = RegularizationPathDisplay.from_estimator(model)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['Feature importance', 'Mean squared error', 'Features kept']
    >>> bool(display.alpha_one_standard_error >= display.alpha_best == model.alpha_)
    True
    """

    axes_: Array
    bounding_ax_: Axes | None
    figure_: Figure | SubFigure
    lines_: list[Line2D]
    score_line_: Line2D | None
    fill_between_: PolyCollection | None
    n_features_line_: Line2D
    alpha_lines_: dict[str, list[Line2D]]

    def __init__(
        self,
        *,
        alphas: ArrayLike,
        feature_importances: ArrayLike,
        scores: ArrayLike | None = None,
        score_name: str = "Score",
        negate_score: bool = False,
        alpha: float | None = None,
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.alphas = np.asarray(alphas, dtype=np.float64)
        self.feature_importances = np.asarray(feature_importances, dtype=np.float64)
        self.scores = None if scores is None else np.asarray(scores, dtype=np.float64)
        self.score_name = score_name
        self.negate_score = negate_score
        self.alpha = alpha
        for name, axis, array in (("feature_importances", 1, self.feature_importances), ("scores", 0, self.scores)):
            if array is not None and (array.ndim != 2 or array.shape[axis] != len(self.alphas)):
                raise ValueError(
                    f"{name} of {type(self).__name__} must have two dimensions, with the {len(self.alphas)} alphas "
                    f"along axis {axis}; got shape {array.shape}."
                )
        self.feature_names = _check_names(feature_names, len(self.feature_importances), type(self).__name__)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, feature_names: ArrayLike | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the path of a fitted estimator that has chosen alpha by cross-validation.

        Parameters
        ----------
        estimator : ElasticNetMLPCV, ElasticNetMLPClassifierCV or Pipeline
            The fitted estimator, or a pipeline that ends in one.  Of several ``l1_ratio`` the chosen one is drawn.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features; ``None`` is what they were called in ``fit``.
        ax : matplotlib Axes or array-like of them, default=None
            Where to draw, as in :meth:`plot`.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        display : RegularizationPathDisplay
            The display, drawn.

        Notes
        -----
        With ``scoring='loss'`` the score is the log loss of a classifier and the mean squared error of a regressor,
        which goes with its loss.
        """
        model, names = _unwrap(estimator)
        if not isinstance(model, (ElasticNetMLPCV, ElasticNetMLPClassifierCV)):
            raise TypeError(
                f"{cls.__name__}.from_estimator needs a fitted ElasticNetMLPCV or ElasticNetMLPClassifierCV, or a "
                f"Pipeline that ends in one; got {_kind(model)}. For the result of elastic_net_mlp_path there is "
                "from_path."
            )
        check_is_fitted(model)
        scores, alphas = model.scores_, model.alphas_
        negate_score = model.scoring == "loss" or str(model.scoring).startswith("neg_")
        score_name = _name_of_score(model.scoring, negate=negate_score)
        if model.scoring == "loss":
            score_name = "Log loss" if is_classifier(model) else "Mean squared error"
            scores = scores if is_classifier(model) else -model.mse_path_
        if scores.ndim == 3:
            ratios = np.ravel(model.l1_ratio)
            if len(ratios) != len(scores) or model.l1_ratio_ not in ratios:
                raise ValueError(
                    f"{type(model).__name__} was fitted with {len(scores)} values of l1_ratio, of which it chose "
                    f"{model.l1_ratio_}, and l1_ratio={model.l1_ratio!r} now. Set it back, or fit again."
                )
            place = int(np.flatnonzero(ratios == model.l1_ratio_)[0])
            scores, alphas = scores[place], alphas[place] if alphas.ndim == 2 else alphas
        display = cls(
            alphas=alphas,
            feature_importances=model.feature_importances_path_,
            scores=scores,
            score_name=score_name,
            negate_score=negate_score,
            alpha=model.alpha_,
            feature_names=names if feature_names is None else feature_names,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_path(
        cls,
        path: ElasticNetMLPPath,
        *,
        alpha: float | None = None,
        feature_names: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a path of networks, which has no scores.

        Parameters
        ----------
        path : ElasticNetMLPPath
            What :func:`elastic_net_mlp_path` returns.
        alpha : float, default=None
            An alpha to mark.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features; ``None`` is what they were called in ``X``.
        ax : matplotlib Axes or array-like of them, default=None
            Where to draw, as in :meth:`plot`.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        display : RegularizationPathDisplay
            The display, drawn.
        """
        if not isinstance(path, ElasticNetMLPPath):
            raise TypeError(
                f"{cls.__name__}.from_path needs what elastic_net_mlp_path returns; got {_kind(path)}. For a fitted "
                "ElasticNetMLPCV or ElasticNetMLPClassifierCV there is from_estimator."
            )
        names = getattr(path.models[0], "feature_names_in_", None) if feature_names is None else feature_names
        display = cls(
            alphas=path.alphas, feature_importances=path.feature_importances, alpha=alpha, feature_names=names
        )
        return display.plot(ax, **kwargs)

    @property
    def n_features(self) -> Array:
        """Number of features that are not dropped, of shape (n_alphas,)."""
        return np.asarray(np.count_nonzero(self.feature_importances, axis=0))

    @property
    def alpha_best(self) -> float | None:
        """The alpha of the greatest mean score."""
        if self.scores is None or np.isnan(mean := self.scores.mean(axis=1)).all():
            return None
        return float(self.alphas[np.nanargmax(mean)])

    @property
    def alpha_one_standard_error(self) -> float | None:
        """The greatest alpha whose mean score is within one standard error of the best; None for a single fold."""
        if self.scores is None or self.alpha_best is None or self.scores.shape[1] < 2:
            return None
        mean, error = self.scores.mean(axis=1), _standard_error(self.scores)
        best = np.nanargmax(mean)
        return float(self.alphas[mean >= mean[best] - error[best]].max(initial=self.alpha_best))

    def plot(
        self,
        ax: Any = None,
        *,
        max_labels: int = 6,
        line_kw: dict[str, Any] | None = None,
        fill_between_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the panels.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            One axes, in whose place the panels are drawn, or one for each panel.  ``None`` is a new figure.
        max_labels : int, default=6
            How many features are drawn in colour and named, at least 0: those with the greatest importance at
            ``alpha``, and on average along the path where there is no ``alpha`` or they are equal.  The others are
            grey.
        line_kw : dict, default=None
            Keyword arguments for the lines of all features, as for :meth:`matplotlib.axes.Axes.plot`.
        fill_between_kw : dict, default=None
            Keyword arguments for the band, as for :meth:`matplotlib.axes.Axes.fill_between`.

        Returns
        -------
        display : RegularizationPathDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        heights = [2.0, 1.0] if self.scores is None else [2.0, 1.2, 1.0]
        panels = _panels(ax, heights, (6.4, 1.3 + 1.35 * sum(heights)), "importances, score, number of features")
        self.axes_, self.bounding_ax_, self.figure_ = panels
        self._plot_importances(self.axes_[0], max_labels, line_kw or {})
        self.score_line_ = self.fill_between_ = None
        if self.scores is not None:
            self._plot_score(self.axes_[1], self.scores, fill_between_kw or {})
        self._plot_n_features(self.axes_[-1])
        self._mark_alphas()
        for panel in self.axes_:
            _scale_alphas(panel, self.alphas)
            if panel is self.axes_[-1] or not panel.get_shared_x_axes().joined(panel, self.axes_[-1]):
                panel.set_xlabel("alpha")
        return self

    @property
    def _marker(self) -> dict[str, Any]:
        """What makes a line of a single point show."""
        return {"marker": "o"} if len(np.unique(self.alphas)) == 1 else {}

    def _plot_importances(self, ax: Axes, max_labels: int, line_kw: dict[str, Any]) -> None:
        ranking = [-self.feature_importances.mean(axis=1)]
        if self.alpha is not None:
            ranking.append(-self.feature_importances[:, np.abs(self.alphas - self.alpha).argmin()])
        named = [j for j in np.lexsort(ranking)[:max_labels] if self.feature_importances[j].any()]
        others = [j for j in range(len(self.feature_importances)) if j not in set(named)]
        lines: dict[int, Line2D] = {}
        for rank, j in enumerate(others):
            count = f"{len(others)} others" if named else f"{len(others)} features"
            label = {"label": count} if rank == 0 else {"label": f"_{self.feature_names[j]}"}
            style = {"color": _QUIET, "linewidth": 0.8, "zorder": 1.5, **label, **self._marker, **line_kw}
            (lines[j],) = ax.plot(self.alphas, self.feature_importances[j], **style)
        for rank, j in enumerate(named):
            style = {"color": f"C{rank}", "label": self.feature_names[j], **self._marker, **line_kw}
            (lines[j],) = ax.plot(self.alphas, self.feature_importances[j], **style)
        self.lines_ = [lines[j] for j in range(len(lines))]
        ax.set_ylabel("Feature importance")
        handles = [lines[j] for j in named] + [lines[j] for j in others[:1]]
        top = self.feature_importances.max(initial=0.0) or 1.0
        at_right = self.feature_importances[named, self.alphas.argmax()].max(initial=0.0)
        ax.legend(handles=handles, loc="upper right" if at_right < top / 2 else "lower left", **_LEGEND)
        ax.set_ylim(-0.04 * top, 1.04 * top)  # whether a line ends at 0 is what matters

    def _plot_score(self, ax: Axes, scores: Array, fill_between_kw: dict[str, Any]) -> None:
        sign = -1 if self.negate_score else 1
        finite = np.where(np.isfinite(scores), scores, np.nan)
        mean = sign * finite.mean(axis=1)
        n_folds = scores.shape[1]
        label = f"mean of {n_folds} folds" if n_folds > 1 else "score"
        (self.score_line_,) = ax.plot(self.alphas, mean, color=_DARK, label=label, **self._marker)
        if n_folds > 1:
            error = _standard_error(finite)
            width = 6 if self._marker else 0  # a band over a single alpha is but its edge
            style = {"color": _DARK, "alpha": 0.2, "linewidth": width, "label": "± 1 standard error", **fill_between_kw}
            self.fill_between_ = ax.fill_between(self.alphas, mean - error, mean + error, **style)
        ax.set_ylabel(self.score_name)

    def _plot_n_features(self, ax: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        (self.n_features_line_,) = ax.plot(self.alphas, self.n_features, color=_DARK, **self._marker)
        ax.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
        ax.set_ylim(bottom=0, top=1.08 * max(1, self.n_features.max()))
        ax.set_ylabel("Features kept")

    def _mark_alphas(self) -> None:
        marks = {
            "chosen": (self.alpha, "--"),
            "best score": (self.alpha_best, ":"),
            "one standard error": (self.alpha_one_standard_error, "-."),
        }
        self.alpha_lines_ = {}
        drawn: list[float] = []
        for name, (alpha, linestyle) in marks.items():
            if alpha is None or alpha in drawn:
                continue
            drawn.append(alpha)
            self.alpha_lines_[name] = [
                ax.axvline(alpha, color=_DARK, linestyle=linestyle, linewidth=1, zorder=1, label=f"{name}: {alpha:.2g}")
                for ax in self.axes_
            ]
        ax = self.axes_[1]
        if self.scores is not None or self.alpha_lines_:
            ax.legend(loc="best", **_LEGEND)


class FeatureImportanceDisplay:
    """Importances of the features, or how often they are selected, as bars.

    Use :meth:`from_estimator` to create one.  All parameters are stored as attributes.

    Parameters
    ----------
    feature_importances : array-like of shape (n_features,)
        Importance of each feature; 0 for a dropped one.
    feature_names : array-like of shape (n_features,), default=None
        Names of the features; ``None`` is ``x0``, ``x1`` and so on.
    importance_name : str, default='Feature importance'
        Name of what is drawn.
    threshold : float, default=None
        Least importance of a selected feature; it is marked, and the bars of features below it are grey.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    bars_ : matplotlib BarContainer
        The bars, from the most to the least important feature.
    threshold_line_ : matplotlib Line2D or None
        The line at ``threshold``.

    See Also
    --------
    RegularizationPathDisplay : The importances along a path of penalties.
    StabilitySelector : Select features on random halves of the samples.
    sklearn.inspection.permutation_importance : Importances for estimators that have none.

    Examples
    --------
    >>> import numpy as np
    >>> from sklreg import ElasticNetMLP, FeatureImportanceDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> y = 3 * X[:, 2] + X[:, 5]
    >>> model = ElasticNetMLP((), alpha=0.2, l1_ratio=1.0, learning_rate_init=0.05, early_stopping=False,
    ...                       learning_rate="cosine", random_state=0).fit(X, y)
    >>> display = FeatureImportanceDisplay.from_estimator(model)
    >>> print(display.ax_.get_xlabel())
    Feature importance
    6 of 8 features dropped
    """

    ax_: Axes
    figure_: Figure | SubFigure
    bars_: BarContainer
    threshold_line_: Line2D | None

    def __init__(
        self,
        *,
        feature_importances: ArrayLike,
        feature_names: ArrayLike | None = None,
        importance_name: str = "Feature importance",
        threshold: float | None = None,
    ) -> None:
        self.feature_importances = np.asarray(feature_importances, dtype=np.float64)
        if self.feature_importances.ndim != 1:
            raise ValueError(
                f"feature_importances of {type(self).__name__} must have one dimension; got shape "
                f"{self.feature_importances.shape}."
            )
        self.feature_names = _check_names(feature_names, len(self.feature_importances), type(self).__name__)
        self.importance_name = importance_name
        self.threshold = threshold

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_names: ArrayLike | None = None,
        by_group: bool = True,
        max_features: int = 20,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the ``feature_importances_`` of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance, StabilitySelector or Pipeline
            A fitted estimator with ``feature_importances_``, a fitted :class:`StabilitySelector`, of which
            ``selection_probabilities_`` and ``threshold`` are drawn, or a pipeline that ends in one of them.
        feature_names : array-like of shape (n_features,), default=None
            Names of the features; ``None`` is what they were called in ``fit``.
        by_group : bool, default=True
            Whether features that the estimator's ``feature_groups`` puts together are one bar, of length the norm of
            their importances.  Without effect on an estimator without groups.
        max_features : int, default=20
            The most bars to draw, at least 1.
        ax : matplotlib Axes, default=None
            Where to draw.  ``None`` is a new figure.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        display : FeatureImportanceDisplay
            The display, drawn.
        """
        model, names = _unwrap(estimator)
        if not hasattr(model, "fit") or isinstance(model, type):
            raise TypeError(f"{cls.__name__}.from_estimator needs a fitted estimator; got {_kind(model)}.")
        check_is_fitted(model)
        if isinstance(model, StabilitySelector):
            importances, kind = model.selection_probabilities_, "Selection probability"
            threshold: float | None = model.threshold
        elif hasattr(model, "feature_importances_"):
            importances, kind, threshold = model.feature_importances_, "Feature importance", None
        else:
            raise TypeError(
                f"{cls.__name__}.from_estimator needs an estimator with feature_importances_ or a StabilitySelector, "
                f"or a Pipeline that ends in one; got {_kind(model)}. sklearn.inspection.permutation_importance has "
                "importances for any estimator, which the constructor of this class takes."
            )
        names = names if feature_names is None else feature_names
        if by_group and isinstance(model, ElasticNetMixin) and model.feature_groups is not None:
            columns = _check_names(names, len(importances), cls.__name__)
            known = getattr(model, "feature_names_in_", None)
            labels = feature_group_labels(model.feature_groups, len(importances), known, type(model).__name__)
            members = [[j for j, other in enumerate(labels) if other == label] for label in dict.fromkeys(labels)]
            names = [_name_of_group(labels[group[0]], [columns[j] for j in group]) for group in members]
            importances = np.array([np.linalg.norm(importances[group]) for group in members])
        display = cls(feature_importances=importances, feature_names=names, importance_name=kind, threshold=threshold)
        return display.plot(ax, max_features=max_features, **kwargs)

    def plot(self, ax: Axes | None = None, *, max_features: int = 20, **kwargs: Any) -> Self:
        """Draw the bars.

        Dropped features have none; the label of the axis says how many there are.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw.  ``None`` is a new figure.
        max_features : int, default=20
            The most bars to draw, at least 1.
        **kwargs : dict
            Keyword arguments for the bars, as for :meth:`matplotlib.axes.Axes.barh`.

        Returns
        -------
        display : FeatureImportanceDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        order = np.argsort(-self.feature_importances, kind="stable")
        order = order[self.feature_importances[order] != 0]
        shown = order[:max_features]
        size = (6.4, 1.2 + 0.26 * max(2, len(shown)))
        panels = _panels(ax, [1.0], size, "the bars")
        self.ax_, self.figure_ = panels.axes[0], panels.figure
        values = self.feature_importances[shown]
        is_selected = values >= (-np.inf if self.threshold is None else self.threshold)
        style = {"color": np.where(is_selected, "C0", _QUIET).tolist(), "height": 0.7, **kwargs}
        places = np.arange(len(shown))
        self.bars_ = self.ax_.barh(places, values, **style)
        self.ax_.set_yticks(places, [self.feature_names[j] for j in shown])
        self.ax_.set_ylim(max(1, len(shown)) - 0.4, -0.6)  # the greatest on top
        if not len(shown):
            self.ax_.set_xlim(0, 1)
        self.threshold_line_ = None
        if self.threshold is not None:
            self.threshold_line_ = self.ax_.axvline(self.threshold, color=_DARK, linestyle="--", linewidth=1)
        self.ax_.set_xlabel("\n".join(filter(None, [self.importance_name, self._note(len(order), len(shown))])))
        return self

    def _note(self, n_nonzero: int, n_shown: int) -> str:
        n_features = len(self.feature_importances)
        parts = []
        if self.threshold is not None:
            n_selected = np.count_nonzero(self.feature_importances >= self.threshold)
            parts.append(f"{n_selected} of {n_features} features selected, at {self.threshold:.3g} or more")
        elif n_nonzero < n_features:
            parts.append(f"{n_features - n_nonzero} of {n_features} features dropped")
        if n_shown < n_nonzero:
            parts.append(f"{n_nonzero - n_shown} more not shown")
        return "; ".join(parts)


class TrainingCurveDisplay:
    """Training and validation loss of each epoch, and the epoch whose weights were kept.

    A second panel has the validation score, where early stopping watched one other than the loss.

    Use :meth:`from_estimator` to create one.  All parameters are stored as attributes.

    Parameters
    ----------
    histories : list of list of dict
        The ``history_`` of each estimator.
    best_iters : list of int, default=None
        The epoch of each estimator whose weights were kept, counted from 1; 0 is none of them.
    names : list of str, default=None
        Name of each estimator; needed for more than one.
    score_name : str, default=None
        Name of the validation score; ``None`` leaves it out.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels,)
        The axes of the loss and, if drawn, of the score.
    bounding_ax_ : matplotlib Axes or None
        The axes in whose place the panels are, if one was given for two of them.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of matplotlib Line2D
        The training loss of each estimator.
    validation_lines_ : list of matplotlib Line2D or None
        The validation loss of each estimator; ``None`` where there is none.
    score_lines_ : list of matplotlib Line2D or None
        The validation score of each estimator, likewise.
    best_points_ : list of matplotlib Line2D or None
        The epoch of each estimator that was kept: on its validation loss, or else on its training loss.
    best_score_points_ : list of matplotlib Line2D or None
        The same on its validation score.

    See Also
    --------
    RegularizedMLPClassifier : Early stopping keeps the best epoch.
    sklearn.model_selection.LearningCurveDisplay : The score against the number of samples.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklreg import RegularizedMLPClassifier, TrainingCurveDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = RegularizedMLPClassifier((8,), max_iter=10, random_state=0).fit(X / X.max(axis=0), y)
    >>> display = TrainingCurveDisplay.from_estimator(model)
    >>> len(display.lines_[0].get_xdata()) == model.n_iter_
    True
    """

    axes_: Array
    bounding_ax_: Axes | None
    figure_: Figure | SubFigure
    lines_: list[Line2D]
    validation_lines_: list[Line2D | None]
    score_lines_: list[Line2D | None]
    best_points_: list[Line2D | None]
    best_score_points_: list[Line2D | None]

    def __init__(
        self,
        *,
        histories: Sequence[Sequence[Mapping[str, float]]],
        best_iters: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        score_name: str | None = None,
    ) -> None:
        self.histories = histories
        self.best_iters = best_iters
        self.names = names
        self.score_name = score_name
        for name, value in (("best_iters", best_iters), ("names", names)):
            if value is not None and len(value) != len(histories):
                raise ValueError(
                    f"{name} of {type(self).__name__} must have an entry for each of the {len(histories)} histories; "
                    f"got {len(value)}."
                )
        if len(histories) == 0 or (names is None and len(histories) > 1):
            raise ValueError(
                f"{type(self).__name__} needs at least one history, and names for more than one; got {len(histories)} "
                f"histories and names={names!r}."
            )

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, names: Sequence[str] | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the ``history_`` of one or several fitted estimators.

        Parameters
        ----------
        estimator : estimator instance, list of them or dict of str to estimator instance
            Fitted estimators of this package, or pipelines that end in one.  The keys of a dict are their names.  Of
            one with ``n_members`` above 1 every member is drawn.
        names : list of str, default=None
            Name of each estimator; ``None`` is the key in the dict, or else that of the class, numbered where there
            are several.
        ax : matplotlib Axes or array-like of them, default=None
            Where to draw, as in :meth:`plot`.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, drawn.
        """
        if isinstance(estimator, Mapping):
            names = [str(key) for key in estimator] if names is None else names
            given = list(estimator.values())
        else:
            given = list(estimator) if isinstance(estimator, (list, tuple)) else [estimator]
        models = [_unwrap(one)[0] for one in given]
        if not models:
            raise ValueError(f"{cls.__name__}.from_estimator needs at least one fitted estimator; got {estimator!r}.")
        for model in models:
            if not isinstance(model, BaseRegularizedMLP):
                raise TypeError(
                    f"{cls.__name__}.from_estimator needs fitted estimators of sklreg with a history_, or Pipelines "
                    f"that end in one; got {_kind(model)}. Of a search, pass best_estimator_."
                )
            check_is_fitted(model)
        if names is None:
            kinds = [type(model).__name__ for model in models]
            names = [
                kind if kinds.count(kind) == 1 else f"{kind} {kinds[: i + 1].count(kind)}"
                for i, kind in enumerate(kinds)
            ]
        if len(names) == len(models):
            names = [
                name if len(members) == 1 else f"{name}, member {k + 1}"
                for name, members in zip(names, (model._members() for model in models), strict=True)
                for k in range(len(members))
            ]
            models = [member for model in models for member in model._members()]
        scored = [model for model in models if model.scoring != "loss" and _has(model.history_, "validation_score")]
        score_names = {_name_of_score(model.scoring, negate=False) for model in scored}
        display = cls(
            histories=[
                model.history_ if model in scored else [_without_score(record) for record in model.history_]
                for model in models
            ],
            best_iters=[model.best_iter_ for model in models],
            names=names,
            score_name=score_names.pop() if len(score_names) == 1 else "Validation score" if score_names else None,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Any = None, *, line_kw: dict[str, Any] | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            One axes, in whose place two panels are drawn where there is a score, or one for each panel.  ``None`` is a
            new figure.
        line_kw : dict, default=None
            Keyword arguments for all curves, as for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : TrainingCurveDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        heights = [1.0] if self.score_name is None else [1.4, 1.0]
        size = (6.4, 1.4 + 2.8 * sum(heights))
        self.axes_, self.bounding_ax_, self.figure_ = _panels(ax, heights, size, "loss, score")
        from matplotlib.ticker import MaxNLocator

        self.lines_, self.validation_lines_, self.score_lines_ = [], [], []
        self.best_points_, self.best_score_points_ = [], []
        # One estimator has a colour for each curve; several have one each, and training is dashed.
        is_single = len(self.histories) == 1
        for k, history in enumerate(self.histories):
            best_iter = None if self.best_iters is None else self.best_iters[k]
            style = {"color": "C1" if is_single else f"C{k}", "label": "validation", **(line_kw or {})}
            train_style = {"color": "C0", "label": "training"} if is_single else {"linestyle": "--", "linewidth": 1.0}
            train = self.axes_[0].plot(*_curve(history, "loss"), **{**style, **train_style, **(line_kw or {})})[0]
            validation = score = None
            if _has(history, "validation_loss"):
                (validation,) = self.axes_[0].plot(*_curve(history, "validation_loss"), **style)
            if self.score_name is not None and _has(history, "validation_score"):
                (score,) = self.axes_[1].plot(*_curve(history, "validation_score"), **style)
            self.lines_.append(train)
            self.validation_lines_.append(validation)
            self.score_lines_.append(score)
            self.best_points_.append(_mark_epoch(train if validation is None else validation, best_iter))
            self.best_score_points_.append(_mark_epoch(score, best_iter))
        self.axes_[0].set_ylabel("Loss")
        self.axes_[-1].xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
        if self.score_name is not None:
            self.axes_[1].set_ylabel(self.score_name)
        for panel in self.axes_:
            if panel is self.axes_[-1] or not panel.get_shared_x_axes().joined(panel, self.axes_[-1]):
                panel.set_xlabel("Epoch")
        self.axes_[0].legend(handles=self._legend(), **_LEGEND)
        return self

    def _legend(self) -> list[Line2D]:
        """Return what stands for the estimators, if there are several, and for the kinds of curves."""
        from matplotlib.lines import Line2D

        point = next((point for point in self.best_points_ if point is not None), None)
        validation = next((line for line in self.validation_lines_ if line is not None), None)
        if len(self.histories) == 1:
            return [handle for handle in (self.lines_[0], validation, point) if handle is not None]
        names = [Line2D([], [], color=f"C{k}", label=name) for k, name in enumerate(self.names or [])]
        kinds = [Line2D([], [], color=_DARK, linestyle="--", linewidth=1.0, label="training")]
        if validation is not None:
            kinds.append(Line2D([], [], color=_DARK, label="validation"))
        if point is not None:
            kinds.append(Line2D([], [], color=_DARK, marker="o", linestyle="", label="kept"))
        return names + kinds


class RegularizationAblationDisplay:
    """What an estimator's score loses without each of its regularizers, with each alone, and without all, as bars.

    Use :meth:`from_ablation` to create one.  All parameters are stored as attributes.

    Parameters
    ----------
    differences : array-like of shape (n_variants,)
        Mean difference in score of each variant from the estimator with all of them.
    variants : list of str
        Name of each variant.
    standard_errors : array-like of shape (n_variants,), default=None
        Standard error of each difference, drawn to both sides; ``None`` or not a number leaves it out.
    kinds : list of str, default=None
        Kind of each variant, 'without', 'alone' or 'none': those of one kind have one colour, and a gap parts them from
        the others.  ``None`` is a single kind.
    score_name : str, default='score'
        Name of the score.
    score : float, default=None
        Mean score of the estimator with all of them, for the label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    bars_ : matplotlib BarContainer
        The bars, from top to bottom.
    errors_ : matplotlib ErrorbarContainer or None
        The standard errors.
    zero_line_ : matplotlib Line2D
        The line at 0, the score with all of them.

    See Also
    --------
    RegularizationAblation : Cross-validate the variants.

    Examples
    --------
    >>> from sklreg import RegularizationAblationDisplay
    >>> display = RegularizationAblationDisplay(
    ...     differences=[-0.02, 0.001], variants=["without dropout", "without l2"], score_name="accuracy", score=0.9
    ... ).plot()
    >>> print(display.ax_.get_xlabel())
    Difference in accuracy from all together (0.9)
    """

    ax_: Axes
    figure_: Figure | SubFigure
    bars_: BarContainer
    errors_: ErrorbarContainer | None
    zero_line_: Line2D

    def __init__(
        self,
        *,
        differences: ArrayLike,
        variants: Sequence[str],
        standard_errors: ArrayLike | None = None,
        kinds: Sequence[str] | None = None,
        score_name: str = "score",
        score: float | None = None,
    ) -> None:
        self.differences = np.asarray(differences, dtype=np.float64)
        self.variants = list(variants)
        self.standard_errors = None if standard_errors is None else np.asarray(standard_errors, dtype=np.float64)
        self.kinds = None if kinds is None else list(kinds)
        self.score_name = score_name
        self.score = score
        if self.differences.ndim != 1 or not len(self.differences):
            raise ValueError(
                f"differences of {type(self).__name__} must have one dimension and at least one entry; got shape "
                f"{self.differences.shape}."
            )
        for name, value in (("variants", variants), ("standard_errors", self.standard_errors), ("kinds", kinds)):
            if value is not None and len(value) != len(self.differences):
                raise ValueError(
                    f"{name} of {type(self).__name__} must have an entry for each of the {len(self.differences)} "
                    f"differences; got {len(value)}."
                )

    @classmethod
    def from_ablation(cls, ablation: RegularizationAblation, *, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the differences of a fitted ablation.

        Parameters
        ----------
        ablation : RegularizationAblation
            The fitted ablation.
        ax : matplotlib Axes, default=None
            Where to draw.  ``None`` is a new figure.
        **kwargs : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        display : RegularizationAblationDisplay
            The display, drawn.
        """
        if not isinstance(ablation, RegularizationAblation):
            raise TypeError(
                f"{cls.__name__}.from_ablation needs a fitted RegularizationAblation; got {_kind(ablation)}."
            )
        check_is_fitted(ablation)
        results, scoring = ablation.results_, ablation.scoring
        default = "accuracy" if is_classifier(ablation.estimator) else "R²"
        name = default if scoring is None else _name_of_score(scoring, negate=False)
        rest = np.flatnonzero(results["kind"] != "all")
        display = cls(
            differences=results["mean_difference"][rest],
            variants=results["variant"][rest].tolist(),
            standard_errors=results["standard_error_difference"][rest],
            kinds=results["kind"][rest].tolist(),
            score_name=name if name in ("R²", "R2") else name[:1].lower() + name[1:],
            score=float(results["mean_test_score"][0]),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw.  ``None`` is a new figure.
        **kwargs : dict
            Keyword arguments for the bars, as for :meth:`matplotlib.axes.Axes.barh`.

        Returns
        -------
        display : RegularizationAblationDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        kinds = self.kinds or [""] * len(self.variants)
        n_gaps = np.cumsum([0, *(one != other for one, other in pairwise(kinds))])
        places = np.arange(len(kinds)) + 0.5 * n_gaps
        panels = _panels(ax, [1.0], (6.4, 1.2 + 0.3 * max(2.0, places[-1] + 1)), "the bars")
        self.ax_, self.figure_ = panels.axes[0], panels.figure
        colors = {kind: _DARK if kind == "none" else f"C{i}" for i, kind in enumerate(dict.fromkeys(kinds))}
        style = {"color": [colors[kind] for kind in kinds], "height": 0.7, "alpha": 0.8, **kwargs}
        self.bars_ = self.ax_.barh(places, self.differences, **style)
        self.errors_ = None
        if self.standard_errors is not None and np.isfinite(self.standard_errors).any():
            self.errors_ = self.ax_.errorbar(
                self.differences, places, xerr=self.standard_errors, fmt="none", ecolor="black", elinewidth=1, capsize=2
            )
        self.zero_line_ = self.ax_.axvline(0, color=_DARK, linewidth=1)
        self.ax_.set_yticks(places, self.variants)
        self.ax_.set_ylim(places[-1] + 0.6, -0.6)  # the first on top
        score = "" if self.score is None else f" ({self.score:.3g})"
        error = "" if self.errors_ is None else "\nBlack: ± 1 standard error"
        self.ax_.set_xlabel(f"Difference in {self.score_name} from all together{score}{error}")
        return self


# What was given -------------------------------------------------------------------------------------------------------


def _unwrap(estimator: Any) -> tuple[Any, Any]:
    """Return an estimator, or the last step of a pipeline, and the names that its features have, if any."""
    if not isinstance(estimator, Pipeline):
        return estimator, getattr(estimator, "feature_names_in_", None)
    model = estimator.steps[-1][1]
    if hasattr(model, "feature_names_in_"):
        return model, model.feature_names_in_
    try:
        return model, estimator[:-1].get_feature_names_out()
    except (AttributeError, NotFittedError, ValueError):  # a step that knows no names
        return model, None


def _kind(thing: Any) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def _check_names(names: Any, n_features: int, owner: str) -> Array:
    """Return names of the features, as strings."""
    if names is None:
        return np.array([f"x{j}" for j in range(n_features)], dtype=object)
    checked = np.array([str(name) for name in names], dtype=object)
    if len(checked) != n_features:
        raise ValueError(
            f"feature_names of {owner} must have a name for each of the {n_features} features; got {len(checked)}."
        )
    return checked


def _name_of_group(label: Any, columns: list[str]) -> str:
    """Return the label if it is a name, else the names of the columns."""
    if isinstance(label, str):
        return label
    return ", ".join(columns if len(columns) <= 3 else [columns[0], "…", columns[-1]])


def _name_of_score(scoring: Any, *, negate: bool) -> str:
    """Return what to call a score, or its negative, on an axis."""
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    if name.startswith("neg_"):
        name = name[4:] if negate else f"negative {name[4:]}"
    return str(name).replace("_", " ").capitalize()


def _standard_error(scores: Array) -> Array:
    """Return the standard error of the mean of ``(n_alphas, n_folds)`` scores."""
    with np.errstate(invalid="ignore"):  # of scores that are not finite
        return np.asarray(scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1]))


def _has(history: Sequence[Mapping[str, float]], key: str) -> bool:
    return any(key in record for record in history)


def _curve(history: Sequence[Mapping[str, float]], key: str) -> tuple[Array, Array]:
    """Return epochs and values, not a number where there is none (passes of ``partial_fit`` have no validation)."""
    return np.array([r["epoch"] for r in history]), np.array([r.get(key, np.nan) for r in history])


def _without_score(record: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in record.items() if key != "validation_score"}


# Drawing --------------------------------------------------------------------------------------------------------------


def _panels(ax: Any, heights: list[float], size: tuple[float, float], what: str) -> Panels:
    """Return panels one above another: in a new figure, in place of an axes, or the axes that are given."""
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    n = len(heights)
    if ax is None:
        figure, axes = plt.subplots(
            n, sharex=True, squeeze=False, figsize=size, height_ratios=heights, layout="constrained"
        )
        figure.align_ylabels(axes)
        return Panels(axes[:, 0], None, figure)
    given = np.asarray(ax, dtype=object).ravel()
    wrong = [one for one in given if not isinstance(one, Axes)]
    if wrong:
        raise TypeError(f"ax must be a matplotlib Axes or an array of them; got {_kind(wrong[0])}.")
    if len(given) == n:
        return Panels(given, None, given[0].figure)
    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be one axes, or {n} of them ({what}); got {len(given)}.")
    spec = ax.get_subplotspec()
    if spec is None or not ax.axison:
        reason = "is not a subplot" if spec is None else "was used by a display before"
        raise ValueError(
            f"ax {reason}, so that it cannot be divided into {n} panels. Pass an array of {n} axes ({what}), such as "
            "axes_ of the display that was drawn before."
        )
    ax.set_axis_off()
    grid = spec.subgridspec(n, 1, height_ratios=heights)
    first = ax.figure.add_subplot(grid[0])
    panels = [first, *(ax.figure.add_subplot(grid[i], sharex=first) for i in range(1, n))]
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    ax.figure.align_ylabels(panels)
    return Panels(np.array(panels, dtype=object), ax, ax.figure)


def _scale_alphas(ax: Axes, alphas: Array) -> None:
    """Make the axis logarithmic, with a linear part on the left where there is an alpha of 0."""
    positive = alphas[alphas > 0]
    if len(positive) == len(alphas):
        ax.set_xscale("log")
    elif len(positive):
        ax.set_xscale("symlog", linthresh=positive.min(), linscale=0.5)
        ax.set_xlim(-0.2 * positive.min(), 1.3 * positive.max())


def _mark_epoch(line: Line2D | None, epoch: int | None) -> Line2D | None:
    """Mark an epoch on a curve."""
    if line is None:
        return None
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    at = (x == epoch) & np.isfinite(y)
    if not at.any():
        return None
    style = {"color": line.get_color(), "marker": "o", "linestyle": "", "zorder": 3, "label": f"kept: epoch {epoch}"}
    ax: Any = line.axes
    point: Line2D = ax.plot(x[at], y[at], **style)[0]
    return point
