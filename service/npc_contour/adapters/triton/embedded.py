"""The embedded Triton: started as a child, watched, started again when it dies, stopped with its owner."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

import npc_contour
from npc_contour.adapters.triton import lifeline
from npc_contour.adapters.triton.loopback import (
    HOST,
    answers,
    end_processes,
    end_stale_processes,
    free_ports,
    has_dead_child,
    prefix_of,
    refuse_small_shared_memory,
    remove_stale_regions,
)
from npc_contour.adapters.triton.wheel import SERVER_PLACE, ServerFiles, plain_path, prepare_server, suits_server
from npc_contour.domain.pipelines import engine_name
from npc_contour.errors import EmbeddedServerError
from npc_contour.logs import Event
from npc_contour.scratch import Scratch

logger = logging.getLogger(__name__)

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - read, and bound only where a person asks for it
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
CALM_S = 60.0
"""A server that lived this long before it died is restarted at once."""
WATCH_EVERY_S = 0.5
GRACE_S = 8.0
START_TRIES = 3
_MAY_PASS = ("failed to start", "terminate called")
"""Ends of a log after which another start may succeed: a port was taken between our look and the server's bind; Triton
itself aborted over the lock of a network's process that ended while others were loading."""

LOG_LIMIT_BYTES = 20 * 1024 * 1024
LAST_LINES = 25


@dataclass(frozen=True, slots=True)
class TritonUrls:
    """Where a server listens; host:port for gRPC, the whole URL for metrics."""

    grpc: str
    metrics: str


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a server listens, and where it sends its traces.

    Attributes:
        host: others than loopback are for a network that only the service is on, for Triton asks nobody who he is.
        ports: for HTTP, gRPC and metrics; None takes free ones and leaves HTTP off.
        traces_url: OTLP over HTTP; "" sends none.
    """

    host: str = HOST
    ports: tuple[int, int, int] | None = None
    traces_url: str = ""


LOOPBACK = Endpoints()
"""This machine only, on free ports, without HTTP: what the service asks goes by gRPC and shared memory, and this Triton
can be ended by one request over HTTP (docs/inference.md)."""


class EmbeddedTriton:
    """One tritonserver on loopback with ports of its own; the same protocol and repository as a remote one."""

    def __init__(
        self,
        repository: Path,
        work_dir: Path | None = None,
        *,
        networks: Iterable[str] | None = None,
        log_file: Path | None = None,
        start_timeout_s: float = 120.0,
        give_way: Callable[[int], None] | None = None,
        endpoints: Endpoints = LOOPBACK,
    ) -> None:
        """Describe the server; nothing is started yet.

        Args:
            repository: Triton model repository.
            work_dir: for the backend's files and compiled networks; kept between starts. None takes a temporary one.
            networks: which of the repository's are loaded, with their engines; None loads all.
            log_file: what the server prints; `triton.log` in the folder where it works when None.
            start_timeout_s: how long loading all networks may take.
            give_way: lowers the priority of the server and its networks, given the process that leads their session;
                called once they are loaded, for before that everybody waits for them.
            endpoints: where it listens, and where its traces go.
        """
        self._host = endpoints.host
        self._chosen_ports = endpoints.ports
        self._traces_url = endpoints.traces_url
        self._repository = repository.resolve()
        self._networks = None if networks is None else sorted(set(networks))
        self._work_dir = work_dir.resolve() if work_dir is not None else None
        self._chosen_log = log_file.resolve() if log_file is not None else None
        self._scratch: Scratch | None = None
        self._start_timeout_s = start_timeout_s
        self._give_way = give_way
        self._files: ServerFiles | None = None
        self._models = self._repository
        self._caches: dict[str, str] = {}
        self._ports = (0, 0, 0)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._prefix = ""
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self.restarts = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            # Ctrl-C while it starts: the folder that it works in may be gone before the lifeline has ended it.
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def urls(self) -> TritonUrls:
        """Where the server listens; the same after a restart.

        Raises:
            EmbeddedServerError: it was never started.
        """
        _, grpc, metrics = self._ports
        if not grpc:
            raise EmbeddedServerError("the embedded Triton was not started")
        host = HOST if self._host == ANY_ADDRESS else self._host
        return TritonUrls(f"{host}:{grpc}", f"http://{host}:{metrics}/metrics")

    @property
    def server_pid(self) -> int | None:
        """Process id of the running tritonserver; None when there is none."""
        process = self._process
        if process is None or process.poll() is not None:
            return None
        try:
            children = psutil.Process(process.pid).children()
        except psutil.NoSuchProcess:
            return None
        return int(children[0].pid) if children else None

    def start(self) -> None:
        """Start the server and return when its networks are loaded, then watch it.

        Raises:
            EmbeddedServerError: it ended or was not ready in time; with the last lines of its log.
        """
        self._stopping.clear()
        if not self._repository.is_dir():
            raise EmbeddedServerError(f"model repository {self._repository} is not a folder")
        refuse_small_shared_memory()
        try:
            place = self._place()
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedServerError(f"the embedded Triton cannot work: {error}") from error
        end_stale_processes()
        remove_stale_regions()
        lifeline.remove_left_folders()
        self._files = prepare_server(place)
        self._models = self._model_folder(place / "models")
        self._caches = self._cache_dirs(place)
        for attempt in range(START_TRIES):
            self._ports = self._chosen_ports or (0, *free_ports())
            try:
                self._launch()
                break
            except EmbeddedServerError as error:
                if attempt + 1 == START_TRIES or not any(words in str(error).lower() for words in _MAY_PASS):
                    raise
        self._watcher = threading.Thread(target=self._watch, name="triton-watch", daemon=True)
        self._watcher.start()

    def is_live(self) -> bool:
        """Whether the server answers."""
        return self._process is not None and self._process.poll() is None and answers(self.urls.metrics)

    def ensure(self, timeout_s: float | None = None) -> None:
        """Return when the server answers; waits through a restart.

        Raises:
            EmbeddedServerError: it does not answer in time (default: the start timeout), or was stopped.
        """
        deadline = time.monotonic() + (self._start_timeout_s if timeout_s is None else timeout_s)
        while not self.is_live():
            if self._stopping.is_set() or self._watcher is None:
                raise EmbeddedServerError("the embedded Triton is stopped")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"the embedded Triton does not answer\n{self.last_lines()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server: SIGTERM, after some seconds SIGKILL; its shared memory is removed."""
        self._stopping.set()
        with self._lock:
            self._end_process()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        self._watcher = None
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    @property
    def _log_file(self) -> Path:
        return self._chosen_log or self._kept / "triton.log"

    @property
    def _kept(self) -> Path:
        """Where compiled networks lie."""
        if self._work_dir is not None:
            return self._work_dir
        if self._scratch is None:
            raise EmbeddedServerError("the embedded Triton was not started")
        return self._scratch.path

    def _place(self) -> Path:
        """Return where the server's own files can lie; raises OSError when there is no such folder."""
        if self._work_dir is not None:
            self._work_dir.mkdir(parents=True, exist_ok=True)
            if suits_server(self._work_dir):
                return self._work_dir
        if self._scratch is None:
            self._scratch = Scratch(suits_server, SERVER_PLACE)
        return self._scratch.path

    def last_lines(self) -> str:
        """Return the end of the server's log."""
        if not self._log_file.is_file():
            return ""
        with self._log_file.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16384))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:])

    def _launch(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._start_process()
            process = self._process
        if process is None:
            raise EmbeddedServerError("the embedded Triton is stopped")
        logger.info(Event.TRITON_STARTED, extra={"pid": process.pid, "grpc": self.urls.grpc})
        started = time.monotonic()
        # It opens this port last, after gRPC.
        while not answers(self.urls.metrics):
            if self._stopping.is_set():
                return
            code = process.poll()
            if code is not None or time.monotonic() - started > self._start_timeout_s:
                what = f"ended with code {code}" if code is not None else f"not ready after {self._start_timeout_s:g} s"
                with self._lock:
                    self._end_process()
                raise EmbeddedServerError(
                    f"the embedded Triton {what}; log {self._log_file} ends:\n{self.last_lines()}"
                )
            time.sleep(0.05)
        # Its networks' processes have mapped what they share with it, voxels among it: nobody else needs the names.
        lifeline.remove_shared_memory(self._prefix)
        if self._give_way is not None:
            self._give_way(process.pid)
        logger.info(Event.TRITON_READY, extra={"seconds": round(time.monotonic() - started, 2)})

    def _start_process(self) -> None:
        if self._files is None:
            raise EmbeddedServerError("the embedded Triton was not prepared")
        if self._log_file.is_file() and self._log_file.stat().st_size > LOG_LIMIT_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        read_end, self._pipe = os.pipe()
        prefix = self._prefix = f"{prefix_of(os.getpid())}{id(self):x}_"
        lifeline.remove_shared_memory(prefix)
        script = [sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid()), str(read_end), prefix, str(GRACE_S)]
        script.append(str(self._scratch.path) if self._scratch is not None else "")
        try:
            with self._log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [*script, *self._command(self._files, prefix)],
                    env={**self._files.environment, **self._caches},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(read_end,),
                    start_new_session=True,
                    umask=0o077,
                )
        finally:
            os.close(read_end)

    def _model_folder(self, place: Path) -> Path:
        """Return the folder of models that Triton loads; here, where it takes a part of the repository."""
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        if self._networks is None:
            return plain_path(self._repository, place)
        place.unlink(missing_ok=True)
        place.mkdir()
        for name in (model for network in self._networks for model in (network, engine_name(network))):
            if (self._repository / name).is_dir():
                (place / name).symlink_to(self._repository / name)
        return place

    def _cache_dirs(self, place: Path) -> dict[str, str]:
        """Return where compiled code is kept; a network's process reads paths of plain letters only."""
        compiled, kernels = self._kept / "compiled", self._kept / "kernels"
        for each in (compiled, kernels):
            each.mkdir(exist_ok=True)
        dirs = {"NPC_NETWORK_CACHE_DIR": str(plain_path(compiled, place / "compiled"))}
        if self._work_dir is not None and not os.access(Path(npc_contour.__file__).parent, os.W_OK):
            # numba keeps compiled kernels beside their source; an installation that we cannot write has no such place.
            dirs["NUMBA_CACHE_DIR"] = os.environ.get("NUMBA_CACHE_DIR", str(plain_path(kernels, place / "kernels")))
        return dirs

    def _command(self, files: ServerFiles, prefix: str) -> list[str]:
        http, grpc, metrics = self._ports
        return [
            str(files.binary),
            f"--model-repository={self._models}",
            f"--backend-directory={files.backends}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            # Loading compiles a network and the kernels; on a busy machine that takes longer than the default 30 s.
            f"--backend-config=python,stub-timeout-seconds={int(self._start_timeout_s)}",
            *([f"--http-address={self._host}", f"--http-port={http}"] if http else ["--allow-http=false"]),
            f"--grpc-address={self._host}",
            f"--metrics-address={self._host}",
            f"--grpc-port={grpc}",
            f"--metrics-port={metrics}",
            "--model-control-mode=none",
            "--allow-gpu-metrics=false",
            "--disable-auto-complete-config",
            # Engines share a device: those that name the same resource run one after another.
            "--rate-limit=execution_count",
            # One broken network must not take the others away: readiness names it.
            "--exit-on-error=false",
            "--exit-timeout-secs=5",
            *self._trace_options(),
        ]

    def _trace_options(self) -> list[str]:
        if not self._traces_url:
            return []
        given = ("mode=opentelemetry", "level=TIMESTAMPS", "rate=1", f"opentelemetry,url={self._traces_url}")
        return [f"--trace-config={one}" for one in given]

    def _end_process(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        process = self._process
        if process is None:
            return
        try:
            process.wait(GRACE_S + 5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # The lifeline does this too, unless it was itself killed.
        end_processes(self._prefix)
        lifeline.remove_shared_memory(self._prefix)
        self._process = None

    def _watch(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            process, started = self._process, time.monotonic()
            if process is not None:
                code = self._wait(process)
                if self._stopping.is_set():
                    return
                logger.error(Event.TRITON_DIED, extra={"code": code, "log": str(self._log_file)})
                with self._lock:
                    self._end_process()
            failures = 0 if time.monotonic() - started > CALM_S else failures + 1
            if failures > 1 and self._stopping.wait(BACKOFF_S[min(failures - 2, len(BACKOFF_S) - 1)]):
                return
            try:
                self._launch()
                self.restarts += 1
            except EmbeddedServerError:
                logger.exception(Event.TRITON_DIED)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Return when the server has ended, or one of its networks' processes, which it does not replace."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(WATCH_EVERY_S)
            pid = self.server_pid
            if pid is not None and not self._stopping.is_set() and has_dead_child(pid):
                # The server would report ready and fail every request from then on, as after the kernel's OOM kill.
                logger.error(Event.TRITON_DIED, extra={"what": "the process of a network", "server": pid})
                os.kill(pid, signal.SIGKILL)
