"""When a net's training ends, and which epoch's weights it keeps."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sklreg._warnings import warn_user
from sklreg.engine import EarlyStopping


class OutOfPatience(KeyboardInterrupt):
    """Ends a training; skorch takes an interrupt as its regular end."""


class BestEpoch(Callback):
    """Remembers the best epoch by the rule of the engine, and restores its weights.

    With early stopping the best epoch is kept; without it the last, but where training diverged.
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget what was."""
        patience = float(net.patience) if net.early_stopping else math.inf
        self.is_over_ = self.diverged_ = False
        self.best_state_: Any = None
        # What is remembered of a module is not one tensor: the engine judges, and the state is copied here.
        self._stopping_ = EarlyStopping(
            torch.empty(1, 0), torch.tensor([patience]).double(), torch.tensor([net.min_delta]).double()
        )

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember the state before training, which is kept if no epoch is finite."""
        if self.best_state_ is None:
            self.best_state_ = deepcopy(net.module_.state_dict())

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Judge an epoch."""
        record, epoch = net.history[-1], len(net.history)
        losses = [record[name] for name in ("train_loss", "valid_loss") if name in record]  # a callback may be off
        finite = all(map(math.isfinite, losses)) and _is_finite(net.module_)
        score = record["valid_score"] if "valid_score" in record else -losses[-1] if losses else 0.0
        judged = torch.tensor([float(score) if finite else math.nan]).double()
        is_impatient = bool(self._stopping_.update(judged, torch.empty(1, 0), epoch))
        if int(self._stopping_.best_iter) == epoch:
            self.best_state_ = deepcopy(net.module_.state_dict())
        self.diverged_ = not finite
        self.is_over_ = is_impatient or self.diverged_

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the best epoch."""
        net.best_iter_ = len(net.history)
        if self.best_state_ is not None and (self.diverged_ or net.early_stopping):
            net.best_iter_ = int(self._stopping_.best_iter)
            net.module_.load_state_dict(self.best_state_)
        self.best_state_ = None
        if self.diverged_:
            warn_user(
                f"{type(net).__name__} diverged in epoch {len(net.history)}: loss or weights were no longer finite. "
                f"The weights of epoch {net.best_iter_} (0 is before training) are kept. Lower lr or the penalties, "
                "or scale the inputs.",
                ConvergenceWarning,
            )


def _is_finite(module: torch.nn.Module) -> bool:
    floating = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    return all(bool(torch.isfinite(parameter).all()) for parameter in floating)
