"""Windows are also shown mirrored and the answers turned back and averaged, as nnU-Net does unless told otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from npc_networks.serving.engines import Engine

Float32Array = npt.NDArray[np.float32]


class MirroringEngine:
    """Asks another engine for every combination of mirrored axes: 2 to the number of axes windows instead of one."""

    def __init__(self, engine: Engine, axes: tuple[int, ...]) -> None:
        """Mirror along `axes` of (z, y, x) as the network has them."""
        self._engine = engine
        counts = range(len(axes) + 1)
        self._combinations = [chosen for count in counts for chosen in itertools.combinations(axes, count)]

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the mean answer (z, y, x, class) of each window; a new array each time."""
        shown = (np.flip(window, tuple(axis + 1 for axis in axes)) for window in windows for axes in self._combinations)
        answers = self._engine.predict(shown)
        for first in answers:
            total = first.copy()
            for axes in self._combinations[1:]:
                total += np.flip(next(answers), axes)
            total /= np.float32(len(self._combinations))
            yield total
