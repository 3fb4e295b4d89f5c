"""Penalties on weight matrices and constraints on units: a value, a gradient of the smooth part, a proximal operator.

Strengths broadcast against the weights they act on: ``(K, 1)`` for one strength a model, ``(K, P)`` where the strength
differs between weights (the output layer of a regression is held in units of the target's standard deviation, and is
penalised for what it is in the target's own units).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

# Most steps of Newton's method for the norm of a group.  Few are taken: where all steps of the optimizer are equal, the
# start is the solution, and near the end of training it is close.
_NEWTON_STEPS = 20
_BRACKETED_STEPS = 60  # under a hierarchy, where a step may do no more than halve a bracket
_ANY_DIRECTION = 1e-15  # the length of a linear part that is zero and may not stay so


class Penalty(Protocol):
    """What an optimizer asks of a penalty on the flat weights ``(K, P)``."""

    @property
    def has_l2(self) -> bool:
        """Whether there is a smooth part."""

    @property
    def has_prox(self) -> bool:
        """Whether there is a part that is not smooth."""

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        """Add the gradient of the smooth part to ``grad`` in place."""

    def prox(self, w: Tensor, step_size: Tensor, longest: Tensor | None = None) -> Tensor:
        """Return the proximal operator of the rest, in the metric of ``step_size``, ``(K, 1)`` or ``(K, P)``.

        ``longest`` ``(K, 1)`` bounds how far any weight moves.
        """

    def select(self, rows: Tensor) -> Self:
        """Return the penalty of the models of ``rows``."""


def soft_threshold(w: Tensor, threshold: Tensor) -> Tensor:
    """Move every entry towards zero by ``threshold``, and set those that would cross it to exactly zero."""
    return w - torch.minimum(torch.maximum(w, -threshold), threshold)


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

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``, for weights ``(K, P)``."""
        return (self.l1 * w.abs() + 0.5 * self.l2 * w.square()).sum(-1)

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        r"""Add :math:`\ell_2 w`, the gradient of the L2 term, to ``grad`` in place."""
        grad.addcmul_(w, self.l2)

    def prox(self, w: Tensor, step_size: Tensor, longest: Tensor | None = None) -> Tensor:
        r"""Return :math:`\arg\min_u \tfrac{1}{2} (u - w)^2 + s\, \ell_1 |u|` for each entry.

        The proximal operator of the L1 term.  ``step_size`` :math:`s` may differ between entries: an optimizer that
        scales its steps by a metric of its own passes the steps that it took, and a fixed point of step and prox is
        then a stationary point of the objective.  ``longest`` bounds the threshold.
        """
        threshold = step_size * self.l1
        return soft_threshold(w, threshold if longest is None else torch.minimum(threshold, longest))

    def select(self, rows: Tensor) -> ElasticNet:
        """Return the penalty of the models of ``rows``."""
        return ElasticNet(self.l1[rows], self.l2[rows])


class Groups:
    """Which rows of a matrix ``(n_rows, n_columns)`` belong together: each row to one group.

    ``labels`` numbers the group of each row, from 0 on without a gap; ``None`` where each row is a group of its own.
    """

    def __init__(self, labels: Sequence[int] | None, n_rows: int, device: torch.device) -> None:
        self.n_groups = n_rows if labels is None else max(labels) + 1
        self.labels: Tensor | None = None
        self.members: Tensor | None = None
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

    def gather(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Return what the rows have, ``(K, n_rows)``, as ``(K, n_groups, n)``, filled up with ``fill``."""
        if self.members is None:
            return values[:, :, None]
        return torch.nn.functional.pad(values, (0, 1), value=fill)[:, self.members]

    def total(self, values: Tensor) -> Tensor:
        """Return the sums ``(K, n_groups)`` over the groups of ``(K, n_rows, n_columns)``."""
        by_row = values.sum(-1)
        return by_row if self.members is None else self.gather(by_row).sum(-1)

    def greatest(self, values: Tensor) -> Tensor:
        """Return the greatest of each group, ``(K, n_groups)``, of values that are not negative."""
        by_row = values.amax(-1)
        return by_row if self.members is None else self.gather(by_row).amax(-1)

    def spread(self, values: Tensor) -> Tensor:
        """Return for each row what its group has, ``(K, n_rows, 1)``, of ``(K, n_groups)``."""
        return (values if self.labels is None else values[:, self.labels])[:, :, None]

    @property
    def weight(self) -> Tensor:
        """The square root of the number of rows in each group, ``(n_groups,)``.

        It makes groups of any size equally easy to enter by chance (Yuan and Lin, 2006), and is 1 for single rows.
        """
        return self.n_members.double().sqrt()


def group_norms(z: Tensor, steps: Tensor, groups: Groups) -> Tensor:
    r"""Return the norm :math:`r` of :math:`\arg\min_u \sum_i \tfrac{1}{2 s_i} (u_i - z_i)^2 + \|u\|` for each group.

    ``z`` and ``steps`` are ``(K, n_rows, n_columns)``, the norms ``(K, G)``.  The minimizer is
    :math:`u_i = z_i r / (r + s_i)`.  It is zero where :math:`\sum (z_i / s_i)^2 \le 1`; elsewhere its norm is the root
    of :math:`g(r) = 1` with :math:`g(r) = \left(\sum (z_i / (r + s_i))^2\right)^{-1/2}`, a concave, growing function:
    Newton's method climbs towards the root from its left and never passes it.  Where all steps are equal :math:`g` is a
    line, and the start is the root.
    """
    square = z.square()
    norm = groups.total(square).sqrt()
    # Where Newton's method lands from infinitely far right.
    r = (norm - groups.total(square * steps) / norm.square()).clamp_min(0)
    is_zero = (groups.total((z / steps).square()) <= 1) | ~r.isfinite()
    is_done = is_zero
    for _ in range(_NEWTON_STEPS):
        denominator = groups.spread(r) + steps
        share = (z / denominator).square()
        phi = groups.total(share)
        newton = r + phi * (phi.sqrt() - 1) / groups.total(share / denominator)
        is_done, r = _unless_done(is_done, newton, r)
        if bool(is_done.all()):
            break
    return torch.where(is_zero, 0, r)


def _unless_done(is_done: Tensor, new: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """Take the new values where the old ones still change; return where they do not any more, too.

    What is done stays as it is: a group's norm does not depend on how long others take.
    """
    settled = (new - old).abs() <= 8 * torch.finfo(old.dtype).eps * old
    return is_done | settled, torch.where(is_done, old, new)


class GroupLasso(NamedTuple):
    r"""Group lasso :math:`\lambda \sum_g \sqrt{n_g} \|F W_g\|` over groups of rows of one matrix.

    :math:`n_g` is the number of rows in group :math:`g`.  ``view`` takes flat tensors ``(K, P)`` to the matrix
    ``(K, n_rows, n_columns)``; ``strength`` :math:`\lambda` is ``(K, 1, 1)``; ``factor`` :math:`F`, ``(K, 1,
    n_columns)``, says how much the columns count, or is ``None`` where they count the same.
    """

    view: Callable[[Tensor], Tensor]
    groups: Groups
    strength: Tensor
    factor: Tensor | None

    @property
    def is_active(self) -> bool:
        """Whether it does anything to any model."""
        return bool((self.strength > 0).any())

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""
        matrix = self.view(w)
        z = matrix if self.factor is None else matrix * self.factor
        norm = self.groups.total(z.square()).sqrt()
        return self.strength[:, 0, 0] * (norm * self.groups.weight.to(norm)).sum(-1)

    def prox_(self, w: Tensor, step_size: Tensor, longest: Tensor | None) -> None:
        r"""Set the matrix to :math:`\arg\min_U \sum_i \tfrac{1}{2 s_i} (U_i - W_i)^2` plus the penalty of :math:`U`.

        ``longest`` bounds how far a weight moves.  It stops no group from being zero: a group at rest at zero is no
        farther from it after a step than that.
        """
        matrix = self.view(w)
        steps = self.view(step_size) * self.strength * self.groups.spread(self.groups.weight.to(w)[None])
        if self.factor is not None:
            steps = steps * self.factor.square()
        r = self.groups.spread(group_norms(matrix if self.factor is None else matrix * self.factor, steps, self.groups))
        # Without a penalty, the weights as they are, to the bit.
        move = torch.where(self.strength > 0, matrix * (steps / (r + steps)), 0)
        if longest is not None:
            bound = longest[:, :, None]
            move = torch.minimum(torch.maximum(move, -bound), bound)
        matrix.copy_(matrix - move)

    def select(self, rows: Tensor) -> GroupLasso:
        """Return the penalty of the models of ``rows``."""
        factor = None if self.factor is None else self.factor[rows]
        return self._replace(strength=self.strength[rows], factor=factor)


class Hierarchy(NamedTuple):
    r"""Group lasso on a linear part :math:`\theta` that bounds a matrix :math:`W` (LassoNet, Lemhadri et al., 2021).

    :math:`\lambda \sum_g \sqrt{n_g} \|F \theta_g\|` subject to :math:`|W_{jk}| \le M \|F \theta_g\|` for every row
    :math:`j` of group :math:`g`: a group whose linear part is zero is zero.  ``bounded`` takes flat tensors to
    :math:`W`; ``bound`` :math:`M` is ``(K, 1)``.
    """

    linear: GroupLasso
    bounded: Callable[[Tensor], Tensor]
    bound: Tensor

    @property
    def is_active(self) -> bool:
        """Whether it does anything to any model: without a penalty there still is the bound."""
        return True

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""
        return self.linear.value(w)

    def prox_(self, w: Tensor, step_size: Tensor, longest: Tensor | None) -> None:
        r"""Set both to the minimizer of the distance, in the metric of the steps, plus the penalty within the bounds.

        The distance is :math:`\sum_i \tfrac{1}{2 s_i} (\theta_i' - \theta_i)^2 + \sum_i \tfrac{1}{2 s_i}
        (W_i' - W_i)^2`.  NOTE: the paper's Hier-Prox is this for equal steps.  ``longest`` bounds nothing here: the
        bounds hold after every step.
        """
        del longest
        matrix, bounded, groups = self.linear.view(w), self.bounded(w), self.linear.groups
        factor = torch.ones_like(matrix[:, :1]) if self.linear.factor is None else self.linear.factor
        z, steps = matrix * factor, self.linear.view(step_size) * factor.square()
        # Bounded weights may pull a linear part in a direction that it does not have yet: that of the longest step.
        floor = groups.spread(groups.greatest(z.abs())) * torch.finfo(z.dtype).eps ** 0.75 + _ANY_DIRECTION
        is_longest = steps == groups.spread(groups.greatest(steps))
        z = torch.where((z.abs() < floor) & is_longest, floor, z)
        strength = self.linear.strength[:, :, 0] * groups.weight.to(w)
        r, multiplier = self._norms(z, steps, bounded.abs(), self.bounded(step_size), strength)
        direction = z / (groups.spread(r) + steps * groups.spread(multiplier))
        norm = groups.total(direction.square()).sqrt()
        matrix.copy_(torch.where(groups.spread(r) > 0, direction * groups.spread(r / norm) / factor, 0))
        bound = self.bound[:, :, None] * groups.spread(r)
        bounded.copy_(torch.minimum(torch.maximum(bounded, -bound), bound))

    def _norms(
        self, z: Tensor, steps: Tensor, size: Tensor, size_steps: Tensor, strength: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Return the norm :math:`r` of each group's linear part, and the multiplier :math:`\mu(r)` of its length.

        As in :func:`group_norms`, :math:`\theta_i' = \theta_i r / (r + s_i \mu)`, where the bounded weights that would
        be longer than :math:`M r` pull against the penalty: :math:`\mu(r) = \lambda \sqrt{n_g} - M \sum (|W_i| - M
        r)_+ / s_i`.  This is concave and growing, and so is :math:`g`, as far to the right as all denominators are
        positive.
        """
        groups, M = self.linear.groups, self.bound

        def multiplier(r: Tensor) -> tuple[Tensor, Tensor]:
            excess = (size - groups.spread(M * r)).clamp_min_(0)
            slope = M.square() * groups.total((excess > 0) / size_steps)
            return strength - M * groups.total(excess / size_steps), slope

        at_zero, _ = multiplier(torch.zeros_like(strength))
        is_zero = (at_zero >= 0) & (groups.total((z / (steps * groups.spread(at_zero))).square()) <= 1)
        norm = groups.total(z.square()).sqrt()
        low = torch.zeros_like(norm)
        high = torch.maximum(norm, torch.where(M > 0, groups.greatest(size) / M, 0))
        r = norm - strength * groups.total(z.square() * steps) / norm.square()
        r = torch.minimum(r.clamp_min(0), high)
        is_done = is_zero
        for _ in range(_BRACKETED_STEPS):
            mu, mu_slope = multiplier(r)
            denominator = groups.spread(r) + steps * groups.spread(mu)
            is_defined = groups.greatest((denominator <= 0).to(z)) == 0
            share = (z / denominator).square()
            phi = groups.total(share)
            slope = groups.total(share / denominator * (1 + steps * groups.spread(mu_slope)))
            newton = r + phi * (phi.sqrt() - 1) / slope
            is_left = ~is_defined | (phi > 1)
            low, high = torch.where(is_left, r, low), torch.where(is_left, high, r)
            is_near = is_defined & newton.isfinite() & (newton > 2 * low - high)
            next_r = torch.where(is_near, torch.minimum(torch.maximum(newton, low), high), (low + high) / 2)
            is_done, r = _unless_done(is_done, next_r, r)
            if bool(is_done.all()):
                break
        return torch.where(is_zero, 0, r), multiplier(r)[0]

    def select(self, rows: Tensor) -> Hierarchy:
        """Return the penalty of the models of ``rows``."""
        return self._replace(linear=self.linear.select(rows), bound=self.bound[rows])


class Grouped(NamedTuple):
    """An elastic net whose L1 part gives way to penalties on whole groups where there are any.

    ``single`` has an ``l1`` of zero for the weights that ``blocks`` hold.
    """

    single: ElasticNet
    blocks: tuple[GroupLasso | Hierarchy, ...]

    @property
    def has_l2(self) -> bool:
        return self.single.has_l2

    @property
    def has_prox(self) -> bool:
        return self.single.has_prox or any(block.is_active for block in self.blocks)

    def value(self, w: Tensor) -> Tensor:
        """Return the penalty of each model, shape ``(K,)``."""
        return self.single.value(w) + sum(block.value(w) for block in self.blocks)

    def add_smooth_gradient(self, grad: Tensor, w: Tensor) -> None:
        """Add the gradient of the L2 term to ``grad`` in place: it acts on all weights."""
        self.single.add_smooth_gradient(grad, w)

    def prox(self, w: Tensor, step_size: Tensor, longest: Tensor | None = None) -> Tensor:
        """Return the proximal operators of the parts, which have no weight in common."""
        result = self.single.prox(w, step_size, longest)
        for block in self.blocks:
            block.prox_(result, step_size.expand_as(w), longest)
        return result

    def select(self, rows: Tensor) -> Grouped:
        """Return the penalty of the models of ``rows``."""
        return Grouped(self.single.select(rows), tuple(block.select(rows) for block in self.blocks))


def project_max_norm(weight: Tensor, max_norm: Tensor) -> Tensor:
    r"""Return the nearest weights whose columns have an Euclidean norm of at most ``max_norm``.

    ``weight`` is ``(K, n_in, n_out)``: a column holds the weights that come into one unit.  ``max_norm`` is ``(K, 1,
    1)`` and may be ``inf``.
    """
    norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return torch.where(norm > max_norm, weight * (max_norm / norm), weight)
