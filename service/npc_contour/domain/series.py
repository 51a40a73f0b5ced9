"""What arrives on the wire, grouped the way the clinic names it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.registration import RigidMove


@dataclass(frozen=True, slots=True)
class Seal:
    """What a file must hold: noted when it was kept, compared whenever it is read."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Seal:
        """The seal of these bytes."""
        return cls(hashlib.sha256(data).hexdigest(), memoryview(data).nbytes)


NOT_NOTED = Seal("", 0)
"""Of a file that a former version kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """What the header of one stored image says; the pixels stay on disk.

    Text is decoded; an absent or empty attribute is "" (text), () (several values) or None (numbers).
    No field holds the patient's name: headers are logged and shown.

    Attributes:
        key: where the spool keeps the bytes; opaque.
        pixel_spacing_mm: (row spacing, column spacing): distance between rows first (0028,0030).
        position_lps_mm: Image Position (Patient), centre of the first voxel.
        orientation: Image Orientation (Patient): direction of a row (towards growing columns), then of a column.
        patient_id_issuer: Issuer of Patient ID (0010,0021): who gave the ID.
        acquired_at: from AcquisitionDateTime, or AcquisitionDate/ContentDate and time; scanner's local time.
        injected_at: Contrast/Bolus Start Time (0018,1042), of the same day, scanner's local time.
        sequence_name: Sequence Name (0018,0024), the vendor's word for an MR sequence, as "*tse2d1_11".
        scan_options: Scan Options (0018,0022); of MR "FS" says fat saturation.
        rescale_type: Rescale Type (0028,1054): the unit of rescaled values; "" is HU in CT (PS3.3 C.8.2.1).
        real_world_units: code values (UCUM) of the units in Real World Value Mapping Sequence.
        manufacturer_model: Manufacturer's Model Name (0008,1090).
        kernel: Convolution Kernel (0018,1210).
        angio_flag: Angio Flag (0018,0025), "Y" of an MR angiography.
        person: a digest that tells people apart where Patient IDs do not: of the birth date and, where there is no
            Patient ID, the name; "" where there is neither.
        seal: what the bytes under the key must be; None where nobody noted it.
    """

    key: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    patient_id: str = ""
    frame_of_reference_uid: str = ""
    transfer_syntax_uid: str = ""
    rows: int = 0
    columns: int = 0
    number_of_frames: int = 1
    pixel_spacing_mm: tuple[float, float] | None = None
    position_lps_mm: Vec3 | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    instance_number: int | None = None
    acquisition_number: int | None = None
    images_in_acquisition: int | None = None
    series_number: int | None = None
    series_description: str = ""
    study_description: str = ""
    protocol_name: str = ""
    body_part: str = ""
    image_type: tuple[str, ...] = ()
    contrast_bolus_agent: str = ""
    contrast_bolus_route: str = ""
    patient_position: str = ""
    gantry_tilt_deg: float | None = None
    acquired_at: datetime | None = None
    manufacturer: str = ""
    manufacturer_model: str = ""
    kernel: str = ""
    injected_at: time | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    sequence_name: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    patient_id_issuer: str = ""
    rescale_type: str = ""
    real_world_units: tuple[str, ...] = ()
    angio_flag: str = ""
    person: str = ""
    accession_number: str = ""
    seal: Seal | None = None

    def is_same_image(self, other: InstanceHeader) -> bool:
        """Whether another header is of the same image in the same place.

        Attributes that only describe are left out: a later version may read more of them than the one that kept a row.
        """
        return all(getattr(self, name) == getattr(other, name) for name in _IDENTITY)


_IDENTITY = (
    *("sop_instance_uid", "sop_class_uid", "series_instance_uid", "study_instance_uid", "frame_of_reference_uid"),
    *("modality", "rows", "columns", "number_of_frames", "pixel_spacing_mm", "position_lps_mm", "orientation"),
)


@dataclass(frozen=True, slots=True)
class Series:
    """All images of one series that form one stack, in no particular order.

    Attributes:
        left_out: a sentence for each kind of image that came under the same Series Instance UID and is not among them.
        derived: how its images say that they were made of others, in words; such a series is used where a site's rule
            or a person says so. "" for original images.
    """

    instances: tuple[InstanceHeader, ...]
    left_out: tuple[str, ...] = ()
    derived: str = ""

    def __post_init__(self) -> None:
        uids = {instance.series_instance_uid for instance in self.instances}
        if len(uids) != 1:
            raise ValueError(f"a series has instances of one Series Instance UID, got {sorted(uids)}")

    @property
    def first(self) -> InstanceHeader:
        """Any instance: for what is equal throughout a series."""
        return self.instances[0]

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return self.first.series_instance_uid


@dataclass(frozen=True, slots=True)
class Case:
    """The input of one pipeline for one patient: role → series.

    Attributes:
        pipeline: name of the pipeline.
        series: one series per role; `planning` is always there.
        planning: the role whose grid carries the contours.
        moves: role → how its series comes into the planning series' frame of reference; only where it is in another.
    """

    pipeline: str
    series: Mapping[str, Series]
    planning: str
    moves: Mapping[str, RigidMove] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.planning not in self.series:
            raise ValueError(f"planning role {self.planning!r} is not among {sorted(self.series)}")
