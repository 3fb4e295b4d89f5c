"""Training on what lies between two samples: mixup (Zhang et al., 2018), and for tables cutmix (Yun et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sklreg.engine.data import Batch, moved_together
from sklreg.engine.streams import Streams


class MixupDraws(NamedTuple):
    """One epoch's draws: partners for each batch of every source, and the partner's share for each batch and row."""

    partners: list[Tensor]  # per batch (sources, n)
    shares: Tensor  # (n_batches, K)
    sizes: list[list[int]]  # per batch, of every source
    streams: list[Streams]  # the sources


class Mixup:
    """Mixes each batch with a shuffled copy of itself, every row in its own proportion."""

    purpose = "mixup"

    def __init__(self, alpha: list[float], streams: list[Streams]) -> None:
        self.alpha = alpha
        self.shares = [getattr(s, f"{self.purpose}_shares")() for s in streams]  # of each row

    @property
    def is_active(self) -> bool:
        """Whether any row mixes."""
        return any(a > 0 for a in self.alpha)

    def draw(
        self, bounds: list[list[tuple[int, int]]], streams: list[Streams], dtype: torch.dtype, device: torch.device
    ) -> MixupDraws:
        """Draw for one epoch, partners from the streams of each seed, which have ``bounds`` of batches of their own."""
        partners = []
        sizes = [[stop - start for start, stop in batch] for batch in zip(*bounds, strict=True)]
        for of_batch in sizes:
            index = np.tile(np.arange(max(of_batch)), (len(of_batch), 1))  # what fills up a smaller batch stays
            for row, stream, size in zip(index, streams, of_batch, strict=True):
                row[:size] = getattr(stream, f"{self.purpose}_partners").permutation(size)
            partners.append(torch.from_numpy(index))
        shares = np.zeros((len(partners), len(self.alpha)))
        for k, (alpha, generator) in enumerate(zip(self.alpha, self.shares, strict=True)):
            if alpha > 0:
                # The larger part is the sample's own: beta is symmetric, and mixing a with b is mixing b with a.
                share = generator.beta(alpha, alpha, len(partners))
                shares[:, k] = np.minimum(share, 1 - share)
        partners = moved_together(partners, device)
        return MixupDraws(partners, torch.from_numpy(shares).to(device, dtype), sizes, streams)

    def mixed(self, batch: Batch, draws: MixupDraws, i: int, members: Tensor) -> Batch:
        """Return batch ``i`` of an epoch, mixed; ``members`` is the source of draws of each row, ``(K,)``."""
        return mix(batch, _partners(batch, draws, i, members), draws.shares[i])

    def select(self, rows: list[int]) -> None:
        """Keep only the models of ``rows``."""
        self.alpha = [self.alpha[k] for k in rows]
        self.shares = [self.shares[k] for k in rows]


class CutMix(Mixup):
    """Gives each sample some of its partner's features, and the share of its label that they are of all features."""

    purpose = "cutmix"

    def mixed(self, batch: Batch, draws: MixupDraws, i: int, members: Tensor) -> Batch:
        n, d = batch.X.shape[1:]
        noise = torch.stack(
            [
                F.pad(stream.cutmix_features.draw(size, d), (0, 0, 0, n - size))
                for stream, size in zip(draws.streams, draws.sizes[i], strict=True)
            ]
        )
        noise = noise if len(noise) == 1 else noise.index_select(0, members)
        return cut_and_mix(batch, _partners(batch, draws, i, members), draws.shares[i], noise)


def _partners(batch: Batch, draws: MixupDraws, i: int, members: Tensor) -> Tensor:
    partners = draws.partners[i]
    partners = partners if len(partners) == 1 else partners.index_select(0, members)
    return partners.expand(len(batch.X), -1)


def mix(batch: Batch, partners: Tensor, share: Tensor) -> Batch:
    """Move every sample by ``share`` of the way to its partner; where a row's share is 0 nothing changes, to the bit.

    ``batch`` is ``(K or 1, n, ...)``, ``partners`` ``(K or 1, n)``, ``share`` ``(K,)``.  The loss of a mixed sample is
    that of its two parts, so a part of greater sample weight has the greater say in target and weight.
    """
    return _mixed(batch, partners, share[:, None], lambda X, other: X + share[:, None, None] * (other - X))


def cut_and_mix(batch: Batch, partners: Tensor, share: Tensor, noise: Tensor) -> Batch:
    """Take each feature of a sample from its partner with probability ``share``; at 0 nothing changes, to the bit.

    As :func:`mix`, with 16-bit ``noise`` ``(K or 1, n, d)``.  What a sample has of its partner's label is the share of
    the features that it has got, and not the probability of it.
    """
    threshold = (share.double() * 2**16).round() - 2**15
    is_partners = noise < threshold.to(torch.int16)[:, None, None]
    share_of_features = is_partners.to(batch.X.dtype).mean(2)
    return _mixed(batch, partners, share_of_features, lambda X, other: torch.where(is_partners, other, X))


def _mixed(batch: Batch, partners: Tensor, share: Tensor, mixed_inputs: Callable[[Tensor, Tensor], Tensor]) -> Batch:
    """Return a batch whose samples have ``share`` ``(K, n or 1)`` of their partners' losses."""
    weight, y_share = None, share
    if batch.weight is not None:
        partner_weight = batch.weight.gather(1, partners)
        weight = batch.weight + share * (partner_weight - batch.weight)
        y_share = share * partner_weight / weight.clamp_min(torch.finfo(weight.dtype).tiny)  # 0 / 0 of what fills up
    X_partner = batch.X.gather(1, partners[:, :, None].expand(-1, -1, batch.X.shape[2]))
    y_partner = batch.y.gather(1, partners[:, :, None].expand(-1, -1, batch.y.shape[2]))
    y = batch.y + y_share[:, :, None] * (y_partner - batch.y)
    return Batch(mixed_inputs(batch.X, X_partner), y, weight)
