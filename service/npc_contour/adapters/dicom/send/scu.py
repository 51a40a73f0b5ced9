"""Send: C-ECHO and C-STORE to another node.

A file leaves as it lies on disk, in its own transfer syntax. Only where the peer takes nothing but the default
transfer syntax (Implicit VR Little Endian, PS3.5 10.1) an uncompressed file is encoded again for it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.association.requestor import Link, associate, describe
from npc_contour.adapters.dicom.send.outgoing import (
    RE_ENCODABLE,
    OutgoingFile,
    find_dicom_files,
    presentation_contexts,
    read_outgoing,
)
from npc_contour.domain.dimse import status_words
from npc_contour.domain.jobs import Destination, StoreReceipt
from npc_contour.errors import SendError

Progress = Callable[[int, int], None]
"""Called with (done, total) after each object."""


@dataclass(frozen=True, slots=True)
class EchoResult:
    """A C-ECHO that was answered with success.

    Attributes:
        seconds: from opening the connection to the answer.
        implementation: what the peer calls its DICOM implementation; "" when it does not say.
    """

    destination: str
    seconds: float
    implementation: str


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What became of a folder.

    Attributes:
        receipts: one per object, stored or not.
        skipped: files that are no DICOM files.
        seconds: for all of it.
    """

    receipts: tuple[StoreReceipt, ...]
    skipped: tuple[Path, ...]
    seconds: float

    @property
    def failures(self) -> tuple[StoreReceipt, ...]:
        """Receipts of what the destination did not store."""
        return tuple(receipt for receipt in self.receipts if not receipt.is_stored)


class DicomSender:
    """Sends to destinations under our AE title.

    Args:
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.
    """

    def __init__(self, calling_ae: str, timeout_s: float) -> None:
        self._calling_ae = calling_ae
        self._timeout_s = timeout_s

    def send(self, instance: bytes, destination: Destination) -> StoreReceipt:
        """Send one object and return the peer's answer, whatever it says.

        Args:
            instance: a whole DICOM file (PS3.10); its data set leaves byte for byte.
            destination: where to.

        Raises:
            SendError: there was no answer.
        """
        # pynetdicom sends either a decoded object, which it encodes again, or a file as it is: a file of memory, which
        # is gone with this process whatever ends it.
        with open(os.memfd_create("npc-contour-send"), "wb") as file:  # noqa: PTH123 - it has no path
            file.write(instance)
            file.flush()
            outgoing = [read_outgoing(Path(f"/proc/self/fd/{file.fileno()}"))]
            return _send_until_refused(outgoing, destination, self._calling_ae, self._timeout_s, None)[0]

    def echo(self, destination: Destination) -> EchoResult:
        """C-ECHO a destination; raises SendError as `echo` does."""
        return echo(destination, self._calling_ae, self._timeout_s)


def echo(destination: Destination, calling_ae: str, timeout_s: float) -> EchoResult:
    """Ask a node whether it lives (C-ECHO).

    Args:
        destination: whom.
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.

    Raises:
        SendError: no answer, or another answer than success; the message names the cause.
    """
    started = time.monotonic()
    with associate(destination, [build_context(Verification)], calling_ae, timeout_s) as link:
        asked = time.monotonic()
        status = _status(link, link.association.send_c_echo(), "C-ECHO", asked)
        seconds = time.monotonic() - started
        version = link.association.acceptor.implementation_version_name
    if status != 0x0000:
        raise SendError(f"{link.peer} answered C-ECHO with {status_words(status)}")
    return EchoResult(destination.name, seconds, str(version or "").strip())


def send(
    paths: Sequence[Path],
    destination: Destination,
    calling_ae: str,
    timeout_s: float,
    progress: Progress | None = None,
) -> tuple[StoreReceipt, ...]:
    """Store files at a destination over one association.

    Args:
        paths: DICOM files.
        destination: where to.
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.
        progress: called after each object.

    Returns:
        One receipt per object, in order; each says that the object is stored, perhaps with a warning (0xBxxx).

    Raises:
        SendError: at the first object that the destination does not store; those before it are stored.
    """
    files = [read_outgoing(path) for path in paths]
    receipts = _send_until_refused(files, destination, calling_ae, timeout_s, progress)
    if receipts and not receipts[-1].is_stored:
        last = receipts[-1]
        peer = describe(destination)
        raise SendError(f"{peer} did not store {last.sop_instance_uid}: {status_words(last.status)}")
    return tuple(receipts)


def send_series(
    source: Path | Iterable[Path],
    destination: Destination,
    calling_ae: str,
    timeout_s: float,
    *,
    associations: int = 1,
    shuffle_seed: int | None = None,
    progress: Progress | None = None,
) -> SeriesReport:
    """Store a whole folder as a scanner or PACS would; a refused object does not stop the others.

    Args:
        source: a folder (searched at every depth) or files; what is no DICOM file is skipped and reported.
        destination: where to.
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.
        associations: this many at once, objects dealt out in turn.
        shuffle_seed: shuffles the order; None keeps the order of the file names.
        progress: called after each object; calls do not overlap.

    Raises:
        SendError: there is nothing to send, or an association fails.
    """
    started = time.monotonic()
    files, skipped = find_dicom_files(source)
    if not files:
        raise SendError(f"no DICOM file to send in {source} ({len(skipped)} other files)")
    if shuffle_seed is not None:
        random.Random(shuffle_seed).shuffle(files)  # noqa: S311 (an order, not a secret)
    count = _Count(len(files), progress)

    def store(share: list[OutgoingFile]) -> list[StoreReceipt]:
        receipts: list[StoreReceipt] = []
        with associate(destination, presentation_contexts(share), calling_ae, timeout_s) as link:
            for file in share:
                receipts.append(_store(link, file, destination, len(receipts) % 0xFFFF + 1))
                count.up()
        return receipts

    shares = [files[start::associations] for start in range(min(associations, len(files)))]
    with ThreadPoolExecutor(max_workers=len(shares)) as pool:
        receipts = [receipt for share in pool.map(store, shares) for receipt in share]
    return SeriesReport(tuple(receipts), skipped, time.monotonic() - started)


def _send_until_refused(
    files: Sequence[OutgoingFile],
    destination: Destination,
    calling_ae: str,
    timeout_s: float,
    progress: Progress | None,
) -> list[StoreReceipt]:
    count = _Count(len(files), progress)
    receipts: list[StoreReceipt] = []
    with associate(destination, presentation_contexts(files), calling_ae, timeout_s) as link:
        for file in files:
            receipts.append(_store(link, file, destination, len(receipts) % 0xFFFF + 1))
            if not receipts[-1].is_stored:
                break
            count.up()
    return receipts


class _Count:
    """Counts objects of several associations for one progress display."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = Lock()

    def up(self) -> None:
        with self._lock:
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total)


def _store(link: Link, file: OutgoingFile, destination: Destination, message_id: int) -> StoreReceipt:
    doing = f"C-STORE of {file.sop_instance_uid}"
    if not link.association.is_established:
        raise link.lost(doing, 0.0)
    content = _content(link, file)
    asked = time.monotonic()
    try:
        answer = link.association.send_c_store(content, msg_id=message_id)
    except (ValueError, AttributeError, OSError) as error:
        raise SendError(f"{file.path} cannot be sent to {link.peer}: {error}") from error
    except RuntimeError as error:  # the peer went away between the look above and the request
        raise link.lost(doing, time.monotonic() - asked) from error
    status = _status(link, answer, doing, asked)
    return StoreReceipt(destination.name, file.sop_instance_uid, status, datetime.now(UTC))


def _content(link: Link, file: OutgoingFile) -> Path | Dataset:
    """Return what goes to pynetdicom: the file as it lies, or its data set where it must be encoded again."""
    accepted = {
        str(context.transfer_syntax[0])
        for context in link.association.accepted_contexts
        if context.abstract_syntax == file.sop_class_uid
    }
    if file.transfer_syntax_uid in accepted:
        return file.path
    if UID(file.transfer_syntax_uid) in RE_ENCODABLE and ImplicitVRLittleEndian in accepted:
        return dcmread(file.path)
    raise SendError(
        f"{link.peer} does not accept {UID(file.sop_class_uid).name} in {UID(file.transfer_syntax_uid).name}"
        f" ({file.sop_instance_uid})"
    )


def _status(link: Link, answer: Dataset, doing: str, asked: float) -> int:
    if "Status" not in answer:
        raise link.lost(doing, time.monotonic() - asked)
    return int(answer.Status)
