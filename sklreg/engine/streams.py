"""Random draws.  They belong to seeds, not to rows: rows with the same seed share every draw.

Each purpose has a generator of its own, so that switching one regularizer on never shifts the draws of another, and a
row draws the same numbers in whatever company it trains.  No global generator is read or written.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# New ones at the end: the seed of a purpose is that of its place.
_PURPOSES = (
    "init", "order", "mixup_partners", "mixup_shares", "input_dropout", "dropout", "input_noise", "swap_noise",
    "cutmix_partners", "cutmix_shares", "cutmix_features", "stochastic_depth",
)  # fmt: skip


class Streams:
    """The generators of one seed."""

    def __init__(self, seed: int, device: torch.device) -> None:
        seeds = dict(zip(_PURPOSES, np.random.SeedSequence(seed).spawn(len(_PURPOSES)), strict=True))
        self.init = np.random.Generator(np.random.PCG64(seeds["init"]))
        self.order = np.random.Generator(np.random.PCG64(seeds["order"]))
        self.mixup_partners = np.random.Generator(np.random.PCG64(seeds["mixup_partners"]))
        self.cutmix_partners = np.random.Generator(np.random.PCG64(seeds["cutmix_partners"]))
        self._mixup_shares, self._cutmix_shares = seeds["mixup_shares"], seeds["cutmix_shares"]
        self.input_dropout = _Noise(seeds["input_dropout"], device)
        self.dropout = _Noise(seeds["dropout"], device)
        self.input_noise = _GaussianNoise(seeds["input_noise"], device)
        self.swap_noise = _Noise(seeds["swap_noise"], device)
        self.cutmix_features = _Noise(seeds["cutmix_features"], device)
        self.stochastic_depth = _Noise(seeds["stochastic_depth"], device)

    def mixup_shares(self) -> np.random.Generator:
        """Return a new generator of mixing shares, the same for every row of this seed.

        The number of draws that a beta variate takes depends on its parameter, so rows cannot share one generator.
        """
        return np.random.Generator(np.random.PCG64(self._mixup_shares))

    def cutmix_shares(self) -> np.random.Generator:
        """Return a new generator of the shares of features, the same for every row of this seed."""
        return np.random.Generator(np.random.PCG64(self._cutmix_shares))


class _Noise:
    """Uniform 16-bit integers, drawn where they are used.

    On the CPU, raw words of a fast generator cut into four: a twentieth of the cost of drawing floats.
    """

    def __init__(self, seed: np.random.SeedSequence, device: torch.device) -> None:
        self.device = device
        if device.type == "cpu":
            self._words = np.random.SFC64(seed)
        else:
            self._generator = _on_device(seed, device)

    def draw(self, *shape: int) -> Tensor:
        """Return integers uniform over all values of int16."""
        size = int(np.prod(shape))
        if self.device.type == "cpu":
            words: NDArray[np.uint64] = np.asarray(self._words.random_raw(-(-size // 4)))
            return torch.from_numpy(words.view(np.int16)[:size]).view(shape)
        full_range = torch.empty(shape, dtype=torch.int16, device=self.device)
        return full_range.random_(-(2**15), 2**15, generator=self._generator)


class _GaussianNoise:
    """Standard normal numbers in single precision, drawn where they are used."""

    def __init__(self, seed: np.random.SeedSequence, device: torch.device) -> None:
        self.device = device
        if device.type == "cpu":
            self._normal = np.random.Generator(np.random.SFC64(seed))
        else:
            self._generator = _on_device(seed, device)

    def draw(self, *shape: int) -> Tensor:
        """Return independent standard normal numbers."""
        if self.device.type == "cpu":
            return torch.from_numpy(self._normal.standard_normal(shape, dtype=np.float32))
        return torch.randn(shape, dtype=torch.float32, device=self.device, generator=self._generator)


def _on_device(seed: np.random.SeedSequence, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
