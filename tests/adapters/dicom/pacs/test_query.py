"""What a PACS answers to C-FIND is told truthfully: what was asked for, all of it, or an error that says why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from npc_contour.adapters.dicom.pacs.query import FIND_MODELS, find, find_identifier
from npc_contour.adapters.dicom.send.scu import send_series
from npc_contour.domain.queries import ArchiveNode, Match, Query, QueryLevel, QueryRoot
from npc_contour.errors import ArchiveError
from npc_testkit.archives import OUR_AE, dcmqrscp, orthanc_archive
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.peers import free_port

PLAIN, CONTRAST = CtPlan(seed="plain", slices=6), CtPlan(seed="contrast", slices=4, description="NECK C+")
STUDY = str(ct_datasets(PLAIN)[0].StudyInstanceUID)


def node_at(port: int, root: QueryRoot = QueryRoot.STUDY) -> ArchiveNode:
    return ArchiveNode(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, root=root)


def ask(node: ArchiveNode, query: Query) -> tuple[Match, ...]:
    return find(node, query, OUR_AE, 10.0)


@pytest.fixture(scope="module", params=[orthanc_archive, dcmqrscp])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveNode]:
    """An archive with two series of one study, twice: Orthanc and DCMTK's."""
    folder = tmp_path_factory.mktemp("archive")
    for plan in (PLAIN, CONTRAST):
        write_series(folder / "files" / plan.seed, ct_datasets(plan))
    with request.param(folder) as node:
        destination = node.destination
        assert not send_series(folder / "files", destination, OUR_AE, 20.0).failures
        yield node.archive


def test_a_study_is_found_by_patient_and_date(archive: ArchiveNode) -> None:
    day = date(2026, 1, 2)

    matches = ask(archive, Query(level=QueryLevel.STUDY, patient_id="TK0001", since=day, until=day, modality="CT"))

    assert [(match.study_instance_uid, match.patient_id, match.study_date) for match in matches] == [
        (STUDY, "TK0001", "20260102")
    ]


def test_another_day_patient_or_modality_finds_nothing(archive: ArchiveNode) -> None:
    for query in (
        Query(level=QueryLevel.STUDY, patient_id="TK0002"),
        Query(level=QueryLevel.STUDY, patient_id="TK0001", since=date(2026, 1, 3)),
        Query(level=QueryLevel.SERIES, study_instance_uid=STUDY, modality="MR"),
    ):
        assert ask(archive, query) == ()


def test_series_and_images_of_a_study(archive: ArchiveNode) -> None:
    series = ask(archive, Query(level=QueryLevel.SERIES, study_instance_uid=STUDY, modality="CT"))

    images = {
        match.series_instance_uid: ask(
            archive,
            Query(level=QueryLevel.IMAGE, study_instance_uid=STUDY, series_instance_uid=match.series_instance_uid),
        )
        for match in series
    }
    contrast = str(ct_datasets(CONTRAST)[0].SeriesInstanceUID)
    assert sorted(len(found) for found in images.values()) == [4, 6]
    expected = {str(dataset.SOPInstanceUID) for dataset in ct_datasets(CONTRAST)}
    assert {image.sop_instance_uid for image in images[contrast]} == expected


def test_the_patient_root_model_finds_the_same(archive: ArchiveNode) -> None:
    patient_root = ArchiveNode(
        name="pacs", ae_title=archive.ae_title, host=archive.host, port=archive.port, root=QueryRoot.PATIENT
    )
    query = Query(level=QueryLevel.SERIES, study_instance_uid=STUDY, patient_id="TK0001")

    found = {match.series_instance_uid for match in ask(patient_root, query)}

    assert found == {match.series_instance_uid for match in ask(archive, query)}
    assert len(found) == 2


def test_the_patient_root_model_needs_a_patient() -> None:
    with pytest.raises(ArchiveError, match='needs a patient\'s ID; give one, or set root = "study"'):
        find_identifier(Query(level=QueryLevel.STUDY), QueryRoot.PATIENT)


@contextmanager
def answering(answers: Sequence[tuple[int, Dataset | None]]) -> Iterator[ArchiveNode]:
    """Run a PACS that answers every C-FIND so, whatever was asked."""
    entity = AE(ae_title="PACS")
    for model in FIND_MODELS.values():
        entity.add_supported_context(model)

    def answer(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        yield from answers

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    assert isinstance(server, ThreadedAssociationServer)
    try:
        yield node_at(int(server.server_address[1]))
    finally:
        server.shutdown()


def study_match(**elements: object) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = "STUDY"
    answer.StudyInstanceUID = "2.25.5"
    for keyword, value in elements.items():
        setattr(answer, keyword, value)
    return answer


def test_answers_that_were_not_asked_for_are_dropped() -> None:
    """Archives ignore keys they do not support and answer everything."""
    mine, other = study_match(AccessionNumber="A1"), study_match(AccessionNumber="A2", StudyInstanceUID="2.25.6")
    with answering([(0xFF01, mine), (0xFF01, other), (0x0000, None)]) as node:
        matches = ask(node, Query(level=QueryLevel.STUDY, accession_number="A1"))

    assert [match.study_instance_uid for match in matches] == ["2.25.5"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA700, "out of resources"),
        (0xA900, "keys do not match"),
        (0xC123, "cannot process"),
        (0x0122, "not supported"),
    ],
)
def test_a_refusal_is_told_in_words(status: int, words: str) -> None:
    with answering([(0xFF00, study_match()), (status, None)]) as node, pytest.raises(ArchiveError, match=words):
        ask(node, Query(level=QueryLevel.STUDY))


def test_more_matches_than_are_taken_are_no_answer() -> None:
    with (
        answering([(0xFF00, study_match())] * 40 + [(0x0000, None)]) as node,
        pytest.raises(ArchiveError, match="more than 10 matches: narrow the query"),
    ):
        find(node, Query(level=QueryLevel.STUDY), OUR_AE, 10.0, max_matches=10)


def test_no_answer_names_the_archive() -> None:
    with pytest.raises(ArchiveError, match=r"pacs \(PACS at 127.0.0.1:\d+\) cannot be reached"):
        ask(node_at(free_port()), Query(level=QueryLevel.STUDY))


def test_a_match_reads_what_is_there_and_never_a_name() -> None:
    answer = study_match(NumberOfStudyRelatedInstances="12", ModalitiesInStudy=["CT", "RTSTRUCT"], PatientName="A^B")
    with answering([(0xFF00, answer), (0x0000, None)]) as node:
        (match,) = ask(node, Query(level=QueryLevel.STUDY))

    assert (match.instances, match.modalities) == (12, ("CT", "RTSTRUCT"))
    assert "A^B" not in repr(match)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, ""),
        (date(2026, 1, 2), None, "20260102-"),
        (None, date(2026, 1, 2), "-20260102"),
        (date(2026, 1, 2), date(2026, 1, 2), "20260102"),
        (date(2026, 1, 2), date(2026, 2, 3), "20260102-20260203"),
    ],
)
def test_ranges_of_dates(since: date | None, until: date | None, expected: str) -> None:
    query = Query(level=QueryLevel.STUDY, since=since, until=until)

    assert query.study_dates == expected
    assert find_identifier(query, QueryRoot.STUDY).StudyDate == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": QueryLevel.SERIES},
        {"level": QueryLevel.IMAGE, "study_instance_uid": "2.25.1"},
        {"level": QueryLevel.STUDY, "patient_id": "*"},
        {"level": QueryLevel.STUDY, "accession_number": "A?"},
    ],
)
def test_a_query_that_would_say_something_else_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"needs a|more than it says"):
        Query(**wrong)  # type: ignore[arg-type]
