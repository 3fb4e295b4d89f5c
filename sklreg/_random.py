"""Seeds, without numpy's global generator."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """Draw a seed: from the system, and not from numpy's global generator, where there is no state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
