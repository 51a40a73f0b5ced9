"""Phantoms laid out as the public data sets are: two bright balls in noise, one per label, a few thousand voxels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.mr_series import mr_datasets

SHAPE = (24, 32, 32)
SPACING_XYZ_MM = (1.0, 1.0, 2.0)
BALLS = ("Parotid_L", "Parotid_R")
"""Structures of the pipeline han_oar, its labels 36 and 37."""
MR_PLAN = CtPlan(slices=12, rows=20, columns=18, pixel_spacing_mm=(1.5, 1.5), slice_spacing_mm=3.0)


def balls(seed: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Return HU (z, y, x) and labels: 1 is a ball of 300 HU, 2 one of 150 HU, around them tissue of 40 HU and air."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(SHAPE, dtype=np.float32)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for label, centre in ((1, (12, 10, 22)), (2, (12, 22, 10))):
        middle = np.array(centre) + rng.integers(-1, 2, 3)
        labels[(z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2 <= 25] = label
    hu = np.choose(labels, (40, 300, 150)) + rng.normal(0, 10, SHAPE)
    hu[:, :3] = -1000
    return hu.astype(np.int16), labels


def image(voxels: npt.NDArray[np.generic], origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> SimpleITK.Image:
    """Return voxels (z, y, x) as an image."""
    made = SimpleITK.GetImageFromArray(voxels)
    made.SetSpacing(SPACING_XYZ_MM)
    made.SetOrigin(origin_mm)
    return made


def write(path: Path, voxels: npt.NDArray[np.generic]) -> None:
    """Write voxels (z, y, x) as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image(voxels), path)


def write_segrap(root: Path, cases: Sequence[int]) -> None:
    """Write SegRap2023's archives: a folder per patient, labels of task 2 apart."""
    for case in cases:
        hu, labels = balls(case)
        folder = root / "SegRap2023_Training_Set_120cases" / f"segrap_{case:04d}"
        write(folder / "image.nii.gz", hu)
        write(folder / "image_contrast.nii.gz", (hu + 20 * (labels == 2)).astype(np.int16))
        one_hot = root / "SegRap2023_Training_Set_120cases_OneHot_Labels"
        write(one_hot / "Task002" / f"segrap_{case:04d}.nii.gz", labels)
        write(one_hot / "Task001" / f"segrap_{case:04d}.nii.gz", (labels * 27).astype(np.uint8))


def write_lnctvseg(root: Path, cases: Sequence[int]) -> None:
    """Write LNCTVSeg's files: both phases and the labels of a patient, names as nnU-Net's."""
    for case in cases:
        hu, labels = balls(case)
        write(root / f"lnctvseg{case:04d}_0000.nii.gz", hu)
        write(root / f"lnctvseg{case:04d}_0001.nii.gz", hu)
        # Of its labels the right side comes first.
        write(root / f"lnctvseg{case:04d}.nii.gz", np.choose(labels, (0, 2, 1)).astype(np.uint8))


def write_han5k(root: Path, drawn: Mapping[int, Sequence[str]], balls_named: Sequence[str] = BALLS) -> None:
    """Write RADCURE cases with one mask per structure that was drawn, of the two that there are."""
    for case, names in drawn.items():
        hu, labels = balls(case)
        write(root / "images" / f"RADCURE-{case:04d}_0000.nii.gz", hu)
        for name in names:
            mask = labels == balls_named.index(name) + 1
            write(root / "masks" / f"RADCURE-{case:04d}" / f"{name}.nii.gz", mask.astype(np.uint8))


def write_radcure_dicom(root: Path, case: int) -> None:
    """Write one RADCURE case as The Cancer Imaging Archive has it: DICOM slices below the patient's folder."""
    plan = CtPlan(slices=12, rows=20, columns=18)
    folder = root / f"RADCURE-{case:04d}" / "01-01-2000" / "1.000000-Body"
    for number, path in enumerate(write_series(folder, ct_datasets(plan)), start=1):
        path.rename(folder / f"1-{number:03d}.dcm")


def write_lnq(root: Path, train: Sequence[int], val: Sequence[int] = ()) -> None:
    """Write LNQ2023's files; in training cases only the first of two nodes is drawn."""
    for part, cases in (("train", train), ("val", val)):
        for case in cases:
            hu, labels = balls(case)
            hu = np.where(labels != 0, 80, hu).astype(np.int16)
            nodes = (labels == 1) if part == "train" else (labels != 0)
            write(root / part / f"lnq2023-{part}-{case:04d}-ct.nrrd", hu)
            write(root / part / f"lnq2023-{part}-{case:04d}-seg.nrrd", nodes.astype(np.uint8))


def write_npc_mri(root: Path, cases: Sequence[int]) -> None:
    """Write MR cases: three DICOM series and a mask on the third; T1 has half as many pixels."""
    for case in cases:
        folder = root / "MRI-Segments" / f"{case:03d}"
        coarse = CtPlan(slices=12, rows=10, columns=9, pixel_spacing_mm=(3.0, 3.0), slice_spacing_mm=3.0)
        for name, plan in (("T1WI", coarse), ("T2WI", MR_PLAN), ("CE-T1WI", MR_PLAN)):
            write_series(folder / name, mr_datasets(plan))
        mask = np.zeros((MR_PLAN.slices, MR_PLAN.rows, MR_PLAN.columns), dtype=np.uint8)
        mask[3:7, 5:12, 4:10] = 255
        drawn = SimpleITK.GetImageFromArray(mask)
        drawn.SetSpacing((1.5, 1.5, 3.0))
        drawn.SetOrigin(MR_PLAN.origin_lps_mm)
        SimpleITK.WriteImage(drawn, folder / "ROI-CE-T1.nii")


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "segrap2023_oar": lambda root: write_segrap(root, range(3)),
    "segrap2023_gtv": lambda root: write_segrap(root, range(3)),
    "lnctvseg": lambda root: write_lnctvseg(root, range(1, 4)),
    "han5k": lambda root: write_han5k(root, {1: BALLS[:1], 2: BALLS[1:], 3: BALLS}),
    "lnq2023": lambda root: write_lnq(root, range(1, 3), range(3, 4)),
    "npc_mri": lambda root: write_npc_mri(root, range(1, 4)),
}
"""By recipe."""
