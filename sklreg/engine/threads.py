"""The number of threads that torch uses inside one operation, while training or predicting.

Small products gain nothing from a second thread and lose a lot where another process wants the core: the threads wait
for one another, spinning.  So small work is done by one thread, and the caller's number is back when it is done.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from statistics import median

import torch

FLOPS_FOR_ANOTHER_THREAD = 2e7  # in one step; benchmarks/threads.py shows where a second thread begins to pay
# Products up to this size, several of them together, have been seen to be the same to the bit by any number of threads.
_FLOPS_OF_ONE_THREAD = 1.5e8
_STEPS_OF_A_TRIAL = 6
_STEPS_UNTIL_ANOTHER = 256, 8192  # the first time, and the most
_HELD_UP = 4.0  # times as long as by one thread


@contextlib.contextmanager
def threads_for(flops: float) -> Iterator[None]:
    """Use as many threads as ``flops`` floating-point operations in one step are worth, never more than the caller has.

    torch keeps the number for every Python thread by itself, so what runs in others is not touched.
    """
    callers_number = torch.get_num_threads()
    n_threads = _worth(flops, callers_number)
    if n_threads == callers_number:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(callers_number)


def _worth(flops: float, n_threads: int) -> int:
    return max(1, min(n_threads, int(flops / FLOPS_FOR_ANOTHER_THREAD)))


class Team:
    """The threads that share the operations of a training: as many as they are worth, unless one by itself is faster.

    Where another program wants one of the cores, all threads wait for the one on it at the end of every operation, and
    a step takes ten times as long or more.  So a few steps by one thread and a few by all are timed, and what is faster
    goes on, all as long as they stay faster.  What is computed is the same to the bit, and where it might not be (large
    products, or a single model) the number of threads depends on the work alone.

    To be entered as a context; afterwards the caller's number is back.
    """

    def __init__(self, flops_of_model: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.flops_of_model, self.clock = flops_of_model, clock

    def __enter__(self) -> Team:
        self.callers_number = self.n_threads = torch.get_num_threads()
        self.most = 0
        self.choices: Generator[int, float, None] | None = None
        return self

    def __exit__(self, *exception: object) -> None:
        self._use(self.callers_number)

    def share(self, n_models: int) -> None:
        """Say how many models are in training from now on."""
        most = _worth(n_models * self.flops_of_model, self.callers_number)
        may_vary = most > 1 and n_models > 1 and self.flops_of_model <= _FLOPS_OF_ONE_THREAD
        if may_vary and most == self.most and self.choices is not None:
            return
        self.most, self.choices = most, self._trials(most) if may_vary else None
        self._use(most if self.choices is None else next(self.choices))
        self.before = self.clock()

    def next_step(self) -> None:
        """Say that a step begins, and that the last one has ended."""
        if self.choices is not None:
            now = self.clock()
            self._use(self.choices.send(now - self.before))
            self.before = now

    def _use(self, n_threads: int) -> None:
        if n_threads != self.n_threads:
            torch.set_num_threads(n_threads)
            self.n_threads = n_threads

    def _trials(self, most: int) -> Generator[int, float, None]:
        """Yield the number of threads of each step; to be sent how long it took."""
        until_another, at_most = _STEPS_UNTIL_ANOTHER
        alone = yield from self._timed(1, _STEPS_OF_A_TRIAL, math.inf)
        while True:
            together = yield from self._timed(most, _STEPS_OF_A_TRIAL, _HELD_UP * alone)
            while together < alone:
                until_another = _STEPS_UNTIL_ANOTHER[0]
                together = yield from self._timed(most, 2 * _STEPS_OF_A_TRIAL, _HELD_UP * alone)
            alone = yield from self._timed(1, until_another, math.inf)
            until_another = min(2 * until_another, at_most)

    @staticmethod
    def _timed(n_threads: int, n_steps: int, limit: float) -> Generator[int, float, float]:
        """Take steps, no more after one that took longer than the limit; return what a step takes."""
        seconds = []
        for i in range(n_steps):
            of_step = yield n_threads
            if i > 0:  # the first one pays for the change
                seconds.append(of_step)
                if of_step > limit:
                    return math.inf
        return median(seconds)
