"""A synthetic patient with mediastinal lymph nodes: drawn from a seed, scanned once with contrast agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import Grid
from npc_phantom.chest import Nodes, chest
from npc_phantom.parts import Sketch
from npc_phantom.patient import Patient
from npc_phantom.pose import Pose, draw_pose
from npc_phantom.rendering import render
from npc_phantom.scan import Scan

SLICE_SPACINGS_MM = (1.0, 1.25, 2.0, 2.5, 3.0, 3.0, 5.0)
TOP_MM, BOTTOM_MM = -148.0, -450.0
TABLE_MM = 158.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChestOptions:
    """What to fix; None is drawn from the seed.

    Attributes:
        matrix: rows and columns of a slice.
        slice_spacing_mm: distance between slices.
        slices: how many, from the top.
        noise_hu: standard deviation of the noise in a slice.
        nodes: number of diseased nodes, from 1 on.
    """

    matrix: int | None = None
    slice_spacing_mm: float | None = None
    slices: int | None = None
    noise_hu: float | None = None
    nodes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ChestPhantom:
    """A rendered chest; arrays are (z, y, x) on `grid`.

    Attributes:
        contrast_hu: int16, Hounsfield units.
        node_labels: uint8, each diseased node its own number from 1 on; normal nodes are not labelled.
        grid: where the voxels lie.
        seed: what the patient was drawn from.
    """

    contrast_hu: npt.NDArray[np.int16]
    node_labels: npt.NDArray[np.uint8]
    grid: Grid
    seed: int


def draw_chest(seed: int, options: ChestOptions | None = None) -> Patient:
    """Draw a patient.

    Args:
        seed: the same seed and options give the same patient.
        options: what to fix; None draws everything.

    Raises:
        ValueError: a value out of range.
    """
    options = options or ChestOptions()
    pose_rng, body_rng, scan_rng = np.random.default_rng([seed, 101]).spawn(3)
    pose = draw_pose(pose_rng)
    sketch = Sketch(body_rng)
    drawn = int(body_rng.integers(2, 9))
    chest(sketch, Nodes(drawn if options.nodes is None else options.nodes, int(body_rng.integers(4, 12))))
    scan = _scan(scan_rng, options, pose)
    return Patient(seed, tuple(sketch.parts), pose, scan, np.zeros((0, 3)))


def render_chest(patient: Patient, grid: Grid, *, progress: Callable[[float], None] | None = None) -> ChestPhantom:
    """Scan a patient of `draw_chest`.

    Args:
        patient: whom.
        grid: any axial grid, of any spacing and extent.
        progress: told the fraction done, 0 to 1.

    Raises:
        ValueError: the grid's slices are not axial.
    """
    phantom = render(patient, grid, contrast=(True,), progress=progress)
    return ChestPhantom(phantom.contrast_hu, phantom.gtv_labels, grid, patient.seed)


def _scan(rng: np.random.Generator, options: ChestOptions, pose: Pose) -> Scan:
    spacing = options.slice_spacing_mm or float(rng.choice(SLICE_SPACINGS_MM))
    field = float(rng.uniform(385.0, 440.0))
    noise = float(np.exp(rng.uniform(np.log(7.0), np.log(20.0))))
    dx, dy, above, below = (float(v) for v in rng.uniform((-8.0, -8.0, -6.0, -20.0), (8.0, 8.0, 10.0, 25.0)))
    texture = float(rng.uniform(2.0, 5.0))
    if spacing <= 0.0 or (options.slices is not None and options.slices < 1):
        raise ValueError(f"{options.slices} slices of {spacing} mm: both must be positive")
    ends = pose.to_patient_mm(np.array([(0.0, 38.0, TOP_MM + above), (0.0, 38.0, BOTTOM_MM + below)]))
    middle = (ends[0] + ends[1]) / 2.0
    back = pose.to_patient_mm(np.array([(0.0, TABLE_MM, z) for z in (-200.0, -300.0, -420.0)]))
    return Scan(
        matrix=options.matrix or 512,
        slices=options.slices or round(float(ends[0][2] - ends[1][2]) / spacing),
        slice_spacing_mm=spacing,
        field_of_view_mm=field,
        noise_hu=noise if options.noise_hu is None else options.noise_hu,
        texture_hu=texture,
        couch=True,
        mask=False,
        table_y_mm=float(back[:, 1].max()),
        phase_shift_lps_mm=(0.0, 0.0, 0.0),
        top_z_mm=round(float(ends[0][2]), 1),
        centre_xy_mm=(round(float(middle[0]) + dx, 2), round(float(middle[1]) + dy, 2)),
        patient_position="HFS",
    )
