"""An image arrived, an association ended: rows, and the timer that closes the series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from npc_contour import tracing
from npc_contour.application.corrections import ask
from npc_contour.application.group_commit import GroupCommit, nothing
from npc_contour.application.ports import Clock
from npc_contour.domain.received import Added, ArrivedImage, AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import InstanceRefused
from npc_contour.logs import Event
from npc_contour.settings import Completion
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

UID_CONFLICT = 0xC003
"""C-STORE status Cannot understand (PS3.4 table B.2-1), as for different content under a UID that is stored."""


class Intake:
    """What a receiver calls before it answers."""

    def __init__(self, store: Store, clock: Clock, completion: Completion) -> None:
        """Note images in this store; `completion` says when to look at a series."""
        self._store = store
        self._clock = clock
        self._completion = completion
        self._together: GroupCommit[ArrivedImage, Added] = GroupCommit(self._note)
        self._ends: GroupCommit[tuple[str, Ending], None] = GroupCommit(self._end)

    def keep(
        self,
        header: InstanceHeader,
        key: str,
        association: AssociationRow,
        flush: Callable[[], None] = nothing,
    ) -> bool:
        """Note an image whose file is there; on return it survives a power cut.

        Images that several associations bring at the same time are noted together: one commit serves all. The disk
        is waited for while the database works.

        Args:
            header: of the image.
            key: where the spool keeps it.
            association: who brought it.
            flush: makes its file durable, where it is not yet; raises when it could not, and so does this.

        Returns:
            Whether it is new.

        Raises:
            StoreError: the database did not take it: the sender must keep its copy.
            InstanceRefused: another series or study has an image of this UID.
        """
        added = self._together.run(ArrivedImage(replace(header, key=key), association), flush)
        if added is Added.TAKEN:
            self.conflict(header, "another series has an image of this SOP Instance UID")
            raise InstanceRefused(
                f"SOP Instance UID {header.sop_instance_uid} is kept for another series", status=UID_CONFLICT
            )
        return added is not Added.KNOWN

    def _note(self, images: Sequence[ArrivedImage], flush: Callable[[], None]) -> tuple[Added, ...]:
        now = self._clock.now()
        done = self._store.add_to_open_series(images, now, flush)
        if done is not None:
            return done
        with self._store.transaction() as tx:
            outcomes = tx.add_images(images, now)
            due = now + timedelta(seconds=self._completion.quiet_released_s)
            for image, added in zip(images, outcomes, strict=True):
                if added is Added.OPENED:
                    tx.defer(Job(JobKind.CLOSE_SERIES, image.header.series_instance_uid, due))
                    self._record_opened(tx, image.header, image.association, now)
        return outcomes

    def _record_opened(self, tx: Transaction, header: InstanceHeader, row: AssociationRow, now: datetime) -> None:
        tx.record(
            TimelineEntry(
                event=Event.SERIES_OPENED,
                at=now,
                study=header.study_instance_uid,
                series=header.series_instance_uid,
                detail=f"{header.modality} images come from {row.calling_ae_title} to {row.called_ae_title}",
            )
        )

    def conflict(self, header: InstanceHeader, detail: str, other_patient: Sequence[str] = ()) -> None:
        """Record that a stored UID came with different content: a person should know.

        Args:
            header: of what came.
            detail: what became of it.
            other_patient: in what it names another patient than the image that is kept, without the values: then a
                person is asked, once a series.
        """
        with self._store.transaction() as tx:
            if other_patient:
                ask(tx, header, other_patient, self._clock.now())
                return
            tx.record(
                TimelineEntry(
                    event=Event.INSTANCE_CONFLICT,
                    at=self._clock.now(),
                    study=header.study_instance_uid,
                    series=header.series_instance_uid,
                    detail=f"{header.sop_instance_uid}: {detail}",
                )
            )

    def association_ended(self, association_id: str, ending: Ending) -> None:
        """Note how an association ended: its series may be complete soon. Those that end together commit together."""
        self._ends.run((association_id, ending))

    def _end(self, endings: Sequence[tuple[str, Ending]], meanwhile: Callable[[], None]) -> Sequence[None]:
        meanwhile()
        now = self._clock.now()
        with self._store.transaction() as tx:
            self._look_again(tx, tx.end_associations(dict(endings), now), now)
        return [None] * len(endings)

    def receiver_started(self, receiver: str, is_there: Callable[[str], bool] | None = None) -> None:
        """End what a receiver of this name that died left open.

        A row is committed while its file is still being flushed. Where the power failed just then, the row may be
        left alone; its sender got no answer and keeps the image: the row is taken back.

        Args:
            receiver: its name.
            is_there: whether the file of a key is there; None where files are always durable before their rows.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            if is_there is not None:
                tx.forget_images([uid for uid, key in tx.images_under_way(receiver).items() if not is_there(key)])
            self._look_again(tx, tx.end_lost_associations(receiver, now), now)

    def _look_again(self, tx: Transaction, series: tuple[str, ...], now: datetime) -> None:
        due = now + timedelta(seconds=self._completion.quiet_released_s)
        for series_instance_uid in series:
            job = Job(JobKind.CLOSE_SERIES, series_instance_uid, due)
            tx.defer(replace(job, traceparent=self._trace(tx, series_instance_uid)))

    @staticmethod
    def _trace(tx: Transaction, series_instance_uid: str) -> str:
        """Begin the trace of a series with the time in which it was received."""
        series = tx.series(series_instance_uid) if tracing.is_on() else None
        if series is None:
            return ""
        return tracing.began_with(
            "receive",
            series.study_instance_uid,
            series.first_instance_at,
            series.last_instance_at,
            {"series": series_instance_uid},
        )
