"""What a user has handed over: an estimator, a pipeline that ends in one, something else."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from sklreg._base import BaseRegularizedMLP


def kind_of(thing: Any) -> str:
    """Return what to call it in a message."""
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def model_and_names(estimator: Any) -> tuple[Any, Any]:
    """Return an estimator, or the last step of a pipeline, and the names of its features, or ``None``."""
    if not isinstance(estimator, Pipeline):
        return estimator, getattr(estimator, "feature_names_in_", None)
    model = estimator.steps[-1][1]
    if hasattr(model, "feature_names_in_"):
        return model, model.feature_names_in_
    try:
        return model, estimator[:-1].get_feature_names_out()
    except (AttributeError, NotFittedError, ValueError):  # a step that knows no names
        return model, None


def find_network(estimator: Any, owner: str, prefix: str | None = None) -> tuple[str, BaseRegularizedMLP]:
    """Return the network in an estimator, and what its parameters' names start with in those of the estimator.

    ``prefix`` says which one, where there are several.  ``owner`` is who asks.
    """
    kind = kind_of(estimator)
    parts = {} if isinstance(estimator, type) or not hasattr(estimator, "get_params") else estimator.get_params()
    found = {f"{name}__": part for name, part in parts.items() if isinstance(part, BaseRegularizedMLP)}
    if isinstance(estimator, BaseRegularizedMLP):
        found = {"": estimator}
    if prefix is not None:
        wanted = f"{prefix.removesuffix('__')}__" if prefix else ""
        if wanted not in found:
            raise ValueError(
                f"prefix of {owner} must lead to an estimator of sklreg in {kind}; got {prefix!r}, and there are "
                f"{sorted(found)}. Pass one of these, or None where there is one only."
            )
        return wanted, found[wanted]
    if not found:
        raise TypeError(
            f"{owner} needs an estimator of sklreg, such as RegularizedMLPClassifier, or one that holds one, such as a "
            f"Pipeline; got {kind}."
        )
    if len(found) > 1:
        raise ValueError(
            f"{owner} needs an estimator that holds one estimator of sklreg; {kind} holds {len(found)}: "
            f"{sorted(found)}. Pass the one that is meant."
        )
    return next(iter(found.items()))
