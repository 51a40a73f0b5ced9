"""A person fetches from a PACS by what is on the request form, and is told what came and what did not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.send.scu import send_series
from npc_contour.app.archives import pull_tools
from npc_contour.app.runtime import Runtime
from npc_contour.application.pulling import FetchSeries
from npc_contour.cli import main
from npc_contour.settings import read_settings
from npc_contour.store.database import Store
from npc_testkit.archives import OUR_AE, Archived, dcmqrscp, scheduled, worklist
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.peers import free_port

TODAY = f"{date.today():%Y%m%d}"  # noqa: DTZ011 (a study's date is the scanner's local one)
PLANS = [CtPlan(seed="plain", slices=4), CtPlan(seed="contrast", slices=3), CtPlan(seed="mr", slices=2)]
STUDY = str(ct_datasets(PLANS[0])[0].StudyInstanceUID)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    folder = tmp_path_factory.mktemp("pacs")
    for plan in PLANS:
        datasets = ct_datasets(plan)
        for dataset in datasets:
            dataset.StudyDate, dataset.AccessionNumber = TODAY, "A2026001"
            if plan.seed == "mr":
                dataset.Modality = "MR"
        write_series(folder / "files" / plan.seed, datasets)
    with dcmqrscp(folder) as node:
        assert not send_series(folder / "files", node.destination, OUR_AE, 20.0).failures
        yield node


def pull(pacs: Archived, *arguments: str | Path) -> int:
    where = f"127.0.0.1:{pacs.archive.port}"
    return main(["pull", "--from", where, "--called", "PACS", "--timeout", "10", *map(str, arguments)])


def files_in(folder: Path) -> dict[str, int]:
    return {series.name: len(list(series.iterdir())) for series in folder.iterdir()}


@pytest.mark.parametrize(
    "what", [("--accession", "A2026001"), ("--study", STUDY), ("--patient", "TK0001"), ("--today",)]
)
def test_the_cts_of_a_study_come_into_a_folder(
    pacs: Archived, tmp_path: Path, what: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(pacs, *what, "--out", tmp_path / "ct") == 0

    assert sorted(files_in(tmp_path / "ct").values()) == [3, 4]
    assert f"7 images in {tmp_path / 'ct'}" in capsys.readouterr().out


def test_list_shows_and_fetches_nothing(
    pacs: Archived, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert pull(pacs, "--study", STUDY, "--list", "--modality", "MR") == 0

    shown = capsys.readouterr().out
    assert str(ct_datasets(PLANS[2])[0].SeriesInstanceUID) in shown
    assert "Nobody" not in shown
    assert list(tmp_path.iterdir()) == []


def test_nothing_found_is_said_and_ends_with_code_1(pacs: Archived, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull(pacs, "--accession", "A0", "--list") == 1
    assert "has nothing of that" in capsys.readouterr().out


def test_a_pacs_that_is_down_ends_with_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "--from", f"127.0.0.1:{free_port()}", "--today", "--out", str(tmp_path)]) == 1
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--today"], "pacs: one is needed, the settings have none"),
        (["--today", "--from", "127.0.0.1:104"], "--from needs --out or --list"),
        (["--patient", "*", "--from", "127.0.0.1:104", "--list"], "would match more than it says"),
    ],
)
def test_what_cannot_be_asked_ends_with_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def site(folder: Path, pacs: Archived, *, worklist_port: int = 0) -> Path:
    more = f"""
[[pacs]]
name = "ris"
ae_title = "RIS"
host = "127.0.0.1"
port = {worklist_port}
"""
    path = folder / "site.toml"
    path.write_text(
        f"""
[[pacs]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs.archive.port}
timeout_s = 10.0
"""
        + (more if worklist_port else ""),
        encoding="utf-8",
    )
    return path


def test_the_worklist_of_the_day_names_what_is_fetched(pacs: Archived, tmp_path: Path) -> None:
    entries = [scheduled("A2026001", TODAY), scheduled("A2026002", "20200101"), scheduled("A9", TODAY, modality="MR")]
    with worklist(tmp_path / "ris", entries) as port:
        config = site(tmp_path, pacs, worklist_port=port)
        code = main(["pull", "--config", str(config), "--worklist", "ris", "--out", str(tmp_path / "ct")])

    assert code == 0
    assert sorted(files_in(tmp_path / "ct").values()) == [3, 4]


def test_without_a_service_it_says_so(pacs: Archived, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "--config", str(site(tmp_path, pacs)), "--today"]) == 2
    assert "no service is running" in capsys.readouterr().err


def test_a_running_service_fetches_what_is_asked_for(
    pacs: Archived, tmp_path: Path, store: Store, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = site(tmp_path, pacs)
    runtime = Runtime.of(read_settings(config).model_copy(), database_url=database_url)
    runtime.settings.storage.root.mkdir()
    runtime.write()
    stop = threading.Event()

    def work() -> None:
        fetch = FetchSeries(pull_tools(runtime, store))
        while not stop.wait(0.05):
            for row in store.query("SELECT id FROM pulled_series WHERE state = 'wanted'"):
                fetch.run(str(row["id"]))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        code = main(["pull", "--config", str(config), "--accession", "A2026001"])
    finally:
        stop.set()
        worker.join()

    assert code == 0
    assert capsys.readouterr().out.count("images fetched") == 2
    assert store.query("SELECT count(*) AS n FROM instance")[0]["n"] == 7
