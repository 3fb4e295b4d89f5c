"""The number of threads that torch uses inside one operation, while training or predicting.

Small products gain nothing from a second thread and lose a lot where another process wants the core: the threads wait
for one another, spinning.  So small work is done by one thread, and the caller's number is back when it is done.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from statistics import median
from typing import Any

import torch

FLOPS_FOR_ANOTHER_THREAD = 2e7  # in one step; benchmarks/threads.py shows where a second thread begins to pay
# Up to this size of a model's products, several models are the same to the bit by one thread and by two.  More threads
# cut memory into parts that are no whole vector registers, in each of which some functions round the last numbers
# otherwise.
_MOST_FLOPS_OF_MODEL, _MOST_THREADS = 1.5e8, 2
_FLOPS_FOR_A_TRIAL = 5e6  # in one step of several models, whose passes over memory a second thread helps as well
_STEPS_OF_A_TRIAL = 6
_STEPS_UNTIL_ANOTHER = 256, 8192  # the first time, and the most
_TRIALS_UNTIL_ALONE = 100  # that were won, before one thread is timed again
_HELD_UP, _BADLY = 4.0, 40.0  # times as long as by one thread: twice in a row, and once
_FEWER = 0.75  # by this factor models are fewer when what was timed counts no more


class _Changes:
    """The changes to torch's number of threads that have not been taken back yet, in all Python threads.

    torch keeps the number for every Python thread that has used it.  One that has not yet begins with what was set
    last, in whatever thread: with one, if another happens to train just then.  It stays with it, as nobody can tell
    whether it wants to, but what those begin with that come later is put right.
    """

    def __init__(self) -> None:
        self.before = 0  # the first of them
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of no changes, as in a forked process, where those who made them do not run."""
        self.lock = threading.Lock()
        self.n_open = 0

    @contextlib.contextmanager
    def taken_back(self) -> Iterator[int]:
        """Take back what the block does to the number; yield what it is before."""
        with self.lock:
            number = torch.get_num_threads()
            self.before = number if self.n_open == 0 else self.before
            self.n_open += 1
        try:
            yield number
        finally:
            with self.lock:
                torch.set_num_threads(number)
                self.n_open = max(0, self.n_open - 1)
                if self.n_open == 0 and number < self.before:
                    _set_for_new_threads(self.before)


def _set_for_new_threads(number: int) -> None:
    setter = threading.Thread(target=torch.set_num_threads, args=(number,), name="sklreg-set")
    with contextlib.suppress(RuntimeError):  # the system has no more
        setter.start()
        setter.join()


_changes = _Changes()
if hasattr(os, "register_at_fork"):  # not on every system
    os.register_at_fork(after_in_child=_changes.begin_anew)


@contextlib.contextmanager
def threads_for(flops: float) -> Iterator[None]:
    """Use as many threads as ``flops`` floating-point operations in one step are worth, never more than the caller has.

    What runs in other threads is not touched.
    """
    number = torch.get_num_threads()
    n_threads = _worth(flops, number)
    if n_threads == number:
        yield
        return
    with _changes.taken_back():
        torch.set_num_threads(n_threads)
        yield


def _worth(flops: float, n_threads: int) -> int:
    return max(1, min(n_threads, int(flops / FLOPS_FOR_ANOTHER_THREAD)))


class Team:
    """The threads that share the operations of a training: as many as they are worth, unless one by itself is faster.

    Where another program wants one of the cores, all threads wait for the one on it at the end of every operation, and
    a step takes ten times as long or more.  So a few steps by one thread and a few by two are timed, and what is faster
    goes on, as long as it stays so.  What is computed is the same to the bit; where it might not be (large products, a
    single model) the number of threads depends on the work alone.

    To be entered as a context; afterwards the caller's number is back.
    """

    def __init__(self, flops_of_model: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.flops_of_model, self.clock = flops_of_model, clock

    def __enter__(self) -> Team:
        self.changes = _changes.taken_back()
        self.callers_number = self.n_threads = self.changes.__enter__()
        self.n_models = 0
        self.choices: Generator[int, float, None] | None = None
        return self

    def __exit__(self, *exception: Any) -> None:
        self.changes.__exit__(*exception)

    def share(self, n_models: int) -> None:
        """Say how many models are in training from now on."""
        flops, most = n_models * self.flops_of_model, min(self.callers_number, _MOST_THREADS)
        is_worth_a_trial = most > 1 and flops >= _FLOPS_FOR_A_TRIAL
        may_vary = is_worth_a_trial and n_models > 1 and self.flops_of_model <= _MOST_FLOPS_OF_MODEL
        if may_vary and self.choices is not None and n_models >= _FEWER * self.n_models:
            return
        self.n_models = n_models
        self.choices = self._trials(most) if may_vary else None
        self._use(_worth(flops, self.callers_number) if self.choices is None else next(self.choices))

    def begin_step(self) -> None:
        """Say that a step begins."""
        self.begin = self.clock()

    def end_step(self) -> None:
        """Say that it has ended."""
        if self.choices is not None:
            self._use(self.choices.send(self.clock() - self.begin))

    def _use(self, n_threads: int) -> None:
        if n_threads != self.n_threads:
            torch.set_num_threads(n_threads)
            self.n_threads = n_threads

    def _trials(self, n_threads: int) -> Generator[int, float, None]:
        """Yield the number of threads of each step; to be sent how long it took."""
        n_alone, (gap, most) = _STEPS_OF_A_TRIAL, _STEPS_UNTIL_ANOTHER
        while True:
            alone = yield from self._timed(1, n_alone, math.inf)
            for trial in range(_TRIALS_UNTIL_ALONE):
                together = yield from self._timed(n_threads, _STEPS_OF_A_TRIAL, alone)
                if together >= alone:
                    gap = _STEPS_UNTIL_ANOTHER[0] if trial > 0 else gap
                    n_alone, gap = gap, min(2 * gap, most)
                    break
            else:
                n_alone = _STEPS_OF_A_TRIAL

    @staticmethod
    def _timed(n_threads: int, n_steps: int, alone: float) -> Generator[int, float, float]:
        """Take steps, but no more of them once they are held up; return what a step takes."""
        seconds: list[float] = []
        n_held_up = 0
        for _ in range(n_steps):
            seconds.append((yield n_threads))
            n_held_up = n_held_up + 1 if seconds[-1] > _HELD_UP * alone else 0
            if n_held_up == 2 or seconds[-1] > _BADLY * alone:
                return math.inf
        return median(seconds[1:])  # the first one pays for the change
