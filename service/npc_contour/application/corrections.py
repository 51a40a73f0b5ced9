"""Images received again with the same UIDs and different content: a person accepts or discards them, series by series.

A PACS that corrects a Patient ID (a merge, a mix-up at the scanner) sends the same images again. What came first stays
in use, what came later lies in quarantine. Where the two are of different patients, this is asked: cases of the series
that are not finished are held, and new ones are held as soon as they are made.

* Accepted, the images take the place of those that were kept, and cases made from the series are re-contoured. The
  files that were kept are put away, never read again.
* Discarded, they are deleted, and what was held for them goes on.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from npc_contour.application.integrity import PutAway
from npc_contour.application.operations import UNFINISHED, go_on
from npc_contour.application.ports import Clock, InstanceKeeper
from npc_contour.core.identity import mixed_patients
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import NoSuchRowError, OperationRefused
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

RECEIVER_NAME = "corrections"
CALLING = "CORRECTED"
REPLACED = "replaced by images that a person accepted"
HELD = "images of it came again as those of another patient: accept or discard them"
COMPARED = 3
"""So many images of a series are compared for the page: a correction changes all of them alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between a stored image and its duplicate, in words for a person.

    Attributes:
        is_identity: whether it says who the patient is.
    """

    what: str
    kept: str
    came: str
    is_identity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBytes:
    """A file in quarantine.

    Attributes:
        name: of the file.
        at: when it came.
    """

    name: str
    sop_instance_uid: str
    at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSeries:
    """The images of one series that were received again with different content.

    Attributes:
        at: when the last of them came.
        images: how many came, each counted once.
        kept: how many images of the series are kept.
        files: names of their files; an image may have come with several bytes.
        other_patient: whether they name another patient than those that are kept.
        differences: of a few of them; empty where they cannot be read, or no value that matters here differs.
    """

    series_instance_uid: str
    study_instance_uid: str
    description: str
    at: datetime
    images: int
    kept: int
    files: tuple[str, ...]
    other_patient: bool
    differences: tuple[Difference, ...]

    @property
    def may_be_accepted(self) -> bool:
        """Whether accepting them leaves a series of one patient, as far as a look at a few tells."""
        return not self.other_patient or self.images >= self.kept


class Quarantine(Protocol):
    """The quarantined files."""

    def files(self) -> Sequence[OtherBytes]:
        """Return them, newest first, with what the file system says of them."""
        ...

    def differences(self, kept_key: str, name: str) -> Sequence[Difference]:
        """Return in what a file is not the kept one."""
        ...

    def header(self, name: str) -> InstanceHeader | None:
        """Return the header of a file; None where it cannot be read."""
        ...

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        ...

    def discard(self, name: str) -> bool:
        """Delete one; returns whether it was there."""
        ...


@dataclass(frozen=True, slots=True)
class CorrectionTools:
    """What corrections work with.

    Attributes:
        board: knows which images are kept.
        spool: where kept files are put away.
        keeper: keeps accepted images as if they had just come.
        ended: told that the association that brought them has ended.
    """

    store: Store
    board: HeldSeriesBoard
    quarantine: Quarantine
    spool: PutAway
    keeper: InstanceKeeper
    ended: Callable[[str, Ending], None]
    clock: Clock
    our_ae_title: str


class Corrections:
    """Shows images received again with different content, and does what a person decides."""

    def __init__(self, tools: CorrectionTools) -> None:
        """Work with these tools."""
        self._tools = tools
        self._store = tools.store
        self._quarantine = tools.quarantine

    def count(self) -> int:
        """Return for how many series a person is asked."""
        return len(self._by_series())

    def series(self) -> Sequence[OtherSeries]:
        """Return them, those first of which an image came last."""
        return tuple(self._shown(uid, files) for uid, files in self._by_series().items())

    def accept(self, series_instance_uid: str, *, by: str, reason: str = "") -> str:
        """Replace the stored images by those received later; cases made from them are re-contoured.

        Raises:
            NoSuchRowError: no image of the series was received again.
            OperationRefused: the series would be of two patients then, or they are other images altogether; or somebody
                is just doing it.
        """
        with self._alone(series_instance_uid):
            files = self._files_of(series_instance_uid)
            came = self._newest(files)
            with self._store.transaction() as tx:
                kept = {header.sop_instance_uid: header for header in tx.headers(series_instance_uid)}
            _check(kept, {header.sop_instance_uid: header for header in came.values()})
            words = f"{len(came)} images received again were accepted by {by}{f': {reason}' if reason else ''}"
            self._forget(kept, tuple(came.values()), words)
            row = AssociationRow(uuid.uuid4().hex, RECEIVER_NAME, CALLING, self._tools.our_ae_title, "quarantine")
            for name in came:
                self._tools.keeper.keep(self._quarantine.read(name), row)
            for file in files:
                self._quarantine.discard(file.name)
            self._tools.ended(row.association_id, Ending.RELEASED)
        return f"series {series_instance_uid}: {len(came)} images accepted; cases made from it are re-contoured"

    def discard(self, series_instance_uid: str, *, by: str, reason: str = "") -> str:
        """Delete the images received later; the stored ones stay, and cases held for this decision continue.

        Raises:
            NoSuchRowError: no image of the series was received again.
            OperationRefused: somebody is just accepting or discarding them.
        """
        with self._alone(series_instance_uid):
            files = self._files_of(series_instance_uid)
            for file in files:
                self._quarantine.discard(file.name)
            images = len({file.sop_instance_uid for file in files})
            words = f"{images} images received again were discarded by {by}{f': {reason}' if reason else ''}"
            with self._store.transaction() as tx:
                self._let_go_on(tx, series_instance_uid, words, self._tools.clock.now())
        return f"series {series_instance_uid}: {images} images received again were discarded"

    def discard_file(self, name: str, *, by: str, reason: str = "") -> str:
        """Delete one file; with the last one of its series nothing is asked any more.

        Raises:
            NoSuchRowError: there is no such file.
        """
        found = [(uid, files) for uid, files in self._by_series().items() if any(name == file.name for file in files)]
        if not found or not self._quarantine.discard(name):
            raise NoSuchRowError(f"there is no {name[:128]!r} in quarantine")
        ((uid, files),) = found
        sop_instance_uid = next(file.sop_instance_uid for file in files if file.name == name)
        words = f"{sop_instance_uid}: duplicate discarded by {by}{f': {reason}' if reason else ''}"
        now = self._tools.clock.now()
        with self._store.transaction() as tx:
            series = tx.series(uid)
            study = series.study_instance_uid if series else None
            tx.record(
                TimelineEntry(
                    event=Event.INSTANCE_DISCARDED, at=now, study=study, series=uid if series else None, detail=words
                )
            )
            if len(files) == 1:
                self._let_go_on(tx, uid, f"the last of them was discarded by {by}", now)
        logger.info(Event.INSTANCE_DISCARDED, extra={"sop_instance_uid": sop_instance_uid, "by": by})
        return f"{sop_instance_uid}: the duplicate was discarded"

    def _let_go_on(self, tx: Transaction, series_instance_uid: str, words: str, now: datetime) -> None:
        for case in self._answered(tx, series_instance_uid, words, now):
            if case.held_reason == HELD:
                go_on(tx, case, now)

    def _forget(self, kept: Mapping[str, InstanceHeader], came: Sequence[InstanceHeader], words: str) -> None:
        """Forget the images that are replaced; their files go first, so that nobody adopts them."""
        keys = [kept[one.sop_instance_uid].key for one in came if one.sop_instance_uid in kept]
        for key in keys:
            self._tools.spool.put_away(key)
        now = self._tools.clock.now()
        with self._store.transaction() as tx:
            for case in self._answered(tx, came[0].series_instance_uid, words, now):
                tx.set_outdated(case.case_id)
            tx.lose_instances(keys, REPLACED, now)
            tx.set_patient_id(came[0].study_instance_uid, came[0].patient_id)

    def _answered(self, tx: Transaction, series_instance_uid: str, words: str, now: datetime) -> tuple[CaseRecord, ...]:
        """Note a person's answer; return the live cases that were made of the series."""
        series = tx.series(series_instance_uid)
        if series is None:
            return ()
        study = series.study_instance_uid
        tx.lock_study(study)
        tx.defer(Job(JobKind.ROUTE_STUDY, study))
        tx.set_correction(series_instance_uid, None)
        tx.record(
            TimelineEntry(event=Event.SERIES_CORRECTED, at=now, study=study, series=series_instance_uid, detail=words)
        )
        logger.info(Event.SERIES_CORRECTED, extra={"series_instance_uid": series_instance_uid, "detail": words})
        return made_of(tx, study, series_instance_uid)

    @contextmanager
    def _alone(self, series_instance_uid: str) -> Iterator[None]:
        """Keep others from answering for the same series meanwhile."""
        with self._store.transaction() as tx:
            if not tx.take_turn(f"correction of {series_instance_uid}"):
                raise OperationRefused(f"series {series_instance_uid}: somebody is just accepting or discarding these")
            yield

    def _by_series(self) -> dict[str, list[OtherBytes]]:
        """Return Series Instance UID → files, both newest first."""
        files = self._quarantine.files()
        kept = self._tools.board.kept_images([file.sop_instance_uid for file in files])
        found: dict[str, list[OtherBytes]] = {}
        for file in files:
            image = kept.get(file.sop_instance_uid)
            header = None if image else self._quarantine.header(file.name)
            uid = image.series_instance_uid if image else header.series_instance_uid if header else ""
            found.setdefault(uid, []).append(file)
        return found

    def _files_of(self, series_instance_uid: str) -> list[OtherBytes]:
        files = self._by_series().get(series_instance_uid, [])
        if not files or not series_instance_uid:
            raise NoSuchRowError(
                f"no image of series {series_instance_uid!r} was received again with different content"
            )
        return files

    def _newest(self, files: Sequence[OtherBytes]) -> dict[str, InstanceHeader]:
        """Return file → header of what came last of each image."""
        newest: dict[str, tuple[str, InstanceHeader]] = {}
        for file in files:
            if file.sop_instance_uid in newest:
                continue
            header = self._quarantine.header(file.name)
            if header is None:
                raise OperationRefused(f"{file.name} cannot be read; discard these images")
            newest[file.sop_instance_uid] = file.name, header
        return dict(newest.values())

    def _shown(self, series_instance_uid: str, files: Sequence[OtherBytes]) -> OtherSeries:
        kept = self._tools.board.kept_images([file.sop_instance_uid for file in files])
        compared = [file for file in files if file.sop_instance_uid in kept][:COMPARED]
        differences = {
            one.what: one
            for file in compared
            for one in self._quarantine.differences(kept[file.sop_instance_uid].key, file.name)
        }
        image = next(iter(kept.values()), None)
        return OtherSeries(
            series_instance_uid=series_instance_uid,
            study_instance_uid=image.study_instance_uid if image else "",
            description=image.description if image else "",
            at=files[0].at,
            images=len({file.sop_instance_uid for file in files}),
            kept=image.series_images if image else 0,
            files=tuple(file.name for file in files),
            other_patient=bool(image and image.asked) or any(one.is_identity for one in differences.values()),
            differences=tuple(differences.values()),
        )


def ask(tx: Transaction, header: InstanceHeader, other: Sequence[str], now: datetime) -> None:
    """Ask a person, once a series, which images count; hold what is not finished.

    Args:
        tx: in which this happens.
        header: of an image that came again as another patient's.
        other: in what it names another patient; nothing of the patient is in it.
        now: the time.
    """
    uid, study = header.series_instance_uid, header.study_instance_uid
    if is_asked(tx, uid):
        return
    tx.lock_study(study)
    tx.defer(Job(JobKind.ROUTE_STUDY, study))
    if tx.series(uid) is None or is_asked(tx, uid):
        return
    tx.set_correction(uid, now)
    named = " and another ".join(other)
    words = f"images were received again with the same UIDs but another {named}: accept or discard them"
    tx.record(TimelineEntry(event=Event.SERIES_CAME_AGAIN, at=now, study=study, series=uid, detail=words))
    logger.warning(Event.SERIES_CAME_AGAIN, extra={"series_instance_uid": uid, "detail": words})
    for case in made_of(tx, study, uid):
        if case.state in UNFINISHED and not case.held_reason:
            tx.hold_case(case.case_id, HELD, now)
            tx.record(TimelineEntry(event=Event.CASE_HELD, at=now, study=study, case=case.case_id, detail=HELD))


def is_asked(tx: Transaction, series_instance_uid: str) -> bool:
    """Whether a person is asked which images of a series count."""
    series = tx.series(series_instance_uid)
    return series is not None and series.correction_at is not None


def made_of(tx: Transaction, study_instance_uid: str, series_instance_uid: str) -> tuple[CaseRecord, ...]:
    """Return the live cases that were made of a series."""
    return tuple(
        case
        for case in tx.live_cases(study_instance_uid)
        if any(given.series_instance_uid == series_instance_uid for given in case.inputs.values())
    )


def _check(kept: Mapping[str, InstanceHeader], came: Mapping[str, InstanceHeader]) -> None:
    """Return where the images that came again can take the place of those that are kept.

    Raises:
        OperationRefused: they cannot; the message says why.
    """
    strange = sum(uid in kept and not kept[uid].is_same_image(one) for uid, one in came.items())
    if strange:
        raise OperationRefused(
            f"{strange} of {len(came)} are not the same images: size, position or series differ; their sender must"
            " give them UIDs of their own"
        )
    if words := mixed_patients({**kept, **came}.values()):
        raise OperationRefused(
            f"{len(came)} of {len({**kept, **came})} images were received again: {words} would be in one series;"
            " send all of them again, then accept"
        )
