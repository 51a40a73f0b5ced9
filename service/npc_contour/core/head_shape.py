"""How large a head in a CT is, which way it looks, and what of it and of the neck the scan holds.

Measured on bone and skin alone, before any network has run, and therefore coarsely: a skull is the bone that surrounds
soft tissue over tens of square centimetres (`core.anatomy`); the air of nose, mouth and throat lies before the middle
of a head and neck, whatever the patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.anatomy import MIN_ENCLOSED_CM2, SOFT_TISSUE_HU, enclosed
from npc_contour.core.image_values import BODY_HU, BONE_HU, Coarse, ImageValues

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

VERTEX_CM2 = 5.0
CRANIUM_MM = 110.0
"""Below the vertex, where skull is measured: lower there are jaw and neck."""
HEAD_NECK_MM = 230.0
"""Below the vertex: head and neck of an adult, without shoulders."""
HEAD_MM = 150.0
"""Below the vertex: an adult's head above the chin, where no shoulder is beside it."""
_ARM_MM = 60.0
"""An arm goes along the head at least so far; a screw of the head rest does not."""
_MOST_GAP_MM = 40.0
_NECK_MM = 120.0
_AIR_HU, _SKIN_HU = -400.0, -150.0
_MOST_AIR_CM2 = 25.0
"""Air over more than this in one slice is lung."""
_LEAST_AIR_CC = 5.0
_LARGEST = 3
_SQUARE = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """What is measured of a head.

    Attributes:
        width_mm: of the skull, from side to side.
        length_mm: of the skull, from front to back.
        height_mm: from the vertex to where the skull ends; None where the scan holds not both.
        face_lr_mm, face_ap_mm: where the air of nose and throat lies from the middle of head and neck, to the left and
            to the back; None where there is too little of it.
        above_cc, below_cc: of the body above and below the skull.
        top_cm2: of the body on the uppermost slice.
        below_vertex_mm, below_skull_mm: how far the scan goes on below the uppermost slice of the head, and below the
            skull.
        edge_mm: most of the outline of head and neck, in one slice, that lies on the edge of the image.
        edge_z_mm: patient z of that slice.
        beside_cm2: soft tissue in a slice of what lies beside the head along 60 mm or more, has bone in it and does not
            touch it.
        beside_z_mm: patient z of such a slice.
    """

    width_mm: float
    length_mm: float
    height_mm: float | None
    face_lr_mm: float | None
    face_ap_mm: float | None
    above_cc: float
    below_cc: float
    top_cm2: float
    below_vertex_mm: float
    below_skull_mm: float
    edge_mm: float
    edge_z_mm: float
    beside_cm2: float
    beside_z_mm: float

    @property
    def is_upside_down(self) -> bool:
        """Whether far more of the body lies above the skull than below it."""
        return self.above_cc > 1000.0 and self.above_cc > 2.0 * self.below_cc


def head_shape(coarse: Coarse, values: ImageValues) -> HeadShape | None:
    """Measure; None where no skull is seen."""
    skull = _skull(coarse, values)
    if skull is None:
        return None
    low, high = skull
    solid = _solid(coarse, values)
    body = _largest(solid)
    if body is None:
        return None
    slice_mm, row_mm, column_mm = coarse.block_mm
    area = body.sum(axis=(1, 2)) * coarse.block_cm2
    tall = np.flatnonzero(area > VERTEX_CM2)
    vertex = int(tall[-1]) if tall.size else len(area) - 1
    top_cm2 = float(area[-1])
    width_mm, length_mm = _extents(coarse, values, body, vertex)
    lr_mm, ap_mm = _face(coarse, values, body, (max(0, low - round(_NECK_MM / slice_mm)), high + 1))
    neck = slice(max(0, vertex - round(HEAD_NECK_MM / slice_mm)), vertex + 1)
    edge = _on_edge_mm(body[neck], row_mm, column_mm)
    head = slice(max(0, vertex - round(HEAD_MM / slice_mm)), vertex + 1)
    beside = _beside_cm2(coarse, values, solid, head)
    along = int(np.argsort(-beside)[min(len(beside) - 1, round(_ARM_MM / slice_mm))])
    return HeadShape(
        width_mm=width_mm,
        length_mm=length_mm,
        height_mm=(vertex - low) * slice_mm if low > 0 else None,
        face_lr_mm=lr_mm,
        face_ap_mm=ap_mm,
        above_cc=float(area[high + 1 :].sum()) * slice_mm / 10.0,
        below_cc=float(area[:low].sum()) * slice_mm / 10.0,
        top_cm2=top_cm2,
        below_vertex_mm=vertex * slice_mm,
        below_skull_mm=low * slice_mm,
        edge_mm=float(edge.max()),
        edge_z_mm=float(coarse.z_mm[neck][int(edge.argmax())]),
        beside_cm2=float(beside[along]),
        beside_z_mm=float(coarse.z_mm[head][along]),
    )


def _skull(coarse: Coarse, values: ImageValues) -> tuple[int, int] | None:
    """The lowest and the highest slice in which bone surrounds what a brain fills, around the one where it is most."""
    bone = coarse.highest > values.value_of(BONE_HU)
    least, most = (values.value_of(hu) for hu in SOFT_TISSUE_HU)
    soft = (coarse.mean > least) & (coarse.mean < most)
    areas = np.array([enclosed(wall, inner) for wall, inner in zip(bone, soft, strict=True)]) * coarse.block_cm2
    large = np.flatnonzero(areas >= MIN_ENCLOSED_CM2)
    if not large.size:
        return None
    runs = np.split(large, np.flatnonzero(np.diff(large) * coarse.block_mm[0] > _MOST_GAP_MM) + 1)
    run = next(one for one in runs if int(areas.argmax()) in one)
    return int(run[0]), int(run[-1])


def _solid(coarse: Coarse, values: ImageValues) -> BoolArray:
    """What is denser than air, filled slice by slice, without couch tops, masks and other thin things."""
    dense = coarse.mean > values.value_of(BODY_HU)
    return np.stack([ndimage.binary_opening(ndimage.binary_fill_holes(one), _SQUARE) for one in dense])


def _largest(mask: BoolArray) -> BoolArray | None:
    labels, count = ndimage.label(mask)
    if not count:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: BoolArray = labels == sizes.argmax()
    return largest


def _extents(coarse: Coarse, values: ImageValues, body: BoolArray, vertex: int) -> tuple[float, float]:
    """Width and length of the skull: mean of the largest few slices."""
    _, row_mm, column_mm = coarse.block_mm
    wide, long = [0.0], [0.0]
    for at in range(max(0, vertex - round(CRANIUM_MM / coarse.block_mm[0])), vertex + 1):
        bone = body[at] & (coarse.highest[at] > values.value_of(BONE_HU))
        labels, count = ndimage.label(ndimage.binary_dilation(bone, _SQUARE))
        if count:
            largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
            rows, columns = np.flatnonzero(largest.any(axis=1)), np.flatnonzero(largest.any(axis=0))
            wide.append((columns[-1] - columns[0] - 1) * column_mm)
            long.append((rows[-1] - rows[0] - 1) * row_mm)
    return float(np.mean(sorted(wide)[-_LARGEST:])), float(np.mean(sorted(long)[-_LARGEST:]))


def _face(
    coarse: Coarse, values: ImageValues, body: BoolArray, slices: tuple[int, int]
) -> tuple[float | None, float | None]:
    """Where the air within head and neck lies from the middle of each slice, weighted by how much it is."""
    offsets, weights = [], []
    for at in range(*slices):
        air = body[at] & (coarse.mean[at] < values.value_of(_AIR_HU))
        count = int(np.count_nonzero(air))
        if 0 < count * coarse.block_cm2 < _MOST_AIR_CM2:
            offsets.append(np.argwhere(air).mean(axis=0) - np.argwhere(body[at]).mean(axis=0))
            weights.append(count)
    if sum(weights) * coarse.block_cm2 * coarse.block_mm[0] / 10.0 < _LEAST_AIR_CC:
        return None, None
    down, across = np.average(offsets, axis=0, weights=weights)
    return float(across) * coarse.block_mm[2], float(down) * coarse.block_mm[1]


def _on_edge_mm(body: BoolArray, row_mm: float, column_mm: float) -> FloatArray:
    """How much of each slice's body lies on the edge of the image, or of the circle that alone holds anything."""
    sides = (body[:, 0].sum(axis=1) + body[:, -1].sum(axis=1)) * column_mm
    sides = sides + (body[:, :, 0].sum(axis=1) + body[:, :, -1].sum(axis=1)) * row_mm
    _, rows, columns = body.shape
    y, x = np.mgrid[:rows, :columns]
    radius = np.hypot((y - (rows - 1) / 2) / (rows / 2), (x - (columns - 1) / 2) / (columns / 2))
    if np.count_nonzero(body[:, radius > 1.0]) > 0.001 * np.count_nonzero(body):
        return np.asarray(sides, dtype=np.float64)
    rim = (radius <= 1.0) & (radius > 1.0 - 2.0 / min(rows, columns))
    return np.asarray(np.maximum(sides, body[:, rim].sum(axis=1) * row_mm), dtype=np.float64)


def _beside_cm2(coarse: Coarse, values: ImageValues, solid: BoolArray, head: slice) -> FloatArray:
    """In each slice of the head, the soft tissue of what does not touch it and has bone in it: an arm, a hand.

    A couch or a head rest may have something as dense as bone in it, but no soft tissue.
    """
    areas = np.zeros(head.stop - head.start)
    soft = (coarse.mean[head] > values.value_of(_SKIN_HU)) & (coarse.mean[head] < values.value_of(BONE_HU))
    for number, at in enumerate(range(head.start, head.stop)):
        labels, count = ndimage.label(solid[at])
        if count > 1:
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            bony = np.unique(labels[solid[at] & (coarse.highest[at] > values.value_of(BONE_HU))])
            others = bony[(bony > 0) & (bony != sizes.argmax())]
            areas[number] = np.count_nonzero(np.isin(labels, others) & soft[number]) * coarse.block_cm2
    return areas
