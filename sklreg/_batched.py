"""``batched_training``: a joblib backend under which the fits of a search meet and train together."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from numbers import Integral
from threading import local
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase, get_active_backend, register_parallel_backend

from sklreg._meeting import Aborted, Call, Meeting, current_task
from sklreg.engine import Job, Result, share_equal_samples, train

_MANY = 1024  # fits in flight, where memory and the caller set no bound
_GRACE = 1.0  # seconds that an aborted search waits for its threads
_COPIES = 4  # of its data that a task in flight holds: scikit-learn's slice, each transformer's output, ours
_SHARE_OF_MEMORY = 4  # tasks in flight may hold one part in so many of the machine's memory


@contextlib.contextmanager
def batched_training(
    max_models: int | None = None, device: str | None = None, *, n_jobs: int | None = None, verbose: int = 0
) -> Iterator[None]:
    """Train the fits inside the block together.

    Anything in scikit-learn that fits estimators through joblib (``GridSearchCV``, ``cross_validate``,
    ``BaggingClassifier``, ...) hands all its fits of this package's estimators to one batched computation.  Every fit
    gives what it would give by itself; other estimators, preprocessing and scoring run as ever.  A fit that is not part
    of a parallel call (such as the refit of a search) trains at once, alone.

    ``joblib.parallel_config(backend="sklreg", max_models=..., device=...)`` does the same.

    Parameters
    ----------
    max_models : int, default=None
        The most fits that wait for one another, at least 1.  Each holds its data in memory until it has trained, as
        scikit-learn sliced and transformed it.  ``None`` sets no bound but this: what waits may hold a quarter of the
        machine's memory.  With 1 everything runs one by one.
    device : str, default=None
        Where estimators with ``device="auto"`` train inside the block: "cpu", "cuda" or "cuda:N".  ``None`` leaves the
        choice to them.
    n_jobs : int, default=None
        The number of tasks that run Python code at the same time, in threads: what comes before and after the fits.
        ``None`` is 1, and -1 the number of cores.  An ``n_jobs`` given to the search itself takes precedence.  All
        fits train together whatever it is.
    verbose : int, default=0
        1 prints a line for each batch of fits, 2 another for each fit as it ends.

    See Also
    --------
    joblib.parallel_config : Choose how scikit-learn's parallel calls run.

    Notes
    -----
    Tasks are threads of this process, so estimators and scorers need not be pickled.  A process that is forked inside
    a task, or a worker of another joblib backend, trains its fits at once and alone.

    Examples
    --------
    >>> import sklreg
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = make_classification(random_state=0)
    >>> grid = {"l2": [1e-4, 1e-2, 1.0], "dropout": [0.0, 0.5]}
    >>> search = GridSearchCV(sklreg.RegularizedMLPClassifier(random_state=0), grid)
    >>> with sklreg.batched_training():
    ...     search.fit(X, y).best_params_
    {'dropout': 0.0, 'l2': 1.0}
    """
    backend = BatchedTrainingBackend(max_models=max_models, device=device, verbose=verbose)
    with joblib.parallel_config(backend=backend, n_jobs=n_jobs):
        yield


class BatchedTrainingBackend(ParallelBackendBase):
    """joblib's view of a :class:`~sklreg._meeting.Meeting`: calls, tasks, and callbacks for their results."""

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def __init__(
        self,
        nesting_level: int | None = None,
        max_models: int | None = None,
        device: str | None = None,
        verbose: int = 0,
        meeting: Meeting[Job, Result] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, **kwargs)
        is_count = isinstance(max_models, Integral) and not isinstance(max_models, bool) and max_models >= 1
        if max_models is not None and not is_count:
            raise ValueError(f"max_models of batched_training must be None or an int from 1 on; got {max_models!r}.")
        self.max_models, self.device, self.verbose = max_models, device, verbose
        self._meeting = meeting or self._new_meeting()
        self._here = local()  # the call that a thread is making

    def _new_meeting(self) -> Meeting[Job, Result]:
        return Meeting(partial(_train_and_tell, self.verbose), self.max_models or _MANY, _has_room)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks are in flight at once, whatever ``n_jobs`` says of those at work."""
        if n_jobs == 0:
            raise ValueError(
                "n_jobs == 0 has no meaning: it is the number of tasks at work, or -1 for one on each core."
            )
        return self.max_models or _MANY

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        """Prepare for calls with ``n_jobs`` tasks at work."""
        if self._meeting.process != os.getpid():  # forked: the threads of that meeting are not here
            self._meeting = self._new_meeting()
        if current_task() is None:
            n_cores = joblib.cpu_count()
            self._meeting.n_workers = n_jobs if n_jobs > 0 else max(1, n_cores + 1 + n_jobs)
        return super().configure(n_jobs=n_jobs, parallel=parallel)  # type: ignore[no-any-return]

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """Return a backend for the calls that one task makes: their tasks come to the same meeting."""
        nested = BatchedTrainingBackend(
            (self.nesting_level or 0) + 1, self.max_models, self.device, self.verbose, self._meeting
        )
        return nested, None

    def start_call(self) -> None:
        self._here.call = Call()
        self._meeting.open(self._here.call)

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
        call: Call = self._here.call
        self._meeting.pause(call)
        try:
            yield
        finally:
            self._meeting.resume(call)

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None) -> Future[Any]:
        """Add a task; ``callback`` is told when it has ended, and may submit more before it counts as ended."""
        call: Call | None = getattr(self._here, "call", None)
        if call is None:  # submitted by such a callback
            task = current_task()
            assert task is not None
            call = task.call
        future: Future[Any] = Future()
        self._meeting.submit(call, partial(_run, call, [func], future, callback))
        return future

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        call: Call | None = getattr(self._here, "call", None)
        if call is None:
            return
        meeting = self._meeting
        if call.parent is None:
            # What comes next shall not depend on how the tasks of this call end, nor on where it was interrupted.
            self._meeting = self._new_meeting()
        meeting.abort(call)

    def stop_call(self) -> None:
        call: Call | None = self._here.__dict__.pop("call", None)
        if call is not None:
            self._meeting.close(call, _GRACE if call.is_aborted() else None)


register_parallel_backend("sklreg", BatchedTrainingBackend)


def device_of_block() -> str | None:
    """Return the device that the surrounding ``batched_training`` asks for, if any."""
    backend, _ = get_active_backend()
    return backend.device if isinstance(backend, BatchedTrainingBackend) else None


def train_here(job: Job) -> Result:
    """Train one job: together with others if this thread runs a task of a batch, else at once."""
    (result,) = train_all_here([job])
    return result


def train_all_here(jobs: Sequence[Job]) -> list[Result]:
    """Train the jobs together, and together with others if this thread runs a task of a batch."""
    task = current_task()
    outcomes = train(jobs) if task is None else task.meeting.train(task, share_equal_samples(jobs))
    results = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        results.append(outcome)
    return results


def _run(
    call: Call,
    func: list[Callable[[], Any]],  # in a list, to let go of it
    future: Future[Any],
    callback: Callable[[Future[Any]], None] | None,
) -> None:
    try:
        if call.is_aborted():
            raise Aborted
        future.set_result(func.pop()())
    except BaseException as error:
        if error.__cause__ is None and not isinstance(error, Aborted):
            # joblib raises the error anew in the caller's thread, without the traceback.
            error.__cause__ = TaskTracebackError("".join(traceback.format_exception(error)))
        future.set_exception(error)
    if callback is not None:
        callback(future)


class TaskTracebackError(Exception):
    """Shows where in its task an error was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _has_room(waiting: Sequence[Sequence[Job]]) -> bool:
    """Whether the data of one more task like these finds place in memory."""
    if not waiting:
        return True
    # The jobs of one task may share their data; what those of different tasks have in common is not relied on.
    distinct = [{id(tensor): tensor for job in jobs for tensor in job.tensors()} for jobs in waiting]
    n_bytes = sum(tensor.nbytes for tensors in distinct for tensor in tensors.values())
    return _COPIES * n_bytes * (len(waiting) + 1) / len(waiting) < _memory() / _SHARE_OF_MEMORY


def _memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on every system
        return 8 * 2**30


def _train_and_tell(
    verbose: int, jobs: Sequence[Job], is_aborted: Sequence[Callable[[], bool]]
) -> Sequence[Result | Exception]:
    """Train, and print what ``verbose`` asks for."""
    start = time.perf_counter()
    n_done = 0

    def tell(i: int, outcome: Result | Exception) -> None:
        nonlocal n_done
        n_done += 1
        if verbose > 1:
            told = repr(outcome) if isinstance(outcome, Exception) else _summary(outcome)
            print(f"[batched_training] fit {n_done} of {len(jobs)}: {told}")

    outcomes = train(jobs, is_aborted, tell)
    if verbose > 0:
        widths = [outcome.n_together for outcome in outcomes if isinstance(outcome, Result)]
        print(
            f"[batched_training] {len(jobs)} fits in {time.perf_counter() - start:.2f} s, "
            f"up to {max(widths, default=0)} in one stack"
        )
    return outcomes


def _summary(result: Result) -> str:
    last = result.history[-1]
    values = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if name != "epoch")
    return f"{len(result.history)} epochs{', diverged' if result.diverged else ''}, {values}"
