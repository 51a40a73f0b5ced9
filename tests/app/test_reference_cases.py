"""A case that the site keeps goes its whole way again, and what falls from what was kept is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from npc_contour.app.reference_cases import keep_case, try_case
from npc_contour.errors import SettingsError
from npc_contour.settings import Settings, read_settings
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

PIPELINE = """
name = "own"
title = "What is bright"
label = "OWN"
planning_role = "planning_ct"
rois = [{ name = "Bright", type = "ORGAN", network = "tiny", labels = [1], colour = [255, 0, 0] }]
[[roles]]
name = "planning_ct"
modality = "CT"
contrast = "any"
anatomy = "any"
min_slices = 8
[[networks]]
network = "tiny"
roles = ["planning_ct"]
"""
SITE = """
[storage]
root = "data"
[triton]
model_repository = "repository"
[routing]
pipelines = ["own.toml"]
[self_test]
cases = ["case"]
"""


def site(folder: Path) -> Settings:
    (folder / "own.toml").write_text(PIPELINE)
    (folder / "site.toml").write_text(SITE.replace('"repository"', json.dumps(str(folder / "repository"))))
    return read_settings(folder / "site.toml")


def write_images(folder: Path) -> None:
    """Write a block that is brighter in its middle, in soft tissue."""
    hu = np.full((16, 64, 64), 40)
    hu[4:12, 16:48, 16:48] = 200
    hu[4:12, 24:40, 24:40] = 400
    images = ct_datasets(CtPlan(slices=16, rows=64, columns=64, pixel_spacing_mm=(1.0, 1.0), slice_spacing_mm=3.0))
    for image, section in zip(images, hu, strict=True):
        image.PixelData = (section + 1024).astype(np.int16).tobytes()
    write_series(folder, images)


def quiet(_step: str, _done: float) -> None:
    """Tell nobody."""


def test_another_network_is_seen_on_a_kept_case(tmp_path: Path) -> None:
    settings = site(tmp_path)
    (case,) = settings.self_test.cases
    write_images(case / "images")
    write_tiny_network(tmp_path / "repository", TinyNetwork(threshold_hu=100.0))
    assert [path.name for path in keep_case(settings, case, quiet)] == ["own.dcm"]

    (same,) = try_case(settings, case, quiet)
    assert same.works
    assert same.dice == {"Bright": 1.0}

    write_tiny_network(tmp_path / "repository", TinyNetwork(threshold_hu=300.0))
    (other,) = try_case(settings, case, quiet)
    assert other.network == "case: own"
    assert other.dice["Bright"] == pytest.approx(0.4, abs=0.02)  # a quarter of the block
    (words,) = other.fallen
    assert words.startswith("Bright Dice 0.4")
    assert words.endswith("at least 0.98 was kept")


def test_a_folder_in_which_nothing_was_kept_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing was kept"):
        try_case(site(tmp_path), tmp_path, quiet)
    with pytest.raises(SettingsError, match="no folder images"):
        keep_case(site(tmp_path), tmp_path, quiet)
