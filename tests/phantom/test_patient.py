"""A seed is a patient: the same every time, and every patient within what a clinic sees."""

from __future__ import annotations

import numpy as np
import pytest

from npc_phantom import PhantomOptions, draw
from npc_phantom.scan import SLICE_SPACINGS_MM


@pytest.mark.parametrize("seed", range(25))
def test_scans_are_as_clinics_make_them_and_hold_the_anatomy(seed: int) -> None:
    patient = draw(seed)
    grid = patient.grid()
    length_mm = grid.shape_zyx[0] * grid.spacing_zyx_mm[0]
    bottom_mm, top_mm = grid.origin_lps_mm[2], grid.origin_lps_mm[2] + length_mm
    vertex, clavicle = patient.pose.to_patient_mm(np.array([(0.0, 34.0, 163.0), (0.0, 0.0, -165.0)]))

    assert grid.spacing_zyx_mm[0] in SLICE_SPACINGS_MM
    assert grid.shape_zyx[1] in {512, 1024}
    assert 400.0 <= grid.spacing_zyx_mm[1] * grid.shape_zyx[1] <= 625.0
    assert 340.0 <= length_mm <= 420.0
    assert vertex[2] < top_mm
    assert clavicle[2] > bottom_mm - 25.0
    assert 6.0 <= patient.scan.noise_hu <= 20.0
    assert np.linalg.norm(patient.scan.phase_shift_lps_mm) <= 1.5


def test_options_are_kept_and_the_rest_is_still_drawn_alike() -> None:
    options = PhantomOptions(
        matrix=128, slice_spacing_mm=4.0, slices=90, field_of_view_mm=480.0, noise_hu=3.0, metal=True, nodes=2
    )

    fixed, free = draw(5, options), draw(5)

    assert fixed.grid().shape_zyx == (90, 128, 128)
    assert fixed.grid().spacing_zyx_mm == (4.0, 3.75, 3.75)
    assert fixed.scan.noise_hu == 3.0
    assert len(fixed.metal_mm) > 0
    assert sum(part.name.startswith("GTVnd") for part in fixed.parts) == 2
    assert np.array_equal(fixed.pose.matrix, free.pose.matrix)


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_pose_and_its_inverse_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    canonical = rng.uniform((-100.0, -110.0, -220.0), (100.0, 110.0, 160.0), (500, 3))
    pose = draw(seed).pose

    back = pose.to_canonical_mm(pose.to_patient_mm(canonical))

    assert np.abs(back - canonical).max() < 0.01


def test_patients_differ() -> None:
    vertices = [draw(seed).pose.to_patient_mm(np.array([(20.0, -60.0, 60.0)]))[0] for seed in range(8)]

    assert np.std(vertices, axis=0).min() > 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PhantomOptions(patient_position="HFDR"), "HFDR"),
        (PhantomOptions(slice_spacing_mm=-1.0), "positive"),
        (PhantomOptions(slices=0), "positive"),
    ],
)
def test_what_cannot_be_scanned_is_refused(options: PhantomOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(1, options)
