"""One series as one regular stack of slices, or a refusal that names slices and millimetres.

Only positions say where a slice is: the instance number is a label, Slice Thickness is the beam's width, and
Gantry/Detector Tilt may be absent on a tilted scan (PS3.3 C.7.6.2.1.1). Slices are counted from 1, in ascending order
along the slice normal; millimetres are measured along it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from npc_contour.core.identity import REMEDY, mixed_patients
from npc_contour.domain.geometry import FloatArray, Grid, Vec3
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.errors import SeriesGeometryError

MIN_SLICES = 4
"""Fewer slices do not prove that their spacing is regular."""
SAME_POSITION_MM = 0.005
SAME_ORIENTATION = 1e-3
"""Direction cosines may differ by this within a series: headers round to a few digits."""
SAME_SPACING_MM = 1e-4
"""Pixel spacings may differ by this: over 1024 pixels that is a tenth of a millimetre."""
MAX_TILT_DEG = 0.1
MAX_NAMED = 5
"""A message names this many slices and counts the rest."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why slices are not one regular stack.

    Attributes:
        curable: whether further slices of the same series may cure it, as a gap.
    """

    text: str
    curable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A series in order.

    Attributes:
        instances: ascending along the slice normal.
        grid: the voxels they span.
        positions_lps_mm: (z, 3) each slice's own Image Position (Patient), read-only.
    """

    instances: tuple[InstanceHeader, ...]
    grid: Grid
    positions_lps_mm: FloatArray


def stack(series: Series) -> Stack:
    """Order the slices and prove that they are regular.

    Raises:
        SeriesGeometryError: they are not; the message gives every reason found.
    """
    faults, ordered, positions = _examine(series.instances)
    if faults:
        raise SeriesGeometryError("; ".join(fault.text for fault in faults))
    directions = slice_directions(series.first)
    positions.setflags(write=False)
    first = series.first
    along_mm = positions @ directions[0]
    row_gap_mm, column_gap_mm = first.pixel_spacing_mm or (0.0, 0.0)
    grid = Grid(
        shape_zyx=(len(ordered), first.rows, first.columns),
        spacing_zyx_mm=(float(along_mm[-1] - along_mm[0]) / (len(ordered) - 1), row_gap_mm, column_gap_mm),
        origin_lps_mm=_vec3(positions[0]),
        direction_lps=(_vec3(directions[0]), _vec3(directions[1]), _vec3(directions[2])),
        frame_of_reference_uid=first.frame_of_reference_uid,
    )
    return Stack(ordered, grid, positions)


def geometry_faults(instances: Sequence[InstanceHeader]) -> tuple[Fault, ...]:
    """Every reason why these images are not one regular stack; empty when they are."""
    return _examine(instances)[0]


def _examine(
    instances: Sequence[InstanceHeader],
) -> tuple[tuple[Fault, ...], tuple[InstanceHeader, ...], FloatArray]:
    """Faults, images in ascending order, their positions (n, 3); the last two are empty where order has no meaning."""
    faults, is_placed = _header_faults(instances)
    if not is_placed or len(instances) < 2:
        return tuple(faults), (), np.empty((0, 3))
    normal = slice_directions(instances[0])[0]
    positions = np.array([instance.position_lps_mm for instance in instances], dtype=np.float64)
    order = np.argsort(positions @ normal, kind="stable")
    ordered = tuple(instances[index] for index in order)
    faults += _position_faults(ordered, positions[order], normal)
    return tuple(faults), ordered, positions[order]


def slice_directions(header: InstanceHeader) -> FloatArray:
    """Unit vectors of one step along z (normal), y (rows grow) and x (columns grow): (3, 3), LPS, right-handed.

    The orientation is made exactly orthonormal: headers round to a few digits.
    """
    if header.orientation is None:
        raise SeriesGeometryError("Image Orientation (Patient) is absent")
    row = np.asarray(header.orientation[:3], dtype=np.float64)
    column = np.asarray(header.orientation[3:], dtype=np.float64)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([np.cross(row, column), column, row])


def _header_faults(instances: Sequence[InstanceHeader]) -> tuple[list[Fault], bool]:
    """What is wrong before positions are compared, and whether positions can be compared at all."""
    mixed = mixed_patients(instances)
    if mixed:
        # Whatever else is wrong with two patients' slices together says nothing of either.
        return [Fault(f"{mixed}; {REMEDY}")], False
    faults = []
    for complaint, is_bad in (*_UNPLACED, *_BAD_VALUES):
        bad = [_name(instance) for instance in instances if is_bad(instance)]
        if bad:
            faults.append(Fault(f"{complaint} in {_some(bad)}"))
    is_placed = not any(is_bad(instance) for _, is_bad in _UNPLACED for instance in instances)
    for what, key in _MUST_AGREE:
        counts = Counter(key(instance) for instance in instances)
        if len(counts) > 1:
            kinds = ", ".join(f"{value} ({count} slices)" for value, count in counts.most_common(MAX_NAMED))
            faults.append(Fault(f"mixed {what}: {kinds}"))
    if is_placed:
        orientations = np.array([instance.orientation for instance in instances])
        usual = _most_typical(orientations)
        differing = np.flatnonzero(np.abs(orientations - usual).max(axis=1) > SAME_ORIENTATION)
        if differing.size:
            is_placed = False
            ours, other = (values.round(3) + 0.0 for values in (usual, orientations[differing[0]]))
            share = f"{differing.size} of {len(instances)} slices"
            faults.append(Fault(f"mixed orientations: {share} have another than the others, {other} against {ours}"))
        faults += _spacing_faults(instances)
    if len(instances) < MIN_SLICES:
        text = f"{len(instances)} slices, at least {MIN_SLICES} are needed to prove regular spacing"
        faults.append(Fault(text, curable=True))
    return faults, is_placed


def _most_typical(values: FloatArray) -> FloatArray:
    """The row nearest to the median of all: which one comes first says nothing."""
    typical: FloatArray = values[np.abs(values - np.median(values, axis=0)).max(axis=1).argmin()]
    return typical


def _spacing_faults(instances: Sequence[InstanceHeader]) -> list[Fault]:
    """Pixel spacings agree within what headers round away; a rounded value as key would tell 0.97655 from 0.97656."""
    spacings = np.array([h.pixel_spacing_mm for h in instances if h.pixel_spacing_mm is not None], dtype=np.float64)
    if not spacings.size:
        return []
    usual = _most_typical(spacings)
    differing = np.flatnonzero(np.abs(spacings - usual).max(axis=1) > SAME_SPACING_MM)
    if not differing.size:
        return []
    ours, other = (" x ".join(f"{gap:.4f}" for gap in values) for values in (usual, spacings[differing[0]]))
    return [
        Fault(
            f"mixed pixel spacings in mm: {differing.size} of {len(instances)} slices have another than the others,"
            f" {other} against {ours}"
        )
    ]


def _position_faults(
    ordered: Sequence[InstanceHeader], positions_lps_mm: FloatArray, normal: FloatArray
) -> list[Fault]:
    """Same positions, gaps, a sheared (tilted) stack; slices come in ascending order along the unit normal."""
    along_mm = positions_lps_mm @ normal
    gaps_mm = np.diff(along_mm)
    repeated = np.flatnonzero(gaps_mm < SAME_POSITION_MM)
    if repeated.size:
        return [_same_position_fault(ordered, along_mm, repeated.tolist())]
    faults = _gap_faults(along_mm, gaps_mm)
    lateral_mm = positions_lps_mm - positions_lps_mm[0]
    lateral_mm = lateral_mm - np.outer(lateral_mm @ normal, normal)
    off_mm = np.linalg.norm(lateral_mm, axis=1)
    travelled_mm = along_mm - along_mm[0]
    allowed_mm = np.maximum(0.05, travelled_mm * np.tan(np.radians(MAX_TILT_DEG)))
    if (off_mm > allowed_mm).any():
        worst = int(np.argmax(off_mm))
        angle_deg = float(np.degrees(np.arctan2(off_mm[worst], travelled_mm[worst])))
        faults.append(
            Fault(
                f"tilted: the line through the slice positions leans {angle_deg:.1f}° from the slice normal"
                f" (slice {worst + 1} lies {off_mm[worst]:.2f} mm aside), at most {MAX_TILT_DEG}° is taken as straight"
            )
        )
    return faults


def _gap_faults(along_mm: FloatArray, gaps_mm: FloatArray) -> list[Fault]:
    typical_mm = float(np.median(gaps_mm))
    tolerance_mm = max(0.01, 0.01 * typical_mm) + 1e-6
    odd = np.flatnonzero(np.abs(gaps_mm - typical_mm) > tolerance_mm)
    if odd.size:
        named = [
            f"gap of {gaps_mm[index]:.2f} mm after slice {index + 1} (at {along_mm[index]:+.2f} mm)"
            for index in odd.tolist()
        ]
        return [Fault(f"{_some(named)}, expected {typical_mm:.2f} mm", curable=True)]
    regular_mm = np.linspace(along_mm[0], along_mm[-1], along_mm.size)
    drift_mm = np.abs(along_mm - regular_mm)
    if drift_mm.max() > max(0.1, 0.05 * typical_mm):
        worst = int(np.argmax(drift_mm))
        return [Fault(f"the spacing drifts: slice {worst + 1} lies {drift_mm[worst]:.2f} mm from its regular place")]
    return []


def _same_position_fault(ordered: Sequence[InstanceHeader], along_mm: FloatArray, indices: Sequence[int]) -> Fault:
    named = [f"slices {index + 1} and {index + 2} (at {along_mm[index]:+.2f} mm)" for index in indices]
    acquisitions = {number for index in indices for number in _acquisition_numbers(ordered[index], ordered[index + 1])}
    text = f"several slices at one position: {_some(named)}"
    if len(acquisitions) > 1:
        text += f"; several acquisitions in one series: numbers {', '.join(map(str, sorted(acquisitions)))}"
    return Fault(text)


def _acquisition_numbers(*headers: InstanceHeader) -> list[int]:
    return [header.acquisition_number for header in headers if header.acquisition_number is not None]


def _is_bad_orientation(header: InstanceHeader) -> bool:
    if header.orientation is None:
        return True
    row, column = np.asarray(header.orientation[:3]), np.asarray(header.orientation[3:])
    lengths = np.linalg.norm([row, column], axis=1)
    return bool(np.abs(lengths - 1).max() > 1e-2 or abs(float(row @ column)) > 1e-2)


_UNPLACED: tuple[tuple[str, Callable[[InstanceHeader], bool]], ...] = (
    (
        "Image Position (Patient) is absent or not three finite numbers below 10 m",
        lambda h: h.position_lps_mm is None or max(map(abs, h.position_lps_mm)) > 10_000,
    ),
    ("Image Orientation (Patient) is absent or not two perpendicular unit vectors", _is_bad_orientation),
)
_BAD_VALUES: tuple[tuple[str, Callable[[InstanceHeader], bool]], ...] = (
    (
        "Pixel Spacing is absent or not two numbers between 0 and 10 mm",
        lambda h: h.pixel_spacing_mm is None or not all(0 < gap <= 10 for gap in h.pixel_spacing_mm),
    ),
    ("Frame of Reference UID is absent", lambda h: not h.frame_of_reference_uid),
    ("Rows or Columns is zero", lambda h: h.rows < 1 or h.columns < 1),
    ("more than one frame", lambda h: h.number_of_frames != 1),
)
_MUST_AGREE: tuple[tuple[str, Callable[[InstanceHeader], Hashable]], ...] = (
    ("frames of reference", lambda h: h.frame_of_reference_uid),
    ("matrix sizes", lambda h: f"{h.rows}x{h.columns}"),
)


def _name(header: InstanceHeader) -> str:
    if header.instance_number is not None:
        return f"instance number {header.instance_number}"
    return f"SOP instance {header.sop_instance_uid}"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _vec3(vector: FloatArray) -> Vec3:
    return (float(vector[0]), float(vector[1]), float(vector[2]))
