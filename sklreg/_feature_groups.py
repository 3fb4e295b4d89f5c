"""Which columns are penalised together: ``feature_groups`` as users give it, as the number of each column's group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np


def resolve_feature_groups(given: Any, n_features: int, names: Iterable[str] | None, owner: str) -> tuple[int, ...]:
    """Return the number of each column's group, counted from 0 in the order of their first columns.

    ``given`` is a label for each column, the names of the features that the columns were made of, or the groups
    themselves: lists of names or indices, or a mapping to such lists.  ``names`` are those of the columns, if known.
    """
    numbers: dict[Any, int] = {}
    return tuple(
        numbers.setdefault(label, len(numbers)) for label in feature_group_labels(given, n_features, names, owner)
    )


def feature_group_labels(given: Any, n_features: int, names: Iterable[str] | None, owner: str) -> list[Any]:
    """Return the label of each column's group: as given, the key of a mapping, or the place in a list of groups."""
    columns = None if names is None else [str(name) for name in names]
    if isinstance(given, Mapping):
        return _of_partition(given, n_features, columns, owner)
    entries = given.tolist() if isinstance(given, np.ndarray) else list(given)
    if any(isinstance(entry, (list, tuple, set, frozenset, range, np.ndarray)) for entry in entries):
        return _of_partition(dict(enumerate(entries)), n_features, columns, owner)
    if entries and all(isinstance(e, str) for e in entries) and len(set(entries)) == len(entries):
        return _of_origins(entries, n_features, columns, owner)
    if len(entries) != n_features:
        raise ValueError(
            f"feature_groups of {owner} as an array needs a label for each of the {n_features} features; got "
            f"{len(entries)}. Give one label a feature, the groups as lists of columns, or the names of the "
            "features that the columns were made of."
        )
    return entries


def _of_partition(groups: Mapping[Any, Any], n_features: int, columns: list[str] | None, owner: str) -> list[Any]:
    """Return labels, of labelled groups that list their columns."""
    label: dict[int, Any] = {}
    for name, group in groups.items():
        members = [group] if isinstance(group, (str, Integral)) else list(group)
        for member in members:
            column = _column(member, n_features, columns, owner)
            if column in label:
                raise ValueError(
                    f"feature_groups of {owner} must not overlap: column {member!r} is in more than one group, or "
                    "twice in one. Keep it in one of them."
                )
            label[column] = name
    missing = [columns[j] if columns else j for j in range(n_features) if j not in label]
    if missing:
        raise ValueError(
            f"feature_groups of {owner} must hold every column; {len(missing)} of {n_features} are in no group: "
            f"{missing[:5]}. Add them, each as a group of its own if it belongs to no other."
        )
    return [label[j] for j in range(n_features)]


def _column(member: Any, n_features: int, columns: list[str] | None, owner: str) -> int:
    if isinstance(member, str):
        if columns is None:
            raise ValueError(
                f"feature_groups of {owner} names column {member!r}, and X has no column names. Pass a DataFrame "
                "(from a transformer, by set_output(transform='pandas')) or give the index of the column."
            )
        if member in columns:
            return columns.index(member)
    elif isinstance(member, Integral) and 0 <= int(member) < n_features:
        return int(member)
    known = f"names such as {columns[:5]}" if columns else f"indices from 0 to {n_features - 1}"
    raise ValueError(f"feature_groups of {owner} names an unknown column: {member!r}. X has {known}.")


def _of_origins(origins: list[str], n_features: int, columns: list[str] | None, owner: str) -> list[str]:
    """Return for each column the feature that it was made of, by the names that scikit-learn's transformers make.

    ``onehot__color_red``, ``color_red``, ``num__color`` and ``color`` are all made of ``color``.
    """
    if columns is None:
        raise ValueError(
            f"feature_groups of {owner} names features ({origins[:5]}), and X has no column names. Pass a DataFrame "
            "(from a transformer, by set_output(transform='pandas')) or a label for each column."
        )

    def origin_of(column: str) -> str | None:
        def longest(spelling: str, least: int = 0) -> str | None:
            found = [o for o in origins if len(o) > least and (spelling == o or spelling.startswith(f"{o}_"))]
            return max(found, key=len, default=None)

        step, _, rest = column.partition("__")
        # What is before "__" is a transformer, unless a feature's own name goes on beyond it, or nothing else fits.
        return longest(column, len(step)) or longest(rest) or longest(column)

    labels = [origin_of(column) for column in columns]
    missing = [column for column, label in zip(columns, labels, strict=True) if label is None]
    if missing:
        raise ValueError(
            f"feature_groups of {owner} must hold every column; {len(missing)} of {n_features} were made of none of "
            f"the features {origins[:5]}: {missing[:5]}. Add the features that they were made of."
        )
    unknown = [origin for origin in origins if origin not in labels]
    if unknown:
        raise ValueError(
            f"feature_groups of {owner} names unknown features: {unknown[:5]}; no column is called so or starts with "
            f"the name and an underscore. X has names such as {columns[:5]}."
        )
    return [label for label in labels if label is not None]
