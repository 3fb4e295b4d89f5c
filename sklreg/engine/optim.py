"""First-order steps on the flat parameters ``(K, P)`` of ``K`` models, each with strengths of its own.

The first ``n_weights`` columns are the weight matrices, which decay and penalties touch; the rest are biases and
normalization parameters, which they leave alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
from torch import Tensor

from sklreg.engine.data import Buffer, whole_registers
from sklreg.engine.penalties import Block, ElasticNet, Parts, Penalty

N = TypeVar("N", float, Tensor)

_FLAT_SHARE = 0.5  # of the steps, before "flat_cosine" falls
_RISING_SHARE, _LOWEST_RATE = 0.3, 1 / 25  # of "one_cycle", as in torch's OneCycleLR
# Of "scaled_adam", in learning rates: at a width of 100 a weight moves as with Adam.
_USUAL_INPUTS, _RATE_OF_BIASES, _RATE_OF_GAINS = 100, 5.0, 10.0
_WARM_UP = 10  # steps in which these rates set in
_FADING = 0.02  # of the logarithms of gains below 1, in steps of theirs
# Gains far above 1 undo the decay of the first weights: without a bound, more of it made them longer.
_LEAST_LOG_GAIN, _GREATEST_LOG_GAIN = -10.0, math.log(2)


class Optimizer(ABC):
    """One step: gradient of the objective's smooth part, decoupled decay, the method's move, prox in its metric.

    ``weight_decay`` and ``momentum`` are ``(K, 1)``; ``penalty`` broadcasts against ``(K, n_weights)``.
    """

    n_moments: int

    def __init__(
        self,
        params: Tensor,
        parts: Parts,
        penalty: Penalty,
        weight_decay: Tensor,
        momentum: Tensor,
        max_grad_norm: Tensor,
    ) -> None:
        self.n_weights = parts.matrices[-1].columns.stop
        self.penalty, self.weight_decay, self.momentum = penalty, weight_decay, momentum
        self.max_grad_norm = max_grad_norm
        self.n_steps = 0
        self.moments = [torch.zeros_like(params) for _ in range(self.n_moments)]
        self._lay_out_parameters(params)
        self.buffers = Buffer(), Buffer()
        # Asked once, not in every step: on a GPU the answer means waiting for it.
        self._has_prox, self._has_l2 = penalty.has_prox, penalty.has_l2
        self._has_decay = bool((weight_decay > 0).any())
        self._clips = bool(max_grad_norm.isfinite().any())

    def step(self, grad: Tensor, learning_rate: Tensor, penalty_share: Tensor | None = None) -> None:
        """Move the parameters in place; ``grad`` is the loss's, ``(K, P)``; ``learning_rate`` is ``(K, 1)``.

        ``penalty_share`` ``(K, 1)`` is what the prox counts for, all where it is ``None``.
        """
        self.n_steps += 1
        weights = self._weights
        if self._clips:
            # The data's gradient alone, so that a bound on it does not weaken the penalty.
            norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
            grad.mul_((self.max_grad_norm / norm).clamp(max=1))
        if self._has_l2:
            self.penalty.add_smooth_gradient(grad[:, : self.n_weights], weights)
        if self._has_decay:
            weights.addcmul_(weights, learning_rate * self.weight_decay, value=-1)
        self._move(grad, learning_rate, penalty_share)
        if self._has_prox:
            # A weaker penalty is a shorter step of the prox.
            rate = learning_rate if penalty_share is None else learning_rate * penalty_share
            self.penalty.prox_(weights, StepSizes(self, rate))

    @abstractmethod
    def _move(self, grad: Tensor, learning_rate: Tensor, penalty_share: Tensor | None) -> None:
        """Move all parameters; ``penalty_share`` is as in :meth:`step`."""

    @abstractmethod
    def step_size(self, learning_rate: Tensor, columns: slice) -> Tensor:
        """Return the step size of each weight of ``columns`` in the move just made, ``(K, 1)`` or ``(K, n)``.

        The step size is what multiplies a constant gradient in the long run: at a fixed point the move is the step size
        times the gradient, and the prox must undo exactly that.
        """

    @property
    def longest(self) -> float | Tensor:
        """The most that the prox may take from a weight in this step, in learning rates; a number or ``(K, P)``."""
        return math.inf

    @property
    def unmoved(self) -> float:
        """The step size of weights whose gradients were zero so far, in learning rates."""
        return math.inf

    @abstractmethod
    def step_size_of_groups(self, learning_rate: Tensor, block: Block) -> Tensor:
        """Return the step size that the weights of each group had in common, ``(K, 1)`` or ``(K, G)``.

        It may be 0 where all gradients were zero so far, as Adam's is.
        """

    def memory(self) -> list[Tensor]:
        """Return what a step depends on beside the parameters, models first; to go on from, give it to ``recall``."""
        return self.moments

    def recall(self, memory: list[Tensor]) -> None:
        """Go on from what ``memory`` gave."""
        self.moments = memory

    def select(self, rows: Tensor, params: Tensor) -> None:
        """Keep only the models of ``rows``, whose parameters now live in ``params``."""
        self._lay_out_parameters(params)
        self.penalty = self.penalty.select(rows)
        self.weight_decay, self.momentum = self.weight_decay[rows], self.momentum[rows]
        self.max_grad_norm = self.max_grad_norm[rows]
        self.moments = [m[rows] for m in self.moments]

    def _lay_out_parameters(self, params: Tensor) -> None:
        self.params, self._weights = params, params[:, : self.n_weights]
        self._scratch = torch.empty_like(params)


class StepSizes:
    """The metric of an optimizer's last move."""

    def __init__(self, optimizer: Optimizer, learning_rate: Tensor) -> None:
        self._optimizer, self._learning_rate, self.buffers = optimizer, learning_rate, optimizer.buffers
        self.longest, self.unmoved = optimizer.longest * learning_rate, optimizer.unmoved * learning_rate

    def of_weights(self, columns: slice) -> Tensor:
        """Return the step sizes of single weights."""
        return self._optimizer.step_size(self._learning_rate, columns)

    def of_groups(self, block: Block) -> Tensor:
        """Return the step sizes of groups of weights."""
        return self._optimizer.step_size_of_groups(self._learning_rate, block)


def adam_step_size(second: Tensor, n_steps: int, beta2: float, epsilon: float, out: Tensor | None = None) -> Tensor:
    r"""Return Adam's step sizes :math:`1 / (\sqrt{\hat v} + \epsilon)`, in learning rates, of the second moments."""
    # Both sides of the fraction times the correction of the bias: one pass less.
    bias2 = math.sqrt(1 - beta2**n_steps)
    root = torch.sqrt(second, out=out).add_(epsilon * bias2)
    return torch.div(bias2, root, out=root)


def adam_longest(n_steps: int, beta1: float, beta2: float) -> float:
    """Return the most that the prox may take from a weight in step ``n_steps`` of Adam, in learning rates."""
    # Where a gradient has been zero so far (a unit that no sample of the first batches has switched on), the metric
    # is zero and the threshold without bound: one step would delete weights for want of data.  The bound is the
    # step of Adam to a gradient after many that were zero.  It changes no fixed point: where training rests, m is
    # the gradient and sqrt(v) no less, and moves are one learning rate at most, which the bound is at least.  In the
    # first step nothing is known yet of a network whose output layer begins at zero.
    return 0.0 if n_steps == 1 else max(1.0, (1 - beta1) / math.sqrt(1 - beta2))


def sgd_step_size(learning_rate: N, momentum: N, n_steps: int) -> N:
    """Return the step size of stochastic gradient descent with heavy-ball momentum in step ``n_steps``."""
    # Under a constant gradient the velocity has grown to this multiple of it by now.
    return learning_rate * (1 - momentum**n_steps) / (1 - momentum)


class Adam(Optimizer):
    r"""Adam (Kingma and Ba, 2015), with decoupled weight decay AdamW (Loshchilov and Hutter, 2019).

    :math:`w \leftarrow w - \eta \left(\hat m / (\sqrt{\hat v} + \epsilon) + \lambda w\right)`, as in torch.  Weights
    that are penalised as a group share the mean of their :math:`\hat v`, as blocks do in Adam-mini (Zhang et al.,
    2024): within a group the metric is then Euclidean, and its prox has a closed form.
    """

    n_moments = 2
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, params: Tensor, *others: Any) -> None:
        super().__init__(params, *others)
        self._count = torch.zeros((), dtype=torch.float32, device=params.device)  # as torch's kernel on a GPU reads it
        self._of_groups: list[tuple[Block, Tensor, Tensor]] = []

    def _move(self, grad: Tensor, learning_rate: Tensor, penalty_share: Tensor | None) -> None:
        move = self._scratch
        self._take_in([grad], [self.moments], [move])
        first, second = self.moments
        self._of_groups = []
        for block in self.penalty.blocks:
            mean = block.mean(second)
            inverse_root = self._inverse_root(mean)
            self._of_groups.append((block, mean, inverse_root))
            size = block.groups.spread(inverse_root / (self.beta1**self.n_steps - 1))
            if block.factor is not None:
                size = size / block.factor.square()
            if block.models is None:
                torch.mul(block.view(first), size, out=block.view(move))
            else:
                block.put(torch.where(block.models, block.view(first) * size, block.view(move)), move)
        self.params.addcmul_(move, learning_rate)

    def _take_in(self, grads: list[Tensor], moments: list[list[Tensor]], moves: list[Tensor]) -> None:
        """Take gradients into their moments, and set moves to the steps at a learning rate of one."""
        # torch's own kernel makes one pass where single operations make seven.  It knows one learning rate for all
        # rows: it moves zeros by a rate of one, which gives what each row is to add at its own.
        firsts, seconds = zip(*moments, strict=True)
        # Filled there: a copy from the CPU would wait for the GPU.
        self._count.fill_(self.n_steps)
        torch._fused_adam_(
            [move.zero_() for move in moves], grads, firsts, seconds, [], [self._count] * len(grads), lr=1.0,
            beta1=self.beta1, beta2=self.beta2, weight_decay=0.0, eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip

    @property
    def longest(self) -> float | Tensor:
        return adam_longest(self.n_steps, self.beta1, self.beta2)

    @property
    def unmoved(self) -> float:
        return 1 / self.epsilon

    def step_size(self, learning_rate: Tensor, columns: slice) -> Tensor:
        second = self.moments[1][:, : self.n_weights][:, columns]
        return self._inverse_root(second, out=self._scratch[:, : self.n_weights][:, columns]).mul_(learning_rate)

    def step_size_of_groups(self, learning_rate: Tensor, block: Block) -> Tensor:
        mean, inverse_root = next((mean, root) for of, mean, root in self._of_groups if of is block)
        return torch.where(mean > 0, inverse_root * learning_rate, 0)

    def _inverse_root(self, second: Tensor, out: Tensor | None = None) -> Tensor:
        return adam_step_size(second, self.n_steps, self.beta2, self.epsilon, out=out)


class ScaledAdam(Adam):
    r"""Adam in other coordinates: each input has a gain, and each layer a length of step (Holzmüller et al., 2024).

    The first weights are :math:`W_{jk} = e^{\theta_j} V_{jk}`, and Adam moves :math:`\theta`, from 0, and :math:`V`: an
    input that says nothing loses all its weights together, and one that says much gains, in a few steps.  Weights of a
    layer with ``n`` inputs move :math:`\sqrt{100 / n}` learning rates, biases 5, gains 10, as in the neural tangent
    parametrization (Jacot et al., 2018).  Adam's first steps have their full length whatever the gradient: rates above
    1 set in as :math:`1 - e^{-t / 10}`.

    The parameters are :math:`W` all along, so gains exist nowhere else, and what is minimized stays the same.  The
    penalty is on :math:`W`; its prox takes :math:`\ell_1 e^{2 \theta_j}` times the step of :math:`V` from :math:`W`.
    Its slope moves :math:`\theta`.  Gains are 2 at most, and those below 1 fade while :math:`W` stays: once nothing
    pulls at them, they are back at 1 after some hundred steps.  Those above 1 do not: for an input that pulls all the
    time, that would be weight decay taken back.  Only for penalties on single weights.
    """

    def __init__(self, params: Tensor, parts: Parts, penalty: Penalty, *others: Tensor) -> None:
        if not isinstance(penalty, ElasticNet):
            raise TypeError(f"ScaledAdam takes a penalty on single weights; got {type(penalty).__name__}.")
        super().__init__(params, parts, penalty, *others)
        self.first = parts.matrices[0]
        # The logarithms of the gains, and the moments of their gradients, (K, d).
        n_inputs = whole_registers(self.first.n_in)  # as in the layout of parameters
        self.log_gains, *self.gain_moments = (params.new_zeros(len(params), n_inputs) for _ in range(3))
        # How long the steps of parameters are that follow one another, in learning rates.
        self.rates_of_weights = [(matrix.columns, math.sqrt(_USUAL_INPUTS / matrix.n_in)) for matrix in parts.matrices]
        of_normalization = slice(parts.biases.stop, params.shape[1])
        self.rates = [*self.rates_of_weights, (parts.biases, _RATE_OF_BIASES), (of_normalization, 1.0)]
        self._lay_out()

    def _lay_out(self) -> None:
        """Make what a step writes to, and the views of it that every step looks at."""
        gains, self._pull, self._steps, self._growth = (torch.zeros_like(self.log_gains) for _ in range(4))
        of_inputs = (slice(None), slice(self.first.n_in))
        self._gains, self.gain = gains, gains[of_inputs].unsqueeze(2)  # in the last move
        self._pull_of_inputs, self._growth_of_inputs = self._pull[of_inputs], self._growth[of_inputs].unsqueeze(2)
        self._first_weights, self._first_moves = self.first.view(self.params), self.first.view(self._scratch)
        # The rates of this step, and where each of them lies.
        self._rates = self.params.new_ones(1, self.params.shape[1])
        self._share = -1.0

    def _move(self, grad: Tensor, learning_rate: Tensor, penalty_share: Tensor | None) -> None:
        weight, slope, move = self._first_weights, self.first.view(grad), self._first_moves
        pull = torch.sum(torch.mul(weight, slope, out=move), 2, out=self._pull_of_inputs)
        if self._has_prox:
            # Not before there was a gradient: as with the prox, nothing would be known of the input yet.
            is_known = self.first.view(self.moments[1]).sum(2) > 0
            l1_of_inputs = self.first.view(self._l1_of_weights()).sum(2) * is_known
            pull += l1_of_inputs if penalty_share is None else l1_of_inputs * penalty_share
        torch.exp(self.log_gains, out=self._gains)
        slope.mul_(self.gain)
        self._take_in([grad, self._pull], [self.moments, self.gain_moments], [self._scratch, self._steps])
        move.mul_(self.gain)
        share = self._share_of_rates
        if share != self._share:  # soon it is 1, and the rates stay
            for columns, rate in self.rates:
                self._rates[:, columns].fill_(self._in_this_step(rate))
            self._share = share
        self.params.addcmul_(self._scratch.mul_(self._rates), learning_rate)
        moved = torch.addcmul(self.log_gains, self._steps, learning_rate * (_RATE_OF_GAINS * share))
        moved.clamp_(_LEAST_LOG_GAIN, _GREATEST_LOG_GAIN)
        torch.sub(moved, self.log_gains, out=self._growth).exp_()
        weight.mul_(self._growth_of_inputs)
        fading = (learning_rate * (_RATE_OF_GAINS * _FADING)).clamp_(max=1)
        torch.addcmul(moved, moved.clamp(max=0), fading, value=-1, out=self.log_gains)

    @property
    def _share_of_rates(self) -> float:
        # Adam's first moves have the length 1 for any gradient.  Times 10, they would throw trained weights about
        # with which a fit begins.
        return 1 - math.exp(-self.n_steps / _WARM_UP)

    def _in_this_step(self, rate: float) -> float:
        return rate if rate <= 1 else 1 + (rate - 1) * self._share_of_rates

    def _l1_of_weights(self) -> Tensor:
        assert isinstance(self.penalty, ElasticNet)
        return self.penalty.l1 * self.params[:, : self.n_weights].abs()

    @property
    def longest(self) -> float | Tensor:
        # A weight of the first layer moves by its gain at most, and not by 1.
        longest = torch.full_like(self.params[:, : self.n_weights], adam_longest(self.n_steps, self.beta1, self.beta2))
        return self._scale(longest, self.gain)

    def step_size(self, learning_rate: Tensor, columns: slice) -> Tensor:
        assert columns == slice(None)
        return self._scale(super().step_size(learning_rate, columns), self.gain.square())

    def _scale(self, of_weights: Tensor, of_first: Tensor) -> Tensor:
        for columns, rate in self.rates_of_weights:
            of_weights[:, columns].mul_(self._in_this_step(rate))
        self.first.view(of_weights).mul_(of_first)
        return of_weights

    def memory(self) -> list[Tensor]:
        return [*self.moments, self.log_gains, *self.gain_moments]

    def recall(self, memory: list[Tensor]) -> None:
        *self.moments, self.log_gains, first, second = memory
        self.gain_moments = [first, second]

    def select(self, rows: Tensor, params: Tensor) -> None:
        super().select(rows, params)
        self.log_gains = self.log_gains[rows]
        self.gain_moments = [m[rows] for m in self.gain_moments]
        self._lay_out()


class SGD(Optimizer):
    """Stochastic gradient descent with heavy-ball momentum, as in torch: no dampening."""

    n_moments = 1

    def _move(self, grad: Tensor, learning_rate: Tensor, penalty_share: Tensor | None) -> None:
        (velocity,) = self.moments
        velocity.mul_(self.momentum).add_(grad)
        move = torch.mul(velocity, learning_rate, out=self._scratch)
        for block in self.penalty.blocks:
            if block.factor is not None:
                size = 1 / block.factor.square()
                block.view(move).mul_(size if block.models is None else torch.where(block.models, size, 1))
        self.params.sub_(move)

    def step_size(self, learning_rate: Tensor, columns: slice) -> Tensor:
        return sgd_step_size(learning_rate, self.momentum, self.n_steps)

    def step_size_of_groups(self, learning_rate: Tensor, block: Block) -> Tensor:
        return self.step_size(learning_rate, slice(None))


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "scaled_adam": ScaledAdam, "sgd": SGD}


def schedule_factor(schedule: str, progress: Tensor) -> Tensor:
    """Return what multiplies the initial learning rate once the share ``progress`` of all steps is done."""
    if schedule == "constant":
        return torch.ones_like(progress)
    if schedule == "cosine":
        return _cosine_fall(progress, 0.0)
    if schedule == "flat_cosine":
        return _cosine_fall(progress, _FLAT_SHARE)
    if schedule == "one_cycle":
        # From a fraction and not from zero: the first step would be lost.
        rise = _LOWEST_RATE + (1 - _LOWEST_RATE) * progress / _RISING_SHARE
        return torch.where(progress < _RISING_SHARE, rise, _cosine_fall(progress, _RISING_SHARE))
    raise ValueError(f"schedule must be 'constant', 'cosine', 'one_cycle' or 'flat_cosine'; got {schedule!r}.")


def _cosine_fall(progress: Tensor, start: float) -> Tensor:
    """Return 1 until the share ``start`` of all steps is done, then half a cosine's wave down to 0."""
    done = (progress - start) / (1 - start)
    return 0.5 * (1 + torch.cos(math.pi * done.clamp(0, 1)))
