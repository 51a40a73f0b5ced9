"""What is appended to a draft is what lies on the disk, byte for byte, however it gets there."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.spool.draft import BLOCK, CHUNK, Draft, Memory
from npc_contour.errors import SpoolFullError

SIZES = [1, BLOCK - 1, BLOCK, BLOCK + 1, 525_340, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5000]


def draft_at(path: Path, memory: Memory | None = None, *, direct: bool = True) -> Draft:
    return Draft.create(path.parent, path.name, memory or Memory(), lambda _: None, direct=direct)


def parts(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_lies_there_whole(size: int, direct: bool, tmp_path: Path) -> None:  # noqa: FBT001
    data = os.urandom(size)
    draft = draft_at(tmp_path / "a", direct=direct)
    for part in parts(data, 131_066):
        draft.write(part)

    with draft.view() as seen:
        assert bytes(seen) == data
    draft.sync()

    assert draft.path.read_bytes() == data
    with draft.view() as seen:
        assert bytes(seen) == data
    draft.discard()
    assert not (tmp_path / "a").exists()


def test_memory_that_is_used_again_shows_nothing_of_what_was_there(tmp_path: Path) -> None:
    memory = Memory()
    first = draft_at(tmp_path / "a", memory)
    first.write(b"secret" * 1000)
    first.discard()
    second = draft_at(tmp_path / "b", memory)
    second.write(b"short")
    second.sync()

    assert second.path.read_bytes() == b"short"
    second.discard()
    assert len(memory._free) == 1


def test_an_image_under_way_has_no_name_until_it_is_given_one(tmp_path: Path) -> None:
    draft = draft_at(tmp_path / "a.part")
    draft.write(b"x" * 10_000)
    draft.write_out()
    assert list(tmp_path.iterdir()) == []

    draft.link(tmp_path / "kept")
    with pytest.raises(FileExistsError):
        draft.link(tmp_path / "kept")
    draft.discard()

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"x" * 10_000}


@pytest.mark.parametrize("lacking", [os.O_TMPFILE, os.O_DIRECT], ids=["no O_TMPFILE", "no O_DIRECT either"])
def test_where_a_file_needs_a_name_it_has_one_from_the_beginning(
    lacking: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refusing(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE or flags & lacking == lacking:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    draft = draft_at(tmp_path / "a.part")
    draft.write(b"x" * 10_000)
    draft.link(tmp_path / "kept")
    draft.sync()
    assert (tmp_path / "a.part").read_bytes() == b"x" * 10_000
    draft.discard()

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"x" * 10_000}


def test_where_memory_is_the_disk_it_goes_the_usual_way() -> None:
    """Some file systems refuse O_DIRECT, others take it."""
    folder = Path("/dev/shm")  # noqa: S108 - the point of it
    if not folder.is_dir():
        pytest.skip("no file system in memory here")
    path = folder / f"npc-draft-{os.getpid()}"
    draft = draft_at(path)
    try:
        draft.write(b"x" * 600_000)
        draft.sync()
        assert draft.path.read_bytes() == b"x" * 600_000
    finally:
        draft.discard()


def test_a_limit_in_mid_block_is_no_room_and_not_a_puzzle(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    draft = draft_at(tmp_path / "a")
    draft.write(b"x" * 600_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, before[1]))
    try:
        with pytest.raises(SpoolFullError, match=os.strerror(errno.EFBIG)):
            draft.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        draft.discard()
