"""Validators and readers that nobody here wrote accept the RTSTRUCT and get the masks back."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.core.contouring import ContourOptions
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.domain.profiles import Holes
from npc_testkit.ct_series import CtPlan, ct_datasets
from npc_testkit.peers import run_tool
from npc_testkit.rtstructs import (
    MADE_AT,
    Mask,
    Planning,
    crops,
    dcmrtstruct2nii_masks,
    dice,
    encoded,
    plain_series,
    planning_of,
    planning_series,
    plastimatch_masks,
    spec,
    structure_set,
)

OBLIQUE = (0.96, 0.0, 0.28, 0.0, 1.0, 0.0)
REPOSITORY = Path(__file__).parents[4]


def shapes(shape_zyx: tuple[int, int, int]) -> dict[str, Mask]:
    """Closed-form shapes: a ball, nested rings, one voxel, a line, islands that touch at a corner, a slab."""
    z, y, x = np.indices(shape_zyx)
    depth, rows, columns = shape_zyx
    radius = np.hypot(y - rows / 2, x - columns / 2)
    ball = np.hypot(radius, 3.0 * (z - depth / 2)) < min(rows, columns) / 3
    rings = ((radius < 14) & (radius > 10) | (radius < 6) & (radius > 3)) & (z > 0) & (z < depth - 1)
    voxel, line, islands, slab = (np.zeros(shape_zyx, dtype=np.bool_) for _ in range(4))
    voxel[depth // 2, rows // 2, columns // 3] = True
    line[1:-1, rows // 3, 4:-4] = True
    islands[2, 5:8, 5:8] = islands[2, 8:11, 8:11] = True
    slab[:, 3:-3, 3:-3] = True
    return {"Ball": ball, "Rings": rings, "Voxel": voxel, "Line": line, "Islands": islands, "Slab": slab}


PLANS = {
    "head first supine": CtPlan(slices=9, rows=40, columns=44),
    "head first prone": CtPlan(slices=9, rows=40, columns=44, patient_position="HFP"),
    "feet first supine": CtPlan(slices=9, rows=40, columns=44, patient_position="FFS"),
    "feet first prone": CtPlan(slices=9, rows=40, columns=44, patient_position="FFP"),
    "square pixels": CtPlan(slices=9, rows=44, columns=44, pixel_spacing_mm=(0.9, 0.9)),
    "odd spacing": CtPlan(slices=9, rows=40, columns=44, pixel_spacing_mm=(0.48828125, 0.48828125)),
}


@pytest.fixture(scope="module", params=PLANS)
def planning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), PLANS[request.param])


def written(planning: Planning, masks: Mapping[str, Mask], folder: Path, **options: ContourOptions) -> Path:
    path = folder / "rtstruct.dcm"
    data = encoded(planning, masks, **options)
    check_rtstruct(data, crops(masks), planning.volume, planning.header)
    path.write_bytes(data)
    return path


def errors_of(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("Error")]


def test_dciodvfy_finds_no_error(planning: Planning, tmp_path: Path) -> None:
    path = written(planning, shapes(planning.volume.grid.shape_zyx), tmp_path)

    done = run_tool("dciodvfy", path)

    assert errors_of(done.stdout + done.stderr) == []
    assert "RTStructureSet" in done.stdout + done.stderr


def test_drtdump_finds_no_error(planning: Planning, tmp_path: Path) -> None:
    path = written(planning, shapes(planning.volume.grid.shape_zyx), tmp_path)

    done = run_tool("drtdump", "--verbose", path)

    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "W:"))]
    assert done.returncode == 0
    assert complaints == []


def test_plastimatch_gets_every_voxel_back(planning: Planning, tmp_path: Path) -> None:
    masks = shapes(planning.volume.grid.shape_zyx)
    path = written(planning, masks, tmp_path)

    read = plastimatch_masks(path, planning, tmp_path / "out", masks)

    for (name, mask), theirs in zip(masks.items(), read, strict=True):
        np.testing.assert_array_equal(theirs, mask, err_msg=name)


def test_dcmrtstruct2nii_gets_every_voxel_back(planning: Planning, tmp_path: Path) -> None:
    masks = shapes(planning.volume.grid.shape_zyx)
    path = written(planning, masks, tmp_path)

    read = dcmrtstruct2nii_masks(path, planning, tmp_path / "out", masks)

    for (name, mask), theirs in zip(masks.items(), read, strict=True):
        np.testing.assert_array_equal(theirs, mask, err_msg=name)


def test_dcmtk_rewrites_it_in_explicit_vr_without_loss(planning: Planning, tmp_path: Path) -> None:
    path = written(planning, shapes(planning.volume.grid.shape_zyx), tmp_path)

    done = run_tool("dcmconv", "+te", path, tmp_path / "explicit.dcm")

    assert done.returncode == 0, done.stderr
    ours, theirs = read_rtstruct(path), read_rtstruct(tmp_path / "explicit.dcm")
    assert errors_of(run_tool("dciodvfy", tmp_path / "explicit.dcm").stderr) == []
    for first, second in zip(ours.rois, theirs.rois, strict=True):
        assert first.name == second.name
        for contour, again in zip(first.contours, second.contours, strict=True):
            np.testing.assert_array_equal(contour.points_lps_mm, again.points_lps_mm)


def test_no_number_is_longer_than_16_characters(planning: Planning, tmp_path: Path) -> None:
    path = written(planning, shapes(planning.volume.grid.shape_zyx), tmp_path)

    dump = run_tool("dcmdump", "+L", "+P", "3006,0050", path).stdout

    values = re.findall(r"\[([^\]]*)\]", dump)
    assert len(values) > 20
    assert max(len(number) for value in values for number in value.split("\\")) <= 16


def test_an_oblique_stack_validates_and_reads_back(tmp_path: Path) -> None:
    planning = planning_series(tmp_path / "ct", CtPlan(slices=9, rows=40, columns=44, orientation=OBLIQUE))

    path = written(planning, shapes(planning.volume.grid.shape_zyx), tmp_path)

    assert errors_of(run_tool("dciodvfy", path).stderr) == []


def test_slices_shifted_in_their_planes_read_back(tmp_path: Path) -> None:
    datasets = ct_datasets(CtPlan(slices=9, rows=40, columns=44))
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient[2] += 0.004 * (index % 2)
    planning = planning_of(tmp_path / "ct", datasets)

    path = written(planning, shapes(planning.volume.grid.shape_zyx), tmp_path)

    heights = {contour.points_lps_mm[0, 2] for roi in read_rtstruct(path).rois for contour in roi.contours}
    assert heights <= {float(dataset.ImagePositionPatient[2]) for dataset in datasets}


def test_a_body_contour_fits_explicit_vr(tmp_path: Path) -> None:
    planning = plain_series(tmp_path / "ct", CtPlan(slices=4, rows=512, columns=512, pixel_spacing_mm=(0.9, 0.9)))
    rng = np.random.default_rng(3)
    _, y, x = np.indices((4, 512, 512))
    body = np.hypot(y - 256, x - 256) < 230 + 3 * rng.random((4, 512, 512))

    path = written(planning, {"External": body}, tmp_path)

    explicit = tmp_path / "explicit.dcm"
    assert run_tool("dcmconv", "+te", path, explicit).returncode == 0
    dump = run_tool("dcmdump", "+P", "3006,0050", explicit).stdout
    assert re.findall(r"\(3006,0050\) (\w\w)", dump) == ["DS"] * len(re.findall(r"\(3006,0050\)", dump))
    (roi,) = read_rtstruct(path).rois
    assert max(len(contour.points_lps_mm) for contour in roi.contours) > 1500


def test_inner_contours_instead_of_keyholes_validate(planning: Planning, tmp_path: Path) -> None:
    masks = shapes(planning.volume.grid.shape_zyx)

    path = written(planning, masks, tmp_path, options=ContourOptions(holes=Holes.PARITY))

    assert errors_of(run_tool("dciodvfy", path).stderr) == []


@pytest.mark.filterwarnings("ignore")
def test_rt_utils_gets_every_voxel_back(tmp_path: Path) -> None:
    rt_utils = pytest.importorskip("rt_utils", exc_type=ImportError)
    planning = planning_series(tmp_path / "ct", PLANS["square pixels"])
    masks = shapes(planning.volume.grid.shape_zyx)
    path = written(planning, masks, tmp_path)

    read = rt_utils.RTStructBuilder.create_from(dicom_series_path=str(planning.folder), rt_struct_path=str(path))

    for name, mask in masks.items():
        assert dice(np.moveaxis(read.get_roi_mask_by_name(name), 2, 0), mask) == 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """A real patient's 47 masks on a CT series of their grid, and their RTSTRUCT."""

    planning: Planning
    masks: tuple[RoiMask, ...]
    rtstruct: Path


def data_folder() -> Path:
    for folder in (REPOSITORY.parent / "shared" / "data", REPOSITORY / "shared" / "data"):
        if folder.is_dir():
            return folder
    pytest.skip("the real masks (shared/data) are not beside this checkout")


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    folder, scratch = data_folder(), tmp_path_factory.mktemp("patient")
    with (folder.parent / "structures.csv").open() as file:
        names = [row["roi_name"] for row in csv.DictReader(file) if row["pipeline"] in {"npc_oar", "npc_gtv"}]
    masks: list[RoiMask] = []
    for file_name in ("segrap_oars_example.mha", "segrap_gtvs_example.mha"):
        image = SimpleITK.ReadImage(str(folder / file_name))
        masks += [
            mask_of_array(spec(names[len(masks) + index]), mask)
            for index, mask in enumerate(SimpleITK.GetArrayViewFromImage(image))
        ]
    plan = CtPlan(
        slices=127,
        rows=464,
        columns=914,
        pixel_spacing_mm=(0.5234, 0.5234),
        slice_spacing_mm=3.0,
        origin_lps_mm=(-238.9, -121.2, -412.5),
    )
    planning = plain_series(scratch / "ct", plan)
    content = structure_set(tuple(masks), planning.volume)
    path = scratch / "rtstruct.dcm"
    path.write_bytes(encode_rtstruct(content, planning.volume, planning.header, made_at=MADE_AT))
    return Patient(planning, tuple(masks), path)


def test_real_structures_read_back_exactly_by_the_gate(patient: Patient) -> None:
    data = patient.rtstruct.read_bytes()

    report = check_rtstruct(data, patient.masks, patient.planning.volume, patient.planning.header)

    assert len(report.rois) == 47
    assert sum(roi.differing_voxels for roi in report.rois) == 0


def test_real_structures_read_back_by_plastimatch(patient: Patient, tmp_path: Path) -> None:
    shape = patient.planning.volume.grid.shape_zyx
    names = [mask.spec.name for mask in patient.masks]
    read = plastimatch_masks(patient.rtstruct, patient.planning, tmp_path / "out", names)

    worst = min(dice(back, mask.on_grid(shape)) for back, mask in zip(read, patient.masks, strict=True))

    assert worst >= 0.999


def test_real_structures_validate_and_stay_small(patient: Patient) -> None:
    assert errors_of(run_tool("dciodvfy", patient.rtstruct).stderr) == []
    assert patient.rtstruct.stat().st_size < 1.7e6
