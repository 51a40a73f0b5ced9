"""The embedded Triton comes back when it dies, says why when it cannot start, and never outlives its owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.adapters.triton.loopback import end_stale_processes, prefix_of, remove_stale_regions
from npc_contour.adapters.triton.regions import SHARED_MEMORY
from npc_contour.domain.volumes import Volume
from npc_contour.errors import EmbeddedServerError, InferenceError
from npc_contour.lifetime import pid_namespace
from npc_testkit.tiny_network import write_tiny_network
from npc_testkit.tiny_server import Served


def regions_of(pid: int) -> list[str]:
    return [path.name for path in SHARED_MEMORY.glob(f"{prefix_of(pid)}*")]


def wait_until(condition: Callable[[], bool], timeout_s: float = 120.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_killed_server_comes_back_on_the_same_ports_and_answers(served: Served, volume: Volume) -> None:
    urls, killed = served.server.urls, served.server.server_pid
    restarts = served.server.restarts
    assert killed is not None
    stubs = psutil.Process(killed).children(recursive=True)

    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: served.server.restarts > restarts)
    served.server.ensure()

    assert served.server.urls == urls
    assert served.server.server_pid not in {None, killed}
    assert not [stub for stub in stubs if stub.is_running() and stub.status() != psutil.STATUS_ZOMBIE]
    with TritonEngine(urls.grpc) as client:
        client.check(served.contracts["tiny"])
        answer = client.segment(served.contracts["tiny"], [volume])
    np.testing.assert_array_equal(answer.labels, volume.hu > 100)


def test_killed_lifeline_leaves_no_process_of_a_network_behind(served: Served) -> None:
    pid = served.server.server_pid
    assert pid is not None
    server = psutil.Process(pid)
    stubs = server.children(recursive=True)
    assert stubs
    restarts = served.server.restarts

    lifeline = server.parent()
    assert lifeline is not None
    lifeline.kill()

    assert wait_until(lambda: served.server.restarts > restarts)
    served.server.ensure()
    assert not [stub for stub in stubs if stub.is_running() and stub.status() != psutil.STATUS_ZOMBIE]


def test_what_a_killed_owner_left_running_is_ended() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([*waits, f"{prefix_of(gone.pid)}7f00_left"]) as left,
        subprocess.Popen([*waits, f"{prefix_of(os.getpid())}7f00_ours"]) as ours,
    ):
        end_stale_processes()

        assert left.wait(timeout=10) == -signal.SIGKILL
        assert ours.poll() is None
        ours.kill()


def test_what_another_container_runs_or_holds_is_left_alone() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    elsewhere = prefix_of(gone.pid).replace(str(pid_namespace()), "4026539999")
    held = SHARED_MEMORY / f"{elsewhere}0_held"
    held.write_bytes(b"held")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"{elsewhere}7f00_theirs"]) as theirs:
        end_stale_processes()
        remove_stale_regions()

        assert theirs.poll() is None
        assert held.exists()
        theirs.kill()
    held.unlink()


def test_killed_network_process_comes_back(served: Served, volume: Volume) -> None:
    pid = served.server.server_pid
    assert pid is not None
    for stub in psutil.Process(pid).children():
        stub.kill()

    def answers() -> bool:
        with TritonEngine(served.server.urls.grpc, timeout_s=10.0) as client:
            try:
                return bool(np.array_equal(client.segment(served.contracts["tiny"], [volume]).labels, volume.hu > 100))
            except InferenceError:
                return False

    assert wait_until(answers)


def test_what_is_not_in_use_is_not_loaded_and_stop_leaves_no_process_and_no_shared_memory(tmp_path: Path) -> None:
    used = write_tiny_network(tmp_path / "repository").name
    (tmp_path / "repository" / used).rename(tmp_path / "repository" / "unused")
    write_tiny_network(tmp_path / "repository")
    (tmp_path / "work" / "models").mkdir(parents=True)
    (tmp_path / "work" / "models" / "of an earlier start").mkdir()
    server = EmbeddedTriton(tmp_path / "repository", tmp_path / "work", networks=[used])
    before = set(regions_of(os.getpid()))
    server.start()
    pid = server.server_pid
    assert pid is not None
    with triton.InferenceServerClient(server.urls.grpc) as client:
        assert [model.name for model in client.get_model_repository_index().models] == [used]

    server.stop()

    assert not psutil.pid_exists(pid)
    assert not set(regions_of(os.getpid())) - before
    assert not server.is_live()
    with pytest.raises(EmbeddedServerError, match="stopped"):
        server.ensure(timeout_s=1.0)


def test_voxels_in_shared_memory_have_no_name_that_others_could_open(served: Served, volume: Volume) -> None:
    with TritonEngine(served.server.urls.grpc) as client:
        client.segment(served.contracts["tiny"], [volume])

    assert regions_of(os.getpid()) == []
    assert served.server.server_pid is not None
    assert psutil.Process(served.server.server_pid).children()[0].is_running()
    umask = Path(f"/proc/{served.server.server_pid}/status").read_text().split("Umask:\t", 1)[1][:4]
    assert umask == "0077"


def test_others_on_this_machine_reach_no_http_and_load_or_unload_nothing(served: Served) -> None:
    server = served.server.server_pid
    assert server is not None
    listening = {c.laddr.port for c in psutil.Process(server).net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    urls = served.server.urls
    assert listening == {int(urls.grpc.rsplit(":", 1)[1]), urlsplit(urls.metrics).port}

    with triton.InferenceServerClient(urls.grpc) as client:
        for change in (client.unload_model, client.load_model):
            with pytest.raises(InferenceServerException, match="not allowed"):
                change("tiny")
        assert client.is_model_ready("tiny")


def test_a_body_in_many_chunks_does_not_end_it(served: Served) -> None:
    """Over HTTP it would (CVE-2025-23310, CVE-2025-23311); the port for metrics looks at no body."""
    pid, parts = served.server.server_pid, urlsplit(served.server.urls.metrics)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            for _ in range(20):
                connection.sendall(b"1\r\nA\r\n" * 65536)
            connection.sendall(b"0\r\n\r\n")
            connection.recv(300)

    assert served.server.is_live()
    assert served.server.server_pid == pid


@pytest.mark.parametrize("victim", ["owner", "owner of a fork", "lifeline"])
def test_nothing_survives_kill_9(tmp_path: Path, victim: str) -> None:
    write_tiny_network(tmp_path / "repository")
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from npc_contour.adapters.triton.embedded import EmbeddedTriton\n"
        "server = EmbeddedTriton(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "server.start()\n"
        "forked = os.fork() if sys.argv[3] == 'owner of a fork' else -1\n"
        "if forked == 0:\n"
        "    os.close(1); time.sleep(30); os._exit(0)\n"
        "print(server.server_pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "repository", tmp_path / "work", victim],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    server = psutil.Process(int(owner.stdout.readline()))
    family = [server, *server.children(recursive=True)]
    assert len(family) == 2
    lifeline = server.ppid()

    if victim.startswith("owner"):
        owner.kill()
    else:
        os.kill(lifeline, signal.SIGKILL)
    gone = wait_until(lambda: not any(process.is_running() for process in family), 20.0)
    owner.kill()
    owner.wait()
    owner.stdout.close()

    assert gone
    assert wait_until(lambda: not regions_of(owner.pid), 20.0)


def test_next_start_clears_what_a_dead_owner_left(tmp_path: Path) -> None:
    write_tiny_network(tmp_path / "repository")
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = SHARED_MEMORY / f"{prefix_of(ended.pid)}0_left"
    left.write_bytes(b"left")

    with EmbeddedTriton(tmp_path / "repository", tmp_path / "work"):
        assert not left.exists()


def test_missing_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"nowhere is not a folder"):
        EmbeddedTriton(tmp_path / "nowhere", tmp_path / "work").start()


def test_server_that_cannot_start_in_time_shows_its_log(tmp_path: Path) -> None:
    write_tiny_network(tmp_path / "repository")
    (tmp_path / "repository" / "tiny" / "1" / "model.py").write_text(
        "import time\nprint('slow', flush=True)\ntime.sleep(60)\n"
    )

    with pytest.raises(EmbeddedServerError, match=r"not ready after 3 s; log .*triton\.log ends:(?s:.)*slow"):
        EmbeddedTriton(tmp_path / "repository", tmp_path / "work", start_timeout_s=3.0).start()


def test_urls_before_the_start_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="not started"):
        _ = EmbeddedTriton(tmp_path, tmp_path).urls
