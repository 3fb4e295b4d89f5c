"""Inputs that are disturbed in training, and in training only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sklreg.engine.data import Buffer
from sklreg.engine.streams import Streams


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
