"""The display of what features count for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklreg._feature_groups import feature_group_labels
from sklreg._given import kind_of, model_and_names
from sklreg.displays._drawing import DARK, QUIET, check_names, panels_of
from sklreg.elastic_net import PenaltyGroupsMixin
from sklreg.stability import StabilitySelector

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

Array = NDArray[Any]


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
        self.feature_names = check_names(feature_names, len(self.feature_importances), type(self).__name__)
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

        Raises
        ------
        TypeError
            If the estimator has no importances.
        ValueError
            If ``feature_names`` are too few or many.
        NotFittedError
            If the estimator is not fitted.
        """
        model, names = model_and_names(estimator)
        if not hasattr(model, "fit") or isinstance(model, type):
            raise TypeError(f"{cls.__name__}.from_estimator needs a fitted estimator; got {kind_of(model)}.")
        check_is_fitted(model)
        if isinstance(model, StabilitySelector):
            importances, kind = model.selection_probabilities_, "Selection probability"
            threshold: float | None = model.threshold
        elif hasattr(model, "feature_importances_"):
            importances, kind, threshold = model.feature_importances_, "Feature importance", None
        else:
            raise TypeError(
                f"{cls.__name__}.from_estimator needs an estimator with feature_importances_ or a StabilitySelector, "
                f"or a Pipeline that ends in one; got {kind_of(model)}. sklearn.inspection.permutation_importance has "
                "importances for any estimator, which the constructor of this class takes."
            )
        names = names if feature_names is None else feature_names
        if by_group and isinstance(model, PenaltyGroupsMixin) and model.feature_groups is not None:
            columns = check_names(names, len(importances), cls.__name__)
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
        panels = panels_of(ax, [1.0], size, "the bars")
        self.ax_, self.figure_ = panels.axes[0], panels.figure
        values = self.feature_importances[shown]
        is_selected = values >= (-np.inf if self.threshold is None else self.threshold)
        style = {"color": np.where(is_selected, "C0", QUIET).tolist(), "height": 0.7, **kwargs}
        places = np.arange(len(shown))
        self.bars_ = self.ax_.barh(places, values, **style)
        self.ax_.set_yticks(places, [self.feature_names[j] for j in shown])
        self.ax_.set_ylim(max(1, len(shown)) - 0.4, -0.6)  # the greatest on top
        if not len(shown):
            self.ax_.set_xlim(0, 1)
        self.threshold_line_ = None
        if self.threshold is not None:
            self.threshold_line_ = self.ax_.axvline(self.threshold, color=DARK, linestyle="--", linewidth=1)
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


def _name_of_group(label: Any, columns: list[str]) -> str:
    """Return the label if it is a name, else the names of the columns."""
    if isinstance(label, str):
        return label
    return ", ".join(columns if len(columns) <= 3 else [columns[0], "…", columns[-1]])
