"""What every report of ours is as DICOM SR: Comprehensive 3D SR with an Imaging Measurement Report (TID 1500, PS3.16).

Partial and unverified, with the images it names and the RTSTRUCT beside it as evidence. UIDs derive from the case, so
that making a report twice makes the same object.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from highdicom import sr
from highdicom.sr import CodedConcept, Comprehensive3DSR, ObservationContext, ObserverContext
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

import npc_contour
from npc_contour.adapters.dicom.read.planning_header import planning_header
from npc_contour.adapters.dicom.rtstruct.repeatable import make_repeatable
from npc_contour.adapters.dicom.rtstruct.text import clock_time, shortened
from npc_contour.adapters.dicom.rtstruct.writer import MANUFACTURER, MODEL_NAME, derived_uid
from npc_contour.domain.volumes import Volume

MeasurementGroup = sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
PRIVATE_SCHEME = "99NPC"
IMAGING = CodedConcept("363679005", "SCT", "Imaging")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportHead:
    """What a report is.

    Attributes:
        kind: of report: its UIDs derive from it and the seed.
        uid_seed: of the structure set beside it.
        series_number: of the report's series.
        description: of the series.
        made_at: written into the object.
        procedure: that is reported.
    """

    kind: str
    uid_seed: str
    series_number: int
    description: str
    made_at: datetime
    procedure: CodedConcept = IMAGING

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID of the report."""
        return derived_uid(self.uid_seed, f"{self.kind}-instance")


def encode_sr(
    head: ReportHead,
    groups: Sequence[MeasurementGroup],
    slices: Iterable[int],
    image: Dataset,
    volume: Volume,
    structure_set: bytes,
) -> bytes:
    """Encode measurement groups as a DICOM file.

    Args:
        head: what the report is.
        groups: of TID 1410, 1411 or 1501.
        slices: indices of those that the groups name.
        image: header of any image of the planning series: the patient, the study and the frame of reference.
        volume: the planning series.
        structure_set: the RTSTRUCT beside it.
    """
    beside = dcmread(io.BytesIO(structure_set), stop_before_pixels=True)
    document = Comprehensive3DSR(
        evidence=[*(_evidence(image, volume.sop_instance_uids[index]) for index in sorted(set(slices))), beside],
        content=_document(head, groups)[0],
        series_instance_uid=derived_uid(head.uid_seed, f"{head.kind}-series"),
        series_number=head.series_number,
        sop_instance_uid=head.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    return finished(document, head, image)


def finished(document: Dataset, head: ReportHead, image: Dataset) -> bytes:
    """Say what the object is and when it was made, and return its file."""
    make_repeatable(document, clock_time(head.made_at, planning_header(image)), head.uid_seed)
    document.SeriesDate, document.SeriesTime = document.ContentDate, document.ContentTime
    document.ManufacturerModelName = MODEL_NAME
    document.SoftwareVersions = npc_contour.__version__
    document.SeriesDescription = shortened(head.description, 64)
    buffer = io.BytesIO()
    dcmwrite(buffer, document, enforce_file_format=True)
    return buffer.getvalue()


def _document(head: ReportHead, groups: Sequence[MeasurementGroup]) -> sr.MeasurementReport:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid(MODEL_NAME, npc_contour.__version__),
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return sr.MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=head.procedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _evidence(image: Dataset, sop_instance_uid: str) -> Dataset:
    """Return an image of the planning series as evidence names it."""
    named = Dataset()
    # Elements are shared with the image, so the one that differs must be a new one.
    named.update({e.tag: e for e in image if e.tag.group < 0x0028 and e.keyword != "SOPInstanceUID"})
    named.SOPInstanceUID = sop_instance_uid
    return named
