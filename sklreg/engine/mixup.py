"""Mixup: training on points between two samples (Zhang et al., 2018)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklreg.engine.data import Batch
from sklreg.engine.streams import Streams


class MixupDraws(NamedTuple):
    """One epoch's draws: partners for each batch of every source, and the partner's share for each batch and row."""

    partners: list[Tensor]  # per batch (sources, n)
    shares: Tensor  # (n_batches, K)


class Mixup:
    """Mixes each batch with a shuffled copy of itself, every row in its own proportion."""

    def __init__(self, alpha: list[float], streams: list[Streams]) -> None:
        self.alpha = alpha
        self.shares = [s.mixup_shares() for s in streams]  # of each row

    @property
    def is_active(self) -> bool:
        """Whether any row mixes."""
        return any(a > 0 for a in self.alpha)

    def draw(
        self, bounds: list[list[tuple[int, int]]], streams: list[Streams], dtype: torch.dtype, device: torch.device
    ) -> MixupDraws:
        """Draw for one epoch, partners from the streams of each seed, which have ``bounds`` of batches of their own."""
        partners = []
        for batch in zip(*bounds, strict=True):
            sizes = [stop - start for start, stop in batch]
            index = np.tile(np.arange(max(sizes)), (len(sizes), 1))  # what fills up a smaller batch stays by itself
            for row, stream, size in zip(index, streams, sizes, strict=True):
                row[:size] = stream.mixup_partners.permutation(size)
            partners.append(torch.from_numpy(index).to(device))
        shares = np.zeros((len(partners), len(self.alpha)))
        for k, (alpha, generator) in enumerate(zip(self.alpha, self.shares, strict=True)):
            if alpha > 0:
                # The larger part is the sample's own: beta is symmetric, and mixing a with b is mixing b with a.
                share = generator.beta(alpha, alpha, len(partners))
                shares[:, k] = np.minimum(share, 1 - share)
        return MixupDraws(partners, torch.from_numpy(shares).to(device, dtype))

    def select(self, rows: list[int]) -> None:
        """Keep only the models of ``rows``."""
        self.alpha = [self.alpha[k] for k in rows]
        self.shares = [self.shares[k] for k in rows]


def mix(batch: Batch, partners: Tensor, share: Tensor) -> Batch:
    """Move every sample by ``share`` of the way to its partner; where a row's share is 0 nothing changes, to the bit.

    ``batch`` is ``(K or 1, n, ...)``, ``partners`` ``(K or 1, n)``, ``share`` ``(K,)``.  The loss of a mixed sample is
    that of its two parts, so a part of greater sample weight has the greater say in target and weight.
    """
    share = share[:, None]  # (K, 1)
    weight = None
    y_share = share
    if batch.weight is not None:
        partner_weight = batch.weight.gather(1, partners)
        weight = batch.weight + share * (partner_weight - batch.weight)
        y_share = share * partner_weight / weight.clamp_min(torch.finfo(weight.dtype).tiny)  # 0 / 0 of what fills up
    X_partner = batch.X.gather(1, partners[:, :, None].expand(-1, -1, batch.X.shape[2]))
    y_partner = batch.y.gather(1, partners[:, :, None].expand(-1, -1, batch.y.shape[2]))
    X = batch.X + share[:, :, None] * (X_partner - batch.X)
    y = batch.y + y_share[:, :, None] * (y_partner - batch.y)
    return Batch(X, y, weight)
