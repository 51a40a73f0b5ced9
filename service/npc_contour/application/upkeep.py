"""Upkeep of the disk: what was delivered is deleted after its time, and files and rows are compared both ways.

Nothing that is not delivered everywhere is ever deleted, nor an image whose keeping a sender was promised, however full
the disk is: then images are answered with 0xA700 and a person decides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from npc_contour.application.installation import HELP, IdentifiedSpool, check_spool
from npc_contour.application.intake import Intake
from npc_contour.application.ports import Clock, InstanceKeeper
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import AutocontourError, SpoolForeignError, StoreError
from npc_contour.logs import Event
from npc_contour.settings import Retention
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

ALL = "all"
"""The key of jobs that concern everything."""
BATCH = 50
SAMPLES_KEPT = timedelta(days=14)
YOUNG_S = 60.0
"""A file is in the spool a moment before its row is committed: one so young is not judged yet."""


MANY_LOST = 10
"""So many images, and most of all that rows know, are no accident of single files: another disk lies there."""


class SpoolFiles(IdentifiedSpool, Protocol):
    """The spool as upkeep needs it."""

    def instance_files(self) -> Iterator[tuple[str, float]]:
        """Return key and age in seconds of every received image that is complete."""
        ...

    def read(self, key: str) -> bytes:
        """Return the bytes of a key."""
        ...

    def delete(self, key: str) -> bool:
        """Delete the file of a key and the folders it leaves empty; returns whether it was there."""
        ...

    def delete_artefacts(self, case_id: str) -> int:
        """Delete every file of a case; returns how many."""
        ...

    def free_bytes(self) -> int:
        """Return how much of the disk is free."""
        ...


class Retain:
    """Deletes what has had its time."""

    def __init__(self, store: Store, spool: SpoolFiles, clock: Clock, rules: Retention) -> None:
        """Delete from this store and spool by these rules."""
        self._store = store
        self._spool = spool
        self._clock = clock
        self._rules = rules

    def run(self, key: str) -> None:
        """Do it once, and plan the next time."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            tx.add_disk_sample(now, self._spool.free_bytes(), now - SAMPLES_KEPT)
            tx.defer(Job(JobKind.RETENTION, key, now + timedelta(seconds=self._rules.every_s)))
        self._delete_files()
        if self._rules.images_days:
            self._images(now - timedelta(days=self._rules.images_days), now)
        if self._rules.structure_sets_days:
            self._cases(now - timedelta(days=self._rules.structure_sets_days), now)
        if self._rules.rows_days:
            self._rows(now - timedelta(days=self._rules.rows_days))

    def _images(self, before: datetime, now: datetime) -> None:
        days = self._rules.committed_days
        promised_before = now - timedelta(days=days) if days else None
        with self._store.transaction() as tx:
            studies = tx.studies_with_old_images(before, promised_before, BATCH)
        reason = f"images deleted {self._rules.images_days:g} days after the study was done"
        for study in studies:
            with self._store.transaction() as tx:
                # A late image may have come since: only what is settled still is forgotten.
                tx.lock_settled_study(study)
                if study in tx.studies_with_old_images(before, promised_before, BATCH):
                    images = tx.expire_images(study, reason)
                    tx.record(
                        TimelineEntry(event=Event.FILES_EXPIRED, at=now, study=study, detail=f"{images} {reason}")
                    )
            self._delete_files()

    def _delete_files(self) -> None:
        with self._store.transaction() as tx:
            keys = tx.expired_keys()
            known = tx.instance_keys() if keys else frozenset()
        for key in keys:
            if key not in known:
                self._spool.delete(key)
        with self._store.transaction() as tx:
            tx.forget_keys(keys)
        if keys:
            logger.info(Event.FILES_EXPIRED, extra={"images": len(keys)})

    def _cases(self, before: datetime, now: datetime) -> None:
        with self._store.transaction() as tx:
            cases = tx.cases_with_old_files(before, BATCH)
        for case_id in cases:
            files = self._spool.delete_artefacts(case_id)
            with self._store.transaction() as tx:
                tx.expire_case_files(case_id, now)
                case = tx.case(case_id)
                study = case.study_instance_uid if case else None
                words = f"{files} files deleted {self._rules.structure_sets_days:g} days after the study was done"
                tx.record(TimelineEntry(event=Event.FILES_EXPIRED, at=now, study=study, case=case_id, detail=words))
            logger.info(Event.FILES_EXPIRED, extra={"case_id": case_id, "files": files})

    def _rows(self, before: datetime) -> None:
        with self._store.transaction() as tx:
            studies = tx.studies_with_old_rows(before, BATCH)
        for study in studies:
            try:
                with self._store.transaction() as tx:
                    tx.delete_study(study)
            except StoreError as error:
                logger.warning(Event.FILES_EXPIRED, extra={"study_instance_uid": study, "kept": str(error)})


class Rescan:
    """Compares the images on disk with their rows, at the start of a worker and after each round of deleting.

    An image without a row was never acknowledged, but is whole: it is adopted, as if it had just come. A row without
    its image is forgotten, and its series is held until it is sent again. Where most images are missing, the disk is
    the wrong one or is not mounted: then nothing is marked, and readiness says so.
    """

    def __init__(
        self, store: Store, spool: SpoolFiles, clock: Clock, keeper: InstanceKeeper, intake: Intake, our_title: str
    ) -> None:
        """Compare this spool with this store; adopt by `keeper` as called under our AE title."""
        self._store = store
        self._spool = spool
        self._clock = clock
        self._keeper = keeper
        self._intake = intake
        self._our_title = our_title

    def run(self, key: str) -> None:
        """Do it once."""
        check_spool(self._store, self._spool)
        now = self._clock.now()
        with self._store.transaction() as tx:
            known, expired = tx.instance_keys(), set(tx.expired_keys())
        files = dict(self._spool.instance_files())
        lost = [name for name in known - files.keys() if not self._spool.exists(name)]
        if len(lost) >= MANY_LOST and 2 * len(lost) > len(known):
            raise SpoolForeignError(
                f"{len(lost)} of {len(known)} images that the database knows are not in the spool: {HELP}"
            )
        unknown = [name for name in files if name not in known and name not in expired]
        adopted = self._adopt([name for name in unknown if files[name] >= YOUNG_S], now)
        lose(self._store, lost, now)
        if any(files[name] < YOUNG_S for name in unknown):
            with self._store.transaction() as tx:
                tx.defer(Job(JobKind.RESCAN, key, now + timedelta(seconds=YOUNG_S)))
        logger.info(Event.SPOOL_RESCANNED, extra={"images": len(files), "adopted": adopted, "lost": len(lost)})

    def _adopt(self, keys: list[str], now: datetime) -> int:
        row = AssociationRow(f"rescan-{now.isoformat()}", "rescan", "SPOOL", self._our_title, "disk")
        adopted = 0
        for key in keys:
            try:
                self._keeper.keep(self._spool.read(key), row)
            except (AutocontourError, OSError) as error:
                logger.warning(Event.INSTANCE_REFUSED, extra={"key": key, "reason": str(error)})
                continue
            adopted += 1
        if adopted:
            self._intake.association_ended(row.association_id, Ending.RELEASED)
            logger.warning(Event.INSTANCES_ADOPTED, extra={"images": adopted})
        return adopted


def lose(store: Store, keys: Sequence[str], now: datetime) -> None:
    """Forget images whose files are gone, and hold their series until they are sent again."""
    if not keys:
        return
    with store.transaction() as tx:
        for study, series, images in tx.lose_instances(keys, "gone from the disk", now):
            words = f"{images} images are gone from the disk: send the series again"
            tx.record(TimelineEntry(event=Event.INSTANCES_LOST, at=now, study=study, series=series, detail=words))
    logger.error(Event.INSTANCES_LOST, extra={"images": len(keys)})


def forecast(samples: list[tuple[datetime, int]], min_free_bytes: int) -> float | None:
    """Return in how many days the disk is full, by the trend of its free bytes.

    Args:
        samples: (time, free bytes), oldest first.
        min_free_bytes: counts as full.

    Returns:
        Days from the last sample; None while there are too few samples, or when the disk does not fill.
    """
    if len(samples) < 2:
        return None
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    days = (last_at - first_at).total_seconds() / 86400
    if days < 1 / 24 or last >= first:
        return None
    return max(0.0, last - min_free_bytes) / ((first - last) / days)
