"""What classifiers of every kind do with labels: codes, weights of classes, the range of smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def encode_labels(y: Array, classes: Array, owner: str) -> NDArray[np.intp]:
    """Return the place of each label among the classes, which are sorted.

    Raises
    ------
    ValueError
        If there are other labels.
    """
    unseen = np.setdiff1d(y, classes)
    if len(unseen):
        raise ValueError(
            f"y holds labels that {owner} does not know: {unseen[:5].tolist()}; its classes are "
            f"{classes.tolist()}. Pass every class when fitting (in partial_fit by `classes`)."
        )
    return np.searchsorted(classes, y)


def balanced_class_weight(total: Array) -> Array:
    """Return weights that give every class the same total, of the ``total`` that each has by its samples."""
    # A class may be missing from a fold: it has no samples that its weight could count for.
    n_present = np.count_nonzero(total)
    return np.asarray(total.sum() / (n_present * np.where(total > 0, total, 1)))


def given_class_weight(given: dict[Any, float], classes: Array, owner: str) -> Array:
    """Return the weight of every class, 1 where none is given.

    Raises
    ------
    ValueError
        If a class is unknown while another has no weight, or a weight not finite or not above 0.
    """
    labels = classes.tolist()
    unknown = [label for label in given if label not in labels]
    # A fold may lack a class; a name that is misspelt leaves another class without a weight.
    if unknown and not all(label in given for label in labels):
        raise ValueError(
            f"class_weight of {owner} names classes that are not in y: {unknown}; the classes are {labels}. Name them "
            "as y does, or give each of these classes its weight."
        )
    class_weight = np.array([given.get(label, 1.0) for label in labels], dtype=float)
    if not (np.isfinite(class_weight).all() and (class_weight > 0).all()):
        raise ValueError(
            f"class_weight of {owner} must hold finite weights above 0; got {given!r}. "
            "To leave a class out, leave out its samples."
        )
    return class_weight


def check_label_smoothing(label_smoothing: float, n_classes: int, owner: str, several: bool = False) -> None:
    """Refuse to smooth until the true class is no likelier than the others; of ``several`` labels each is two classes.

    Raises
    ------
    ValueError
        If ``label_smoothing`` is that large.
    """
    most = 0.5 if several else 1 - 1 / n_classes
    if label_smoothing >= most:
        raise ValueError(
            f"{owner}: label_smoothing must be below {most:.3g} for {n_classes} {'labels' if several else 'classes'}, "
            f"or the true class would be no likelier than the others. Got {label_smoothing}."
        )
