"""A label's factor is what its outlines are off beside what the class maps say; few phantoms lean on all labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from npc_contour.catalog import read_contract
from npc_contour.core.class_doubts import AREA, COLUMNS, MISSING, WRONG
from npc_networks.calibration import RIGHT_MM, Doubt, doubts_of, uncertainty_of
from npc_networks.cards import CARD_FILE, renew_card
from npc_networks.evaluation import Answer
from npc_networks.phantom_data import Scan

REPOSITORY = Path(__file__).parents[2] / "triton_repo"


def test_factor_is_a_ratio_of_medians_that_leans_on_all_labels() -> None:
    known = [Doubt("a", "Brain", 0.5, 1.0), Doubt("a", "Brain", 0.5, 1.0), Doubt("a", "Brain", 0.5, 90.0)]
    doubts = [*known, Doubt("a", "Lens_L", 0.1, 1.5)]

    found = uncertainty_of(doubts, "a test")

    assert found["factor"]["Brain"] == pytest.approx((3 * 1.0 + 1.25) / (3 * 0.5 + 0.5), abs=1e-3)
    assert found["factor"]["Lens_L"] == pytest.approx((1.5 + 1.25) / (0.1 + 0.5), abs=1e-3)
    assert found["check_mm"] == RIGHT_MM
    assert found["source"] == "a test"


def test_bound_lies_above_nearly_all_right_outlines() -> None:
    doubts = [Doubt("a", "Brain", said, 1.5) for said in np.linspace(1.0, 5.0, 50).tolist()]

    found = uncertainty_of(doubts, "a test")

    assert found["factor"]["Brain"] == 0.5
    assert found["check_mm"] == pytest.approx(0.98 * 2.5, abs=0.06)


def test_a_stray_piece_does_not_count_as_the_service_leaves_it_out() -> None:
    contract = read_contract(REPOSITORY / "npc_oar" / "contract.json")
    label = contract.labels.index("Parotid_L")
    truth = np.zeros((20, 60, 100), np.uint8)
    truth[5:12, 20:40, 10:30] = label
    found = truth.copy()
    found[8:10, 30:33, 90:93] = label
    doubts = np.zeros((len(contract.labels), COLUMNS))
    doubts[label, [WRONG, MISSING, AREA]] = 30.0, 10.0, 80.0
    scan = Scan(1, np.zeros((2, *truth.shape), np.int16), {"oar": truth}, (3.0, 1.0, 1.0))

    (doubt,) = doubts_of(Answer(contract, "both", found, truth, doubts), scan)

    assert (doubt.label, doubt.said_mm, doubt.off_mm) == ("Parotid_L", 0.5, 0.0)


def test_a_card_is_renewed_with_its_scores(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "npc_gtv", tmp_path / "npc_gtv")
    before = (tmp_path / "npc_gtv" / CARD_FILE).read_text()

    renew_card(tmp_path, "npc_gtv")

    assert (tmp_path / "npc_gtv" / CARD_FILE).read_text() == before
    assert "| GTVp | both |" in before
    assert "beyond" in before
