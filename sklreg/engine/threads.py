"""The number of threads that torch uses inside one operation, while training or predicting.

Small products gain nothing from a second thread and lose a lot where another process wants the core: the threads wait
for one another, spinning.  So small work is done by one thread, and the caller's number is back when the last training
ends.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

FLOPS_FOR_ANOTHER_THREAD = 2e7  # in one step; benchmarks/threads.py shows where a second thread begins to pay

_lock = threading.Lock()
_trainings = 0
_callers_number = 0


@contextlib.contextmanager
def threads_for(flops: float) -> Iterator[None]:
    """Use as many threads as ``flops`` floating-point operations in one step are worth, never more than the caller has.

    The number belongs to the whole process.  What runs at the same time in other Python threads shares what the first
    has set, and the last one puts the caller's number back.
    """
    global _trainings, _callers_number
    with _lock:
        _trainings += 1
        if _trainings == 1:
            _callers_number = torch.get_num_threads()
            n_threads = max(1, min(_callers_number, int(flops / FLOPS_FOR_ANOTHER_THREAD)))
            if n_threads != _callers_number:
                torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        with _lock:
            _trainings -= 1
            if _trainings == 0 and torch.get_num_threads() != _callers_number:
                torch.set_num_threads(_callers_number)
