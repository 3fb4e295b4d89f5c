"""Penalties on weight matrices and constraints on units: a value, a gradient of the smooth part, a proximal operator.

Strengths broadcast against the weights they act on: ``(K, 1)`` for one strength a model, ``(K, P)`` where the strength
differs between weights (the output layer of a regression is held in units of the target's standard deviation, and is
penalised for what it is in the target's own units).

A proximal operator acts in the metric of the optimizer: single weights each with a step size of its own, the weights of
a group, which leave together, with one for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from sklreg.engine.data import Buffer

_NEWTON_STEPS = 30  # the most; few are taken


class Matrix(NamedTuple):
    """A weight matrix in the flat parameters: its columns there, and how it is seen, ``(K, n_in, n_out)``."""

    columns: slice
    view: Callable[[Tensor], Tensor]
    n_in: int


class Parts(NamedTuple):
    """What the flat parameters consist of: weights, from the inputs on, then biases, then those of normalization."""

    matrices: Sequence[Matrix]
    biases: slice


class MetricOfWeights(Protocol):
    """The step sizes of single weights in an optimizer's last move."""

    @property
    def longest(self) -> Tensor:
        """The most that a prox may take from a weight, ``(K, 1)`` or ``(K, n)``."""

    def of_weights(self, columns: slice) -> Tensor:
        """Return the step sizes of weights that are on their own, ``(K, 1)`` or ``(K, n)``."""


class Metric(MetricOfWeights, Protocol):
    """The step sizes of an optimizer's last move, of single weights and of groups."""

    @property
    def unmoved(self) -> Tensor:
        """The step size of weights whose gradients were zero so far, ``(K, 1)``."""

    @property
    def buffers(self) -> tuple[Buffer, Buffer]:
        """Memory for what a prox works on."""

    def of_groups(self, block: Block) -> Tensor:
        """Return the step sizes of a block's groups, ``(K, 1)`` or ``(K, G)``; 0 of one without any gradient so far."""


class Penalty(Protocol):
    """What an optimizer asks of a penalty on the flat weights ``(K, P)``."""

    @property
    def has_l2(self) -> bool:
        """Whether there is a smooth part."""

    @property
    def has_prox(self) -> bool:
        """Whether there is a part that is not smooth."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The weights that move with one step size for a group."""

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        """Add the gradient of the smooth part to ``grad`` in place."""

    def prox_(self, w: Tensor, metric: Metric) -> None:
        """Apply the proximal operator of the rest in place."""

    def select(self, rows: Tensor) -> Self:
        """Return the penalty of the models of ``rows``."""


def soft_threshold(w: Tensor, threshold: Tensor, out: Tensor | None = None) -> Tensor:
    """Move every entry towards zero by ``threshold``, and set those that would cross it to exactly zero.

    The result is written to ``out``, which may be ``w`` itself, if there is one.
    """
    return torch.sub(w, w.clamp(-threshold, threshold), out=out)


class ElasticNet(NamedTuple):
    r"""Elastic net :math:`\ell_1 \sum |w| + \tfrac{1}{2} \ell_2 \sum w^2`.

    Either strength may be zero: L2 alone is the ridge, L1 alone the lasso.
    """

    l1: Tensor
    l2: Tensor

    @property
    def has_l2(self) -> bool:
        return bool((self.l2 > 0).any())

    @property
    def has_prox(self) -> bool:
        return bool((self.l1 > 0).any())

    @property
    def blocks(self) -> tuple[Block, ...]:
        return ()

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``, for weights ``(K, P)``."""
        return (self.l1 * w.abs() + 0.5 * self.l2 * w.square()).sum(-1)

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        r"""Add :math:`\ell_2 w`, the gradient of the L2 term, to ``grad`` in place."""
        grad.addcmul_(w, self.l2)

    def prox_(self, w: Tensor, metric: MetricOfWeights) -> None:
        r"""Set each entry to :math:`\arg\min_u \tfrac{1}{2} (u - w)^2 + s\, \ell_1 |u|`.

        The proximal operator of the L1 term.  The step size :math:`s` may differ between entries: it is that of the
        optimizer's move, so that a fixed point of step and prox is a stationary point of the objective.
        """
        _soft_threshold_(w, self.l1, metric, slice(None))

    def select(self, rows: Tensor) -> ElasticNet:
        """Return the penalty of the models of ``rows``."""
        return ElasticNet(self.l1[rows], self.l2[rows])


def _soft_threshold_(w: Tensor, l1: Tensor, metric: MetricOfWeights, columns: slice) -> None:
    soft_threshold(w, torch.minimum(metric.of_weights(columns) * l1, metric.longest), out=w)


class Groups:
    """Which rows of a matrix ``(n_rows, n_columns)`` belong together: each row to one group.

    ``labels`` numbers the group of each row, from 0 on without a gap; ``None`` where each row is a group of its own.
    """

    def __init__(self, labels: Sequence[int] | None, n_rows: int, device: torch.device) -> None:
        self.n_groups = n_rows if labels is None else max(labels) + 1
        self.labels: Tensor | None = None
        self.members: Tensor | None = None
        self._n_entries: dict[tuple[int, torch.dtype], Tensor] = {}
        if labels is None or self.n_groups == n_rows:
            self.n_members = torch.ones(n_rows, device=device, dtype=torch.int64)
            if labels is not None and list(labels) != list(range(n_rows)):
                self.labels = torch.tensor(labels, device=device)
                self.members = torch.argsort(self.labels)[:, None]
            return
        self.labels = torch.tensor(labels, device=device)
        self.n_members = torch.bincount(self.labels)
        # The rows of each group side by side, filled up with one past the last: a sum over them has a fixed order.
        self.members = torch.full((self.n_groups, int(self.n_members.max())), n_rows, device=device)
        for group in range(self.n_groups):
            rows = torch.nonzero(self.labels == group)[:, 0]
            self.members[group, : len(rows)] = rows

    def total(self, values: Tensor) -> Tensor:
        """Return the sums ``(K, n_groups)`` over the groups of ``(K, n_rows, n_columns)``."""
        by_row = values.sum(-1)
        return by_row if self.members is None else torch.nn.functional.pad(by_row, (0, 1))[:, self.members].sum(-1)

    def greatest(self, values: Tensor) -> Tensor:
        """Return the greatest ``(K, n_groups)`` of each group of the non-negative ``(K, n_rows, n_columns)``."""
        by_row = values.amax(-1)
        return by_row if self.members is None else torch.nn.functional.pad(by_row, (0, 1))[:, self.members].amax(-1)

    def spread(self, values: Tensor) -> Tensor:
        """Return for each row what its group has, ``(K, n_rows, 1)``, of ``(K, n_groups)``."""
        return (values if self.labels is None else values[:, self.labels])[:, :, None]

    def n_entries(self, matrix: Tensor) -> Tensor:
        """Return the number of entries of a matrix ``(K, n_rows, n_columns)`` in each group, ``(n_groups,)``."""
        key = matrix.shape[2], matrix.dtype
        if key not in self._n_entries:
            self._n_entries[key] = (self.n_members * matrix.shape[2]).to(matrix.dtype)
        return self._n_entries[key]

    @property
    def weight(self) -> Tensor:
        """The square root of the number of rows in each group, ``(n_groups,)``.

        It makes groups of any size equally easy to enter by chance (Yuan and Lin, 2006), and is 1 for single rows.
        """
        return self.n_members.double().sqrt()


class Block(NamedTuple):
    """A matrix of weights whose rows are grouped, seen in the flat parameters.

    ``view`` takes flat tensors ``(K, P)`` to the matrix ``(K, n_rows, n_columns)``.  ``factor`` :math:`F`, ``(K, 1,
    n_columns)``, says how much the columns count, or is ``None`` where they count the same: lengths are those of
    :math:`F W_g`, and step sizes those of its entries.  ``models``, ``(K, 1, 1)``, says in which models the
    weights of a group belong together (without a penalty there is no reason to); ``None`` is in all.
    """

    view: Callable[[Tensor], Tensor]
    groups: Groups
    factor: Tensor | None = None
    models: Tensor | None = None

    def scaled(self, flat: Tensor) -> Tensor:
        """Return the matrix times the factor."""
        matrix = self.view(flat)
        return matrix if self.factor is None else matrix * self.factor

    def mean(self, flat: Tensor) -> Tensor:
        """Return the mean of what is in each group, ``(K, G)``, by the square of the factor."""
        matrix = self.view(flat)
        total = self.groups.total(matrix if self.factor is None else matrix / self.factor.square())
        return total / self.groups.n_entries(matrix)

    def size(self, flat: Tensor) -> Tensor:
        """Return the number of weights in each group, ``(G,)``."""
        return self.groups.n_entries(self.view(flat))

    def put(self, matrix: Tensor, flat: Tensor) -> None:
        """Write a matrix to its place."""
        self.view(flat).copy_(matrix)

    def select(self, rows: Tensor) -> Block:
        """Return the block of the models of ``rows``."""
        factor, models = (None if tensor is None else tensor[rows] for tensor in (self.factor, self.models))
        return self._replace(factor=factor, models=models)


@dataclass(frozen=True, eq=False)
class GroupLasso:
    r"""Group lasso :math:`\lambda \sum_g \sqrt{n_g} \|F W_g\|` over the groups of a block.

    :math:`n_g` is the number of rows in group :math:`g`; ``strength`` :math:`\lambda` is ``(K, 1)``.
    """

    block: Block
    strength: Tensor

    @property
    def is_active(self) -> bool:
        """Whether it does anything to any model."""
        return bool((self.strength > 0).any())

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The weights that it acts on."""
        return (self.block,)

    @cached_property
    def by_group(self) -> Tensor:
        """The strength of each group, ``(K, G)``."""
        return self.strength * self.block.groups.weight.to(self.strength)

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""
        return (self.block.groups.total(self.block.scaled(w).square()).sqrt() * self.by_group).sum(-1)

    def prox_(self, w: Tensor, metric: Metric) -> None:
        r"""Set the matrix to :math:`\arg\min_U \tfrac{1}{2} \|F (U_g - W_g)\|^2 + s_g \lambda \sqrt{n_g} \|F U_g\|`.

        That is :math:`W_g` made shorter by :math:`s_g \lambda \sqrt{n_g}`, or zero where it is no longer than this.
        """
        groups = self.block.groups
        most = metric.longest * self.block.size(w).sqrt()
        threshold = torch.minimum(self.threshold(metric, metric.of_groups(self.block), most), most)
        length = groups.total(self.block.scaled(w).square()).sqrt()
        share = torch.where(length > threshold, 1 - threshold / length, (threshold == 0).to(w))
        self.block.view(w).mul_(groups.spread(share))

    def threshold(self, metric: Metric, step: Tensor, most: Tensor) -> Tensor:
        """Return what the penalty takes from the length of each group, ``(K, G)``, whose step sizes are ``step``.

        Where there was no gradient so far, it is at most ``most``.
        """
        return torch.where(step > 0, step * self.by_group, torch.minimum(metric.unmoved * self.by_group, most))

    def select(self, rows: Tensor) -> GroupLasso:
        """Return the penalty of the models of ``rows``."""
        return GroupLasso(self.block.select(rows), self.strength[rows])


class Hierarchy(NamedTuple):
    r"""Group lasso on a linear part :math:`\theta` that bounds a matrix :math:`W` (LassoNet, Lemhadri et al., 2021).

    :math:`\lambda \sum_g \sqrt{n_g} \|F \theta_g\|` subject to :math:`|W_{jk}| \le M \|F \theta_g\|` for every row
    :math:`j` of group :math:`g`: a group whose linear part is zero is zero.  ``bounded`` is :math:`W`, with the same
    groups; ``bound`` :math:`M` is ``(K, 1)``.
    """

    linear: GroupLasso
    bounded: Block
    bound: Tensor

    @property
    def is_active(self) -> bool:
        """Whether it does anything to any model: without a penalty there still is the bound."""
        return True

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The weights that it acts on."""
        return self.linear.block, self.bounded

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""
        return self.linear.value(w)

    def prox_(self, w: Tensor, metric: Metric) -> None:
        r"""Set both to the nearest, in the metric, with the penalty, within the bounds.

        The minimizer of :math:`\tfrac{1}{2 s} \|F (\theta' - \theta)\|^2 + \tfrac{1}{2 t} \|W' - W\|^2 + \lambda
        \sqrt{n_g} \|F \theta'\|` for every group, with a step size :math:`s` for :math:`\theta` and one, :math:`t`, for
        :math:`W`.  :math:`W'` is :math:`W` cut to :math:`\pm M r`, and :math:`\theta'` is :math:`\theta` at the length
        :math:`r \ge 0` where

        .. math:: h(r) = r - \|F \theta\| + s \lambda \sqrt{n_g} - \tfrac{s}{t} M \sum_i (|W_i| - M r)_+

        is zero, or 0 where :math:`h(0) \ge 0`.  This function is concave, growing and made of lines: Newton's method
        climbs towards the root from its left, never passes it, and is there once its steps no longer change which
        :math:`|W_i|` are cut, after a few.  NOTE: for :math:`s = t` this is the paper's Hier-Prox.  ``longest`` bounds
        only groups without a gradient so far: the bounds hold after every step.
        """
        block, groups, M = self.linear.block, self.bounded.groups, self.bound
        theta, W = block.scaled(w), self.bounded.view(w)
        step, bounded_step = metric.of_groups(block), metric.of_groups(self.bounded)
        # In the first step there is no gradient for W yet, as the output layer starts at zero: equal steps, then.
        ratio = torch.where(bounded_step > 0, step / bounded_step, 1)
        length = groups.total(theta.square()).sqrt()
        # Without a gradient so far, each weight moves by the longest step on average.  What the penalty takes from r
        # moves weights that are at the bound by M times as much, and they in turn hold it up.
        root = block.size(w).sqrt()
        most = metric.longest * torch.where(M > 0, root / M + M * self.bounded.size(w), root)
        target = length - self.linear.threshold(metric, step, most)
        least = M * target
        size = torch.abs(W, out=metric.buffers[0].shaped(W, *W.shape))
        bound = _least_bound(size, groups, least, (M.square() * ratio).expand_as(least), metric.buffers)
        r = torch.where(bound > least, bound / M, target.clamp_min(0))

        any_direction = 1 / self.linear.block.size(w).sqrt()  # of a linear part that is zero and may not stay so
        theta = torch.where(
            groups.spread(length) > 0, theta * groups.spread(r / length), groups.spread(r * any_direction)
        )
        block.put(theta if block.factor is None else theta / block.factor, w)
        bound = groups.spread(bound)
        torch.maximum(W, -bound, out=W)
        torch.minimum(W, bound, out=W)

    def select(self, rows: Tensor) -> Hierarchy:
        """Return the penalty of the models of ``rows``."""
        return Hierarchy(self.linear.select(rows), self.bounded.select(rows), self.bound[rows])


def _least_bound(size: Tensor, groups: Groups, least: Tensor, pull: Tensor, buffers: tuple[Buffer, Buffer]) -> Tensor:
    r"""Return the :math:`b \ge 0` where :math:`b = least + pull \sum_i (size_i - b)_+`, or 0 where there is none.

    ``size`` ``(K, n_rows, n_columns)`` may lie in the first of the buffers; ``least`` and ``pull`` are ``(K, G)``.
    """
    of_size, other = buffers
    shape, by_row = least.shape, groups.members is None
    n_entries = groups.n_entries(size)
    if by_row:  # each row is a group: those that are found can be left out
        size, least, pull, n_entries = (
            values.flatten(0, 1) for values in (size, least, pull, n_entries.expand_as(least))
        )

    def total(values: Tensor) -> Tensor:
        return values.sum(1) if by_row else groups.total(values)

    def root(total: Tensor, n: Tensor | int) -> Tensor:
        """Return the bound if just these entries, which sum up to ``total``, were above it."""
        return torch.addcmul(least, pull, total).div_(1 + pull * n)

    # On its left are the bounds for all entries, for the greatest alone, and for none.
    if_all = root(total(size), n_entries)
    bound = torch.maximum(if_all, root(size.amax(1) if by_row else groups.greatest(size), 1))
    bounds = bound = torch.maximum(bound, least).clamp_min_(0)
    n_above, is_left = torch.zeros_like(bound), if_all > 0
    places: Tensor | None = None  # of those that are still looked for
    for _ in range(_NEWTON_STEPS):
        if not bound.is_cuda:  # asking it which are found would mean waiting for it
            left = torch.nonzero(is_left)[:, 0]
            if len(left) == 0:
                break
            if by_row and 2 * len(left) < len(bound):
                size = torch.index_select(size, 0, left, out=other.shaped(size, len(left), size.shape[1]))
                bound, n_above, least, pull = bound[left], n_above[left], least[left], pull[left]
                is_left = is_left[left]
                places = left if places is None else places[left]
                of_size, other = other, of_size
        of_row = bound[:, None] if by_row else groups.spread(bound)
        excess = torch.sub(size, of_row, out=other.shaped(size, *size.shape)).clamp_min_(0)
        of_excess = total(excess)
        n_before, n_above = n_above, total(excess.sign_())
        next_bound = root(of_excess.addcmul_(bound, n_above), n_above)
        # Where as many entries are above the bound as before, it has been found, and stays as it is: how long others
        # are looked for must not change its last digits.
        is_left = is_left.logical_and_(next_bound > bound).logical_and_(n_above != n_before)
        bound = torch.where(is_left, next_bound, bound)
        bounds = bound if places is None else bounds.index_copy_(0, places, bound)
    return bounds.view(shape)


class Grouped(NamedTuple):
    """Penalties on groups of weights, L1 for the weights that are in none, and L2 for all.

    ``single`` are the columns of the weights that are in no group; ``l1`` is ``(K, 1)`` or has as many columns.
    """

    parts: tuple[GroupLasso | Hierarchy, ...]
    single: slice
    l1: Tensor
    l2: Tensor

    @property
    def has_l2(self) -> bool:
        return bool((self.l2 > 0).any())

    @property
    def has_prox(self) -> bool:
        return bool((self.l1 > 0).any()) or any(part.is_active for part in self.parts)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(block for part in self.parts for block in part.blocks)

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""
        single = (self.l1 * w[:, self.single].abs()).sum(-1) + (0.5 * self.l2 * w.square()).sum(-1)
        return single + sum(part.value(w) for part in self.parts)

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        """Add the gradient of the L2 term to ``grad`` in place: it acts on all weights."""
        grad.addcmul_(w, self.l2)

    def prox_(self, w: Tensor, metric: Metric) -> None:
        """Apply the proximal operators of the parts, which have no weight in common."""
        _soft_threshold_(w[:, self.single], self.l1, metric, self.single)
        for part in self.parts:
            part.prox_(w, metric)

    def select(self, rows: Tensor) -> Grouped:
        """Return the penalty of the models of ``rows``."""
        return Grouped(tuple(part.select(rows) for part in self.parts), self.single, self.l1[rows], self.l2[rows])


def project_max_norm(weight: Tensor, max_norm: Tensor, dim: int | tuple[int, ...] = 1) -> Tensor:
    r"""Return the nearest weights whose columns have an Euclidean norm of at most ``max_norm``.

    ``weight`` is ``(K, n_in, n_out)``: a column holds the weights that come into one unit.  ``max_norm`` is ``(K, 1,
    1)`` and may be ``inf``.  Of weights that are laid out otherwise, ``dim`` says along which axes lie those of a unit.
    """
    norm = torch.linalg.vector_norm(weight, dim=dim, keepdim=True)
    return torch.where(norm > max_norm, weight * (max_norm / norm), weight)
