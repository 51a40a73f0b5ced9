"""One synthetic patient and the scan made of them: parameters only, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_phantom import han, head, jaw, spine, targets, throat, trunk, vessels
from npc_phantom.parts import Part, Sketch
from npc_phantom.pose import Pose, draw_pose
from npc_phantom.scan import PhantomOptions, Scan, draw_scan

FloatArray = npt.NDArray[np.float64]


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
    pose_rng, body_rng, scan_rng, added_rng = rng.spawn(4)
    pose = draw_pose(pose_rng)
    scan, metal = draw_scan(scan_rng, options, pose)
    sketch = Sketch(body_rng)
    added = Sketch(added_rng, sketch.parts)
    centres = _anatomy(sketch, added, mask=scan.mask, crowns=metal, options=options)
    return Patient(seed, tuple(sketch.parts), pose, scan, np.asarray(centres, dtype=float).reshape(-1, 3))


def _anatomy(
    sketch: Sketch, added: Sketch, *, mask: bool, crowns: bool, options: PhantomOptions
) -> list[tuple[float, float, float]]:
    # What was added to the first phantoms draws from a stream of its own: a seed stays the patient it was.
    rng = sketch.rng
    size = float(rng.uniform(10.0, 75.0)) if options.tumour_cc is None else options.tumour_cc
    side = float(rng.choice([-1.0, 1.0]))
    count = int(rng.integers(1, 5)) if options.nodes is None else options.nodes
    trunk.body(sketch, mask=mask)
    scm = trunk.muscles(sketch)
    trunk.chest(sketch)
    spine.spine(sketch)
    head.skull(sketch)
    head.brain(sketch)
    head.sinuses(sketch)
    head.orbits(sketch)
    head.sella(sketch)
    left, right, jaw_left, jaw_right = jaw.chewing(sketch)
    lumen = throat.airway(sketch)
    metal_mm = jaw.mouth(sketch, (jaw_left, jaw_right), crowns=crowns)
    throat.larynx(sketch, lumen)
    thyroid, trachea = throat.lower_neck(sketch)
    han.bronchial_tree(added, throat.TRACHEA, trunk.AIR)
    han.plexus(added)
    throat.glands(sketch, (left, right), (jaw_left, jaw_right), scm)
    vessels.vessels(sketch)
    head.ears(sketch)
    targets.tumour(sketch, size, side)
    targets.nodes(sketch, count, side)
    targets.levels(sketch, scm, (jaw_left, jaw_right), thyroid, trachea)
    han.divisions(added)
    return metal_mm
