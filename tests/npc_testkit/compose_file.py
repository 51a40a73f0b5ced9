"""deploy/compose.yaml as plain processes see it: commands, settings, and whom each part talks to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
SITE = DEPLOY / "compose.site.toml"
PROMETHEUS = DEPLOY / "monitoring" / "compose.prometheus.yml"


def services() -> dict[str, dict[str, Any]]:
    """Return the services of the file, with what YAML anchors bring merged in."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """Where one container's words lie on this machine: what in the file names a place, and what stands for it.

    Attributes:
        words: text of the file → text here; longer ones first.
    """

    words: dict[str, str]

    def command(self, service: str) -> list[str]:
        """Return the command of a service, without the program's name."""
        program, *arguments = services()[service]["command"]
        if program != "npc-contour":
            raise ValueError(f"{service} runs {program}, which is no program of ours")
        return [self.text(argument) for argument in arguments]

    def text(self, text: str) -> str:
        """Return a text of the file as it is here."""
        for there, here in self.words.items():
            text = text.replace(there, here)
        return text
