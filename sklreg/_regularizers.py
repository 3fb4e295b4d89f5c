"""The regularizers among the parameters: what turns each off, which strengths are worth trying, what they act on."""

from __future__ import annotations

from typing import Any, NamedTuple


class Technique(NamedTuple):
    """How one parameter regularizes."""

    off: Any  # the value that turns it off
    least: float | None = None  # of the strengths that are worth trying
    greatest: float | None = None
    is_log: bool = False  # whether they are spread evenly on a logarithmic scale
    needs_hidden: bool = False  # whether it acts on hidden layers
    changes_loss: bool = False  # whether the loss of training is another one with it than that of validation


# In the order in which to try them.
TECHNIQUES: dict[str, Technique] = {
    "weight_decay": Technique(0.0, 1e-3, 1e-1, is_log=True),
    "alpha": Technique(0.0, 1e-4, 1e-1, is_log=True),
    "l2": Technique(0.0, 1e-5, 1e-3, is_log=True),
    "l1": Technique(0.0, 1e-4, 1e-1, is_log=True),
    "dropout": Technique(0.0, 0.2, 0.7, needs_hidden=True, changes_loss=True),
    "input_dropout": Technique(0.0, 0.1, 0.2, changes_loss=True),
    "input_noise": Technique(0.0, 0.05, 0.3, is_log=True, changes_loss=True),
    "swap_noise": Technique(0.0, 0.05, 0.2, changes_loss=True),
    "early_stopping": Technique(False),
    "label_smoothing": Technique(0.0, 0.05, 0.2, changes_loss=True),
    "mixup_alpha": Technique(0.0, 0.1, 0.4, changes_loss=True),
    "cutmix_alpha": Technique(0.0, 0.1, 0.4, changes_loss=True),
    "stochastic_depth": Technique(0.0, 0.1, 0.3, changes_loss=True),
    "focal_gamma": Technique(0.0, changes_loss=True),
    "normalization": Technique(None, needs_hidden=True),
    "max_norm": Technique(None, 2.0, 4.0, needs_hidden=True),
    "weight_averaging": Technique(0.0, 0.98, 0.999),
    "n_members": Technique(1),
    "bootstrap": Technique(False),
    "class_weight": Technique(None),
    "max_grad_norm": Technique(None),
}
