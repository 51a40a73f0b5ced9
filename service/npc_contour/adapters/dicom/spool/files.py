"""Files of the service: received instances keyed by UID, and artefacts keyed by case.

A file appears at its final name whole or not at all: it is written without a name (or as `.part`), its bytes leave for
the disk, it is linked to its name (which never overwrites), and file and folder are flushed. The database says what
exists; the spool only keeps bytes. The disk is a local one with a journal (ext4, XFS).

    <root>/instances/<study>/<series>/<instance>.dcm
    <root>/artefacts/<case>/<name>
    <root>/quarantine/<instance>-<hash>.dcm        different content under a UID that is already stored
    <root>/damaged/<name>-<random>                 what was found damaged: never read again, there for a person to see
    <root>/installation                            id of the installation whose files these are
    <root>/incoming/<random>.part                  artefacts under way; also images, where a file needs a name
"""

from __future__ import annotations

import errno
import filecmp
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO

from npc_contour.adapters.dicom.read.headers import read_bytes
from npc_contour.adapters.dicom.read.incoming import REGISTRATION
from npc_contour.adapters.dicom.read.pixels import layout_of, pixel_bytes
from npc_contour.adapters.dicom.spool.draft import NO_ROOM, Buffer, Draft, Memory, room_errors
from npc_contour.application.group_commit import GroupCommit
from npc_contour.domain.series import NOT_NOTED, InstanceHeader, Seal
from npc_contour.domain.uids import is_uid
from npc_contour.errors import DamagedFileError, InstanceRefused, PixelDataError, SpoolFullError

INVALID_UID = 0xC002
_MEBIBYTE = 2**20
_LOOK_S = 0.05
"""How old a look at the disk's free room may be; a disk takes about 50 MB meanwhile, far less than must stay free."""
INSTALLATION = "installation"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_NAMES_WITH_FILES = frozenset({"ext4", "xfs"})
"""File systems on which a file's flush commits the names given to it before: one journal, in order, holds both (ext4:
`ext4_sync_file` commits the inode's last transaction, of which the link was part; XFS forces its log as far). Elsewhere
the folder is flushed, too, which waits for the disk a second time."""


class Outcome(StrEnum):
    """What `keep` did."""

    KEPT = "kept"
    SAME = "same"
    CONFLICT = "conflict"
    REPAIRED = "repaired"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an instance is.

    Attributes:
        key: of the first bytes kept under this UID.
        quarantine_key: of these bytes when they differ from the first; None otherwise.
        seal: of these bytes.
    """

    key: str
    outcome: Outcome
    seal: Seal
    quarantine_key: str | None = None


Known = Callable[[InstanceHeader], Seal | None]
"""What the row of an image says that its file must hold, `NOT_NOTED` where it does not say; None without a row."""


def _nothing_known(_: InstanceHeader) -> Seal | None:
    return None


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
        lane: begins the names of this process's files under way, so that it can tell what it left when it died.

    Attributes:
        known: what the row of an image says that its file must hold; set by whoever has the rows.
    """

    def __init__(self, root: Path, *, min_free_mb: int = 2048, quota_mb: int | None = None, lane: str = "") -> None:
        self._root = root.resolve()
        self.known: Known = _nothing_known
        self._lane = f"{lane}-" if lane else ""
        self._memory = Memory()
        self._folders: GroupCommit[Path, None] = GroupCommit(_sync_folders)
        self._min_free = min_free_mb * _MEBIBYTE
        self._quota = None if quota_mb is None else quota_mb * _MEBIBYTE
        self._lock = threading.Lock()
        self._reserved = 0
        self._incoming = self._root / "incoming"
        self._free = (-_LOOK_S, 0)
        for folder in ("instances", "artefacts", "quarantine", "incoming", "damaged"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        _close_to_others(self._root)
        self._names_with_files = _file_system(self._root) in _NAMES_WITH_FILES
        self._used = self._count() if self._quota is not None else None

    def installation_id(self) -> str:
        """The id of the installation to which these files belong; "" where there is none."""
        try:
            return (self._root / INSTALLATION).read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return ""

    def set_installation_id(self, installation_id: str) -> None:
        """Put an id into it, durably, in place of any other."""
        part = self._incoming / f"{INSTALLATION}-{uuid.uuid4().hex}.part"
        with part.open("w", encoding="ascii") as file:
            file.write(f"{installation_id}\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._root / INSTALLATION)
        _sync_folder(self._root)

    def has_files(self) -> bool:
        """Whether images or artefacts are in it."""
        folders = (self._root / "instances", self._root / "artefacts")
        return any(path.is_file() for folder in folders for path in folder.rglob("*"))

    def remove_partial_files(self) -> int:
        """Delete what unfinished transfers of this lane left (without a lane: of all); returns how many.

        Call once at start, before anything writes.
        """
        parts = list((self._root / "incoming").glob(f"{self._lane}*.part"))
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
        """Keep the bytes of one instance; see `keep_draft`."""
        self.key_of(header)
        with self.draft(direct=True) as draft:
            for chunk in chunks:
                draft.write(chunk)
            return self.keep_draft(header, draft)

    def temporary_file(self) -> IO[bytes]:
        """A file without a name on the spool's disk; in memory while it is small. It is gone once it is closed."""
        return tempfile.SpooledTemporaryFile(_MEBIBYTE, dir=str(self._incoming))

    @contextmanager
    def draft(self, *, direct: bool = False) -> Iterator[Draft]:
        """A file under way; it is gone at the end of the block, unless it was kept. See `new_draft`."""
        draft = self.new_draft(direct=direct)
        try:
            yield draft
        finally:
            draft.discard()

    def new_draft(self, *, direct: bool = True) -> Draft:
        """A file under way; whoever asks for it calls its `discard` in the end, kept or not.

        Args:
            direct: its bytes go to the disk past the system's cache, as those of images, which nobody reads for a
                while: it costs a third of the time of the processor, and the flush has less to wait for.

        Raises:
            SpoolFullError: no room.
        """
        with room_errors("a file"):
            name = f"{self._lane}{uuid.uuid4().hex}.part"
            return Draft.create(self._incoming, name, self._memory, self._reserve, direct=direct)

    def keep_draft(self, header: InstanceHeader, draft: Draft) -> Kept:
        """Give a draft its name and make both durable; see `name` for what becomes of it."""
        kept = self.name(header, draft)
        self.settle(kept, draft)
        return kept

    def name(self, header: InstanceHeader, draft: Draft) -> Kept:
        """Give a draft its name: from now on it is there, whole; `settle` must follow to make it survive a power cut.

        The same bytes again change nothing. Different content with the same UID is quarantined: the first stays, unless
        they are damaged and these are what they were.

        Raises:
            InstanceRefused: a UID is not a UID.
            SpoolFullError: no room; nothing is left behind.
        """
        key, seal = self.key_of(header), draft.seal
        draft.write_out()
        if self._publish(draft, self._root / key):
            return Kept(key, Outcome.KEPT, seal)
        if _same_bytes(draft.path, self._root / key):
            return Kept(key, Outcome.SAME, seal)
        if self._is_repair(key, seal, self.known(header)):
            with room_errors(key):
                draft.replace(self._root / key, self._incoming / f"{self._lane}{uuid.uuid4().hex}.part")
            return Kept(key, Outcome.REPAIRED, seal)
        quarantine_key = f"quarantine/{header.sop_instance_uid}-{seal.sha256[:16]}.dcm"
        self._publish(draft, self._root / quarantine_key)
        return Kept(key, Outcome.CONFLICT, seal, quarantine_key)

    def _is_repair(self, key: str, seal: Seal, known: Seal | None) -> bool:
        """Whether what is kept is damaged and new bytes are what it was.

        Of a file that a former version kept nothing was noted: it counts as damaged only where it is no image any more.
        """
        if known is None or known != NOT_NOTED:
            return seal == known
        try:
            self.examine(key)
        except DamagedFileError:
            return True
        return False

    def examine(self, key: str) -> Seal:
        """The seal of an image of which nothing was noted, once it has proved to be a whole one.

        Raises:
            DamagedFileError: it is gone, or no whole image.
        """
        content = self.read(key)
        try:
            _, parsed = read_bytes(content, key=key)
            if parsed.elements.text("Modality") != REGISTRATION:
                pixel_bytes(parsed, layout_of(parsed))
        except (InstanceRefused, PixelDataError) as error:
            raise DamagedFileError(key, f"no whole image: {error}") from error
        return Seal.of(content)

    def settle(self, kept: Kept, draft: Draft) -> None:
        """On return bytes and name survive a power cut, whoever wrote them: others may have just brought the same."""
        if kept.outcome is Outcome.SAME:
            descriptor = os.open(self.open_path(kept.key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        else:
            draft.sync()
        if not self._names_with_files:
            self._folders.run(self.open_path(kept.quarantine_key or kept.key).parent)

    def put_artefact(self, case_id: str, name: str, data: Buffer) -> str:
        """Keep something made of a case, replacing an earlier one of that name; returns its key.

        Raises:
            ValueError: case or name would not stay inside the folder of artefacts.
            SpoolFullError: no room.
        """
        key = self.artefact_key(case_id, name)
        target = self._root / key
        with self.draft() as draft, room_errors(name):
            draft.write(data)
            draft.sync()
            _make_folder(target.parent, self._root)
            draft.path.replace(target)
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

    def read(self, key: str, seal: Seal | None = None) -> bytes:
        """The bytes of a key: the one way to anything that is used.

        Args:
            key: of the file.
            seal: what it must hold; None where a former version kept it and nobody noted that.

        Raises:
            DamagedFileError: it is gone, or not what was kept.
        """
        try:
            content = self.open_path(key).read_bytes()
        except FileNotFoundError as error:
            raise DamagedFileError(key, "the file is gone from the disk", is_gone=True) from error
        if seal is not None and Seal.of(content) != seal:
            raise DamagedFileError(key, f"damaged on the disk: {_not_as_kept(content, seal)}")
        return content

    def read_image(self, header: InstanceHeader) -> bytes:
        """The file of an image, as it was kept.

        Raises:
            DamagedFileError: it is gone, or not what was kept.
        """
        return self.read(header.key, header.seal)

    def size(self, key: str) -> int | None:
        """How many bytes the file of a key has; None where it is gone."""
        try:
            return self.open_path(key).stat().st_size
        except FileNotFoundError:
            return None

    def put_away(self, key: str) -> bool:
        """Take a damaged file out of use, durably; returns whether it was there."""
        path = self.open_path(key)
        name = f"{'-'.join(PurePosixPath(key).parts[-2:])}-{uuid.uuid4().hex[:8]}"
        try:
            path.rename(self._root / "damaged" / name[-200:])
        except FileNotFoundError:
            return False
        _sync_folder(path.parent)
        return True

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
        free = self.free_bytes()
        return SpoolSpace(free, self._used, self._refusal(free, size=0))

    def free_bytes(self) -> int:
        """How much of the disk is free."""
        return shutil.disk_usage(self._root).free

    def set_aside(self, size: int) -> None:
        """Keep `size` bytes of what is free for a purpose; a negative size gives them back.

        Raises:
            SpoolFullError: that much is not free.
        """
        self._reserve(size)

    def instance_files(self) -> Iterator[tuple[str, float]]:
        """Key and age in seconds of every received image that is complete."""
        # By the clock of whoever keeps the files, which need not be this machine's.
        with tempfile.NamedTemporaryFile(dir=self._incoming, prefix=self._lane, suffix=".part") as probe:
            now = os.fstat(probe.fileno()).st_mtime
        for path in (self._root / "instances").rglob("*.dcm"):
            try:
                age_s = now - path.stat().st_mtime
            except FileNotFoundError:  # deleted since
                continue
            yield path.relative_to(self._root).as_posix(), age_s

    def delete_artefacts(self, case_id: str) -> int:
        """Delete every file of a case; returns how many."""
        folder = self.open_path(self.artefact_key(case_id, "x")).parent
        keys = [path.relative_to(self._root).as_posix() for path in folder.glob("*") if path.is_file()]
        return sum(self.delete(key) for key in keys)

    def _refusal(self, free: int, *, size: int) -> str | None:
        if free - self._reserved - size < self._min_free:
            return f"disk has {free // _MEBIBYTE} MiB free, {self._min_free // _MEBIBYTE} MiB must stay free"
        if self._quota is not None and self._used is not None and self._used + self._reserved + size > self._quota:
            return f"spool holds {self._used // _MEBIBYTE} MiB of its quota of {self._quota // _MEBIBYTE} MiB"
        return None

    def _reserve(self, size: int) -> None:
        """Take `size` bytes of what is free until they are on disk; a negative size gives them back.

        Raises:
            SpoolFullError: that much is not free.
        """
        with self._lock:
            if size > 0 and (refusal := self._refusal(self._free_lately(), size=size)) is not None:
                raise SpoolFullError(f"no room for {size} bytes: {refusal}")
            self._reserved += size

    def _free_lately(self) -> int:
        """How much of the disk was free a moment ago: to ask for each packet would cost more than to write it."""
        now = time.monotonic()
        if now - self._free[0] >= _LOOK_S:
            self._free = (now, self.free_bytes())
        return self._free[1]

    def _publish(self, draft: Draft, target: Path) -> bool:
        """Give a draft its final name; False when something has that name already, which stays."""
        try:
            _make_folder(target.parent, self._root)
            draft.link(target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in NO_ROOM:
                raise SpoolFullError(f"no room for {target.name}: {error.strerror}") from error
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EOPNOTSUPP}:
                raise
            if target.exists():  # a file system without links: only then two processes could race here
                return False
            draft.path.rename(target)
        self._add_used(draft.size)
        return True

    def _add_used(self, size: int) -> None:
        with self._lock:
            if self._used is not None:
                self._used += size

    def _count(self) -> int:
        return sum(path.stat().st_size for path in self._root.rglob("*") if path.is_file())


def _not_as_kept(content: bytes, seal: Seal) -> str:
    if len(content) != seal.size:
        return f"{len(content)} bytes, {seal.size} were kept"
    return f"{seal.size} bytes as kept, with other values (SHA-256 differs)"


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)


def _make_folder(folder: Path, root: Path) -> None:
    """Create a folder durably: each new name is flushed in its parent."""
    if folder.is_dir():
        return
    if folder != root:
        _make_folder(folder.parent, root)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folders(folders: Sequence[Path], meanwhile: Callable[[], None]) -> list[None]:
    """Flush each folder once, however many files were linked into it meanwhile."""
    meanwhile()
    for folder in set(folders):
        _sync_folder(folder)
    return [None] * len(folders)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on, as the kernel calls it; "" where it does not tell."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[2] == wanted:
            return source.split(" ", 1)[0]
    return ""


def _close_to_others(folder: Path) -> None:
    """Let the service's own user alone enter: images have patients' names in them."""
    state = folder.stat()
    if state.st_mode & 0o077 and state.st_uid == os.geteuid():
        folder.chmod(0o700)
