"""Names of labels and channels: does a network mean by its third label what the pipeline means?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from npc_networks.imports.safe_files import ImportRefused

_LEFT = frozenset({"l", "left", "lt", "links", "gauche", "izq", "sin", "sinistra", "左"})
_RIGHT = frozenset({"r", "right", "rt", "rechts", "droite", "der", "dex", "destra", "右"})


def check_names(what: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Return when no name stands where the pipeline has another one's place.

    A name that the pipeline does not know is let pass, but not on the other side of the patient.

    Args:
        what: "label" or "channel", for the message.
        found: names of the network, by value; none where it does not name them.
        expected: names of the pipeline, likewise; a name of several structures lists them ("A in B").

    Raises:
        ImportRefused: a known name has another value, or left and right are swapped.
    """
    places = {_key(part): index for index, name in enumerate(expected) for part in [name.split(" in ")[0]]}
    for index, name in enumerate(found):
        own = places.get(_key(name))
        here = expected[index]
        if own is not None and own != index:
            raise ImportRefused(
                f"{what} {index} of the network is {name!r}, the pipeline's is {here!r}; {name!r} is its {what} {own}"
            )
        if own is None and {_side(name), _side(here.split(" in ")[0])} == {"left", "right"}:
            raise ImportRefused(
                f"{what} {index} of the network is {name!r}, the pipeline's is {here!r}: the other side"
            )


def _words(name: str) -> list[str]:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W_]+", parted.casefold())


def _key(name: str) -> tuple[str, ...]:
    return tuple(sorted(_words(name)))


def _side(name: str) -> str:
    words = set(_words(name))
    left, right = bool(words & _LEFT), bool(words & _RIGHT)
    return "" if left == right else ("left" if left else "right")
