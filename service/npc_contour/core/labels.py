"""Label maps to one boolean mask per ROI, each cropped to its own box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled
from npc_contour.core.components import BoolArray, components_of
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.domain.volumes import LabelMap

DEBRIS_VOXELS = 4
"""An ORGAN's 3-D component (26 neighbours) with fewer voxels is debris when it is also below `DEBRIS_FRACTION`."""

DEBRIS_FRACTION = 0.01
"""Share of the ROI's largest component below which a component may be debris."""

_LABEL_VALUES = 256
_WORD = 8
_BLOCK_WORDS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RoiMask:
    """The voxels of one ROI.

    Attributes:
        mask: (z, y, x) bool, read-only, cropped to the ROI; shape (0, 0, 0) when the ROI is empty.
        offset_zyx: index of the crop's first voxel on the planning grid.
        debris_voxels: how many voxels the small-component rule took out.
        crossings: (2, z, y + 1, x + 1) uint8, the label map's crossings with one row and one column before the crop:
            where the outline crosses each edge, as the network says. None for masks that no network drew.
    """

    spec: RoiSpec
    mask: BoolArray
    offset_zyx: tuple[int, int, int]
    debris_voxels: int = 0
    crossings: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        self.mask.setflags(write=False)
        if self.crossings is not None:
            slices, rows, columns = self.mask.shape
            if self.crossings.shape != (2, slices, rows + 1, columns + 1):
                raise ValueError(f"crossings {self.crossings.shape}, expected {(2, slices, rows + 1, columns + 1)}")

    @property
    def voxels(self) -> int:
        """Number of voxels inside."""
        return int(np.count_nonzero(self.mask))

    @property
    def empty(self) -> bool:
        """Whether no voxel is inside."""
        return not self.mask.any()

    def on_grid(self, shape_zyx: tuple[int, int, int]) -> BoolArray:
        """Return the mask on the whole planning grid, (z, y, x) bool."""
        full = np.zeros(shape_zyx, dtype=np.bool_)
        full[self.box] = self.mask
        return full

    @property
    def box(self) -> tuple[slice, ...]:
        """Where the crop lies on the planning grid."""
        return tuple(slice(at, at + size) for at, size in zip(self.offset_zyx, self.mask.shape, strict=True))


def roi_masks(label_maps: Mapping[str, LabelMap], specs: Sequence[RoiSpec]) -> tuple[RoiMask, ...]:
    """Unite labels into ROIs.

    Small-component rule: what a network leaves as a voxel or two far from the organ is dropped from ROIs of type
    ORGAN (see `DEBRIS_VOXELS`, `DEBRIS_FRACTION`) and counted; the largest component always stays, targets are
    never touched.

    Args:
        label_maps: by network name; all on one grid.
        specs: the ROIs wanted; an ROI is the union of its labels, so ROIs may overlap.

    Returns:
        One mask per spec, in order; empty masks where the network found nothing.

    Raises:
        KeyError: a spec names a network without a label map.
    """
    boxes = {name: label_boxes(label_map.labels) for name, label_map in label_maps.items()}
    masks = []
    for spec in specs:
        labels = label_maps[spec.network].labels
        table = np.zeros(_LABEL_VALUES, dtype=np.bool_)
        table[sorted(spec.labels)] = True
        found = boxes[spec.network][sorted(spec.labels)]
        found = found[found[:, 1] > 0]
        if not found.size:
            masks.append(RoiMask(spec, np.zeros((0, 0, 0), dtype=np.bool_), (0, 0, 0)))
            continue
        low, high = found[:, 0::2].min(axis=0), found[:, 1::2].max(axis=0)
        crop = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
        crossings = label_maps[spec.network].crossings
        around = None if crossings is None else _with_a_row_before(crossings, crop)
        offset = (int(low[0]), int(low[1]), int(low[2]))
        mask = RoiMask(spec, table[labels[crop]], offset, crossings=around)
        masks.append(without_debris(mask) if spec.interpreted_type is InterpretedType.ORGAN else mask)
    return tuple(masks)


def _with_a_row_before(crossings: npt.NDArray[np.uint8], crop: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
    """Crop crossings with one row and one column more at their beginning; zeros beyond the grid."""
    z, y, x = crop
    above, left = min(y.start, 1), min(x.start, 1)
    view = crossings[:, z, y.start - above : y.stop, x.start - left : x.stop]
    return view if above and left else np.pad(view, ((0, 0), (0, 0), (1 - above, 0), (1 - left, 0)))


def mask_of_array(spec: RoiSpec, mask: npt.NDArray[np.generic]) -> RoiMask:
    """Crop a whole-grid mask, (z, y, x), anything but 0 is inside, to its box; nothing is dropped."""
    bytewise = mask if mask.dtype.itemsize == 1 else mask != 0
    box = mask_box(np.ascontiguousarray(bytewise).view(np.uint8))
    if box[1] == 0:
        return RoiMask(spec, np.zeros((0, 0, 0), dtype=np.bool_), (0, 0, 0))
    crop = mask[box[0] : box[1], box[2] : box[3], box[4] : box[5]]
    return RoiMask(spec, np.ascontiguousarray(crop != 0), (int(box[0]), int(box[2]), int(box[4])))


def without_debris(mask: RoiMask) -> RoiMask:
    """Apply the small-component rule; the same mask when nothing is dropped, else in the box of what stays."""
    sizes = (components := components_of(mask.mask)).sizes
    debris = (sizes < DEBRIS_VOXELS) & (sizes < DEBRIS_FRACTION * sizes.max())
    if not debris.any():
        return mask
    return replace(cropped(mask, *components.box(np.flatnonzero(~debris))), debris_voxels=int(sizes[debris].sum()))


def cropped(mask: RoiMask, left: BoolArray, first_zyx: tuple[int, int, int]) -> RoiMask:
    """Return a mask of which only a part is left.

    Args:
        mask: as it was.
        left: what stays, (z, y, x), in its own box.
        first_zyx: where that box begins in the former one.
    """
    z, y, x = (slice(at, at + size) for at, size in zip(first_zyx, left.shape, strict=True))
    crossings = mask.crossings
    if crossings is not None:
        crossings = crossings[:, z, y.start : y.stop + 1, x.start : x.stop + 1]
    offset = (mask.offset_zyx[0] + z.start, mask.offset_zyx[1] + y.start, mask.offset_zyx[2] + x.start)
    return replace(mask, mask=left, offset_zyx=offset, crossings=crossings)


@compiled
def label_boxes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the bounding boxes of all labels of a (z, y, x) map in one pass.

    Returns:
        (256, 6) int64: z start, z stop, y start, y stop, x start, x stop; a stop of 0 means that the label is absent.
    """
    slices, rows, columns = labels.shape
    boxes = np.zeros((_LABEL_VALUES, 6), dtype=np.int64)
    for z in range(slices):
        for y in range(rows):
            line = labels[z, y]
            x = 0
            while x < columns:
                value = line[x]
                start = x
                x += 1
                while x < columns and line[x] == value:
                    x += 1
                if value == 0:
                    continue
                box = boxes[value]
                if box[1] == 0:
                    box[0], box[2], box[4] = z, y, start
                box[1] = z + 1
                box[2], box[3] = min(box[2], y), max(box[3], y + 1)
                box[4], box[5] = min(box[4], start), max(box[5], x)
    return boxes


def mask_box(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the bounding box of the voxels of a (z, y, x) array, C order, that are not 0.

    Returns:
        (6,) int64: z start, z stop, y start, y stop, x start, x stop; all 0 for an empty mask.
    """
    flat = mask.reshape(-1)
    words = flat[: flat.size // _WORD * _WORD].view(np.uint64)
    return _mask_box(flat, words, mask.shape)


@compiled
def _mask_box(
    flat: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64], shape: tuple[int, int, int]
) -> npt.NDArray[np.int64]:
    box = np.array([shape[0], 0, shape[1], 0, shape[2], 0])
    for start in range(0, words.shape[0], _BLOCK_WORDS):
        block = words[start : start + _BLOCK_WORDS]
        union = np.uint64(0)
        for word in range(block.shape[0]):  # no early exit: this form becomes vector instructions
            union |= block[word]
        if union == 0:
            continue
        for word in range(block.shape[0]):
            if block[word] != 0:
                _widen(box, flat, (start + word) * _WORD, (start + word + 1) * _WORD, shape)
    _widen(box, flat, words.shape[0] * _WORD, flat.shape[0], shape)
    return box if box[1] else np.zeros(6, dtype=np.int64)


@compiled
def _widen(
    box: npt.NDArray[np.int64], flat: npt.NDArray[np.uint8], start: int, stop: int, shape: tuple[int, int, int]
) -> None:
    """Widen a box to hold what is not 0 among the bytes from `start` to `stop`."""
    _, rows, columns = shape
    z, rest = start // (rows * columns), start % (rows * columns)
    y, x = rest // columns, rest % columns
    if z < box[1] and box[2] <= y < box[3] and box[4] <= x and x + stop - start <= box[5]:
        return
    for at in range(start, stop):
        if flat[at] != 0:
            z, rest = at // (rows * columns), at % (rows * columns)
            y, x = rest // columns, rest % columns
            box[0], box[1] = min(box[0], z), z + 1
            box[2], box[3] = min(box[2], y), max(box[3], y + 1)
            box[4], box[5] = min(box[4], x), max(box[5], x + 1)
