"""Names of labels and channels: does a network mean by its third label what the pipeline means?"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from npc_contour.structure_names import known, meaning
from npc_networks.imports.safe_files import ImportRefused


def check_names(what: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Return when no name stands where the pipeline has another one's place.

    A name that neither the pipeline nor `structure_names` knows is let pass, but not on the other side of the patient.

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
    structures = set(known().values())
    for index, name in enumerate(found):
        own = meaning(name)
        here = f"{what} {index} of the network is {name!r}, the pipeline's is {expected[index]!r}"
        place = places.get(own)
        if place is not None and place != index:
            raise ImportRefused(f"{here}; {name!r} is its {what} {place}{_remedy(found, ours)}")
        if place is None and {own.structure, meaning(ours[index]).structure} <= structures:
            raise ImportRefused(f"{here}; it has no {own.structure}{_remedy(found, ours)}")
        if place is None and {own.side, meaning(ours[index]).side} == {"left", "right"}:
            raise ImportRefused(f"{here}: the other side")


def _remedy(found: Sequence[str], ours: Sequence[str]) -> str:
    """Return the option that maps every name of the network to the pipeline's of the same meaning; "" without one."""
    by_meaning = {meaning(name): name for name in ours}
    mapped = {name: by_meaning.get(meaning(name), "") for name in found}
    if not all(mapped.values()) or len(set(mapped.values())) < len(mapped):
        return ""
    words = [shlex.quote(f"{name}={to}") for name, to in mapped.items() if name != to]
    return f". Names matched by meaning: --labels {' '.join(words)}"
