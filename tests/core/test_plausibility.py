"""Contours that look unlike their structure are told, those of a phantom are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.labels import RoiMask, mask_of_array, roi_masks
from npc_contour.core.pieces import without_far_pieces
from npc_contour.core.plausibility import look_at_contours
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import Grid
from npc_contour.domain.volumes import LabelMap, Volume
from npc_phantom import PhantomOptions, draw, render

Masks = dict[str, RoiMask]


def volume_of(hu: npt.NDArray[np.int16], grid: Grid) -> Volume:
    slices = grid.shape_zyx[0]
    places = grid.to_patient_mm(np.stack([np.arange(slices), np.zeros(slices), np.zeros(slices)], axis=1))
    return Volume(hu.copy(), grid, tuple(f"1.2.{at}" for at in range(slices)), places)


@pytest.fixture(scope="module")
def scan() -> tuple[Masks, Volume]:
    """A phantom that no rule was made from, with its true organs."""
    patient = draw(4001, PhantomOptions(matrix=160, slice_spacing_mm=4.0, metal=False))
    phantom = render(patient, patient.grid(), contrast=(False,))
    rois = [roi for roi in read_pipeline(PIPELINES_DIR / "npc_oar_gtv.toml").rois if roi.network == "npc_oar"]
    masks = roi_masks({"npc_oar": LabelMap(phantom.oar_labels, phantom.grid, "npc_oar")}, rois)
    return {mask.spec.name: mask for mask in masks}, volume_of(phantom.noncontrast_hu, phantom.grid)


def told(masks: Masks, volume: Volume) -> list[Finding]:
    cleaned = without_far_pieces(tuple(masks.values()), volume.grid)
    return [one for one in look_at_contours(cleaned, volume) if one.severity is not Severity.NOTE]


def changed(masks: Masks, name: str, array: npt.NDArray[np.bool_]) -> Masks:
    return {**masks, name: mask_of_array(masks[name].spec, array)}


def test_right_contours_of_the_large_structures_raise_nothing(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    small = {name for name, mask in masks.items() if mask.voxels * volume.grid.voxel_cc < 1.0}

    assert [one.sentence for one in told(masks, volume) if one.structure not in small] == []


def test_half_of_a_gland_is_told_by_the_other_side(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    array = masks["Parotid_L"].on_grid(volume.grid.shape_zyx)
    filled = np.flatnonzero(array.any(axis=(1, 2)))
    array[filled[len(filled) // 3] :] = False
    codes = {one.code for one in told(changed(masks, "Parotid_L", array), volume) if one.structure == "Parotid_L"}

    assert FindingCode.PAIR_VOLUME in codes


def test_a_label_everywhere_is_a_stop_with_both_volumes(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    findings = told(changed(masks, "Eye_L", volume.hu > -300), volume)
    finding = next(one for one in findings if one.structure == "Eye_L" and one.code is FindingCode.VOLUME)

    assert finding.severity is Severity.STOP
    assert "cc are usual" in finding.sentence


def test_slices_lost_within_an_organ_are_told_with_the_place(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    array = masks["Brainstem"].on_grid(volume.grid.shape_zyx)
    middle = int(np.flatnonzero(array.any(axis=(1, 2))).mean())
    array[middle] = False
    findings = told(changed(masks, "Brainstem", array), volume)

    (gap,) = [one for one in findings if one.code is FindingCode.SLICES_MISSING]
    assert gap.numbers == {"slices": 1.0}
    assert gap.z_mm == pytest.approx(float(volume.grid.to_patient_mm((middle, 0, 0))[2]))


def test_what_the_scan_cuts_off_is_told_and_its_volume_is_not(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    middle = masks["Brain"].offset_zyx[0] + 3
    cut = {
        name: mask_of_array(mask.spec, mask.on_grid(volume.grid.shape_zyx)[:middle])
        for name, mask in masks.items()
        if name == "Brain"
    }
    grid = replace(volume.grid, shape_zyx=(middle, *volume.grid.shape_zyx[1:]))
    (finding,) = [one for one in told(cut, volume_of(volume.hu[:middle], grid)) if one.structure == "Brain"]

    assert finding.sentence == "Brain reaches the highest slice: cut off by the scan"


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 100.0), (1.0, 300.0), (0.5, 0.0)])
def test_values_that_are_no_hounsfield_units_are_told(scan: tuple[Masks, Volume], factor: float, offset: float) -> None:
    masks, volume = scan
    hu = np.clip(volume.hu * factor + offset, -1024, 3071).astype(np.int16)

    assert FindingCode.DENSITY in {one.code for one in told(masks, volume_of(hu, volume.grid))}


def test_noise_is_told(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    noise = np.random.default_rng(1).normal(0.0, 100.0, volume.hu.shape)
    hu = np.clip(volume.hu + noise, -1024, 3071).astype(np.int16)

    assert FindingCode.NOISE in {one.code for one in told(masks, volume_of(hu, volume.grid))}


def test_mr_is_not_asked_for_hounsfield_units(scan: tuple[Masks, Volume]) -> None:
    masks, volume = scan
    findings = told(masks, replace(volume, hu=np.full_like(volume.hu, 900), modality="MR"))

    assert not {FindingCode.DENSITY, FindingCode.NOISE} & {one.code for one in findings}


@pytest.fixture(scope="module")
def chest() -> tuple[Masks, Volume]:
    """A phantom down to the bronchi, with its true aorta and trachea."""
    patient = draw(4001, PhantomOptions(matrix=128, slice_spacing_mm=5.0, metal=False, bottom_z_mm=-300.0))
    phantom = render(patient, patient.grid(), contrast=(False,))
    rois = [roi for roi in read_pipeline(PIPELINES_DIR / "han_oar.toml").rois if roi.name in {"A_Aorta", "Trachea"}]
    masks = roi_masks({"han_oar": LabelMap(phantom.han_labels, phantom.grid, "han_oar")}, rois)
    return {mask.spec.name: mask for mask in masks}, volume_of(phantom.noncontrast_hu, phantom.grid)


def test_an_aorta_on_the_right_says_that_the_images_may_be_mirrored(chest: tuple[Masks, Volume]) -> None:
    masks, volume = chest
    mirrored = {
        name: mask_of_array(mask.spec, mask.on_grid(volume.grid.shape_zyx)[:, :, ::-1]) for name, mask in masks.items()
    }

    assert [one for one in told(masks, volume) if one.code is FindingCode.SIDE] == []
    (finding,) = [one for one in told(mirrored, volume) if one.code is FindingCode.SIDE]
    assert (finding.structure, finding.severity) == ("A_Aorta", Severity.STOP)
    assert "mirrored" in finding.sentence
