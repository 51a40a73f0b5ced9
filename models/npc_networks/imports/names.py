"""Names of labels and channels: does a network mean by its third label what the pipeline means?"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from npc_networks.imports.safe_files import ImportRefused

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


def check_names(what: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Return when no name stands where the pipeline has another one's place.

    A name that neither the pipeline nor `synonyms.toml` knows is let pass, but not on the other side of the patient.

    Args:
        what: "label" or "channel", for the message.
        found: names of the network, by value; none where it does not name them.
        expected: names of the pipeline, likewise; a name of several structures lists them ("A in B").

    Raises:
        ImportRefused: a known name has another value, the pipeline does not have it, or left and right are swapped.
            Where a mapping puts each name in its place, it is given.
    """
    ours = [name.split(" in ")[0] for name in expected]
    places = {meaning(name): index for index, name in enumerate(ours)}
    for index, name in enumerate(found):
        own = meaning(name)
        here = f"{what} {index} of the network is {name!r}, the pipeline's is {expected[index]!r}"
        place = places.get(own)
        if place is not None and place != index:
            raise ImportRefused(f"{here}; {name!r} is its {what} {place}{_remedy(found, ours)}")
        if place is None and own.structure in _known().values():
            raise ImportRefused(f"{here}; it has no {own.structure}{_remedy(found, ours)}")
        if place is None and {own.side, meaning(ours[index]).side} == {"left", "right"}:
            raise ImportRefused(f"{here}: the other side")


def meaning(name: str) -> Meaning:
    """Return what a name means."""
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    left, right = bool(set(words) & _LEFT), bool(set(words) & _RIGHT)
    side = "" if left == right else ("left" if left else "right")
    letters = "".join(word for word in words if not side or word not in _LEFT | _RIGHT)
    if not side and letters not in _known() and letters[:-1] in _known() and letters[-1:] in {"l", "r"}:
        side, letters = {"l": "left", "r": "right"}[letters[-1]], letters[:-1]
    return Meaning(_known().get(letters, letters), side)


def _remedy(found: Sequence[str], ours: Sequence[str]) -> str:
    """Return the option that maps every name of the network to the pipeline's of the same meaning; "" without one."""
    by_meaning = {meaning(name): name for name in ours}
    mapped = {name: by_meaning.get(meaning(name), "") for name in found}
    if not all(mapped.values()) or len(set(mapped.values())) < len(mapped):
        return ""
    words = [shlex.quote(f"{name}={to}") for name, to in mapped.items() if name != to]
    return f". Names matched by meaning: --labels {' '.join(words)}"


@cache
def _known() -> dict[str, str]:
    """Letters of every known name → the TG-263 name."""
    table: dict[str, list[str]] = tomllib.loads(SYNONYMS.read_text(encoding="utf-8"))
    return {
        "".join(re.findall(r"[^\W_]+", name.casefold())): structure
        for structure, others in table.items()
        for name in (structure, *others)
    }
