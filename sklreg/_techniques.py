"""Which regularizers a network uses, can do without, and has a use for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sklreg._base import BaseRegularizedMLP
from sklreg._regularizers import TECHNIQUES


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
