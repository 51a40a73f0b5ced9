"""What a structure's name means, in whichever of the field's names it is written: TG-263's, or those of public data."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SYNONYMS = Path(__file__).with_name("synonyms.toml")
_LEFT = frozenset({"l", "left", "lt", "links", "gauche", "izq", "sin", "sinistra", "左"})
_RIGHT = frozenset({"r", "right", "rt", "rechts", "droite", "der", "dex", "destra", "右"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name means, whoever wrote it.

    Attributes:
        structure: the TG-263 name without the side, or the letters of a name that nobody knows.
        side: "left", "right" or "".
    """

    structure: str
    side: str


def meaning(name: str) -> Meaning:
    """Return what a name means."""
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    left, right = bool(set(words) & _LEFT), bool(set(words) & _RIGHT)
    side = "" if left == right else ("left" if left else "right")
    letters = "".join(word for word in words if not side or word not in _LEFT | _RIGHT)
    if not side and letters not in known() and letters[:-1] in known() and letters[-1:] in {"l", "r"}:
        side, letters = {"l": "left", "r": "right"}[letters[-1]], letters[:-1]
    return Meaning(known().get(letters, letters), side)


@cache
def known() -> dict[str, str]:
    """Letters of every known name → the TG-263 name."""
    table: dict[str, list[str]] = tomllib.loads(SYNONYMS.read_text(encoding="utf-8"))
    return {
        "".join(re.findall(r"[^\W_]+", name.casefold())): structure
        for structure, others in table.items()
        for name in (structure, *others)
    }
