"""What is about to be sent: files by their meta information, and the presentation contexts they need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context

from npc_contour.errors import SendError

MAX_CONTEXTS = 128
RE_ENCODABLE = frozenset({ExplicitVRLittleEndian})


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """An object that can be sent: what its file meta information says.

    Attributes:
        path: where it lies; None when it came as bytes.
        dataset: the decoded object when it came as bytes.
    """

    path: Path | None
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: Dataset | None = None

    def decoded(self) -> Dataset:
        """Return the whole object, read from disk when need be."""
        return self.dataset if self.dataset is not None else dcmread(self.path or Path())


def read_outgoing(instance: Path | bytes) -> OutgoingFile:
    """Read what is needed to propose and send one DICOM file.

    Args:
        instance: a path, or the bytes of a file with preamble and file meta information.

    Raises:
        SendError: it is no such file.
    """
    try:
        if isinstance(instance, Path):
            meta, dataset, path = read_file_meta_info(instance), None, instance
        else:
            dataset = dcmread(BytesIO(instance))
            meta, path = dataset.file_meta, None
        uids = [meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID]
    except (OSError, EOFError, InvalidDicomError, AttributeError) as error:
        what = str(instance) if isinstance(instance, Path) else f"{len(instance)} bytes"
        raise SendError(f"{what}: no DICOM file with file meta information: {error}") from error
    return OutgoingFile(path, str(uids[0]), str(uids[1]), str(uids[2]), dataset)


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
