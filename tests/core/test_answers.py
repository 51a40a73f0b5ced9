"""What no patient can look like is refused with the network, the label, what was found and what is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.core.answers import check_answer
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import AnswerBounds, LargestComponent
from npc_contour.domain.volumes import LabelMap
from npc_contour.errors import NetworkAnswerError
from npc_testkit.bench import contract

SHAPE = (40, 128, 128)
GRID = Grid(
    shape_zyx=SHAPE,
    spacing_zyx_mm=(3.0, 4.0, 4.0),
    origin_lps_mm=(0.0, 0.0, 0.0),
    direction_lps=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    frame_of_reference_uid="1.2",
)
CONTRACT = contract("net", 6)
RNG = np.random.default_rng(5)


def answer(labels: npt.NDArray[np.uint8], crossings: npt.NDArray[np.uint8] | None = None) -> LabelMap:
    return LabelMap(labels, GRID, "net", crossings)


def anatomy() -> npt.NDArray[np.uint8]:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for label in range(1, 7):
        labels[5:35, 20:60, 18 * label : 18 * label + 12] = label
    return labels


def speckled(share: float) -> npt.NDArray[np.uint8]:
    return np.where(RNG.random(SHAPE) < share, RNG.integers(1, 7, SHAPE), anatomy()).astype(np.uint8)


def blocks(edge: int) -> npt.NDArray[np.uint8]:
    noise = RNG.integers(0, 7, (SHAPE[0], SHAPE[1] // edge, SHAPE[2] // edge))
    return noise.repeat(edge, 1).repeat(edge, 2).astype(np.uint8)


def filled(label: int) -> npt.NDArray[np.uint8]:
    return np.full(SHAPE, label, dtype=np.uint8)


def out_of_contract() -> npt.NDArray[np.uint8]:
    labels = anatomy()
    labels[0, 0, 0] = 200
    return labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (out_of_contract(), r"network net answered with label 200 \(1 voxels\), its contract has labels 0 to 6"),
        (filled(1), r"label 1 \(label 1\) in 31457 cc, at most 8000 cc are allowed"),
        (speckled(1.0), r"noise: 6 labels in \d+ separate pieces, at most \d+ are allowed on 40 slices"),
        (speckled(0.05), "noise: 6 labels"),
        (RNG.integers(0, 2, SHAPE).astype(np.uint8), r"noise: 1 labels|cc, at most"),
        (blocks(2), "noise"),
        (blocks(4), "noise"),
    ],
    ids=["200", "everywhere", "random", "speckled", "two labels", "blocks of 2", "blocks of 4"],
)
def test_an_impossible_answer_is_refused(labels: npt.NDArray[np.uint8], words: str) -> None:
    with pytest.raises(NetworkAnswerError, match=words):
        check_answer(answer(labels), CONTRACT)


def test_a_label_that_fills_the_scan_is_refused_by_its_share() -> None:
    roomy = replace(CONTRACT, bounds=AnswerBounds(max_label_cc=1e6))

    with pytest.raises(NetworkAnswerError, match=r"label 2 .* in 100% of the scan, at most 50% are allowed"):
        check_answer(answer(filled(2)), roomy)


def test_a_label_may_have_a_bound_of_its_own() -> None:
    label_cc = 30 * 40 * 12 * 48 / 1000.0
    check_answer(answer(anatomy()), replace(CONTRACT, bounds=AnswerBounds(label_cc={"label 3": label_cc})))
    tight = replace(CONTRACT, bounds=AnswerBounds(label_cc={"label 3": label_cc - 1}))

    with pytest.raises(NetworkAnswerError, match=r"label 3 \(label 3\) in 691 cc, at most 690.2 cc are allowed"):
        check_answer(answer(anatomy()), tight)


def test_anatomy_with_its_specks_and_nothing_at_all_pass() -> None:
    check_answer(answer(anatomy()), CONTRACT)
    check_answer(answer(speckled(0.002)), CONTRACT)
    check_answer(answer(filled(0)), CONTRACT)


def test_crossings_lie_where_labels_differ() -> None:
    labels = anatomy()
    fitting = np.zeros((2, *SHAPE), dtype=np.uint8)
    fitting[0, :, :-1] = np.where(labels[:, :-1] != labels[:, 1:], 90, 0)
    check_answer(answer(labels, fitting), CONTRACT)
    garbage = RNG.integers(0, 255, (2, *SHAPE)).astype(np.uint8)

    with pytest.raises(NetworkAnswerError, match=r"crossings at \d+ edges between voxels of one label"):
        check_answer(answer(labels, garbage), CONTRACT)

    # What is dropped after the network has answered leaves its crossings behind.
    check_answer(
        answer(labels, garbage), replace(CONTRACT, keep_largest=(LargestComponent((1,), corners=False, spare_mm3=0.0),))
    )
