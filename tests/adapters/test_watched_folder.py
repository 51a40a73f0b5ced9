"""A watcher never sees half a file, and only what could be read back counts as sent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pydicom.uid import UID, Comprehensive3DSRStorage, SegmentationStorage

from npc_contour.adapters.watched_folder import FolderSender
from npc_contour.domain.jobs import FolderDestination, Proof
from npc_contour.errors import SendError
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets

OBJECT = as_bytes(ct_datasets(CtPlan(slices=1))[0])
OBJECT_UID = str(ct_datasets(CtPlan(slices=1))[0].SOPInstanceUID)


def test_a_file_appears_and_is_proof(tmp_path: Path) -> None:
    destination = FolderDestination("import", str(tmp_path))
    receipt = FolderSender().send(OBJECT, destination)

    assert (receipt.status, receipt.sop_instance_uid) == (0, OBJECT_UID)
    assert [path.name for path in tmp_path.iterdir()] == [f"RS.{OBJECT_UID}.dcm"]
    assert (tmp_path / f"RS.{OBJECT_UID}.dcm").read_bytes() == OBJECT
    assert FolderSender().ask(OBJECT, destination).proof is Proof.HELD
    assert "can be written" in FolderSender().reach(destination)


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o644), (0o2770, 0o660), (0o700, 0o600)])
def test_whoever_may_read_the_folder_may_read_the_file(tmp_path: Path, folder: int, file: int) -> None:
    """The service itself writes for its own user alone; the planning system is another."""
    tmp_path.chmod(folder)
    before = os.umask(0o077)
    try:
        FolderSender().send(OBJECT, FolderDestination("import", str(tmp_path)))
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / f"RS.{OBJECT_UID}.dcm").stat().st_mode) == file


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [(Comprehensive3DSRStorage, f"SR.{OBJECT_UID}.dcm"), (SegmentationStorage, f"SEG.{OBJECT_UID}.dcm")],
)
def test_measurements_and_voxels_are_called_what_they_are(tmp_path: Path, sop_class: UID, name: str) -> None:
    dataset = ct_datasets(CtPlan(slices=1))[0]
    dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    destination = FolderDestination("import", str(tmp_path))
    FolderSender().send(as_bytes(dataset), destination)

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert FolderSender().ask(as_bytes(dataset), destination).by == "read back"


def test_a_file_that_the_watcher_took_was_there(tmp_path: Path) -> None:
    destination = FolderDestination("import", str(tmp_path))
    FolderSender().send(OBJECT, destination)
    (tmp_path / f"RS.{OBJECT_UID}.dcm").unlink()

    assert FolderSender().ask(OBJECT, destination).by == "read back, taken since"


def test_a_file_that_was_changed_is_missing(tmp_path: Path) -> None:
    destination = FolderDestination("import", str(tmp_path))
    FolderSender().send(OBJECT, destination)
    (tmp_path / f"RS.{OBJECT_UID}.dcm").write_bytes(b"other")

    assert FolderSender().ask(OBJECT, destination).proof is Proof.MISSING


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    destination = FolderDestination("import", str(tmp_path / "nowhere"))
    for act in (FolderSender().send, FolderSender().ask):
        with pytest.raises(SendError, match=r"import \(folder .*nowhere\)"):
            act(OBJECT, destination)
    with pytest.raises(SendError, match="No such file"):
        FolderSender().reach(destination)
