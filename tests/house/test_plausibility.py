"""The rules of plausibility are data: complete for the pipelines of the head and neck, and read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.errors import CatalogError
from npc_contour.plausibility import read_rules


@pytest.mark.parametrize("pipeline", ["npc_oar_gtv", "ln_ctv", "han_oar"])
def test_every_roi_of_the_head_and_neck_has_a_rule(pipeline: str) -> None:
    rois = read_pipeline(PIPELINES_DIR / f"{pipeline}.toml").rois

    # The phantoms' scans end above the tracheal bifurcation.
    assert [roi.name for roi in rois if roi.rule is None] == (["BronchialTree"] if pipeline == "han_oar" else [])


def test_bounds_are_in_order() -> None:
    for name, rule in read_rules().items():
        for bounds in (rule.volume_cc, rule.hu):
            assert bounds is None or bounds[0] < bounds[1], name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[structures.Eye_L]\nvolume_ml = [1, 2]\n", "volume_ml"),
        ("[structures.Eye_L]\nnear_mm = -1\n", "near_mm"),
        ("structures = 3\n", "structures"),
        ("[", "rules.toml"),
    ],
)
def test_a_wrong_rule_is_named(text: str, names: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)

    with pytest.raises(CatalogError, match=names):
        read_rules(path)
