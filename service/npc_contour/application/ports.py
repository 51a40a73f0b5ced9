"""What the use cases ask of the outside world; adapters answer, tests use one fake per port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from npc_contour.core.evidence import ContrastEvidence
from npc_contour.core.labels import RoiMask
from npc_contour.domain.findings import Finding
from npc_contour.domain.geometry import Grid
from npc_contour.domain.jobs import AnyDestination, Evidence, StoreReceipt
from npc_contour.domain.measurements import Measurements, Node, Shape
from npc_contour.domain.pipelines import NetworkContract, Role
from npc_contour.domain.profiles import ContourSource, Profile
from npc_contour.domain.queries import Match, Query, Retrieved, Wanted
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader, Seal, Series
from npc_contour.domain.structures import NetworkProvenance, Roi, StructureSet
from npc_contour.domain.volumes import LabelMap, Volume


class Clock(Protocol):
    """The time, so that tests need not wait."""

    def now(self) -> datetime:
        """Return the time in UTC, with zone."""
        ...


class Spool(Protocol):
    """Durable files: what was received and what was made of it. A file is there whole or not at all."""

    def put_artefact(self, case_id: str, name: str, data: bytes | bytearray | memoryview) -> str:
        """Keep something made of a case, replacing an earlier one of that name; return its key.

        Raises:
            SpoolFullError: no room.
        """
        ...

    def artefact_key(self, case_id: str, name: str) -> str:
        """Return the key of an artefact, whether or not it exists."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the file of a key is there (and so complete)."""
        ...

    def read(self, key: str, seal: Seal | None = None) -> bytes:
        """Return the bytes of a key.

        Raises:
            DamagedFileError: the file is gone, or not what the seal says.
        """
        ...

    def examine(self, key: str) -> Seal:
        """Return the seal of an image of which nothing was noted.

        Raises:
            DamagedFileError: the file is gone, or no whole image.
        """
        ...


class SeriesReader(Protocol):
    """Reads stored series."""

    def read(self, series: Series, role: Role) -> Volume:
        """Return the series as one volume: HU of CT, rescaled values of MR.

        Raises:
            CaseRefused: the images cannot be contoured, or do not show what the role asks; the message names slices
                and millimetres.
        """
        ...


class ContrastLooker(Protocol):
    """Looks at the voxels of series."""

    def look(self, series: Series) -> ContrastEvidence | None:
        """Return what the vessels of a CT say of contrast; None where they do not tell.

        Raises:
            CaseRefused: the images cannot be read.
        """
        ...

    def compare(self, one: Series, other: Series) -> tuple[ContrastEvidence, ContrastEvidence] | None:
        """Return what the brightness of two T1 MR series says of contrast in each; None where it does not tell.

        Raises:
            CaseRefused: the images cannot be read.
        """
        ...


class RegistrationReader(Protocol):
    """Reads stored Spatial Registration objects."""

    def read(self, header: InstanceHeader) -> tuple[RigidMove, ...]:
        """Return how its frames of reference map to the registered one.

        Raises:
            InstanceRefused: it is damaged, or not rigid.
        """
        ...


class InferenceEngine(Protocol):
    """Runs networks."""

    def segment(self, contract: NetworkContract, volumes: Sequence[Volume], grid: Grid) -> LabelMap:
        """Return the network's labels on the planning grid.

        Args:
            contract: which network; what is loaded must be just this one.
            volumes: one per channel, in the contract's order; grids may differ, the frame of reference is one.
            grid: of the planning volume, which need not be among them; every volume is brought onto it.

        Raises:
            InferenceError: the server failed; worth another try.
            NetworkMismatchError: the server has loaded another network.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class EncodedStructureSet:
    """An RTSTRUCT that passed its own check.

    Attributes:
        sop_instance_uid: of the object; the same structure set gives the same UID.
        data: a whole DICOM file (PS3.10).
        min_dice: of the worst ROI, the mask read back against the mask it came from.
        segmentation: the same ROIs as DICOM SEG, a whole file; None where the site does not want one.
        segmentation_uid: its SOP Instance UID; "" where there is none.
    """

    sop_instance_uid: str
    data: bytes
    min_dice: float
    segmentation: bytes | None = None
    segmentation_uid: str = ""


class StructureSetWriter(Protocol):
    """Encodes and checks RTSTRUCTs."""

    @property
    def profile(self) -> Profile:
        """How this site wants its RTSTRUCTs."""
        ...

    def rois(self, masks: Sequence[RoiMask], volume: Volume, source: ContourSource) -> tuple[Roi, ...]:
        """Contour masks on the slices of the planning volume, as the profile asks.

        Args:
            masks: an empty one gives an ROI without contours.
            volume: the planning series.
            source: where contours run.
        """
        ...

    def write(
        self,
        structure_set: StructureSet,
        masks: Sequence[RoiMask],
        volume: Volume,
        planning: Series,
        made_at: datetime,
    ) -> EncodedStructureSet:
        """Encode a structure set on its planning volume and check what was encoded.

        Args:
            structure_set: what to write.
            masks: what its contours were made from.
            volume: the planning series.
            planning: its images: patient and study are copied from the first one's file.
            made_at: written into the object: the same arguments give the same bytes.

        Raises:
            GateError: the RTSTRUCT failed its own check and must not leave the house.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """Something that was measured and where it is.

    Attributes:
        measured: a node, or the shape of the ROI.
        roi: its contours.
    """

    measured: Node | Shape
    roi: Roi


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementReport:
    """What a report says.

    Attributes:
        outlined: each node, or the tumour; at least one.
        uid_seed: of the structure set beside it.
        network: that found the ROI.
        made_at: written into the object: the same report gives the same bytes.
    """

    measurements: Measurements
    outlined: tuple[Outlined, ...]
    uid_seed: str
    network: NetworkProvenance
    made_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class EncodedReport:
    """A report as a whole DICOM file (PS3.10)."""

    sop_instance_uid: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingsReport:
    """What a report about findings says.

    Attributes:
        findings: worst first; at least one.
        label: of the structure set.
        demo: whether a demo network took part.
        uid_seed: of the structure set beside it.
        made_at: written into the objects: the same report gives the same bytes.
    """

    findings: tuple[Finding, ...]
    label: str
    demo: bool
    uid_seed: str
    made_at: datetime

    @property
    def title(self) -> str:
        """Of the page; it names no patient."""
        return f"Findings about {self.label!r}"


class ReportWriter(Protocol):
    """Encodes measurements and findings."""

    def write(
        self, report: MeasurementReport, volume: Volume, planning: Series, structure_set: EncodedStructureSet
    ) -> EncodedReport:
        """Encode measurements on their planning volume.

        Args:
            report: what to say.
            volume: the planning series as a volume.
            planning: its images: patient and study are copied from a file of it.
            structure_set: the RTSTRUCT beside it, which it names.
        """
        ...

    def write_findings(
        self, report: FindingsReport, volume: Volume, planning: Series, structure_set: EncodedStructureSet
    ) -> tuple[EncodedReport, EncodedReport]:
        """Encode findings as a structured report, and as a page with pictures.

        Args:
            report: what to say.
            volume: the planning series as a volume.
            planning: its images: patient and study are copied from a file of it.
            structure_set: the RTSTRUCT beside them, which they name and which the pictures show.
        """
        ...


class Sender(Protocol):
    """Sends to destinations."""

    def send(self, instance: bytes, destination: AnyDestination) -> StoreReceipt:
        """Send one object and return the peer's answer, whatever it says.

        Raises:
            SendError: there was no answer.
        """
        ...


class InstanceKeeper(Protocol):
    """Keeps images that did not come by C-STORE."""

    def keep(self, file: bytes, association: AssociationRow, *, asked: Wanted | None = None) -> InstanceHeader:
        """Keep one DICOM file (PS3.10) and its row durably; the same file again changes nothing.

        Args:
            file: the whole file.
            association: by which it came.
            asked: it must be of what was asked for; None lets any be.

        Raises:
            InstanceRefused: it is not what it says it is, or nothing that we take; carries a C-STORE status.
            SpoolFullError: no room.
            StoreError: the database did not take its row.
        """
        ...


class Archive(Protocol):
    """A PACS that can be asked for images, over DIMSE or DICOMweb."""

    def find(self, query: Query) -> tuple[Match, ...]:
        """Return what it has.

        Raises:
            ArchiveError: no answer, a failure, or more matches than are taken.
        """
        ...

    def retrieve(
        self, wanted: Wanted, keep: Callable[[bytes], None], progress: Callable[[int, int], None] | None = None
    ) -> Retrieved:
        """Fetch images.

        Args:
            wanted: what to fetch.
            keep: called with each DICOM file that comes over our own connection; what it raises for one image
                (InstanceRefused) counts that image as failed, anything else ends the retrieval. A PACS that sends to
                our own receiver instead (C-MOVE) leaves it uncalled.
            progress: told (done, total).

        Raises:
            ArchiveError: no answer, or a failure of the whole.
        """
        ...


class Verifier(Protocol):
    """Asks destinations what they hold."""

    def ask(self, instance: bytes, destination: AnyDestination, transaction_uid: str) -> Evidence:
        """Ask whether the destination holds an object that was sent to it.

        Args:
            instance: the object, a whole DICOM file.
            destination: whom.
            transaction_uid: of a storage commitment request, should one be made.

        Raises:
            SendError: there was no answer.
        """
        ...
