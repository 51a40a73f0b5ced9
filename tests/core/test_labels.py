"""An ROI is the union of its labels, cropped to its box; debris leaves organs, never targets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from npc_contour.core.labels import RoiMask, cropped, label_boxes, mask_of_array, roi_masks
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.domain.volumes import LabelMap


def spec(name: str, *labels: int, kind: InterpretedType = InterpretedType.ORGAN) -> RoiSpec:
    return RoiSpec(name, kind, "net", frozenset(labels), (1, 2, 3))


def label_map(labels: npt.NDArray[np.uint8]) -> LabelMap:
    return LabelMap(labels, Grid(labels.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2"), "net")


@settings(deadline=None, max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 4)))
def test_rois_are_unions_and_may_overlap(labels: npt.NDArray[np.uint8]) -> None:
    specs = [spec("Both", 1, 2, kind=InterpretedType.GTV), spec("One", 2, kind=InterpretedType.GTV)]

    both, one = roi_masks({"net": label_map(labels)}, specs)

    np.testing.assert_array_equal(both.on_grid(labels.shape), (labels == 1) | (labels == 2))
    np.testing.assert_array_equal(one.on_grid(labels.shape), labels == 2)


@settings(deadline=None, max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 2)))
def test_boxes_are_tight(labels: npt.NDArray[np.uint8]) -> None:
    boxes = label_boxes(labels)

    for value in (1, 2, 200):
        where = np.argwhere(labels == value)
        if not len(where):
            assert boxes[value, 1] == 0
            continue
        np.testing.assert_array_equal(boxes[value, 0::2], where.min(axis=0))
        np.testing.assert_array_equal(boxes[value, 1::2], where.max(axis=0) + 1)


def test_what_the_network_did_not_find_is_empty() -> None:
    (nothing,) = roi_masks({"net": label_map(np.zeros((2, 3, 4), np.uint8))}, [spec("Lens_L", 7)])

    assert nothing.empty
    assert nothing.voxels == 0


def organ_with_specks() -> npt.NDArray[np.uint8]:
    labels = np.zeros((12, 20, 20), np.uint8)
    labels[2:10, 3:13, 3:13] = 1
    labels[0, 0, 17:20] = 1
    labels[11, 19, 0:4] = 1
    return labels


def test_specks_leave_an_organ_and_are_counted() -> None:
    labels = organ_with_specks()

    (organ,) = roi_masks({"net": label_map(labels)}, [spec("Parotid_L", 1)])

    assert organ.debris_voxels == 3
    kept = organ.on_grid(labels.shape)
    assert not kept[0].any()
    assert kept[11].sum() == 4


def test_specks_stay_in_a_target() -> None:
    labels = organ_with_specks()

    (target,) = roi_masks({"net": label_map(labels)}, [spec("GTVn", 1, kind=InterpretedType.GTV)])

    assert target.debris_voxels == 0
    np.testing.assert_array_equal(target.on_grid(labels.shape), labels == 1)


def test_a_tiny_organ_is_no_debris() -> None:
    labels = np.zeros((3, 5, 5), np.uint8)
    labels[1, 2, 2] = labels[1, 4, 4] = 1

    (lens,) = roi_masks({"net": label_map(labels)}, [spec("Lens_L", 1)])

    assert lens.voxels == 2


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int16, np.float32])
def test_a_mask_of_any_type_is_cropped(kind: type[np.generic]) -> None:
    mask = np.zeros((4, 5, 6), kind)
    mask[1:3, 2:4, 5] = 1

    crop = mask_of_array(spec("Roi", 1), mask)

    assert crop.offset_zyx == (1, 2, 5)
    assert crop.mask.shape == (2, 2, 1)
    np.testing.assert_array_equal(crop.on_grid(mask.shape), mask != 0)


def test_what_stays_keeps_its_own_crossings() -> None:
    rng = np.random.default_rng(3)
    around = rng.integers(0, 255, (2, 4, 9, 9), dtype=np.uint8)
    array = np.zeros((4, 8, 8), dtype=np.bool_)
    array[0, 0, 0] = array[2:4, 3:6, 4:8] = True
    spec = RoiSpec("Eye_L", InterpretedType.ORGAN, "net", frozenset({1}), (0, 0, 0))
    left = cropped(RoiMask(spec, array, (5, 6, 7), crossings=around), array[2:4, 3:6, 4:8], (2, 3, 4))

    assert left.offset_zyx == (7, 9, 11)
    assert left.crossings is not None
    assert np.array_equal(left.crossings, around[:, 2:4, 3:7, 4:9])
