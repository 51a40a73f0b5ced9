"""The real application answers whatever it is asked as its description says, never with a fault of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from npc_contour.adapters.api.web import MAX_BODY
from npc_contour.application.accounts import LOCAL
from npc_contour.domain.accounts import AccessRole
from npc_contour.domain.jobs import CaseState
from npc_contour.store.database import Store
from npc_testkit.page import World
from npc_testkit.served import Served, served

SECONDS = int(os.environ.get("REST_FUZZ_SECONDS", "25"))
SEED = [] if "REST_FUZZ_SECONDS" in os.environ else ["--seed", "8"]
"""A short run asks the same each time; a long one, `make fuzz-rest`, something new."""
PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1}
TPS = {"name": "tps", "ae_title": "TPS", "host": "127.0.0.1", "port": 1}
DOCS = Path(__file__).parents[2] / "docs" / "rest.md"
CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture
def running(store: Store, database_url: str, tmp_path: Path) -> Iterator[Served]:
    world = World(store, tmp_path / "world")
    world.add_case(seed="sent")
    world.add_case(seed="failed", state=CaseState.FAILED, reason="the network did not answer")
    with served(store, database_url, tmp_path / "root", pacs=[PACS], destinations=[TPS]) as application:
        yield application


@pytest.fixture
def document(running: Served) -> dict[str, Any]:
    described: dict[str, Any] = running.client.get("/openapi.json").json()
    return described


@pytest.mark.slow
def test_nothing_asked_is_answered_with_a_fault_or_otherwise_than_described(running: Served, tmp_path: Path) -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run", f"{running.url}/openapi.json",
         "--header", f"Authorization: Bearer {running.token}", "--max-time", str(SECONDS), "--max-examples", "1000",
         "--generation-database", "none", "--no-color", "--suppress-health-check", "all", *SEED],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 200, check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert "Stateful" in ended.stdout


def test_a_key_that_is_refused_does_not_fit_the_schema_either(running: Served, document: dict[str, Any]) -> None:
    schema = {**document["components"]["schemas"]["AssignOrder"], "components": document["components"]}
    order = {"roles": {"planning\nct": "1.2.3"}}

    assert running.client.post("/api/v1/jobs/any/assign", json=order).status_code == 422
    assert not jsonschema_rs.is_valid(schema, order)
    assert jsonschema_rs.is_valid(schema, {"roles": {"planning_ct": "1.2.3"}})


def test_every_body_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    bodies = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                for kind, content in body.get("content", {}).items():
                    if "multipart" in kind:
                        continue
                    assert "example" in content, (method, path, kind)
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, content["example"])
                    bodies += 1
    assert bodies > 100


def test_every_path_documents_its_refusals(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found = set(operation["responses"])
            assert "421" in found, path
            if path.startswith("/api/"):
                assert {"401"} <= found, path
            if method == "post" and path.startswith("/api/"):
                assert {"400", "401", "403", "404", "409", "413", "422", "503"} <= found, path
            for status, response in operation["responses"].items():
                if path.startswith("/api/") and status.startswith("4") and status not in {"413", "422"}:
                    reference = response["content"]["application/json"]["schema"]["$ref"]
                    assert reference.endswith("/Problem"), (path, status)


def test_refusals_have_the_shape_that_is_documented(running: Served) -> None:
    viewer = {"Authorization": f"Bearer {running.accounts.make_token('viewer', LOCAL, AccessRole.VIEWER, 1)}"}
    none = {"Authorization": "Bearer npc_wrong"}
    case = running.client.get("/api/v1/jobs").json()[0]["case_id"]
    post = f"/api/v1/jobs/{case}/hold"
    answers = {
        400: running.client.post(post, content=b"\xff", headers={"Content-Type": "application/json"}),
        401: running.client.get("/api/v1/jobs", headers=none),
        403: running.client.post(post, json={}, headers=viewer),
        404: running.client.get("/api/v1/jobs/nothing"),
        409: running.client.post(f"/api/v1/jobs/{case}/release", json={}),
        415: running.client.post("/dicom-web/studies", content=b"x"),
    }

    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        assert isinstance(answer.json()["detail"], str)
    assert running.client.post(post, json={"reason": "x" * MAX_BODY}).status_code == 413
    wrong = running.client.get("/api/v1/jobs?limit=0")
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["query", "limit"])
    assert answers[401].headers["www-authenticate"].startswith("Bearer")


def test_lists_are_had_in_parts_each_row_once(running: Served) -> None:
    for path, key in (("jobs", "case_id"), ("series", "series_instance_uid")):
        part = running.client.get(f"/api/v1/{path}?limit=1")
        found = [row[key] for row in part.json()]
        while "next" in part.links:
            part = running.client.get(part.links["next"]["url"])
            found += [row[key] for row in part.json()]
        assert found == [row[key] for row in running.client.get(f"/api/v1/{path}").json()]
        assert len(found) == 2, path


@pytest.mark.parametrize(
    ("query", "count"),
    [("study={study}", 1), ("study=1.2", 0), ("patient=TK0001", 2), ("patient=TK", 0), ("since={late}", 1)],
)
def test_lists_are_filtered(running: Served, query: str, count: int) -> None:
    newest = running.client.get("/api/v1/jobs").json()[0]
    asked = query.format(study=newest["study_instance_uid"], late=newest["updated_at"])

    assert len(running.client.get(f"/api/v1/jobs?{asked}").json()) == count


def test_a_parameter_that_a_path_does_not_know_is_refused(running: Served, document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        if "get" in methods and path.startswith("/api/"):
            answer = running.client.get(re.sub(r"{.*?}", "1", path), params={"offset": 10})
            assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "offset"]), path
    assert running.client.get("/api/v1/jobs?cursor=nothing").json()["detail"][0]["loc"] == ["query", "cursor"]


def test_health_is_asked_for_its_head_alone(running: Served) -> None:
    assert running.client.head("/health/live").status_code == 200
    assert running.client.head("/health/ready").status_code == running.client.get("/health/ready").status_code


@pytest.mark.parametrize("reason", ["a\x00b", "two\nlines", "\ud800"])
def test_odd_text_is_refused_before_it_reaches_the_database(running: Served, reason: str) -> None:
    case = running.client.get("/api/v1/jobs").json()[0]["case_id"]
    body = '{"reason": ' + json.dumps(reason) + "}"
    answer = running.client.post(
        f"/api/v1/jobs/{case}/hold", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    assert isinstance(httpx.Response(422, content=answer.content).json(), dict)


def test_commands_of_the_documentation_work(running: Served) -> None:
    commands = re.findall(r"^\$ (curl .*)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    job = running.client.get("/api/v1/jobs?state=sent").json()[0]
    known = {"URL": running.url, "TOKEN": running.token, "CASE": job["case_id"], "STUDY": job["study_instance_uid"]}
    assert len(commands) > 8
    for command in commands:
        ended = subprocess.run(
            ["bash", "-c", command],
            env={**os.environ, **known},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # A case that is done is held by nobody, and cannot be.
        expected = 22 if command.endswith(("/hold", "/release")) else 0
        assert ended.returncode == expected, (command, ended.stderr)
        assert ended.stdout or expected, command
