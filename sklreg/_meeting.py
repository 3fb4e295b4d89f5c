"""Where fits meet: tasks run in threads until each has come to a fit or to its end; then the fits train together.

A task has the floor while it runs Python code of its own, and few have it at a time (``n_workers``).  It gives the
floor up when it hands in a job, or when it starts tasks of its own and waits for them.  Once nobody has the floor and
nobody can be given it, all jobs that were handed in are trained in one call, and their tasks ask for the floor again.
So nothing is ever waited for that could not happen:

* a task that fails or is aborted gives up the floor like one that ends;
* a task that waits for tasks of its own, or runs between their results, does not count among those in flight, so there
  is always room for these;
* tasks that outlive the call they belong to are trained to their end;
* if a task keeps the floor for long without an event, be it slow or held up by something that only a waiting task can
  release, the others go on without it.

joblib is not known here, nor what a job is.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import heapq
import itertools
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sklreg._warnings import Place, place_of_user, set_place

J = TypeVar("J")
R = TypeVar("R")
J_contra = TypeVar("J_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

LONG_WITHOUT_EVENT = 30.0  # seconds
_GRACE_AT_EXIT = 30.0  # seconds
_left_behind: set[threading.Thread] = set()  # by calls that were aborted


@atexit.register
def _wait_for_those_left_behind() -> None:
    """Let threads end that are in the middle of an epoch: Python would end them inside of torch, which aborts then."""
    end = time.monotonic() + _GRACE_AT_EXIT
    for thread in [*_left_behind]:
        if thread.ident is not None:
            thread.join(max(0.0, end - time.monotonic()))


class Aborted(BaseException):
    """Ends a task whose results nobody wants any more.

    Not an ``Exception``: what guards against failed fits (``error_score``) must not take it for one.
    """


class Trainer(Protocol[J_contra, R_co]):
    """Trains jobs together, each until ``is_aborted`` says of it that nobody waits for it any more."""

    def __call__(
        self, jobs: Sequence[J_contra], is_aborted: Sequence[Callable[[], bool]]
    ) -> Sequence[R_co | Exception]:
        """Return an outcome for every job, in order."""


class WarningsState(NamedTuple):
    """What :class:`warnings.catch_warnings` changes for the whole process.

    A task that pauses inside of such a block takes its changes along, and they are back when it goes on.
    """

    filters: list[Any]
    attributes: dict[str, Any]

    @classmethod
    def now(cls) -> WarningsState:
        names = ("showwarning", "_showwarnmsg_impl")
        return cls(warnings.filters, {name: getattr(warnings, name) for name in names if hasattr(warnings, name)})  # type: ignore[arg-type]

    def install(self) -> None:
        with warnings.catch_warnings():  # whose end makes Python forget what it remembers of other filters
            pass
        warnings.filters = self.filters
        for name, value in self.attributes.items():
            setattr(warnings, name, value)


class _LockWithoutCollector:
    """A lock during which the garbage collector is off.

    It might find a generator of results that nobody has read to its end, and end it in the middle of what is locked,
    in a thread that then waits for itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._was_on = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        has_it = self._lock.acquire(blocking, timeout)
        if has_it:
            self._was_on = gc.isenabled()
            gc.disable()
        return has_it

    def release(self) -> None:
        was_on = self._was_on
        self._lock.release()
        if was_on:
            gc.enable()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class Call:
    """Tasks that one caller waits for."""

    def __init__(self) -> None:
        self.parent = current_task()
        self.depth: int = 0 if self.parent is None else self.parent.call.depth + 1
        self.caller = threading.get_ident()
        self.place: Place | None = place_of_user()
        self.warnings = WarningsState.now()
        self.n_open = 0  # tasks that have not ended
        self._is_aborted = False

    def abort(self) -> None:
        self._is_aborted = True

    def is_aborted(self) -> bool:
        """Whether this call, or one that it belongs to, is aborted."""
        return self._is_aborted or (self.parent is not None and self.parent.call.is_aborted())


class Task:
    """Something to run that may come to fits."""

    def __init__(self, meeting: Meeting[Any, Any], call: Call, run: Callable[[], None]) -> None:
        self.meeting, self.call, self.run = meeting, call, run
        self.has_floor = threading.Event()
        self.n_open = 0  # tasks of its own that have not ended
        self.waits_for: list[Call] = []  # tasks of its own: one call, and generators of results that it reads besides
        self.is_in_fit = False
        self.outcome: Any = None  # of its fit
        self.warnings = call.warnings

    @property
    def has_open_tasks(self) -> bool:
        """Whether it needs no floor: it waits for tasks of its own, or runs between their results."""
        return any(call.n_open > 0 for call in self.waits_for)


class _Here(threading.local):
    task: Task | None = None


_here = _Here()


def current_task() -> Task | None:
    """Return the task that this thread runs; none in a forked process: it has no part in its parent's meeting."""
    task = _here.task
    return task if task is not None and task.meeting.process == os.getpid() else None


class Meeting(Generic[J, R]):
    """Runs the tasks of one call, and of the calls that they make in turn, and trains together what they hand in.

    At most ``n_workers`` tasks have the floor.  New ones start while there is room: fewer than ``max_jobs`` jobs wait
    or may yet come, and all of them, at the mean ``size`` of those that wait, stay below ``max_size``.
    """

    def __init__(
        self, train: Trainer[J, R], n_workers: int, max_jobs: int, size: Callable[[J], float], max_size: float
    ) -> None:
        self.process = os.getpid()
        self._train, self._n_workers, self._max_jobs = train, n_workers, max_jobs
        self._size_of, self._max_size = size, max_size
        self._lock = _LockWithoutCollector()
        self._order = itertools.count()
        self._queue: list[tuple[int, int, Task]] = []  # a heap: tasks of tasks come first, so that few tasks are open
        self._ready: deque[Task] = deque()  # want the floor again
        self._on_floor: set[Task] = set()
        self._slow: set[Task] = set()  # have had the floor for long, and are not waited for
        self._waiting: list[tuple[Task, J]] = []
        self._size = 0.0  # of what waits
        self._in_training: list[tuple[Task, J]] = []
        self._is_submitting = True  # the outermost caller may have more tasks
        self._is_closed = False
        self._n_tasks = 0  # that have not ended
        self._threads: list[threading.Thread] = []
        self._trainer: threading.Thread | None = None
        # For the trainer: there is something to train, or the end.
        self._is_due = threading.Condition(self._lock)  # type: ignore[arg-type]
        self._last_event = time.monotonic()
        self._patience = LONG_WITHOUT_EVENT

    # Called by whoever submits tasks --------------------------------------------------------------------------

    def submit(self, call: Call, run: Callable[[], None]) -> None:
        """Add a task.  ``run`` must not raise, and must ask whether its call has been aborted in the meantime."""
        with self._lock:
            self._count(call, 1)
            heapq.heappush(self._queue, (-call.depth, next(self._order), Task(self, call, run)))
            self._advance()
            with contextlib.suppress(RuntimeError):  # no thread is left for it, which a fit will tell
                self._start_trainer()

    def pause(self, call: Call) -> None:
        """Note that the caller waits for its tasks from now on."""
        with self._lock:
            if call.parent is None:
                self._is_submitting = False
            elif call.parent is current_task():
                call.parent.waits_for.append(call)
                if call.n_open > 0:
                    self._leave_floor(call.parent)
            self._advance()

    def resume(self, call: Call) -> None:
        """Go on after :meth:`pause`; a task waits for the floor."""
        if call.parent is None:
            if call.caller == threading.get_ident():
                call.warnings.install()
        elif call.parent is current_task():
            with self._lock:
                if call in call.parent.waits_for:  # else another thread began to read
                    call.parent.waits_for.remove(call)
                if call.parent.has_open_tasks:  # of a generator that it goes on reading
                    return
                if not call.parent.has_floor.is_set():
                    self._ask_for_floor(call.parent)
                    self._advance()
            self._wait_for_floor(call.parent)

    def close(self, call: Call, timeout: float | None) -> None:
        """End a call; after the outermost one no thread is left, unless it outlives ``timeout`` seconds."""
        if call.parent is not None:
            return
        with self._lock:
            self._is_submitting, self._is_closed = False, True
            self._advance()
            self._is_due.notify()
        end = None if timeout is None else time.monotonic() + timeout
        threads = [*self._threads, *([] if self._trainer is None else [self._trainer])]
        _left_behind.update(threads)  # first: another interrupt may end the waiting
        for thread in threads:
            # An interrupt may have come before one was started.
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
        _left_behind.difference_update([thread for thread in threads if not thread.is_alive()])

    def abort(self, call: Call) -> None:
        """Let the tasks of a call end as soon as they can: at once, or when they next come to a fit."""
        with self._lock:
            call.abort()
            not_begun = [task for _, _, task in self._queue if task.call.is_aborted()]
            self._queue = [entry for entry in self._queue if not entry[2].call.is_aborted()]
            heapq.heapify(self._queue)
            waiting, self._waiting = self._waiting, []
            self._size = 0.0
            for task, job in waiting:
                if task.call.is_aborted():
                    task.outcome = Aborted()
                    self._ask_for_floor(task)
                else:
                    self._wait(task, job)
            ready, self._ready = self._ready, deque()
            for task in ready:
                self._ask_for_floor(task)
            self._advance()
        for task in not_begun:
            task.run()
            with self._lock:
                self._count(task.call, -1)

    # Called by tasks ------------------------------------------------------------------------------------------

    def train(self, task: Task, job: J) -> R:
        """Hand in a job; return its result once it is trained."""
        with self._lock:
            if task.call.is_aborted():
                raise Aborted
            self._start_trainer()
            task.is_in_fit = True
            self._wait(task, job)
            self._leave_floor(task)
            self._advance()
        self._wait_for_floor(task)
        with self._lock:
            task.is_in_fit = False
            outcome, task.outcome = task.outcome, None
            if task.has_open_tasks:  # it fits between their results
                self._leave_floor(task)
                self._advance()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    # The floor; the lock is held ------------------------------------------------------------------------------

    def _wait(self, task: Task, job: J) -> None:
        self._waiting.append((task, job))
        self._size += self._size_of(job)

    def _leave_floor(self, task: Task) -> None:
        task.warnings = WarningsState.now()
        task.has_floor.clear()
        self._on_floor.discard(task)
        self._slow.discard(task)

    def _give_floor(self, task: Task) -> None:
        self._on_floor.add(task)
        if not task.call.is_aborted():  # else it only ends, and its caller has gone on
            task.warnings.install()
        task.has_floor.set()

    def _ask_for_floor(self, task: Task) -> None:
        if task.call.is_aborted():
            self._give_floor(task)  # only to end
        else:
            self._ready.append(task)

    def _advance(self) -> None:
        """Give the floor to those who may have it; if nobody has it, let the trainer train."""
        self._last_event = time.monotonic()
        while self._ready and len(self._on_floor) < self._n_workers:
            self._give_floor(self._ready.popleft())
        while (entry := self._next()) is not None and self._start(entry):
            pass
        if self._waiting and not (self._on_floor or self._is_submitting or self._in_training):
            self._in_training, self._waiting = self._waiting, []
            self._size = 0.0
            self._is_due.notify()

    def _wait_for_floor(self, task: Task) -> None:
        while not task.has_floor.wait(self._patience):
            if self._trainer is None:  # which watches the others, if there was a thread for it
                with self._lock:
                    self._go_on_without_the_slow()

    def _go_on_without_the_slow(self) -> None:
        """Count no longer on who has had the floor for long, if somebody waits."""
        is_held_up = self._ready or self._waiting or any(task.n_open > 0 for task in self._on_floor)
        if is_held_up and time.monotonic() - self._last_event >= self._patience:
            # It may need what a waiting task holds, or wait in a thread of its own for its tasks.  If not, and every
            # task takes that long, the next time shall be later, so that more of them meet.
            self._patience *= 2
            self._slow |= self._on_floor
            self._on_floor.clear()
            self._is_submitting = False
            self._advance()

    def _next(self) -> tuple[int, int, Task] | None:
        """Take a task from the queue, if one may start."""
        n_active = len(self._on_floor) + sum(task.n_open == 0 for task in self._slow)
        n_jobs = len(self._waiting) + n_active  # each active task may come to one
        has_room = not self._waiting or self._size * (n_jobs + 1) / len(self._waiting) < self._max_size
        if (
            self._queue
            and not self._in_training
            and n_active < self._n_workers
            and n_jobs < self._max_jobs
            and has_room
        ):
            return heapq.heappop(self._queue)
        return None

    def _start_trainer(self) -> None:
        if self._trainer is None:
            trainer = threading.Thread(target=self._train_rounds, name="sklreg-train", daemon=True)
            trainer.start()
            self._trainer = trainer

    def _start(self, entry: tuple[int, int, Task]) -> bool:
        """Start a task in a thread of its own, if the system has one; else it goes back to the queue."""
        task = entry[2]
        self._give_floor(task)
        thread = threading.Thread(target=self._run, args=(task,), name="sklreg-task", daemon=True)
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            self._leave_floor(task)
            heapq.heappush(self._queue, entry)
            if not (self._on_floor or self._slow or self._waiting or self._ready):
                raise  # no other task is there that could make room
            return False
        return True

    # In threads of the meeting --------------------------------------------------------------------------------

    def _run(self, task: Task | None) -> None:
        """Run a task, and then others, as long as there are some to start."""
        while task is not None:
            _here.task = task
            set_place(task.call.place)
            try:
                task.run()
            finally:
                _here.task = None
                task = self._end(task)

    def _end(self, task: Task) -> Task | None:
        """Count a task as ended; return the next one for its thread."""
        with self._lock:
            self._leave_floor(task)
            task.waits_for.clear()  # a generator that nobody has read to its end
            call, parent = task.call, task.call.parent
            self._count(call, -1)
            goes_on = parent is not None and call in parent.waits_for and not parent.has_open_tasks
            if parent is not None and goes_on and not (parent.is_in_fit or parent.has_floor.is_set()):
                self._give_floor(parent)  # goes on at once, and may come to a fit
            entry = None if self._ready else self._next()
            if entry is not None:
                self._give_floor(entry[2])
            self._advance()
        return None if entry is None else entry[2]

    def _count(self, call: Call, n: int) -> None:
        """Count tasks that are added, or end."""
        call.n_open += n
        if call.parent is not None:
            call.parent.n_open += n
        self._n_tasks += n
        if self._is_closed and self._n_tasks == 0:
            self._is_due.notify()

    def _train_rounds(self) -> None:
        while True:
            with self._lock:
                # After the end, there may be tasks whose results nobody waits for any more.
                while not (self._in_training or (self._is_closed and self._n_tasks == 0)):
                    if not self._is_due.wait(self._patience):
                        self._go_on_without_the_slow()
                members = self._in_training
            if not members:
                return
            self._train_members(members)
            members.clear()

    def _train_members(self, members: list[tuple[Task, J]]) -> None:
        tasks = [task for task, _ in members]
        if not tasks[0].call.is_aborted():
            tasks[0].call.warnings.install()
        outcomes: Sequence[R | BaseException]
        try:
            outcomes = self._train([job for _, job in members], [task.call.is_aborted for task in tasks])
        except BaseException as error:
            outcomes = [error] * len(tasks)
        with self._lock:
            self._in_training = []
            for task, outcome in zip(tasks, outcomes, strict=True):
                task.outcome = Aborted() if task.call.is_aborted() else outcome
                self._ask_for_floor(task)
            self._advance()
