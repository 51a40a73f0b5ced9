"""The last check before an RTSTRUCT may be queued: read it back and compare it with the masks it came from.

Nothing here trusts the writer: the bytes are parsed again by pydicom, the object is checked against its IOD, every
reference is looked up in the planning series, and the contours are scan-converted by `core.rasterise`, which shares no
code with the tracing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from npc_contour.adapters.dicom.read.planning_header import PlanningHeader
from npc_contour.adapters.dicom.rtstruct.iod_check import iod_faults
from npc_contour.adapters.dicom.rtstruct.reader import parse_dicom, structure_set_of
from npc_contour.adapters.dicom.rtstruct.rt_utils_bridge import read_back
from npc_contour.core.labels import RoiMask
from npc_contour.core.rasterise import RasterisedRoi, rasterise_roi
from npc_contour.domain.structures import ReadRoi, ReadStructureSet
from npc_contour.domain.volumes import Volume
from npc_contour.errors import GateError

MIN_DICE = 0.999
FREE_VOXELS = 2
"""ROIs so small that one voxel costs more Dice than allowed may differ by this many."""

MAX_OFF_PLANE_MM = 0.01
_NEIGHBOURS = np.ones((1, 3, 3), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class RoiCheck:
    """How one ROI came back: `dice` of the mask it came from with the mask read back."""

    name: str
    dice: float
    differing_voxels: int
    voxels: int
    contours: int
    off_plane_mm: float


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate measured; kept with the case."""

    rois: tuple[RoiCheck, ...]

    @property
    def min_dice(self) -> float:
        """The worst ROI's Dice; 1 without ROIs."""
        return min((roi.dice for roi in self.rois), default=1.0)


def check_rtstruct(
    rtstruct: bytes,
    masks: Sequence[RoiMask],
    volume: Volume,
    header: PlanningHeader,
    *,
    min_dice: float = MIN_DICE,
    second_reader: bool = False,
) -> GateReport:
    """Read an encoded RTSTRUCT back and compare it with what it must say.

    Args:
        rtstruct: the DICOM file's bytes, as they will be sent.
        masks: the masks that the contours were made from.
        volume: the planning volume.
        header: identity of the planning series.
        min_dice: lowest Dice allowed for an ROI, unless it differs by no more than `FREE_VOXELS`.
        second_reader: whether rt-utils reads it too, where the images are square; as it rounds points to pixels, voxels
            at an ROI's edge may differ there, others not.

    Raises:
        GateError: with every reason.
        SettingsError: rt-utils is wanted and not installed.
    """
    dataset = parse_dicom(rtstruct)
    content = structure_set_of(dataset)
    reasons = [
        *iod_faults(dataset),
        *_reference_faults(content, volume, header),
        *_roi_table_faults(content, masks),
    ]
    rois = {roi.name: roi for roi in content.rois}
    checks = []
    for mask in masks:
        if mask.empty or mask.spec.name not in rois:
            continue
        roi = rois[mask.spec.name]
        back = rasterise_roi(roi.closed_lps_mm, volume)
        check = _compare(mask, back, roi)
        checks.append(check)
        reasons += _contour_faults(roi, back, volume)
        if check.dice < min_dice and check.differing_voxels > FREE_VOXELS:
            reasons.append(
                f"{roi.name} reads back with Dice {check.dice:.4f}, {min_dice} is asked: "
                f"{check.differing_voxels} of {check.voxels} voxels differ"
            )
    if second_reader and not reasons:
        reasons += second_reader_faults(content, masks, volume)
    if reasons:
        raise GateError(f"the RTSTRUCT failed its check: {'; '.join(reasons)}")
    return GateReport(tuple(checks))


def _reference_faults(content: ReadStructureSet, volume: Volume, header: PlanningHeader) -> list[str]:
    faults = []
    if content.approval_status != "UNAPPROVED":
        faults.append(f"approval status is {content.approval_status!r}, expected 'UNAPPROVED'")
    expected = [
        ("study", (content.study_instance_uid,), header.study_instance_uid),
        ("series", content.series_instance_uids, header.series_instance_uid),
        ("frame of reference", content.frame_of_reference_uids, header.frame_of_reference_uid),
    ]
    faults += [f"{what} is {found}, expected {uid}" for what, found, uid in expected if found != (uid,)]
    if header.frame_of_reference_uid != volume.grid.frame_of_reference_uid:
        faults.append(
            f"planning images are in frame of reference {header.frame_of_reference_uid}, "
            f"the volume in {volume.grid.frame_of_reference_uid}"
        )
    if content.image_sop_instance_uids != volume.sop_instance_uids:
        faults.append(
            f"{len(content.image_sop_instance_uids)} images are referenced, "
            f"not the {len(volume.sop_instance_uids)} of the planning series"
        )
    return faults


def _roi_table_faults(content: ReadStructureSet, masks: Sequence[RoiMask]) -> list[str]:
    """Return what is wrong with names and numbers, and which ROIs are missing or too many."""
    found = [roi.name for roi in content.rois]
    drawn = {roi.name for roi in content.rois if roi.contours}
    expected = [mask.spec.name for mask in masks if not mask.empty]
    empty = [mask.spec.name for mask in masks if mask.empty]
    faults = []
    if len(set(found)) != len(found):
        faults.append("two ROIs have one name")
    if len({roi.number for roi in content.rois}) != len(found):
        faults.append("two ROIs have one number")
    faults += [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is not among the masks" for name in found if name not in {*expected, *empty}]
    faults += [f"{name} has contours but no voxels" for name in empty if name in drawn]
    frames = {roi.frame_of_reference_uid for roi in content.rois} - set(content.frame_of_reference_uids)
    faults += [f"ROIs are in frame of reference {uid!r}, which is not referenced" for uid in sorted(frames)]
    return faults


def _contour_faults(roi: ReadRoi, back: RasterisedRoi, volume: Volume) -> list[str]:
    faults = []
    if len(roi.closed_lps_mm) != len(roi.contours):
        faults.append(f"{roi.name} has contours that are not closed polygons of 3 points or more")
        return faults
    if (back.slice_indices < 0).any():
        faults.append(f"{roi.name} has contours on no image of the series")
        return faults
    if back.off_plane_mm > MAX_OFF_PLANE_MM:
        faults.append(f"{roi.name} has a point {back.off_plane_mm:.3f} mm off its image plane")
    wrong = sum(
        contour.sop_instance_uids != (volume.sop_instance_uids[index],)
        for contour, index in zip(roi.contours, back.slice_indices, strict=True)
    )
    if wrong:
        faults.append(f"{roi.name} has {wrong} contours that reference another image than the one they lie on")
    return faults


def second_reader_faults(content: ReadStructureSet, masks: Sequence[RoiMask], volume: Volume) -> list[str]:
    """Return which ROIs rt-utils reads otherwise at voxels that are not next to the ROI's edge.

    Raises:
        SettingsError: rt-utils is not installed.
    """
    read = read_back(content.rois, volume)
    if read is None:
        return []
    faults = []
    for mask in masks:
        whole = mask.on_grid(volume.grid.shape_zyx)
        back = read.get(mask.spec.name)
        if back is None:
            continue
        box = tuple(
            slice(max(low - 1, 0), low + size + 1) for low, size in zip(mask.offset_zyx, mask.mask.shape, strict=True)
        )
        beyond = int(np.count_nonzero(back)) - int(np.count_nonzero(back[box]))
        ours, theirs = whole[box], back[box]
        edge = binary_dilation(ours, _NEIGHBOURS) & ~binary_erosion(ours, _NEIGHBOURS, border_value=1)
        beyond += int(np.count_nonzero((ours != theirs) & ~edge))
        if beyond:
            faults.append(f"{mask.spec.name}: rt-utils reads {beyond} voxels otherwise that are not at its edge")
    return faults


def _compare(mask: RoiMask, back: RasterisedRoi, roi: ReadRoi) -> RoiCheck:
    common = _overlap(mask, back)
    ours, read = mask.voxels, int(np.count_nonzero(back.mask))
    return RoiCheck(
        name=roi.name,
        dice=2 * common / max(ours + read, 1),
        differing_voxels=ours + read - 2 * common,
        voxels=ours,
        contours=len(roi.contours),
        off_plane_mm=back.off_plane_mm,
    )


def _overlap(mask: RoiMask, back: RasterisedRoi) -> int:
    """Count the voxels that two crops of one grid have in common."""
    starts = np.maximum(mask.offset_zyx, back.offset_zyx)
    stops = np.minimum(np.add(mask.offset_zyx, mask.mask.shape), np.add(back.offset_zyx, back.mask.shape))
    if (stops <= starts).any():
        return 0
    ours, read = (
        crop.mask[
            tuple(
                slice(int(start - offset), int(stop - offset))
                for start, stop, offset in zip(starts, stops, crop.offset_zyx, strict=True)
            )
        ]
        for crop in (mask, back)
    )
    return int(np.count_nonzero(ours & read))
