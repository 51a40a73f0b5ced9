"""What becomes of a file of the spool that is not what was kept: it is never read again, and never in silence.

* An image is put away and its row forgotten, as if it had not come; its series is held until it is sent again. The
  same bytes sent again take its place, and a case that failed for it is retried.
* What was made of a case is put away and made again from what is whole, under the same UIDs (`mend_case`). After
  `MAX_DAMAGED` times the disk is not trusted any more: the case, or what is to be sent of it, fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from npc_contour.application.ports import Clock
from npc_contour.domain.received import SealedFile
from npc_contour.domain.series import NOT_NOTED, InstanceHeader, Seal
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import DamagedFileError
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

MAX_DAMAGED = 3
ARTEFACTS = "artefacts/"
COMPARE_S = 10.0
"""How long a round of comparing takes at most, for artefacts and for images each."""


class PutAway(Protocol):
    """The spool as this module needs it."""

    def read(self, key: str, seal: Seal | None = None) -> bytes:
        """Return the bytes of a key, or raise DamagedFileError."""
        ...

    def put_away(self, key: str) -> bool:
        """Take a damaged file out of use; returns whether it was there."""
        ...


class SealedFiles(PutAway, Protocol):
    """The spool as the comparison needs it."""

    def examine(self, key: str) -> Seal:
        """Return the seal of a whole image, or raise DamagedFileError."""
        ...

    def size(self, key: str) -> int | None:
        """Return how many bytes the file of a key has; None where it is gone."""
        ...


class Integrity:
    """Notes damage, and plans what mends it."""

    def __init__(self, store: Store, spool: PutAway, clock: Clock) -> None:
        """Work on this store and spool."""
        self._store = store
        self._spool = spool
        self._clock = clock

    def kept_seal(self, header: InstanceHeader) -> Seal | None:
        """What the row of an image says that its file must hold; None where there is no row."""
        with self._store.transaction() as tx:
            return tx.seal_of_image(header.sop_instance_uid)

    def repaired(self, header: InstanceHeader) -> None:
        """Tell that good bytes took the place of damaged ones."""
        words = f"{header.sop_instance_uid}: damaged on the disk, the same image sent again took its place"
        with self._store.transaction() as tx:
            self._record(tx, Event.FILE_REPAIRED, words, header.study_instance_uid, header.series_instance_uid)
        logger.warning(Event.FILE_REPAIRED, extra={"sop_instance_uid": header.sop_instance_uid})

    def damaged(self, error: DamagedFileError) -> bool:
        """Note one damaged file.

        Returns:
            Whether it is mended by itself: made again from what is whole.
        """
        if error.key.startswith(ARTEFACTS):
            return self._artefact(error)
        if not error.is_gone:
            # What is gone is left to the comparison of all files with all rows, which knows a missing disk from a
            # missing file.
            self.images([error.key], "damaged on the disk")
        return False

    def images(self, found: Sequence[str], why: str) -> None:
        """Forget images whose files are damaged or gone, and hold their series.

        Args:
            found: keys of their files, which are put away before the rows go, so that nobody adopts them. Those that
                hold what their rows say by now, for they were replaced meanwhile, are left alone.
            why: in words, as "damaged on the disk".
        """
        keys = [key for key in found if not self._is_whole(key)]
        if not keys:
            return
        for key in keys:
            self._spool.put_away(key)
        now = self._clock.now()
        with self._store.transaction() as tx:
            for study, series, images in tx.lose_instances(keys, why, now):
                words = f"{images} images are {why}: send the series again"
                self._record(tx, Event.INSTANCES_LOST, words, study, series)
        logger.error(Event.INSTANCES_LOST, extra={"images": len(keys), "detail": why})

    def _is_whole(self, key: str) -> bool:
        """Whether an image is what its row says now: a reader may have had a row of before."""
        with self._store.transaction() as tx:
            seal = tx.seal_of_image(key.rpartition("/")[2].removesuffix(".dcm"))
        if seal is None or seal == NOT_NOTED:
            return False
        try:
            self._spool.read(key, seal)
        except DamagedFileError:
            return False
        return True

    def _artefact(self, error: DamagedFileError) -> bool:
        case_id, name = error.key.split("/")[1:3]
        self._spool.put_away(error.key)
        with self._store.transaction() as tx:
            case = tx.case(case_id)
            times = tx.count_damaged(error.key, case_id) if case is not None else 0
            mended = case is not None and times <= MAX_DAMAGED
            sent = tx.written_keys(case_id)
            again = "nothing needs it any more" if sent and error.key not in sent else "it is made again"
            words = f"{name}: {str(error).partition(': ')[2]}; " + (
                again if mended else f"that is the time number {times}, it is not made again: see the disk"
            )
            self._record(tx, Event.FILE_DAMAGED, words, case.study_instance_uid if case else None, case=case_id)
            if mended:
                tx.defer(Job(JobKind.MEND_CASE, case_id))
        logger.error(Event.FILE_DAMAGED, extra={"case_id": case_id, "detail": words})
        return mended

    def _record(
        self,
        tx: Transaction,
        event: Event,
        words: str,
        study: str | None,
        series: str | None = None,
        case: str | None = None,
    ) -> None:
        tx.record(TimelineEntry(event=event, at=self._clock.now(), study=study, series=series, case=case, detail=words))


class CompareFiles:
    """Reads files that nobody asks for, so that damage is found while it can be mended.

    The size of every image is compared each time, the bytes of as many as `seconds` allow: those first that were not
    compared for longest, so that every file has its turn. An image of a former version, of which nothing was noted, is
    noted as it is once it proves to be a whole image; whether it was damaged before nobody can tell.
    """

    def __init__(self, store: Store, spool: SealedFiles, clock: Clock, integrity: Integrity, seconds: float) -> None:
        """Compare this spool with this store for so many seconds a round."""
        self._store = store
        self._spool = spool
        self._clock = clock
        self._integrity = integrity
        self._seconds = seconds

    def run(self) -> None:
        """Do it once."""
        with self._store.transaction() as tx:
            images, artefacts = tx.sealed_images(), tx.sealed_artefacts()
        checked, damaged = self._compare(artefacts)
        for error in damaged:
            self._integrity.damaged(error)
        cut = [one.key for one in images if one.seal and self._spool.size(one.key) not in {None, one.seal.size}]
        cut_keys = frozenset(cut)
        whole, broken = self._compare([one for one in images if one.key not in cut_keys])
        # What is gone is known to the comparison of names.
        bad = [*cut, *(error.key for error in broken if not error.is_gone)]
        if bad:
            self._integrity.images(bad, "damaged on the disk")
        with self._store.transaction() as tx:
            tx.note_checked([*checked, *whole], self._clock.now())
        found = {"files": len(checked) + len(whole), "damaged": len(damaged) + len(bad)}
        logger.info(Event.SPOOL_COMPARED, extra=found)

    def _compare(self, files: Sequence[SealedFile]) -> tuple[list[SealedFile], list[DamagedFileError]]:
        """Read files until the time is over: those that hold what they must, and the others."""
        until = time.monotonic() + self._seconds
        whole: list[SealedFile] = []
        damaged: list[DamagedFileError] = []
        for one in files:
            if time.monotonic() > until:
                break
            try:
                if one.seal is None:
                    whole.append(SealedFile(one.key, self._spool.examine(one.key)))
                else:
                    self._spool.read(one.key, one.seal)
                    whole.append(one)
            except DamagedFileError as error:
                damaged.append(error)
        return whole, damaged
