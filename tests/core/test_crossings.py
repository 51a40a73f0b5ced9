"""Crossings are where linear interpolation of two labels' class maps changes sign, whichever way a stack was turned."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_contour.core.argmax import axis_lookup, interpolated_argmax, largest_class
from npc_contour.core.crossings import STEPS, fractions_of, label_crossings, turned_back
from npc_contour.core.orientation import Turn
from npc_testkit.crossings import crossings_of

FINE = (7, 11, 13)


def by_the_book(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """All class maps on the fine grid, interpolated axis by axis in float64."""
    fine = maps.astype(np.float64)
    for axis, size in enumerate(FINE):
        lookup = axis_lookup(maps.shape[axis], size)
        above = np.minimum(lookup.lower + 1, lookup.coarse - 1)
        fraction = lookup.fraction.reshape([-1 if other == axis else 1 for other in range(4)]).astype(np.float64)
        fine = fine.take(lookup.lower, axis) * (1 - fraction) + fine.take(above, axis) * fraction
    return fine


@settings(max_examples=40, deadline=None)
@given(
    coarse=st.tuples(*[st.integers(1, 8)] * 3),
    classes=st.integers(2, 6),
    offset=st.integers(0, 2),
    cut=st.integers(0, FINE[0]),
    seed=st.integers(0, 2**16),
)
def test_every_edge_between_two_labels_has_the_place_where_they_are_equal(
    coarse: tuple[int, int, int], classes: int, offset: int, cut: int, seed: int
) -> None:
    maps = np.random.default_rng(seed).normal(size=(*coarse, classes)).astype(np.float32)
    slab = np.pad(maps, [(offset, offset)] * 3 + [(0, 0)], constant_values=9.0)
    z, y, x = (axis_lookup(size, wanted).fields for size, wanted in zip(coarse, FINE, strict=True))
    coarse_labels = np.empty(slab.shape[:3], dtype=np.uint8)
    largest_class(slab, coarse_labels, 0, len(slab))
    labels = np.empty(FINE, dtype=np.uint8)
    interpolated_argmax(slab, coarse_labels, (offset, offset, offset), (z, y, x), labels, 0, FINE[0])
    codes = np.zeros((2, *FINE), dtype=np.uint8)

    for first, last in ((0, cut), (cut, FINE[0])):
        label_crossings(slab, (offset, offset, offset), (z, y, x), labels, (codes[0], codes[1]), first, last)

    fine = by_the_book(maps)
    for along, axis in enumerate((1, 2)):
        here, there = np.delete(labels, -1, axis), np.delete(labels, 0, axis)
        found = fractions_of(np.delete(codes[along], -1, axis))
        np.testing.assert_array_equal(np.isnan(found), here == there)
        assert not np.take(codes[along], -1, axis).any()
        where = np.nonzero(here != there)
        nxt = tuple(index + (position == axis) for position, index in enumerate(where))
        near = fine[(*where, here[where])] - fine[(*where, there[where])]
        far = fine[(*nxt, here[where])] - fine[(*nxt, there[where])]
        expected = np.clip(near / (near - far), 0, 1)
        np.testing.assert_allclose(found[where], expected, atol=0.51 / STEPS + 1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
@pytest.mark.parametrize("flipped", [flips for count in range(4) for flips in itertools.combinations(range(3), count)])
def test_turned_back_is_what_the_stack_itself_would_have(order: tuple[int, int, int], flipped: tuple[int, ...]) -> None:
    field = np.random.default_rng(3).normal(size=(3, 5, 6))
    turn = Turn(order, flipped)

    back = turned_back(crossings_of(turn.apply(field)), turn)

    assert back is not None
    expected = fractions_of(crossings_of(field))
    np.testing.assert_allclose(fractions_of(back), expected, atol=1.01 / STEPS)


def test_slices_that_the_network_saw_edgewise_have_none() -> None:
    assert turned_back(np.ones((2, 3, 4, 5), np.uint8), Turn((1, 0, 2), ())) is None
