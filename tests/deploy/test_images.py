"""The Dockerfiles copy what is there, run without rights, check the port that the settings open, and need no torch."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path

import pytest

from npc_contour.cli import build_parser
from npc_contour.settings import Settings

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "Dockerfile"
TRITON = ROOT / "deploy" / "triton" / "Dockerfile"
SETTINGS = Settings.model_validate(tomllib.loads((ROOT / "deploy" / "container.site.toml").read_text()))
KEPT = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def instructions(path: Path) -> list[str]:
    """Return the instructions of a Dockerfile, continued lines joined and comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [one for one in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines() if one]


def stages(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for one in instructions(path):
        if one.startswith("FROM "):
            name = one.rpartition(" AS ")[2] if " AS " in one else "image"
        found.setdefault(name, []).append(one)
    return found


def arguments(stage: list[str], keyword: str) -> list[str]:
    return [one.removeprefix(f"{keyword} ") for one in stage if one.startswith(f"{keyword} ")]


@pytest.mark.parametrize("path", [SERVICE, TRITON], ids=lambda path: path.parent.name)
def test_what_is_copied_exists_and_reaches_the_build(path: Path) -> None:
    sources = [
        source
        for copy in arguments(instructions(path), "COPY")
        if not copy.startswith("--from=")
        for source in copy.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, kept) for kept in KEPT), f"{source} is left out by .dockerignore"


@pytest.mark.parametrize(
    ("path", "stage", "user"), [(SERVICE, "service", "10001"), (TRITON, "image", "1000")], ids=["service", "triton"]
)
def test_an_image_that_serves_runs_without_rights_and_checks_itself_over_http(
    path: Path, stage: str, user: str
) -> None:
    found = stages(path)[stage]
    assert arguments(found, "USER")[-1] == user
    (check,) = arguments(found, "HEALTHCHECK")
    assert "http://127.0.0.1:" in check


def test_the_service_is_installed_without_torch() -> None:
    for stage in ("build", "service"):
        assert not any("torch" in run or "[networks]" in run for run in arguments(stages(SERVICE)[stage], "RUN"))


def test_the_health_check_asks_the_status_port_of_the_images_settings() -> None:
    (check,) = arguments(stages(SERVICE)["service"], "HEALTHCHECK")
    assert f"http://127.0.0.1:{SETTINGS.status.port}/health/live" in check


def test_the_image_starts_a_command_of_ours_with_settings_that_it_holds(tmp_path: Path) -> None:
    service = stages(SERVICE)["service"]
    (command,) = arguments(service, "CMD")
    program, verb, *rest = json.loads(command)
    assert program == "npc-contour"
    assert any(copy.endswith(f" {rest[1]}") for copy in arguments(service, "COPY"))
    (tmp_path / "site.toml").touch()
    build_parser(verb).parse_args([verb, rest[0], str(tmp_path / "site.toml")])
    (volumes,) = arguments(service, "VOLUME")
    assert str(SETTINGS.storage.root) in json.loads(volumes)
