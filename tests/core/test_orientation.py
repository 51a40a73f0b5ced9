"""However a patient lies and whichever plane is scanned, a network is given head up, posterior back, left last."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from npc_contour.core.orientation import turn_of
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid, Vec3

SHAPE = (4, 5, 6)
SPACING = (3.0, 0.9, 0.8)
CANONICAL = Grid(SHAPE, SPACING, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
VALUES = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def all_turns() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [
        (order, flips)
        for order in itertools.permutations(range(3))
        for count in range(4)
        for flips in itertools.combinations(range(3), count)
    ]


@pytest.mark.parametrize(("order", "flips"), all_turns())
def test_every_turned_stack_of_one_patient_gives_the_same_array(order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    stored = np.flip(VALUES.transpose(order), flips)
    directions = [np.array(HEAD_FIRST_SUPINE[axis]) * (-1 if here in flips else 1) for here, axis in enumerate(order)]
    grid = Grid(
        (stored.shape[0], stored.shape[1], stored.shape[2]),
        tuple(SPACING[axis] for axis in order),  # type: ignore[arg-type]  # three of them
        (0.0, 0.0, 0.0),
        tuple(vector(d) for d in directions),  # type: ignore[arg-type]  # likewise
        "1.2.3",
    )

    turn = turn_of(grid)

    assert np.array_equal(turn.apply(stored), VALUES)
    assert turn.spacing_zyx_mm(grid.spacing_zyx_mm) == SPACING
    assert np.array_equal(turn.undo(turn.apply(stored)), stored)


def test_head_first_supine_is_left_as_it_is() -> None:
    turn = turn_of(CANONICAL)

    assert (turn.axes, turn.flipped) == ((0, 1, 2), ())


def test_oblique_stack_goes_to_the_nearest_axes() -> None:
    angle = np.deg2rad(20)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    z, y, x = (vector(rotation @ np.array(d)) for d in ((0, 0, -1), (0, 1, 0), (-1, 0, 0)))
    grid = Grid(SHAPE, SPACING, (0.0, 0.0, 0.0), (z, y, x), "1.2.3")

    turn = turn_of(grid)

    assert (turn.axes, turn.flipped) == ((0, 1, 2), (0, 2))


def vector(values: FloatArray) -> Vec3:
    return float(values[0]), float(values[1]), float(values[2])
