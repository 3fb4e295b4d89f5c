"""The number of threads that torch uses inside one operation, while training or predicting.

Small products gain nothing from a second thread and lose a lot where another process wants the core: the threads wait
for one another, spinning.  So small work is done by one thread, and the caller's number is back when it is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

FLOPS_FOR_ANOTHER_THREAD = 2e7  # in one step; benchmarks/threads.py shows where a second thread begins to pay


@contextlib.contextmanager
def threads_for(flops: float) -> Iterator[None]:
    """Use as many threads as ``flops`` floating-point operations in one step are worth, never more than the caller has.

    torch keeps the number for every Python thread by itself, so what runs in others is not touched.
    """
    callers_number = torch.get_num_threads()
    n_threads = max(1, min(callers_number, int(flops / FLOPS_FOR_ANOTHER_THREAD)))
    if n_threads == callers_number:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(callers_number)
