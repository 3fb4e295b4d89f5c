"""What holds around every fit: tensors are made where they should be, and a failed fit changes nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def on_cpu_unless_told(function: F) -> F:
    """Let tensors be made on the CPU where no device is named, whatever the caller's default device of torch is."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if torch.get_default_device().type == "cpu":  # torch's context would only cost time
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def all_or_nothing(method: F) -> F:
    """Leave the estimator as it was if ``method`` raises."""

    @on_cpu_unless_told
    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.__dict__.copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return guarded  # type: ignore[return-value]
