"""Storage Commitment reports (PS3.4 J.3.3), as they come to us: over our own association or over one of the peer's."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.association.command import Field
from npc_contour.adapters.dicom.receive.services import SUCCESS, Answer, AssociationInfo, Message, Service, data_set_of
from npc_contour.domain.jobs import AnyDestination, Destination
from npc_contour.errors import UnreadableError, bytes_of_a_stranger
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

CANNOT_PROCESS = 0x0110
NO_SUCH_ARGUMENT = 0x0114


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What a peer has committed itself to.

    Attributes:
        transaction_uid: of our request.
        held: SOP Instance UIDs of objects that it keeps.
        failed: SOP Instance UID → failure reason (PS3.3 C.14.1.1), of objects that it does not.
    """

    transaction_uid: str
    held: tuple[str, ...]
    failed: dict[str, int]


Reported = Callable[[CommitmentReport], bool]
"""Takes a report; returns whether it is about a request of ours."""
ReportedBy = Callable[[CommitmentReport, AssociationInfo], bool]
"""Takes a report from whoever opened the association; returns whether it is about a request of ours to them."""


def is_from(destination: AnyDestination, peer: AssociationInfo) -> bool:
    """Whether whoever opened an association is a destination: by its AE title, from an address of its own.

    A name that is resolved may have several addresses; one that cannot be resolved has none.
    """
    if not isinstance(destination, Destination) or peer.calling_ae_title != destination.ae_title:
        return False
    address = _plain(peer.peer_address)
    if any(address in network for network in destination.report_networks):
        return True
    try:
        found = socket.getaddrinfo(destination.host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return address in {_plain(str(one[4][0])) for one in found}


def _plain(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def commitment_reports(reported: ReportedBy) -> Service:
    """Let peers open an association to report to us: they are its SCP then, by role selection (PS3.4 J.3.3)."""

    def report(message: Message) -> Answer:
        try:
            information = data_set_of(message)
        except UnreadableError as error:
            logger.warning(Event.DELIVERY_UNVERIFIED, extra={"detail": f"a report cannot be read: {error}"})
            return Answer(CANNOT_PROCESS)
        return Answer(_take(information, lambda given: reported(given, message.association)))

    return Service(
        sop_class=str(StorageCommitmentPushModel),
        operations={Field.N_EVENT_REPORT: report},
        requestor_may_be_scp=True,
    )


def take_report(event: evt.Event, reported: Reported) -> tuple[int, None]:
    """Answer one N-EVENT-REPORT that pynetdicom got; returns its status and no reply."""
    try:
        with bytes_of_a_stranger():
            information = event.event_information
    except UnreadableError as error:
        logger.warning(Event.DELIVERY_UNVERIFIED, extra={"detail": f"a report cannot be read: {error}"})
        return CANNOT_PROCESS, None
    return _take(information, reported), None


def _take(information: Dataset, reported: Reported) -> int:
    try:
        report = read_report(information)
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        logger.warning(Event.DELIVERY_UNVERIFIED, extra={"detail": f"a storage commitment report is damaged: {error}"})
        return CANNOT_PROCESS
    try:
        known = reported(report)
    except Exception:
        # The edge of the wire: the peer is told, and the question is put again.
        logger.exception(Event.DELIVERY_UNVERIFIED, extra={"transaction_uid": report.transaction_uid})
        return CANNOT_PROCESS
    return SUCCESS if known else NO_SUCH_ARGUMENT


def read_report(information: Dataset) -> CommitmentReport:
    """Read the Event Information of a report.

    Raises:
        ValueError: it names no transaction.
    """
    transaction_uid = str(information.get("TransactionUID") or "")
    if not transaction_uid:
        raise ValueError("no Transaction UID")
    held = tuple(str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or ())
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or CANNOT_PROCESS)
        for item in information.get("FailedSOPSequence") or ()
    }
    return CommitmentReport(transaction_uid, held, failed)
