"""REST changes work as the command line does; who may not, what is not there and what makes no sense is answered so."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

from npc_contour.adapters.api.operations import operation_routes
from npc_contour.adapters.api.problems import add_problems
from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.application.operations import Operations
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.work import JobKind
from npc_contour.store.database import Store
from npc_contour.store.work_board import WorkBoard
from npc_testkit.bench import Bench, plain_ct


def guard(request: Request) -> str:
    """Ann may; whoever does not say so may not."""
    if request.headers.get("X-User") != "Ann":
        raise HTTPException(403, "who are you?")
    return "Ann"


@pytest.fixture
def bench(store: Store) -> Bench:
    bench = Bench(store)
    bench.receive(plain_ct())
    bench.work_for(20)
    return bench


@pytest.fixture
def client(bench: Bench) -> Iterator[httpx.Client]:
    app = FastAPI()
    names = tuple(destination.name for destination in bench.destinations)
    operations = Operations(bench.store, bench.clock, bench.destinations)
    assignment = bench.assignment
    app.include_router(operation_routes(operations, assignment, WorkBoard(bench.store), names, guard))
    add_problems(app)
    with (
        BackgroundServer(app, "127.0.0.1", 0) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"X-User": "Ann"}, timeout=20) as asking,
    ):
        yield asking


def test_a_structure_set_is_sent_again(bench: Bench, client: httpx.Client) -> None:
    case = bench.case("ln_ctv").case_id
    answer = client.post(f"/jobs/{case}/resend", json={"to": ["tps"], "reason": "lost there"})

    assert (answer.status_code, answer.json()) == (200, {"done": f"case {case}: sent again to tps"})
    bench.work_for(10)
    assert len(bench.sender.sent) == 2
    assert bench.case("ln_ctv").state is CaseState.SENT
    study = client.get("/studies/1.2").json()
    assert any("Ann (lost there)" in event["detail"] for event in study["timeline"])


def test_what_cannot_be_done_is_a_conflict_and_what_is_not_there_is_not_found(
    bench: Bench, client: httpx.Client
) -> None:
    case = bench.case("ln_ctv").case_id
    refused = client.post(f"/jobs/{case}/cancel", json={"reason": "too late"})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        f"case {case} is sent: what was sent cannot be cancelled",
    )
    assert client.post("/jobs/nothing/retry", json={}).status_code == 404
    assert client.get("/studies/1.77").status_code == 404
    assert client.post("/destinations/nobody/pause", json={}).status_code == 404
    assert client.post(f"/jobs/{case}/retry", json={"reason": "x", "force": True}).status_code == 422


def test_a_destination_is_paused_and_seen_to_be(client: httpx.Client) -> None:
    assert client.post("/destinations/tps/pause", json={"reason": "upgrade"}).json() == {
        "done": "destination tps is paused"
    }
    (row,) = client.get("/destinations").json()
    assert (row["name"], row["paused"], row["deliveries"]) == ("tps", "paused by Ann: upgrade", {"sent": 1})
    assert client.post("/destinations/tps/resume", json={}).status_code == 200


def test_a_parked_step_is_seen_and_begun_again(bench: Bench, client: httpx.Client) -> None:
    with bench.store.transaction() as tx:
        tx.count_attempt(JobKind.ROUTE_STUDY, "1.2", bench.clock.now())
        tx.park(JobKind.ROUTE_STUDY, "1.2", "a bug", bench.clock.now())
    (row,) = client.get("/parked").json()
    assert (row["kind"], row["key"], row["reason"], row["tries"]) == ("route_study", "1.2", "a bug", 1)
    path = "/parked/route_study/1.2/retry"
    assert client.post(path, json={}, headers={"X-User": "Mallory"}).status_code == 403
    assert client.post(path, json={}).json() == {"done": "route_study:1.2 begins again"}
    assert client.post(path, json={}).status_code == 409
    assert client.get("/parked").json() == []


def test_whoever_the_guard_does_not_know_changes_nothing(bench: Bench, client: httpx.Client) -> None:
    case = bench.case("ln_ctv").case_id
    for path in (f"/jobs/{case}/resend", f"/jobs/{case}/hold", "/destinations/tps/pause"):
        assert client.post(path, json={}, headers={"X-User": "Mallory"}).status_code == 403
    bench.work_for(10)
    assert len(bench.sender.sent) == 1


def test_a_request_without_json_changes_nothing(bench: Bench, client: httpx.Client) -> None:
    """A foreign page can make a browser post a form, but not JSON."""
    case = bench.case("ln_ctv").case_id
    assert client.post(f"/jobs/{case}/hold", data={"reason": "x"}).status_code == 422
