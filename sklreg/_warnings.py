"""Warnings that point to the line of the user's that they are about."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any, NamedTuple

_LIBRARIES = {"sklreg", "sklearn", "skorch", "imblearn", "joblib"}


class Place(NamedTuple):
    """A line of code, as :func:`warnings.warn_explicit` names it."""

    filename: str
    line: int
    module: str
    registry: dict[Any, Any]


class _OfThread(threading.local):
    place: Place | None = None


_of_thread = _OfThread()


def place_of_user() -> Place | None:
    """Return the innermost line of code that is neither ours nor of the libraries that call us.

    In a thread that has none of its own it is that of :func:`set_place`.
    """
    frame = sys._getframe(1)
    while _library_of(frame) in _LIBRARIES and frame.f_back is not None:
        frame = frame.f_back
    if _library_of(frame) in {*_LIBRARIES, "threading"}:
        return _of_thread.place
    module: str = frame.f_globals.get("__name__", "")
    registry: dict[Any, Any] = frame.f_globals.setdefault("__warningregistry__", {})
    return Place(frame.f_code.co_filename, frame.f_lineno, module, registry)


def set_place(place: Place | None) -> None:
    """Say what this thread's work was asked for by."""
    _of_thread.place = place


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the user's line: a ``stacklevel`` would differ between a fit, a fit in a search, and one in a thread."""
    place = place_of_user()
    if place is None:
        warnings.warn(message, category, stacklevel=2)
    else:
        warnings.warn_explicit(message, category, place.filename, place.line, place.module, place.registry)


def _library_of(frame: Any) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]
