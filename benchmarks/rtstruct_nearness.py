"""How near contours lie to the true outline: shapes with a closed form, seen by a network, drawn from its answer.

A network's two class maps are a smooth function of the distance to the outline, given on the CT's own grid or on one of
2 mm; labels and crossings are made of them by the code that serves networks. From the same answer, rt-utils traces the
label map, ours traces it too, and ours uses the crossings. Distances are measured in the slice, along the contours'
edges (holes as contours of their own: a bridge is no outline), where the outline is no flatter than 45 degrees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from rt_utils import image_helper

from npc_contour.core.argmax import axis_lookup, interpolated_argmax, largest_class
from npc_contour.core.contouring import ContourOptions, contour_roi
from npc_contour.core.crossings import label_crossings
from npc_contour.core.labels import roi_masks
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.profiles import ContourSource, Holes
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.domain.volumes import LabelMap, Volume

Array = npt.NDArray[np.float64]
Shape = Callable[[Array, Array, Array], Array]

PIXELS_MM = (0.5, 1.0, 1.5)
SLICE_MM = 3.0
FIELD_MM = 72.0
SOFT_MM = 2.5
"""How far from the outline the network's certainty saturates."""

NETWORK_MM = 2.0
PER_EDGE = 8


def sphere(radius_mm: float) -> Shape:
    """Return the signed distance to a sphere, positive inside."""
    return lambda z, y, x: radius_mm - np.sqrt(z**2 + y**2 + x**2)


def torus(ring_mm: float, tube_mm: float) -> Shape:
    """Return the signed distance to a torus round the z axis, positive inside."""
    return lambda z, y, x: tube_mm - np.hypot(np.hypot(y, x) - ring_mm, z)


def tilted_cylinder(radius_mm: float) -> Shape:
    """Return the signed distance to a rod along (0.5, 0, 1), positive inside."""
    return lambda z, y, x: radius_mm - np.hypot(y, (x - 0.5 * z) * 2 / np.sqrt(5))


SHAPES: dict[str, Shape] = {
    "sphere 4 mm": sphere(4.0),
    "sphere 10 mm": sphere(10.1),
    "sphere 25 mm": sphere(25.3),
    "torus 20 by 7 mm": torus(20.2, 7.1),
    "tilted rod 6 mm": tilted_cylinder(6.2),
}


def measure() -> list[dict[str, float | str]]:
    """Return mean distances in mm, one row a shape, pixel and network grid."""
    rows: list[dict[str, float | str]] = []
    for name, shape in SHAPES.items():
        for pixel_mm in PIXELS_MM:
            for network_mm in (None, NETWORK_MM):
                label_map, volume = answer(shape, pixel_mm, network_mm)
                rows.append(
                    {
                        "shape": name,
                        "pixel_mm": pixel_mm,
                        "network": "the CT's" if network_mm is None else f"{network_mm:g} mm",
                        **{writer: distance(points, shape) for writer, points in contours(label_map, volume)},
                    }
                )
    return rows


def show() -> dict[str, float]:
    """Print the table; return the worst ratios, margins to rt-utils and to masks, with the network on the CT's grid."""
    rows = measure()
    print(
        f"\n  {'shape':<18}{'pixel mm':>9}{'network':>10}{'rt-utils':>10}{'masks':>9}{'margins':>9}   mean distance, mm"
    )
    for row in rows:
        print(
            f"  {row['shape']:<18}{row['pixel_mm']:>9}{row['network']:>10}"
            f"{row['rt-utils']:>10.3f}{row['masks']:>9.3f}{row['margins']:>9.3f}"
        )
    own = [row for row in rows if row["network"] == "the CT's"]
    return {
        f"margins_to_{writer}_worst": round(max(float(row["margins"]) / float(row[key]) for row in own), 3)
        for writer, key in (("rtutils", "rt-utils"), ("masks", "masks"))
    }


def answer(shape: Shape, pixel_mm: float, network_mm: float | None) -> tuple[LabelMap, Volume]:
    """Return what a network says of a shape: labels and crossings on the CT's grid."""
    side, slices = round(FIELD_MM / pixel_mm), round(FIELD_MM / SLICE_MM)
    fine = (slices, side, side)
    coarse = fine if network_mm is None else tuple(round(FIELD_MM / network_mm) for _ in range(3))
    axes = [(np.arange(size) + 0.5) * FIELD_MM / size - FIELD_MM / 2 + 0.31 for size in coarse]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    certainty = np.tanh(shape(z, y, x) / SOFT_MM)
    maps = np.stack([-certainty, certainty], axis=-1).astype(np.float32)
    lookups = tuple(axis_lookup(size, wanted).fields for size, wanted in zip(coarse, fine, strict=True))
    coarse_labels = np.empty(maps.shape[:3], dtype=np.uint8)
    largest_class(maps, coarse_labels, 0, len(maps))
    labels = np.zeros(fine, dtype=np.uint8)
    crossings = np.zeros((2, *fine), dtype=np.uint8)
    interpolated_argmax(maps, coarse_labels, (0, 0, 0), lookups, labels, 0, slices)
    label_crossings(maps, (0, 0, 0), lookups, labels, (crossings[0], crossings[1]), 0, slices)
    corner = -FIELD_MM / 2 + 0.31
    origin = (corner + pixel_mm / 2, corner + pixel_mm / 2, corner + SLICE_MM / 2)
    grid = Grid(fine, (SLICE_MM, pixel_mm, pixel_mm), origin, HEAD_FIRST_SUPINE, "1.2")
    positions = grid.to_patient_mm(np.array([[index, 0, 0] for index in range(slices)]))
    volume = Volume(np.zeros(fine, np.int16), grid, tuple(f"1.{index}" for index in range(slices)), positions)
    return LabelMap(labels, grid, "net", crossings), volume


def contours(label_map: LabelMap, volume: Volume) -> Iterator[tuple[str, list[Array]]]:
    """Yield each writer's contours, (n, 3) LPS mm."""
    spec = RoiSpec("Shape", InterpretedType.ORGAN, "net", frozenset({1}), (200, 80, 40))
    (mask,) = roi_masks({"net": label_map}, [spec])
    drawn = []
    for index in np.flatnonzero(label_map.labels.any(axis=(1, 2))):
        rings, _ = image_helper.find_mask_contours(label_map.labels[index], approximate_contours=True)
        columns_rows = [np.asarray(ring) for ring in rings if len(ring) > 2]
        drawn += [
            volume.grid.to_patient_mm(np.column_stack([np.full(len(ring), index), ring[:, 1], ring[:, 0]]))
            for ring in columns_rows
        ]
    yield "rt-utils", drawn
    for source in (ContourSource.MASKS, ContourSource.MARGINS):
        roi = contour_roi(mask, volume, ContourOptions(holes=Holes.PARITY, source=source))
        yield source.value, [contour.points_lps_mm for contour in roi.contours]


def distance(contour_points: list[Array], shape: Shape) -> float:
    """Return the mean distance in the slice between contours' edges and the outline, in mm."""
    share = np.linspace(0, 1, PER_EDGE, endpoint=False)[:, np.newaxis, np.newaxis]
    total, length = 0.0, 0.0
    for points in contour_points:
        following = np.roll(points, -1, axis=0)
        x, y, z = np.moveaxis(points * (1 - share) + following * share, -1, 0)
        step = 1e-4
        slope = np.hypot(shape(z, y + step, x) - shape(z, y - step, x), shape(z, y, x + step) - shape(z, y, x - step))
        slope /= 2 * step
        weight = np.linalg.norm(following - points, axis=1) * (slope > np.sqrt(0.5))
        total += float((np.abs(shape(z, y, x)) / np.maximum(slope, 0.1) * weight).sum())
        length += float(weight.sum())
    return total / length
