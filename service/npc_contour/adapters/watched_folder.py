"""A folder that another program watches: files appear in it whole, and are read back before they count as sent."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage, SegmentationStorage

from npc_contour.domain.jobs import Evidence, FolderDestination, Proof, StoreReceipt
from npc_contour.errors import SendError

READ_BACK = "read back"
PREFIXES = {Comprehensive3DSRStorage: "SR", SegmentationStorage: "SEG", EncapsulatedPDFStorage: "PDF"}
"""By SOP class, how files are called that are no structure sets."""


class FolderSender:
    """Writes `RS.<SOP Instance UID>.dcm`, or what it is instead of RS: `SR` for reports, `SEG` for voxels, `PDF`.

    While it is written the file has another name that begins with a dot. Whoever may read the folder may read the file.
    """

    def send(self, instance: bytes, destination: FolderDestination) -> StoreReceipt:
        """Write one object; on return it is on disk and has been read back.

        Raises:
            SendError: the folder takes no files, or gives others back.
        """
        folder, (name, uid) = Path(destination.path), _name(instance)
        path = folder / f"{name}.dcm"
        part = folder / f".{name}.part"
        try:
            with part.open("wb") as file:
                file.write(instance)
                os.fchmod(file.fileno(), folder.stat().st_mode & 0o666)
                file.flush()
                os.fsync(file.fileno())
            same = part.read_bytes() == instance
            if same:
                part.replace(path)
        except OSError as error:
            raise SendError(f"{destination.name} ({destination.host}): {error.strerror or error}") from error
        if not same:
            raise SendError(f"{destination.name} ({destination.host}): returns other content than was written")
        return StoreReceipt(destination.name, uid, 0x0000, datetime.now(UTC))

    def ask(self, instance: bytes, destination: FolderDestination) -> Evidence:
        """Look whether the file is there, or was taken by whoever watches the folder.

        Raises:
            SendError: the folder cannot be read.
        """
        folder = Path(destination.path)
        path = folder / f"{_name(instance)[0]}.dcm"
        try:
            if not path.exists():
                if not folder.is_dir():
                    raise SendError(f"{destination.name} ({destination.host}): is not there")
                return Evidence(Proof.HELD, f"{READ_BACK}, taken since")
            same = path.read_bytes() == instance
        except OSError as error:
            raise SendError(f"{destination.name} ({destination.host}): {error.strerror or error}") from error
        return Evidence(Proof.HELD if same else Proof.MISSING, READ_BACK)

    def reach(self, destination: FolderDestination) -> str:
        """Return that the folder takes files.

        Raises:
            SendError: it does not.
        """
        probe = Path(destination.path) / ".npc-contour-probe"
        try:
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise SendError(f"{destination.name} ({destination.host}): {error.strerror or error}") from error
        return f"{destination.path} can be written"


def _name(instance: bytes) -> tuple[str, str]:
    """Return the file's name without its ending, and the SOP Instance UID."""
    meta = dcmread(BytesIO(instance), specific_tags=[]).file_meta
    uid = str(meta.MediaStorageSOPInstanceUID)
    return f"{PREFIXES.get(meta.MediaStorageSOPClassUID, 'RS')}.{uid}", uid
