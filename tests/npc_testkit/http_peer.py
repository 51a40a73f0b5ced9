"""A small HTTP server in a thread of the tests, for what ours calls; it ends with its block."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from npc_testkit.certificates import Identity


class Handler(BaseHTTPRequestHandler, ABC):
    """A handler to build on: GET and POST are answered in one place, and no request makes a line."""

    @abstractmethod
    def answer(self, body: bytes) -> None:
        """Answer a request; the body of a GET is empty."""

    def reply(self, status: int, data: bytes = b"", **headers: str) -> None:
        """Send a whole answer; underscores in the names of headers are hyphens."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def http_peer(handler: type[Handler], port: int = 0, *, tls: Identity | None = None) -> Iterator[int]:
    """Serve on 127.0.0.1, over HTTPS with a certificate where one is given; give the port."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
