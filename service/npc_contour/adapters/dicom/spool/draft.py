"""A file under way in the spool: bytes are appended as they arrive and go to the disk a mebibyte at a time.

An image is written past the page cache (O_DIRECT): copying half a megabyte into it and having the kernel write it out
again costs more than everything else that is done for an image. What is not a whole block, at the end, goes the usual
way. Where the file system cannot, all of it does.

Such a file has no name before it is kept (O_TMPFILE): many associations would wait for each other to enter theirs into
the one folder and to take them out again, and one whose process dies is gone by itself. Where the file system cannot,
it has one from the beginning.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from npc_contour.domain.series import Seal
from npc_contour.errors import SpoolFullError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_CANNOT = {errno.EINVAL, errno.EOPNOTSUPP, errno.EISDIR}
"""What a file system says that knows no O_DIRECT (the first) or no O_TMPFILE."""
CHUNK = 2**20
BLOCK = 4096
"""O_DIRECT asks for addresses, offsets and lengths in multiples of the disk's block, 512 or 4096."""
_KEPT_CHUNKS = 16
_MODE = 0o640
_WRITE_AND_WAIT = 7
"""SYNC_FILE_RANGE_WAIT_BEFORE | _WRITE | _WAIT_AFTER, see sync_file_range(2)."""
_sync_file_range = ctypes.CDLL(None).sync_file_range
_sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

Buffer = bytes | bytearray | memoryview


@contextmanager
def room_errors(what: str) -> Iterator[None]:
    """Say of a full disk that it is one."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise SpoolFullError(f"the disk took not all of {what}: {error.strerror}") from error
        raise


class Memory:
    """Chunks of memory that begin at a page, lent to drafts and used again; safe for several threads."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def borrow(self) -> mmap.mmap:
        """A chunk."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return mmap.mmap(-1, CHUNK)

    def give_back(self, chunk: mmap.mmap) -> None:
        """Keep a chunk for the next draft, unless many are kept."""
        with self._lock:
            if len(self._free) < _KEPT_CHUNKS:
                self._free.append(chunk)


class Draft:
    """A file under way.

    Attributes:
        path: where the file can be opened until it is discarded.
        size: bytes appended.
    """

    def __init__(
        self, name: Path | None, descriptor: int, memory: Memory, reserve: Callable[[int], None], *, direct: bool
    ) -> None:
        self.path = name or Path(f"/proc/self/fd/{descriptor}")
        self.size = 0
        self._has_name = name is not None
        self._descriptor = descriptor
        self._memory = memory
        self._reserve = reserve
        self._direct = direct
        self._chunk = memory.borrow()
        self._written = 0
        self._digest = hashlib.sha256()

    @classmethod
    def create(cls, folder: Path, name: str, memory: Memory, reserve: Callable[[int], None], *, direct: bool) -> Self:
        """A new file.

        Args:
            folder: where it lies.
            name: its own, where it needs one.
            memory: where its bytes are collected.
            reserve: takes room for so many bytes, or gives it back.
            direct: past the page cache and without a name, where its file system can.
        """
        usual = os.O_RDWR | os.O_CLOEXEC
        if direct:
            try:
                nameless = os.open(folder, usual | os.O_TMPFILE | os.O_DIRECT, _MODE)
                return cls(None, nameless, memory, reserve, direct=True)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
        path = folder / name
        named = usual | os.O_CREAT | os.O_EXCL
        if direct:
            try:
                return cls(path, os.open(path, named | os.O_DIRECT, _MODE), memory, reserve, direct=True)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                path.unlink(missing_ok=True)  # some file systems make the file before they say so
        return cls(path, os.open(path, named, _MODE), memory, reserve, direct=False)

    def link(self, target: Path) -> None:
        """Give the file a name, which must be free, beside the one it may have.

        Raises:
            FileExistsError: something has that name.
            OSError: the file system takes no second name.
        """
        # Only linkat(2) follows the link in /proc to the file itself, and only with a folder does Python call it.
        os.link(self.path, target, src_dir_fd=self._descriptor, follow_symlinks=True)

    def write(self, data: Buffer) -> None:
        """Append.

        Raises:
            SpoolFullError: no room.
        """
        view = memoryview(data)
        self._reserve(view.nbytes)
        self._digest.update(view)
        start = 0
        while start < view.nbytes:
            held = self.size - self._written
            part = view[start : start + CHUNK - held]
            self._chunk[held : held + part.nbytes] = part
            start += part.nbytes
            self.size += part.nbytes
            if held + part.nbytes == CHUNK:
                self._flush(CHUNK)

    @property
    def seal(self) -> Seal:
        """What the file holds, by the bytes that were appended, not by what a disk made of them."""
        return Seal(self._digest.hexdigest(), self.size)

    def replace(self, target: Path, part: Path) -> None:
        """Take the place of a file that has the name, at once.

        Args:
            target: the name.
            part: a free name beside it on the file system, for a moment.

        Raises:
            OSError: the file system takes no second name.
        """
        if self._has_name:
            self.path.replace(target)
            self._has_name = False
            self.path = target
        else:
            self.link(part)
            part.replace(target)

    def view(self) -> memoryview:
        """What is appended so far; of a large file it is read from the disk as it is asked for."""
        if not self._written:
            return memoryview(self._chunk)[: self.size]
        self.write_out()
        return memoryview(mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ))

    def write_out(self) -> None:
        """On return the bytes have left this machine's memory, so that no name can reach the disk before them.

        A journal that commits the name later flushes the disk's own cache first; alone, this makes nothing durable.
        Nothing is appended afterwards.
        """
        held = self.size - self._written
        self._flush(held - held % BLOCK)
        if held % BLOCK:
            self._go_the_usual_way()
            # The chunk begins at what is not written yet: the rest was moved there.
            self._flush(held % BLOCK)
        with room_errors(f"{self.size} bytes"):
            if _sync_file_range(self._descriptor, 0, 0, _WRITE_AND_WAIT) != 0:
                os.fsync(self._descriptor)

    def sync(self) -> None:
        """On return the bytes survive a power cut; their name may not yet."""
        self.write_out()
        with room_errors(f"{self.size} bytes"):
            os.fsync(self._descriptor)

    def discard(self) -> None:
        """Forget the file under way; one that was kept stays under its name. Twice is once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._memory.give_back(self._chunk)
            if self._has_name:
                self.path.unlink(missing_ok=True)
            self._reserve(-self.size)

    def _flush(self, count: int) -> None:
        """Write so many bytes from the beginning of the chunk, and move the others there."""
        if not count:
            return
        held = self.size - self._written
        with memoryview(self._chunk) as chunk, room_errors(f"{self.size} bytes"):
            done = 0
            while done < count:
                done += self._write(chunk[done:count], self._written + done)
        self._written += count
        if held > count:
            self._chunk.move(0, count, held - count)

    def _write(self, data: memoryview, offset: int) -> int:
        try:
            return os.pwrite(self._descriptor, data, offset)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
        # A write that was cut short within a block, or a file system that takes the flag and not the write.
        self._go_the_usual_way()
        return os.pwrite(self._descriptor, data, offset)

    def _go_the_usual_way(self) -> None:
        if self._direct:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            self._direct = False
