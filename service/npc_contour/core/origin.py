"""Was a structure set drawn on these images? Frame of reference, study and series must say so."""

from __future__ import annotations

from npc_contour.domain.structures import ReadRoi, ReadStructureSet


def foreign_reasons(content: ReadStructureSet, frame_uid: str, study_uid: str, series_uid: str) -> list[str]:
    """Return what says that a structure set was drawn on other images; empty when nothing does.

    Args:
        content: as read.
        frame_uid: frame of reference of the images.
        study_uid: their study.
        series_uid: their series.
    """
    reasons = []
    rois = [roi for roi in content.rois if roi.contours]
    if rois and all(is_elsewhere(roi, content, frame_uid) for roi in rois):
        found = sorted({roi.frame_of_reference_uid for roi in rois} | set(content.frame_of_reference_uids))
        reasons.append(f"frame of reference {_listed(found)}, the images have {frame_uid}")
    studies = {content.study_instance_uid, *content.referenced_study_uids} - {""}
    if studies and study_uid not in studies:
        reasons.append(f"study {_listed(sorted(studies))}, the images are of {study_uid}")
    series = set(content.series_instance_uids) - {""}
    if series and series_uid not in series:
        reasons.append(f"series {_listed(sorted(series))}, the images are of {series_uid}")
    return reasons


def is_elsewhere(roi: ReadRoi, content: ReadStructureSet, frame_uid: str) -> bool:
    """Whether an ROI's contours are in another frame of reference than the images, or in none."""
    frames = {roi.frame_of_reference_uid} - {""} or set(content.frame_of_reference_uids) - {""}
    return frame_uid not in frames


def _listed(uids: list[str]) -> str:
    return ", ".join(uid for uid in uids if uid) or "none"
