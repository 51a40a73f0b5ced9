"""Storage Commitment that senders ask of us (PS3.4 J): they may delete their images once we say that we keep them.

A request is a row before it is answered, and a job reports over an association of our own: the sender's address is in
the settings, for a request does not carry it. An image counts as kept when its row is committed and its file, read for
the purpose, is what was kept; from then on it is kept `retention.committed_days` at least.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from npc_contour.application.ports import Clock, Spool
from npc_contour.domain.jobs import Destination
from npc_contour.domain.received import CommitmentRow, CommitmentState, KeptImage
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import DamagedFileError, SendError
from npc_contour.logs import Event
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 60
"""With growing pauses up to five minutes this is about five hours."""
NO_SUCH_OBJECT, CLASS_CONFLICT = 0x0112, 0x0119
"""Failure reasons of PS3.3 C.14.1.1."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """What we tell a sender.

    Attributes:
        held: (SOP Class UID, SOP Instance UID) of what we keep.
        failed: (SOP Class UID, SOP Instance UID, failure reason) of what we do not.
    """

    transaction_uid: str
    held: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str, int], ...]


Report = Callable[[Commitment, Destination], None]
"""Tells a sender (N-EVENT-REPORT); raises SendError when it did not take it."""


class Commitments:
    """Takes requests, and reports.

    Args:
        store: where requests are rows.
        spool: what is kept.
        clock: the time.
        peers: AE title → where to report to.
        report: how.
        damaged: told of every file that is not what was kept.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        clock: Clock,
        peers: Mapping[str, Destination],
        report: Report,
        damaged: Callable[[DamagedFileError], object] = lambda _: None,
    ) -> None:
        self._damaged = damaged
        self._store = store
        self._spool = spool
        self._clock = clock
        self._peers = peers
        self._report = report

    def knows(self, calling_ae_title: str) -> bool:
        """Whether there is an address to report to."""
        return calling_ae_title in self._peers

    def asked(self, transaction_uid: str, calling_ae_title: str, objects: tuple[tuple[str, str], ...]) -> bool:
        """Note a request durably; False when this sender has used the transaction's UID before."""
        with self._store.transaction() as tx:
            commitment_id = tx.add_commitment(transaction_uid, calling_ae_title, objects, self._clock.now())
            if commitment_id is not None:
                tx.defer(Job(JobKind.REPORT_COMMITMENT, str(commitment_id)))
        return commitment_id is not None

    def run(self, key: str) -> None:
        """Report one request.

        Raises:
            SendError: the sender did not take the report: try again.
        """
        with self._store.transaction() as tx:
            row = tx.commitment(int(key))
        if row is None or row.state is not CommitmentState.ASKED:
            return
        peer = self._peers.get(row.calling_ae_title)
        if peer is None:
            self._end(row, CommitmentState.FAILED, f"dicom.commitment has no address of {row.calling_ae_title}")
            return
        commitment = self._looked_up(row)
        try:
            self._report(commitment, peer)
        except SendError as error:
            if row.attempts + 1 >= MAX_ATTEMPTS:
                self._end(row, CommitmentState.FAILED, str(error))
                return
            with self._store.transaction() as tx:
                tx.set_commitment(
                    row.commitment_id, CommitmentState.ASKED, row.attempts + 1, str(error), self._clock.now()
                )
            raise
        words = f"{len(commitment.held)} kept, {len(commitment.failed)} not"
        self._end(row, CommitmentState.REPORTED, words)

    def _looked_up(self, row: CommitmentRow) -> Commitment:
        with self._store.transaction() as tx:
            # Noted before it is said: what is promised is not deleted meanwhile.
            kept = tx.promise_instances([instance for _, instance in row.objects], self._clock.now())
        held: list[tuple[str, str]] = []
        failed: list[tuple[str, str, int]] = []
        for sop_class, instance in row.objects:
            image = kept.get(instance)
            if image is None or not self._is_whole(image):
                failed.append((sop_class, instance, NO_SUCH_OBJECT))
            elif image.sop_class_uid != sop_class:
                failed.append((sop_class, instance, CLASS_CONFLICT))
            else:
                held.append((sop_class, instance))
        return Commitment(row.transaction_uid, tuple(held), tuple(failed))

    def _is_whole(self, image: KeptImage) -> bool:
        """Whether the file is what was kept: what is promised here may be deleted at its sender."""
        try:
            if image.seal is None:
                self._spool.examine(image.key)
            else:
                self._spool.read(image.key, image.seal)
        except DamagedFileError as error:
            self._damaged(error)
            return False
        return True

    def _end(self, row: CommitmentRow, state: CommitmentState, message: str) -> None:
        with self._store.transaction() as tx:
            tx.set_commitment(row.commitment_id, state, row.attempts + 1, message, self._clock.now())
        reported = state is CommitmentState.REPORTED
        logger.log(
            logging.INFO if reported else logging.ERROR,
            Event.COMMITMENT_REPORTED if reported else Event.COMMITMENT_FAILED,
            extra={
                "transaction_uid": row.transaction_uid,
                "calling_ae_title": row.calling_ae_title,
                "detail": message,
            },
        )
