"""Early stopping, for each model on its own."""

from __future__ import annotations

import torch
from torch import Tensor


class EarlyStopping:
    """Remember each model's best epoch, and tell which models have gone too long without a better one.

    ``patience`` and ``min_delta`` are ``(K,)``.  An epoch is better than the best one if its score exceeds that by more
    than ``min_delta``; a model is out of patience after ``patience`` epochs in a row that were not.  Epochs up to
    ``n_early`` ``(K,)`` do not count: they take no patience, and the latest of them is remembered until one counts.
    """

    def __init__(self, state: Tensor, patience: Tensor, min_delta: Tensor, n_early: Tensor | None = None) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.n_early = torch.zeros_like(min_delta) if n_early is None else n_early
        self.best_score = torch.full_like(min_delta, -torch.inf)  # (K,)
        self.best_iter = torch.zeros_like(min_delta)
        self.best_state = state.clone()  # a copy: the state goes on training
        self.wait = torch.zeros_like(min_delta)

    def update(self, score: Tensor, state: Tensor, n_iter: int) -> Tensor:
        """Take the ``(K,)`` scores of epoch ``n_iter``, greater being better; return who is out of patience.

        A score that is not finite is never better, so a diverged state is never remembered.
        """
        is_early = (n_iter <= self.n_early) & score.isfinite()
        better = (score > self.best_score + self.min_delta) & score.isfinite() & ~is_early
        self.best_iter = torch.where(better | is_early, n_iter, self.best_iter)
        torch.where((better | is_early)[:, None], state, self.best_state, out=self.best_state)
        self.best_score = torch.where(better, score, self.best_score)
        self.wait = torch.where(better | is_early, 0, self.wait + 1)
        return self.wait >= self.patience

    def select(self, rows: Tensor) -> None:
        """Keep only the models of ``rows``."""
        for name, value in vars(self).items():
            setattr(self, name, value[rows])
