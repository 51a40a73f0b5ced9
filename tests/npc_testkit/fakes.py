"""One fake per port: they keep what they were given, and fail when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from npc_contour.adapters.dicom.read.headers import header_of, parse_data_set, split_file
from npc_contour.application.ports import EncodedReport, EncodedStructureSet, FindingsReport, MeasurementReport
from npc_contour.core.contouring import ContourOptions, contour_rois
from npc_contour.core.crossings import STEPS
from npc_contour.core.evidence import ContrastEvidence
from npc_contour.core.labels import RoiMask
from npc_contour.core.stacking import stack
from npc_contour.domain.geometry import Grid
from npc_contour.domain.jobs import AnyDestination, Evidence, Proof, StoreReceipt
from npc_contour.domain.pipelines import NetworkContract, Role
from npc_contour.domain.profiles import GENERIC, ContourSource
from npc_contour.domain.queries import Match, Query, QueryLevel, Retrieved, Wanted
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader, Seal, Series
from npc_contour.domain.structures import Roi, StructureSet
from npc_contour.domain.volumes import LabelMap, Volume
from npc_contour.errors import (
    ArchiveError,
    DamagedFileError,
    InferenceError,
    InstanceRefused,
    NotOfferedError,
    SendError,
)


class FakeClock:
    """Stands still until moved; begins now, so that times read well beside those of the database."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def forward(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class FakeSpool:
    """Files in memory."""

    files: dict[str, bytes] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    put_aside: list[str] = field(default_factory=list)

    def put_artefact(self, case_id: str, name: str, data: bytes | bytearray | memoryview) -> str:
        key = self.artefact_key(case_id, name)
        self.files[key] = bytes(data)
        self.written.append(key)
        return key

    def artefact_key(self, case_id: str, name: str) -> str:
        return f"artefacts/{case_id}/{name}"

    def exists(self, key: str) -> bool:
        return key in self.files

    def read(self, key: str, seal: Seal | None = None) -> bytes:
        content = self.files.get(key)
        if content is None:
            raise DamagedFileError(key, "the file is gone from the disk", is_gone=True)
        if seal is not None and Seal.of(content) != seal:
            raise DamagedFileError(key, "damaged on the disk")
        return content

    def examine(self, key: str) -> Seal:
        return Seal.of(self.read(key))

    def put_away(self, key: str) -> bool:
        self.put_aside.append(key)
        return self.files.pop(key, None) is not None


@dataclass
class FakeReader:
    """Volumes of air on the grid that the headers describe, 1/16 of its rows and columns."""

    reads: list[str] = field(default_factory=list)
    failure: Exception | None = None

    def read(self, series: Series, role: Role) -> Volume:
        self.reads.append(series.series_instance_uid)
        if self.failure is not None:
            raise self.failure
        ordered = stack(series)
        uids = tuple(header.sop_instance_uid for header in ordered.instances)
        hu = np.full(ordered.grid.shape_zyx, -1000, dtype=np.int16)
        return Volume(hu, ordered.grid, uids, ordered.positions_lps_mm, role.modality)


@dataclass
class FakeLooker:
    """Sees in the vessels of a series what it is told to see."""

    seen: dict[str, ContrastEvidence] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)
    compared: list[tuple[str, str]] = field(default_factory=list)

    def look(self, series: Series) -> ContrastEvidence | None:
        self.looks.append(series.series_instance_uid)
        return self.seen.get(series.series_instance_uid)

    def compare(self, one: Series, other: Series) -> tuple[ContrastEvidence, ContrastEvidence] | None:
        uids = one.series_instance_uid, other.series_instance_uid
        self.compared.append(uids)
        first, second = (self.seen.get(uid) for uid in uids)
        return None if first is None or second is None else (first, second)


@dataclass
class FakeRegistrations:
    """Reads what it is told by SOP Instance UID."""

    moves: dict[str, tuple[RigidMove, ...]] = field(default_factory=dict)

    def read(self, header: InstanceHeader) -> tuple[RigidMove, ...]:
        return self.moves[header.sop_instance_uid]


@dataclass
class FakeEngine:
    """Answers every network with one block per label; `failures` fail before that, in turn."""

    calls: list[tuple[str, int]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    empty: bool = False
    before: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def segment(self, contract: NetworkContract, volumes: Sequence[Volume], grid: Grid) -> LabelMap:
        with self.lock:
            self.calls.append((contract.name, len(volumes)))
            failure = self.failures.pop(0) if self.failures else None
        self.before()
        if failure is not None:
            raise failure
        labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
        if not self.empty:
            for label in range(1, len(contract.labels)):
                labels[2:6, 2:8, 8 * label : 8 * label + 5] = label
        # A third of the way from each block to its neighbours, measured from the block's own side.
        crossings = np.zeros((2, *labels.shape), dtype=np.uint8)
        for along, axis in enumerate((1, 2)):
            near, far = np.delete(labels, -1, axis), np.delete(labels, 0, axis)
            code = np.where(near == far, 0, np.where(near > 0, 1 + STEPS // 3, 1 + STEPS - STEPS // 3)).astype(np.uint8)
            crossings[along] = np.pad(code, [(0, int(axis == other)) for other in range(3)])
        return LabelMap(labels, grid, contract.name, crossings)


class FakeWriter:
    """Writes a structure set as JSON; the same arguments give the same bytes."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.failures: list[Exception] = []
        self.segmentation = False
        self.written: list[StructureSet] = []
        self.profile = GENERIC

    def rois(self, masks: Sequence[RoiMask], volume: Volume, source: ContourSource) -> tuple[Roi, ...]:
        return contour_rois(masks, volume, replace(ContourOptions.of(self.profile), source=source))

    def write(
        self,
        structure_set: StructureSet,
        masks: Sequence[RoiMask],
        volume: Volume,
        planning: Series,
        made_at: datetime,
    ) -> EncodedStructureSet:
        if self.failure is not None:
            raise self.failure
        if self.failures:
            raise self.failures.pop(0)
        self.written.append(structure_set)
        uid = f"2.25.{int.from_bytes(structure_set.uid_seed.encode()[:12], 'big')}"
        content = {
            "uid": uid,
            "seed": structure_set.uid_seed,
            "rois": [mask.spec.name for mask in masks if not mask.empty],
            "images": len(volume.sop_instance_uids),
            "series": planning.series_instance_uid,
            "made_at": made_at.isoformat(),
        }
        data = json.dumps(content).encode()
        if not self.segmentation:
            return EncodedStructureSet(uid, data, 1.0)
        voxels = json.dumps(content | {"uid": f"{uid}.1"}).encode()
        return EncodedStructureSet(uid, data, 1.0, voxels, f"{uid}.1")


class FakeReportWriter:
    """Writes measurements as JSON; the same arguments give the same bytes."""

    def write(
        self, report: MeasurementReport, volume: Volume, planning: Series, structure_set: EncodedStructureSet
    ) -> EncodedReport:
        uid = f"{structure_set.sop_instance_uid}.1"
        content = {"uid": uid, "measured": len(report.outlined), "images": len(volume.sop_instance_uids)}
        return EncodedReport(uid, json.dumps(content | {"series": planning.series_instance_uid}).encode())

    def write_findings(
        self, report: FindingsReport, volume: Volume, planning: Series, structure_set: EncodedStructureSet
    ) -> tuple[EncodedReport, EncodedReport]:
        content = {"found": list(map(str, report.findings)), "images": len(volume.sop_instance_uids)}
        content |= {"series": planning.series_instance_uid}
        uids = [f"{structure_set.sop_instance_uid}.{number}" for number in (2, 3)]
        told, page = (EncodedReport(uid, json.dumps({"uid": uid} | content).encode()) for uid in uids)
        return told, page


@dataclass
class FakeSender:
    """A destination that takes everything, except while `down`, while it answers another status, or SR without `sr`."""

    clock: FakeClock
    down: bool = False
    sr: bool = True
    status: int = 0x0000
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    tries: int = 0

    def send(self, instance: bytes, destination: AnyDestination) -> StoreReceipt:
        self.tries += 1
        if self.down:
            raise SendError(f"{destination.name} at {destination.host}: connection refused")
        if not self.sr and "measured" in json.loads(instance):
            raise NotOfferedError("it accepts none of the proposed presentation contexts: Comprehensive 3D SR")
        if self.status == 0:
            self.sent.append((destination.name, instance))
        return StoreReceipt(destination.name, json.loads(instance)["uid"], self.status, self.clock.now())


@dataclass
class FakeVerifier:
    """A destination that cannot be asked, until told what to answer."""

    answer: Evidence = field(default_factory=lambda: Evidence(Proof.NOT_OFFERED, "", "it cannot be asked"))
    down: bool = False
    asked: list[str] = field(default_factory=list)
    about: list[bytes] = field(default_factory=list)

    def ask(self, instance: bytes, destination: AnyDestination, transaction_uid: str) -> Evidence:
        self.asked.append(transaction_uid)
        self.about.append(instance)
        if self.down:
            raise SendError(f"{destination.name}: connection refused")
        return self.answer


def triton_down() -> InferenceError:
    """The error of a server that does not answer."""
    return InferenceError("Triton at 127.0.0.1:8001: connection refused")


@dataclass
class FakeArchive:
    """A PACS that holds whole files.

    Attributes:
        down: it answers nothing.
        hides_counts: it does not count its images.
        hides_names: it answers no question about images.
        withholds: it does not give so many of a series.
        gives: instead of its files, whatever is asked for.
    """

    files: list[bytes] = field(default_factory=list)
    down: bool = False
    breaks_after: int | None = None
    hides_counts: bool = False
    hides_names: bool = False
    withholds: int = 0
    gives: list[bytes] | None = None
    queries: list[Query] = field(default_factory=list)
    retrievals: list[Wanted] = field(default_factory=list)

    def find(self, query: Query) -> tuple[Match, ...]:
        self._answer()
        self.queries.append(query)
        if self.hides_names and query.level is QueryLevel.IMAGE:
            raise ArchiveError("pacs answered C-FIND with 0xA900")
        found: dict[str, Match] = {}
        for header in map(_header_of_file, self.files):
            series = "" if query.level is QueryLevel.STUDY else header.series_instance_uid
            image = header.sop_instance_uid if query.level is QueryLevel.IMAGE else ""
            key = image or series or header.study_instance_uid
            before = found.get(key)
            match = Match(
                study_instance_uid=header.study_instance_uid,
                series_instance_uid=series,
                sop_instance_uid=image,
                patient_id=header.patient_id,
                modalities=(header.modality,),
                description=header.series_description if series else "",
                instances=None if self.hides_counts else 1 + ((before.instances or 0) if before else 0),
            )
            if query.accepts(match):
                found[key] = match
        return tuple(found.values())

    def retrieve(
        self, wanted: Wanted, keep: Callable[[bytes], None], progress: Callable[[int, int], None] | None = None
    ) -> Retrieved:
        self._answer()
        self.retrievals.append(wanted)
        kept = failed = 0
        files = [
            file for file in self.files if wanted.series_instance_uid in {"", _header_of_file(file).series_instance_uid}
        ]
        files = files[: len(files) - self.withholds] if self.gives is None else self.gives
        for number, file in enumerate(files):
            if number == self.breaks_after:
                raise ArchiveError("pacs closed the connection during C-GET")
            try:
                keep(file)
                kept += 1
            except InstanceRefused:
                failed += 1
            if progress is not None:
                progress(number + 1, len(files))
        return Retrieved(completed=kept, failed=failed)

    def _answer(self) -> None:
        if self.down:
            raise ArchiveError("pacs (PACS at 127.0.0.1:104) cannot be reached: Connection refused")


def _header_of_file(file: bytes) -> InstanceHeader:
    meta, data_set = split_file(file)
    return header_of(parse_data_set(data_set, meta.uid("TransferSyntaxUID")), key="")
