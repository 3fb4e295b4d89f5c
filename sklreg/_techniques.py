"""The regularizers among the parameters: what turns each off, and which strengths are worth trying."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from sklreg._base import BaseRegularizedMLP


class Technique(NamedTuple):
    """How one parameter regularizes."""

    off: Any  # the value that turns it off
    least: float | None = None  # of the strengths that are worth trying
    greatest: float | None = None
    is_log: bool = False  # whether they are spread evenly on a logarithmic scale
    needs_hidden: bool = False  # whether it acts on hidden layers


# In the order in which to try them.
TECHNIQUES: dict[str, Technique] = {
    "weight_decay": Technique(0.0, 1e-3, 1e-1, is_log=True),
    "alpha": Technique(0.0, 1e-4, 1e-1, is_log=True),
    "l2": Technique(0.0, 1e-5, 1e-3, is_log=True),
    "l1": Technique(0.0, 1e-4, 1e-1, is_log=True),
    "dropout": Technique(0.0, 0.2, 0.7, needs_hidden=True),
    "input_dropout": Technique(0.0, 0.1, 0.2),
    "input_noise": Technique(0.0, 0.05, 0.3, is_log=True),
    "swap_noise": Technique(0.0, 0.05, 0.2),
    "early_stopping": Technique(False),
    "label_smoothing": Technique(0.0, 0.05, 0.2),
    "mixup_alpha": Technique(0.0, 0.1, 0.4),
    "cutmix_alpha": Technique(0.0, 0.1, 0.4),
    "stochastic_depth": Technique(0.0, 0.1, 0.3),
    "focal_gamma": Technique(0.0),
    "normalization": Technique(None, needs_hidden=True),
    "max_norm": Technique(None, 2.0, 4.0, needs_hidden=True),
    "weight_averaging": Technique(0.0, 0.98, 0.999),
    "n_members": Technique(1),
    "bootstrap": Technique(False),
    "class_weight": Technique(None),
    "max_grad_norm": Technique(None),
}


def techniques_on(network: BaseRegularizedMLP) -> list[str]:
    """Return which techniques a network uses, in the order in which to try them."""
    parameters = network.get_params(deep=False)
    return [
        name
        for name, technique in TECHNIQUES.items()
        if name in parameters and not _is_off(_value_of(name, network), technique.off)
    ]


def turned_off(network: BaseRegularizedMLP, names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters with which a network does without the techniques of these names."""
    settings = {name: TECHNIQUES[name].off for name in names}
    # What early stopping alone watches would be refused; in a search for alpha it also judges the folds.
    if "early_stopping" in settings and network.scoring != "loss" and not hasattr(network, "alphas"):
        settings["scoring"] = "loss"
    # The average goes on without early stopping: one technique is turned off, and not two.
    if "early_stopping" in settings and "weight_averaging" not in settings and network.weight_averaging == "auto":
        settings["weight_averaging"] = network._averaging_decay()
    return settings


def has_use_for(network: BaseRegularizedMLP, name: str) -> bool:
    """Return whether a parameter is one of a network's, and acts on something that it has."""
    if name not in network.get_params(deep=False):
        return False
    if name == "stochastic_depth":
        return bool(network.residual)
    technique = TECHNIQUES.get(name)
    return technique is None or not technique.needs_hidden or has_hidden_layers(network)


def has_hidden_layers(network: BaseRegularizedMLP) -> bool:
    """Return whether there is a hidden layer."""
    return bool(np.size(network.hidden_layer_sizes))


def _value_of(name: str, network: BaseRegularizedMLP) -> Any:
    return network._averaging_decay() if name == "weight_averaging" else getattr(network, name)


def _is_off(value: Any, off: Any) -> bool:
    return value is None if off is None else bool(value == off)
