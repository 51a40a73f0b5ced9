"""Files of the service: received instances keyed by UID, and artefacts keyed by case.

A file appears at its final name whole or not at all: it is written as `.part`, flushed to disk, linked to its
name (which never overwrites) and its folder is flushed too. The database says what exists; the spool only keeps bytes.

    <root>/instances/<study>/<series>/<instance>.dcm
    <root>/artefacts/<case>/<name>
    <root>/quarantine/<instance>-<hash>.dcm        other bytes under a UID that is already kept
    <root>/incoming/<random>.part                  removed at start
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from npc_contour.adapters.dicom.headers import is_uid
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused, SpoolFullError

INVALID_UID = 0xC002
_MEBIBYTE = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

Buffer = bytes | bytearray | memoryview


class Outcome(StrEnum):
    """What `keep` did."""

    KEPT = "kept"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an instance is.

    Attributes:
        key: of the first bytes kept under this UID.
        quarantine_key: of these bytes when they differ from the first; None otherwise.
    """

    key: str
    outcome: Outcome
    quarantine_key: str | None = None


@dataclass(frozen=True, slots=True)
class SpoolSpace:
    """Room on the spool's disk.

    Attributes:
        used_bytes: held by the spool; None where no quota asks to count.
        refusal: why nothing more is taken; None while there is room.
    """

    free_bytes: int
    used_bytes: int | None
    refusal: str | None


class Spool:
    """Durable files under one folder; safe for several threads and processes.

    Args:
        root: created when absent; everything lies below it, on one local file system.
        min_free_mb: mebibytes that stay free on the disk.
        quota_mb: mebibytes that the spool may hold; None is unlimited. Counted at start and by this process since.
    """

    def __init__(self, root: Path, *, min_free_mb: int = 2048, quota_mb: int | None = None) -> None:
        self._root = root.resolve()
        self._min_free = min_free_mb * _MEBIBYTE
        self._quota = None if quota_mb is None else quota_mb * _MEBIBYTE
        self._lock = threading.Lock()
        self._reserved = 0
        for folder in ("instances", "artefacts", "quarantine", "incoming"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        self._used = self._count() if self._quota is not None else None

    def remove_partial_files(self) -> int:
        """Delete what unfinished transfers left; call once at start, before anything writes. Returns how many."""
        parts = list((self._root / "incoming").glob("*.part"))
        for part in parts:
            part.unlink(missing_ok=True)
        return len(parts)

    def key_of(self, header: InstanceHeader) -> str:
        """The key under which this instance is or would be kept.

        Raises:
            InstanceRefused: a UID is not a UID; it never touches a path.
        """
        uids = (header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid)
        for name, uid in zip(("Study Instance UID", "Series Instance UID", "SOP Instance UID"), uids, strict=True):
            if not is_uid(uid):
                raise InstanceRefused(f"{name} is not a UID: {uid[:64]!r}", status=INVALID_UID)
        return f"instances/{uids[0]}/{uids[1]}/{uids[2]}.dcm"

    def keep(self, header: InstanceHeader, chunks: Sequence[Buffer]) -> Kept:
        """Keep the bytes of one instance; on return they survive a power cut.

        The same bytes again change nothing. Other bytes under the same UID are quarantined: the first stay.

        Raises:
            InstanceRefused: a UID is not a UID.
            SpoolFullError: no room; nothing is left behind.
        """
        key = self.key_of(header)
        with self._part_file(chunks) as part:
            if self._publish(part, self._root / key):
                return Kept(key, Outcome.KEPT)
            if _same_bytes(part, self._root / key):
                return Kept(key, Outcome.SAME)
            digest = hashlib.sha256(part.read_bytes()).hexdigest()[:16]
            quarantine_key = f"quarantine/{header.sop_instance_uid}-{digest}.dcm"
            self._publish(part, self._root / quarantine_key)
            return Kept(key, Outcome.CONFLICT, quarantine_key)

    def put_artefact(self, case_id: str, name: str, data: Buffer) -> str:
        """Keep something made of a case, replacing an earlier one of that name; returns its key.

        Raises:
            ValueError: case or name would not stay inside the folder of artefacts.
            SpoolFullError: no room.
        """
        key = self.artefact_key(case_id, name)
        target = self._root / key
        with self._part_file([data]) as part:
            _make_folder(target.parent, self._root)
            part.replace(target)
            _sync_folder(target.parent)
        return key

    def artefact_key(self, case_id: str, name: str) -> str:
        """The key of an artefact, whether or not it exists."""
        for part in (case_id, name):
            if not _NAME.fullmatch(part):
                raise ValueError(f"an artefact's case and name are letters, digits, '._-', got {part!r}")
        return f"artefacts/{case_id}/{name}"

    def exists(self, key: str) -> bool:
        """Whether the file of a key is there (and so complete)."""
        return self.open_path(key).is_file()

    def read(self, key: str) -> bytes:
        """The bytes of a key."""
        return self.open_path(key).read_bytes()

    def open_path(self, key: str) -> Path:
        """The file of a key.

        Raises:
            ValueError: the key is not one of this spool's.
        """
        parts = PurePosixPath(key).parts
        if not parts or parts[0] not in {"instances", "artefacts", "quarantine"} or ".." in parts:
            raise ValueError(f"not a key of this spool: {key!r}")
        return self._root.joinpath(*parts)

    def delete(self, key: str) -> bool:
        """Delete the file of a key and the folders it leaves empty; returns whether it was there."""
        path = self.open_path(key)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return False
        self._add_used(-size)
        for folder in path.parents[: len(PurePosixPath(key).parts) - 2]:
            try:
                folder.rmdir()
            except OSError:
                break
        return True

    def space(self) -> SpoolSpace:
        """How much room is left, and why nothing more would be taken."""
        free = shutil.disk_usage(self._root).free
        return SpoolSpace(free, self._used, self._refusal(free, size=0))

    def _refusal(self, free: int, *, size: int) -> str | None:
        if free - self._reserved - size < self._min_free:
            return f"disk has {free // _MEBIBYTE} MiB free, {self._min_free // _MEBIBYTE} MiB must stay free"
        if self._quota is not None and self._used is not None and self._used + self._reserved + size > self._quota:
            return f"spool holds {self._used // _MEBIBYTE} MiB of its quota of {self._quota // _MEBIBYTE} MiB"
        return None

    @contextmanager
    def _reservation(self, size: int) -> Iterator[None]:
        with self._lock:
            refusal = self._refusal(shutil.disk_usage(self._root).free, size=size)
            if refusal is not None:
                raise SpoolFullError(f"no room for {size} bytes: {refusal}")
            self._reserved += size
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= size

    @contextmanager
    def _part_file(self, chunks: Sequence[Buffer]) -> Iterator[Path]:
        """Write chunks to a temporary file on disk; it is gone afterwards unless it was published."""
        part = self._root / "incoming" / f"{uuid.uuid4().hex}.part"
        size = sum(memoryview(chunk).nbytes for chunk in chunks)
        with self._reservation(size):
            try:
                with part.open("xb", buffering=0) as file:
                    for chunk in chunks:
                        _write_all(file.fileno(), memoryview(chunk))
                    os.fsync(file.fileno())
                yield part
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                    raise SpoolFullError(f"the disk took not all of {size} bytes: {error.strerror}") from error
                raise
            finally:
                part.unlink(missing_ok=True)

    def _publish(self, part: Path, target: Path) -> bool:
        """Give the part its final name; False when something has that name already, which stays."""
        _make_folder(target.parent, self._root)
        try:
            os.link(part, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EOPNOTSUPP}:
                raise
            if target.exists():  # a file system without links: only then two processes could race here
                return False
            part.rename(target)
        _sync_folder(target.parent)
        self._add_used(target.stat().st_size)
        return True

    def _add_used(self, size: int) -> None:
        with self._lock:
            if self._used is not None:
                self._used += size

    def _count(self) -> int:
        return sum(path.stat().st_size for path in self._root.rglob("*") if path.is_file())


def _write_all(descriptor: int, data: memoryview) -> None:
    while data.nbytes:
        data = data[os.write(descriptor, data) :]


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _make_folder(folder: Path, root: Path) -> None:
    """Create a folder durably: each new name is flushed in its parent."""
    if folder.is_dir():
        return
    if folder != root:
        _make_folder(folder.parent, root)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
