"""Everything is closed but health; each role may do its own; no other site's page can make a browser act."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, expect

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.web.access import COOKIE, OPEN
from npc_contour.adapters.web.account_pages import local_path
from npc_contour.application.accounts import LOCAL, MAX_REFUSED_OF_NAME, Accounts
from npc_contour.domain.accounts import AccessRole
from npc_contour.settings import Settings, Web
from npc_testkit.page import World, a_page

PASSWORD = "seven small stones"  # noqa: S105
CLOSED = Settings(web=Web(accounts="required"))


@contextmanager
def client_of(world: World) -> Iterator[httpx.Client]:
    with world.served() as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def closed(world: World) -> World:
    world.settings = CLOSED
    for role in AccessRole:
        world.accounts.add(f"the-{role}", role, PASSWORD)
    return world


def bearer(world: World, role: AccessRole) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.accounts.make_token('test', LOCAL, role, 1)}"}


def log_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/login", data={"name": name, "password": password})


def paths_of(app: FastAPI) -> list[tuple[str, str]]:
    pages = [route for route in app.routes if isinstance(route, APIRoute)]
    found = [(method, route.path) for route in pages for method in sorted(route.methods or ())]
    described = app.openapi()["paths"]
    return [*found, *((method.upper(), path) for path, methods in described.items() for method in methods)]


@pytest.mark.parametrize("who", ["nobody", "the-viewer", "a wrong token"])
def test_who_has_no_account_learns_only_whether_it_is_ready(closed: World, who: str) -> None:
    headers = {"the-viewer": bearer(closed, AccessRole.VIEWER), "a wrong token": {"Authorization": "Bearer npc_x"}}
    with client_of(closed) as client:
        answer = client.get("/health/ready", headers=headers.get(who)).json()

    assert answer["status"] == "degraded"
    assert bool(answer["checks"]) == (who == "the-viewer")


def test_health_answers_at_once_while_all_others_wait_for_the_database(
    closed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, waiting = threading.Event(), threading.Semaphore(0)

    def stopped(*_: object) -> None:
        waiting.release()
        frozen.wait(30)

    monkeypatch.setattr(Accounts, "by_token", stopped)
    with client_of(closed) as client, ThreadPoolExecutor(60) as others:
        token = {"Authorization": "Bearer npc_any"}
        asked = [others.submit(httpx.get, f"{client.base_url}/jobs", headers=token, timeout=30) for _ in range(60)]
        try:
            for _ in range(40):  # as many threads as all requests share
                assert waiting.acquire(timeout=10)
            client.get("/health/live")
            began = time.monotonic()
            assert client.get("/health/live", headers=token).json() == {"status": "alive"}
            assert time.monotonic() - began < 0.25
            assert client.get("/health/ready").status_code == 200
            assert client.get("/health/ready", headers=token).json()["checks"] == []
        finally:
            frozen.set()
        assert {one.result().status_code for one in asked} == {401}


def test_every_path_but_the_open_ones_asks_who_is_there(closed: World) -> None:
    with (
        closed.app() as app,
        BackgroundServer(app, "127.0.0.1", 0) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client,
    ):
        asked = [
            (method, path.replace("{", "").replace("}", "").replace(":path", "")) for method, path in paths_of(app)
        ]
        answers = {(method, path): client.request(method, path).status_code for method, path in asked}
        docs = client.get("/openapi.json").status_code

    assert {("POST", "/api/v1/jobs/case_id/retry"), ("GET", "/metrics"), ("GET", "/cases/case_id")} <= set(answers)
    assert docs == 401
    for (method, path), status in answers.items():
        assert (status != 401) == bool(OPEN.fullmatch(path)) or (path == "/login" and status in {401, 422}), (
            method,
            path,
        )


def test_accounts_are_asked_for_beyond_this_machine_only() -> None:
    assert not Web().needs_accounts
    assert not Web(host="localhost").needs_accounts
    assert Web(host="0.0.0.0").needs_accounts  # noqa: S104
    assert Web(host="10.0.0.5").needs_accounts
    assert not Web(host="10.0.0.5", accounts="off").needs_accounts


@pytest.mark.parametrize(
    ("role", "may"),
    [(AccessRole.VIEWER, (200, 403, 403)), (AccessRole.OPERATOR, (200, 404, 403)), (AccessRole.ADMIN, (200, 404, 200))],
)
def test_each_role_may_do_its_own(closed: World, role: AccessRole, may: tuple[int, int, int]) -> None:
    with client_of(closed) as client:
        headers = bearer(closed, role)
        found = (
            client.get("/jobs", headers=headers).status_code,
            client.post("/jobs/none/nothing", headers=headers, json={}).status_code,
            client.get("/accounts", headers=headers).status_code,
        )

    assert found == may


def test_session_cookie_cannot_be_read_by_scripts_nor_sent_along_with_changes_by_others(closed: World) -> None:
    with client_of(closed) as client:
        answer = log_in(client, "the-viewer")

    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie


def test_change_needs_the_pages_token_and_our_own_page(closed: World) -> None:
    with client_of(closed) as client:
        log_in(client, "the-operator")
        person = closed.accounts.by_session(client.cookies[COOKIE])
        assert person is not None
        right = {"X-CSRF-Token": person.csrf, "Sec-Fetch-Site": "same-origin"}
        answers = [
            client.post("/jobs/x/retry", json={}, headers=headers).status_code
            for headers in (
                {},
                right | {"X-CSRF-Token": "guess"},
                right | {"Sec-Fetch-Site": "cross-site"},
                right | {"Sec-Fetch-Site": "same-site"},
                {"X-CSRF-Token": person.csrf, "Origin": "http://evil.example"},
            )
        ]
        fine = client.post("/jobs/x/retry", json={}, headers=right).status_code

    assert answers == [403] * 5
    assert fine in {404, 405}


def test_without_accounts_other_names_of_this_machine_and_other_sites_are_refused(world: World) -> None:
    with client_of(world) as client:
        assert client.get("/jobs").status_code == 200
        assert client.get("/jobs", headers={"Host": "evil.example"}).status_code == 421
        assert client.post("/rules", headers={"Origin": "http://evil.example"}).status_code == 403


def test_too_many_wrong_passwords_are_not_looked_at(closed: World) -> None:
    with client_of(closed) as client:
        answers = [log_in(client, "the-admin", "wrong wrong wrong").status_code for _ in range(MAX_REFUSED_OF_NAME)]
        last = log_in(client, "the-admin")

    assert answers == [401] * MAX_REFUSED_OF_NAME
    assert last.status_code == 429
    assert COOKIE not in last.cookies


def test_login_leads_nowhere_else() -> None:
    assert local_path("/cases/1/review?role=t1") == "/cases/1/review?role=t1"
    for path in ("//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\\b", "/a\r\nb", "/login"):
        assert local_path(path) == "/work"


def test_browsers_are_told_what_never_to_do(world: World) -> None:
    with client_of(world) as client:
        answers = [client.get(path) for path in ("/work", "/jobs", "/nowhere", "/health/live")]

    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_what_changes_something_is_in_the_audit_trail(closed: World) -> None:
    with client_of(closed) as client:
        log_in(client, "the-operator", "wrong wrong wrong")
        client.post("/jobs/x/retry", json={}, headers=bearer(closed, AccessRole.OPERATOR))
        client.post("/jobs/x/retry", json={}, headers=bearer(closed, AccessRole.VIEWER))
        client.get("/jobs", headers=bearer(closed, AccessRole.VIEWER))

    lines = [line for line in closed.accounts.store.audit(10) if not line.action.startswith(("account.", "token."))]
    trail = [(line.who, line.action, line.what, line.outcome) for line in lines]
    assert trail == [
        ("local:test", "POST", "/jobs/x/retry", "refused"),
        ("local:test", "POST", "/jobs/x/retry", trail[1][3]),
        ("the-operator", "login", "", "refused"),
    ]
    assert trail[1][3] in {"404", "405"}


def test_admin_manages_accounts_in_the_browser(closed: World, browser: Browser) -> None:
    with closed.served() as url, a_page(browser) as page:
        page.goto(f"{url}/accounts")
        expect(page).to_have_url(f"{url}/login?next=/accounts")
        page.get_by_label("Name").fill("the-admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{url}/accounts")
        form = page.get_by_label("Add an account")
        form.get_by_label("Name").fill("bert")
        form.get_by_label("Password").fill("nine round pebbles")
        form.get_by_role("button").click()
        bert = page.get_by_role("row").filter(has_text="bert").filter(has=page.get_by_role("button"))
        expect(bert).to_contain_text("viewer")
        page.get_by_label("Make a token").get_by_label("What uses it").fill("prometheus")
        page.get_by_label("Make a token").get_by_role("button").click()
        token = page.locator("#secret").inner_text()
        bert.get_by_role("button", name="Disable").click()
        page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        expect(bert).to_contain_text("disabled", ignore_case=True)
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{url}/login")

        assert httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 401
