"""Which jobs train in which stack.

Jobs of equal static choices *can* train together.  How many *should* is a matter of the device: a GPU is the busier the
wider the stack, as far as its memory goes; a CPU gains nothing beyond some hundred rows, and wants one stack for each
core where operations are long, because cores that share one wait for one another at its end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple, TypeVar

import torch

from sklreg.engine.job import Job

T = TypeVar("T")

_MOST_ROWS_ON_CPU = 128  # benchmarks/stack_width.py shows the effect
_BYTES_ON_CPU = 2**26  # of all that a stack touches; more is not faster, and takes memory
_SHARE_OF_GPU_MEMORY = 0.5
_FEW_ROWS = 8  # of one size are put together with rows of another; and are not parted only to be shared out evenly
# In a step of a stack.  Threads hold Python's lock by turns, for a moment between operations; where these are short,
# two that train a stack each take longer than one that trains both.  benchmarks/threads.py shows where it pays.
_FLOPS_FOR_A_THREAD_OF_ITS_OWN = 4e8
_WASTE = 1.1  # by this factor rows may differ in their number of samples; the missing ones are computed in vain
_UNEVEN = 1.12  # by this factor the last thread may end later than the mean
_COPIES_OF_STATE = 8  # state, best state, gradient, moments, and an optimizer's intermediate results
VALIDATION_CHUNK = 256  # samples predicted at once; the same for any number of rows, as sums would round otherwise
_COPIES_OF_ACTIVATIONS = 3


class _Unit(NamedTuple):
    """What is never parted: a job, or a committee."""

    job: Job  # the first; the others are like it, but for seed and samples
    indices: list[int]


def plan(jobs: Sequence[Job], n_threads: int) -> list[list[int]]:
    """Return stacks of indices into ``jobs``, each job in one; as much of the work for each of ``n_threads``."""
    groups: dict[object, list[_Unit]] = {}
    for unit in _units(jobs, range(len(jobs))):
        # All rows of a stack are as far in their steps: the optimizer's bias corrections are one number for all.
        groups.setdefault((unit.job.static, unit.job.n_steps), []).append(unit)
    stacks = []
    for group in groups.values():
        for part in _of_similar_size(group):
            in_order = sorted(part, key=lambda unit: _what_draws_depend_on(unit.job))
            stacks += cut(in_order, _widest(part[-1].job), _n_rows)
    if any(job.static.device.type != "cpu" for job in jobs):
        stacks.sort(key=_width, reverse=True)
    else:
        stacks = _shared_out(stacks, n_threads)
    # Rows which share a dropout mask shall be neighbours.
    return [sorted(_indices(stack), key=lambda i: _what_draws_depend_on(jobs[i])) for stack in stacks]


def halves(jobs: Sequence[Job], stack: Sequence[int]) -> list[list[int]]:
    """Part a stack in two; what cannot be parted comes back as it is."""
    units = _units(jobs, stack)
    return [_indices(half) for half in _halves(units)] if len(units) > 1 else [[*stack]]


def _units(jobs: Sequence[Job], indices: Iterable[int]) -> list[_Unit]:
    units: dict[object, _Unit] = {}
    for i in indices:
        job = jobs[i]
        unit = units.setdefault(i if job.committee is None else job.committee, _Unit(job, []))
        if (job.static, job.n_steps) != (unit.job.static, unit.job.n_steps):
            raise ValueError("The jobs of a committee must have equal static choices, and be as far in their steps.")
        unit.indices.append(i)
    return list(units.values())


def _indices(units: Iterable[_Unit]) -> list[int]:
    return [i for unit in units for i in unit.indices]


def _n_rows(unit: _Unit) -> int:
    return len(unit.indices)


def _width(stack: Iterable[_Unit]) -> int:
    return sum(map(_n_rows, stack))


def _halves(units: list[_Unit]) -> tuple[list[_Unit], list[_Unit]]:
    """Part two units or more where the halves are most equal."""
    ends = list(accumulate(map(_n_rows, units)))
    middle = min(range(1, len(units)), key=lambda k: abs(ends[k - 1] - round(ends[-1] / 2)))
    return units[:middle], units[middle:]


def _shared_out(stacks: list[list[_Unit]], n_threads: int) -> list[list[_Unit]]:
    """Part the stacks until threads that each take the next one when done with one end at about the same time."""

    def flops(stack: list[_Unit]) -> float:
        return sum(flops_of_step(unit.job) * _n_rows(unit) for unit in stack)

    def with_work(stack: list[_Unit]) -> tuple[float, list[_Unit]]:
        """Return a stack behind what it costs at most, up to a factor."""
        return sum(flops([u]) * u.job.static.n_batches * u.job.hyperparameters.max_iter for u in stack), stack

    def is_worth_parting(stack: list[_Unit]) -> bool:
        is_wide = _width(stack) >= 2 * _FEW_ROWS or len(ordered) < n_threads
        return len(stack) > 1 and is_wide and min(map(flops, _halves(stack))) >= _FLOPS_FOR_A_THREAD_OF_ITS_OWN

    # The longest first, so that no thread is left with a long one at the end.
    ordered = sorted(map(with_work, stacks), key=lambda pair: pair[0], reverse=True)
    while is_worth_parting(ordered[0][1]) and not _are_even([work for work, _ in ordered], n_threads):
        _, longest = ordered.pop(0)
        ordered += map(with_work, _halves(longest))
        ordered.sort(key=lambda pair: pair[0], reverse=True)
    return [stack for _, stack in ordered]


def _what_draws_depend_on(job: Job) -> tuple[object, ...]:
    return len(job.train_set), job.seed, job.hyperparameters.dropout, job.hyperparameters.input_dropout


def _of_similar_size(units: list[_Unit]) -> list[list[_Unit]]:
    """Part jobs where they differ in size: where many are of one, or where too much of a stack would be empty."""
    by_size = sorted(units, key=lambda unit: _sizes(unit.job))
    fewest = _FEW_ROWS if units[0].job.static.device.type == "cpu" else _width(units)
    parts, rest = [], []
    for _, members in groupby(by_size, key=lambda unit: _sizes(unit.job)):
        run = list(members)
        if _width(run) >= fewest:
            parts.append(run)
        else:
            rest += run
    first = len(parts)
    for unit in rest:
        smallest = _sizes(parts[-1][0].job) if len(parts) > first else (0, 0)
        if all(n <= _WASTE * least for n, least in zip(_sizes(unit.job), smallest, strict=True)):
            parts[-1].append(unit)
        else:
            parts.append([unit])
    return parts


def _sizes(job: Job) -> tuple[int, int]:
    return len(job.train_set), 0 if job.validation_set is None else len(job.validation_set)


def are_side_by_side(stack: Sequence[Job]) -> bool:
    """Whether a stack is trained by one thread beside others that are, and not by all of them after one another."""
    return stack[0].static.device.type == "cpu" and sum(map(flops_of_step, stack)) >= _FLOPS_FOR_A_THREAD_OF_ITS_OWN


def flops_of_step(job: Job) -> float:
    """Return the floating-point operations in the products of one step."""
    # Forward and both halves of the backward pass multiply and add once each per weight and sample.
    return 6 * job.static.n_weights * len(job.train_set) / job.static.n_batches


def _are_even(work: Sequence[float], n_threads: int) -> bool:
    """Whether threads that each take the next stack when done with one end at about the same time."""
    loads = [0.0] * n_threads
    for of_stack in work:
        loads[loads.index(min(loads))] += of_stack
    return max(loads) <= _UNEVEN * sum(loads) / n_threads


def cut(items: Sequence[T], width: int, size: Callable[[T], int] = lambda item: 1) -> list[list[T]]:
    """Cut into the fewest pieces of at most ``width``, as equal as can be; what is larger than 1 may overhang."""
    ends = list(accumulate(map(size, items)))
    n_pieces = -(-ends[-1] // width)
    edges = [bisect_right(ends, round(k * ends[-1] / n_pieces)) for k in range(n_pieces + 1)]
    return [list(items[start:stop]) for start, stop in pairwise(edges) if start < stop]


def _widest(job: Job) -> int:
    static = job.static
    batch_size = -(-len(job.train_set) // static.n_batches)
    if static.device.type != "cpu" and job.validation_set is not None:
        batch_size = max(batch_size, min(len(job.validation_set), VALIDATION_CHUNK))
    n_activations = batch_size * sum(static.layer_sizes)
    n_bytes = static.dtype.itemsize * (_COPIES_OF_STATE * static.n_weights + _COPIES_OF_ACTIVATIONS * n_activations)
    if static.device.type == "cpu":
        return max(1, min(_MOST_ROWS_ON_CPU, _BYTES_ON_CPU // n_bytes))
    free, _ = torch.cuda.mem_get_info(static.device)
    free += torch.cuda.memory_reserved(static.device) - torch.cuda.memory_allocated(static.device)  # torch's cache
    return max(1, int(_SHARE_OF_GPU_MEMORY * free) // n_bytes)
