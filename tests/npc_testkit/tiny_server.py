"""Volumes with a known answer and the description of a running test server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.volumes import Volume


@dataclass(frozen=True, slots=True)
class Served:
    """A running server and the contracts of what it was given."""

    server: EmbeddedTriton
    contracts: dict[str, NetworkContract]
    repository: Path


def volume_of(hu: npt.NDArray[np.int16], spacing_zyx_mm: Vec3 = (3.0, 1.0, 1.0)) -> Volume:
    """Return a volume with its first voxel at the origin."""
    grid = Grid((hu.shape[0], hu.shape[1], hu.shape[2]), spacing_zyx_mm, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    corners = grid.to_patient_mm([(z, 0, 0) for z in range(hu.shape[0])])
    return Volume(hu, grid, tuple(f"1.2.3.{z}" for z in range(hu.shape[0])), corners)


def blocks(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.int16]:
    """Noise of -200 or 500 HU: no voxel is near the threshold of 100 HU."""
    return np.where(np.random.default_rng(seed).random(shape) < 0.5, -200, 500).astype(np.int16)
