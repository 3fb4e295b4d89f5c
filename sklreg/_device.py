"""Where to compute."""

from __future__ import annotations

import contextlib

import torch


def resolve_device(device: str, name: str, if_absent: str | None = None) -> torch.device:
    """Return the device that a parameter of ``name`` asks for; ``if_absent`` where it is not there (fitted elsewhere).

    Raises
    ------
    ValueError
        If it is none, or not there and nothing is said for this case.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    resolved = None
    if isinstance(device, str):
        with contextlib.suppress(RuntimeError):
            resolved = torch.device(device)
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"The 'device' parameter of {name} must be 'auto', 'cpu', 'cuda' or 'cuda:N'. Got {device!r}.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        if if_absent is not None:
            return torch.device(if_absent)
        raise ValueError(
            f"The 'device' parameter of {name} is {device!r}, and torch sees {torch.cuda.device_count()} CUDA devices. "
            "Set device='auto' to use one only where there is one."
        )
    # With its number, as which one is the current is another question in another thread.
    is_current = resolved.type == "cuda" and resolved.index is None
    return torch.device("cuda", torch.cuda.current_device()) if is_current else resolved
