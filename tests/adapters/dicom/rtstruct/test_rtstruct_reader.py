"""Anyone's RTSTRUCT reads: keyholes, inner contours, explicit VR, long contours written as UN, no preamble."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
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

    with pytest.raises(InstanceRefused, match="Contour Data of ROI 'Ring' cannot be read"):
        read_rtstruct(broken)


def changed(planning: Planning, change: Callable[[Dataset], object]) -> bytes:
    """An RTSTRUCT with two ROIs, changed by hand and written again."""
    dataset = dcmread(BytesIO(encoded(planning, {"Ring": ring(planning), "Core": ring(planning)})))
    dataset.walk(lambda _, element: element.value)
    change(dataset)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.85, 0.999])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_cut_short_is_refused(planning: Planning, syntax: UID, kept: float) -> None:
    def rewrite(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax

    whole = changed(planning, rewrite)
    assert len(read_rtstruct(whole).rois) == 2

    with pytest.raises(InstanceRefused, match=r"no whole DICOM file|cut short"):
        read_rtstruct(whole[: int(len(whole) * kept)])


def test_a_file_without_its_contours_is_refused(planning: Planning) -> None:
    with pytest.raises(InstanceRefused, match="there is no ROI Contour Sequence"):
        read_rtstruct(changed(planning, lambda dataset: dataset.__delattr__("ROIContourSequence")))


def test_rois_with_one_number_are_refused_and_numbers_are_compared_as_integers(planning: Planning) -> None:
    def renumber(dataset: Dataset) -> None:
        dataset.StructureSetROISequence[1].ROINumber = "1"

    def pad(dataset: Dataset) -> None:
        for item in dataset.ROIContourSequence:
            item["ReferencedROINumber"] = DataElement(0x30060084, "LO", f"0{item.ReferencedROINumber}")

    with pytest.raises(InstanceRefused, match="several ROIs have the number 1"):
        read_rtstruct(changed(planning, renumber))
    assert all(roi.contours for roi in read_rtstruct(changed(planning, pad)).rois)


def test_items_that_belong_together_are_united_and_those_of_no_roi_are_told(planning: Planning) -> None:
    def split(dataset: Dataset) -> None:
        dataset.ROIContourSequence[1].ReferencedROINumber = 1

    def orphan(dataset: Dataset) -> None:
        dataset.ROIContourSequence[1].ReferencedROINumber = 17

    united = read_rtstruct(changed(planning, split))
    alone = read_rtstruct(changed(planning, orphan))

    assert united.rois[0].notes == ("its contours come in 2 items, all are taken",)
    assert len(united.rois[0].contours) == 2 * len(alone.rois[0].contours)
    assert "of ROI number 17, which the file does not name, are left out" in alone.notes[0]


def test_an_offset_moves_the_contours_and_is_told(planning: Planning) -> None:
    def move(dataset: Dataset) -> None:
        for contour in dataset.ROIContourSequence[0].ContourSequence:
            contour.add(DataElement(0x30060045, "DS", ["0", "0", "6"]))

    moved, still = read_rtstruct(changed(planning, move)).rois

    offset = moved.contours[0].points_lps_mm - still.contours[0].points_lps_mm
    np.testing.assert_allclose(offset, np.broadcast_to([0.0, 0.0, 6.0], offset.shape), atol=1e-6)
    assert moved.notes == (f"Contour Offset Vector moves {len(moved.contours)} contours",)


def test_another_number_of_points_than_a_contour_says_is_told(planning: Planning) -> None:
    def cut(dataset: Dataset) -> None:
        dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 9999

    odd, _ = read_rtstruct(changed(planning, cut)).rois

    assert odd.notes == ("1 contours hold another number of points than they say: were they cut?",)


@pytest.mark.parametrize("number", [b"nan", b"inf"])
def test_a_number_that_is_not_finite_is_refused(planning: Planning, number: bytes) -> None:
    data = encoded(planning, {"Ring": ring(planning)})
    start = data.index(b"\x06\x30\x50\x00") + 8
    end = data.index(b"\\", start)

    with pytest.raises(InstanceRefused, match="not finite"):
        read_rtstruct(data[:start] + number.rjust(end - start) + data[end:])


def test_names_in_iso_2022_are_decoded(planning: Planning) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = ["", "ISO 2022 IR 58"]
        dataset.StructureSetROISequence[0].ROIName = "XXXXXXXX"

    data = changed(planning, rename).replace(b"XXXXXXXX", b"\x1b$)A\xc4\xd4\xb8\xc9")
    first, second = read_rtstruct(data).rois

    assert (first.name, second.name) == ("脑干", "Core")
