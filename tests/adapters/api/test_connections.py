"""Half-sent requests, bodies that drip and answers that nobody reads keep nobody else out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from threading import Event
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Form
from fastapi.responses import StreamingResponse

from npc_contour.adapters.api.connections import LIMITS, Limits, protocol_of
from npc_contour.adapters.api.server import BackgroundServer

QUICK = Limits(
    head_s=0.5, body_stall_s=0.5, stalled_s=0.2, unread_s=0.5, most=40, most_of_address=40, look_every_s=0.05
)
HEAD = b"GET /fine HTTP/1.1\r\nHost: x\r\nX-"
BODY = (b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 1000\r\n\r\nname=")  # fmt: skip


def app() -> FastAPI:
    served = FastAPI()

    @served.get("/fine")
    async def fine() -> str:
        return "fine"

    @served.post("/form")
    async def form(name: Annotated[str, Form()]) -> str:
        return name

    @served.get("/endless")
    async def endless() -> StreamingResponse:
        async def zeros() -> AsyncIterator[bytes]:
            while True:
                yield bytes(65536)
                await asyncio.sleep(0)

        return StreamingResponse(zeros())

    return served


@contextmanager
def serving(limits: Limits) -> Iterator[int]:
    with BackgroundServer(app(), "127.0.0.1", 0, limits) as server:
        yield server.port


def connected(port: int, sends: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sends)
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("sends", [b"", b"GET", HEAD, BODY], ids=["nothing", "a word", "half a head", "half a body"])
def test_what_is_not_sent_on_ends_soon(sends: bytes) -> None:
    with serving(QUICK) as port:
        assert rest_of(connected(port, sends)).startswith(b"HTTP/1.1 408")


def test_the_same_holds_for_a_second_request_of_a_connection() -> None:
    with serving(QUICK) as port:
        connection = connected(port, HEAD.removesuffix(b"X-") + b"\r\n" + HEAD)
        assert rest_of(connection).startswith(b"HTTP/1.1 200")


def test_a_body_that_comes_on_is_waited_for() -> None:
    with serving(replace(QUICK, body_least_bytes=1)) as port:
        connection = connected(port, BODY)
        with connection:
            for _ in range(5):
                Event().wait(0.2)  # as a slow line does
                connection.sendall(b"x" * 200)
            assert connection.recv(20).startswith(b"HTTP/1.1 200")


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    with serving(QUICK) as port:
        connection = connected(port, HEAD.replace(b"/fine", b"/endless").removesuffix(b"X-") + b"\r\n")
        Event().wait(3.0)
        assert rest_of(connection), "it would never end otherwise"


@pytest.mark.parametrize("sends", [b"", HEAD, BODY], ids=["nothing", "half a head", "half a body"])
def test_eleven_hundred_half_sent_requests_keep_nobody_out(sends: bytes) -> None:
    with serving(LIMITS) as port, ExitStack() as stack, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(1100):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)).sendall(sends)
        assert client.get("/fine", timeout=20).status_code == 200


def test_beyond_the_limit_who_asks_is_told_while_all_are_busy() -> None:
    with serving(replace(QUICK, most_of_address=3, unread_s=60.0)) as port, ExitStack() as stack:
        ask = HEAD.replace(b"/fine", b"/endless").removesuffix(b"X-") + b"\r\n"
        for _ in range(3):
            assert stack.enter_context(connected(port, ask)).recv(12) == b"HTTP/1.1 200"
        assert rest_of(connected(port, b"")).startswith(b"HTTP/1.1 503")


def test_a_proxy_that_the_site_names_is_not_one_address() -> None:
    known = protocol_of([IPv4Network("127.0.0.1/32")])

    assert known.shared == (IPv4Network("127.0.0.1/32"),)
    assert protocol_of().shared == ()
