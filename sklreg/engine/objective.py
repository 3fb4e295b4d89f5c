"""What a stack minimizes, in the units in which it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sklreg.engine.job import Job, column_of
from sklreg.engine.layout import Layout
from sklreg.engine.penalties import Block, ElasticNet, Grouped, GroupLasso, Groups, Hierarchy, Penalty


class LossUnits(NamedTuple):
    """The units of the losses of a stack's rows.

    Training runs on targets in units of their standard deviation.  Half the squared error in the target's own units is
    ``unit ** 2`` times half of that error, with each output at its ``share`` of the unit.
    """

    unit: Tensor  # (K, 1), float64 on the CPU
    share: Tensor  # (K, C), likewise
    of_loss: Tensor  # (K,): unit ** 2
    relative_scale: Tensor | None  # (K, 1, C): the shares, unless all are 1

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> LossUnits:
        """Return the units of these rows."""
        static = jobs[0].static
        scale = torch.stack([job.units.scale for job in jobs])  # (K, C), float64
        unit = scale.square().mean(1, keepdim=True).sqrt() if scale.shape[1] > 1 else scale
        share = scale / unit
        has_equal_shares = not bool((share != 1).any())
        relative_scale = None if has_equal_shares else share[:, None].to(static.device, static.dtype)
        return cls(unit, share, unit.square()[:, 0].to(static.device), relative_scale)


def penalty_of(jobs: Sequence[Job], layout: Layout, units: LossUnits) -> Penalty:
    """Return the penalty on the weights of all rows."""
    static = jobs[0].static
    l1, l2 = (column_of(jobs, name, torch.float64).cpu()[:, None] for name in ("l1", "l2"))
    by_unit = l1 / units.unit, l1 / units.unit.square()  # of weights into outputs, and of those before
    if bool((units.unit != 1).any()) or units.relative_scale is not None:
        # A weight into output c is scale[c] times what it is in training, and the loss is divided by unit ** 2.
        factor = torch.ones(len(jobs), layout.n_weights, dtype=torch.float64) / units.unit
        for name in _into_outputs(layout):
            weight = layout.view(factor, name)
            weight.copy_(units.share[:, None, :].expand_as(weight))
        l1, l2 = l1 * factor / units.unit, l2 * factor.square()
    l1, l2 = (strength.to(static.device, static.dtype) for strength in (l1, l2))
    if static.penalty_groups == "weights":
        return ElasticNet(l1, l2)
    return _grouped(jobs, layout, units, l1, l2, *by_unit)


def _into_outputs(layout: Layout) -> list[str]:
    return [f"weight{layout.n_layers - 1}", *(["skip"] if layout.has_skip else [])]


def _grouped(
    jobs: Sequence[Job], layout: Layout, units: LossUnits, l1: Tensor, l2: Tensor, into_outputs: Tensor, before: Tensor
) -> Grouped:
    """Let the weights that belong together be penalised by their norm; the others as they are."""
    static = jobs[0].static
    kind, labels, device = static.penalty_groups, static.feature_groups, static.device

    def block(name: str, by_column: bool = False) -> Block:
        _, _, (n_in, n_out), _ = layout.spans[name]
        factor = units.relative_scale if name in _into_outputs(layout) else None
        if by_column:
            return Block(partial(_view_columns, layout, name=name), Groups(None, n_out, device), factor)
        return Block(partial(layout.view, name=name), Groups(labels, n_in, device), factor)

    def lasso(name: str, weight: float = 1.0, by_column: bool = False) -> GroupLasso:
        strength = weight * (into_outputs if name in _into_outputs(layout) else before).to(device, static.dtype)
        return GroupLasso(block(name, by_column), strength)

    def alone(lasso: GroupLasso) -> GroupLasso:
        models = lasso.strength[:, :, None] > 0
        return replace(lasso, block=lasso.block._replace(models=None if bool(models.all()) else models))

    # The weights that are in no group lie between the first matrix and the skip connection.
    start, stop = layout.spans["weight0"].stop, layout.n_weights
    parts: tuple[GroupLasso | Hierarchy, ...]
    if kind == "features":
        parts = (alone(lasso("weight0")),)
    elif kind == "neurons":  # each spans all inputs of its layer, as a group of features spans several
        n_inputs = [layout.spans[f"weight{i}"].shape[0] for i in range(layout.n_layers)]
        weights = [math.sqrt(n) for n in n_inputs]
        parts = tuple(alone(lasso(f"weight{i}", weights[i], True)) for i in range(layout.n_layers - 1))
        start = layout.spans[f"weight{layout.n_layers - 1}"].start
    else:
        parts = (Hierarchy(lasso("skip"), block("weight0"), column_of(jobs, "hierarchy")[:, None]),)
        stop = layout.spans["skip"].start
    single = slice(start, stop)
    return Grouped(parts, single, l1.expand(-1, layout.n_weights)[:, single], l2)


def _view_columns(layout: Layout, flat: Tensor, name: str) -> Tensor:
    return layout.view(flat, name).transpose(1, 2)
