"""HTTP peers that answer oddly: they drip, flood, pack, redirect and cut off. Each is a function that answers once."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from npc_testkit.http_peer import Handler, http_peer

Act = Callable[[Handler], None]
DRIPS_S = 6.0
"""How long a drip lasts: longer than any deadline of a test."""


@contextmanager
def rude_http(act: Act) -> Iterator[tuple[str, list[str]]]:
    """Serve what `act` answers; gives the URL and the paths that were asked for."""
    asked: list[str] = []

    class Rude(Handler):
        def answer(self, body: bytes) -> None:  # noqa: ARG002 - whatever comes
            asked.append(self.path)
            try:
                act(self)
            except OSError:
                self.close_connection = True

    with http_peer(Rude) as port:
        yield f"http://127.0.0.1:{port}", asked


def _slowly(handler: Handler, piece: bytes, every_s: float = 0.1) -> None:
    end = time.monotonic() + DRIPS_S
    while time.monotonic() < end:
        handler.wfile.write(piece)
        time.sleep(every_s)


def drips_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-")
    _slowly(handler, b"a")


def drips_body(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    _slowly(handler, b" ")


def floods_with_interim_answers(handler: Handler) -> None:
    _slowly(handler, b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.01)


def says_nothing(handler: Handler) -> None:
    handler.connection.recv(1)  # until the other side has had enough
    handler.close_connection = True


def sends_a_bomb(handler: Handler) -> None:
    handler.reply(200, BOMB, Content_Type="application/dicom+json", Content_Encoding="gzip")


def sends_without_end(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(1000):
        handler.wfile.write(b" " * 10**6)


def answers(status: int, body: bytes = b"", kind: str = "application/dicom+json", **headers: str) -> Act:
    return lambda handler: handler.reply(status, body, Content_Type=kind, **headers)


def redirects(status: int, to: str) -> Act:
    """To `to` from anywhere else; there is a login page."""

    def act(handler: Handler) -> None:
        if handler.path == to:
            handler.reply(200, b"<html>please log in", Content_Type="text/html")
        else:
            handler.reply(status, Location=to)

    return act


def _bomb() -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        for _ in range(200):
            file.write(bytes(2**20))
    return packed.getvalue()


BOMB = _bomb()
"""200 MiB of nothing, packed."""
