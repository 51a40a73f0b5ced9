"""Is a slice of a CT shifted in value against the ones beside it, as by a Rescale Intercept that is not its own?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST_STEP_HU = 300.0
SAME_STEP_HU = 60.0
EVERYWHERE = 0.8
"""Share of the pixels that step alike; from slice to slice anatomy changes some of them, never all by one value."""
_EVERY = 4


def value_step(hu: npt.NDArray[np.int16]) -> tuple[int, float] | None:
    """Return the first slice (z, y, x) whose values all lie higher or lower than those before, and by how many HU."""
    some = hu[:, ::_EVERY, ::_EVERY].astype(np.float32)
    for index in range(1, len(some)):
        change = some[index] - some[index - 1]
        step = float(np.median(change))
        if abs(step) >= LEAST_STEP_HU and float((np.abs(change - step) <= SAME_STEP_HU).mean()) >= EVERYWHERE:
            return index, step
    return None
