"""From a patient and a grid to a pair of CT volumes and their label maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import Grid
from npc_phantom import scanner
from npc_phantom.han import han_labels
from npc_phantom.painting import Painter
from npc_phantom.parts import GTV, HAN, LN, OAR
from npc_phantom.patient import Patient

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A rendered patient; all arrays are (z, y, x) on `grid`.

    Attributes:
        noncontrast_hu: int16, Hounsfield units.
        contrast_hu: int16, the phase with contrast agent, same frame of reference.
        oar_labels: uint8, SegRap's 54 exclusive labels.
        gtv_labels: uint8, 1 GTVp, 2 GTVnd.
        ln_labels: uint8, 1 to 6 as in LNCTVSeg.
        han_labels: uint8, the 50 structures of HaN5K's list as exclusive labels, see `han`.
        grid: where the voxels lie.
        seed: what the patient was drawn from.
    """

    noncontrast_hu: npt.NDArray[np.int16]
    contrast_hu: npt.NDArray[np.int16]
    oar_labels: npt.NDArray[np.uint8]
    gtv_labels: npt.NDArray[np.uint8]
    ln_labels: npt.NDArray[np.uint8]
    han_labels: npt.NDArray[np.uint8]
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
    painter = Painter(patient, grid)
    images = np.empty((2, *grid.shape_zyx), dtype=np.int16)
    labels = np.zeros((4, *grid.shape_zyx), dtype=np.uint8)
    noises = [scanner.Noise(patient, grid, phase) for phase in range(2)]
    wanted = [noise if on in contrast else None for on, noise in zip((False, True), noises, strict=True)]
    for first, last in painter.slabs():
        hu = np.full((2, last - first, *grid.shape_zyx[1:]), -1000.0, dtype=np.float32)
        painter.paint(first, hu, labels[:, first:last])
        _scan(hu, patient, grid, first, wanted)
        images[:, first:last] = np.clip(np.rint(hu), -1024, 32767).astype(np.int16)
        if progress is not None:
            progress(last / grid.shape_zyx[0])
    han = han_labels(labels[OAR], labels[HAN])
    return Phantom(images[0], images[1], labels[OAR], labels[GTV], labels[LN], han, grid, patient.seed)


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
