"""One synthetic patient and the scan made of them: parameters only, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from npc_contour.core.phantom import head, targets, throat, trunk
from npc_contour.core.phantom.parts import Part, Sketch
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3

FloatArray = npt.NDArray[np.float64]
VERTEX_Z_MM = 163.0
SLICE_SPACINGS_MM = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomOptions:
    """What to fix; None is drawn from the seed.

    Attributes:
        matrix: rows and columns of a slice.
        slice_spacing_mm: distance between slices.
        slices: how many; the vertex is always in the scan.
        field_of_view_mm: width of a slice.
        noise_hu: standard deviation of the noise in a slice.
        metal: whether there are dental crowns.
        couch: whether couch top and head rest are seen.
        mask: whether the thermoplastic mask is seen.
        tumour_cc: about the primary tumour's volume.
        nodes: number of diseased nodes, from 1 on.
        phase_shift_mm: how far the contrast phase has moved.
        patient_position: DICOM Patient Position: HFS, HFP, FFS or FFP.
    """

    matrix: int | None = None
    slice_spacing_mm: float | None = None
    slices: int | None = None
    field_of_view_mm: float | None = None
    noise_hu: float | None = None
    metal: bool | None = None
    couch: bool | None = None
    mask: bool | None = None
    tumour_cc: float | None = None
    nodes: int | None = None
    phase_shift_mm: float | None = None
    patient_position: str = "HFS"


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """How the canonical patient becomes this one: canonical = bend(matrix @ (lps - origin)) + waves.

    Attributes:
        matrix: (3, 3) from patient to canonical.
        origin_lps_mm: (3,) patient position of the canonical origin.
        flexion: forward tilt of the neck, rad per mm below the skull, about the x axis.
        waves: (n, 9) rows of wave vector (rad/mm), amplitude (mm), phase of each component.
    """

    matrix: FloatArray
    origin_lps_mm: FloatArray
    flexion: float
    waves: FloatArray

    def to_canonical_mm(self, lps_mm: FloatArray) -> FloatArray:
        """Map patient positions (..., 3) to canonical ones; smooth and invertible."""
        q: FloatArray = (lps_mm - self.origin_lps_mm) @ self.matrix.T
        drop = np.clip(20.0 - q[..., 2], 0.0, 130.0)
        q[..., 1] += self.flexion * drop * drop / 2.0
        moved = q.copy()
        for row in self.waves:
            angle = q @ row[0:3]
            for axis in range(3):
                moved[..., axis] += row[3 + axis] * np.sin(angle + row[6 + axis])
        return moved

    def to_patient_mm(self, canonical_mm: FloatArray) -> FloatArray:
        """Map canonical positions (..., 3) to the patient: the inverse, by fixed-point iteration."""
        back = np.linalg.inv(self.matrix).T
        p: FloatArray = np.asarray(canonical_mm, dtype=float) @ back + self.origin_lps_mm
        for _ in range(12):
            p = p + (canonical_mm - self.to_canonical_mm(p)) @ back
        return p


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


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """A patient's anatomy, pose and scan.

    Attributes:
        seed: what it was drawn from.
        parts: what to paint, in order, canonical frame.
        pose: where it is in the patient frame.
        scan: how it was scanned.
        metal_mm: (n, 3) canonical centres of metal.
    """

    seed: int
    parts: tuple[Part, ...]
    pose: Pose
    scan: Scan
    metal_mm: FloatArray

    def grid(self) -> Grid:
        """Return the grid of the scan: axis 0 ascends along the slice normal."""
        s = self.scan
        pixel = s.field_of_view_mm / s.matrix
        bottom = s.top_z_mm - (s.slices - 1) * s.slice_spacing_mm
        feet, prone = s.patient_position.startswith("FF"), s.patient_position.endswith("P")
        row_x = -1.0 if feet != prone else 1.0
        column_y = -1.0 if prone else 1.0
        up = row_x * column_y
        half = pixel * (s.matrix - 1) / 2.0
        origin = (
            s.centre_xy_mm[0] - row_x * half,
            s.centre_xy_mm[1] - column_y * half,
            bottom if up > 0 else s.top_z_mm,
        )
        direction = (
            HEAD_FIRST_SUPINE
            if s.patient_position == "HFS"
            else ((0.0, 0.0, up), (0.0, column_y, 0.0), (row_x, 0.0, 0.0))
        )
        return Grid(
            shape_zyx=(s.slices, s.matrix, s.matrix),
            spacing_zyx_mm=(s.slice_spacing_mm, pixel, pixel),
            origin_lps_mm=origin,
            direction_lps=direction,
            frame_of_reference_uid=uid(self.seed, "frame of reference"),
        )


def uid(seed: int, what: str) -> str:
    """Return a DICOM UID (root 2.25) that is the same for the same seed and words."""
    digest = sha256(f"npc-contour phantom {seed} {what}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def draw(seed: int, options: PhantomOptions | None = None) -> Patient:
    """Draw a patient.

    Args:
        seed: the same seed and options give the same patient.
        options: what to fix; None draws everything.

    Raises:
        ValueError: a patient position other than HFS, HFP, FFS, FFP, or a value out of range.
    """
    options = options or PhantomOptions()
    if options.patient_position not in {"HFS", "HFP", "FFS", "FFP"}:
        raise ValueError(f"patient position {options.patient_position!r}, expected HFS, HFP, FFS or FFP")
    rng = np.random.default_rng(seed)
    pose_rng, body_rng, scan_rng = rng.spawn(3)
    pose = _pose(pose_rng)
    scan, metal = _scan(scan_rng, options, pose)
    sketch = Sketch(body_rng)
    centres = _anatomy(sketch, scan, metal, options)
    return Patient(seed, tuple(sketch.parts), pose, scan, np.asarray(centres, dtype=float).reshape(-1, 3))


def _anatomy(sketch: Sketch, scan: Scan, metal: bool, options: PhantomOptions) -> list[tuple[float, float, float]]:
    rng = sketch.rng
    size = float(np.exp(rng.uniform(np.log(6.0), np.log(60.0)))) if options.tumour_cc is None else options.tumour_cc
    side = float(rng.choice([-1.0, 1.0]))
    count = int(rng.integers(1, 5)) if options.nodes is None else options.nodes
    trunk.body(sketch, mask=scan.mask)
    scm = trunk.muscles(sketch)
    trunk.chest(sketch)
    trunk.spine(sketch)
    head.skull(sketch)
    head.brain(sketch)
    head.sinuses(sketch)
    head.orbits(sketch)
    head.sella(sketch)
    left, right, jaw_left, jaw_right = throat.chewing(sketch)
    lumen = throat.airway(sketch)
    metal_mm = throat.mouth(sketch, (jaw_left, jaw_right), metal)
    throat.larynx(sketch, lumen)
    thyroid, trachea = throat.lower_neck(sketch)
    throat.glands(sketch, (left, right), (jaw_left, jaw_right), scm)
    throat.vessels(sketch)
    head.ears(sketch)
    targets.tumour(sketch, size, side)
    targets.nodes(sketch, count, side)
    targets.levels(sketch, scm, (jaw_left, jaw_right), thyroid, trachea)
    return metal_mm


def _pose(rng: np.random.Generator) -> Pose:
    angles = np.deg2rad(rng.uniform(-6.0, 6.0, 3) * np.array([1.3, 0.8, 0.8]))
    scale = rng.uniform(0.94, 1.07) * rng.uniform(0.95, 1.05, 3)
    c, s = np.cos(angles), np.sin(angles)
    rx = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    ry = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    rz = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    matrix = np.diag(1.0 / scale) @ (rz @ ry @ rx).T
    waves = []
    for length, amplitude in (
        (150.0, 1.5),
        (150.0, 1.5),
        (110.0, 1.0),
        (90.0, 0.8),
        (70.0, 0.6),
        (60.0, 0.5),
    ):
        direction = rng.normal(size=3)
        wave = direction / np.linalg.norm(direction) * 2.0 * np.pi / length
        waves.append(
            np.concatenate(
                [
                    wave,
                    rng.normal(0.0, amplitude, 3).clip(-2 * amplitude, 2 * amplitude),
                    rng.uniform(0, 2 * np.pi, 3),
                ]
            )
        )
    return Pose(
        matrix=matrix,
        origin_lps_mm=rng.uniform(-12.0, 12.0, 3) + np.array([0.0, -120.0, 0.0]),
        flexion=float(rng.uniform(-0.0018, 0.0018)),
        waves=np.array(waves),
    )


def _scan(rng: np.random.Generator, options: PhantomOptions, pose: Pose) -> tuple[Scan, bool]:
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
    scan = Scan(
        matrix=options.matrix or matrix,
        slices=options.slices or int(round(length / spacing)),
        slice_spacing_mm=spacing,
        field_of_view_mm=options.field_of_view_mm or field,
        noise_hu=noise if options.noise_hu is None else options.noise_hu,
        texture_hu=texture,
        couch=couch if options.couch is None else options.couch,
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
