"""Random draws.  They belong to seeds, not to rows: rows with the same seed share every draw.

Each purpose has a generator of its own, so that switching one regularizer on never shifts the draws of another, and a
row draws the same numbers in whatever company it trains.  No global generator is read or written.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GLOBAL_GENERATOR = threading.RLock()  # it belongs to all threads

# New ones at the end: the seed of a purpose is that of its place.
_PURPOSES = (
    "init", "order", "mixup_partners", "mixup_shares", "input_dropout", "dropout", "input_noise", "swap_noise",
    "cutmix_partners", "cutmix_shares", "cutmix_features", "stochastic_depth",
    "module_init", "module_noise", "augmentation", "loader",
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
        self._seeds, self._device = seeds, device

    # What only modules of others draw from is made when it is wanted.

    @cached_property
    def module_init(self) -> BorrowedGenerator:
        """Draws of a module's constructor."""
        return BorrowedGenerator(self._seeds["module_init"], self._device)

    @cached_property
    def module_noise(self) -> BorrowedGenerator:
        """Draws of a module's forward passes in training, such as those of ``nn.Dropout``."""
        return BorrowedGenerator(self._seeds["module_noise"], self._device)

    @cached_property
    def augmentation(self) -> BorrowedGenerator:
        """Draws of what changes the inputs of a batch."""
        return BorrowedGenerator(self._seeds["augmentation"], self._device)

    @cached_property
    def loader(self) -> torch.Generator:
        """Draws of a loader of batches, which seeds its workers from it."""
        return _on_device(self._seeds["loader"], torch.device("cpu"))

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


class BorrowedGenerator:
    """Draws of code that knows torch's global generator only, such as ``nn.Dropout`` or the constructor of a module.

    Within :meth:`borrowed` the global generator is in a state that goes on from where the last time ended; afterwards
    it is as it was before.
    """

    def __init__(self, seed: np.random.SeedSequence, device: torch.device) -> None:
        self._devices = [torch.device("cpu"), *([device] if device.type == "cuda" else [])]
        self._states = [_on_device(seed, device).get_state() for device in self._devices]

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[None]:
        """Let torch's global generator draw from this stream."""
        with _GLOBAL_GENERATOR:
            before = [_global_state(device) for device in self._devices]
            self._set(self._states)
            try:
                yield
            finally:
                self._states = [_global_state(device) for device in self._devices]
                self._set(before)

    def _set(self, states: list[Tensor]) -> None:
        for device, state in zip(self._devices, states, strict=True):
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.set_rng_state(state)


def _global_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _on_device(seed: np.random.SeedSequence, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]) >> 1)
