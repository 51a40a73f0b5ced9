"""Serve the REST application with uvicorn, in the foreground or beside other work."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Self

import uvicorn
from fastapi import FastAPI

from npc_contour.adapters.api.connections import LIMITS, Limits, Network, protocol_of
from npc_contour.errors import SettingsError

GRACE_S = 3


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it listens, and that its loop turns."""

    def __init__(
        self, config: uvicorn.Config, on_started: Callable[[], None], beat: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._beat = beat

    async def on_tick(self, counter: int) -> bool:
        """Do what uvicorn does ten times a second, and tell."""
        self._beat()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._on_started()


def run(
    app: FastAPI,
    host: str,
    port: int,
    on_ready: Callable[[int], None] | None = None,
    beat: Callable[[], None] = lambda: None,
    proxies: Sequence[Network] = (),
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: what to serve.
        host: address to listen on.
        port: 0 takes a free one.
        on_ready: called with the port once requests are answered.
        beat: called at each turn of the loop that answers, ten times a second.
        proxies: reverse proxies that the site names; each brings many people's requests.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    with _listen(host, port) as listener:
        bound = int(listener.getsockname()[1])
        server = _Server(_config(app, proxies), lambda: on_ready(bound) if on_ready is not None else None, beat)
        server.run(sockets=[listener])


class BackgroundServer:
    """Serves in a thread while the block runs.

    Args:
        app: what to serve.
        host: address to listen on.
        port: 0 takes a free one.
        limits: of its connections.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    def __init__(self, app: FastAPI, host: str, port: int, limits: Limits = LIMITS) -> None:
        self._listener = _listen(host, port)
        self.port = int(self._listener.getsockname()[1])
        self._started = Event()
        self._server = _Server(_config(app, limits=limits), self._started.set)
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, name="rest", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return once requests are answered."""
        self._thread.start()
        self._started.wait(timeout=10)

    def stop(self) -> None:
        """Finish the requests in hand and stop.

        Raises:
            RuntimeError: a request does not let go of the event loop.
        """
        self._server.should_exit = True
        self._thread.join(timeout=GRACE_S + 2)
        self._listener.close()
        if self._thread.is_alive():
            raise RuntimeError("the REST server does not stop: a request keeps its event loop busy")


def _config(app: FastAPI, proxies: Sequence[Network] = (), limits: Limits = LIMITS) -> uvicorn.Config:
    # No access log: every probe of the hospital's monitoring would be a line. Whose X-Forwarded-For is trusted is the
    # site's decision, and the guard's to act on.
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        proxy_headers=False,
        http=protocol_of(proxies, limits),
        ws="none",
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(f"web.host, web.port: cannot listen on {host}:{port}: {error.strerror or error}") from error
