"""The objects that the service creates, attribute by attribute: read off objects that it makes of a tiny series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from io import BytesIO

import numpy as np
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from npc_contour.adapters.dicom.read.planning_header import planning_header
from npc_contour.adapters.dicom.rtstruct.measurement_report import encode_report
from npc_contour.adapters.dicom.rtstruct.segmentation import encode_segmentation
from npc_contour.adapters.dicom.rtstruct.writer import derived_uid, encode_rtstruct
from npc_contour.application.ports import MeasurementReport, Outlined
from npc_contour.core.contouring import contour_rois
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.domain.geometry import Grid
from npc_contour.domain.measurements import MeasurementKind, MeasurementRule, Measurements, Shape
from npc_contour.domain.structures import InterpretedType, NetworkProvenance, RoiSpec, StructureSet
from npc_contour.domain.volumes import Volume

_SHAPE_ZYX = (3, 8, 8)
_MADE_AT = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 (DICOM DA and TM carry no zone)
_COPIED_VALUE = "COPIED"


def created_objects() -> Iterable[str]:
    """Lines of Markdown."""
    images, volume, masks, content = _case()
    rtstruct = encode_rtstruct(content, volume, planning_header(images[0]), made_at=_MADE_AT)
    segmentation = encode_segmentation(content, masks, volume, images, _MADE_AT)
    yield """
## 8 Created objects

Read off objects that the service makes of a small series. *Copied* means taken over from the planning images byte for
byte; optional attributes of patient and study are copied where the images have them. UIDs are `2.25.` and a name-based
UUID that derives from the case, so the same case gives the same object. No private attributes. Contours are
CLOSED_PLANAR, each on one image of the planning series; Approval Status is UNAPPROVED. The networks stand in
Contributing Equipment Sequence and in ROI Generation Description."""
    yield "\nOf each sequence the first item is shown."
    report = _report(content, images[0], volume, rtstruct)
    objects = (("RT Structure Set", rtstruct), ("Segmentation", segmentation), ("Comprehensive 3D SR", report))
    for title, data in objects:
        yield f"\n### {title} Storage\n\n| tag | attribute | VR | value |\n|---|---|---|---|"
        yield from _rows(dcmread(BytesIO(data)), depth=0)


def _rows(dataset: Dataset, depth: int) -> Iterator[str]:
    for element in dataset:
        mark = "&gt; " * depth
        if element.VR == "SQ":
            yield f"| {element.tag} | {mark}{element.name} | SQ | |"
            if element.value:
                yield from _rows(element.value[0], depth + 1)
        else:
            yield f"| {element.tag} | {mark}{element.name} | {element.VR} | {_source(element)} |"


def _source(element: DataElement) -> str:
    keyword, vr, value = element.keyword, element.VR, element.value
    text = str(value)
    if _COPIED_VALUE in text or keyword in {"PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"}:
        return "copied"
    if vr in {"DA", "TM", "DT"}:
        return "when the object was made"
    if keyword.endswith("UID") or isinstance(value, (bytes, bytearray)) or len(text) > 40:
        return ""
    return text.replace("|", "\\|") or "empty"


def _case() -> tuple[list[Dataset], Volume, tuple[RoiMask, ...], StructureSet]:
    images = [_image(index) for index in range(_SHAPE_ZYX[0])]
    grid = Grid(_SHAPE_ZYX, (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)), _uid("frame"))
    positions = np.array([[0.0, 0.0, 3.0 * index] for index in range(_SHAPE_ZYX[0])])
    uids = tuple(str(image.SOPInstanceUID) for image in images)
    volume = Volume(np.zeros(_SHAPE_ZYX, dtype=np.int16), grid, uids, positions)
    mask = np.zeros(_SHAPE_ZYX, dtype=np.bool_)
    mask[1, 2:6, 2:6] = True
    spec = RoiSpec("Brainstem", InterpretedType.ORGAN, "network", frozenset({1}), (200, 80, 40))
    masks = (mask_of_array(spec, mask),)
    content = StructureSet(
        label="NPC_OAR_GTV",
        description="",
        uid_seed="conformance",
        rois=contour_rois(masks, volume),
        networks={"network": NetworkProvenance("network", "1.0.0", "0" * 64, demo=False)},
    )
    return images, volume, masks, content


def _report(content: StructureSet, image: Dataset, volume: Volume, rtstruct: bytes) -> bytes:
    shape = Shape(volume_cc=0.048, surface_cm2=0.9, diameter_mm=5.6, regularity=0.8)
    roi = content.rois[0]
    said = MeasurementReport(
        measurements=Measurements(rule=MeasurementRule(MeasurementKind.SHAPE, roi.spec.name), shape=shape),
        outlined=(Outlined(shape, roi),),
        uid_seed=content.uid_seed,
        network=content.networks["network"],
        made_at=_MADE_AT,
    )
    return encode_report(said, image, volume, rtstruct)


def _image(index: int) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, _uid(f"image-{index}")
    image.StudyInstanceUID, image.SeriesInstanceUID = _uid("study"), _uid("series")
    image.FrameOfReferenceUID, image.Modality = _uid("frame"), "CT"
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName = image.ReferringPhysicianName = f"{_COPIED_VALUE}^"
    image.PatientID = image.AccessionNumber = image.StudyID = _COPIED_VALUE
    image.PositionReferenceIndicator = image.StudyDescription = _COPIED_VALUE
    image.PatientBirthDate, image.PatientSex = "19000101", "O"
    image.StudyDate, image.StudyTime = "20260101", "100000"
    image.Rows, image.Columns = _SHAPE_ZYX[1:]
    image.PixelSpacing, image.SliceThickness = [1, 1], 3
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 3 * index], [1, 0, 0, 0, 1, 0]
    image.file_meta = _meta()
    return image


def _meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _uid(what: str) -> str:
    return derived_uid("conformance", what)
