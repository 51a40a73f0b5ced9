"""What is sent: named regions of interest as closed planar contours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from npc_contour.domain.findings import Finding, StructureRule
from npc_contour.domain.geometry import FloatArray

MAX_NAME_LENGTH = 64
"""Characters of an ROI Name (3006,0026), LO."""


class InterpretedType(StrEnum):
    """RT ROI Interpreted Type (3006,00A4): the defined terms of PS3.3 C.8.8.8."""

    ORGAN = "ORGAN"
    GTV = "GTV"
    CTV = "CTV"
    PTV = "PTV"
    EXTERNAL = "EXTERNAL"
    AVOIDANCE = "AVOIDANCE"
    CONTROL = "CONTROL"
    TREATED_VOLUME = "TREATED_VOLUME"
    IRRAD_VOLUME = "IRRAD_VOLUME"
    DOSE_REGION = "DOSE_REGION"
    DOSE_MEASUREMENT = "DOSE_MEASUREMENT"
    BOLUS = "BOLUS"
    CAVITY = "CAVITY"
    CONTRAST_AGENT = "CONTRAST_AGENT"
    MARKER = "MARKER"
    REGISTRATION = "REGISTRATION"
    ISOCENTER = "ISOCENTER"
    SUPPORT = "SUPPORT"
    FIXATION = "FIXATION"
    DEVICE = "DEVICE"
    BRACHY_CHANNEL = "BRACHY_CHANNEL"
    BRACHY_ACCESSORY = "BRACHY_ACCESSORY"
    BRACHY_SRC_APP = "BRACHY_SRC_APP"
    BRACHY_CHNL_SHLD = "BRACHY_CHNL_SHLD"


@dataclass(frozen=True, slots=True)
class RoiSpec:
    """One row of a pipeline's ROI table; `labels` are united, so ROIs may overlap.

    Attributes:
        name: at most 64 characters; in pipelines TG-263's primary name where the list has one, at most 16. A site's
            profile may give another, and masks that a user brings may have none ("").
        network: the network whose label map holds `labels`.
        fma_id: Foundational Model of Anatomy id for RT ROI Identification Code; "" when there is none.
        rule: what is usual of it; None asks nothing.
    """

    name: str
    interpreted_type: InterpretedType
    network: str
    labels: frozenset[int]
    colour_rgb: tuple[int, int, int]
    fma_id: str = ""
    rule: StructureRule | None = None

    def __post_init__(self) -> None:
        if len(self.name) > MAX_NAME_LENGTH:
            raise ValueError(f"ROI name {self.name!r} has {len(self.name)} characters, {MAX_NAME_LENGTH} are allowed")
        if not self.labels or min(self.labels) < 1:
            raise ValueError(f"ROI {self.name}: labels must be positive, got {sorted(self.labels)}")


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One CLOSED_PLANAR contour on one slice.

    Attributes:
        slice_index: index along z of the planning volume.
        points_lps_mm: (n, 3), n >= 3, first point not repeated.
    """

    slice_index: int
    points_lps_mm: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """A region of interest; no contours means that the network found nothing."""

    spec: RoiSpec
    contours: tuple[Contour, ...]
    volume_cc: float


@dataclass(frozen=True, slots=True)
class NetworkProvenance:
    """Which network made an ROI: written into every output."""

    name: str
    version: str
    weights_sha256: str
    demo: bool


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """All ROIs of one case, ready to be encoded as RTSTRUCT.

    Attributes:
        label: Structure Set Label (3006,0002), SH: at most 16 characters.
        uid_seed: what the UIDs of the RTSTRUCT derive from: the same case and generation give the same object.
        networks: provenance by network name.
        notes: sentences for the physicist: what is doubtful, was not found, not confirmed, superseded.
        findings: what is doubtful about the contours, worst first.
    """

    label: str
    description: str
    uid_seed: str
    rois: tuple[Roi, ...]
    networks: dict[str, NetworkProvenance]
    notes: tuple[str, ...] = ()
    predecessor_sop_instance_uid: str = ""
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.label) <= 16:
            raise ValueError(f"structure set label {self.label!r} has {len(self.label)} characters, 1 to 16 allowed")

    @property
    def demo(self) -> bool:
        """Whether any ROI comes from a demo network."""
        return any(network.demo for network in self.networks.values())


@dataclass(frozen=True, slots=True, eq=False)
class ReadContour:
    """One contour as an RTSTRUCT says it.

    Attributes:
        geometric_type: Contour Geometric Type (3006,0042).
        points_lps_mm: (n, 3).
        sop_instance_uids: the images that the contour references; may be empty.
    """

    geometric_type: str
    points_lps_mm: FloatArray
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReadRoi:
    """One ROI as an RTSTRUCT says it, ours or anyone's.

    Attributes:
        notes: what is odd about how it is written, in words.
    """

    number: int
    name: str
    interpreted_type: str
    colour_rgb: tuple[int, int, int]
    description: str
    frame_of_reference_uid: str
    volume_cc: float | None
    contours: tuple[ReadContour, ...]
    notes: tuple[str, ...] = ()

    @property
    def closed_lps_mm(self) -> tuple[FloatArray, ...]:
        """The closed planar contours that enclose an area, each (n, 3), n >= 3."""
        return tuple(
            contour.points_lps_mm
            for contour in self.contours
            if contour.geometric_type.startswith("CLOSED") and len(contour.points_lps_mm) >= 3
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReadStructureSet:
    """An RTSTRUCT as read: what the gate checks, a preview draws and a mask export rasterises.

    Attributes:
        frame_of_reference_uids: of Referenced Frame of Reference Sequence.
        series_instance_uids: the image series referenced.
        image_sop_instance_uids: the images referenced there.
        referenced_study_uids: the studies that those series are in.
        notes: what of the file belongs to no ROI, in words.
    """

    label: str
    description: str
    series_description: str
    approval_status: str
    sop_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uids: tuple[str, ...]
    series_instance_uids: tuple[str, ...]
    image_sop_instance_uids: tuple[str, ...]
    rois: tuple[ReadRoi, ...]
    referenced_study_uids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
