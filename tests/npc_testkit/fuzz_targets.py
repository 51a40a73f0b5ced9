"""What the fuzzer throws bytes at: the reader and the receiver, as a stranger reaches them.

A target returns for whatever bytes; what it raises is a fault. The receiver must also end every conversation by
itself, leave no partial file and log no exception that it did not expect.
"""

from __future__ import annotations

import logging
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from npc_contour.adapters.dicom.association.wire import HEAD, PduType, Wire, WireError, checked_head
from npc_contour.adapters.dicom.read import headers, pixels
from npc_contour.adapters.dicom.read.incoming import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from npc_contour.adapters.dicom.receive.conversation import Conversation
from npc_contour.adapters.dicom.receive.negotiation import agree, read_request
from npc_contour.adapters.dicom.receive.scp import storage_services
from npc_contour.adapters.dicom.receive.services import AssociationInfo, Services, verification
from npc_contour.adapters.dicom.receive.storing import Session, Storing
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.app.dicom_services import further_services
from npc_contour.errors import InstanceRefused, PixelDataError

SYNTAXES = tuple(map(str, (*pixels.NATIVE_SYNTAXES, *pixels.COMPRESSED_SYNTAXES)))
MAX_BYTES = 20_000

Target = Callable[[bytes], None]


def fuzz_reader(data: bytes) -> None:
    """A file; and a data set whose transfer syntax the first byte chooses, down to its pixels."""
    with suppress(InstanceRefused):
        headers.read_bytes(data, key="")
    if not data:
        return
    try:
        parsed = headers.parse_data_set(data[1:], SYNTAXES[data[0] % len(SYNTAXES)])
        headers.header_of(parsed, key="")
        pixels.decode(parsed)
    except (InstanceRefused, PixelDataError):
        return


class _Peer(socket.socket):
    """A connection whose peer has sent these bytes and gone."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._left = memoryview(data)

    def recv_into(self, buffer: memoryview, *_: object) -> int:  # type: ignore[override]
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def sendall(self, *_: object) -> None:
        """Take the answer: nobody hears it."""

    def shutdown(self, _: int) -> None:
        raise OSError("the peer is gone")


class _NoSurprise(logging.Handler):
    """Raises what the service caught and logged with its trace: at its edges it must catch, here it is a fault."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            raise record.exc_info[1]


class FuzzDoor:
    """The receiver without its acceptor: what one peer may send from its first byte to its last."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)
        self._folder = Path(tempfile.mkdtemp(prefix="npc-fuzz-", dir=memory if memory.is_dir() else None))
        self._spool = Spool(self._folder, min_free_mb=1)
        self._storing = Storing(self._spool, lambda *_: None)
        further = further_services(lambda *_: True, lambda _: True, lambda *_: True, lambda _: None)
        self._services = Services([verification(), *storage_services(), *further])
        self._rounds = 0
        self._listener = _NoSurprise(logging.ERROR)
        logging.getLogger("npc_contour").addHandler(self._listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def kept(self) -> int:
        """How many images are kept now."""
        return sum(1 for _ in (self._folder / "instances").rglob("*.dcm"))

    def __call__(self, data: bytes) -> None:
        """Let a peer send these bytes, an association request first."""
        try:
            kind, length = checked_head(data[:HEAD].ljust(HEAD, b"\0"))
            if kind is not PduType.ASSOCIATE_RQ or len(data) < HEAD + length:
                return
            request = read_request(data[: HEAD + length])
            agreement = agree(request, self._services.contexts, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)
        except WireError:
            return
        info = AssociationInfo("a", request.calling_ae_title, request.called_ae_title, "127.0.0.1")
        session = Session(info)
        with _Peer(data[HEAD + length :]) as peer:
            Conversation(
                Wire(peer, 5.0),
                agreement,
                info,
                self._services,
                lambda command, context: self._storing.begin(command, context, session),
                lambda _: None,
                message_s=60.0,
            ).run()
        if left := list((self._folder / "incoming").iterdir()):
            raise AssertionError(f"{len(left)} partial files are left")
        self._tidy()

    def close(self) -> None:
        """Remove its folder."""
        logging.getLogger("npc_contour").removeHandler(self._listener)
        shutil.rmtree(self._folder)

    def _tidy(self) -> None:
        self._rounds += 1
        if self._rounds % 500 == 0:
            for name in ("instances", "quarantine"):
                shutil.rmtree(self._folder / name)
                (self._folder / name).mkdir()


def corpus(folder: Path) -> Iterator[bytes]:
    """The kept inputs of a target."""
    for path in sorted(folder.iterdir()):
        yield path.read_bytes()
