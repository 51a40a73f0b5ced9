"""REST tells hospital IT what works, what does not and what to do, and names no patient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.api.web import create_app
from npc_contour.catalog import PIPELINES_DIR, Catalog, read_pipeline
from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState
from npc_contour.domain.pipelines import NetworkContract, Normalisation
from npc_contour.domain.status import (
    CaseDetails,
    CheckResult,
    Counts,
    DeliveryRow,
    DueJobs,
    JobRow,
    RoiRow,
    SeriesRow,
    StepTotal,
    TimelineEvent,
)
from npc_contour.domain.timeline import WebhookState
from npc_contour.errors import SettingsError
from npc_testkit.fake_board import FakeBoard

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTRACT = NetworkContract(
    name="ln_ctv", version="demo-1", demo=True, channels=("CT",), spacing_zyx_mm=(3.0, 1.0, 1.0),
    patch_zyx=(32, 96, 96), normalisation=(Normalisation((-1000.0, 1000.0), 0.0, 300.0),), crop_above_hu=None,
    crop_margin_mm=0.0, labels=("background", "R_II"), step=0.5, weights_file="1/network.onnx",
    weights_sha256="a" * 64,
    contract_sha256="b" * 64,
)  # fmt: skip
CATALOG = Catalog({"ln_ctv": read_pipeline(PIPELINES_DIR / "ln_ctv.toml")}, {"ln_ctv": CONTRACT})
FINE = CheckResult("database", ok=True, detail="PostgreSQL 18.4 answers")
NO_TPS = CheckResult(
    "destination:tps", ok=False, detail="tps cannot be reached", remedy="check the host", required=False
)
NO_TRITON = CheckResult("triton", ok=False, detail="connection refused", remedy="see Triton's log")


@contextmanager
def rest(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve an application on a free port and ask it over the wire."""
    with (
        BackgroundServer(app, "127.0.0.1", 0) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", follow_redirects=True, timeout=10) as client,
    ):
        yield client


def job_row(case_id: str, *, state: CaseState = CaseState.SENT, pipeline: str = "ln_ctv", hour: int = 0) -> JobRow:
    at = NOON + timedelta(hours=hour)
    return JobRow(case_id=case_id, pipeline=pipeline, state=state, study_instance_uid="1.2.3",
                  created_at=at, updated_at=at, demo=True)  # fmt: skip


def details(row: JobRow) -> CaseDetails:
    return CaseDetails(
        job=row,
        roles={"planning_ct": "1.2.3.4"},
        reasons=["series 1.2.3.4 fills planning_ct"],
        timeline=[TimelineEvent(NOON, "case.segmented", "ln_ctv", 6.2)],
        rois=[
            RoiRow("CTVn_Ib_L", "CTV", 12.5, found=True, expected_mm=1.2),
            RoiRow("CTVn_Ib_R", "CTV", 0.0, found=False),
        ],
        deliveries=[DeliveryRow("tps", DeliveryState.QUEUED, 2, NOON, "refused", "1.2.9", NOON)],
        notes=["CTVn_Ib_R: not found"],
    )


@pytest.fixture
def board() -> FakeBoard:
    rows = [
        job_row("c-1", hour=0),
        job_row("c-2", state=CaseState.REFUSED, hour=1),
        job_row("c-3", pipeline="npc_oar_gtv", hour=2),
    ]
    return FakeBoard(
        case_details={row.case_id: details(row) for row in rows},
        received=[
            SeriesRow(series_instance_uid="1.2.3.4", study_instance_uid="1.2.3", state=SeriesState.HELD, modality="CT",
                      images=99, received_at=NOON, updated_at=NOON, reasons=("gap of 6.00 mm after slice 12",)),
            SeriesRow(series_instance_uid="1.2.3.5", study_instance_uid="1.2.3", state=SeriesState.READY, modality="CT",
                      images=100, received_at=NOON, updated_at=NOON),
        ],
        numbers=Counts(
            cases={CaseState.SENT: 2, CaseState.REFUSED: 1},
            series={SeriesState.HELD: 1},
            deliveries={("tps", DeliveryState.QUEUED): 1},
            steps={"segment": StepTotal(18.5, {3.0: 2, 30.0: 1})},
            queued=4,
            due={"segment": DueJobs(2, 61.5)},
            undelivered_s={"tps": 7200.0},
            consumers=4,
            webhooks={("ris", WebhookState.FAILED): 3},
        ),
    )  # fmt: skip


def make_app(board: FakeBoard, *checks: CheckResult) -> FastAPI:
    return create_app(board, lambda: checks, CATALOG, "9.9.9", lambda: 123_456_789)


def test_alive_asks_nothing_of_anyone() -> None:
    def never() -> tuple[CheckResult, ...]:
        raise AssertionError("liveness must not look at dependencies")

    app = create_app(FakeBoard(down=True), never, CATALOG, "9.9.9", lambda: 0)

    with rest(app) as client:
        answer = client.get("/health/live")

    assert answer.status_code == 200
    assert answer.json() == {"status": "alive"}


@pytest.mark.parametrize(
    ("checks", "code", "status"),
    [((FINE,), 200, "ready"), ((FINE, NO_TPS), 200, "degraded"), ((FINE, NO_TPS, NO_TRITON), 503, "not ready")],
)
def test_readiness_follows_what_is_required(
    board: FakeBoard, checks: tuple[CheckResult, ...], code: int, status: str
) -> None:
    with rest(make_app(board, *checks)) as client:
        answer = client.get("/health/ready")

    assert answer.status_code == code
    assert answer.json()["status"] == status


def test_readiness_names_what_failed_and_the_remedy(board: FakeBoard) -> None:
    with rest(make_app(board, FINE, NO_TRITON)) as client:
        checks = {check["name"]: check for check in client.get("/health/ready").json()["checks"]}

    assert checks["triton"] == {
        "name": "triton", "ok": False, "detail": "connection refused", "remedy": "see Triton's log", "required": True,
        "seconds": 0.0,
    }  # fmt: skip
    assert checks["database"]["ok"] is True


def test_version_says_which_networks_are_demo(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        version = client.get("/version").json()

    assert version["version"] == "9.9.9"
    assert [(n["name"], n["demo"], n["weights_sha256"]) for n in version["networks"]] == [("ln_ctv", True, "a" * 64)]
    assert version["pipelines"][0]["rois"][0] == "CTVn_II_III_Va_R"
    assert "not a medical device" in version["notice"]


def test_jobs_come_newest_first_and_filtered(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        assert [row["case_id"] for row in client.get("/jobs").json()] == ["c-3", "c-2", "c-1"]
        assert [row["case_id"] for row in client.get("/jobs?state=refused").json()] == ["c-2"]
        assert [row["case_id"] for row in client.get("/jobs?pipeline=npc_oar_gtv").json()] == ["c-3"]
        assert [row["case_id"] for row in client.get("/jobs?limit=1").json()] == ["c-3"]


@pytest.mark.parametrize("query", ["state=happy", "limit=0", "limit=1001", "limit=many"])
def test_wrong_question_is_refused(board: FakeBoard, query: str) -> None:
    with rest(make_app(board)) as client:
        assert client.get(f"/jobs?{query}").status_code == 422


def test_story_has_everything_of_a_case(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        told = client.get("/jobs/c-1").json()

    assert told["job"]["state"] == "sent"
    assert told["roles"] == {"planning_ct": "1.2.3.4"}
    assert told["timeline"] == [
        {
            "at": "2026-11-22T12:00:00Z",
            "event": "case.segmented",
            "detail": "ln_ctv",
            "seconds": 6.2,
            "series_instance_uid": "",
        }
    ]
    assert [roi["expected_mm"] for roi in told["rois"]] == [1.2, None]
    assert [(roi["name"], roi["volume_cc"], roi["found"]) for roi in told["rois"]] == [
        ("CTVn_Ib_L", 12.5, True),
        ("CTVn_Ib_R", 0.0, False),
    ]
    assert told["deliveries"][0]["last_error"] == "refused"
    assert told["notes"] == ["CTVn_Ib_R: not found"]


def test_unknown_case_is_not_found(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        answer = client.get("/jobs/c-404")

    assert answer.status_code == 404
    assert answer.json() == {"detail": "no case c-404"}


def test_held_series_says_why(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        (row,) = client.get("/series?state=held").json()

    assert row["series_instance_uid"] == "1.2.3.4"
    assert row["reasons"] == ["gap of 6.00 mm after slice 12"]


@pytest.mark.parametrize("path", ["/jobs", "/jobs/c-1", "/series"])
def test_dead_database_is_told_as_unavailable(path: str) -> None:
    with rest(make_app(FakeBoard(down=True))) as client:
        answer = client.get(path)

    assert answer.status_code == 503
    assert answer.json() == {"detail": "the database does not answer"}


def metrics_of(app: FastAPI) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with rest(app) as client:
        text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_can_be_scraped(board: FakeBoard) -> None:
    found = metrics_of(make_app(board, FINE, NO_TRITON))

    assert found["npc_contour_cases", (("state", "sent"),)] == 2
    assert found["npc_contour_cases", (("state", "failed"),)] == 0
    assert found["npc_contour_series", (("state", "held"),)] == 1
    assert found["npc_contour_deliveries", (("destination", "tps"), ("state", "queued"))] == 1
    assert found["npc_contour_step_seconds_sum", (("step", "segment"),)] == 18.5
    assert found["npc_contour_step_seconds_count", (("step", "segment"),)] == 3
    within = {
        le: found["npc_contour_step_seconds_bucket", (("le", le), ("step", "segment"))] for le in ("1.0", "3.0", "+Inf")
    }
    assert within == {"1.0": 0, "3.0": 2, "+Inf": 3}
    assert found["npc_contour_jobs_queued", ()] == 4
    assert found["npc_contour_jobs_due", (("queue", "segment"),)] == 2
    assert found["npc_contour_oldest_due_job_seconds", (("queue", "segment"),)] == 61.5
    assert found["npc_contour_oldest_undelivered_seconds", (("destination", "tps"),)] == 7200
    assert found["npc_contour_worker_consumers", ()] == 4
    assert found["npc_contour_webhook_messages", (("state", "failed"), ("webhook", "ris"))] == 3
    assert found["npc_contour_webhook_messages", (("state", "queued"), ("webhook", "ris"))] == 0
    assert ("npc_contour_disk_full_seconds", ()) not in found
    assert found["npc_contour_spool_free_bytes", ()] == 123_456_789
    assert found["npc_contour_dependency_up", (("dependency", "database"),)] == 1
    assert found["npc_contour_dependency_up", (("dependency", "triton"),)] == 0
    assert found["npc_contour_info", (("version", "9.9.9"),)] == 1
    assert found["process_resident_memory_bytes", ()] > 1_000_000


def test_metrics_without_a_database_leave_its_numbers_out() -> None:
    found = metrics_of(make_app(FakeBoard(down=True), NO_TRITON))

    assert found["npc_contour_database_readable", ()] == 0
    assert found["npc_contour_spool_free_bytes", ()] == 123_456_789
    assert not [name for name, _ in found if name == "npc_contour_cases"]


def test_openapi_describes_every_path_and_the_page_loads_nothing_from_elsewhere(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        described = client.get("/openapi.json").json()
        page = client.get("/docs").text

    assert set(described["paths"]) == {"/health/live", "/health/ready", "/metrics", "/api/v1/version", "/api/v1/jobs",
                                       "/api/v1/jobs/{case_id}", "/api/v1/jobs/{case_id}/measurements.csv",
                                       "/api/v1/series"}  # fmt: skip
    for path, methods in described["paths"].items():
        assert set(methods) == {"get"}, f"{path} must be read only"
        assert methods["get"]["description"]
        assert path in page
    for name, schema in described["components"]["schemas"].items():
        fields = schema.get("properties", {}) if "Validation" not in name else {}
        assert all(f"<code>{field}</code>" in page for field in fields), name
    assert "http" not in page


def test_no_answer_has_a_place_for_a_patient(board: FakeBoard) -> None:
    with rest(make_app(board)) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]

    fields = {field for schema in schemas.values() for field in schema.get("properties", {})}
    assert not [field for field in fields if "patient" in field or "birth" in field]
    assert "study_instance_uid" in fields


def test_server_takes_a_free_port_and_stops(board: FakeBoard) -> None:
    with BackgroundServer(make_app(board, FINE), "127.0.0.1", 0) as server:
        answer = httpx.get(f"http://127.0.0.1:{server.port}/health/ready", timeout=5)

    assert answer.status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{server.port}/health/live", timeout=5)


def test_taken_port_is_named(board: FakeBoard) -> None:
    with (
        BackgroundServer(make_app(board, FINE), "127.0.0.1", 0) as server,
        pytest.raises(SettingsError, match=rf"web\.host, web\.port: cannot listen on 127\.0\.0\.1:{server.port}"),
    ):
        BackgroundServer(make_app(board, FINE), "127.0.0.1", server.port)
