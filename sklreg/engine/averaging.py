"""Averages of the weights over the steps of a training, beside the weights that are trained."""

from __future__ import annotations

from torch import Tensor


class WeightAveraging:
    """Exponential moving averages of the states of ``K`` models, running averages of batch normalization included.

    After step ``t`` the average moves to the state by ``1 - min(decay, t / (t + 9))``: over the first steps it is
    nearly the state itself, and of where training began nothing is left.  ``decay`` is ``(K,)``; at 0 the average of a
    model is its state, to the bit.
    """

    def __init__(self, start: Tensor, decay: Tensor, n_weights: int) -> None:
        self.average = start.clone()  # (K, S)
        self.decay = decay[:, None]
        self.n_weights = n_weights

    def update(self, state: Tensor, n_steps: int) -> None:
        """Take the state after step ``n_steps``, counted from 1."""
        self.average.lerp_(state, 1 - self.decay.clamp(max=n_steps / (n_steps + 9)))

    def keep_zeros(self, state: Tensor) -> None:
        """Set to zero, and let begin anew from there, the averages of weights that are zero.

        An average of weights that were not all zero never is: what a penalty has taken out would be back.
        """
        weights = slice(None, self.n_weights)
        self.average[:, weights].masked_fill_(state[:, weights] == 0, 0)

    def select(self, rows: Tensor) -> None:
        """Keep only the models of ``rows``."""
        self.average, self.decay = self.average[rows], self.decay[rows]
