"""A file of voxels is whole and holds what was asked for, or it is refused: SimpleITK alone lets both pass."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from npc_contour.errors import VoxelFileError
from npc_contour.voxel_files import labels_of, read_image, read_voxels

LABELS = np.random.default_rng(5).integers(0, 5, (5, 6, 7)).astype(np.uint8)


def written(path: Path, array: np.ndarray = LABELS, *, compressed: bool = False) -> bytes:
    image = SimpleITK.GetImageFromArray(array, isVector=False)
    SimpleITK.WriteImage(image, str(path), compressed)
    return path.read_bytes()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kept", [0.6, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, ending: str, *, compressed: bool, kept: float) -> None:
    path = tmp_path / f"a{ending}"
    whole = written(path, compressed=compressed)
    np.testing.assert_array_equal(read_voxels(path).array, LABELS)
    path.write_bytes(whole[: int(len(whole) * kept)])

    with pytest.raises(VoxelFileError, match="cut short"):
        read_image(path)


def test_a_whole_archive_of_a_cut_file_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.nii")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(whole[:-20]))

    with pytest.raises(VoxelFileError, match="is cut short: 542 bytes, its header asks for 562"):
        read_image(tmp_path / "b.nii.gz")


def test_a_pair_of_files_is_proved_too(tmp_path: Path) -> None:
    written(tmp_path / "a.hdr")
    voxels = tmp_path / "a.img"
    voxels.write_bytes(voxels.read_bytes()[:-1])

    with pytest.raises(VoxelFileError, match="cut short"):
        read_image(tmp_path / "a.hdr")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.nii.gz"))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(data)

    with pytest.raises(VoxelFileError, match=r"damaged|cut short"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "not finite"),
        (np.inf, "not finite"),
        (-1.0, "from -1 to"),
        (0.5, "between whole numbers"),
        (300.0, "to 255"),
    ],
)
def test_what_is_no_label_is_refused(value: float, reason: str) -> None:
    values = LABELS.astype(np.float32)
    values[1, 2, 3] = value

    with pytest.raises(VoxelFileError, match=reason):
        labels_of(values, Path("labels.nii"), most=255)
    values[1, 2, 3] = 4.0
    assert labels_of(values, Path("labels.nii")).dtype == np.uint8


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_is_not_finite_in_a_nifti_file_is_no_zero(tmp_path: Path, name: str, value: float) -> None:
    values = LABELS.astype(np.float64)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), tmp_path / name)
    assert read_image(tmp_path / name).GetSize() == LABELS.shape[::-1]
    values[-1, -1, -1] = value
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), tmp_path / name)

    with pytest.raises(VoxelFileError, match="holds values that are not finite"):
        read_image(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VoxelFileError, match=r"none\.nii\.gz cannot be read as an image: No such file"):
        read_image(tmp_path / "none.nii.gz")
