"""The display of a path: importances, error with its band and number of features, against alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklreg._given import kind_of, model_and_names
from sklreg._path import ElasticNetMLPPath
from sklreg.displays._drawing import DARK, LEGEND, QUIET, check_names, name_of_score, panels_of, scale_alphas
from sklreg.elastic_net_cv import ElasticNetMLPClassifierCV, ElasticNetMLPCV, standard_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

Array = NDArray[Any]


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
        self.feature_names = check_names(feature_names, len(self.feature_importances), type(self).__name__)

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

        Raises
        ------
        TypeError
            If it has not chosen alpha by cross-validation.
        ValueError
            If there is no such ``l1_ratio``, or ``feature_names`` are too few or many.
        NotFittedError
            If the estimator is not fitted.

        Notes
        -----
        With ``scoring='loss'`` the score is the log loss of a classifier and the mean squared error of a regressor,
        which goes with its loss.
        """
        model, names = model_and_names(estimator)
        if not isinstance(model, (ElasticNetMLPCV, ElasticNetMLPClassifierCV)):
            raise TypeError(
                f"{cls.__name__}.from_estimator needs a fitted ElasticNetMLPCV or ElasticNetMLPClassifierCV, or a "
                f"Pipeline that ends in one; got {kind_of(model)}. For the result of elastic_net_mlp_path there is "
                "from_path."
            )
        check_is_fitted(model)
        scores, alphas = model.scores_, model.alphas_
        negate_score = model.scoring == "loss" or str(model.scoring).startswith("neg_")
        score_name = name_of_score(model.scoring, negate=negate_score)
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

        Raises
        ------
        TypeError
            If it is no path.
        ValueError
            If ``feature_names`` are too few or many.
        """
        if not isinstance(path, ElasticNetMLPPath):
            raise TypeError(
                f"{cls.__name__}.from_path needs what elastic_net_mlp_path returns; got {kind_of(path)}. For a fitted "
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
        mean, error = self.scores.mean(axis=1), standard_error(self.scores)
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
        panels = panels_of(ax, heights, (6.4, 1.3 + 1.35 * sum(heights)), "importances, score, number of features")
        self.axes_, self.bounding_ax_, self.figure_ = panels
        self._plot_importances(self.axes_[0], max_labels, line_kw or {})
        self.score_line_ = self.fill_between_ = None
        if self.scores is not None:
            self._plot_score(self.axes_[1], self.scores, fill_between_kw or {})
        self._plot_n_features(self.axes_[-1])
        self._mark_alphas()
        for panel in self.axes_:
            scale_alphas(panel, self.alphas)
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
            style = {"color": QUIET, "linewidth": 0.8, "zorder": 1.5, **label, **self._marker, **line_kw}
            (lines[j],) = ax.plot(self.alphas, self.feature_importances[j], **style)
        for rank, j in enumerate(named):
            style = {"color": f"C{rank}", "label": self.feature_names[j], **self._marker, **line_kw}
            (lines[j],) = ax.plot(self.alphas, self.feature_importances[j], **style)
        self.lines_ = [lines[j] for j in range(len(lines))]
        ax.set_ylabel("Feature importance")
        handles = [lines[j] for j in named] + [lines[j] for j in others[:1]]
        top = self.feature_importances.max(initial=0.0) or 1.0
        at_right = self.feature_importances[named, self.alphas.argmax()].max(initial=0.0)
        ax.legend(handles=handles, loc="upper right" if at_right < top / 2 else "lower left", **LEGEND)
        ax.set_ylim(-0.04 * top, 1.04 * top)  # whether a line ends at 0 is what matters

    def _plot_score(self, ax: Axes, scores: Array, fill_between_kw: dict[str, Any]) -> None:
        sign = -1 if self.negate_score else 1
        finite = np.where(np.isfinite(scores), scores, np.nan)
        mean = sign * finite.mean(axis=1)
        n_folds = scores.shape[1]
        label = f"mean of {n_folds} folds" if n_folds > 1 else "score"
        (self.score_line_,) = ax.plot(self.alphas, mean, color=DARK, label=label, **self._marker)
        if n_folds > 1:
            error = standard_error(finite)
            width = 6 if self._marker else 0  # a band over a single alpha is but its edge
            style = {"color": DARK, "alpha": 0.2, "linewidth": width, "label": "± 1 standard error", **fill_between_kw}
            self.fill_between_ = ax.fill_between(self.alphas, mean - error, mean + error, **style)
        ax.set_ylabel(self.score_name)

    def _plot_n_features(self, ax: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        (self.n_features_line_,) = ax.plot(self.alphas, self.n_features, color=DARK, **self._marker)
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
                ax.axvline(alpha, color=DARK, linestyle=linestyle, linewidth=1, zorder=1, label=f"{name}: {alpha:.2g}")
                for ax in self.axes_
            ]
        ax = self.axes_[1]
        if self.scores is not None or self.alpha_lines_:
            ax.legend(loc="best", **LEGEND)
