"""Overlap and distances have their closed forms, and equal medpy and surface-distance on random shapes."""

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from npc_contour.core.agreement import EmptyMaskError, border_distances, dice, jaccard, surface_dice

SPACING = (3.0, 1.0, 0.7)
Mask = npt.NDArray[np.bool_]


def _block(shape: tuple[int, int, int], *spans: slice) -> Mask:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[spans] = True
    return mask


def _blobs(seed: int) -> tuple[Mask, Mask]:
    """Two overlapping blobs, some of which reach the edge of the volume."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(2, 14, 24, 26)), (0, 2, 3, 3))
    noise[1] += noise[0]
    return noise[0] > 0.02, noise[1] > 0.03


def test_overlap_of_two_blocks() -> None:
    a = _block((4, 4, 8), slice(1, 3), slice(1, 3), slice(0, 4))
    b = _block((4, 4, 8), slice(1, 3), slice(1, 3), slice(2, 6))

    assert dice(a, b) == 0.5
    assert jaccard(a, b) == pytest.approx(1 / 3)


def test_nothing_against_nothing_has_no_overlap_and_no_distance() -> None:
    nothing = np.zeros((3, 3, 3), dtype=np.bool_)
    something = _block((3, 3, 3), slice(1, 2), slice(1, 2), slice(1, 2))

    assert dice(nothing, nothing) is None
    assert jaccard(nothing, nothing) is None
    assert dice(something, nothing) == 0.0
    with pytest.raises(EmptyMaskError):
        border_distances(something, nothing, SPACING)
    with pytest.raises(EmptyMaskError):
        surface_dice(nothing, something, SPACING, 1.0)


@pytest.mark.parametrize(("axis", "shift"), [(0, 1), (1, 3), (2, 2)])
def test_shifted_plane_is_as_far_as_it_was_shifted(axis: int, shift: int) -> None:
    shape = (12, 12, 12)
    a, b = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    np.moveaxis(a, axis, 0)[4] = True
    np.moveaxis(b, axis, 0)[4 + shift] = True

    distances = border_distances(a, b, SPACING)

    expected = shift * SPACING[axis]
    assert distances.asd_mm == pytest.approx(expected)
    assert distances.assd_mm == pytest.approx(expected)
    assert distances.hd95_mm == pytest.approx(expected)


def test_mean_distance_has_a_direction() -> None:
    small = _block((5, 5, 30), slice(2, 3), slice(2, 3), slice(0, 1))
    large = _block((5, 5, 30), slice(2, 3), slice(2, 3), slice(0, 11))

    assert border_distances(small, large, (1.0, 1.0, 1.0)).asd_mm == 0.0
    assert border_distances(large, small, (1.0, 1.0, 1.0)).asd_mm == 5.0
    assert border_distances(large, small, (1.0, 1.0, 1.0)).assd_mm == pytest.approx(55 / 12)


def test_surface_within_tolerance_counts_and_beyond_does_not() -> None:
    spacing = (1.0, 1.0, 1.0)
    a = _block((30, 30, 30), slice(5, 25), slice(5, 25), slice(5, 25))
    grown = _block((30, 30, 30), slice(4, 26), slice(4, 26), slice(4, 26))

    assert surface_dice(a, a, spacing, 0.0) == 1.0
    assert surface_dice(grown, a, spacing, 0.9) == 0.0
    assert surface_dice(grown, a, spacing, 1.0) > 0.95
    assert surface_dice(grown, a, spacing, 1.8) == 1.0


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_medpy(seed: int) -> None:
    medpy = pytest.importorskip("medpy.metric.binary")
    a, b = _blobs(seed)

    distances = border_distances(a, b, SPACING)

    assert dice(a, b) == medpy.dc(a, b)
    assert jaccard(a, b) == medpy.jc(a, b)
    assert distances.asd_mm == medpy.asd(a, b, voxelspacing=SPACING)
    assert distances.assd_mm == medpy.assd(a, b, voxelspacing=SPACING)
    assert distances.hd95_mm == medpy.hd95(a, b, voxelspacing=SPACING)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance_mm", [1.0, 3.0])
def test_surface_dice_of_the_cropped_pair_is_that_of_the_whole(seed: int, tolerance_mm: float) -> None:
    library = pytest.importorskip("surface_distance")
    a, b = _blobs(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = library.compute_surface_distances(np.pad(b, 9), np.pad(a, 9), SPACING)

    expected = library.compute_surface_dice_at_tolerance(distances, tolerance_mm)

    assert surface_dice(a, b, SPACING, tolerance_mm) == expected
