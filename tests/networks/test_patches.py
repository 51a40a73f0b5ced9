"""Patches hold the classes they are drawn for, lie where the sliding window would put them, and repeat."""

from dataclasses import replace

import numpy as np
import pytest

from npc_networks import patches
from npc_networks.networks import NETWORKS
from npc_networks.patches import draw_patch, with_centres
from npc_networks.phantom_data import TrainingCase

SPEC = replace(NETWORKS["npc_gtv"], patch_zyx=(16, 16, 16))


def _case(shape: tuple[int, int, int] = (40, 44, 48)) -> TrainingCase:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 3, n // 3 + 6) for n in shape)] = 1
    labels[-2, -2, -2] = 2
    hu = np.stack([np.full(shape, 50, np.int16), np.full(shape, 90, np.int16)])
    return TrainingCase(1, hu, labels)


def test_small_class_is_drawn_as_often_as_a_large_one() -> None:
    sampled = with_centres(_case())

    hits = [np.unique(draw_patch(sampled, SPEC, np.random.default_rng(n))[1]) for n in range(100)]

    assert sum(1 in labels for labels in hits) > 30
    assert sum(2 in labels for labels in hits) > 30


def test_small_part_of_a_class_is_drawn_as_often_as_a_large_one_where_the_network_asks_so() -> None:
    case = _case()
    case.labels[-2, -2, -2] = 1
    spec = replace(SPEC, centred_share=1.0)

    def near_the_corner(*, on_parts: bool) -> int:
        sampled = with_centres(case, on_parts=on_parts)
        drawn = [draw_patch(sampled, spec, np.random.default_rng(n))[1] for n in range(100)]
        return sum(np.count_nonzero(labels) == 1 for labels in drawn)

    assert near_the_corner(on_parts=True) > 25
    assert near_the_corner(on_parts=False) < 10


def test_what_is_not_centred_lies_anywhere() -> None:
    sampled = with_centres(_case())
    share = {
        centred: sum(
            draw_patch(sampled, replace(SPEC, centred_share=centred), np.random.default_rng(n))[1].any()
            for n in range(100)
        )
        for centred in (0.0, 1.0)
    }

    assert share[1.0] == 100
    assert share[0.0] < 90


def test_same_generator_gives_the_same_patch() -> None:
    sampled = with_centres(_case())

    (one, labels_one), (two, labels_two) = (draw_patch(sampled, SPEC, np.random.default_rng(5)) for _ in range(2))

    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(labels_one, labels_two)
    assert one.dtype == np.float32
    assert one.shape == (2, 16, 16, 16)


def test_short_volume_lies_in_the_middle_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_augment", lambda image, _: image)
    shape = (9, 20, 13)
    sampled = with_centres(TrainingCase(0, np.full((2, *shape), 140, np.int16), np.ones(shape, np.uint8)))

    image, labels = draw_patch(sampled, SPEC, np.random.default_rng(0))

    inside = np.zeros((16, 16, 16), bool)
    inside[3:12, :, 1:14] = True
    np.testing.assert_array_equal(labels, inside)
    np.testing.assert_array_equal(image[0], np.where(inside, np.float32(1.0), 0))


def test_one_channel_network_sees_both_phases() -> None:
    spec = replace(NETWORKS["ln_ctv"], patch_zyx=(16, 16, 16))
    sampled = with_centres(_case())

    means = [draw_patch(sampled, spec, np.random.default_rng(n))[0].mean() for n in range(40)]

    # (50 - 40) / 100 and (90 - 40) / 100, brightness varied by a tenth.
    assert sum(mean < 0.28 for mean in means) > 8
    assert sum(mean > 0.32 for mean in means) > 8


def test_case_without_foreground_is_still_drawn() -> None:
    shape = (20, 20, 20)
    empty = with_centres(TrainingCase(0, np.zeros((2, *shape), np.int16), np.zeros(shape, np.uint8)))

    _, labels = draw_patch(empty, SPEC, np.random.default_rng(0))

    assert empty.centres == ()
    assert not labels.any()
