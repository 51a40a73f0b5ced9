"""Every command in the README works as it stands there, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from npc_testkit.peers import free_port

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_CI = {"make demo", "make test", "make system-packages"}
"""Run by the demo's own test and by CI itself."""


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def environment() -> dict[str, str]:
    """The README's reader has the virtual environment's commands on the path."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(command: str, folder: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def serve_until_ready(command: str, folder: Path, web_port: int) -> None:
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"], cwd=folder, env=environment(), stderr=log, text=True
        )
    try:
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s:
            try:
                if httpx.get(f"http://127.0.0.1:{web_port}/health/ready", timeout=10).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
        pytest.fail((folder / "serve.log").read_text()[-3000:])
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_readme_commands_run(tmp_path: Path) -> None:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    ports = {"11112": free_port(), "8080": free_port()}
    ran = []
    for command in commands():
        if command in BY_CI:
            continue
        if "serve" in command.split():
            serve_until_ready(command, tmp_path, ports["8080"])
        else:
            run(command, tmp_path)
        if command.startswith("cp deploy/site.example.toml"):
            site = tmp_path / "site.toml"
            text = site.read_text()
            for documented, free in ports.items():
                text = text.replace(f"port = {documented}", f"port = {free}")
            site.write_text(text)
        ran.append(command)
    assert any("segment" in command for command in ran)
    assert any("serve" in command for command in ran)


def test_demo_runs_as_make_demo_runs_it(tmp_path: Path) -> None:
    assert "npc-contour demo --out demo-out" in (ROOT / "Makefile").read_text()

    run("npc-contour demo --out demo-out --slice-spacing 4", tmp_path)

    assert len(list((tmp_path / "demo-out" / "tps").glob("RS.*.dcm"))) == 2
    assert len(list((tmp_path / "demo-out").glob("*.png"))) == 2
