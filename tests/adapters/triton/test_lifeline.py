"""What a killed server leaves in /tmp is removed; what may be another server's stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from npc_contour.adapters.triton import lifeline
from npc_contour.adapters.triton.lifeline import remove_left_folders


def _made(folder: Path, at_s: float) -> Path:
    folder.mkdir()
    os.utime(folder, (at_s, at_s))
    return folder


def _runs(process: Path, name: str, since_s: float) -> None:
    """Write what proc_pid_stat(5) says of a process."""
    process.mkdir(parents=True)
    ticks = int((time.clock_gettime(time.CLOCK_BOOTTIME) - since_s) * os.sysconf("SC_CLK_TCK"))
    (process / "stat").write_text(f"{process.name} ({name}) S {' '.join('0' * 18)} {ticks} 0 0\n")


def test_folders_of_servers_that_are_gone_are_removed(tmp_path: Path) -> None:
    processes, now_s = tmp_path / "proc", time.time()
    _runs(processes / "17", "tritonserver", 10.0)
    _runs(processes / "18", "a (b) c", 500.0)
    old, used, its, other = (
        _made(tmp_path / name, at_s)
        for name, at_s in (
            ("python_env_aaaaaa", now_s - 500),
            ("python_env_bbbbbb", now_s - 500),
            ("python_env_cccccc", now_s - 9),
            ("python_environment", now_s - 500),
        )
    )
    (used / "environment").touch()

    remove_left_folders(tmp_path, processes)
    assert [folder.exists() for folder in (old, used, its, other)] == [False, True, True, True]

    shutil.rmtree(processes / "17")
    remove_left_folders(tmp_path, processes)
    assert [folder.exists() for folder in (used, its, other)] == [True, False, True]


def test_a_running_process_is_read_as_it_was_started(tmp_path: Path) -> None:
    program = tmp_path / "tritonserver"
    shutil.copy(shutil.which("sleep") or "", program)
    before_s = time.time()
    with subprocess.Popen([program, "60"]) as running:
        while Path(f"/proc/{running.pid}/comm").read_text().strip() != "tritonserver":
            assert running.poll() is None
        its = _made(tmp_path / "python_env_cccccc", before_s + 1)

        remove_left_folders(tmp_path)
        running.kill()

    assert its.exists()


def test_an_owner_that_was_gone_before_it_could_be_watched_leaves_nothing(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    read_end, write_end = os.pipe()
    (tmp_path / "scratch").mkdir()

    # Somebody else holds the pipe open: a process that the owner had forked.
    script = [sys.executable, "-I", "-S", lifeline.__file__, str(gone.pid), str(read_end), "none_", "5"]
    command = [*script, str(tmp_path / "scratch"), "sleep", "600"]
    done = subprocess.run(command, pass_fds=(read_end,), timeout=60, check=False)

    os.close(write_end)
    os.close(read_end)
    assert done.returncode != 0
    assert not (tmp_path / "scratch").exists()
