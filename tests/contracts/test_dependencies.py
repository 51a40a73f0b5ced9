"""What is installed is pinned, what is pinned is named with its licence, and the service stays free of torch."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(
    re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
)
REQUIREMENTS = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_requirement_is_pinned_within_its_range(requirement: str) -> None:
    wanted = Requirement(requirement)

    assert PINS[canonicalize_name(wanted.name)] in wanted.specifier


def test_embedded_triton_is_pinned() -> None:
    assert PINS["nvidia-pytriton"] == "0.7.0"


def test_service_needs_no_torch() -> None:
    assert not [r for r in PROJECT["dependencies"] if Requirement(r).name in {"torch", "onnx", "triton"}]


def test_licences_are_listed_for_just_what_is_pinned() -> None:
    table = re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \| (.+) \|$", (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"),
                       flags=re.MULTILINE)  # fmt: skip
    listed = {name: version for name, version, _ in table if name != "package" and version != "–"}

    assert listed == PINS
    assert all(licence.strip("? ") for _, _, licence in table)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pinned wheels are those of Python 3.11")
def test_what_the_wheels_carry_is_listed_as_it_is_installed() -> None:
    check = [sys.executable, str(ROOT / "benchmarks" / "third_party.py"), "--check"]

    assert subprocess.run(check, check=False).returncode == 0, "make third-party"
