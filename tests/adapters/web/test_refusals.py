"""What must not open the service does not: odd paths, other people's tokens, other sites' pages, guessing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from urllib.parse import urlsplit

import httpx
import pytest

from npc_contour.adapters.web.access import COOKIE
from npc_contour.application.accounts import LOCAL, MAX_REFUSED_FROM_PEER, MAX_REFUSED_OF_NAME
from npc_contour.domain.accounts import AccessRole
from npc_contour.settings import Settings, Web
from npc_testkit.page import World

PASSWORD = "seven small stones"  # noqa: S105


@pytest.fixture
def closed(world: World) -> World:
    world.settings = Settings(web=Web(accounts="required"))
    for role in AccessRole:
        world.accounts.add(f"the-{role}", role, PASSWORD)
    return world


@contextmanager
def client_of(world: World) -> Iterator[httpx.Client]:
    with world.served() as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def log_in(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    return client.post("/login", data={"name": name, "password": password}, headers=headers)


def raw(url: str, target: str) -> int:
    """Ask for a path just as it is written; no client tidies it up. Returns the status."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1])


ODD_PATHS = (
    "/static/x/../../jobs", "/static/%2e%2e/%2e%2e/jobs", "/health/live/../../jobs", "//jobs", "/jobs/", "/jobs%2f",
    "/login/../jobs", "/login/oidc/../../jobs", "/api/v1//jobs", "/;/jobs", "/health/live%00/jobs", "/Jobs",
    "/static/..%5c..%5cjobs", "/dicom-web/studies/1.2/../../jobs",
)  # fmt: skip


def test_no_spelling_of_a_path_gets_round_the_login(closed: World) -> None:
    with closed.served() as url:
        for target in ODD_PATHS:
            assert raw(url, target) in {307, 400, 401, 403, 404, 405}, target
        assert raw(url, "/health/live") == 200


def test_no_method_gets_round_the_login(closed: World) -> None:
    with client_of(closed) as client:
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
            for path in ("/jobs", "/accounts", "/metrics", "/openapi.json"):
                assert client.request(method, path).status_code == 401, (method, path)


def test_beyond_this_machine_everything_is_closed_without_anybody_asking_for_it(world: World) -> None:
    world.settings = Settings(web=Web(host="0.0.0.0"))  # noqa: S104 - what is checked; the test itself listens on loopback
    with client_of(world) as client:
        found = {path: client.get(path).status_code for path in ("/health/live", "/jobs", "/metrics", "/openapi.json")}
        page = client.get("/work", headers={"Accept": "text/html"})

    assert found == {"/health/live": 200, "/jobs": 401, "/metrics": 401, "/openapi.json": 401}
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/work")


def test_what_is_no_token_opens_nothing(closed: World) -> None:
    good = closed.accounts.make_token("t", LOCAL, AccessRole.ADMIN, 1)
    with client_of(closed) as client:
        assert client.get("/jobs", headers=bearer(good)).status_code == 200
        for header in (
            "Bearer", "Bearer npc_", f"Bearer {good}x", f"Bearer {good[:-1]}", f"Bearer {good.upper()}",
            f"Basic {good}", good, f"Token {good}",
        ):  # fmt: skip
            assert client.get("/jobs", headers={"Authorization": header}).status_code == 401, header
        assert client.get(f"/jobs?access_token={good}&token={good}").status_code == 401
        assert client.get("/jobs", headers={"Cookie": f"{COOKIE}={good}"}).status_code == 401


def test_a_token_opens_nothing_once_it_is_over_or_removed_or_its_account_is_disabled(closed: World) -> None:
    accounts = closed.accounts
    ann = accounts.by_session(accounts.login("the-operator", PASSWORD) or "")
    assert ann is not None
    brief = accounts.make_token("brief", LOCAL, AccessRole.ADMIN, 1)
    removed = accounts.make_token("removed", LOCAL, AccessRole.ADMIN, None)
    of_ann = accounts.make_token("ann's", ann, AccessRole.VIEWER, None)
    admin = bearer(accounts.make_token("admin", LOCAL, AccessRole.ADMIN, None))
    with client_of(closed) as client:

        def found() -> list[int]:
            return [client.get("/jobs", headers=bearer(one)).status_code for one in (brief, removed, of_ann)]

        assert found() == [200, 200, 200]
        number = next(token.token_id for token in accounts.store.tokens() if token.label == "removed")
        assert client.delete(f"/accounts/tokens/{number}", headers=admin).status_code == 200
        assert client.post("/accounts/the-operator/disable", headers=admin).status_code == 200
        closed.clock.forward(25 * 3600)
        assert found() == [401, 401, 401]
        trail = {(line.who, line.action, line.what) for line in accounts.store.audit(20)}
    assert ("local:admin", "account.disable", "the-operator") in trail
    assert ("local:admin", "token.remove", str(number)) in trail


def test_a_token_does_not_fall_back_to_the_browsers_session(closed: World) -> None:
    with client_of(closed) as client:
        log_in(client, "the-admin")
        assert client.get("/accounts").status_code == 200
        assert client.get("/accounts", headers=bearer("npc_wrong")).status_code == 401
        viewer = closed.accounts.make_token("v", LOCAL, AccessRole.VIEWER, 1)
        assert client.get("/accounts", headers=bearer(viewer)).status_code == 403


def test_a_disabled_account_is_out_at_once_and_cannot_log_in(closed: World) -> None:
    admin = bearer(closed.accounts.make_token("admin", LOCAL, AccessRole.ADMIN, None))
    with client_of(closed) as client:
        log_in(client, "the-viewer")
        assert client.get("/jobs").status_code == 200
        client.post("/accounts/the-viewer/disable", headers=admin)
        assert client.get("/jobs").status_code == 401
        assert log_in(client, "the-viewer").status_code == 401


def test_login_gives_a_new_session_whatever_cookie_was_there(closed: World) -> None:
    with client_of(closed) as client:
        client.cookies.set(COOKIE, "planted")
        answer = log_in(client, "the-viewer")
        fresh = answer.cookies[COOKIE]
        assert fresh != "planted"
        client.cookies.clear()
        assert client.get("/jobs", headers={"Cookie": f"{COOKIE}=planted"}).status_code == 401
        assert client.get("/jobs", headers={"Cookie": f"{COOKIE}={fresh}"}).status_code == 200


def test_logout_ends_the_session_itself_not_only_the_cookie(closed: World) -> None:
    with client_of(closed) as client:
        log_in(client, "the-viewer")
        secret = client.cookies[COOKIE]
        person = closed.accounts.by_session(secret)
        assert person is not None
        assert client.post("/logout", headers={"X-CSRF-Token": person.csrf}).status_code == 204
        assert client.get("/jobs", headers={"Cookie": f"{COOKIE}={secret}"}).status_code == 401


def test_another_sites_page_makes_a_browser_do_nothing(closed: World) -> None:
    paths = ("/login", "/logout", "/rules", "/account", "/accounts", "/accounts/tokens", "/jobs/x/retry")
    with client_of(closed) as client:
        log_in(client, "the-admin")
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            for path in paths:
                assert client.post(path, headers=headers).status_code == 403, (path, headers)


def test_every_change_of_a_browser_needs_the_pages_secret(closed: World) -> None:
    with client_of(closed) as client:
        log_in(client, "the-admin")
        for method, path in (("POST", "/accounts"), ("POST", "/accounts/tokens"), ("DELETE", "/accounts/tokens/1"),
                             ("POST", "/account"), ("POST", "/logout"), ("POST", "/rules")):  # fmt: skip
            assert client.request(method, path).status_code == 403, path


def test_guessing_from_one_address_is_stopped_whatever_the_name(closed: World) -> None:
    closed.settings = Settings(web=Web(trusted_proxies=(IPv4Network("127.0.0.1/32"),)))
    here = {"X-Forwarded-For": "10.9.9.9"}
    with client_of(closed) as client:
        for number in range(MAX_REFUSED_FROM_PEER):
            assert log_in(client, f"nobody-{number}", "wrong wrong wrong", **here).status_code == 401
        stopped = log_in(client, "the-viewer", **here)
        assert (stopped.status_code, stopped.headers["retry-after"]) == (429, "600")
        assert log_in(client, "the-viewer", **{"X-Forwarded-For": "10.9.9.8"}).status_code == 303
        closed.clock.forward(601)
        assert log_in(client, "the-viewer", **here).status_code == 303


def test_the_present_password_cannot_be_guessed_by_whoever_found_an_open_browser(closed: World) -> None:
    with client_of(closed) as client:
        log_in(client, "the-viewer")
        person = closed.accounts.by_session(client.cookies[COOKIE])
        assert person is not None
        form, headers = {"old": "a guess", "new": "nine round pebbles"}, {"X-CSRF-Token": person.csrf}
        answers = [client.post("/account", data=form, headers=headers) for _ in range(MAX_REFUSED_OF_NAME + 1)]

    assert [answer.status_code for answer in answers] == [403] * MAX_REFUSED_OF_NAME + [429]
    assert answers[-1].headers["retry-after"] == "600"


def test_login_does_not_say_whether_there_is_such_an_account(closed: World) -> None:
    with client_of(closed) as client:
        known = log_in(client, "the-admin", "wrong wrong wrong")
        unknown = log_in(client, "the-nobody", "wrong wrong wrong")

    assert known.status_code == unknown.status_code == 401
    assert known.text.replace("the-admin", "") == unknown.text.replace("the-nobody", "")


def test_every_refusal_carries_the_headers_that_protect_a_browser(closed: World) -> None:
    viewer = bearer(closed.accounts.make_token("v", LOCAL, AccessRole.VIEWER, 1))
    with client_of(closed) as client:
        answers = [
            client.get("/jobs"),
            client.get("/accounts", headers=viewer),
            client.get("/nowhere", headers=viewer),
            client.get("/jobs?limit=0", headers=viewer),
            client.post("/login", headers={"Origin": "http://evil.example"}),
        ]

    assert [answer.status_code for answer in answers] == [401, 403, 404, 422, 403]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "strict-transport-security" not in answer.headers
        assert "server" not in answer.headers
