"""A call over HTTP ends in time and within bounds, whatever the peer does, and no body follows a redirect."""

from __future__ import annotations

import gzip
import time

import pytest

from npc_contour.errors import CallError
from npc_contour.http_calls import Limits, Way, call
from npc_testkit import rude_http as rude
from npc_testkit.http_peer import Handler
from npc_testkit.peers import free_port
from npc_testkit.rude_http import Act, rude_http

SHORT = Limits(timeout_s=1.0, whole_s=1.0, max_bytes=2**20)


def body(url: str, method: str = "GET", limits: Limits = SHORT, content: bytes = b"") -> bytes:
    with call(method, url, limits, content=content) as reply:
        reply.check()
        return reply.body()


@pytest.mark.parametrize(
    "act", [rude.drips_headers, rude.drips_body, rude.floods_with_interim_answers, rude.says_nothing]
)
def test_one_deadline_holds_for_all_of_a_call(act: Act) -> None:
    with rude_http(act) as (url, _):
        began = time.monotonic()
        with pytest.raises(CallError, match=r"no answer in time|not done after 1 s"):
            body(url)
        assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("act", [rude.sends_a_bomb, rude.sends_without_end])
def test_no_more_is_read_and_unpacked_than_is_bounded(act: Act) -> None:
    with rude_http(act) as (url, _), pytest.raises(CallError, match="more than 1 MiB"):
        body(url, limits=Limits(timeout_s=20.0, whole_s=20.0, max_bytes=2**20))


def test_what_is_packed_with_gzip_is_unpacked_and_nothing_else() -> None:
    whole = gzip.compress(b"[]" * 1000)
    with rude_http(rude.answers(200, whole, Content_Encoding="gzip")) as (url, _):
        assert body(url) == b"[]" * 1000
    for content, packing, words in (
        (whole[:-9], "gzip", "cut off"),
        (b"x" * 20, "gzip", "damaged"),
        (b"x", "br", "'br'"),
    ):
        refused = pytest.raises(CallError, match=words)
        with rude_http(rude.answers(200, content, Content_Encoding=packing)) as (url, _), refused:
            body(url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_body_follows_a_redirect(status: int) -> None:
    refused = pytest.raises(CallError, match=f"{status} .*'/login', which is not followed")
    with rude_http(rude.redirects(status, "/login")) as (url, asked), refused:
        body(url + "/studies", "POST", content=b"object")
    assert asked == ["/studies"]


def test_a_question_follows_a_redirect_within_its_server_and_to_no_other() -> None:
    with rude_http(rude.redirects(302, "/login")) as (url, asked):
        assert b"log in" in body(url + "/studies")
        away = pytest.raises(CallError, match="not followed")
        with rude_http(rude.redirects(302, f"{url}/login")) as (other, _), away:
            body(other + "/studies")
    for_ever = pytest.raises(CallError, match="more than 3 redirects")
    with rude_http(lambda handler: handler.reply(302, Location="/again")) as (again, _), for_ever:
        body(again)
    assert asked == ["/studies", "/login"]


@pytest.mark.parametrize("text", [b"", b"<html>", b"[" * 200_000, b'{"a": ' * 50_000, b"\xff\xfe", b"9" * 5000])
def test_what_is_no_json_is_an_error_and_nothing_worse(text: bytes) -> None:
    none = pytest.raises(CallError, match="not JSON")
    with rude_http(rude.answers(200, text)) as (url, _), call("GET", url, SHORT) as reply, none:
        reply.json()


def test_nobody_there_and_nothing_that_could_be_called() -> None:
    with pytest.raises(CallError, match="cannot be reached"):
        body(f"http://127.0.0.1:{free_port()}/")
    for url in ("ftp://127.0.0.1/", "http://[::1", "http://"):
        with pytest.raises(CallError):
            body(url)


def test_a_name_and_password_in_the_url_and_a_proxy_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def note(handler: Handler) -> None:
        seen.append((handler.path, handler.headers.get("Authorization", "")))
        handler.reply(204)

    with rude_http(note) as (url, _):
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, url)
        monkeypatch.delenv("no_proxy", raising=False)
        with call("GET", url.replace("//", "//user:word@"), SHORT) as reply:
            assert reply.status == 204
        with call("GET", "http://provider.invalid/keys", SHORT, way=Way(proxies=True)) as reply:
            assert reply.status == 204
    assert seen == [("/", "Basic dXNlcjp3b3Jk"), ("http://provider.invalid/keys", "")]
