"""Inputs that are disturbed in training, and in training only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sklreg.engine.data import Buffer
from sklreg.engine.streams import Streams


class SwapNoise:
    """Inputs that are swapped for the same feature of another sample of the batch, with each row's own probability.

    Rows of one source share the draws: of two rows, the one that swaps more swaps all that the other does, and for the
    same.  ``rate`` is ``(K,)``, and ``members`` the source of draws of each row.
    """

    def __init__(self, rate: Tensor, streams: list[Streams], members: list[int]) -> None:
        self.draws = [stream.swap_noise.draw for stream in streams]
        self.members = _every_row(members, streams, rate.device)
        steps = (rate.double() * 2**16).round().clamp(max=2**16 - 1)  # rates to 1/65,536
        self.threshold = (steps - 2**15).to(torch.int16)[:, None, None]
        self.output = Buffer()

    def disturb(self, X: Tensor, sizes: list[int]) -> Tensor:
        """Return ``(K, n, d)`` of ``X`` ``(K or 1, n, d)``; ``sizes`` says how many samples each source has."""
        n, d = X.shape[1:]
        noise = [draw(2, size, d) for draw, size in zip(self.draws, sizes, strict=True)]
        chance = torch.stack([_filled_up(chances, n) for chances, _ in noise])
        partner = torch.stack([_filled_up(_others(numbers), n) for _, numbers in noise])
        if self.members is not None:
            chance, partner = chance.index_select(0, self.members), partner.index_select(0, self.members)
        other = X.gather(1, partner.expand(len(X), -1, -1))
        output = self.output.shaped(X, len(self.threshold), n, d)
        return torch.where(chance < self.threshold, other, X, out=output)


def _others(noise: Tensor) -> Tensor:
    """Return for each of ``n`` samples and ``d`` features another sample, of 16-bit noise ``(n, d)``.

    Of more than 65,537 samples it is one of 65,536 that are evenly spread.
    """
    n = len(noise)
    others = noise.long().add_(2**15).mul_(n - 1).bitwise_right_shift_(16)  # from 0 to n - 2
    return others.add_(torch.arange(1, n + 1, device=noise.device)[:, None]).remainder_(n)


class InputNoise:
    """Gaussian noise on the inputs (Bishop, 1995), of each row's own strength.

    Rows of one source share the draws, so that of two rows the stronger noise is a multiple of the other.

    ``std`` is ``(K,)``, the standard deviation in units of the inputs, and ``members`` the source of draws of each row.
    """

    def __init__(self, std: Tensor, streams: list[Streams], members: list[int]) -> None:
        self.draws = [stream.input_noise.draw for stream in streams]
        self.members = _every_row(members, streams, std.device)
        self.std = std[:, None, None]
        self.output = Buffer()

    def disturb(self, X: Tensor, sizes: list[int]) -> Tensor:
        """Return ``X`` ``(K, n, d)`` with noise added; ``sizes`` says how many samples each source has."""
        n, d = X.shape[1:]
        noise = torch.stack([_filled_up(draw(size, d), n) for draw, size in zip(self.draws, sizes, strict=True)])
        noise = noise if self.members is None else noise.index_select(0, self.members)
        # Not in one operation, which would round the last numbers of a stack otherwise than those within.
        output = torch.mul(noise.to(X.dtype), self.std, out=self.output.shaped(X, *X.shape))
        return output.add_(X)


def _every_row(members: list[int], streams: list[Streams], device: torch.device) -> Tensor | None:
    """Return the source of each row, or ``None`` where there is one."""
    return torch.tensor(members, device=device) if len(streams) > 1 else None


def _filled_up(draws: Tensor, n: int) -> Tensor:
    return F.pad(draws, (0, 0, 0, n - len(draws))) if len(draws) < n else draws
