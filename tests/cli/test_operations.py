"""IT sees what is done and why, and changes it with one command; what cannot be done is said in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from npc_contour.cli import main
from npc_contour.domain.work import JobKind
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, plain_ct


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Path:
    config = tmp_path / "site.toml"
    destination = '[[destinations]]\nname = "tps"\nae_title = "TPS"\nhost = "127.0.0.1"\nport = 11113\n'
    config.write_text(f'[database]\nurl = "{database_url}"\n{destination}', encoding="utf-8")
    return config


@pytest.fixture
def bench(store: Store) -> Bench:
    bench = Bench(store)
    bench.sender.status = 0xC000
    bench.receive(plain_ct())
    bench.work_for(20)
    return bench


def test_the_newest_cases_are_listed(bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--config", str(site)]) == 0
    told = capsys.readouterr().out
    assert bench.case("ln_ctv").case_id[:8] in told
    assert "contoured" in told
    assert main(["jobs", "--config", str(site), "--state", "failed"]) == 0
    assert bench.case("ln_ctv").case_id[:8] not in capsys.readouterr().out


def test_a_case_and_a_study_tell_their_story(bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in (bench.case("ln_ctv").case_id[:6], "1.2"):
        assert main(["show", what, "--config", str(site)]) == 0
        told = capsys.readouterr().out
        for word in ("series.opened", "50 images received", "case.created", "delivery.retry", "0xC000"):
            assert word in " ".join(told.split())


def test_lists_and_stories_are_had_as_json(bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = bench.case("ln_ctv").case_id

    def told(*arguments: str) -> Any:
        assert main([*arguments, "--json", "--config", str(site)]) == 0
        return json.loads(capsys.readouterr().out)

    assert case in {row["case_id"] for row in told("jobs")}
    assert told("jobs", "--destinations")[0]["name"] == "tps"
    assert told("jobs", "--parked") == []
    assert told("show", case)["job"]["case_id"] == case
    assert told("show", "1.2")["study_instance_uid"] == "1.2"
    assert told("webhook", "list") == []


def test_a_destination_is_paused_and_resumed(bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", "tps", "--reason", "upgrade", "--config", str(site)]) == 0
    assert capsys.readouterr().out == "destination tps is paused\n"
    assert main(["jobs", "--destinations", "--config", str(site)]) == 0
    told = capsys.readouterr().out
    assert "paused by" in told
    assert "upgrade" in told
    tries = bench.sender.tries
    bench.work_for(100)
    assert bench.sender.tries == tries
    assert main(["resume", "tps", "--config", str(site)]) == 0
    assert main(["pause", "nobody", "--config", str(site)]) == 1
    assert "the settings name no destination 'nobody'" in capsys.readouterr().err


def test_a_case_is_held_released_cancelled_and_retried(
    bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = bench.case("ln_ctv").case_id
    for verb, said in (
        ("hold", "no reason given"),
        ("release", "goes on"),
        ("cancel", "no reason given"),
        ("retry", "retried, it was cancelled"),
    ):
        assert main([verb, case[:10], "--config", str(site)]) == 0
        assert capsys.readouterr().out == f"case {case}: {said}\n"


def test_a_parked_step_is_listed_and_begun_again(bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--parked", "--config", str(site)]) == 0
    assert capsys.readouterr().out == "no step is parked\n"
    with bench.store.transaction() as tx:
        tx.count_attempt(JobKind.ROUTE_STUDY, "1.2", bench.clock.now())
        tx.park(JobKind.ROUTE_STUDY, "1.2", "a bug", bench.clock.now())
    assert main(["jobs", "--parked", "--config", str(site)]) == 0
    assert "route_study:1.2" in (told := capsys.readouterr().out)
    assert "a bug" in told
    assert main(["retry", "route_study:1.2", "--config", str(site)]) == 0
    assert capsys.readouterr().out == "route_study:1.2 begins again\n"
    assert main(["retry", "route_study:1.2", "--config", str(site)]) == 1
    assert "route_study:1.2 is not parked" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused_in_one_sentence(
    bench: Bench, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = bench.case("ln_ctv").case_id
    assert main(["release", case, "--config", str(site)]) == 1
    assert f"case {case} is not held" in " ".join(capsys.readouterr().err.split())
    assert main(["retry", "nothing", "--config", str(site)]) == 1
    assert "there is no such case" in capsys.readouterr().err


def test_without_a_running_service_the_embedded_database_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "site.toml"
    config.write_text("", encoding="utf-8")
    assert main(["jobs", "--config", str(config)]) == 1
    assert "its embedded database is not up" in " ".join(capsys.readouterr().err.split())
