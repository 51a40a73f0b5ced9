"""From HU volumes to a label map: crop, resample, normalise, windows, blend, exact argmax on the planning grid."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from npc_contour.core.argmax import axis_lookup
from npc_contour.core.class_doubts import COLUMNS
from npc_contour.core.intensity import Box, body_box, nonzero_box, nonzero_mask
from npc_contour.core.resampling import resampled_shape
from npc_contour.core.tiling import axis_tiles, blend_rows
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.serving.components import keep_largest
from npc_networks.serving.engines import Engine, physical_cores
from npc_networks.serving.mirroring import MirroringEngine
from npc_networks.serving.preparation import VolumeRefused, nearest_lookup, prepare_channel, thick_axis
from npc_networks.serving.slab import Layout, Slab

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

MAX_CLASSES = 255


def _no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class StageTimes:
    """Seconds spent in each stage of the last call."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, since: float) -> float:
        """Add the time since `since` to a stage; return now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now

    def line(self) -> str:
        """Return the stages as one line for a log."""
        return " ".join(f"{stage}={seconds:.3f}s" for stage, seconds in self.seconds.items())


class VolumeSegmenter:
    """Segments volumes with one network; one call at a time."""

    def __init__(self, contract: NetworkContract, engine: Engine) -> None:
        if len(contract.labels) > MAX_CLASSES:
            raise ValueError(f"{len(contract.labels)} labels, at most {MAX_CLASSES} are supported")
        self._contract = contract
        self._engine = MirroringEngine(engine, contract.mirror_axes) if contract.mirror_axes else engine
        self._workers = physical_cores()
        # The whole volume is turned, not its windows: these do not lie alike from both ends.
        self._turned = tuple(slice(None, None, -1 if axis in contract.flipped_zyx else 1) for axis in range(3))
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="segment")
        self.times = StageTimes()

    def warm_up(self) -> None:
        """Compile every kernel, so that the first case does not wait for it; the network itself is not run."""
        contract = self._contract
        volume = np.full((len(contract.channels), *contract.patch_zyx), 100, dtype=np.int16)
        # Half the patch's spacing: every axis is resampled.
        z, y, x = contract.spacing_zyx_mm
        crossings = np.zeros((2, *volume.shape[1:]), dtype=np.uint8)
        doubts = np.zeros((len(contract.labels), COLUMNS))
        VolumeSegmenter(contract, _NoEngine(contract)).segment(
            volume, (z / 2, y / 2, x / 2), crossings=crossings, doubts=doubts
        )

    def segment(
        self,
        volume_hu: Int16Array,
        spacing_zyx_mm: Vec3,
        progress: Progress = _no_progress,
        *,
        crossings: UInt8Array | None = None,
        doubts: Float64Array | None = None,
    ) -> UInt8Array:
        """Return the label of every voxel.

        Args:
            volume_hu: (channel, z, y, x) int16 HU, all channels on the planning grid.
            spacing_zyx_mm: of the planning grid.
            progress: called with (windows done, windows in all), first with zero.
            crossings: (2, z, y, x) uint8 zeros; gets where labels change between a voxel and the next row, and the next
                column, as `core.crossings` encodes it. Stays zero for a network whose first axis is not z, that
                takes an axis the other way round, or whose outputs are regions, not labels. None when none are wanted.
            doubts: (labels, `class_doubts.COLUMNS`) float64 zeros; gets what the class maps say of each label. Stays
                zero for a network whose outputs are regions. None when nobody wants it.

        Returns:
            (z, y, x) uint8, an index of the contract's labels; 0 outside the body box.

        Raises:
            VolumeRefused: shape or spacing is not what the network takes, or there is no body in the volume.
        """
        labels = np.zeros(volume_hu.shape[1:], dtype=np.uint8)
        image, layout, box = self._prepared(volume_hu, spacing_zyx_mm)
        # From here on in the network's order of axes; the labels are written through the same view.
        inside = labels[self._turned].transpose(self._contract.transpose)[box]
        doubts = None if self._contract.regions is not None else doubts
        self._run(image, layout, inside, progress, self._views(crossings, box), doubts)
        self._finish(labels, spacing_zyx_mm)
        return labels

    def class_maps(self, volume_hu: Int16Array, spacing_zyx_mm: Vec3) -> Float32Array:
        """Return the blended answer of the network, all of it at once: to compare with another framework's.

        Args:
            volume_hu: as `segment` takes it.
            spacing_zyx_mm: likewise.

        Returns:
            (output, ...) float32 on the network's grid and in its order of axes, without padding.

        Raises:
            VolumeRefused: as `segment` does.
        """
        image, layout, _ = self._prepared(volume_hu, spacing_zyx_mm)
        tiles_z, tiles_y, tiles_x = layout.tiles
        whole = np.zeros((*image.shape[1:], self._contract.outputs), dtype=np.float32)
        answers = self._engine.predict(self._windows(image, layout))
        for row, column, line in itertools.product(*(range(len(tiles.starts)) for tiles in layout.tiles)):
            corner = tiles_z.starts[row], tiles_y.starts[column], tiles_x.starts[line]
            weights = tiles_z.weights[row], tiles_y.weights[column], tiles_x.weights[line]
            blend_rows(whole, next(answers), corner, weights, 0, tiles_z.patch)
        inner = tuple(
            slice(start, start + lookup.coarse) for start, lookup in zip(layout.offset_zyx, layout.lookups, strict=True)
        )
        return np.ascontiguousarray(np.moveaxis(whole[inner], -1, 0))

    def _prepared(self, volume_hu: Int16Array, spacing_zyx_mm: Vec3) -> tuple[Float32Array, Layout, Box]:
        """Return the network's input, how windows lie in it, and the box that it covers, in the network's axes."""
        self.times = StageTimes()
        started = time.perf_counter()
        self._check(volume_hu, spacing_zyx_mm)
        first, second, third = self._contract.transpose
        volume_hu = volume_hu[(slice(None), *self._turned)].transpose(0, first + 1, second + 1, third + 1)
        spacing_zyx_mm = spacing_zyx_mm[first], spacing_zyx_mm[second], spacing_zyx_mm[third]
        box = self._box(volume_hu, spacing_zyx_mm)
        started = self.times.add("crop", started)
        image, layout = self._prepare(volume_hu[(slice(None), *box)], spacing_zyx_mm)
        self.times.add("resample", started)
        return image, layout, box

    def _finish(self, labels: UInt8Array, spacing_zyx_mm: Vec3) -> None:
        """Write labels for regions and drop what the contract's rules drop, in place."""
        started = time.perf_counter()
        contract = self._contract
        if contract.regions is not None:
            labels[...] = np.array((0, *contract.regions.labels), dtype=np.uint8)[labels]
        keep_largest(labels, contract.keep_largest, spacing_zyx_mm)
        self.times.add("postprocess", started)

    def _views(self, crossings: UInt8Array | None, box: Box) -> tuple[UInt8Array, UInt8Array] | None:
        """Return the crossings along the network's second and third axis, in its order of axes, within the box."""
        order = self._contract.transpose
        if crossings is None or order[0] != 0 or self._contract.regions is not None or self._contract.flipped_zyx:
            return None
        second, third = (crossings[axis - 1].transpose(order)[box] for axis in order[1:])
        return second, third

    def _check(self, volume_hu: Int16Array, spacing_zyx_mm: Vec3) -> None:
        channels = self._contract.channels
        if volume_hu.ndim != 4 or volume_hu.shape[0] != len(channels):
            raise VolumeRefused(
                f"{self._contract.name} takes {len(channels)} channels ({', '.join(channels)}) "
                f"as (channel, z, y, x), found shape {tuple(volume_hu.shape)}"
            )
        if volume_hu.dtype != np.int16:
            raise VolumeRefused(f"{self._contract.name} takes int16 HU, found {volume_hu.dtype}")
        if min(volume_hu.shape) < 1:
            raise VolumeRefused(f"{self._contract.name}: the volume is empty, shape {tuple(volume_hu.shape)}")
        if not all(np.isfinite(value) and value > 0 for value in spacing_zyx_mm):
            raise VolumeRefused(f"{self._contract.name}: spacing must be positive, found {tuple(spacing_zyx_mm)} mm")

    def _box(self, volume_hu: Int16Array, spacing_zyx_mm: Vec3) -> Box:
        above_hu = self._contract.crop_above_hu
        if self._contract.crop_nonzero:
            nonzero = nonzero_box(volume_hu)
            if nonzero is None:
                raise VolumeRefused(f"{self._contract.name}: every voxel is zero: there is no image in the volume")
            return nonzero
        if above_hu is None:
            return slice(0, volume_hu.shape[1]), slice(0, volume_hu.shape[2]), slice(0, volume_hu.shape[3])
        box = body_box(
            volume_hu, above_hu=above_hu, margin_mm=self._contract.crop_margin_mm, spacing_zyx_mm=spacing_zyx_mm
        )
        if box is None:
            raise VolumeRefused(
                f"{self._contract.name}: no voxel above {above_hu:g} HU in any channel "
                f"(largest {int(volume_hu.max())} HU): there is no body in the volume"
            )
        return box

    def _prepare(self, inside_hu: Int16Array, spacing_zyx_mm: Vec3) -> tuple[Float32Array, Layout]:
        contract = self._contract
        fine = inside_hu.shape[1:]
        shape = resampled_shape((fine[0], fine[1], fine[2]), spacing_zyx_mm, contract.spacing_zyx_mm)
        padded = tuple(max(size, patch) for size, patch in zip(shape, contract.patch_zyx, strict=True))
        offset = tuple((size - inner) // 2 for size, inner in zip(padded, shape, strict=True))
        image = np.zeros((inside_hu.shape[0], *padded), dtype=np.float32)
        within = tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))

        thick = thick_axis(spacing_zyx_mm, contract.spacing_zyx_mm) if contract.separate_z else None
        mask = nonzero_mask(inside_hu) if any(how.masked for how in contract.normalisation) else None

        def fill(channel: int) -> None:
            image[channel][within] = prepare_channel(
                inside_hu[channel],
                shape,
                contract.normalisation[channel],
                normalise_first=contract.normalise_first,
                thick=thick,
                mask=mask,
            )

        list(self._pool.map(fill, range(len(image))))
        tiles = tuple(
            axis_tiles(size, patch, contract.step) for size, patch in zip(padded, contract.patch_zyx, strict=True)
        )
        lookups = tuple(
            (nearest_lookup if axis == thick else axis_lookup)(coarse, size)
            for axis, (coarse, size) in enumerate(zip(shape, fine, strict=True))
        )
        return image, Layout(
            (tiles[0], tiles[1], tiles[2]), (offset[0], offset[1], offset[2]), (lookups[0], lookups[1], lookups[2])
        )

    def _run(
        self,
        image: Float32Array,
        layout: Layout,
        labels: UInt8Array,
        progress: Progress,
        crossings: tuple[UInt8Array, UInt8Array] | None,
        doubts: Float64Array | None,
    ) -> None:
        """Run all windows, z ascending, and label each stretch of slices as soon as nothing more is added to it."""
        tiles_z, tiles_y, tiles_x = layout.tiles
        regions = self._contract.regions
        threshold = None if regions is None else regions.threshold
        slab = Slab(layout, self._contract.outputs, self._pool, self._workers, threshold)
        answers = self._engine.predict(self._windows(image, layout))
        total = layout.windows
        progress(0, total)
        done = finished = 0
        for row, z0 in enumerate(tiles_z.starts):
            started = time.perf_counter()
            slab.enter(z0 + tiles_z.patch)
            started = self.times.add("blend", started)
            for column, line in itertools.product(range(len(tiles_y.starts)), range(len(tiles_x.starts))):
                logits = next(answers)
                started = self.times.add("network", started)
                slab.add(logits, (row, column, line))
                started = self.times.add("blend", started)
                done += 1
                progress(done, total)
            last = row + 1 == len(tiles_z.starts)
            until = tiles_z.size if last else tiles_z.starts[row + 1]
            slab.finish(until, labels, crossings)
            started = self.times.add("argmax", started)
            if doubts is not None:
                doubts += slab.doubt(finished, self._contract.spacing_zyx_mm)
                self.times.add("doubts", started)
            finished = until

    def _windows(self, image: Float32Array, layout: Layout) -> Iterator[Float32Array]:
        pz, py, px = (tiles.patch for tiles in layout.tiles)
        for z, y, x in itertools.product(*(tiles.starts for tiles in layout.tiles)):
            yield image[:, z : z + pz, y : y + py, x : x + px]


class _NoEngine:
    """Answers every window with zeros."""

    def __init__(self, contract: NetworkContract) -> None:
        self._shape = (*contract.patch_zyx, contract.outputs)

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        for _ in windows:
            yield np.zeros(self._shape, dtype=np.float32)
