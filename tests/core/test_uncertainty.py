"""What a network says of its doubts becomes millimetres by its contract, and is told beyond the contract's bound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from npc_contour.core.labels import roi_masks
from npc_contour.core.uncertainty import look_at_uncertainty, uncertainty_mm
from npc_contour.domain.findings import FindingCode, Severity
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid
from npc_contour.domain.pipelines import NetworkContract, Uncertainty
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.domain.volumes import LabelMap
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

GRID = Grid((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
ROIS = (
    RoiSpec("One", InterpretedType.ORGAN, "tiny", frozenset({1}), (0, 0, 0)),
    RoiSpec("Both", InterpretedType.ORGAN, "tiny", frozenset({1, 2}), (0, 0, 0)),
    RoiSpec("None", InterpretedType.ORGAN, "tiny", frozenset({3}), (0, 0, 0)),
)
DOUBTS = np.array([[0.0, 0.0, 0.0], [10.0, 20.0, 30.0], [50.0, 40.0, 10.0], [0.0, 5.0, 0.0]])
"""One mm of label 1, nine of label 2, nothing found of label 3."""


@pytest.fixture
def contract(tmp_path: Path) -> NetworkContract:
    return write_tiny_network(tmp_path, TinyNetwork(classes=4))


def told(contract: NetworkContract, doubts: FloatArray | None) -> tuple[dict[str, float], list[str]]:
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[1:3, 1:3, 1], labels[1:3, 1:3, 2] = 1, 2
    maps = {"tiny": LabelMap(labels, GRID, "tiny", doubts=doubts)}
    masks = roi_masks(maps, ROIS)
    expected = uncertainty_mm(masks, maps, [contract])
    findings = look_at_uncertainty(masks, expected, [contract])
    assert all(one.code is FindingCode.UNCERTAIN and one.severity is Severity.CHECK for one in findings)
    return expected, [one.structure for one in findings]


def calibrated(contract: NetworkContract, factor: dict[str, float], check_mm: float) -> NetworkContract:
    return replace(contract, uncertainty=Uncertainty(check_mm, factor, "a test"))


def test_labels_of_an_roi_count_by_their_surface(contract: NetworkContract) -> None:
    known = calibrated(contract, {"label 1": 2.0, "label 2": 1.0, "label 3": 1.0}, 3.0)

    expected, findings = told(known, DOUBTS)

    assert expected == pytest.approx({"One": 2.0, "Both": (2.0 * 30.0 + 9.0 * 10.0) / 40.0})
    assert findings == ["Both"]


def test_a_label_that_was_not_calibrated_says_nothing(contract: NetworkContract) -> None:
    assert told(calibrated(contract, {"label 1": 4.0}, 3.0), DOUBTS)[0] == pytest.approx({"One": 4.0, "Both": 4.0})


def test_nothing_is_told_without_doubts_or_calibration(contract: NetworkContract) -> None:
    assert told(calibrated(contract, {"label 1": 9.0}, 1.0), None) == ({}, [])
    assert told(contract, DOUBTS) == ({}, [])
