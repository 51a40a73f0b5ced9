"""One picture of an RTSTRUCT over its CT: axial slices at telling levels, a coronal and a sagittal cut, a legend.

Everything drawn comes from the RTSTRUCT as read back, never from the masks it was made from. Axial outlines are its
polygons; the cuts show its polygons rasterised on the planning grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patheffects import withStroke

from npc_contour.core.rasterise import RasterisedRoi, in_plane_index, rasterise_roi
from npc_contour.core.tracing import trace
from npc_contour.domain.geometry import FloatArray, Vec3
from npc_contour.domain.structures import ReadRoi, ReadStructureSet
from npc_contour.domain.volumes import Volume

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: width 400, level 40."""
_LITTLE = 0.2
"""What one more slice must bring, in largest cross-sections, to be better than one between those chosen."""

AXIAL_SLICES = 6
MARGIN_MM = 22.0
_TARGETS = ("GTV", "CTV", "PTV")
_BACKGROUND, _TEXT, _FAINT, _WARNING = "#0b0d10", "#e6e9ee", "#8b93a1", "#ffb454"
_HALO = [withStroke(linewidth=2.5, foreground="#000000")]
_LEGEND_ROWS = 60
Scalar = TypeVar("Scalar", bound=np.generic)
_PANEL_INCHES, _LEGEND_INCHES, _WIDEST_INCHES, _DPI = 5.1, 3.3, 22.0, 100


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """An ROI with its voxels; `area` counts them per slice of the volume."""

    roi: ReadRoi
    raster: RasterisedRoi
    area: npt.NDArray[np.int64]

    @property
    def colour(self) -> tuple[float, float, float]:
        """Display colour, lightened where it would vanish on grey."""
        rgb = np.asarray(self.roi.colour_rgb) / 255
        lift = max(0.0, 0.45 - float(rgb.max()))
        red, green, blue = np.clip(rgb + lift, 0, 1)
        return float(red), float(green), float(blue)

    @property
    def target(self) -> bool:
        """Whether it is to be irradiated: drawn stronger."""
        return self.roi.interpreted_type in _TARGETS


def render_preview(
    structure_set: ReadStructureSet, volume: Volume, *, caption: str = "", slices: Sequence[int] = ()
) -> bytes:
    """Draw an RTSTRUCT over its planning CT.

    Args:
        structure_set: as read back from the RTSTRUCT.
        volume: the planning CT.
        caption: shown under the title, for example what the patient is; never a patient's name.
        slices: axial ones that are shown, by index, AXIAL_SLICES at most; () chooses those that show most ROIs.

    Returns:
        A PNG file's bytes.
    """
    drawn = [_drawn(roi, volume) for roi in structure_set.rois]
    window = _window_zyx(drawn, volume)
    axial, upright = _aspects(window, volume)
    height = min(_PANEL_INCHES, (_WIDEST_INCHES - _LEGEND_INCHES) / (3 * axial + upright))
    sizes = (height * axial, height * axial, height * axial, height * upright, _LEGEND_INCHES)
    figure = Figure(figsize=(sum(sizes) + 0.9, 2 * height + 1.15), dpi=_DPI, facecolor=_BACKGROUND)
    grid = GridSpec(
        2, 5, figure=figure, width_ratios=sizes, left=0.008, right=0.992, top=0.915, bottom=0.012,
        wspace=0.035, hspace=0.03,
    )  # fmt: skip
    shown = slices or telling_slices([item.area for item in drawn], AXIAL_SLICES)
    for panel, index in enumerate(shown):
        _axial(figure.add_subplot(grid[panel // 3, panel % 3]), index, drawn, volume, window)
    for panel, axis in enumerate((1, 2)):
        _cut(figure.add_subplot(grid[panel, 3]), axis, drawn, volume, window)
    _legend(figure.add_subplot(grid[:, 4]), drawn)
    _title(figure, structure_set, caption, volume)
    buffer = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", facecolor=_BACKGROUND)
    return buffer.getvalue()


def telling_slices(areas: Sequence[npt.NDArray[np.int64]], count: int) -> list[int]:
    """Choose slices that show most ROIs near their largest cross-section, then those far from the chosen; head first.

    Args:
        areas: per ROI the number of voxels on each slice.
        count: how many slices at most.

    Returns:
        Indices, descending.
    """
    shown = [area / area.max() for area in areas if area.any()]
    if not shown:
        return []
    share = np.stack(shown)
    best = np.zeros(len(share))
    used = np.flatnonzero(share.any(axis=0))
    chosen: list[int] = []
    while len(chosen) < min(count, len(used)):
        gain = np.maximum(share - best[:, np.newaxis], 0).sum(axis=0)
        if gain.max() < _LITTLE:
            gain[used] = np.abs(used[:, np.newaxis] - chosen).min(axis=1)
        chosen.append(int(np.argmax(gain)))
        best = np.maximum(best, share[:, chosen[-1]])
    return sorted(chosen, reverse=True)


def outline_segments(polygon: FloatArray) -> FloatArray:
    """Return the edges of a closed polygon, (m, 2, 2), without a keyhole's bridges, whose edges come twice."""
    ends = np.roll(polygon, -1, axis=0)
    edges = np.stack([polygon, ends], axis=1)
    swap = (polygon[:, 0] > ends[:, 0]) | ((polygon[:, 0] == ends[:, 0]) & (polygon[:, 1] > ends[:, 1]))
    ordered = np.where(swap[:, np.newaxis, np.newaxis], edges[:, ::-1], edges).round(4)
    _, inverse, counts = np.unique(ordered.reshape(-1, 4), axis=0, return_inverse=True, return_counts=True)
    once: FloatArray = edges[counts[inverse.ravel()] == 1]
    return once


def _drawn(roi: ReadRoi, volume: Volume) -> _Drawn:
    raster = rasterise_roi(roi.closed_lps_mm, volume)
    area = np.zeros(volume.grid.shape_zyx[0], dtype=np.int64)
    start = raster.offset_zyx[0]
    area[start : start + len(raster.mask)] = np.count_nonzero(raster.mask, axis=(1, 2))
    return _Drawn(roi, raster, area)


def _window_zyx(drawn: Sequence[_Drawn], volume: Volume) -> tuple[slice, slice, slice]:
    """The box of all ROIs and a margin, cut to the volume."""
    rasters = [item.raster for item in drawn if item.raster.mask.size]
    shape = np.asarray(volume.grid.shape_zyx)
    if not rasters:
        return slice(0, int(shape[0])), slice(0, int(shape[1])), slice(0, int(shape[2]))
    margin = np.ceil(MARGIN_MM / np.asarray(volume.grid.spacing_zyx_mm)).astype(int)
    low = np.min([raster.offset_zyx for raster in rasters], axis=0) - margin
    high = np.max([np.add(raster.offset_zyx, raster.mask.shape) for raster in rasters], axis=0) + margin
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    z, y, x = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return z, y, x


def _aspects(window: tuple[slice, slice, slice], volume: Volume) -> tuple[float, float]:
    """Width over height of an axial panel and of an upright one, so that images fill their panels."""
    depth, height, width = (
        (part.stop - part.start) * step for part, step in zip(window, volume.grid.spacing_zyx_mm, strict=True)
    )
    axial, upright = width / height, max(width, height) / depth
    return min(max(axial, 0.5), 1.6), min(max(upright, 0.45), 1.3)


def _axial(axes: Axes, index: int, drawn: Sequence[_Drawn], volume: Volume, window: tuple[slice, slice, slice]) -> None:
    _, rows, columns = window
    _, row_mm, column_mm = volume.grid.spacing_zyx_mm
    _image(axes, volume.hu[index, rows, columns], (rows, columns), row_mm / column_mm, _grey_levels(volume))
    for item in drawn:
        on_slice = [
            in_plane_index(polygon, np.full(len(polygon), index), volume)[:, ::-1]
            for polygon, at in zip(item.roi.closed_lps_mm, item.raster.slice_indices, strict=True)
            if at == index
        ]
        _outlines(axes, on_slice, item)
    position = volume.slice_positions_lps_mm[index]
    _letters(axes, volume.grid.direction_lps[2], volume.grid.direction_lps[1])
    _note(axes, f"axial {index + 1}/{volume.grid.shape_zyx[0]}\nz {position[2]:.1f} mm")


def _cut(axes: Axes, axis: int, drawn: Sequence[_Drawn], volume: Volume, window: tuple[slice, slice, slice]) -> None:
    """Draw the coronal (axis 1) or sagittal (axis 2) plane through the most ROIs, the head up."""
    spacing = volume.grid.spacing_zyx_mm
    index = _telling_plane(drawn, axis, volume.grid.shape_zyx[axis])
    across = window[3 - axis]
    image = _plane(volume.hu, axis, index)[window[0], across]
    _image(axes, image, (window[0], across), spacing[0] / spacing[3 - axis], _grey_levels(volume))
    for item in drawn:
        at = index - item.raster.offset_zyx[axis]
        if 0 <= at < item.raster.mask.shape[axis]:
            section = np.ascontiguousarray(_plane(item.raster.mask, axis, at))[np.newaxis].view(np.uint8)
            rings = trace(section, keyhole=False)
            placed = (rings.points(0.5) + np.asarray(item.raster.offset_zyx)[[0, 3 - axis]])[:, ::-1]
            _outlines(axes, np.split(placed, rings.offsets[1:-1]) if len(placed) else [], item)
    if volume.grid.direction_lps[0][2] >= 0:
        axes.invert_yaxis()
        down = tuple(-value for value in volume.grid.direction_lps[0])
    else:
        down = volume.grid.direction_lps[0]
    _letters(axes, volume.grid.direction_lps[3 - axis], (down[0], down[1], down[2]))
    _note(axes, f"coronal\nrow {index + 1}" if axis == 1 else f"sagittal\ncolumn {index + 1}")


def _plane(array: npt.NDArray[Scalar], axis: int, index: int) -> npt.NDArray[Scalar]:
    """The (z, x) or (z, y) plane of a (z, y, x) array at one row (axis 1) or column (axis 2)."""
    return array[:, index, :] if axis == 1 else array[:, :, index]


def _telling_plane(drawn: Sequence[_Drawn], axis: int, size: int) -> int:
    """The plane across `axis` that most ROIs show on, each counted by its share of its largest section."""
    score = np.zeros(size)
    for item in drawn:
        area = np.count_nonzero(item.raster.mask, axis=tuple({0, 1, 2} - {axis})).astype(float)
        if area.any():
            start = item.raster.offset_zyx[axis]
            score[start : start + len(area)] += (area / area.max()) * (2.0 if item.target else 1.0)
    return int(np.argmax(score)) if score.any() else size // 2


def _grey_levels(volume: Volume) -> tuple[float, float]:
    """Which values are black and white: soft tissue in CT, nearly all there are in MR, whose values have no unit."""
    if volume.modality == "CT":
        return WINDOW_HU
    low, high = np.percentile(volume.hu[::3, ::8, ::8], (1, 99.5))
    return float(low), float(max(high, low + 1))


def _image(
    axes: Axes, hu: npt.NDArray[np.int16], window: tuple[slice, slice], aspect: float, levels: tuple[float, float]
) -> None:
    rows, columns = window
    axes.imshow(
        hu,
        cmap="gray",
        vmin=levels[0],
        vmax=levels[1],
        extent=(columns.start - 0.5, columns.stop - 0.5, rows.stop - 0.5, rows.start - 0.5),
        aspect=aspect,
        interpolation="bilinear",
    )
    axes.set_axis_off()
    axes.autoscale(enable=False)


def _outlines(axes: Axes, polygons: Sequence[FloatArray], item: _Drawn) -> None:
    if not polygons:
        return
    if item.target:
        axes.add_collection(PolyCollection(polygons, facecolors=[(*item.colour, 0.22)], edgecolors="none"))
    segments = np.concatenate([outline_segments(polygon) for polygon in polygons])
    width = 1.7 if item.target else 1.05
    axes.add_collection(LineCollection(list(segments), colors=[item.colour], linewidths=width, capstyle="round"))


def _letters(axes: Axes, right: Vec3, down: Vec3) -> None:
    """Write which way the patient faces at the four edges."""
    places = ((0.99, 0.5, right, 1), (0.01, 0.5, right, -1), (0.5, 0.015, down, 1), (0.5, 0.985, down, -1))
    for x, y, direction, sign in places:
        axes.text(
            x, y, _patient_letter(direction, sign), transform=axes.transAxes, color=_TEXT, fontsize=10,
            path_effects=_HALO,
            ha={0.99: "right", 0.01: "left"}.get(x, "center"), va={0.015: "bottom", 0.985: "top"}.get(y, "center"),
        )  # fmt: skip


def _patient_letter(direction: Vec3, sign: int) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return ("RL", "AP", "IS")[axis][int(sign * direction[axis] > 0)]


def _note(axes: Axes, text: str) -> None:
    axes.text(0.012, 0.015, text, transform=axes.transAxes, color=_TEXT, fontsize=9.5, va="bottom", path_effects=_HALO)


def _legend(axes: Axes, drawn: Sequence[_Drawn]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    rows = max(len(drawn) + 1, _LEGEND_ROWS // 2)
    axes.set_ylim(rows, 0)
    size = 10.5 if rows <= 46 else 10.5 * 46 / rows
    axes.text(0.98, 0.45, "cc", color=_FAINT, fontsize=size, ha="right", va="center")
    axes.text(0.10, 0.45, f"{len(drawn)} ROIs", color=_FAINT, fontsize=size, va="center")
    for row, item in enumerate(drawn, start=1):
        axes.plot([0.02, 0.075], [row + 0.45] * 2, color=item.colour, linewidth=4 if item.target else 2.5)
        weight = "bold" if item.target else "normal"
        axes.text(0.10, row + 0.45, item.roi.name, color=_TEXT, fontsize=size, va="center", weight=weight)
        volume = item.roi.volume_cc
        text = "-" if volume is None else f"{volume:.1f}" if volume >= 10 else f"{volume:.2f}"
        axes.text(0.98, row + 0.45, text, color=_TEXT, fontsize=size, ha="right", va="center")


def _title(figure: Figure, structure_set: ReadStructureSet, caption: str, volume: Volume) -> None:
    figure.text(0.010, 0.972, structure_set.label, color=_TEXT, fontsize=19, weight="bold", va="center")
    figure.text(0.010, 0.938, caption, color=_FAINT, fontsize=11.5, va="center")
    state = structure_set.approval_status or "no approval status"
    demo = "DEMO" in f"{structure_set.label} {structure_set.description} {structure_set.series_description}".upper()
    warning = f"{'DEMO NETWORKS - NOT FOR CLINICAL USE   ·   ' if demo else ''}{state}"
    figure.text(0.990, 0.972, warning, color=_WARNING, fontsize=15, weight="bold", ha="right", va="center")
    unit = " HU" if volume.modality == "CT" else ""
    low, high = _grey_levels(volume)
    note = f"{volume.modality} window {low:g} to {high:g}{unit}   ·   outlines from the RTSTRUCT"
    figure.text(0.990, 0.938, note, color=_FAINT, fontsize=11.5, ha="right", va="center")
