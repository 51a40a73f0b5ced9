"""What is fetched from a PACS is what the PACS has, byte for byte, or it is counted as not fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.pacs.archive import DicomArchive
from npc_contour.adapters.dicom.read.headers import split_file
from npc_contour.adapters.dicom.send.scu import send_series
from npc_contour.adapters.dicomweb import WebArchive
from npc_contour.application.ports import Archive
from npc_contour.domain.queries import ArchiveNode, Match, Query, QueryLevel, QueryRoot, Retrieval, Wanted
from npc_contour.errors import ArchiveError, InstanceRefused, SpoolFullError
from npc_testkit.archives import OUR_AE, Archived, dcmqrscp, orthanc_archive
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets, write_series
from npc_testkit.peers import free_port, storescp

PLAIN, CONTRAST = CtPlan(seed="plain", slices=6), CtPlan(seed="contrast", slices=4, contrast_agent="IODINE")
STUDY = str(ct_datasets(PLAIN)[0].StudyInstanceUID)
SERIES = str(ct_datasets(CONTRAST)[0].SeriesInstanceUID)
WEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def data_sets(plan: CtPlan) -> set[bytes]:
    return {bytes(split_file(as_bytes(dataset))[1]) for dataset in ct_datasets(plan)}


def filled(folder: Path, node: Archived) -> Archived:
    for plan in (PLAIN, CONTRAST):
        write_series(folder / "files" / plan.seed, ct_datasets(plan))
    assert not send_series(folder / "files", node.destination, OUR_AE, 20.0).failures
    return node


@pytest.fixture(scope="module")
def orthanc_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archived, int]]:
    """Orthanc with two series, and the port to which its C-MOVE for us goes."""
    folder, port = tmp_path_factory.mktemp("orthanc"), free_port()
    with orthanc_archive(folder, move_to_port=port, plugins=[WEB_PLUGIN]) as node:
        yield filled(folder, node), port


@pytest.fixture(scope="module")
def dcmtk_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    folder = tmp_path_factory.mktemp("dcmqrscp")
    with dcmqrscp(folder) as node:
        yield filled(folder, node)


def archive_of(kind: str, request: pytest.FixtureRequest) -> Archive:
    if kind == "dcmqrscp C-GET":
        return DicomArchive(request.getfixturevalue("dcmtk_node").archive, OUR_AE, 10.0)
    node, _ = request.getfixturevalue("orthanc_node")
    if kind == "orthanc C-GET":
        return DicomArchive(node.archive, OUR_AE, 10.0)
    return WebArchive(web_node(node), 10.0)


def web_node(node: Archived) -> ArchiveNode:
    return ArchiveNode(
        name="pacs",
        ae_title="PACS",
        host="127.0.0.1",
        port=node.archive.port,
        web_url=f"http://127.0.0.1:{node.http_port}/dicom-web",
        retrieval=Retrieval.WEB,
    )


@pytest.mark.parametrize("kind", ["dcmqrscp C-GET", "orthanc C-GET", "orthanc WADO-RS"])
def test_a_series_arrives_byte_for_byte(kind: str, request: pytest.FixtureRequest) -> None:
    files: list[bytes] = []
    told: list[tuple[int, int]] = []

    result = archive_of(kind, request).retrieve(
        Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES),
        files.append,
        lambda done, total: told.append((done, total)),
    )

    assert (result.completed, result.failed) == (4, 0)
    assert {bytes(split_file(file)[1]) for file in files} == data_sets(CONTRAST)
    assert told[-1] == (4, 4)


@pytest.mark.parametrize("kind", ["dcmqrscp C-GET", "orthanc C-GET", "orthanc WADO-RS"])
def test_images_and_studies_are_fetched_as_well(kind: str, request: pytest.FixtureRequest) -> None:
    archive, files = archive_of(kind, request), list[bytes]()
    uid = str(ct_datasets(CONTRAST)[1].SOPInstanceUID)

    archive.retrieve(
        Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES, sop_instance_uids=(uid,)), files.append
    )
    assert [split_file(file)[0].uid("MediaStorageSOPInstanceUID") for file in files] == [uid]

    assert archive.retrieve(Wanted(study_instance_uid=STUDY), files.append).completed == 10


@pytest.mark.parametrize("kind", ["orthanc C-GET", "orthanc WADO-RS"])
def test_what_we_refuse_counts_as_failed(kind: str, request: pytest.FixtureRequest) -> None:
    def keep(_: bytes) -> None:
        raise InstanceRefused("not taken", status=0xA900)

    result = archive_of(kind, request).retrieve(Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES), keep)

    assert (result.completed, result.failed) == (0, 4)


def test_a_full_disk_ends_a_retrieval_as_an_error(dcmtk_node: Archived) -> None:
    def keep(_: bytes) -> None:
        raise SpoolFullError("no room")

    with pytest.raises(ArchiveError, match="could not be kept: no room"):
        DicomArchive(dcmtk_node.archive, OUR_AE, 10.0).retrieve(Wanted(study_instance_uid=STUDY), keep)


def test_c_move_sends_to_our_front_door(orthanc_node: tuple[Archived, int], tmp_path: Path) -> None:
    node, port = orthanc_node
    moving = ArchiveNode(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=node.archive.port, retrieval=Retrieval.MOVE
    )
    with storescp(tmp_path / "in", ae_title=OUR_AE, port=port):
        result = DicomArchive(moving, OUR_AE, 10.0).retrieve(
            Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES), lambda _: None
        )

    assert (result.completed, result.failed) == (4, 0)
    assert len(list((tmp_path / "in").iterdir())) == 4


def test_an_ae_title_that_the_archive_does_not_know_is_told(dcmtk_node: Archived) -> None:
    moving = ArchiveNode(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=dcmtk_node.archive.port, retrieval=Retrieval.MOVE
    )

    with pytest.raises(ArchiveError, match="0xA801 refused: it does not know where to send"):
        DicomArchive(moving, "NOBODY", 10.0).retrieve(Wanted(study_instance_uid=STUDY), lambda _: None)


def test_the_patient_root_model_fetches_too(dcmtk_node: Archived) -> None:
    node, files = dcmtk_node.archive, list[bytes]()
    by_patient = ArchiveNode(
        name=node.name, ae_title=node.ae_title, host=node.host, port=node.port, root=QueryRoot.PATIENT
    )

    DicomArchive(by_patient, OUR_AE, 10.0).retrieve(Wanted(study_instance_uid=STUDY, patient_id="TK0001"), files.append)

    assert len(files) == 10


def uids(match: Match) -> tuple[str, str, str]:
    return match.study_instance_uid, match.series_instance_uid, match.sop_instance_uid


def test_qido_finds_what_c_find_finds(orthanc_node: tuple[Archived, int]) -> None:
    node, _ = orthanc_node
    dimse, web = DicomArchive(node.archive, OUR_AE, 10.0), WebArchive(web_node(node), 10.0)

    for query in (
        Query(level=QueryLevel.STUDY, patient_id="TK0001", modality="CT"),
        Query(level=QueryLevel.STUDY, patient_id="TK0002"),
        Query(level=QueryLevel.SERIES, study_instance_uid=STUDY, modality="CT"),
        Query(level=QueryLevel.SERIES, study_instance_uid=STUDY, modality="MR"),
        Query(level=QueryLevel.IMAGE, study_instance_uid=STUDY, series_instance_uid=SERIES),
    ):
        wire, web_found = dimse.find(query), web.find(query)
        assert {uids(match) for match in wire} == {uids(match) for match in web_found}
        if query.level is not QueryLevel.IMAGE:
            assert {match.description for match in wire} == {match.description for match in web_found}


def test_a_web_archive_that_is_none_is_told(orthanc_node: tuple[Archived, int]) -> None:
    node, _ = orthanc_node
    absent = WebArchive(
        ArchiveNode(name="pacs", ae_title="A", host="h", port=1, web_url=f"http://127.0.0.1:{free_port()}/x"), 2.0
    )
    wrong = WebArchive(
        ArchiveNode(name="pacs", ae_title="A", host="h", port=1, web_url=f"http://127.0.0.1:{node.http_port}/nothing"),
        5.0,
    )
    with pytest.raises(ArchiveError, match="does not answer QIDO-RS: cannot be reached"):
        absent.find(Query(level=QueryLevel.STUDY))
    with pytest.raises(ArchiveError, match="answered QIDO-RS with HTTP 404"):
        wrong.find(Query(level=QueryLevel.STUDY))
    with pytest.raises(ArchiveError, match="answered WADO-RS with HTTP 404"):
        wrong.retrieve(Wanted(study_instance_uid=STUDY), lambda _: None)
