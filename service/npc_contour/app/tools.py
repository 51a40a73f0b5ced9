"""The DICOM adapters in the shape of the ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from io import BytesIO

from pydicom import dcmread

from npc_contour.adapters.dicom.read.planning_header import read_planning_header
from npc_contour.adapters.dicom.read.reader import ReadImage, read_volume
from npc_contour.adapters.dicom.rtstruct.findings_report import (
    encode_findings,
    encode_pdf,
    pdf_head,
    sr_head,
)
from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct
from npc_contour.adapters.dicom.rtstruct.measurement_report import encode_report, report_sop_instance_uid
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.dicom.rtstruct.rt_utils_bridge import rt_utils_rois
from npc_contour.adapters.dicom.rtstruct.segmentation import (
    encode_segmentation,
    read_image_headers,
    segmentation_uid,
)
from npc_contour.adapters.dicom.rtstruct.text import DEMO_WORDS
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct, sop_instance_uid
from npc_contour.application.ports import EncodedReport, EncodedStructureSet, FindingsReport, MeasurementReport
from npc_contour.core.anatomy import find_head
from npc_contour.core.contouring import ContourOptions, contour_rois
from npc_contour.core.images_as_expected import causes
from npc_contour.core.labels import RoiMask
from npc_contour.core.mr_values import without_bias
from npc_contour.domain.pipelines import Role
from npc_contour.domain.profiles import ContourSource, Profile, Writer
from npc_contour.domain.series import Series
from npc_contour.domain.structures import Roi, StructureSet
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused, InstanceRefused
from npc_contour.plausibility import read_image_rules
from npc_contour.settings import Mr


def contours_of(masks: Sequence[RoiMask], volume: Volume, profile: Profile, source: ContourSource) -> tuple[Roi, ...]:
    """Contour masks by whoever the profile names.

    Raises:
        SettingsError: the profile asks for rt-utils, which is not installed.
    """
    if profile.writer is Writer.RT_UTILS:
        return rt_utils_rois(masks, volume, profile.max_points)
    return contour_rois(masks, volume, replace(ContourOptions.of(profile), source=source))


class FileReader:
    """Reads series whose files `read_image` gives."""

    def __init__(self, read_image: ReadImage, mr: Mr) -> None:
        """Read files with `read_image`, and prepare MR series as `mr` says."""
        self._read_image = read_image
        self._mr = mr

    def read(self, series: Series, role: Role) -> Volume:
        """Return the series as one volume, once it has been seen to show what the role asks."""
        volume = read_volume(series, self._read_image)
        if volume.modality == "MR":
            return without_bias(volume) if self._mr.bias_correction == "n4" else volume
        fault = find_head(volume).fault if role.anatomy == "head" else None
        if fault is not None:
            raise CaseRefused("; ".join(causes(volume, read_image_rules())) or fault)
        return volume


class RtstructWriter:
    """Encodes RTSTRUCTs and lets none pass that does not say what it must."""

    def __init__(
        self,
        read_image: ReadImage,
        profile: Profile,
        *,
        second_reader: bool = False,
        segmentation: bool = False,
    ) -> None:
        """Read the files of planning images with `read_image`, and write as `profile` says.

        Args:
            read_image: the file of an image.
            profile: how the site wants its RTSTRUCTs.
            second_reader: whether rt-utils reads them back too.
            segmentation: whether a DICOM SEG is made beside each.
        """
        self._read_image = read_image
        self._profile = profile
        self._second_reader = second_reader
        self._segmentation = segmentation

    @property
    def profile(self) -> Profile:
        """How this site wants its RTSTRUCTs."""
        return self._profile

    def rois(self, masks: Sequence[RoiMask], volume: Volume, source: ContourSource) -> tuple[Roi, ...]:
        """Contour masks, by our own code or by rt-utils."""
        return contours_of(masks, volume, self._profile, source)

    def write(
        self,
        structure_set: StructureSet,
        masks: Sequence[RoiMask],
        volume: Volume,
        planning: Series,
        made_at: datetime,
    ) -> EncodedStructureSet:
        """Encode a structure set and check what was encoded."""
        try:
            header = read_planning_header(self._read_image(planning.first))
        except InstanceRefused as error:
            raise CaseRefused(str(error)) from error
        data = encode_rtstruct(structure_set, volume, header, made_at=made_at, profile=self._profile)
        report = check_rtstruct(data, masks, volume, header, second_reader=self._second_reader)
        uid = sop_instance_uid(structure_set)
        if not self._segmentation:
            return EncodedStructureSet(uid, data, report.min_dice)
        of_uid = {image.sop_instance_uid: image for image in planning.instances}
        images = read_image_headers(self._read_image(of_uid[image_uid]) for image_uid in volume.sop_instance_uids)
        voxels = encode_segmentation(structure_set, masks, volume, images, made_at)
        return EncodedStructureSet(uid, data, report.min_dice, voxels, segmentation_uid(structure_set))


class SrWriter:
    """Encodes measurements as SR, and findings as SR and PDF."""

    def __init__(self, read_image: ReadImage) -> None:
        """Read the files of planning images with `read_image`."""
        self._read_image = read_image

    def write(
        self, report: MeasurementReport, volume: Volume, planning: Series, structure_set: EncodedStructureSet
    ) -> EncodedReport:
        """Encode measurements on their planning volume."""
        image = dcmread(BytesIO(self._read_image(planning.first)), stop_before_pixels=True, force=True)
        data = encode_report(report, image, volume, structure_set.data)
        return EncodedReport(report_sop_instance_uid(report.uid_seed), data)

    def write_findings(
        self, report: FindingsReport, volume: Volume, planning: Series, structure_set: EncodedStructureSet
    ) -> tuple[EncodedReport, EncodedReport]:
        """Encode findings as a structured report, and as a page with pictures."""
        from npc_contour.adapters.findings_page import render_findings  # noqa: PLC0415 - matplotlib, for doubtful cases alone

        image = dcmread(BytesIO(self._read_image(planning.first)), stop_before_pixels=True, force=True)
        told = encode_findings(report, image, volume, structure_set.data)
        drawn = read_rtstruct(structure_set.data)
        state = f"{DEMO_WORDS}, {drawn.approval_status}" if report.demo else drawn.approval_status
        page = render_findings(report.title, state, report.findings, drawn, volume)
        pdf = encode_pdf(report, page, image, structure_set.data)
        return (
            EncodedReport(sr_head(report).sop_instance_uid, told),
            EncodedReport(pdf_head(report).sop_instance_uid, pdf),
        )
