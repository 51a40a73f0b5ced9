"""A Spatial Registration moves positions as it says, or is refused: only what is rigid is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SpatialRegistrationStorage

from npc_contour.adapters.dicom.read.registration import read_registration
from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.core.grouping import aside_reason
from npc_contour.core.registrations import way_between
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused

TURN = np.array([[0.0, -1, 0, 10], [1, 0, 0, -5], [0, 0, 1, 2], [0, 0, 0, 1]])
SHIFT = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 30], [0, 0, 0, 1]])


def item(frame: str, *matrices: np.ndarray, kind: str = "RIGID") -> Dataset:
    steps = []
    for matrix in matrices:
        step = Dataset()
        step.FrameOfReferenceTransformationMatrixType = kind
        step.FrameOfReferenceTransformationMatrix = [f"{value:.6g}" for value in matrix.ravel()]
        steps.append(step)
    registration, whole = Dataset(), Dataset()
    registration.MatrixSequence = Sequence(steps)
    whole.FrameOfReferenceUID, whole.MatrixRegistrationSequence = frame, Sequence([registration])
    return whole


def write(path: Path, *items: Dataset, frame: str = "9.1") -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SpatialRegistrationStorage, UID("1.5.66")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = SpatialRegistrationStorage, UID("1.5.66")
    dataset.Modality = "REG"
    dataset.FrameOfReferenceUID, dataset.RegistrationSequence = frame, Sequence(items)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_positions_go_where_the_matrices_say_one_after_the_other(tmp_path: Path) -> None:
    (move,) = read_registration(write(tmp_path / "r.dcm", item("9.1", np.eye(4)), item("9.2", TURN, SHIFT)))

    assert (move.source_frame_uid, move.target_frame_uid, move.sop_instance_uids) == ("9.2", "9.1", ("1.5.66",))
    np.testing.assert_allclose(move.points(np.array([[1.0, 2.0, 3.0]])), [[10 - 2, 1 - 5, 3 + 2 + 30]], atol=1e-5)


def test_two_frames_are_linked_through_the_registered_one(tmp_path: Path) -> None:
    moves = read_registration(write(tmp_path / "r.dcm", item("9.2", TURN), item("9.3", SHIFT)))

    way = way_between(moves, "9.2", "9.3")

    assert way is not None
    np.testing.assert_allclose(way.points(np.array([0.0, 0.0, 0.0])), [10, -5, 2 - 30], atol=1e-5)
    assert way_between(moves, "9.2", "9.9") is None


def test_the_way_back_undoes_the_way(tmp_path: Path) -> None:
    (move,) = read_registration(write(tmp_path / "r.dcm", item("9.2", TURN)))
    points = np.array([[3.0, -7.0, 11.0]])

    np.testing.assert_allclose(move.inverse().points(move.points(points)), points, atol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "kind", "problem"),
    [
        (SHIFT * np.array([[2.0], [1], [1], [1]]), "RIGID", "is not rigid"),
        (np.diag([1.0, 1, -1, 1]), "RIGID", "is not rigid"),
        (SHIFT, "AFFINE", "type AFFINE is not rigid"),
        (SHIFT[:3], "RIGID", "has 12 numbers"),
    ],
)
def test_what_is_not_rigid_is_refused(tmp_path: Path, matrix: np.ndarray, kind: str, problem: str) -> None:
    with pytest.raises(InstanceRefused, match=problem):
        read_registration(write(tmp_path / "r.dcm", item("9.2", matrix, kind=kind)))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.dcm").write_bytes(b"no DICOM")

    with pytest.raises(InstanceRefused, match="not a DICOM file"):
        read_registration(tmp_path / "r.dcm")
    with pytest.raises(InstanceRefused, match="no Frame of Reference"):
        read_registration(write(tmp_path / "s.dcm", frame=""))


def test_the_door_takes_a_registration_and_it_is_left_aside_as_one(tmp_path: Path) -> None:
    path = write(tmp_path / "r.dcm", item("9.2", TURN))
    dataset = dcmread(path)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2.3"), UID("1.2.3.66")
    dataset.save_as(path, enforce_file_format=True)
    noted: list[InstanceHeader] = []
    spool = Spool(tmp_path / "spool", min_free_mb=0)
    keeper = FileKeeper(spool, lambda header, key, _row: noted.append(replace(header, key=key)), lambda *_: None)

    keeper.keep(path.read_bytes(), AssociationRow("a", "receiver-0", "TPS", "NPC_CONTOUR", "127.0.0.1"))

    (header,) = noted
    assert aside_reason(header) == "a spatial registration"
    (move,) = read_registration(spool.open_path(header.key))
    assert move.source_frame_uid == "9.2"


@pytest.mark.parametrize("implicit", [False, True])
def test_a_matrix_that_is_written_twice_is_refused_however_deep_it_lies(tmp_path: Path, *, implicit: bool) -> None:
    path = write(tmp_path / "r.dcm", item("9.2", TURN))
    dataset = dcmread(path)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    _open_ended(dataset)  # so that no length around the matrix has to change
    dataset.save_as(path, implicit_vr=implicit, little_endian=True)
    data = path.read_bytes()
    start = data.index(bytes.fromhex("0630c600"))
    head, length = 8, data[start + (4 if implicit else 6)]
    element = data[start : start + head + length]
    other = element.replace(b"-1", b"-7")
    path.write_bytes(data.replace(element, element + other))

    with pytest.raises(InstanceRefused, match=r"FrameOfReferenceTransformationMatrix.* occurs twice"):
        read_registration(path)

    path.write_bytes(data.replace(element, element + element))
    assert read_registration(path)


def _open_ended(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for one in element.value:
                one.is_undefined_length_sequence_item = True
                _open_ended(one)
