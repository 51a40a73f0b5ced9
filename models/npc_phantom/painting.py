"""The painter: from parts and a grid to colours and labels, slab after slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.geometry import Grid
from npc_phantom import kernels
from npc_phantom.parts import Part
from npc_phantom.patient import Patient

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

CELL_MM = 8.0
SLAB_VOXELS = 4_000_000
BLUR_MM = 0.75
TILE = 24


class Painter:
    """A patient before a grid.

    Args:
        patient: whom to paint.
        grid: where.
    """

    def __init__(self, patient: Patient, grid: Grid) -> None:
        self._program = _compile(patient.parts)
        self._grid = grid
        spacing = np.asarray(grid.spacing_zyx_mm)
        self._cell = np.array([max(1, round(CELL_MM / s)) for s in spacing], dtype=np.int32)
        self._lattice = _lattice(patient, grid, self._cell)
        self._reach = 0.5 * float(np.linalg.norm(self._cell * spacing)) * 1.15
        self._edge = float(np.hypot(BLUR_MM, 0.5 * np.prod(spacing) ** (1.0 / 3.0)))
        self._tile = _tile(patient.seed)

    def slabs(self) -> Iterator[tuple[int, int]]:
        """Yield first and last + 1 slice of each slab, from slice 0 on."""
        depth, height, width = self._grid.shape_zyx
        step = int(self._cell[0]) * max(1, SLAB_VOXELS // (int(self._cell[0]) * height * width))
        for first in range(0, depth, step):
            yield first, min(first + step, depth)

    def paint(self, first: int, colours: F32, labels: U8, looks: F32 | None = None) -> None:
        """Paint one slab.

        Args:
            first: its first slice, as `slabs` gave it.
            colours: (2, z, y, x) what both phases show, painted over.
            labels: (maps, z, y, x) in the order of `parts`, painted over.
            looks: (parts, 6) how each part looks, in the columns of `kernels.Program`; None as on CT.
        """
        program = self._program if looks is None else self._program._replace(looks=looks)
        layer = first // int(self._cell[0])
        place = kernels.Place(self._lattice, self._cell, self._tile, layer, self._reach, self._edge)
        kernels.paint(program, place, colours, labels)


def _compile(parts: Sequence[Part]) -> kernels.Program:
    steps: list[tuple[int, int, int]] = []
    amounts: list[tuple[float, float]] = []
    params: list[float] = []
    spans: list[tuple[int, int]] = []
    looks = np.zeros((len(parts), 6), dtype=np.float32)
    luts = np.zeros((len(parts), 256), dtype=np.uint8)
    for k, part in enumerate(parts):
        first = len(steps)
        for step in part.shape.steps:
            kind, numbers = step.primitive.pack()
            steps.append((step.op, kind, len(params)))
            amounts.append((step.grow_mm, step.blend_mm))
            params.extend(numbers)
        spans.append((first, len(steps)))
        if part.look is not None:
            look = part.look
            looks[k] = (
                look.hu,
                look.hu + look.enhancement_hu,
                look.texture_hu,
                look.texture_mm,
                look.opacity,
                look.soft_mm,
            )
        luts[k] = part.label
        for old, new in part.over.items():
            luts[k, old] = new
        for old in part.keeps:
            luts[k, old] = old
    return kernels.Program(
        spans=np.array(spans, dtype=np.int32),
        looks=looks,
        luts=luts,
        channels=np.array([-1 if p.channel is None else p.channel for p in parts], dtype=np.int32),
        bounds=np.array([np.concatenate(p.shape.bounds()) for p in parts], dtype=np.float32),
        steps=np.array(steps, dtype=np.int32),
        amounts=np.array(amounts, dtype=np.float32),
        params=np.array(params, dtype=np.float32),
    )


def _lattice(patient: Patient, grid: Grid, cell: I32) -> F32:
    """Return canonical x, y, z (z, y, x, 3) at the corners of the cells."""
    axes = [np.arange(int(np.ceil(n / c)) + 1, dtype=float) * c for n, c in zip(grid.shape_zyx, cell, strict=True)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return patient.pose.to_canonical_mm(grid.to_patient_mm(index)).astype(np.float32)


def _tile(seed: int) -> F32:
    """Return the periodic texture (n, n, n), mean 0, variance 1."""
    white = np.random.default_rng([seed, 3]).standard_normal((TILE,) * 3)
    smooth = ndimage.gaussian_filter(white, 0.6, mode="wrap")
    tile: F32 = ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)
    return tile
