"""What displays have in common: panels, scales, names on axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklreg._given import kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Array = NDArray[Any]
QUIET, DARK = "0.8", "0.25"  # greys of what is not named, and of marks
LEGEND: dict[str, Any] = {"fontsize": "small", "framealpha": 0.8, "edgecolor": "none"}


class _Panels(NamedTuple):
    """Axes one above another, the axes in whose place they are, if any, and their figure."""

    axes: Array
    bounding_ax: Axes | None
    figure: Figure | SubFigure


def panels_of(ax: Any, heights: list[float], size: tuple[float, float], what: str) -> _Panels:
    """Return panels one above another: in a new figure, in place of an axes, or the axes that are given."""
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    n = len(heights)
    if ax is None:
        figure, axes = plt.subplots(
            n, sharex=True, squeeze=False, figsize=size, height_ratios=heights, layout="constrained"
        )
        figure.align_ylabels(axes)
        return _Panels(axes[:, 0], None, figure)
    given = np.asarray(ax, dtype=object).ravel()
    wrong = [one for one in given if not isinstance(one, Axes)]
    if wrong:
        raise TypeError(f"ax must be a matplotlib Axes or an array of them; got {kind_of(wrong[0])}.")
    if len(given) == n:
        return _Panels(given, None, given[0].figure)
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
    return _Panels(np.array(panels, dtype=object), ax, ax.figure)


def scale_alphas(ax: Axes, alphas: Array) -> None:
    """Make the axis logarithmic, with a linear part on the left where there is an alpha of 0."""
    positive = alphas[alphas > 0]
    if len(positive) == len(alphas):
        ax.set_xscale("log")
    elif len(positive):
        ax.set_xscale("symlog", linthresh=positive.min(), linscale=0.5)
        ax.set_xlim(-0.2 * positive.min(), 1.3 * positive.max())


def check_names(names: Any, n_features: int, owner: str) -> Array:
    """Return names of the features, as strings."""
    if names is None:
        return np.array([f"x{j}" for j in range(n_features)], dtype=object)
    checked = np.array([str(name) for name in names], dtype=object)
    if len(checked) != n_features:
        raise ValueError(
            f"feature_names of {owner} must have a name for each of the {n_features} features; got {len(checked)}."
        )
    return checked


def name_of_score(scoring: Any, *, negate: bool) -> str:
    """Return what to call a score, or its negative, on an axis."""
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    if name.startswith("neg_"):
        name = name[4:] if negate else f"negative {name[4:]}"
    return str(name).replace("_", " ").capitalize()
