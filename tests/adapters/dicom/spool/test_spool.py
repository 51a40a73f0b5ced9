"""A file is at its final name whole or not at all; the first bytes under a UID stay; room is checked before writing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.spool.files import Outcome, Spool
from npc_contour.domain.series import NOT_NOTED, InstanceHeader, Seal
from npc_contour.errors import DamagedFileError, InstanceRefused, SpoolFullError
from npc_testkit.ct_headers import ct_header
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets

HEADER = ct_header(study_instance_uid="1.2", series_instance_uid="1.2.3", sop_instance_uid="1.2.3.4")
KEY = "instances/1.2/1.2.3/1.2.3.4.dcm"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", min_free_mb=1)


def files_of(tmp_path: Path) -> list[str]:
    root = tmp_path / "spool"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_bytes_are_kept_as_they_came(spool: Spool, tmp_path: Path) -> None:
    kept = spool.keep(HEADER, [b"meta", memoryview(b"data")])

    assert kept.key == KEY == spool.key_of(HEADER)
    assert kept.outcome is Outcome.KEPT
    assert spool.read(KEY) == b"metadata"
    assert files_of(tmp_path) == [KEY]


def test_the_same_bytes_again_change_nothing(spool: Spool, tmp_path: Path) -> None:
    spool.keep(HEADER, [b"data"])

    again = spool.keep(HEADER, [b"da", b"ta"])

    assert again.outcome is Outcome.SAME
    assert files_of(tmp_path) == [KEY]


def test_other_bytes_under_a_uid_are_quarantined_and_the_first_stay(spool: Spool, tmp_path: Path) -> None:
    spool.keep(HEADER, [b"first"])

    conflict = spool.keep(HEADER, [b"other"])

    assert conflict.outcome is Outcome.CONFLICT
    assert conflict.key == KEY
    assert conflict.quarantine_key is not None
    assert spool.read(conflict.quarantine_key) == b"other"
    assert spool.read(KEY) == b"first"
    assert spool.keep(HEADER, [b"other"]).quarantine_key == conflict.quarantine_key
    assert len(files_of(tmp_path)) == 2


def test_of_many_at_once_exactly_one_is_first(spool: Spool) -> None:
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda n=n: outcomes.append(spool.keep(HEADER, [bytes([n]) * 1000]).outcome))
        for n in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [Outcome.CONFLICT] * 7 + [Outcome.KEPT]


@pytest.mark.parametrize("field", ["study_instance_uid", "series_instance_uid", "sop_instance_uid"])
@pytest.mark.parametrize("uid", ["", "..", "../../../tmp/x", "1.2/../3", "1.2\0", "9" * 65, "abc"])
def test_no_evil_uid_touches_a_path(spool: Spool, tmp_path: Path, field: str, uid: str) -> None:
    header: InstanceHeader = replace(HEADER, **{field: uid})  # type: ignore[arg-type]

    with pytest.raises(InstanceRefused, match="is not a UID"):
        spool.keep(header, [b"data"])
    assert files_of(tmp_path) == []


def test_without_room_nothing_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", min_free_mb=10**9)

    with pytest.raises(SpoolFullError, match="MiB must stay free"):
        spool.keep(HEADER, [b"data"])
    assert files_of(tmp_path) == []
    assert "must stay free" in (spool.space().refusal or "")


def test_the_quota_counts_what_is_there_and_what_goes(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    Spool(root, min_free_mb=1).keep(HEADER, [bytes(700_000)])
    spool = Spool(root, min_free_mb=1, quota_mb=1)
    second = replace(HEADER, sop_instance_uid="1.2.3.5")

    with pytest.raises(SpoolFullError, match="quota of 1 MiB"):
        spool.keep(second, [bytes(700_000)])
    assert spool.delete(KEY)
    assert spool.keep(second, [bytes(700_000)]).outcome is Outcome.KEPT
    assert spool.space().used_bytes == 700_000


def test_the_start_removes_what_unfinished_transfers_left(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    Spool(root)
    (root / "incoming" / "abc.part").write_bytes(b"half")

    spool = Spool(root)

    assert spool.remove_partial_files() == 1
    assert spool.remove_partial_files() == 0


def test_artefacts_replace_each_other_and_are_found(spool: Spool) -> None:
    key = spool.put_artefact("case-1.g2", "labels.npz", b"one")

    assert spool.put_artefact("case-1.g2", "labels.npz", b"two") == key == spool.artefact_key("case-1.g2", "labels.npz")
    assert spool.exists(key)
    assert spool.read(key) == b"two"
    assert not spool.exists(spool.artefact_key("case-1.g2", "other"))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "x" * 200])
def test_artefact_names_stay_inside(spool: Spool, name: str) -> None:
    for case_id, artefact in ((name, "ok"), ("ok", name)):
        with pytest.raises(ValueError, match="case and name"):
            spool.put_artefact(case_id, artefact, b"")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "instances/../../x", "incoming/a.part", "elsewhere/x"])
def test_keys_from_elsewhere_open_nothing(spool: Spool, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        spool.open_path(key)


def test_delete_takes_the_empty_folders_with_it(spool: Spool, tmp_path: Path) -> None:
    spool.keep(HEADER, [b"data"])

    assert spool.delete(KEY)
    assert not spool.delete(KEY)
    assert not (tmp_path / "spool" / "instances" / "1.2").exists()
    assert (tmp_path / "spool" / "instances").exists()


def test_a_write_that_the_system_cuts_short_leaves_nothing_behind(spool: Spool, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SpoolFullError, match="took not all of 5000 bytes"):
            spool.keep(HEADER, [bytes(5000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert files_of(tmp_path) == []


KEEPER = """
import sys
from dataclasses import replace
from pathlib import Path
from npc_contour.adapters.dicom.spool.files import Spool
from npc_testkit.ct_headers import ct_header
spool = Spool(Path(sys.argv[1]), min_free_mb=1)
print("ready", flush=True)
for number in range(100000):
    header = ct_header(study_instance_uid="1.2", series_instance_uid="1.2.3", sop_instance_uid=f"1.2.3.{number}")
    spool.keep(header, [bytes([number % 251]) * 300_000] * 4)
"""


@pytest.mark.parametrize("after_s", [0.03, 0.11, 0.2])
def test_kill_9_leaves_no_truncated_file_at_a_final_name(after_s: float, tmp_path: Path) -> None:
    root = tmp_path / "spool"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KEEPER, str(root)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "ready\n"
        time.sleep(after_s)
        keeper.kill()

    sizes = {path.stat().st_size for path in (root / "instances").rglob("*") if path.is_file()}
    assert sizes <= {1_200_000}
    Spool(root).remove_partial_files()
    assert list((root / "incoming").iterdir()) == []


def test_damaged_bytes_are_never_read_and_the_same_image_sent_again_takes_their_place(spool: Spool) -> None:
    kept = spool.keep(HEADER, [b"good bytes"])
    assert kept.seal == Seal.of(b"good bytes")
    spool.known = lambda _: kept.seal
    spool.open_path(KEY).write_bytes(b"gOod bytes")

    with pytest.raises(DamagedFileError, match="other values"):
        spool.read(KEY, kept.seal)
    assert spool.keep(HEADER, [b"else"]).outcome is Outcome.CONFLICT
    assert spool.keep(HEADER, [b"good ", b"bytes"]).outcome is Outcome.REPAIRED
    assert spool.read(KEY, kept.seal) == b"good bytes"


def test_of_a_file_without_a_note_only_what_is_no_image_any_more_counts_as_damaged(spool: Spool) -> None:
    image = as_bytes(ct_datasets(CtPlan(slices=1, rows=4, columns=4))[0])
    spool.known = lambda _: NOT_NOTED
    spool.keep(HEADER, [image])
    assert spool.keep(HEADER, [image[:-2] + b"!!"]).outcome is Outcome.CONFLICT

    spool.open_path(KEY).write_bytes(image[:-9])

    assert spool.keep(HEADER, [image]).outcome is Outcome.REPAIRED
    assert spool.examine(KEY) == Seal.of(image)


def test_what_is_put_away_is_never_found_again(spool: Spool, tmp_path: Path) -> None:
    seal = spool.keep(HEADER, [b"data"]).seal

    assert spool.put_away(KEY)

    with pytest.raises(DamagedFileError, match="gone"):
        spool.read(KEY, seal)
    assert not spool.put_away(KEY)
    assert [name.partition("/")[0] for name in files_of(tmp_path)] == ["damaged"]
    assert spool.keep(HEADER, [b"data"]).outcome is Outcome.KEPT
