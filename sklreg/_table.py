"""Checked samples in numpy, and what the engine gets of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import _check_sample_weight

from sklreg.engine import LOSSES, CSRRows, DenseRows, OutputUnits, Rows, Samples

Array = NDArray[Any]
_LEAST_WEIGHT = 1e-30  # of the greatest; less than this is lost in single precision, and counts as none


class Table(NamedTuple):
    """Checked samples in numpy: inputs, targets as the engine takes them, and weights.

    ``weight`` is the user's, which scores are weighted by; ``loss_weight`` includes the weights of classes.
    """

    X: Any  # ndarray or csr_array (n, d)
    y: Array  # as given, classes and all
    targets: Array  # (n, C)
    weight: Array | None
    loss_weight: Array | None

    def select(self, index: Array) -> Table:
        """Return the samples of ``index``."""
        weight, loss_weight = (w if w is None else w[index] for w in (self.weight, self.loss_weight))
        return Table(self.X[index], self.y[index], self.targets[index], weight, loss_weight)

    def to_samples(self, units: OutputUnits, dtype: torch.dtype) -> Samples:
        """Return the engine's tensors."""
        numpy_dtype = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
        y = (self.targets - units.offset.numpy()) / units.scale.numpy()
        weight = None
        if self.loss_weight is not None and np.ptp(self.loss_weight) > 0:  # equal weights are none
            relative = self.loss_weight / self.loss_weight.mean()
            weight = torch.from_numpy(np.maximum(relative, _LEAST_WEIGHT)).to(dtype)  # not 0 in single precision
        return Samples(_to_rows(self.X, numpy_dtype), torch.from_numpy(y).to(dtype), weight)

    def mean_loss(self, outputs: Array, loss: str) -> float:
        """Return the mean loss of outputs ``(n, C)`` or ``(1, C)``."""
        output, target = (torch.from_numpy(a.astype(np.float64)) for a in (outputs, self.targets))
        return float(np.average(LOSSES[loss].value(output, target).sum(-1).numpy(), weights=self.loss_weight))


def check_range(X: Any, dtype: torch.dtype, owner: str) -> None:
    """Refuse inputs that are finite, and not so in the numbers that a network is made of."""
    values = X.data if sparse.issparse(X) else X
    greatest = torch.finfo(dtype).max
    is_wider = values.dtype.itemsize > dtype.itemsize
    if is_wider and max(values.max(initial=0), -values.min(initial=0)) > greatest:
        raise ValueError(
            f"Input X contains a value too large for {owner}, whose network is of {str(dtype).removeprefix('torch.')}: "
            f"up to {greatest:.3g}. Scale the inputs, or set dtype='float64' and fit."
        )


def check_weight(sample_weight: ArrayLike, X: Any, name: str, owner: str) -> Array:
    """Return the weights that ``name`` of ``owner`` gives the samples of ``X``: their scale and dtype do not matter."""
    if not np.any(np.asarray(sample_weight)):
        raise ValueError(
            f"Sample weights must contain at least one non-zero number; all {np.size(sample_weight)} of {name} "
            f"are 0, which leaves {owner} no sample to learn from."
        )
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, copy=True)
    if (weight < 0).any():
        raise ValueError(
            f"{name} of {owner} must not hold negative weights; got a least weight of "
            f"{weight.min()}. To leave a sample out, give it a weight of 0."
        )
    # Very small or large weights must not lose or overflow in sums; a power of two rounds nothing.
    scaled: Array = np.ldexp(weight, -np.frexp(weight.max())[1])
    scaled[scaled < _LEAST_WEIGHT] = 0
    return scaled


def _to_rows(X: Any, dtype: Any) -> Rows:
    if sparse.issparse(X):
        indptr, indices = (torch.from_numpy(a.astype(np.int64)) for a in (X.indptr, X.indices))
        return CSRRows(indptr, indices, torch.from_numpy(X.data.astype(dtype)), X.shape[1])
    # A copy where torch would warn of memory that it must not write to, or cannot take its layout.
    return DenseRows(torch.from_numpy(np.require(X, dtype=dtype, requirements=["C", "W"])))
