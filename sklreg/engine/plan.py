"""Which jobs train in which stack.

Jobs of equal static choices *can* train together.  How many *should* is a matter of the device: a GPU is the busier the
wider the stack, as far as its memory goes; a CPU gains nothing beyond some hundred rows, and wants one stack for each
core, because cores that share an operation wait for one another at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import torch

from sklreg.engine.job import Committee, Job
from sklreg.engine.threads import FLOPS_FOR_ANOTHER_THREAD

_MOST_ROWS_ON_CPU = 128  # benchmarks/stack_width.py shows the effect
_BYTES_ON_CPU = 2**26  # of all that a stack touches; more is not faster, and takes memory
_SHARE_OF_GPU_MEMORY = 0.5
_FEW_ROWS = 8  # of one size are put together with rows of another; also, what is worth a thread of its own
_WASTE = 1.1  # by this factor rows may differ in their number of samples; the missing ones are computed in vain
_UNEVEN = 1.12  # by this factor the last thread may end later than the mean
_COPIES_OF_STATE = 8  # state, best state, gradient, moments, and an optimizer's intermediate results
_COPIES_OF_ACTIVATIONS = 3


def plan(jobs: Sequence[Job], n_threads: int) -> list[list[int]]:
    """Return stacks of indices into ``jobs``, each job in one; as much of the work for each of ``n_threads``."""
    return keep_committees(jobs, _plan(jobs, n_threads))


def keep_committees(jobs: Sequence[Job], stacks: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the stacks with each committee whole, in the stack of its first job; none is empty."""
    homes: dict[Committee, list[int]] = {}
    whole: list[list[int]] = [[] for _ in stacks]
    for stack, into in zip(stacks, whole, strict=True):
        for i in stack:
            committee = jobs[i].committee
            (into if committee is None else homes.setdefault(committee, into)).append(i)
    return [stack for stack in whole if stack]


def _plan(jobs: Sequence[Job], n_threads: int) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for i, job in enumerate(jobs):
        # All rows of a stack are as far in their steps: the optimizer's bias corrections are one number for all.
        groups.setdefault((job.static, job.n_steps), []).append(i)
    stacks = []
    for group in groups.values():
        for part in _of_similar_size(jobs, group):
            stacks += cut(_neighbours(jobs, part), _widest(jobs[part[-1]]))
    if any(job.static.device.type != "cpu" for job in jobs):
        return sorted(stacks, key=len, reverse=True)
    return _shared_out(jobs, stacks, n_threads)


def _shared_out(jobs: Sequence[Job], stacks: list[list[int]], n_threads: int) -> list[list[int]]:
    """Part the stacks until threads that each take the next one when done with one end at about the same time."""
    flops = [_flops_of_step(job) for job in jobs]

    def with_work(stack: list[int]) -> tuple[float, list[int]]:
        """Return a stack behind what it costs at most, up to a factor."""
        return sum(flops[i] * jobs[i].static.n_batches * jobs[i].hyperparameters.max_iter for i in stack), stack

    def is_worth_parting(stack: list[int]) -> bool:
        # Rather than that threads share the operations of one stack, which is slow where a core is wanted elsewhere.
        has_much = len(stack) > 1 and sum(flops[i] for i in stack) >= 2 * FLOPS_FOR_ANOTHER_THREAD
        return len(stack) >= 2 * _FEW_ROWS or (has_much and len(ordered) < n_threads)

    # The longest first, so that no thread is left with a long one at the end.
    ordered = sorted(map(with_work, stacks), key=lambda pair: pair[0], reverse=True)
    while is_worth_parting(ordered[0][1]) and not _are_even([work for work, _ in ordered], n_threads):
        _, longest = ordered.pop(0)
        ordered += map(with_work, cut(longest, -(-len(longest) // 2)))
        ordered.sort(key=lambda pair: pair[0], reverse=True)
    return [stack for _, stack in ordered]


def _neighbours(jobs: Sequence[Job], indices: list[int]) -> list[int]:
    """Sort so that rows which share a dropout mask are neighbours."""

    def what_draws_depend_on(i: int) -> tuple[object, ...]:
        job = jobs[i]
        return len(job.train_set), job.seed, job.hyperparameters.dropout, job.hyperparameters.input_dropout

    return sorted(indices, key=what_draws_depend_on)


def _of_similar_size(jobs: Sequence[Job], indices: list[int]) -> list[list[int]]:
    """Part jobs where they differ in size: where many are of one, or where too much of a stack would be empty."""
    by_size = sorted(indices, key=lambda i: _sizes(jobs[i]))
    fewest = _FEW_ROWS if jobs[indices[0]].static.device.type == "cpu" else len(indices)
    parts, rest = [], []
    for _, members in groupby(by_size, key=lambda i: _sizes(jobs[i])):
        run = list(members)
        if len(run) >= fewest:
            parts.append(run)
        else:
            rest += run
    first = len(parts)
    for i in rest:
        smallest = _sizes(jobs[parts[-1][0]]) if len(parts) > first else (0, 0)
        if all(n <= _WASTE * least for n, least in zip(_sizes(jobs[i]), smallest, strict=True)):
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts


def _sizes(job: Job) -> tuple[int, int]:
    return len(job.train_set), 0 if job.validation_set is None else len(job.validation_set)


def _flops_of_step(job: Job) -> float:
    """Return the floating-point operations in the products of one step."""
    units = [job.static.n_inputs, *job.static.hidden_layer_sizes, job.static.n_outputs]
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(units))
    # Forward and both halves of the backward pass multiply and add once each per weight and sample.
    return 6 * n_weights * len(job.train_set) / job.static.n_batches


def _are_even(work: Sequence[float], n_threads: int) -> bool:
    """Whether threads that each take the next stack when done with one end at about the same time."""
    loads = [0.0] * n_threads
    for of_stack in work:
        loads[loads.index(min(loads))] += of_stack
    return max(loads) <= _UNEVEN * sum(loads) / n_threads


def cut(indices: list[int], width: int) -> list[list[int]]:
    """Cut into the fewest pieces of at most ``width``, as equal as can be."""
    n_pieces = -(-len(indices) // width)
    edges = [round(k * len(indices) / n_pieces) for k in range(n_pieces + 1)]
    return [indices[start:stop] for start, stop in pairwise(edges)]


def _widest(job: Job) -> int:
    static = job.static
    units = [static.n_inputs, *static.hidden_layer_sizes, static.n_outputs]
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(units))
    n_activations = -(-len(job.train_set) // static.n_batches) * sum(units)
    n_bytes = static.dtype.itemsize * (_COPIES_OF_STATE * n_weights + _COPIES_OF_ACTIVATIONS * n_activations)
    if static.device.type == "cpu":
        return max(1, min(_MOST_ROWS_ON_CPU, _BYTES_ON_CPU // n_bytes))
    free, _ = torch.cuda.mem_get_info(static.device)
    return max(1, int(_SHARE_OF_GPU_MEMORY * free) // n_bytes)
