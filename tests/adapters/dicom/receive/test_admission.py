"""A study is taken whole or refused at its first image: room is set aside for each association that has begun."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.receive.admission import Admission
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.errors import SpoolFullError

MEBIBYTE = 2**20


def spool_with_room(folder: Path, room_mb: int) -> Spool:
    """A spool that may write this much, give or take what others do to the disk meanwhile."""
    return Spool(folder, min_free_mb=0, quota_mb=room_mb)


def test_room_is_set_aside_at_the_first_byte_and_drawn_from(tmp_path: Path) -> None:
    spool = spool_with_room(tmp_path, 100)
    admission = Admission(spool, 60)
    admission.use("a", MEBIBYTE)
    with pytest.raises(SpoolFullError, match="quota of 100 MiB"):
        admission.use("b", MEBIBYTE)
    for _ in range(40):
        admission.use("a", MEBIBYTE)
    admission.use("b", MEBIBYTE)


def test_what_was_not_used_is_given_back_at_the_end(tmp_path: Path) -> None:
    admission = Admission(spool_with_room(tmp_path, 100), 60)
    admission.use("a", MEBIBYTE)
    admission.ended("a")
    admission.ended("a")
    admission.use("b", MEBIBYTE)
    admission.ended("never begun")
    with pytest.raises(SpoolFullError):
        admission.use("c", MEBIBYTE)


def test_an_association_may_write_more_than_was_set_aside_while_there_is_room(tmp_path: Path) -> None:
    spool = spool_with_room(tmp_path, 100)
    admission = Admission(spool, 10)
    for _ in range(30):
        admission.use("a", MEBIBYTE)
    with spool.draft() as draft:
        admission.use("a", MEBIBYTE)
        draft.write(bytes(MEBIBYTE))


def test_nothing_is_set_aside_where_the_site_does_not_want_it(tmp_path: Path) -> None:
    admission = Admission(spool_with_room(tmp_path, 1), 0)
    for number in range(50):
        admission.use(str(number), MEBIBYTE)


def test_files_of_images_and_cases_are_found_and_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, min_free_mb=0)
    (tmp_path / "instances/1.2/1.3").mkdir(parents=True)
    (tmp_path / "instances/1.2/1.3/1.4.dcm").write_bytes(b"x")
    spool.put_artefact("c1", "rtstruct.dcm", b"x")
    spool.put_artefact("c1", "report.json", b"x")

    ((key, age_s),) = spool.instance_files()
    assert key == "instances/1.2/1.3/1.4.dcm"
    assert 0 <= age_s < 3600
    assert spool.delete_artefacts("c1") == 2
    assert not (tmp_path / "artefacts/c1").exists()
    assert spool.free_bytes() == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
