"""scikit-learn's callbacks, where the installed version has them (1.9 and later)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:

    class CallbackSupportMixin: ...

    def with_callbacks(method: F) -> F: ...

else:
    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:

        class CallbackSupportMixin:
            """Stands for scikit-learn's, which this version does not have."""

        def with_callbacks(method):
            """Return the method unchanged: there are no callbacks to manage."""
            return method


class EpochTasks:
    """Presents the epochs of a fit to the estimator's callbacks, one task each."""

    def __init__(self, estimator: Any, X: Any, y: Any, max_iter: int) -> None:
        self.estimator, self.X, self.y = estimator, X, y
        self.context = estimator._init_callback_context(max_subtasks=max_iter)
        self.context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        self._lock = threading.Lock()  # members may train in several threads

    @classmethod
    def of(cls, estimator: Any, X: Any, y: Any, max_iter: int) -> EpochTasks | None:
        """Begin the tasks of a fit; ``None`` where nobody listens."""
        # Those of a search are among them, where it passes them on.
        return cls(estimator, X, y, max_iter) if getattr(estimator, "_skl_callbacks", None) else None

    def end_epoch(self, snapshot: Callable[[], dict[str, Any]]) -> bool:
        """Report an epoch; ``snapshot`` makes the fitted attributes as they are now.  Return whether to stop."""
        about = {"estimator": self.estimator, "X": self.X, "y": self.y}
        with self._lock:
            task = self.context.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(**about)
            return bool(task.call_on_fit_task_end(**about, reconstruction_attributes=snapshot))

    def end(self) -> None:
        """Report the end of the fit, once the estimator is fitted."""
        self.context.call_on_fit_task_end(estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=dict)
