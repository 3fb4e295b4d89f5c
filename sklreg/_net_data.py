"""The samples of a net: what may be passed, and batches of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from skorch.dataset import Dataset
from torch import Tensor, nn
from torch.utils.data import Sampler, Subset, default_convert

from sklreg.engine import batch_bounds, count_batches

Array = NDArray[Any]


class SampleDataset(Dataset):
    """Samples in memory, with the targets of the loss beside what the user calls them.

    Callbacks find ``y`` as it was given; batches hold ``targets``: codes of classes, or numbers.
    """

    def __init__(self, X: Any, y: Any = None, targets: Array | None = None) -> None:
        super().__init__(X, y)
        self.targets = targets

    def __getitem__(self, i: Any) -> tuple[Any, Any]:
        X, y = self.take(np.array([i]))
        return map_tensors(X, lambda tensor: tensor[0]), y[0]

    def take(self, index: Array) -> tuple[Any, Tensor]:
        """Return the samples of ``index`` as tensors."""
        # Without targets there is a number for each sample, as in skorch: loaders cannot pass on nothing.
        targets = torch.zeros(len(index)) if self.targets is None else torch.as_tensor(self.targets[index])
        return default_convert(_rows(self.X, index)), targets


class WholeBatches(torch.utils.data.Dataset[Any]):
    """Samples from which torch's ``DataLoader`` takes a batch at once, not sample by sample."""

    def __init__(self, samples: SampleDataset, indices: Array | None = None) -> None:
        self._samples, self._indices = samples, indices

    @classmethod
    def of(cls, dataset: Any) -> WholeBatches | None:
        """Return the samples of a dataset that has them in memory, or of a part of one; else ``None``."""
        if isinstance(dataset, Subset) and isinstance(dataset.dataset, SampleDataset):
            return cls(dataset.dataset, np.asarray(dataset.indices))
        return cls(dataset) if isinstance(dataset, SampleDataset) else None

    def __len__(self) -> int:
        return len(self._samples) if self._indices is None else len(self._indices)

    def __getitem__(self, i: int) -> Any:
        return self._samples[i if self._indices is None else self._indices[i]]

    def __getitems__(self, places: Sequence[int]) -> tuple[Any, Tensor]:
        """Return a batch; torch looks for this name."""
        index = np.asarray(places)
        return self._samples.take(index if self._indices is None else self._indices[index])


def as_they_are(batch: Any) -> Any:
    """Return a batch that needs no collating."""
    return batch


class EpochBatches(Sampler[list[int]]):
    """The batches of an epoch, as the engine makes them: the fewest, of nearly equal size, in the order of a stream."""

    def __init__(self, n: int, batch_size: int, order: np.random.Generator) -> None:
        self._bounds = batch_bounds(n, count_batches(n, batch_size))
        self._order = order

    def __iter__(self) -> Iterator[list[int]]:
        n = self._bounds[-1][1]
        order = np.arange(n) if len(self._bounds) == 1 else self._order.permutation(n)
        for start, stop in self._bounds:
            yield order[start:stop].tolist()

    def __len__(self) -> int:
        return len(self._bounds)

    @property
    def smallest(self) -> int:
        """Number of samples in the smallest batch."""
        return min(stop - start for start, stop in self._bounds)


def has_parts(X: Any) -> bool:
    """Whether an input consists of several, each with all samples: a mapping, or a sequence of tables."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and all(getattr(part, "ndim", 0) > 1 for part in X)
    return isinstance(X, Mapping) and not sparse.issparse(X)  # one of scipy's formats is a dict, too


def parts_of(X: Any) -> list[Any]:
    """Return what an input consists of."""
    if not has_parts(X):
        return [X]
    return list(X.values()) if isinstance(X, Mapping) else list(X)


def table_of(X: Any, n: int) -> Any:
    """Return an input as a numpy array ``(n, d)`` or a csr array; the places of the samples, where it is neither."""
    if sparse.issparse(X):
        return X
    if isinstance(X, Tensor):
        X = X.detach().cpu().to(torch.float64).numpy()
    return X.reshape(n, -1) if isinstance(X, np.ndarray) else np.arange(n)[:, None]


def map_tensors(x: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor of an input: one, or several in a mapping, a list or a tuple."""
    if isinstance(x, Tensor):
        return function(x)
    if isinstance(x, Mapping):
        return {key: map_tensors(value, function) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [map_tensors(value, function) for value in x]
    return x


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype in which a module computes: that of its first parameter, or torch's default."""
    floating = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
    return next(floating, torch.get_default_dtype())


def looks_up(module: nn.Module) -> bool:
    """Whether a module takes integers as what to look up, and not as numbers."""
    return any(isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) for layer in module.modules())


def _rows(X: Any, index: Array) -> Any:
    if isinstance(X, Mapping):
        return {key: _rows(part, index) for key, part in X.items()}
    if isinstance(X, (list, tuple)):
        return [_rows(part, index) for part in X]
    rows = getattr(X, "iloc", X)[index]
    if sparse.issparse(rows):
        return rows.toarray()
    return rows if isinstance(rows, Tensor) else np.asarray(rows)
