"""The systemd units are understood by systemd, run commands that exist, and let them do little."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from npc_contour.cli import build_parser
from npc_testkit.peers import require_tool, run_tool

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
MOST_EXPOSED = 3.5
"""Of systemd's own scale from 0, locked up, to 10; a service without any restriction has 9.6."""


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program exists; an instance of it where it is a template."""
    source: Path = request.param
    program = tmp_path / "npc-contour"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = source.read_text(encoding="utf-8").replace("/opt/npc-contour/venv/bin/npc-contour", str(program))
    path = tmp_path / source.name.replace("@", "@worker")
    path.write_text(text)
    return path


def test_systemd_understands_it(unit: Path) -> None:
    done = run_tool("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    said = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert (said, done.returncode) == ([], 0)


def test_a_wrong_line_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.service"
    wrong.write_text(UNITS[0].read_text().replace("ProtectSystem=strict", "ProtectSytem=strict"))
    done = run_tool("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", wrong)
    assert "ProtectSytem" in done.stdout + done.stderr


def test_it_may_do_little(unit: Path) -> None:
    done = subprocess.run(
        [require_tool("systemd-analyze"), "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found.group(1)) <= MOST_EXPOSED, done.stdout


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_its_command_is_one_of_ours(path: Path, tmp_path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.+)$", path.read_text(), flags=re.MULTILINE)
    program, verb, *arguments = command.replace("%i", "worker").split()
    assert program == "/opt/npc-contour/venv/bin/npc-contour"
    (tmp_path / "site.toml").touch()
    here = [argument.replace("/etc/npc-contour", str(tmp_path)) for argument in arguments]
    build_parser(verb).parse_args([verb, *here])
