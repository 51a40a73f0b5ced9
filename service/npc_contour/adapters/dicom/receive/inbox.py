"""A DICOM node that keeps whatever it is sent: it stands for the planning system in the demo and in trials.

It is no part of the service's own receiver: it accepts every storage class and every caller, so it listens on
loopback only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

SUCCESS = 0x0000
KINDS = {RTStructureSetStorage: "RS", Comprehensive3DSRStorage: "SR", SegmentationStorage: "SEG"}
"""By SOP class, what a file's name begins with; "OT" for others."""
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


class Inbox:
    """Keeps each received object as `<folder>/<kind>.<SOP Instance UID>.dcm`, see `KINDS`.

    Args:
        folder: where files go; made when absent.
        ae_title: this node's AE title.
        port: 0 takes a free one; `port` then says which.
        on_kept: called with each file's path once it is complete.
    """

    def __init__(
        self, folder: Path, *, ae_title: str = "TPS", port: int = 0, on_kept: Callable[[Path], None] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._on_kept = on_kept
        entity = AE(ae_title=ae_title)
        entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), SYNTAXES)
        handlers: list[evt.EventHandlerType] = [(evt.EVT_C_STORE, self._keep)]
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        if server is None:
            raise RuntimeError("pynetdicom returned no server although asked not to block")
        self._server = server
        self.port = int(server.server_address[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _keep(self, event: evt.Event) -> int:
        meta = event.file_meta
        uid = UID(meta.MediaStorageSOPInstanceUID)
        if not uid.is_valid:
            return 0xC000
        kind = KINDS.get(meta.MediaStorageSOPClassUID, "OT")
        path = self._folder / f"{kind}.{uid}.dcm"
        part = path.with_suffix(".part")
        part.write_bytes(event.encoded_dataset())
        part.rename(path)
        if self._on_kept:
            self._on_kept(path)
        return SUCCESS
