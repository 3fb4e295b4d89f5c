"""What is done to the inputs before the first layer, by statistics of the training set: scaling, and bins."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

_CLIP = 3.0  # scaled inputs stay below this distance from 0
_FARTHEST = 1e6  # what is farther is 3 in any case, and its square may overflow


class InputScale(NamedTuple):
    """Center and scale of each feature, ``(d,)``."""

    center: Tensor
    scale: Tensor


class Bins(NamedTuple):
    """Intervals of features, those of one feature neighbours and in order, ``(D,)`` each."""

    feature: tuple[int, ...]
    start: Tensor
    width: Tensor


class InputMap(NamedTuple):
    """What is done to the inputs of one network, in this order."""

    scale: InputScale | None
    bins: Bins | None  # of the scaled inputs


AS_GIVEN = InputMap(None, None)


def scale_and_clip(x: Tensor, center: Tensor, scale: Tensor) -> Tensor:
    r"""Return :math:`z / \sqrt{1 + (z / 3)^2}` with ``z = (x - center) * scale``: near 0 that is ``z``, and never 3."""
    # One operation after the other, each with one rounding: a number is the same wherever it stands in memory.
    z = (x - center).mul_(scale).clamp_(-_FARTHEST, _FARTHEST)
    return z.div_((z / _CLIP).square_().add_(1).sqrt_())


class BinLimits:
    """Between what the position in each bin is kept: the outermost bins of a feature go on without end."""

    def __init__(self, feature: tuple[int, ...]) -> None:
        self.feature = torch.tensor(feature, dtype=torch.int64)
        is_other = [a != b for a, b in pairwise([None, *feature, None])]
        is_first, is_last = is_other[:-1], is_other[1:]
        self.least = torch.tensor([-torch.inf if first else 0.0 for first in is_first[: len(feature)]])
        self.greatest = torch.tensor([torch.inf if last else 1.0 for last in is_last[: len(feature)]])


def positions(x: Tensor, start: Tensor, width: Tensor, least: Tensor, greatest: Tensor) -> Tensor:
    """Return where the inputs of the bins, ``(..., D)``, are in them: up to the start 0, from the end on 1."""
    return ((x - start).div_(width)).clamp_(least, greatest)


class RobustScaling(nn.Module):
    """Scale the inputs ``(n, d)`` and clip them smoothly."""

    center: Tensor
    scale: Tensor

    def __init__(self, center: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("center", center.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, d)``, each number between -3 and 3."""
        return scale_and_clip(x, self.center, self.scale)

    def of_features(self, index: Tensor) -> RobustScaling:
        """Return the scaling of some of the features."""
        return RobustScaling(self.center[index], self.scale[index])


class PiecewiseLinear(nn.Module):
    """Pass on inputs, followed by their positions in bins (Gorishniy et al., 2022).

    Of the inputs ``(n, d)`` those of the index ``passed`` are passed on; ``feature`` is the index of each bin's input.
    """

    passed: Tensor
    feature: Tensor
    start: Tensor
    width: Tensor
    least: Tensor
    greatest: Tensor

    def __init__(
        self, passed: Tensor, feature: Tensor, start: Tensor, width: Tensor, least: Tensor, greatest: Tensor
    ) -> None:
        super().__init__()
        for name, value in list(locals().items()):
            if isinstance(value, Tensor):
                self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, len(passed) + len(feature))``."""
        in_bins = positions(x[:, self.feature], self.start, self.width, self.least, self.greatest)
        return torch.cat([x[:, self.passed], in_bins], dim=1)

    def of_columns(self, is_used: Tensor) -> tuple[Tensor, PiecewiseLinear]:
        """Return the inputs that some of the outputs are made of, and the module that makes these of them alone."""
        passed = self.passed[is_used[: len(self.passed)]]
        bins = torch.nonzero(is_used[len(self.passed) :])[:, 0]
        inputs, places = torch.unique(torch.cat([passed, self.feature[bins]]), return_inverse=True)
        of_bins = (t[bins] for t in (self.start, self.width, self.least, self.greatest))
        return inputs, PiecewiseLinear(places[: len(passed)], places[len(passed) :], *of_bins)


def input_map_of(layers: list[nn.Module]) -> InputMap:
    """Return what the layers of a network do to its inputs; the network must not have been pruned."""
    scale = next((InputScale(m.center, m.scale) for m in layers if isinstance(m, RobustScaling)), None)
    bins = next(
        (Bins(tuple(m.feature.tolist()), m.start, m.width) for m in layers if isinstance(m, PiecewiseLinear)), None
    )
    return InputMap(scale, bins)
