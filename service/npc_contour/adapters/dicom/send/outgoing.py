"""What is about to be sent: files by their meta information, and the presentation contexts they need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context

from npc_contour.errors import SendError

MAX_CONTEXTS = 128
RE_ENCODABLE = frozenset({ExplicitVRLittleEndian})


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file that can be sent: what its file meta information says."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def read_outgoing(path: Path) -> OutgoingFile:
    """Read what is needed to propose and send one DICOM file.

    Raises:
        SendError: it is no DICOM file with preamble and file meta information.
    """
    try:
        meta = read_file_meta_info(path)
        uids = [meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID]
    except (OSError, EOFError, InvalidDicomError, AttributeError) as error:
        raise SendError(f"{path}: no DICOM file with file meta information: {error}") from error
    return OutgoingFile(path, str(uids[0]), str(uids[1]), str(uids[2]))


def find_dicom_files(source: Path | Iterable[Path]) -> tuple[list[OutgoingFile], tuple[Path, ...]]:
    """Return the DICOM files of a folder (at every depth, by name) or list, and the files that are none."""
    if isinstance(source, Path):
        paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    else:
        paths = list(source)
    files: list[OutgoingFile] = []
    skipped: list[Path] = []
    for path in paths:
        try:
            files.append(read_outgoing(path))
        except SendError:
            skipped.append(path)
    return files, tuple(skipped)


def presentation_contexts(files: Iterable[OutgoingFile]) -> list[PresentationContext]:
    """Return what these files need: their own transfer syntaxes, and the default one for those that can change to it.

    Raises:
        SendError: more than 128 are needed.
    """
    pairs = {(file.sop_class_uid, file.transfer_syntax_uid) for file in files}
    pairs |= {(sop_class, ImplicitVRLittleEndian) for sop_class, syntax in pairs if UID(syntax) in RE_ENCODABLE}
    if len(pairs) > MAX_CONTEXTS:
        raise SendError(f"{len(pairs)} presentation contexts are needed, an association carries {MAX_CONTEXTS}")
    return [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]
