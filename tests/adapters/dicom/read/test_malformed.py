"""Each malformed object gets the status, and its series the reason, that stand in npc_testkit/malformed.toml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.domain.received import AssociationRow
from npc_contour.errors import InstanceRefused
from npc_testkit.malformed import BUILDERS, build
from npc_testkit.malformed_verdicts import NOT_SENT, Case, is_alive, read, read_cases, send

CASES = read_cases()
ASSOCIATION = AssociationRow("a", "test", "PACS", "NPC_CONTOUR", "127.0.0.1")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A running receiver: its port and its spool's folder."""
    folder = tmp_path_factory.mktemp("door") / "spool"
    with Receiver(ReceiverSettings(port=0), Spool(folder, min_free_mb=1), lambda *_: None) as receiver:
        yield receiver.port, folder


def test_the_table_and_the_builders_have_the_same_cases() -> None:
    assert [case.name for case in CASES] == list(BUILDERS)
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", [case for case in CASES if case.door != NOT_SENT], ids=lambda case: case.name)
def test_the_door_answers_as_specified_and_stays_open(case: Case, door: tuple[int, Path]) -> None:
    port, folder = door
    before = set(folder.rglob("*.dcm"))

    assert send(build(case.name), port) == case.door

    kept = {path for path in folder.rglob("*.dcm") if path not in before}
    assert len(kept) == (case.door == "0x0000")
    assert list(folder.rglob("*.part")) == []
    assert is_alive(port)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reader_refuses_as_specified(case: Case, tmp_path: Path) -> None:
    found = read(case.name, tmp_path)

    assert case.reader in found if case.reader != "reads" else found == "reads"


@pytest.mark.parametrize("case", [case for case in CASES if case.family != "files"], ids=lambda case: case.name)
def test_a_posted_or_fetched_file_gets_what_a_stored_object_gets(case: Case, tmp_path: Path) -> None:
    keeper = FileKeeper(Spool(tmp_path, min_free_mb=1), lambda *_: None, lambda *_: None)
    expected = {"context": "0x0122"}.get(case.door, case.door)
    # A file has neither a presentation context nor a command beside its meta information.
    if case.name in {"context_of_another_class", "no_data_set"}:
        return
    try:
        keeper.keep(build(case.name).as_file(), ASSOCIATION)
        found = "0x0000"
    except InstanceRefused as error:
        found = f"0x{error.status:04X}"

    assert found == expected


def test_a_program_in_the_preamble_is_not_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, min_free_mb=1)
    FileKeeper(spool, lambda *_: None, lambda *_: None).keep(build("file_of_windows_program").as_file(), ASSOCIATION)

    (kept,) = tmp_path.rglob("*.dcm")
    assert kept.read_bytes()[:128] == bytes(128)
