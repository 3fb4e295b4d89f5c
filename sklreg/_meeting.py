"""Where fits meet: tasks run in threads until each has come to a fit or to its end; then the fits train together.

A task has the floor while it runs Python code of its own, and few have it at a time (``n_workers``).  It gives the
floor up when it hands in a job, or when it starts tasks of its own and waits for them.  Once nobody has the floor and
nobody can be given it, all jobs that were handed in are trained in one call, and their tasks ask for the floor again.
So nothing is ever waited for that could not happen:

* a task that fails or is aborted gives up the floor like one that ends;
* a task that waits for tasks of its own does not count among those in flight, so there is always room for these;
* if a task keeps the floor for long without an event, be it slow or held up by something that only a waiting task can
  release, the others go on without it.

joblib is not known here, nor what a job is.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

J = TypeVar("J")
R = TypeVar("R")
J_contra = TypeVar("J_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

LONG_WITHOUT_EVENT = 30.0  # seconds


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


class Call:
    """Tasks that one caller waits for."""

    def __init__(self) -> None:
        self.parent = current_task()
        self.depth: int = 0 if self.parent is None else self.parent.call.depth + 1
        self.warnings = WarningsState.now()
        self.threads: list[threading.Thread] = []
        self.n_open = 0  # tasks that have not ended
        self.is_waited_for = False
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
        self.warnings = call.warnings
        self.outcome: Any = None


class _Here(threading.local):
    task: Task | None = None


_here = _Here()


def current_task() -> Task | None:
    """Return the task that this thread runs; none in a forked process: it has no part in its parent's meeting."""
    task = _here.task
    return task if task is not None and task.meeting.process == os.getpid() else None


class Meeting(Generic[J, R]):
    """Runs tasks, and trains together what they hand in.

    At most ``n_workers`` tasks have the floor; new ones start while fewer than ``max_jobs`` jobs wait, and
    ``has_room`` says of what the waiting tasks have handed in that there is memory for one more.
    """

    def __init__(self, train: Trainer[J, R], max_jobs: int, has_room: Callable[[Sequence[Sequence[J]]], bool]) -> None:
        self.process = os.getpid()
        self.n_workers = 1
        self._train, self._max_jobs, self._has_room = train, max_jobs, has_room
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._queue: list[tuple[int, int, Task]] = []  # a heap: tasks of tasks come first, so that few tasks are open
        self._ready: deque[Task] = deque()  # want the floor again
        self._on_floor: set[Task] = set()
        self._slow: set[Task] = set()  # have had the floor for long, and are not waited for
        self._submitting: set[int] = set()  # threads outside that may submit more
        self._waiting: list[tuple[Task, Sequence[J]]] = []
        self._is_training = False
        self._last_event = time.monotonic()

    # Called by whoever submits tasks --------------------------------------------------------------------------

    def open(self, call: Call) -> None:
        """Begin a call: nothing trains before its caller says that it waits."""
        if call.parent is None:
            with self._lock:
                self._submitting.add(threading.get_ident())

    def submit(self, call: Call, run: Callable[[], None]) -> None:
        """Add a task.  ``run`` must not raise, and must ask whether its call has been aborted in the meantime."""
        with self._lock:
            call.n_open += 1
            heapq.heappush(self._queue, (-call.depth, next(self._order), Task(self, call, run)))
            self._advance()

    def pause(self, call: Call) -> None:
        """Note that the caller waits for its tasks from now on."""
        with self._lock:
            self._submitting.discard(threading.get_ident())
            call.is_waited_for = True
            if call.parent is not None and call.n_open > 0:
                self._leave_floor(call.parent)
            self._advance()

    def resume(self, call: Call) -> None:
        """Go on after :meth:`pause`; a task waits for the floor."""
        if call.parent is None:
            call.warnings.install()
            return
        with self._lock:
            call.is_waited_for = False
            if call.parent not in self._on_floor:
                self._ask_for_floor(call.parent)
                self._advance()
        self._wait_for_floor(call.parent)

    def close(self, call: Call, timeout: float | None) -> None:
        """End a call: no thread of its finished tasks is left."""
        with self._lock:
            self._submitting.discard(threading.get_ident())
            self._advance()
        end = None if timeout is None else time.monotonic() + timeout
        for thread in call.threads:
            if thread is not threading.current_thread():
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
        call.threads = [thread for thread in call.threads if thread.is_alive()]

    def abort(self, call: Call) -> None:
        """Let the tasks of a call end as soon as they can: at once, or when they next come to a fit."""
        with self._lock:
            call.abort()
            not_begun = [task for _, _, task in self._queue if task.call.is_aborted()]
            self._queue = [entry for entry in self._queue if not entry[2].call.is_aborted()]
            heapq.heapify(self._queue)
            waiting, self._waiting = self._waiting, []
            for task, jobs in waiting:
                if task.call.is_aborted():
                    task.outcome = Aborted()
                    self._ask_for_floor(task)
                else:
                    self._waiting.append((task, jobs))
            ready, self._ready = self._ready, deque()
            for task in ready:
                self._ask_for_floor(task)
            self._advance()
        for task in not_begun:
            task.run()

    # Called by tasks ------------------------------------------------------------------------------------------

    def train(self, task: Task, jobs: Sequence[J]) -> Sequence[R | Exception]:
        """Hand in jobs; return their outcomes once they are trained."""
        with self._lock:
            if task.call.is_aborted():
                raise Aborted
            task.outcome = None
            self._waiting.append((task, jobs))
            self._leave_floor(task)
            self._advance()
        self._wait_for_floor(task)
        outcome, task.outcome = task.outcome, None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    # The floor; the lock is held ------------------------------------------------------------------------------

    def _leave_floor(self, task: Task) -> None:
        task.warnings = WarningsState.now()
        task.has_floor.clear()
        self._on_floor.discard(task)
        self._slow.discard(task)

    def _give_floor(self, task: Task) -> None:
        self._on_floor.add(task)
        task.warnings.install()
        task.has_floor.set()

    def _ask_for_floor(self, task: Task) -> None:
        if task.call.is_aborted():
            self._give_floor(task)  # only to end
        else:
            self._ready.append(task)

    def _advance(self) -> None:
        """Give the floor to those who may have it; if nobody has it, train."""
        self._last_event = time.monotonic()
        while self._ready and len(self._on_floor) < self.n_workers:
            self._give_floor(self._ready.popleft())
        while self._queue and self._may_start() and self._start(self._queue[0][2]):
            heapq.heappop(self._queue)
        if self._waiting and not (self._on_floor or self._submitting or self._is_training):
            self._is_training = True
            members, self._waiting = self._waiting, []
            threading.Thread(target=self._train_members, args=(members,), name="sklreg-train", daemon=True).start()

    def _may_start(self) -> bool:
        return (
            not self._is_training
            and len(self._on_floor) + len(self._slow) < self.n_workers
            and sum(len(jobs) for _, jobs in self._waiting) < self._max_jobs
            and self._has_room([jobs for _, jobs in self._waiting])
        )

    def _start(self, task: Task) -> bool:
        """Start a task, if the system has a thread for it."""
        self._give_floor(task)
        thread = threading.Thread(target=self._run, args=(task,), name="sklreg-task", daemon=True)
        task.call.threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            task.call.threads.remove(thread)
            self._on_floor.discard(task)
            if not (self._on_floor or self._waiting or self._ready):
                raise  # no other task is there that could make room
            return False
        return True

    # In threads of the meeting --------------------------------------------------------------------------------

    def _run(self, task: Task) -> None:
        _here.task = task
        try:
            task.run()
        finally:
            _here.task = None
            with self._lock:
                self._leave_floor(task)
                self._end(task.call)
                self._advance()

    def _end(self, call: Call) -> None:
        """Count a task of ``call`` as ended; after the last one the caller goes on, and comes to a fit, perhaps."""
        call.n_open -= 1
        if call.n_open == 0 and call.is_waited_for and call.parent is not None:
            self._give_floor(call.parent)

    def _train_members(self, members: list[tuple[Task, Sequence[J]]]) -> None:
        sizes = [(task, len(jobs)) for task, jobs in members]
        members[0][0].call.warnings.install()
        outcomes: Sequence[R | Exception]
        failure: BaseException | None = None
        try:
            of_jobs = [task.call.is_aborted for task, n_jobs in sizes for _ in range(n_jobs)]
            outcomes = self._train([job for _, jobs in members for job in jobs], of_jobs)
        except BaseException as error:
            outcomes, failure = [], error
        members.clear()
        with self._lock:
            self._is_training = False
            start = 0
            for task, n_jobs in sizes:
                own = outcomes[start : start + n_jobs] if failure is None else failure
                start += n_jobs
                task.outcome = Aborted() if task.call.is_aborted() else own
                self._ask_for_floor(task)
            self._advance()

    def _wait_for_floor(self, task: Task) -> None:
        while not task.has_floor.wait(LONG_WITHOUT_EVENT):
            with self._lock:
                if not self._is_training and time.monotonic() - self._last_event >= LONG_WITHOUT_EVENT:
                    # Whoever has the floor may need what a waiting task holds.
                    self._slow |= self._on_floor
                    self._on_floor.clear()
                    self._submitting.clear()
                    self._advance()
