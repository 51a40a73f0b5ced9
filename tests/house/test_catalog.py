"""Pipelines and contracts are checked when they are read; what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from npc_contour.catalog import PIPELINES_DIR, read_catalog, read_contract, read_pipeline, with_role_changes
from npc_contour.errors import CatalogError

CONTRACT: dict[str, Any] = {
    "name": "tiny",
    "version": "1.0.0",
    "demo": True,
    "channels": ["CT"],
    "spacing_zyx_mm": [2.0, 2.0, 2.0],
    "patch_zyx": [16, 16, 16],
    "normalisation": [{"clip_hu": [-1000.0, 1000.0], "mean_hu": 0.0, "std_hu": 500.0}],
    "crop": None,
    "labels": ["background", "bright"],
    "step": 0.5,
    "weights": {"file": "1/network.onnx", "sha256": "0" * 64},
    "trained_on": "nothing",
    "intended_use": "tests",
}
PIPELINE = """
name = "p"
title = "A pipeline"
label = "P"
planning_role = "planning_ct"
rois = [{ name = "Bright", type = "ORGAN", network = "tiny", labels = [1], colour = [255, 0, 0] }]
[[roles]]
name = "planning_ct"
modality = "CT"
contrast = "any"
[[networks]]
network = "tiny"
roles = ["planning_ct"]
"""


def repository(folder: Path, **changes: object) -> Path:
    (folder / "repo" / "tiny").mkdir(parents=True)
    (folder / "repo" / "tiny" / "contract.json").write_text(json.dumps(CONTRACT | changes))
    return folder / "repo"


def pipelines(folder: Path, text: str) -> Path:
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "p.toml").write_text(text)
    return folder / "pipelines"


def test_a_sites_own_pipeline_stands_beside_the_products(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(PIPELINE.replace('name = "p"', 'name = "own"'))
    shipped, repo = pipelines(tmp_path, PIPELINE), repository(tmp_path)
    files = {"own.toml": own}

    assert [*read_catalog(repo, shipped, enabled=["p", "own.toml"], own=files).pipelines] == ["p", "own"]
    assert [*read_catalog(repo, shipped, enabled=["own"], own=files).pipelines] == ["own"]

    own.write_text(PIPELINE)
    with pytest.raises(CatalogError, match=r"own\.toml: name: there is a pipeline p already"):
        read_catalog(repo, shipped, own=files)


def test_pipeline_and_contract_are_read(tmp_path: Path) -> None:
    catalog = read_catalog(repository(tmp_path), pipelines(tmp_path, PIPELINE))

    assert catalog.pipelines["p"].rois[0].labels == frozenset({1})
    assert catalog.contracts_of(catalog.pipelines["p"])[0].labels == ("background", "bright")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("labels = [1]", "labels = [2]", "asks for label 2"),
        ('roles = ["planning_ct"]', 'roles = ["t1"]', "t1"),
        ('planning_role = "planning_ct"', 'planning_role = "other"', "planning_role"),
        ('name = "Bright"', 'name = "Seventeen_letters"', "17 characters"),
        ('title = "A pipeline"', 'titel = "A pipeline"', "titel"),
        ('roles = ["planning_ct"]', 'roles = ["planning_ct", "planning_ct"]', "1 channels"),
    ],
)
def test_wrong_pipeline_is_refused_and_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(CatalogError, match=named):
        read_catalog(repository(tmp_path), pipelines(tmp_path, PIPELINE.replace(old, new)))


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"normalisation": []},
        {"step": 0},
        {"labels": ["background"]},
        {"weights": {"file": "x", "sha256": "y"}},
    ],
)
def test_wrong_contract_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CatalogError, match=r"contract\.json"):
        read_contract(repository(tmp_path, **changes) / "tiny" / "contract.json")


def test_bounds_of_single_labels_are_read_and_a_strange_one_is_named(tmp_path: Path) -> None:
    bounds = {"max_label_cc": 100.0, "label_cc": {"bright": 2000.0}}
    read = read_contract(repository(tmp_path, bounds=bounds) / "tiny" / "contract.json").bounds

    assert (read.most_cc("bright"), read.most_cc("background")) == (2000.0, 100.0)
    with pytest.raises(CatalogError, match="bounds name dark: no label of this network"):
        read_contract(repository(tmp_path / "other", bounds={"label_cc": {"dark": 1.0}}) / "tiny" / "contract.json")


def test_what_calibration_left_is_read_and_a_strange_label_is_named(tmp_path: Path) -> None:
    known = {"check_mm": 2.5, "factor": {"bright": 1.5}, "source": "a test"}
    strange = known | {"factor": {"dark": 1.5}}

    read = read_contract(repository(tmp_path, uncertainty=known) / "tiny" / "contract.json").uncertainty

    assert read is not None
    assert (read.check_mm, read.factor, read.source) == (2.5, {"bright": 1.5}, "a test")
    assert read_contract(repository(tmp_path / "none") / "tiny" / "contract.json").uncertainty is None
    with pytest.raises(CatalogError, match="uncertainty names dark: no label of this network"):
        read_contract(repository(tmp_path / "other", uncertainty=strange) / "tiny" / "contract.json")


def test_contract_hash_is_of_the_file_as_it_lies(tmp_path: Path) -> None:
    first = read_contract(repository(tmp_path) / "tiny" / "contract.json")
    second = read_contract(repository(tmp_path / "other", version="1.0.1") / "tiny" / "contract.json")

    assert first.contract_sha256 != second.contract_sha256


def test_every_shipped_pipeline_is_right() -> None:
    names = {read_pipeline(path).name for path in PIPELINES_DIR.glob("*.toml")}

    assert {"npc_oar_gtv", "ln_ctv"} <= names


def test_a_site_replaces_conditions_of_a_role(tmp_path: Path) -> None:
    catalog = read_catalog(repository(tmp_path), pipelines(tmp_path, PIPELINE))

    changed = with_role_changes(catalog, "p", "planning_ct", {"min_slices": 7, "description_pattern": "neck"})

    assert changed.pipelines["p"].roles[0].min_slices == 7
    assert changed.pipelines["p"].roles[0].description_pattern == "neck"
    assert changed.pipelines["p"].roles[0].modality == "CT"
    assert catalog.pipelines["p"].roles[0].min_slices == 40


def test_a_rule_for_an_unknown_role_is_refused_and_named(tmp_path: Path) -> None:
    catalog = read_catalog(repository(tmp_path), pipelines(tmp_path, PIPELINE))

    with pytest.raises(CatalogError, match=r"no role 't1'.*planning_ct"):
        with_role_changes(catalog, "p", "t1", {})


def test_keys_of_imported_networks_are_read_and_absent_ones_change_nothing(tmp_path: Path) -> None:
    plain = read_contract(repository(tmp_path) / "tiny" / "contract.json")
    keys = {
        "normalise_first": True,
        "separate_z": True,
        "transpose": [2, 0, 1],
        "normalisation": [{"scheme": "zscore"}],
    }
    imported = read_contract(repository(tmp_path / "other", **keys) / "tiny" / "contract.json")

    assert (plain.normalise_first, plain.separate_z, plain.transpose) == (False, False, (0, 1, 2))
    assert plain.normalisation[0].scheme == "ct"
    assert (imported.normalise_first, imported.separate_z, imported.transpose) == (True, True, (2, 0, 1))
    assert imported.normalisation[0].scheme == "zscore"


@pytest.mark.parametrize(
    "changes", [{"transpose": [0, 0, 1]}, {"normalisation": [{"scheme": "zscore", "mean_hu": 1.0}]}]
)
def test_wrong_keys_of_imported_networks_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CatalogError, match=next(iter(changes))):
        read_contract(repository(tmp_path, **changes) / "tiny" / "contract.json")
