"""Behind a reverse proxy, by a link from elsewhere, with odd bytes: the service sees who asks, and answers in words."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from npc_contour.application.accounts import LOCAL, MAX_REFUSED_FROM_PEER, MAX_REFUSED_OF_NAME
from npc_contour.domain.accounts import AccessRole
from npc_contour.settings import Settings, Web
from npc_testkit.page import World, a_page

PASSWORD = "seven small stones"  # noqa: S105
HERE = (IPv4Network("127.0.0.1/32"),)
POST = "/dicom-web/studies"
"""Not served here: 404 is what gets past the guard."""
FOREIGN = {"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "https"}


@contextmanager
def asking(world: World, web: Web) -> Iterator[httpx.Client]:
    world.settings = Settings(web=web)
    for role in AccessRole:
        world.accounts.add(f"the-{role}", role, PASSWORD)
    with world.served() as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def bearer(world: World, role: AccessRole) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.accounts.make_token('test', LOCAL, role, 1)}"}


def log_in(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    client.cookies.clear()
    return client.post("/login", data={"name": name, "password": password}, headers=headers)


def test_images_are_posted_through_a_proxy_with_a_token_only(world: World) -> None:
    with asking(world, Web(accounts="required")) as client:
        for headers in (
            {}, FOREIGN, {"X-Real-IP": "10.9.9.9"}, {"Forwarded": "for=1.2.3.4"}, {"Host": "contour.example"},
            {"X-Forwarded-For": "127.0.0.1"}, {"Authorization": "Bearer npc_wrong"},
        ):  # fmt: skip
            assert client.post(POST, headers=headers).status_code == 401, headers
        assert client.post(POST, headers=bearer(world, AccessRole.VIEWER)).status_code == 403
        assert client.post(POST, headers=bearer(world, AccessRole.OPERATOR) | FOREIGN).status_code == 404


def test_images_are_posted_without_a_token_by_addresses_of_the_list_that_a_known_proxy_vouches_for(
    world: World,
) -> None:
    web = Web(trusted_proxies=HERE, stow_networks=(IPv4Network("10.9.0.0/16"), IPv4Network("127.0.0.0/8")))
    with asking(world, web) as client:
        assert client.post(POST, headers=FOREIGN).status_code == 404
        for forged in ("10.9.9.9, 10.1.1.1", "10.1.1.1", "127.0.0.1", "unknown"):
            assert client.post(POST, headers={"X-Forwarded-For": forged}).status_code == 401, forged
        assert client.post(POST).status_code == 401


def test_without_accounts_this_machine_posts_and_nothing_comes_in_through_a_proxy(world: World) -> None:
    with asking(world, Web()) as client:
        assert client.post(POST).status_code == 404
        for path in ("/jobs", "/work", "/metrics"):
            assert client.get(path).status_code == 200
            refused = client.get(path, headers=FOREIGN)
            assert (refused.status_code, "web.trusted_proxies" in refused.text) == (403, True)
        assert client.post(POST, headers=FOREIGN).status_code == 403
        assert client.get("/health/live", headers=FOREIGN).status_code == 200


def test_a_proxy_that_is_named_means_accounts(world: World) -> None:
    assert Web(trusted_proxies=HERE).needs_accounts
    with asking(world, Web(trusted_proxies=HERE)) as client:
        assert client.get("/jobs").status_code == 401


def test_behind_a_known_proxy_with_tls_cookies_are_secure_and_the_trail_has_the_real_address(world: World) -> None:
    with asking(world, Web(trusted_proxies=HERE)) as client:
        inside = log_in(client, "the-viewer", **FOREIGN)
        plain = log_in(client, "the-viewer", **{"X-Forwarded-For": "10.9.9.9"})
        line = next(line for line in world.accounts.store.audit(5) if line.action == "login")

    assert all("Secure" in cookie and "SameSite=lax" in cookie for cookie in inside.headers.get_list("set-cookie"))
    assert inside.headers["strict-transport-security"] == "max-age=31536000"
    assert not any("Secure" in cookie for cookie in plain.headers.get_list("set-cookie"))
    assert "strict-transport-security" not in plain.headers
    assert (line.who, line.peer) == ("the-viewer", "10.9.9.9")


def test_a_proxy_that_nobody_named_is_not_believed(world: World) -> None:
    with asking(world, Web(accounts="required")) as client:
        inside = log_in(client, "the-viewer", **FOREIGN)
        line = next(line for line in world.accounts.store.audit(5) if line.action == "login")

    assert inside.status_code == 303
    assert "strict-transport-security" not in inside.headers
    assert line.peer == "127.0.0.1"


@pytest.mark.parametrize("web", [Web(accounts="required"), Web(trusted_proxies=HERE)], ids=["unnamed", "named"])
def test_nobody_behind_a_proxy_is_kept_out_by_a_neighbour_who_guesses(world: World, web: Web) -> None:
    with asking(world, web) as client:
        log_in(client, "the-viewer", **FOREIGN)
        known = dict(client.cookies)
        for number in range(MAX_REFUSED_FROM_PEER + 1):
            log_in(client, f"no-{number}", "x" * 12, **{"X-Forwarded-For": "10.9.9.8"})
        assert log_in(client, "the-admin", **FOREIGN).status_code == 303
        for _ in range(MAX_REFUSED_OF_NAME + 1):
            log_in(client, "the-viewer", "x" * 12, **FOREIGN)
        assert log_in(client, "the-viewer", **FOREIGN).status_code == 429
        client.cookies.update(known)
        again = client.post("/login", data={"name": "the-viewer", "password": PASSWORD}, headers=FOREIGN)
        assert again.status_code == 303
        world.accounts.unlock("the-viewer")
        assert log_in(client, "the-viewer", **FOREIGN).status_code == 303


def raw(url: str, *lines: bytes) -> int:
    """Ask with just these bytes; returns the status."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(b"\r\n".join((*lines, b"Connection: close", b"", b"")))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1])


GET, HOST = b"GET /jobs HTTP/1.1", b"Host: 127.0.0.1"
ODD: tuple[tuple[bytes, ...], ...] = (
    (GET, b"Host: ["), (GET, b"Host: [::::]"), (GET, b"Host: a b"), (GET, b"Host: x@y"), (GET, b"Host: caf\xe9"),
    (GET, b"Host: \xe2\x84\x80"), (GET, b"Host: x:port"), (GET, b"Host: 127.0.0.1/../x"),
    (b"POST /login HTTP/1.1", HOST, b"Origin: http://[", b"Content-Length: 0"),
    (b"POST /login HTTP/1.1", HOST, b"Origin: http://\xe2\x84\x80", b"Content-Length: 0"),
    (b"GET /jobs?pipeline=%00 HTTP/1.1", HOST), (b"GET /work?text=a%00b HTTP/1.1", HOST),
    (b"GET /cases/%00 HTTP/1.1", HOST), (b"GET /jobs/%00 HTTP/1.1", HOST), (b"GET /login?next=%00 HTTP/1.1", HOST),
)  # fmt: skip


def test_bytes_that_nobody_sends_are_answered_400(world: World) -> None:
    with world.served() as url:
        found = {lines: raw(url, *lines) for lines in ODD}

    assert found == dict.fromkeys(ODD, 400)


def test_a_value_that_the_database_cannot_keep_is_the_senders_fault(world: World) -> None:
    with asking(world, Web(accounts="required")) as client:
        admin = bearer(world, AccessRole.ADMIN)
        case = world.add_case()
        answers = [
            client.post("/login", data={"name": "a\0b", "password": "x"}),
            client.post("/accounts/tokens", data={"label": "a\0b", "role": "viewer"}, headers=admin),
            client.post(f"/jobs/{case}/hold", json={"reason": "a\0b"}, headers=admin),
            client.post(f"/jobs/{case}/hold", content=b'{"reason": "\\ud800"}',
                        headers=admin | {"Content-Type": "application/json"}),
        ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [400, 400, 422, 422]


def test_a_secret_of_the_page_with_odd_bytes_is_a_wrong_one(world: World) -> None:
    with asking(world, Web(accounts="required")) as client:
        log_in(client, "the-admin")
        assert client.post("/accounts/tokens", headers=[(b"x-csrf-token", b"\xe9\xe9")]).status_code == 403


def test_browsers_are_refused_in_a_page_and_programs_in_json(world: World) -> None:
    with asking(world, Web(accounts="required")) as client:
        log_in(client, "the-viewer")
        for path, status, words in (("/accounts", 403, "this needs admin"), ("/work?group=bogus", 422, "group"),
                                    ("/cases/none", 404, "no case"), ("/jobs/none", 404, "no case")):  # fmt: skip
            page = client.get(path, headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
            assert words in page.text
            program = client.get(path)
            assert (program.status_code, program.headers["content-type"]) == (status, "application/json"), path


def test_a_link_from_another_site_leads_to_the_place_logged_in_or_not(world: World, browser: Browser) -> None:
    world.settings = Settings(web=Web(accounts="required"))
    world.accounts.add("ann", AccessRole.VIEWER, PASSWORD)
    place = "/work?group=attention&text=abc#1,2,3"

    with world.served() as url, a_page(browser) as page:
        for _ in range(2):
            page.goto("about:blank")
            # localhost and 127.0.0.1 are two sites.
            page.goto(f"{url.replace('127.0.0.1', 'localhost')}/login")
            page.evaluate("place => { location.href = place }", url + place)
            page.wait_for_url(f"{url}/**")
            if page.get_by_label("Password").count():
                assert _ == 0, "asked again although logged in"
                page.get_by_label("Name").fill("ann")
                page.get_by_label("Password").fill(PASSWORD)
                page.keyboard.press("Enter")
            expect(page).to_have_url(url + place)
            expect(page.locator("h1")).to_have_text("Work list")


def test_the_description_of_rest_is_styled_within_the_policy(world: World, browser: Browser) -> None:
    with world.served() as url, a_page(browser, dark=True) as page:
        page.goto(f"{url}/docs")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 29)"


def test_an_account_that_is_there_is_not_written_over_in_the_browser(world: World, browser: Browser) -> None:
    world.settings = Settings(web=Web(accounts="required"))
    world.accounts.add("ann", AccessRole.ADMIN, PASSWORD)
    world.accounts.add("olaf", AccessRole.OPERATOR, PASSWORD)

    with world.served() as url, a_page(browser, may_fail=True) as page:
        page.goto(f"{url}/accounts")
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        form = page.get_by_label("Add an account")
        form.get_by_label("Name").fill("olaf")
        form.get_by_label("Password").fill("nine round pebbles")
        form.get_by_role("button").click()
        expect(page.locator(".toast")).to_contain_text("there is an account olaf already")
        roles = page.get_by_label("Change a role")
        roles.get_by_label("Account").select_option("ann")
        roles.get_by_label("New role").select_option("viewer")
        roles.get_by_role("button").click()
        expect(page.locator(".toast").last).to_contain_text("ann is the only admin")
        roles.get_by_label("Account").select_option("olaf")
        roles.get_by_label("New role").select_option("admin")
        roles.get_by_role("button").click()
        expect(page.get_by_role("row").filter(has_text="olaf").first).to_contain_text("admin")
    assert world.accounts.fits("olaf", PASSWORD)
