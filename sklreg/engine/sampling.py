"""Passes with dropout on: what the networks that dropout thins out have to say, one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklreg.engine.ensemble import Ensemble
from sklreg.engine.plain import StochasticDepth, WithShortcut, WithSkip

PASSES_AT_ONCE = 16  # bounds the memory; another number would draw other networks


def networks_of(module: nn.Module) -> list[nn.Module]:
    """Return the members of an ensemble, or the only network."""
    return list(module.members) if isinstance(module, Ensemble) else [module]


def has_dropout(module: nn.Module) -> bool:
    """Return whether anything is dropped in training."""
    return any(isinstance(layer, nn.Dropout) for layer in module.modules())


class ThinnedNetworks:
    """``n_samples`` networks that dropout makes of one, or of the members of an ensemble in turn.

    Each keeps what it keeps for all inputs, so that its outputs are a function of them: a draw from the distribution of
    functions that Gal and Ghahramani (2016) read dropout as.  Outputs for one input do not depend on what other inputs
    there are.
    """

    def __init__(self, module: nn.Module, n_samples: int, seed: int) -> None:
        networks = networks_of(module)
        self._places = [range(k, n_samples, len(networks)) for k in range(len(networks))]
        self._networks, self._n_samples, self._seed = networks, n_samples, seed

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs ``(n_samples, n, C)`` for inputs ``(n, d)``."""
        generator = torch.Generator().manual_seed(self._seed)  # anew, for the same networks with the next inputs
        outputs: Tensor | None = None
        for network, places in zip(self._networks, self._places, strict=True):
            for start in range(0, len(places), PASSES_AT_ONCE):
                part = places[start : start + PASSES_AT_ONCE]
                output = _through(network, x[None], len(part), generator)
                if outputs is None:
                    outputs = output.new_empty(self._n_samples, *output.shape[1:])
                outputs[part.start : part.stop : part.step] = output  # (1, n, C) where nothing is dropped
        assert outputs is not None
        return outputs


def _through(module: nn.Module, x: Tensor, n_samples: int, generator: torch.Generator) -> Tensor:
    """Return ``(n_samples, n, d_out)``, or ``(1, n, d_out)`` as long as nothing has been dropped."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = _through(layer, x, n_samples, generator)
        return x
    if isinstance(module, WithSkip):
        skip = _through(module.skip, x, n_samples, generator)
        return _through(module.network, x, n_samples, generator) + skip
    if isinstance(module, WithShortcut):
        return x + _through(module.layers, x, n_samples, generator)
    if isinstance(module, nn.Dropout):
        n_units = 1 if isinstance(module, StochasticDepth) else x.shape[2]
        noise = torch.rand(n_samples, 1, n_units, generator=generator, dtype=torch.float32, device="cpu")
        return x * ((noise >= module.p).to(x) / (1 - module.p))
    output: Tensor = module(x.flatten(0, 1))
    return output.view(*x.shape[:2], -1)
