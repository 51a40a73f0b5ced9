"""From a patient and a grid to a pair of CT volumes and three label maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.phantom import kernels, scanner
from npc_contour.core.phantom.parts import Part
from npc_contour.core.phantom.patient import Patient
from npc_contour.domain.geometry import Grid

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

CELL_MM = 8.0
SLAB_VOXELS = 4_000_000
BLUR_MM = 0.75
TILE = 24


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A rendered patient; all arrays are (z, y, x) on `grid`.

    Attributes:
        noncontrast_hu: int16, Hounsfield units.
        contrast_hu: int16, the phase with contrast agent, same frame of reference.
        oar_labels: uint8, SegRap's 54 exclusive labels.
        gtv_labels: uint8, 1 GTVp, 2 GTVnd.
        ln_labels: uint8, 1 to 6 as in LNCTVSeg.
        grid: where the voxels lie.
        seed: what the patient was drawn from.
    """

    noncontrast_hu: npt.NDArray[np.int16]
    contrast_hu: npt.NDArray[np.int16]
    oar_labels: npt.NDArray[np.uint8]
    gtv_labels: npt.NDArray[np.uint8]
    ln_labels: npt.NDArray[np.uint8]
    grid: Grid
    seed: int


def render(
    patient: Patient,
    grid: Grid,
    *,
    contrast: Sequence[bool] = (False, True),
    progress: Callable[[float], None] | None = None,
) -> Phantom:
    """Scan a patient.

    Args:
        patient: whom.
        grid: any axial grid, of any spacing and extent.
        contrast: which phases to finish; a phase left out is returned without noise and artefacts.
        progress: told the fraction done, 0 to 1.

    Raises:
        ValueError: the grid's slices are not axial.
    """
    if np.abs(np.abs(np.asarray(grid.direction_lps)) - np.eye(3)[::-1]).max() > 1e-3:
        raise ValueError(f"a phantom is scanned axially, got directions {grid.direction_lps}")
    program = _compile(patient.parts)
    cell = np.array([max(1, round(CELL_MM / s)) for s in grid.spacing_zyx_mm], dtype=np.int32)
    lattice = _lattice(patient, grid, cell)
    reach = 0.5 * float(np.linalg.norm(cell * np.asarray(grid.spacing_zyx_mm))) * 1.15
    edge = float(np.hypot(BLUR_MM, 0.5 * np.prod(grid.spacing_zyx_mm) ** (1.0 / 3.0)))
    tile = _tile(patient.seed)
    images = np.empty((2, *grid.shape_zyx), dtype=np.int16)
    labels = np.zeros((3, *grid.shape_zyx), dtype=np.uint8)
    noises = [scanner.Noise(patient, grid, phase) for phase in range(2)]
    layer = int(cell[0]) * grid.shape_zyx[1] * grid.shape_zyx[2]
    depth = int(cell[0]) * max(1, SLAB_VOXELS // layer)
    for first in range(0, grid.shape_zyx[0], depth):
        last = min(first + depth, grid.shape_zyx[0])
        hu = np.full((2, last - first, *grid.shape_zyx[1:]), -1000.0, dtype=np.float32)
        place = kernels.Place(lattice, cell, tile, first // int(cell[0]), reach, edge)
        kernels.paint(program, place, hu, labels[:, first:last])
        _scan(
            hu,
            patient,
            grid,
            first,
            [noise if on in contrast else None for on, noise in zip((False, True), noises, strict=True)],
        )
        images[:, first:last] = np.clip(np.rint(hu), -1024, 32767).astype(np.int16)
        if progress is not None:
            progress(last / grid.shape_zyx[0])
    return Phantom(images[0], images[1], labels[0], labels[1], labels[2], grid, patient.seed)


def _scan(hu: F32, patient: Patient, grid: Grid, first: int, noises: Sequence[scanner.Noise | None]) -> None:
    z_mm = grid.origin_lps_mm[2] + grid.direction_lps[0][2] * grid.spacing_zyx_mm[0] * (first + np.arange(hu.shape[1]))
    if patient.scan.couch:
        scanner.add_couch(hu, patient, grid)
    scanner.add_shading(hu, z_mm.astype(np.float32), patient, grid)
    scanner.add_streaks(hu, z_mm.astype(np.float32), patient, grid)
    shift = patient.scan.phase_shift_lps_mm
    pixels = (
        shift[1] * grid.direction_lps[1][1] / grid.spacing_zyx_mm[1],
        shift[0] * grid.direction_lps[2][0] / grid.spacing_zyx_mm[2],
    )
    hu[1] = scanner.shifted(hu[1], pixels)
    for phase, noise in enumerate(noises):
        if noise is not None:
            noise.add_to(hu[phase])


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
