"""A program names a study of a PACS that the site knows: it is fetched and contoured, and the program can follow it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from npc_contour.adapters.dicom.send.scu import send_series
from npc_contour.app.archives import pull_tools
from npc_contour.app.runtime import Runtime
from npc_contour.application.pull_requests import MAX_WAITING, FindStudy, PullProgress, PullRequests
from npc_contour.application.pulling import MAX_ATTEMPTS, FetchSeries
from npc_contour.domain.work import JobKind
from npc_contour.errors import ArchiveError, NoSuchRowError, TooManyError
from npc_contour.settings import Settings
from npc_contour.store.database import Store
from npc_testkit.archives import OUR_AE, Archived, orthanc_archive
from npc_testkit.ct_series import ct_datasets, write_series
from npc_testkit.pulling import NECK, SCOUT, Desk, desk
from npc_testkit.served import Served, served

__all__ = ["desk"]
WEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
STUDY = str(ct_datasets(NECK)[0].StudyInstanceUID)
SERIES = str(ct_datasets(NECK)[0].SeriesInstanceUID)


@pytest.fixture
def requests(desk: Desk) -> PullRequests:
    return PullRequests(desk.store, desk.clock, ["pacs"])


def test_a_study_is_found_and_each_series_fetched(desk: Desk, requests: PullRequests) -> None:
    asked = requests.ask("pacs", STUDY, (), "ris")
    assert asked.progress is PullProgress.ASKED
    assert desk.jobs() == [("find_study", "1")]

    FindStudy(desk.tools).run("1")
    assert requests.status(1).progress is PullProgress.FETCHING
    for row in requests.status(1).series:
        desk.fetch.run(str(row.pull_id))

    done = requests.status(1)
    assert done.progress is PullProgress.DONE
    assert sorted(row.message for row in done.series) == ["3 images fetched", "5 images fetched"]
    assert desk.images() == 8


def test_only_the_series_that_are_named_are_fetched(desk: Desk, requests: PullRequests) -> None:
    requests.ask("pacs", STUDY, (SERIES,), "ris")
    FindStudy(desk.tools).run("1")

    assert [row.series_instance_uid for row in requests.status(1).series] == [SERIES]


@pytest.mark.parametrize(
    ("study", "series", "why"), [("1.2.3", (), "no series that is taken"), (STUDY, ("1.9",), "no series 1.9")]
)
def test_what_the_pacs_has_not_is_said(
    desk: Desk, requests: PullRequests, study: str, series: tuple[str, ...], why: str
) -> None:
    requests.ask("pacs", study, series, "ris")
    FindStudy(desk.tools).run("1")

    ended = requests.status(1)
    assert ended.progress is PullProgress.FAILED
    assert ended.request.message == f"pacs has {why} of study {study}"
    assert desk.images() == 0


def test_a_pacs_that_is_down_is_asked_again_and_given_up_in_the_end(desk: Desk, requests: PullRequests) -> None:
    requests.ask("pacs", STUDY, (), "ris")
    desk.archive.down = True
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(ArchiveError):
            FindStudy(desk.tools).run("1")
    assert requests.status(1).progress is PullProgress.ASKED
    with desk.store.transaction() as tx:
        assert JobKind.FIND_STUDY not in {job.kind for job in tx.jobs_missing()}
    FindStudy(desk.tools).run("1")

    assert requests.status(1).progress is PullProgress.FAILED


def test_a_request_whose_job_was_lost_is_taken_up_by_the_sweep(desk: Desk, requests: PullRequests) -> None:
    requests.ask("pacs", STUDY, (), "ris")
    desk.store.query("DELETE FROM procrastinate_jobs RETURNING id")
    with desk.store.transaction() as tx:
        assert [(job.kind, job.key) for job in tx.jobs_missing()] == [(JobKind.FIND_STUDY, "1")]


def test_only_a_pacs_of_the_settings_is_asked(desk: Desk, requests: PullRequests) -> None:
    with pytest.raises(NoSuchRowError, match=r"no \[\[pacs\]\] named 'http://169\.254\.169\.254', they have pacs"):
        requests.ask("http://169.254.169.254", STUDY, (), "ris")
    assert desk.jobs() == []


def test_more_than_can_wait_is_refused(desk: Desk, requests: PullRequests) -> None:
    desk.store.query(
        "INSERT INTO pull_request (pacs, study_instance_uid, asked_by, state, asked_at, updated_at) SELECT 'pacs',"
        " '1.2', 'ris', 'asked', now(), now() FROM generate_series(1, %(n)s) RETURNING id",
        {"n": MAX_WAITING},
    )
    with pytest.raises(TooManyError, match="1000 requests wait"):
        requests.ask("pacs", STUDY, (), "ris")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    folder = tmp_path_factory.mktemp("pacs")
    with orthanc_archive(folder, plugins=[WEB_PLUGIN]) as node:
        for plan in (NECK, SCOUT):
            write_series(folder / "files" / plan.seed, ct_datasets(plan))
        assert not send_series(folder / "files", node.destination, OUR_AE, 20.0).failures
        yield node


def tables(pacs: Archived, retrieve: str) -> dict[str, Any]:
    return {
        "pacs": [
            {
                "name": "orthanc", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.archive.port,
                "retrieve": retrieve, "web_url": f"http://127.0.0.1:{pacs.http_port}/dicom-web",
            }
        ]
    }  # fmt: skip


@pytest.mark.parametrize("retrieve", ["web", "get"])
def test_a_study_is_submitted_by_reference_over_rest_and_comes_from_a_real_pacs(
    pacs: Archived, store: Store, database_url: str, tmp_path: Path, retrieve: str
) -> None:
    order = {"pacs": "orthanc", "study_instance_uid": STUDY, "series_instance_uids": [SERIES]}
    with served(store, database_url, tmp_path, **tables(pacs, retrieve)) as running:
        answer = running.client.post("/api/v1/studies", json=order)
        assert (answer.status_code, answer.headers["location"]) == (202, "/api/v1/pulls/1")
        assert answer.json()["state"] == "asked"
        begun = running.client.get(answer.json()["study"]).json()
        assert [(line["event"], begun["series"]) for line in begun["timeline"]] == [("pull.asked", [])]
        settings = Settings.model_validate({"storage": {"root": tmp_path}, **tables(pacs, retrieve)})
        tools = pull_tools(Runtime.of(settings, database_url=database_url, triton_url="127.0.0.1:1"), store)
        FindStudy(tools).run("1")
        FetchSeries(tools).run("1")
        followed = running.client.get(answer.headers["location"]).json()
        details = running.client.get(followed["study"]).json()

    assert followed["state"] == "done"
    assert [(row["images"], row["message"]) for row in followed["series"]] == [(5, "5 images fetched")]
    assert [row["series_instance_uid"] for row in details["series"]] == [SERIES]
    assert details["timeline"][0]["event"] == "pull.asked"


def test_rest_refuses_what_it_does_not_know(store: Store, database_url: str, tmp_path: Path) -> None:
    def post(running: Served, **body: object) -> httpx.Response:
        return running.client.post("/api/v1/studies", json={"pacs": "orthanc", "study_instance_uid": STUDY} | body)

    with served(store, database_url, tmp_path) as running:
        assert post(running).status_code == 404
        assert post(running, pacs="http://evil/").status_code == 422
        assert post(running, study_instance_uid="../x").status_code == 422
        assert post(running, url="http://169.254.169.254/").status_code == 422
        assert running.client.get("/api/v1/pulls/7").status_code == 404
