"""Storage Commitment as its SCP: N-ACTION in, N-EVENT-REPORT out (PS3.4 J.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from npc_contour.adapters.dicom.association.command import Element, Field
from npc_contour.adapters.dicom.association.requestor import associate
from npc_contour.adapters.dicom.receive.services import SUCCESS, Answer, Message, Service, data_set_of
from npc_contour.domain.dimse import status_words
from npc_contour.domain.jobs import Destination
from npc_contour.domain.uids import is_uid
from npc_contour.errors import SendError, UnreadableError, bytes_of_a_stranger

REQUEST_COMMITMENT = 1
ALL_KEPT, SOME_FAILED = 1, 2
"""Event Type IDs."""
NO_SUCH_ACTION, INVALID_ARGUMENT, NOT_AUTHORISED, DUPLICATE_TRANSACTION = 0x0123, 0x0115, 0x0124, 0x0131
MAX_OBJECTS = 20_000

Asked = Callable[[str, str, tuple[tuple[str, str], ...]], bool]
"""Notes (Transaction UID, calling AE title, objects) durably; False for a transaction that was asked before."""


def commitment_requests(knows: Callable[[str], bool], asked: Asked) -> Service:
    """Take requests for commitment from senders whose address is known; each is noted before it is answered."""

    def request(message: Message) -> Answer:
        caller = message.association.calling_ae_title
        if message.command.number(Element.ACTION_TYPE_ID) != REQUEST_COMMITMENT:
            return Answer(NO_SUCH_ACTION)
        if not knows(caller):
            return Answer(NOT_AUTHORISED, comment="no address to report to: see dicom.commitment")
        try:
            with bytes_of_a_stranger():
                transaction_uid, objects = _read(data_set_of(message))
        except UnreadableError:
            return Answer(INVALID_ARGUMENT, comment="the data set cannot be read")
        return Answer(SUCCESS if asked(transaction_uid, caller, objects) else DUPLICATE_TRANSACTION)

    return Service(sop_class=str(StorageCommitmentPushModel), operations={Field.N_ACTION: request})


def report(
    transaction_uid: str,
    held: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, str, int]],
    peer: Destination,
    calling_ae: str,
    timeout_s: float,
) -> None:
    """Tell a sender what we keep, over an association of our own in which we are the SCP.

    Raises:
        SendError: it does not take the association, the role or the report.
    """
    information = Dataset()
    information.TransactionUID = transaction_uid
    if held:
        information.ReferencedSOPSequence = [_reference(*one) for one in held]
    if failed:
        information.FailedSOPSequence = [_failure(*one) for one in failed]
    contexts = [build_context(StorageCommitmentPushModel)]
    with associate(peer, contexts, calling_ae, timeout_s, scp_classes=[str(StorageCommitmentPushModel)]) as link:
        asked = time.monotonic()
        try:
            status, _ = link.association.send_n_event_report(
                information,
                SOME_FAILED if failed else ALL_KEPT,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
        except ValueError as error:
            raise SendError(f"{link.peer} does not let us be the SCP of Storage Commitment: {error}") from error
        if "Status" not in status:
            raise link.lost("N-EVENT-REPORT", time.monotonic() - asked)
    if int(status.Status) != SUCCESS:
        raise SendError(f"{link.peer} answered N-EVENT-REPORT with {status_words(int(status.Status))}")


def _read(information: Dataset) -> tuple[str, tuple[tuple[str, str], ...]]:
    transaction_uid = str(information.TransactionUID)
    objects = tuple(
        (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
        for item in information.ReferencedSOPSequence
    )
    if not objects or len(objects) > MAX_OBJECTS:
        raise ValueError(f"{len(objects)} objects")
    if not all(map(is_uid, [transaction_uid, *(uid for one in objects for uid in one)])):
        raise ValueError("a UID is none")
    return transaction_uid, objects


def _reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item


def _failure(sop_class: str, instance: str, reason: int) -> Dataset:
    item = _reference(sop_class, instance)
    item.FailureReason = reason
    return item
