"""Warnings that point to the line of the user's that they are about."""

from __future__ import annotations

import sys
import warnings

_LIBRARIES = {"sklreg", "sklearn", "skorch", "imblearn", "joblib"}


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line of code that is neither ours nor of the libraries that call us.

    A constant ``stacklevel`` would have to count decorators, and differ between a fit and a fit in a search.
    """
    frame, level = sys._getframe(1), 2  # of the caller
    while frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
