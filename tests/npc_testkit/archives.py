"""Archives that nobody here wrote: Orthanc and DCMTK's dcmqrscp, which answer C-FIND, C-GET and C-MOVE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from npc_contour.domain.jobs import Destination
from npc_contour.domain.queries import ArchiveNode
from npc_testkit.orthanc import orthanc
from npc_testkit.peers import free_port, start_tool, wait_for_port

OUR_AE = "NPC_CONTOUR"


@dataclass(frozen=True, slots=True)
class Archived:
    """A running archive.

    Attributes:
        archive: as it is asked.
        destination: as it is sent to.
        http_port: of its REST and DICOMweb; 0 where it has none.
    """

    archive: ArchiveNode
    destination: Destination
    http_port: int = 0


def _archived(ae_title: str, port: int, http_port: int = 0) -> Archived:
    node = ArchiveNode(name="pacs", ae_title=ae_title, host="127.0.0.1", port=port)
    return Archived(node, Destination("pacs", ae_title, "127.0.0.1", port), http_port)


@contextmanager
def orthanc_archive(folder: Path, *, move_to_port: int = 0, plugins: Sequence[str] = ()) -> Iterator[Archived]:
    """Run Orthanc open for queries.

    Args:
        folder: where it writes.
        move_to_port: of the node under our AE title that C-MOVE may send to.
        plugins: shared libraries to load, for example the one for DICOMweb.
    """
    options: dict[str, object] = {
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"ours": [OUR_AE, "127.0.0.1", move_to_port or 104]},
        "Plugins": list(plugins),
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    with orthanc(folder / "orthanc", ae_title="PACS", options=options) as node:
        yield _archived(node.ae_title, node.dicom_port, node.http_port)


@contextmanager
def dcmqrscp(folder: Path, *, move_to_port: int = 0) -> Iterator[Archived]:
    """Run DCMTK's archive."""
    port = free_port()
    storage = folder / "dcmqrscp"
    storage.mkdir(parents=True)
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"""\
NetworkTCPPort  = {port}
MaxPDUSize      = 131072
MaxAssociations = 16

HostTable BEGIN
ours = ({OUR_AE}, 127.0.0.1, {move_to_port or port})
HostTable END

VendorTable BEGIN
VendorTable END

AETable BEGIN
PACS {storage} RW (200, 1024mb) ANY
AETable END
""",
        encoding="utf-8",
    )
    process = start_tool("dcmqrscp", "--log-level", "fatal", "-c", config, str(port))
    try:
        wait_for_port(port)
        yield _archived("PACS", port)
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def worklist(folder: Path, entries: Sequence[Dataset], *, ae_title: str = "RIS") -> Iterator[int]:
    """Run DCMTK's worklist server with these entries; yields its port."""
    files = folder / ae_title
    files.mkdir(parents=True)
    (files / "lockfile").touch()
    for number, entry in enumerate(entries):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        FileDataset("", entry, preamble=bytes(128), file_meta=meta).save_as(files / f"{number}.wl")
    port = free_port()
    process = start_tool("wlmscpfs", "-q", "-dfp", folder, str(port))
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


def scheduled(accession_number: str, day: str, *, modality: str = "CT") -> Dataset:
    """One entry of a worklist (PS3.4 table K.6-1, with the keys that a worklist server must have)."""
    step = Dataset()
    step.ScheduledStationAETitle, step.Modality = "CT1", modality
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = day, "100000"
    step.ScheduledPerformingPhysicianName, step.ScheduledProcedureStepDescription = "", "Planning CT"
    step.ScheduledProcedureStepID, step.ScheduledStationName = "S1", ""
    entry = Dataset()
    entry.SpecificCharacterSet = "ISO_IR 100"
    entry.AccessionNumber, entry.StudyInstanceUID = accession_number, "2.25.9"
    entry.PatientName, entry.PatientID, entry.PatientBirthDate, entry.PatientSex = "Testkit^Nobody", "TK0001", "", "O"
    entry.ReferringPhysicianName, entry.RequestedProcedureDescription, entry.RequestedProcedureID = "", "CT", "R1"
    entry.ScheduledProcedureStepSequence = [step]
    return entry
