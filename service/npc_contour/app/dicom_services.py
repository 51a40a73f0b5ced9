"""What the receiver serves besides C-ECHO and C-STORE, for the receiver and for the conformance statement."""

from __future__ import annotations

from collections.abc import Callable

from npc_contour.adapters.dicom.receive.availability import AvailabilityNotice, availability_notices
from npc_contour.adapters.dicom.receive.commitment import ReportedBy, commitment_reports
from npc_contour.adapters.dicom.receive.commitment_scp import Asked, commitment_requests
from npc_contour.adapters.dicom.receive.services import Service


def further_services(
    reported: ReportedBy,
    knows: Callable[[str], bool],
    asked: Asked,
    announced: Callable[[AvailabilityNotice], None],
) -> list[Service]:
    """Return the services.

    Args:
        reported: takes reports of storage commitment that we asked for.
        knows: whether we can report to a sender of this AE title.
        asked: notes a sender's request for storage commitment.
        announced: hears that a PACS has something new.
    """
    return [commitment_reports(reported), commitment_requests(knows, asked), availability_notices(announced)]
