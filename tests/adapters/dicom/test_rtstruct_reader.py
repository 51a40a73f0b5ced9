"""Anyone's RTSTRUCT reads: keyholes, inner contours, explicit VR, long contours written as UN, no preamble."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from npc_contour.adapters.dicom.rtstruct_reader import read_rtstruct
from npc_contour.core.contouring import ContourOptions
from npc_contour.core.rasterise import rasterise_roi
from npc_contour.domain.profiles import Holes
from npc_contour.errors import InstanceRefused
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import Planning, encoded, on_grid, planning_series


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), CtPlan(slices=4, rows=30, columns=30))


def ring(planning: Planning) -> np.ndarray:
    _, y, x = np.indices(planning.volume.grid.shape_zyx)
    radius = np.hypot(y - 15, x - 14)
    mask: np.ndarray = (radius < 12) & (radius > 5) | (radius < 3)
    return mask


@pytest.mark.parametrize("holes", list(Holes))
def test_holes_read_the_same_however_they_are_written(planning: Planning, holes: Holes) -> None:
    data = encoded(planning, {"Ring": ring(planning)}, options=ContourOptions(holes=holes))

    (roi,) = read_rtstruct(data).rois

    back = on_grid(rasterise_roi(roi.closed_lps_mm, planning.volume), planning.volume.grid)
    np.testing.assert_array_equal(back, ring(planning))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_any_transfer_syntax_reads(planning: Planning, syntax: UID, tmp_path: Path) -> None:
    dataset = dcmread(BytesIO(encoded(planning, {"Ring": ring(planning)})))
    dataset.walk(lambda _, element: element.value)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "other.dcm"
    dataset.save_as(path)

    (roi,) = read_rtstruct(path).rois

    back = on_grid(rasterise_roi(roi.closed_lps_mm, planning.volume), planning.volume.grid)
    np.testing.assert_array_equal(back, ring(planning))


@pytest.mark.filterwarnings("ignore:The value for the data element:UserWarning")
def test_a_contour_too_long_for_explicit_vr_reads(planning: Planning, tmp_path: Path) -> None:
    dataset = dcmread(BytesIO(encoded(planning, {"Ring": ring(planning)})))
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    angles = np.linspace(0, 2 * np.pi, 6000, endpoint=False)
    points = np.column_stack([10 * np.cos(angles), 10 * np.sin(angles), np.full(6000, 100.0)]).round(6)
    contour.ContourData = [f"{value:.6f}" for value in points.ravel()]
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "long.dcm"
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    assert dcmread(path).ROIContourSequence[0].ContourSequence[0].get_item("ContourData").VR == "UN"

    (roi,) = read_rtstruct(path).rois

    np.testing.assert_allclose(roi.contours[0].points_lps_mm, points, atol=1e-6)


def test_names_types_colours_and_references_are_read(planning: Planning) -> None:
    content = read_rtstruct(encoded(planning, {"Ring": ring(planning)}))

    (roi,) = content.rois
    assert (content.label, content.approval_status) == ("Test set", "UNAPPROVED")
    assert (roi.name, roi.number, roi.interpreted_type, roi.colour_rgb) == ("Ring", 1, "ORGAN", (200, 80, 40))
    assert roi.volume_cc == pytest.approx(np.count_nonzero(ring(planning)) * planning.volume.grid.voxel_cc, rel=1e-5)
    assert content.image_sop_instance_uids == planning.volume.sop_instance_uids
    assert {contour.sop_instance_uids for contour in roi.contours} <= {
        (uid,) for uid in planning.volume.sop_instance_uids
    }


def test_a_foreign_rtstruct_reads() -> None:
    content = read_rtstruct(Path(str(get_testdata_file("rtstruct.dcm"))))

    assert content.rois
    for roi in content.rois:
        for contour in roi.contours:
            assert contour.points_lps_mm.shape[1] == 3


def test_an_image_is_refused(planning: Planning) -> None:
    with pytest.raises(InstanceRefused, match="expected RT Structure Set Storage"):
        read_rtstruct(next(planning.folder.iterdir()))


def test_what_is_not_dicom_is_refused() -> None:
    with pytest.raises(InstanceRefused, match="not a DICOM file"):
        read_rtstruct(b"not DICOM" * 50)


def test_contour_data_that_is_no_text_of_numbers_is_refused(planning: Planning) -> None:
    data = encoded(planning, {"Ring": ring(planning)})
    start = data.index(b"\x06\x30\x50\x00") + 8
    broken = data[:start] + b"abcd" + data[start + 4 :]

    with pytest.raises(InstanceRefused, match="Contour Data cannot be read"):
        read_rtstruct(broken)
