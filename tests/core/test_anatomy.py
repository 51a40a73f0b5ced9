"""A head is told from other regions by its skull; without one nothing is contoured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from npc_contour.core.anatomy import find_head
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3
from npc_contour.domain.volumes import Volume
from npc_phantom import PhantomOptions, draw, render

REAL_ABDOMEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct_abdomen_real.nii.gz"


def volume_of(hu: npt.NDArray[np.int16], spacing_zyx_mm: Vec3 = (3.0, 1.0, 1.0), grid: Grid | None = None) -> Volume:
    z, y, x = hu.shape
    grid = grid or Grid((z, y, x), spacing_zyx_mm, (0.0, 0.0, -50.0), HEAD_FIRST_SUPINE, "1.2.9")
    index = np.column_stack([np.arange(z), np.zeros((z, 2))])
    return Volume(np.ascontiguousarray(hu), grid, tuple(f"1.{n + 1}" for n in range(z)), grid.to_patient_mm(index))


def shell(radius_mm: float, thickness_mm: float, *, inside_hu: int = 40, gap_deg: float = 0.0) -> Volume:
    """A sphere of bone around soft tissue, in air; a wedge of `gap_deg` towards +x is open."""
    z, y, x = np.indices((60, 220, 220))
    dz, dy, dx = (z - 30) * 3.0, y - 110.0, x - 110.0
    distance = np.sqrt(dx**2 + dy**2 + dz**2)
    hu = np.where(distance < radius_mm, inside_hu, -1000)
    wall = (distance >= radius_mm) & (distance < radius_mm + thickness_mm)
    wall &= np.abs(np.degrees(np.arctan2(dy, dx))) >= gap_deg / 2
    hu[wall] = 900
    return volume_of(hu.astype(np.int16))


def test_a_closed_shell_of_bone_is_a_skull_with_the_right_area() -> None:
    finding = find_head(shell(70.0, 6.0))

    assert finding.fault is None
    assert finding.largest_cm2 == pytest.approx(np.pi * 7.0**2, rel=0.1)
    assert finding.at_mm == pytest.approx(-50.0 + 30 * 3.0, abs=5)


def test_thin_bone_is_still_a_wall() -> None:
    assert find_head(shell(70.0, 1.5)).fault is None


@pytest.mark.parametrize(
    "volume",
    [
        shell(70.0, 6.0, gap_deg=30.0),  # a pelvis is open in front
        shell(70.0, 6.0, inside_hu=-800),  # ribs around lung
        shell(12.0, 5.0),  # a vertebra
        volume_of(np.full((20, 64, 64), -1000, np.int16)),
        volume_of(np.full((20, 64, 64), 40, np.int16)),
        volume_of(np.full((20, 64, 64), 2000, np.int16)),
        volume_of(np.full((4, 1, 1), 2000, np.int16)),
    ],
    ids=["open", "air inside", "vertebra", "air", "water", "metal", "one column"],
)
def test_what_is_no_skull_is_refused_in_words(volume: Volume) -> None:
    fault = find_head(volume).fault

    assert fault is not None
    assert fault.startswith("no skull is seen: the largest area that bone encloses is ")


@pytest.mark.parametrize(("seed", "position"), [(3, "HFS"), (5, "FFP")])
def test_phantoms_are_heads_in_either_phase_and_any_position(seed: int, position: str) -> None:
    options = PhantomOptions(matrix=128, slice_spacing_mm=5.0, patient_position=position, noise_hu=30.0)
    patient = draw(seed, options)
    phantom = render(patient, patient.grid())

    for hu in (phantom.noncontrast_hu, phantom.contrast_hu):
        finding = find_head(volume_of(hu.copy(), grid=phantom.grid))
        assert finding.fault is None
        assert finding.largest_cm2 > 100


def test_a_real_abdomen_is_no_head() -> None:
    if not REAL_ABDOMEN.exists():
        pytest.skip(f"{REAL_ABDOMEN} with a real abdominal CT is not on this machine")
    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(REAL_ABDOMEN)), "LPS")
    hu = np.clip(np.rint(SimpleITK.GetArrayFromImage(image)), -32768, 32767).astype(np.int16)
    width, height, depth = image.GetSpacing()

    finding = find_head(volume_of(hu, (depth, height, width)))

    assert finding.fault is not None
    assert finding.largest_cm2 < 10
