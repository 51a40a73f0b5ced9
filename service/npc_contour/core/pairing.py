"""Which ROI of one structure set is which of another: by name, then by what the name means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence


def paired(
    first: Sequence[str], second: Sequence[str], meaning: Callable[[str], Hashable]
) -> tuple[tuple[int, int], ...]:
    """Return the places of names that belong together, in the order of the first list; each is used once.

    Equal names are paired first, then those that differ in case only, then those of the same meaning; a name that could
    belong to two is paired with neither.
    """
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for key in (str, str.casefold, meaning):
        ours, theirs = (_places(names, key, used) for names, used in ((first, set(pairs)), (second, taken)))
        for what, places in ours.items():
            if len(places) == len(theirs.get(what, ())) == 1:
                pairs[places[0]] = theirs[what][0]
                taken.add(theirs[what][0])
    return tuple(sorted(pairs.items()))


def _places(names: Sequence[str], key: Callable[[str], Hashable], used: set[int]) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        if place not in used:
            found[key(name)].append(place)
    return found
