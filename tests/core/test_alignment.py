"""A second series is found where it lies in the patient, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.alignment import resample_onto, same_voxels
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid, Vec3
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused


def grid(shape: tuple[int, int, int], spacing: Vec3, origin: Vec3 = (0.0, 0.0, 0.0), frame: str = "1.2") -> Grid:
    return Grid(shape, spacing, origin, HEAD_FIRST_SUPINE, frame)


def ramp(where: Grid) -> Volume:
    """HU rise linearly with the position in the patient, so that the truth is known on every grid."""
    z, y, x = where.shape_zyx
    index = np.stack(np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij"), axis=-1)
    return Volume(
        np.rint(truth_hu(where.to_patient_mm(index))).astype(np.int16),
        where,
        tuple(f"1.2.{i}" for i in range(z)),
        where.to_patient_mm([(i, 0, 0) for i in range(z)]),
    )


def truth_hu(position_lps_mm: FloatArray) -> FloatArray:
    return np.asarray(position_lps_mm @ np.array([3.0, 5.0, 7.0]))


def test_second_series_is_found_where_it_lies_in_the_patient() -> None:
    planning = grid((10, 20, 24), (3.0, 1.0, 1.0), (-5.0, 2.0, 1.0))
    other = ramp(grid((40, 60, 60), (1.0, 1.5, 1.5), (-20.0, -20.0, -4.0)))

    moved = resample_onto(other, planning)

    assert moved.dtype == np.int16
    assert np.abs(moved - ramp(planning).hu).max() <= 1


def test_turned_series_is_found_where_it_lies_in_the_patient() -> None:
    planning = grid((6, 8, 9), (2.0, 1.0, 1.0))
    feet_first = Grid(
        (30, 40, 41), (1.0, 1.0, 1.0), (-15.0, 25.0, 20.0), ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)), "1.2"
    )

    moved = resample_onto(ramp(feet_first), planning)

    assert np.abs(moved - ramp(planning).hu).max() <= 1


def test_outside_the_second_series_is_air() -> None:
    planning = grid((4, 8, 8), (2.0, 2.0, 2.0))
    small = ramp(grid((4, 8, 4), (2.0, 2.0, 2.0)))

    assert np.all(resample_onto(small, planning)[:, :, 4:] == -1024)


def test_equal_grids_share_the_array() -> None:
    volume = ramp(grid((3, 4, 5), (2.0, 1.0, 1.0)))

    assert resample_onto(volume, grid((3, 4, 5), (2.0, 1.0, 1.0), (0.001, 0.0, 0.0))) is volume.hu


def test_grids_that_drift_apart_are_not_the_same() -> None:
    assert not same_voxels(grid((100, 4, 5), (2.0, 1.0, 1.0)), grid((100, 4, 5), (2.001, 1.0, 1.0)))


def test_other_frame_of_reference_is_refused() -> None:
    with pytest.raises(CaseRefused, match=r"two frames of reference, 1\.2 and 1\.3"):
        resample_onto(ramp(grid((3, 4, 5), (1.0, 1.0, 1.0))), grid((3, 4, 5), (1.0, 1.0, 1.0), frame="1.3"))


def test_series_elsewhere_in_the_patient_is_refused() -> None:
    with pytest.raises(CaseRefused, match="do not overlap"):
        resample_onto(ramp(grid((3, 4, 5), (1.0, 1.0, 1.0))), grid((3, 4, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 500.0)))
