"""The GPU belongs to the tests that ask for it."""

from __future__ import annotations

import os

import pytest
import torch


def pytest_configure(config):
    """Hide GPUs where none is asked for: ``device="auto"`` is then the CPU, on any machine."""
    if "gpu" not in config.option.markexpr.replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))
