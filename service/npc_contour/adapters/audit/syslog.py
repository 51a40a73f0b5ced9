"""Audit messages over syslog (RFC 5424): datagrams by UDP (RFC 5426), counted frames by TCP and TLS (RFC 5425)."""

from __future__ import annotations

import logging
import os
import queue
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from npc_contour.errors import SettingsError

PRIORITY = 10 * 8 + 5
"""Facility security/authorization, severity notice (PS3.15 A.6)."""
MESSAGE_ID = "DICOM+RFC3881"
APPLICATION = "npc-contour"
PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
MAX_WAITING = 10_000
CONNECT_S = 5.0
RETRY_S = 5.0
LAST_WORDS_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """Where messages go.

    Attributes:
        scheme: udp, tcp or tls.
        trusted: certificates that the server's is checked against; None takes those of the system.
        certificate: our own, for servers that ask for one; with its key.
    """

    scheme: str
    host: str
    port: int
    trusted: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(cls, url: str, *, trusted: Path | None, certificate: Path | None, key: Path | None) -> SyslogTarget:
        """Read an address such as tls://audit.hospital.example:6514.

        Raises:
            SettingsError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise SettingsError(f"audit.syslog: expected udp://, tcp:// or tls://HOST[:PORT], got {url!r}")
        return cls(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], trusted, certificate, key)


class SyslogSender:
    """Sends in a thread of its own: what is audited never waits for the server.

    A server that is down is tried again every few seconds; up to ten thousand messages wait meanwhile, then the oldest
    are given up and counted.
    """

    def __init__(self, target: SyslogTarget) -> None:
        self._target = target
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._connection: socket.socket | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="audit-syslog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def close(self) -> None:
        """Send what waits, for a moment; then end."""
        self.send(None)
        self._thread.join(timeout=LAST_WORDS_S)
        self._stopping.set()

    def send(self, frame: bytes | None) -> None:
        """Have a message sent; never waits."""
        with self._lock:
            if self._waiting.full():
                self._waiting.get_nowait()
                self.lost += 1
            self._waiting.put_nowait(frame)

    def _run(self) -> None:
        while (frame := self._waiting.get()) is not None:
            while not self._stopping.is_set() and not self._sent(frame):
                self._stopping.wait(RETRY_S)
        if self._connection is not None:
            self._connection.close()

    def _sent(self, frame: bytes) -> bool:
        try:
            if self._connection is None:
                self._connection = _connect(self._target)
            if self._target.scheme == "udp":
                self._connection.send(frame)
            else:
                self._connection.sendall(b"%d " % len(frame) + frame)
        except OSError as error:
            logger.debug("audit.syslog_down", extra={"error": str(error)})
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return False
        return True


def syslog_frame(xml: bytes, at: datetime, host: str) -> bytes:
    """One message as RFC 5424 has it; the byte order mark says that it is UTF-8."""
    head = f"<{PRIORITY}>1 {at.isoformat(timespec='milliseconds')} {host} {APPLICATION} {os.getpid()} {MESSAGE_ID} - "
    return head.encode("ascii", "replace") + b"\xef\xbb\xbf" + xml


def _connect(target: SyslogTarget) -> socket.socket:
    if target.scheme == "udp":
        family = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0][0]
        connection = socket.socket(family, socket.SOCK_DGRAM)
        connection.connect((target.host, target.port))
        return connection
    connection = socket.create_connection((target.host, target.port), timeout=CONNECT_S)
    if target.scheme == "tcp":
        return connection
    context = ssl.create_default_context(cafile=str(target.trusted) if target.trusted else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if target.certificate is not None:
        context.load_cert_chain(target.certificate, target.key)
    return context.wrap_socket(connection, server_hostname=target.host)
