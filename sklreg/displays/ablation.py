"""The display of a :class:`~sklreg.RegularizationAblation`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklreg._given import kind_of
from sklreg.ablation import RegularizationAblation
from sklreg.displays._drawing import DARK, name_of_score, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer, ErrorbarContainer
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

Array = NDArray[Any]


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

        Raises
        ------
        TypeError
            If it is no ablation.
        NotFittedError
            If the estimator is not fitted.
        """
        if not isinstance(ablation, RegularizationAblation):
            raise TypeError(
                f"{cls.__name__}.from_ablation needs a fitted RegularizationAblation; got {kind_of(ablation)}."
            )
        check_is_fitted(ablation)
        results, scoring = ablation.results_, ablation.scoring
        default = "accuracy" if is_classifier(ablation.estimator) else "R²"
        name = default if scoring is None else name_of_score(scoring, negate=False)
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
        panels = panels_of(ax, [1.0], (6.4, 1.2 + 0.3 * max(2.0, places[-1] + 1)), "the bars")
        self.ax_, self.figure_ = panels.axes[0], panels.figure
        colors = {kind: DARK if kind == "none" else f"C{i}" for i, kind in enumerate(dict.fromkeys(kinds))}
        style = {"color": [colors[kind] for kind in kinds], "height": 0.7, "alpha": 0.8, **kwargs}
        self.bars_ = self.ax_.barh(places, self.differences, **style)
        self.errors_ = None
        if self.standard_errors is not None and np.isfinite(self.standard_errors).any():
            self.errors_ = self.ax_.errorbar(
                self.differences, places, xerr=self.standard_errors, fmt="none", ecolor="black", elinewidth=1, capsize=2
            )
        self.zero_line_ = self.ax_.axvline(0, color=DARK, linewidth=1)
        self.ax_.set_yticks(places, self.variants)
        self.ax_.set_ylim(places[-1] + 0.6, -0.6)  # the first on top
        score = "" if self.score is None else f" ({self.score:.3g})"
        error = "" if self.errors_ is None else "\nBlack: ± 1 standard error"
        self.ax_.set_xlabel(f"Difference in {self.score_name} from all together{score}{error}")
        return self
