"""What a PACS has is fetched once, whatever fails on the way, and again only when there is more of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from npc_contour.application.completion import CloseSeries
from npc_contour.application.pulling import MAX_ATTEMPTS, MAX_SHORT, PollArchive, find_series, want
from npc_contour.application.steps import Steps
from npc_contour.domain.pulls import PullState
from npc_contour.domain.queries import Match, Query, QueryLevel, Wanted
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.work import JobKind
from npc_contour.errors import ArchiveError, InstanceRefused
from npc_contour.settings import Completion
from npc_testkit.ct_series import as_bytes, ct_datasets
from npc_testkit.fakes import FakeArchive
from npc_testkit.pulling import NECK, Desk, desk

__all__ = ["desk"]


def test_a_rule_finds_what_it_asks_for_and_looks_again(desk: Desk) -> None:
    desk.poll.start()
    assert desk.jobs() == [("poll_archive", "planning-ct")]

    desk.poll.run("planning-ct")

    assert [row[:2] for row in desk.series()] == [("wanted", 5)]
    assert ("fetch_series", "1") in desk.jobs()
    (study_query, series_query) = desk.archive.queries
    assert (study_query.level, study_query.modality) == (QueryLevel.STUDY, "CT")
    assert study_query.since == (desk.clock.now() - timedelta(days=1)).astimezone().date()
    assert series_query.level is QueryLevel.SERIES
    (row,) = desk.store.query("SELECT next_poll_at FROM pull_rule")
    assert row["next_poll_at"] == desk.clock.now() + timedelta(seconds=60)


def test_what_is_found_is_fetched_and_comes_in_like_any_other_series(desk: Desk) -> None:
    desk.poll.run("planning-ct")
    desk.fetch.run("1")

    assert desk.series() == [("fetched", 5, 1, "5 images fetched")]
    assert desk.images() == 5
    (row,) = desk.store.query("SELECT * FROM association")
    assert (row["calling_ae_title"], row["called_ae_title"], row["ending"]) == ("PACS", "NPC_CONTOUR", "released")
    assert ("close_series", str(ct_datasets(NECK)[0].SeriesInstanceUID)) in desk.jobs()


def test_a_series_is_fetched_once_and_again_when_it_has_grown(desk: Desk) -> None:
    whole = desk.archive.files
    desk.archive.files = whole[:4]
    desk.poll.run("planning-ct")
    desk.fetch.run("1")
    desk.poll.run("planning-ct")
    desk.fetch.run("1")
    assert len(desk.archive.retrievals) == 1

    desk.archive.files = whole
    desk.poll.run("planning-ct")
    desk.fetch.run("1")

    assert len(desk.archive.retrievals) == 2
    assert desk.images() == 5
    assert desk.series() == [("fetched", 5, 1, "5 images fetched")]


def test_a_pacs_that_does_not_count_is_fetched_from_once(desk: Desk) -> None:
    desk.archive.hides_counts = True
    for _ in range(2):
        desk.poll.run("planning-ct")
        desk.fetch.run("1")

    assert len(desk.archive.retrievals) == 1


def test_a_connection_that_breaks_is_tried_again_and_nothing_is_kept_twice(desk: Desk) -> None:
    desk.poll.run("planning-ct")
    desk.archive.breaks_after = 3
    with pytest.raises(ArchiveError, match="closed the connection"):
        desk.fetch.run("1")
    assert desk.series() == [("wanted", 5, 1, "pacs closed the connection during C-GET")]
    assert [row["ending"] for row in desk.store.query("SELECT ending FROM association")] == ["aborted"]

    desk.archive.breaks_after = None
    desk.fetch.run("1")

    assert (desk.images(), desk.series()[0][0]) == (5, "fetched")


def test_a_pacs_that_stays_down_is_given_up_and_said_so(desk: Desk) -> None:
    desk.poll.run("planning-ct")
    desk.archive.down = True
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(ArchiveError):
            desk.fetch.run("1")

    desk.fetch.run("1")

    ((state, _, attempts, message),) = desk.series()
    assert (state, attempts) == ("failed", MAX_ATTEMPTS)
    assert "cannot be reached" in message
    (line,) = desk.store.query("SELECT name, detail FROM event")
    assert (line["name"], "cannot be reached" in line["detail"]) == ("pull.failed", True)


def test_a_poll_that_fails_is_a_step_that_is_tried_again(desk: Desk) -> None:
    desk.archive.down = True
    desk.poll.start()

    Steps(desk.store, desk.clock, {JobKind.POLL_ARCHIVE: desk.poll.run}).run(JobKind.POLL_ARCHIVE, "planning-ct")

    assert ("poll_archive", "planning-ct") in desk.jobs()
    assert desk.series() == []


def test_images_that_are_refused_make_a_pull_incomplete(desk: Desk) -> None:
    broken = ct_datasets(NECK)[2]
    broken.PixelData = broken.PixelData[:-2]
    desk.archive.files[2] = as_bytes(broken)
    desk.poll.run("planning-ct")
    desk.fetch.run("1")

    assert desk.series() == [("incomplete", 5, 1, "4 images fetched, 1 failed or refused")]
    assert desk.images() == 4


def test_an_image_of_another_study_than_the_one_asked_for_is_not_kept(desk: Desk) -> None:
    stranger = ct_datasets(NECK)[2]
    stranger.StudyInstanceUID = "1.2.3.4"
    desk.poll.run("planning-ct")
    desk.archive.files[2] = as_bytes(stranger)
    desk.fetch.run("1")

    assert desk.series() == [("incomplete", 5, 1, "4 images fetched, 1 failed or refused")]
    assert desk.images() == 4


@pytest.mark.parametrize("hidden", ["nothing", "hides_counts", "hides_names"])
def test_fewer_images_than_the_pacs_has_are_asked_for_again_and_then_told(desk: Desk, hidden: str) -> None:
    setattr(desk.archive, hidden, True)
    desk.archive.withholds = 2
    desk.poll.run("planning-ct")
    for _ in range(MAX_SHORT - 1):
        with pytest.raises(ArchiveError, match="3 of 5 images that the PACS has"):
            desk.fetch.run("1")
    assert desk.series()[0][0] == "wanted"
    desk.fetch.run("1")

    words = "3 images fetched; 3 of 5 images that the PACS has are here"
    assert desk.series() == [("incomplete", 5, MAX_SHORT, words)]
    assert {row["ending"] for row in desk.store.query("SELECT ending FROM association")} == {"aborted"}
    assert [row["name"] for row in desk.store.query("SELECT name FROM event")][-1] == "pull.incomplete"


def test_what_did_not_come_at_first_may_come_later(desk: Desk) -> None:
    desk.archive.withholds = 2
    desk.poll.run("planning-ct")
    with pytest.raises(ArchiveError):
        desk.fetch.run("1")
    desk.archive.withholds = 0
    desk.fetch.run("1")

    assert desk.series() == [("fetched", 5, 2, "5 images fetched")]


def test_a_series_of_which_a_pacs_gave_a_part_is_not_contoured(desk: Desk) -> None:
    desk.archive.withholds = 1
    desk.poll.run("planning-ct")
    with pytest.raises(ArchiveError):
        desk.fetch.run("1")
    uid = str(ct_datasets(NECK)[0].SeriesInstanceUID)
    close = CloseSeries(desk.store, desk.clock, Completion())
    for _ in range(2):
        desk.clock.forward(1000)
        close.run(uid)

    (row,) = desk.store.query("SELECT state, reasons FROM series")
    assert (row["state"], row["reasons"]) == ("held", ["held: 4 of 5 images that the PACS has"])


@pytest.mark.parametrize(
    ("attribute", "words"),
    [("SeriesInstanceUID", "of series 1.2.3.4"), ("StudyInstanceUID", "of study"), ("PatientID", "of another patient")],
)
def test_what_was_not_asked_for_is_not_kept(
    desk: Desk, attribute: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    strangers = ct_datasets(NECK)
    for dataset in strangers:
        setattr(dataset, attribute, "1.2.3.4")
    desk.poll.run("planning-ct")
    desk.archive.gives = [as_bytes(dataset) for dataset in strangers]
    desk.fetch.run("1")

    assert (desk.images(), desk.series()[0][0]) == (0, "incomplete")
    association = AssociationRow("a", "r", "PACS", "OURS", "h")
    wanted = Wanted(study_instance_uid=_study(), series_instance_uid=_series(), patient_id="TK0001")
    with pytest.raises(InstanceRefused, match=words) as refused:
        desk.tools.keeper.keep(desk.archive.gives[0], association, asked=wanted)
    assert refused.value.sop_instance_uid == str(strangers[0].SOPInstanceUID)
    assert not any("TK0001" in str(vars(record)) for record in caplog.records)


def test_a_study_that_cannot_be_asked_about_does_not_stop_the_others() -> None:
    asked: list[str] = []

    class Half(FakeArchive):
        def find(self, query: Query) -> tuple[Match, ...]:
            if query.level is QueryLevel.STUDY:
                return tuple(Match(study_instance_uid=f"1.2.{number}") for number in range(self.withholds))
            asked.append(query.study_instance_uid)
            if query.study_instance_uid != "1.2.1":
                raise ArchiveError("HTTP 500")
            return (Match(study_instance_uid="1.2.1", series_instance_uid="1.2.1.1"),)

    assert len(find_series(Half(withholds=3), Query(level=QueryLevel.STUDY))) == 1
    with pytest.raises(ArchiveError):
        find_series(Half(withholds=1), Query(level=QueryLevel.STUDY))
    asked.clear()
    with pytest.raises(ArchiveError):
        find_series(Half(withholds=100), Query(level=QueryLevel.STUDY))
    assert len(asked) < 10


def test_a_worker_that_dies_between_finding_and_fetching_loses_nothing(desk: Desk) -> None:
    desk.poll.run("planning-ct")
    with desk.store.transaction() as tx:
        tx._run("DELETE FROM procrastinate_jobs")

    with desk.store.transaction() as tx:
        missing = tx.jobs_missing()

    assert ("fetch_series", "1") in [(job.kind, job.key) for job in missing]


def test_rules_that_left_the_settings_are_forgotten(desk: Desk) -> None:
    desk.poll.start()
    PollArchive(desk.tools, []).start()

    assert desk.store.query("SELECT name FROM pull_rule") == []
    PollArchive(desk.tools, []).run("planning-ct")
    assert desk.archive.queries == []


def test_a_person_may_fetch_again_what_was_fetched(desk: Desk) -> None:
    series = desk.archive.find(Query(level=QueryLevel.SERIES, study_instance_uid=_study()))
    (first, second) = want(desk.store, "pacs", series, desk.clock.now())
    desk.fetch.run(str(first))
    assert want(desk.store, "pacs", series[:1], desk.clock.now()) == ()
    assert want(desk.store, "pacs", series[:1], desk.clock.now(), again=True) == (first,)
    with desk.store.transaction() as tx:
        pulled = tx.pulled_series(second)
    assert pulled is not None
    assert pulled.state is PullState.WANTED


def _series() -> str:
    return str(ct_datasets(NECK)[0].SeriesInstanceUID)


def _study() -> str:
    return str(ct_datasets(NECK)[0].StudyInstanceUID)
