"""What the values of a CT say of themselves: where air and soft tissue lie, noise, metal and its streaks, padding.

Air and soft tissue are the two peaks that every CT of a patient has. Where they do not lie at about -1000 and 40 HU the
numbers are no Hounsfield units; everything else is then measured in the units that they would make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.blocks import fold
from npc_contour.core.orientation import turn_of
from npc_contour.domain.geometry import Grid, Vec3
from npc_contour.domain.volumes import Volume

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]

AIR_HU, SOFT_HU = -1000.0, 40.0
BODY_HU, FAT_HU, BONE_HU, METAL_HU = -300.0, -180.0, 300.0, 2900.0
_BLOCK_MM, _SLICE_MM = 3.0, 3.0
_BIN_HU = 10.0
_PEAK_SHARE = 0.3
"""The peak of soft tissue is the uppermost that is at least so high beside the highest: fat has one, too."""
_LEAST_AIR = 0.005
_LEAST_GAP = 250.0
"""Peaks nearer than this are not those of air and a patient, in whatever unit."""
_NOISE_BLOCK_MM, _NOISE_EVERY_MM = 6.0, 15.0
_SOFT_ROOM_HU = 60.0
_EVEN_PERCENT = 25
"""Blocks without an edge in them are the quietest; noise is what those have."""
_EDGE_PIXEL_MM, _EDGE_EVERY_MM, _AIR_BELOW_HU = 1.5, 30.0, -900.0
_METAL_SLICE_CM2 = 0.2
_INSIDE_MM = 9.0
_CORNER_SHARE, _PADDED = 0.02, 0.95


@dataclass(frozen=True, eq=False)
class Coarse:
    """A CT in blocks of about 3 mm, head up, face forward, its left at the end of the last axis.

    Attributes:
        fine: (z, y, x) int16, every voxel of the slices that were taken.
        spacing_zyx_mm: of `fine`.
        block_mm: distance between blocks, (z, y, x).
        z_mm: patient z of each slice.
        steps: voxels of a block along y and x.
    """

    fine: Int16Array
    spacing_zyx_mm: Vec3
    z_mm: npt.NDArray[np.float64]
    steps: tuple[int, int]

    @classmethod
    def of(cls, volume: Volume) -> Coarse:
        """Take the slices and say how voxels make blocks."""
        turn = turn_of(volume.grid)
        spacing = turn.spacing_zyx_mm(volume.grid.spacing_zyx_mm)
        every = max(1, round(_SLICE_MM / spacing[0]))
        fine = turn.apply(volume.hu)[::every]
        z_mm = _z_mm(volume.grid, turn.axes[0], is_flipped=0 in turn.flipped)[::every]
        rows, columns = (
            max(1, min(round(_BLOCK_MM / mm), size)) for mm, size in zip(spacing[1:], fine.shape[1:], strict=True)
        )
        return cls(fine, (spacing[0] * every, spacing[1], spacing[2]), z_mm, (rows, columns))

    @property
    def block_mm(self) -> Vec3:
        """Size of a block, (z, y, x)."""
        z, y, x = self.spacing_zyx_mm
        return z, y * self.steps[0], x * self.steps[1]

    @property
    def block_cm2(self) -> float:
        """Area of a block within its slice."""
        return self.block_mm[1] * self.block_mm[2] / 100.0

    @property
    def mean(self) -> Float32Array:
        """Mean of each block."""
        return self._blocks[0]

    @property
    def highest(self) -> Int16Array:
        """Highest value of each block: thin bone has no holes in it."""
        return self._blocks[1]

    @property
    def lowest(self) -> Int16Array:
        """Lowest value of each block."""
        return self._blocks[2]

    @cached_property
    def _blocks(self) -> tuple[Float32Array, Int16Array, Int16Array]:
        return fold(np.ascontiguousarray(self.fine), *self.steps)


@dataclass(frozen=True, slots=True)
class Padding:
    """One value that fills the corners of every slice, and is not what air is.

    Attributes:
        share: of the voxels.
    """

    value: float
    share: float


@dataclass(frozen=True, slots=True)
class Metal:
    """Metal, and the streaks around it.

    Attributes:
        volume_cc: of what is as dense as metal.
        slices_mm: along how much of the scan.
        streak_cm2: dark streaks within the body in a slice with metal, on average.
        z_mm: patient z of the slice with most of it.
    """

    volume_cc: float
    slices_mm: float
    streak_cm2: float
    z_mm: float


@dataclass(frozen=True, slots=True)
class ImageValues:
    """What is measured of the values of one CT.

    Attributes:
        air: the value at which air lies.
        soft: the value at which soft tissue lies.
        noise_hu: standard deviation within what is even.
        edge_hu: how far the darkest quarter of the air beside the skin lies above that of all air, in HU; a sharp
            kernel overshoots to below it. None where pixels are too coarse to say.
        metal: None where there is none.
        padding: None where there is none.
    """

    air: float
    soft: float
    noise_hu: float
    edge_hu: float | None
    metal: Metal | None
    padding: Padding | None

    @property
    def scale(self) -> float:
        """How large one Hounsfield unit is in the values."""
        return (self.soft - self.air) / (SOFT_HU - AIR_HU)

    @property
    def offset(self) -> float:
        """What the values are above Hounsfield units, once the scale is right."""
        return (self.air + self.soft) / 2.0 / self.scale - (AIR_HU + SOFT_HU) / 2.0

    def value_of(self, hu: float) -> float:
        """Return where so many Hounsfield units lie among the values."""
        return self.air + (hu - AIR_HU) * self.scale


def values_of(coarse: Coarse) -> ImageValues | None:
    """Measure; None where there are no two peaks far apart, as of an image that shows no patient."""
    pad = _padding(coarse)
    is_one_value = coarse.highest == coarse.lowest
    is_pad = is_one_value & (coarse.lowest == pad) if pad is not None else np.zeros_like(is_one_value)
    peaks = _peaks(coarse.mean[~is_pad & ~is_one_value], coarse.mean[~is_pad])
    if peaks is None:
        return None
    air, soft = peaks
    if soft - air < _LEAST_GAP:
        return None
    found = ImageValues(air, soft, _noise(coarse, soft, (soft - air) / (SOFT_HU - AIR_HU)), None, None, None)
    far = pad is not None and abs(pad - air) > 100.0 * found.scale
    padding = Padding(float(pad), float(is_pad.mean())) if pad is not None and far else None
    return ImageValues(air, soft, found.noise_hu, _edge(coarse, found), _metal(coarse, found), padding)


def inside_of(section: BoolArray, blocks: int) -> BoolArray:
    """Return what lies further than so many blocks within the outline of a (y, x) section."""
    filled = ndimage.binary_fill_holes(section)
    eroded: BoolArray = ndimage.minimum_filter(filled.view(np.uint8), size=2 * blocks + 1).astype(np.bool_)
    return eroded


def _z_mm(grid: Grid, axis: int, *, is_flipped: bool) -> npt.NDArray[np.float64]:
    index = np.zeros((grid.shape_zyx[axis], 3))
    index[:, axis] = np.arange(grid.shape_zyx[axis])
    z_mm: npt.NDArray[np.float64] = grid.to_patient_mm(index)[:, 2]
    return z_mm[::-1] if is_flipped else z_mm


def _padding(coarse: Coarse) -> int | None:
    """The value that nearly all voxels of the four corners have; None where they differ."""
    _, rows, columns = coarse.fine.shape
    y, x = max(1, int(rows * _CORNER_SHARE)), max(1, int(columns * _CORNER_SHARE))
    ends: Sequence[tuple[slice, slice]] = [
        (down, across) for down in (slice(None, y), slice(-y, None)) for across in (slice(None, x), slice(-x, None))
    ]
    corners = np.concatenate([coarse.fine[:, down, across].ravel() for down, across in ends])
    value = int(np.median(corners))
    return value if np.mean(corners == value) >= _PADDED else None


def _peaks(varied: Float32Array, every: Float32Array) -> tuple[float, float] | None:
    """Where air and soft tissue lie; air that is one value everywhere counts where there is no other."""
    found = _two_peaks(varied)
    low = np.mean(varied < sum(found) / 2.0) if found is not None else 0.0
    return found if low > _LEAST_AIR else _two_peaks(every)


def _two_peaks(values: Float32Array) -> tuple[float, float] | None:
    """The modes of the two classes that Otsu's threshold (1979) parts; of the upper class its uppermost large peak."""
    counts, edges = np.histogram(values, np.arange(-4096.0, 8192.0 + _BIN_HU, _BIN_HU))
    middles = (edges[:-1] + edges[1:]) / 2.0
    below, weighted = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    both = (below > 0) & (above > 0)
    if not both.any():
        return None
    between = np.zeros(counts.size)
    mean_gap = weighted[both] / below[both] - (weighted[-1] - weighted[both]) / above[both]
    between[both] = below[both] * above[both] * mean_gap**2
    threshold = int(between.argmax())
    smooth = ndimage.uniform_filter1d(counts.astype(np.float64), 3)
    upper = np.where(np.arange(counts.size) > threshold, smooth, 0.0)
    is_peak = (upper >= np.roll(upper, 1)) & (upper >= np.roll(upper, -1)) & (upper > _PEAK_SHARE * upper.max())
    return float(middles[int(smooth[: threshold + 1].argmax())]), float(middles[np.flatnonzero(is_peak)[-1]])


def _noise(coarse: Coarse, soft: float, scale: float) -> float:
    """Standard deviation of voxels in HU, within small even blocks of soft tissue."""
    z_mm, y_mm, x_mm = coarse.spacing_zyx_mm
    some = coarse.fine[:: max(1, round(_NOISE_EVERY_MM / z_mm))].astype(np.float32)
    slices, rows, columns = some.shape
    y, x = (max(3, min(round(_NOISE_BLOCK_MM / mm), size)) for mm, size in ((y_mm, rows), (x_mm, columns)))
    blocks = some[:, : rows // y * y, : columns // x * x].reshape(slices, rows // y, y, columns // x, x)
    is_soft = np.abs(blocks.mean(axis=(2, 4)) - soft) < _SOFT_ROOM_HU * scale
    deviations = blocks.std(axis=(2, 4))[is_soft]
    return float(np.percentile(deviations, _EVEN_PERCENT)) / scale if deviations.size else 0.0


def _edge(coarse: Coarse, values: ImageValues) -> float | None:
    """The second pixel outside the skin against all air, lower quartiles both: brighter where edges are smooth."""
    z_mm, y_mm, x_mm = coarse.spacing_zyx_mm
    if max(y_mm, x_mm) > _EDGE_PIXEL_MM:
        return None
    beside, air = [], []
    for section in coarse.fine[:: max(1, round(_EDGE_EVERY_MM / z_mm))]:
        # Thin things beside the skin (masks, sheets) are no body; the air between is what it is.
        body = ndimage.binary_opening(section > values.value_of(BODY_HU), iterations=2).view(np.uint8)
        is_ring = (ndimage.maximum_filter(body, size=5) - ndimage.maximum_filter(body, size=3)) > 0
        beside.append(section[is_ring])
        air.append(section[section < values.value_of(_AIR_BELOW_HU)])
    voxels = np.concatenate(beside)
    if not voxels.size:
        return None
    return float(np.percentile(voxels, 25) - np.percentile(np.concatenate(air), 25)) / values.scale


def _metal(coarse: Coarse, values: ImageValues) -> Metal | None:
    threshold = values.value_of(METAL_HU)
    has_any = np.flatnonzero((coarse.highest > threshold).any(axis=(1, 2)))
    voxel_cm2 = coarse.spacing_zyx_mm[1] * coarse.spacing_zyx_mm[2] / 100.0
    areas = {int(at): float(np.count_nonzero(coarse.fine[at] > threshold)) * voxel_cm2 for at in has_any}
    within = [at for at, area in areas.items() if area > _METAL_SLICE_CM2]
    if not within:
        return None
    slice_mm = coarse.spacing_zyx_mm[0]
    streaks = [_dark_cm2(coarse, values, at) for at in within]
    worst = max(within, key=lambda at: areas[at])
    volume_cc = sum(areas.values()) * slice_mm / 10.0
    return Metal(volume_cc, len(within) * slice_mm, float(np.mean(streaks)), float(coarse.z_mm[worst]))


def _dark_cm2(coarse: Coarse, values: ImageValues, at: int) -> float:
    """Area well within the body that is darker than fat and no air, in one slice."""
    section = coarse.mean[at]
    inside = inside_of(section > values.value_of(BODY_HU), max(1, round(_INSIDE_MM / coarse.block_mm[1])))
    dark = (section < values.value_of(FAT_HU)) & (section > values.value_of(-700.0))
    return float(np.count_nonzero(dark & inside)) * coarse.block_cm2
