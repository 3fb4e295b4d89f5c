"""``batched_training``: a joblib backend under which the fits of a search meet and train together."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from numbers import Integral
from typing import Any

import joblib
import torch
from joblib.parallel import FallbackToBackend, ParallelBackendBase, get_active_backend, register_parallel_backend

from sklreg._device import resolve_device
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
    of a parallel call (such as the refit of a search that is in no other one) trains at once, alone.

    ``joblib.parallel_config(backend="sklreg", max_models=..., device=...)`` does the same, without the messages: its
    ``verbose`` is joblib's own.

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
        ``None`` is 1, and -1 the number of cores, which is also the most.  An ``n_jobs`` given to the search itself
        takes precedence.  All fits train together whatever it is.
    verbose : int, default=0
        1 prints a line for each batch of fits, 2 another for each fit as it ends.

    Yields
    ------
    None
        Nothing: the block alone counts.

    Raises
    ------
    ValueError
        If ``max_models`` is not an int from 1 on, or ``device`` is none, or not there.

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
    >>> X, y = make_classification(flip_y=0.1, random_state=0)
    >>> model = sklreg.RegularizedMLPClassifier((16,), max_iter=50, random_state=0)
    >>> grid = {"l2": [1e-4, 1e-2, 1.0], "dropout": [0.0, 0.5]}
    >>> search = GridSearchCV(model, grid, scoring="neg_log_loss")
    >>> with sklreg.batched_training():
    ...     search.fit(X, y).best_params_
    {'dropout': 0.5, 'l2': 0.01}
    """
    backend = BatchedTrainingBackend(max_models=max_models, device=device, verbose=verbose)
    with joblib.parallel_config(backend=backend, n_jobs=n_jobs):
        yield


class _BackendOfCall(ParallelBackendBase):
    """joblib's view of a call in a :class:`~sklreg._meeting.Meeting`: tasks, and callbacks for their results.

    Without a ``meeting`` it is an outermost call, and has one of its own.
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def __init__(
        self,
        nesting_level: int | None = None,
        max_models: int | None = None,
        device: str | None = None,
        verbose: int = 0,
        meeting: Meeting[Sequence[Job], Sequence[Result | Exception]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, **kwargs)
        is_count = isinstance(max_models, Integral) and not isinstance(max_models, bool) and max_models >= 1
        if max_models is not None and not is_count:
            raise ValueError(f"max_models of batched_training must be None or an int from 1 on; got {max_models!r}.")
        if device is not None:
            resolve_device(device, "batched_training")
        self.max_models, self.device, self.verbose, self.meeting = max_models, device, verbose, meeting

    call: Call | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks are in flight at once, whatever ``n_jobs`` says of those at work."""
        _n_workers(n_jobs)  # refuses 0
        return self.max_models or _MANY

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        self.n_workers = _n_workers(n_jobs)
        return super().configure(n_jobs=n_jobs, parallel=parallel)  # type: ignore[no-any-return]

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """Return a backend for the calls that one task makes: their tasks come to the same meeting."""
        level = (self.nesting_level or 0) + 1
        return BatchedTrainingBackend(level, self.max_models, self.device, self.verbose, self.meeting), None

    def start_call(self) -> None:
        self.call = Call()
        parent = self.call.parent
        if parent is None:  # the outermost, or in a forked process, or in a thread that a task has started
            self.meeting = Meeting(
                partial(_train_and_tell, self.verbose, torch.get_num_threads()),
                self.n_workers,
                self.max_models or _MANY,
                _size,
                _max_size(),
            )
        else:
            self.meeting = parent.meeting

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
        call, meeting = self.call, self.meeting
        assert call is not None
        assert meeting is not None
        meeting.pause(call)
        try:
            yield
        finally:
            meeting.resume(call)

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None) -> Future[Any]:
        """Add a task; ``callback`` is told when it has ended, and may submit more before it counts as ended."""
        call, meeting = self.call, self.meeting
        assert call is not None
        assert meeting is not None
        future: Future[Any] = Future()
        meeting.submit(call, partial(_run, call, [func], future, callback))
        return future

    apply_async = submit

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self.call is not None and self.meeting is not None:
            self.meeting.abort(self.call)

    def stop_call(self) -> None:
        call, self.call = self.call, None
        if call is not None and self.meeting is not None:
            self.meeting.close(call, _GRACE if call.is_aborted() else None)


class BatchedTrainingBackend(_BackendOfCall):
    """The choices of a block; every parallel call inside it gets a backend of its own, made of these.

    With a ``meeting`` it stands for the calls that a task of this meeting makes.
    """

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Answer those who cut their work into as many pieces.

        Outside of tasks there are to be many, as each may be a fit.  Inside, it is rather a step on the way to one.
        """
        n_workers = _n_workers(n_jobs)
        return n_workers if self.meeting is not None else self.max_models or _MANY

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        """Hand over to a backend for this call alone."""
        raise FallbackToBackend(
            _BackendOfCall(self.nesting_level, self.max_models, self.device, self.verbose, self.meeting)
        )


def _n_workers(n_jobs: int | None) -> int:
    """Return how many tasks run Python code at a time: more than there are cores would only disturb one another."""
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning: it is the number of tasks at work, or -1 for one on each core.")
    n_cores: int = joblib.cpu_count()
    return max(1, n_cores + 1 + n_jobs) if n_jobs is not None and n_jobs < 0 else min(n_jobs or 1, n_cores)


register_parallel_backend("sklreg", BatchedTrainingBackend)


def is_in_block() -> bool:
    """Return whether a surrounding ``batched_training`` already trains fits together."""
    return isinstance(get_active_backend()[0], _BackendOfCall)


def device_of_block() -> str | None:
    """Return the device that the surrounding ``batched_training`` asks for, if any."""
    backend, _ = get_active_backend()
    return backend.device if isinstance(backend, _BackendOfCall) else None


def hold_once(job: Job, has_companions: bool = False) -> Job:
    """Let a fit share equal data with those that it will train together with, if there are any."""
    return share_equal_samples(job) if has_companions or current_task() is not None else job


def train_all_here(jobs: Sequence[Job]) -> list[Result]:
    """Train the jobs together, and together with others if this thread runs a task of a batch."""
    task = current_task()
    outcomes: Sequence[Result | Exception] = train(jobs) if task is None else task.meeting.train(task, jobs)
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


def _size(jobs: Sequence[Job]) -> float:
    """Return the number of bytes that a task holds while its jobs wait; several may be of the same samples."""
    return _COPIES * sum(tensor.nbytes for tensor in {id(t): t for job in jobs for t in job.tensors()}.values())


def _max_size() -> float:
    return _memory() / _SHARE_OF_MEMORY


def _memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on every system
        return 8 * 2**30


def _train_and_tell(
    verbose: int, n_threads: int, by_task: Sequence[Sequence[Job]], is_aborted_by_task: Sequence[Callable[[], bool]]
) -> Sequence[Sequence[Result | Exception]]:
    """Train the jobs of all tasks by ``n_threads`` of torch, and print what ``verbose`` asks for."""
    torch.set_num_threads(n_threads)  # in this thread, which is new
    jobs = [job for of_task in by_task for job in of_task]
    is_aborted = [asks for asks, of_task in zip(is_aborted_by_task, by_task, strict=True) for _ in of_task]
    start = time.perf_counter()
    n_done = 0

    def say(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more: no reason to lose fits
            print(f"[batched_training] {text}")

    def tell(i: int, outcome: Result | Exception) -> None:
        nonlocal n_done
        n_done += 1
        if verbose > 1:
            told = repr(outcome) if isinstance(outcome, Exception) else _summary(outcome)
            say(f"fit {n_done} of {len(jobs)}: {told}")

    outcomes = train(jobs, is_aborted, tell)
    if verbose > 0:
        widths = [outcome.n_together for outcome in outcomes if isinstance(outcome, Result)]
        n_failed = len(jobs) - len(widths)
        say(
            f"{len(jobs)} fits in {time.perf_counter() - start:.2f} s, up to {max(widths, default=0)} in one stack"
            + (f", {n_failed} failed" if n_failed else "")
        )
    rest = iter(outcomes)
    return [list(islice(rest, len(of_task))) for of_task in by_task]


def _summary(result: Result) -> str:
    last = result.history[-1]
    values = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if name != "epoch")
    return f"{len(result.history)} epochs{', diverged' if result.diverged else ''}, {values}"
