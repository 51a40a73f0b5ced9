"""How a patient is scanned: what may be fixed, and what is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npc_contour.domain.geometry import Vec3
from npc_phantom.pose import Pose

VERTEX_Z_MM = 163.0
SLICE_SPACINGS_MM = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomOptions:
    """What to fix; None is drawn from the seed.

    Attributes:
        matrix: rows and columns of a slice.
        slice_spacing_mm: distance between slices.
        slices: how many; the vertex is always in the scan.
        bottom_z_mm: how far down the scan reaches, canonical, where `slices` does not say; the body ends at -330.
        field_of_view_mm: width of a slice.
        noise_hu: standard deviation of the noise in a slice.
        metal: whether there are dental crowns.
        couch: whether couch top and head rest are seen; never with a prone patient.
        mask: whether the thermoplastic mask is seen.
        tumour_cc: about the primary tumour's volume.
        nodes: number of diseased nodes, from 1 on.
        phase_shift_mm: how far the contrast phase has moved.
        patient_position: DICOM Patient Position: HFS, HFP, FFS or FFP.
    """

    matrix: int | None = None
    slice_spacing_mm: float | None = None
    slices: int | None = None
    bottom_z_mm: float | None = None
    field_of_view_mm: float | None = None
    noise_hu: float | None = None
    metal: bool | None = None
    couch: bool | None = None
    mask: bool | None = None
    tumour_cc: float | None = None
    nodes: int | None = None
    phase_shift_mm: float | None = None
    patient_position: str = "HFS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """How the patient was scanned.

    Attributes:
        matrix: rows and columns.
        slices: count.
        slice_spacing_mm: distance between slices.
        field_of_view_mm: width of a slice.
        noise_hu: standard deviation of the noise.
        texture_hu: amplitude of the slow, beam-hardening-like shading.
        couch: whether the couch is seen.
        mask: whether the mask is seen.
        table_y_mm: patient y of the couch's surface.
        phase_shift_lps_mm: how far the patient lay elsewhere in the contrast phase.
        top_z_mm: patient z of the uppermost slice.
        centre_xy_mm: patient x, y of the middle of a slice.
        patient_position: DICOM Patient Position.
    """

    matrix: int
    slices: int
    slice_spacing_mm: float
    field_of_view_mm: float
    noise_hu: float
    texture_hu: float
    couch: bool
    mask: bool
    table_y_mm: float
    phase_shift_lps_mm: Vec3
    top_z_mm: float
    centre_xy_mm: tuple[float, float]
    patient_position: str


def draw_scan(rng: np.random.Generator, options: PhantomOptions, pose: Pose) -> tuple[Scan, bool]:
    """Draw a scan, and whether there are dental crowns."""
    spacing = float(rng.choice(SLICE_SPACINGS_MM))
    length = float(rng.uniform(350.0, 415.0))
    field = float(rng.choice([450.0, 500.0, 500.0, 500.0, 550.0, 600.0])) + float(rng.uniform(-20.0, 20.0))
    matrix = int(rng.choice([512, 512, 512, 512, 512, 512, 512, 1024]))
    noise = float(np.exp(rng.uniform(np.log(6.0), np.log(20.0))))
    metal, couch, mask = (bool(v) for v in rng.uniform(size=3) < (0.45, 0.85, 0.8))
    shift = rng.normal(size=3) * np.array([1.0, 1.0, 0.0])
    shift *= float(rng.uniform(0.0, 1.5)) / np.linalg.norm(shift)
    margin, dx, dy = (float(v) for v in rng.uniform((8.0, -10.0, -10.0), (22.0, 10.0, 10.0)))
    texture = float(rng.uniform(2.0, 6.0))
    if options.slice_spacing_mm is not None:
        spacing = options.slice_spacing_mm
    if options.phase_shift_mm is not None:
        shift *= options.phase_shift_mm / np.linalg.norm(shift)
    if spacing <= 0.0 or (options.slices is not None and options.slices < 1):
        raise ValueError(f"{options.slices} slices of {spacing} mm: both must be positive")
    vertex, nape, back = pose.to_patient_mm(
        np.array([(0.0, 34.0, VERTEX_Z_MM), (0.0, 113.0, 75.0), (0.0, 134.0, -230.0)])
    )
    if options.bottom_z_mm is not None:
        length = float(vertex[2]) + margin - float(pose.to_patient_mm(np.array([0.0, 32.0, options.bottom_z_mm]))[2])
    scan = Scan(
        matrix=options.matrix or matrix,
        slices=options.slices or round(length / spacing),
        slice_spacing_mm=spacing,
        field_of_view_mm=options.field_of_view_mm or field,
        noise_hu=noise if options.noise_hu is None else options.noise_hu,
        texture_hu=texture,
        couch=(couch if options.couch is None else options.couch) and not options.patient_position.endswith("P"),
        mask=mask if options.mask is None else options.mask,
        table_y_mm=float(max(nape[1] + 18.0, back[1])),
        phase_shift_lps_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        top_z_mm=round(float(vertex[2]) + margin, 1),
        centre_xy_mm=(
            round(float(pose.origin_lps_mm[0]) + dx, 2),
            round(float(pose.origin_lps_mm[1]) + 28.0 + dy, 2),
        ),
        patient_position=options.patient_position,
    )
    return scan, metal if options.metal is None else options.metal
