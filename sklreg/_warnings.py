"""Warnings that point to the line of the user's that they are about."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_LIBRARIES = {"sklreg", "sklearn", "skorch", "imblearn", "joblib"}


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line of code that is neither ours nor of the libraries that call us.

    A constant ``stacklevel`` would have to count decorators, and differ between a fit and a fit in a search.  In a
    thread of a search there is no such line, and the warning is of the line that gives it.
    """
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and _library_of(frame) in _LIBRARIES:
        frame, level = frame.f_back, level + 1
    is_of_user = frame is not None and _library_of(frame) != "threading"
    warnings.warn(message, category, stacklevel=level if is_of_user else 2)


def _library_of(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]
