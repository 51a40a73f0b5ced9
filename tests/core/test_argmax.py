"""Labels equal full linear interpolation of all class maps and argmax, voxel for voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from npc_contour.core.argmax import LARGEST, AxisLookup, axis_lookup, interpolated_argmax, largest_class

Float32Array = npt.NDArray[np.float32]


def full_interpolation(maps: Float32Array, lookups: list[AxisLookup]) -> Float32Array:
    """Interpolate every class at every voxel, in float32: along y, then z, then x."""
    for axis in (1, 0, 2):
        lookup = lookups[axis]
        above = np.minimum(lookup.lower + 1, lookup.coarse - 1)
        fraction = lookup.fraction.reshape([-1 if other == axis else 1 for other in range(4)])
        maps = maps.take(lookup.lower, axis) * (np.float32(1) - fraction) + maps.take(above, axis) * fraction
    return maps


def boundary_argmax(
    maps: Float32Array,
    fine: tuple[int, int, int],
    *,
    offset: int = 0,
    planes: int | None = None,
    cut: int = 0,
    threshold: np.float32 = LARGEST,
) -> npt.NDArray[np.uint8]:
    """Run the kernels on maps that lie `offset` voxels inside a padded grid, in a ring of `planes` rows."""
    padded = np.pad(maps, [(offset, offset)] * 3 + [(0, 0)], constant_values=9.0)
    size = planes or len(padded)
    slab = np.empty((size, *padded.shape[1:]), dtype=np.float32)
    for plane, values in enumerate(padded):
        slab[plane % size] = values
    labels = np.empty(slab.shape[:3], dtype=np.uint8)
    assert largest_class(slab, labels, 0, len(padded), threshold) == 0
    out = np.full(fine, 77, dtype=np.uint8)
    z, y, x = (axis_lookup(coarse, wanted).fields for coarse, wanted in zip(maps.shape[:3], fine, strict=True))
    interpolated_argmax(slab, labels, (offset, offset, offset), (z, y, x), out, 0, cut, threshold)
    interpolated_argmax(slab, labels, (offset, offset, offset), (z, y, x), out, cut, fine[0], threshold)
    return out


sizes = st.tuples(*[st.integers(1, 9)] * 3)
fine_sizes = st.tuples(*[st.integers(1, 21)] * 3)


@settings(max_examples=80, deadline=None)
@given(
    coarse=sizes,
    fine=fine_sizes,
    classes=st.integers(2, 6),
    smooth=st.sampled_from([0.0, 1.5]),
    offset=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_no_voxel_differs(
    coarse: tuple[int, int, int], fine: tuple[int, int, int], classes: int, smooth: float, offset: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).normal(size=(*coarse, classes))
    maps: Float32Array = ndimage.gaussian_filter(noise, (smooth, smooth, smooth, 0)).astype(np.float32)

    found = boundary_argmax(maps, fine, offset=offset, cut=fine[0] // 2)

    lookups = [axis_lookup(size, wanted) for size, wanted in zip(coarse, fine, strict=True)]
    np.testing.assert_array_equal(found, full_interpolation(maps, lookups).argmax(axis=-1))


def test_no_voxel_differs_on_a_large_field_with_many_classes() -> None:
    rng = np.random.default_rng(5)
    maps = np.stack([ndimage.zoom(rng.normal(size=(4, 5, 5)), (6, 8, 8), order=1) for _ in range(54)], axis=-1).astype(
        np.float32
    )

    found = boundary_argmax(maps, (31, 77, 83))

    lookups = [axis_lookup(size, wanted) for size, wanted in zip(maps.shape[:3], (31, 77, 83), strict=True)]
    assert len(np.unique(found)) > 40
    np.testing.assert_array_equal(found, full_interpolation(maps, lookups).argmax(axis=-1))


def test_interpolation_is_scipys() -> None:
    maps = np.random.default_rng(3).normal(size=(5, 6, 7, 2)).astype(np.float32)
    lookups = [axis_lookup(size, wanted) for size, wanted in zip((5, 6, 7), (9, 13, 4), strict=True)]

    expected = ndimage.zoom(maps[..., 0], (9 / 5, 13 / 6, 4 / 7), order=1, mode="nearest", grid_mode=True)

    np.testing.assert_allclose(full_interpolation(maps, lookups)[..., 0], expected, atol=1e-6)


def test_lookup_stays_inside_and_aligns_centres() -> None:
    lookup = axis_lookup(2, 4)

    assert (lookup.lower + lookup.fraction).tolist() == [0.0, 0.25, 0.75, 1.0]


def test_answers_that_are_not_numbers_are_counted() -> None:
    slab = np.zeros((2, 2, 2, 3), dtype=np.float32)
    slab[1, 0, 1] = np.nan

    assert largest_class(slab, np.zeros((2, 2, 2), dtype=np.uint8), 0, 2) == 1


def test_equal_classes_give_the_lower_label() -> None:
    labels = np.full((1, 1, 1), 9, dtype=np.uint8)

    largest_class(np.array([1.0, 3.0, 3.0], dtype=np.float32).reshape(1, 1, 1, 3), labels, 0, 1)

    assert labels[0, 0, 0] == 1


@settings(max_examples=40, deadline=None)
@given(coarse=sizes, fine=fine_sizes, outputs=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_regions_are_written_over_each_other_as_after_full_interpolation(
    coarse: tuple[int, int, int], fine: tuple[int, int, int], outputs: int, seed: int
) -> None:
    maps = np.random.default_rng(seed).normal(size=(*coarse, outputs)).astype(np.float32)

    found = boundary_argmax(maps, fine, threshold=np.float32(0.25))

    lookups = [axis_lookup(size, wanted) for size, wanted in zip(coarse, fine, strict=True)]
    expected = np.zeros(fine, dtype=np.uint8)
    for output in range(outputs):
        expected[full_interpolation(maps, lookups)[..., output] > np.float32(0.25)] = output + 1
    np.testing.assert_array_equal(found, expected)
