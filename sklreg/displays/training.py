"""The display of a training: losses and scores by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklreg._base import BaseRegularizedMLP
from sklreg._given import kind_of, model_and_names
from sklreg.displays._drawing import DARK, LEGEND, name_of_score, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

Array = NDArray[Any]


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

        Raises
        ------
        TypeError
            If an estimator has no history.
        ValueError
            If there is none, or as many ``names`` as estimators are not given.
        NotFittedError
            If the estimator is not fitted.
        """
        if isinstance(estimator, Mapping):
            names = [str(key) for key in estimator] if names is None else names
            given = list(estimator.values())
        else:
            given = list(estimator) if isinstance(estimator, (list, tuple)) else [estimator]
        models = [model_and_names(one)[0] for one in given]
        if not models:
            raise ValueError(f"{cls.__name__}.from_estimator needs at least one fitted estimator; got {estimator!r}.")
        for model in models:
            if not isinstance(model, BaseRegularizedMLP):
                raise TypeError(
                    f"{cls.__name__}.from_estimator needs fitted estimators of sklreg with a history_, or Pipelines "
                    f"that end in one; got {kind_of(model)}. Of a search, pass best_estimator_."
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
        score_names = {name_of_score(model.scoring, negate=False) for model in scored}
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
        self.axes_, self.bounding_ax_, self.figure_ = panels_of(ax, heights, size, "loss, score")
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
        self.axes_[0].legend(handles=self._legend(), **LEGEND)
        return self

    def _legend(self) -> list[Line2D]:
        """Return what stands for the estimators, if there are several, and for the kinds of curves."""
        from matplotlib.lines import Line2D

        point = next((point for point in self.best_points_ if point is not None), None)
        validation = next((line for line in self.validation_lines_ if line is not None), None)
        if len(self.histories) == 1:
            return [handle for handle in (self.lines_[0], validation, point) if handle is not None]
        names = [Line2D([], [], color=f"C{k}", label=name) for k, name in enumerate(self.names or [])]
        kinds = [Line2D([], [], color=DARK, linestyle="--", linewidth=1.0, label="training")]
        if validation is not None:
            kinds.append(Line2D([], [], color=DARK, label="validation"))
        if point is not None:
            kinds.append(Line2D([], [], color=DARK, marker="o", linestyle="", label="kept"))
        return names + kinds


def _has(history: Sequence[Mapping[str, float]], key: str) -> bool:
    return any(key in record for record in history)


def _curve(history: Sequence[Mapping[str, float]], key: str) -> tuple[Array, Array]:
    """Return epochs and values, not a number where there is none (passes of ``partial_fit`` have no validation)."""
    return np.array([r["epoch"] for r in history]), np.array([r.get(key, np.nan) for r in history])


def _without_score(record: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in record.items() if key != "validation_score"}


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
