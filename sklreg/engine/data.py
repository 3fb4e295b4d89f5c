"""Samples on the device, and the minibatches that the rows of a stack see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

_REGISTERS = 64  # numbers that any vector unit takes in whole registers
_BYTES_OF_POOL = 2**25  # a second copy of more is not worth the time it saves


class Rows(Protocol):
    """A table of ``n`` rows and ``d`` features from which batches of rows are taken."""

    def take(self, index: Tensor, buffer: Buffer | None = None) -> Tensor:
        """Return the rows of ``index`` as a dense ``(len(index), d)`` tensor, in ``buffer`` if there is one."""

    def slice(self, start: int, stop: int) -> Tensor:
        """Return the rows from ``start`` to ``stop`` as a dense tensor."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Rows:
        """Return a table of what ``function`` makes of each tensor of this one."""

    def tensors(self) -> list[Tensor]:
        """Return the tensors that hold the table."""


class DenseRows(NamedTuple):
    """A dense table."""

    values: Tensor  # (n, d)

    def take(self, index: Tensor, buffer: Buffer | None = None) -> Tensor:
        out = None if buffer is None else buffer.shaped(self.values, len(index), self.values.shape[1])
        return torch.index_select(self.values, 0, index, out=out)

    def slice(self, start: int, stop: int) -> Tensor:
        return self.values[start:stop]

    def map(self, function: Callable[[Tensor], Tensor]) -> DenseRows:
        return DenseRows(function(self.values))

    def tensors(self) -> list[Tensor]:
        return [self.values]


class CSRRows(NamedTuple):
    """A sparse table in compressed row form; only the rows of a batch are ever made dense."""

    indptr: Tensor  # (n + 1,)
    indices: Tensor  # (nnz,)
    values: Tensor  # (nnz,)
    n_features: int

    def take(self, index: Tensor, buffer: Buffer | None = None) -> Tensor:
        start = self.indptr[index]
        count = self.indptr[index + 1] - start
        row = torch.repeat_interleave(torch.arange(len(index), device=index.device), count)  # (nnz of the batch,)
        first = torch.cumsum(count, 0) - count
        source = torch.arange(len(row), device=index.device) - first[row] + start[row]
        shape = len(index), self.n_features
        dense = self.values.new_zeros(shape) if buffer is None else buffer.shaped(self.values, *shape).zero_()
        # Accumulating, so that an entry stored twice counts twice, as in scipy.
        return dense.index_put_((row, self.indices[source]), self.values[source], accumulate=True)

    def slice(self, start: int, stop: int) -> Tensor:
        stop = min(stop, len(self.indptr) - 1)  # as a slice of a dense table ends with the table
        return self.take(torch.arange(min(start, stop), stop, device=self.indptr.device))

    def map(self, function: Callable[[Tensor], Tensor]) -> CSRRows:
        return CSRRows(function(self.indptr), function(self.indices), function(self.values), self.n_features)

    def tensors(self) -> list[Tensor]:
        return [self.indptr, self.indices, self.values]


class OutputUnits(NamedTuple):
    """The units in which a network is trained: its target is ``(target - offset) / scale``, each ``(C,)``."""

    scale: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Samples:
    """Inputs, targets and weights of ``n`` samples.

    ``y`` is ``(n, C)``: one-hot or 0/1 for classification, in the job's ``units`` for regression.
    ``weight`` is ``(n,)`` with mean 1, or ``None`` for equal weights.
    """

    X: Rows
    y: Tensor
    weight: Tensor | None

    def __len__(self) -> int:
        return self.y.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Samples:
        """Return samples of what ``function`` makes of each tensor of these."""
        weight = None if self.weight is None else function(self.weight)
        return Samples(self.X.map(function), function(self.y), weight)

    def tensors(self) -> list[Tensor]:
        """Return the tensors that hold the samples."""
        return [*self.X.tensors(), self.y, *([] if self.weight is None else [self.weight])]

    @property
    def identity(self) -> tuple[int, ...]:
        """What samples have in common that are held in the same memory."""
        return tuple(id(tensor) for tensor in self.tensors())

    def with_weight(self) -> Samples:
        """Return the same samples with weights, equal ones where there were none."""
        return self if self.weight is not None else replace(self, weight=self.y.new_ones(len(self)))

    def slice(self, start: int, stop: int) -> Batch:
        """Return the samples from ``start`` to ``stop``, in order."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Batch(self.X.slice(start, stop), self.y[start:stop], weight)

    def take(self, index: Tensor, buffer: Buffer | None = None) -> Batch:
        """Return the samples of ``index``, their inputs in ``buffer`` if there is one."""
        weight = None if self.weight is None else self.weight.index_select(0, index)
        return Batch(self.X.take(index, buffer), self.y.index_select(0, index), weight)


class Batch(NamedTuple):
    """Some samples, made dense; with a leading axis where they belong to several sources or rows."""

    X: Tensor
    y: Tensor
    weight: Tensor | None

    def pad(self, size: int) -> Batch:
        """Fill up to ``size`` samples with ones that weigh nothing."""
        weight = self.y.new_ones(len(self.y)) if self.weight is None else self.weight
        missing = size - len(self.y)
        return Batch(F.pad(self.X, (0, 0, 0, missing)), F.pad(self.y, (0, 0, 0, missing)), F.pad(weight, (0, missing)))


class Buffer:
    """Memory for one tensor of every step.

    Memory that is asked for and given back in every step costs more than the arithmetic in it, once a stack is wide:
    the system hands out large pieces empty, page by page.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = None
        self._shape: tuple[int, ...] | None = None

    def shaped(self, like: Tensor, *shape: int) -> Tensor:
        """Return a tensor to be written, of the dtype and device of ``like``; the last one becomes invalid.

        Behind it there is memory up to the next multiple of 64 numbers, for :func:`filled_up`.
        """
        if shape != self._shape:
            size = prod(shape)
            if self._memory is None or self._memory.numel() < size:
                self._memory = like.new_zeros(whole_registers(size))
            self._shape, self._last = shape, self._memory[:size].view(shape)
        return self._last


def whole_registers(n: int) -> int:
    """Return the least multiple of 64 that is not below ``n``."""
    return -(-n // _REGISTERS) * _REGISTERS


def filled_up(x: Tensor, buffer: Buffer | None = None) -> Tensor:
    """Return ``x`` if it fills whole vector registers, else flat memory that begins with it and does.

    Some kernels round the numbers that are left over at the end otherwise than the others, and where the end is depends
    on the number of models.  What comes after ``x`` is arbitrary; :func:`part` takes it off.  NOTE: a function that
    works in place writes there, too: give it only what has a storage of its own, as the tensors of a :class:`Buffer`.
    """
    n, n_whole = x.numel(), whole_registers(x.numel())
    if not x.is_contiguous():
        x = x.contiguous()
    if n == n_whole:
        return x
    if x.untyped_storage().nbytes() >= (x.storage_offset() + n_whole) * x.itemsize:  # that of a Buffer, say
        return x.as_strided((n_whole,), (1,))
    if buffer is None:
        return F.pad(x.view(-1), (0, n_whole - n))
    flat = buffer.shaped(x, n_whole)
    flat[:n].copy_(x.view(-1))
    flat[n:].zero_()
    return flat


def part(filled: Tensor, like: Tensor) -> Tensor:
    """Return what :func:`filled_up` made of ``like``, or what a function made of that, in its shape."""
    return filled if filled.shape == like.shape else filled[: like.numel()].view(like.shape)


class Pool:
    """Sets of samples below one another in one table, from which the batches of all rows are taken at once."""

    def __init__(self, sets: Sequence[Samples]) -> None:
        self.X = torch.cat([s.X.values for s in sets if isinstance(s.X, DenseRows)])
        self.y = torch.cat([s.y for s in sets])
        weights = [s.weight for s in sets if s.weight is not None]
        self.weight = torch.cat(weights) if weights else None

    @classmethod
    def of(cls, sets: Sequence[Samples]) -> Pool | None:
        """Return a pool of dense sets of one size; ``None`` where there is one set, or a copy would take much."""
        tensors = [tensor for s in sets for tensor in s.tensors()]
        is_worth_it = (
            len(sets) > 1
            and len({len(s) for s in sets}) == 1
            and all(isinstance(s.X, DenseRows) for s in sets)
            and sum(tensor.nbytes for tensor in tensors) <= _BYTES_OF_POOL
        )
        return cls(sets) if is_worth_it else None

    def take(self, places: Tensor, buffer: Buffer) -> Batch:
        """Return a batch for every row, its samples at ``places`` ``(K, n)``, its inputs in ``buffer``."""
        index, shape = places.flatten(), places.shape
        X = torch.index_select(self.X, 0, index, out=buffer.shaped(self.X, len(index), self.X.shape[1]))
        y = self.y.index_select(0, index).unflatten(0, shape)
        weight = None if self.weight is None else self.weight.index_select(0, index).view(shape)
        return Batch(X.view(*shape, -1), y, weight)


def count_batches(n: int, batch_size: int) -> int:
    """Return the fewest batches of at most ``batch_size`` that ``n`` samples make."""
    return -(-n // batch_size)


def batch_bounds(n: int, n_batches: int) -> list[tuple[int, int]]:
    """Cut ``n`` samples into ``n_batches``, as equal as can be.

    No sample is left out of an epoch and no batch is left with a handful of samples, so that no step is much noisier
    than the others and batch normalization never meets a batch of one unless ``batch_size`` says so.
    """
    edges = [round(i * n / n_batches) for i in range(n_batches + 1)]
    return list(pairwise(edges))


def stack(batches: list[Batch], members: Tensor | None, buffer: Buffer) -> Batch:
    """Give every row of the stack the batch of its source, its inputs in ``buffer``.

    ``members`` is ``(K,)``, the source of each row, or ``None`` where there is one source: its batch then gets a
    leading axis of one, which broadcasts over the rows at no cost.  Batches of unequal size are filled up.
    """
    size = max(len(batch.y) for batch in batches)
    if any(len(batch.y) < size for batch in batches):
        batches = [batch.pad(size) for batch in batches]
    if members is None:
        only = batches[0]
        return Batch(only.X[None], only.y[None], None if only.weight is None else only.weight[None])
    X = torch.stack([b.X for b in batches])
    X = torch.index_select(X, 0, members, out=buffer.shaped(X, len(members), *X.shape[1:]))
    y = torch.stack([b.y for b in batches]).index_select(0, members)
    weights = [b.weight for b in batches if b.weight is not None]
    return Batch(X, y, torch.stack(weights).index_select(0, members) if weights else None)


def chunks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of consecutive pieces of ``n`` of at most ``size``."""
    for start in range(0, n, size):
        yield start, min(start + size, n)


def moved_together(tensors: list[Tensor], device: torch.device) -> list[Tensor]:
    """Return integers of any shapes on a device, by one copy: Python waits for each."""
    if device.type == "cpu":
        return tensors
    parts = torch.cat([tensor.flatten() for tensor in tensors]).to(device).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
