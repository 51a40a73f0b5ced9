"""Instance Availability Notification as its SCP (PS3.4 R): a PACS says that it has a study now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom.sop_class import InstanceAvailabilityNotification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.association.command import Field
from npc_contour.adapters.dicom.receive.services import SUCCESS, Answer, Message, Service, data_set_of
from npc_contour.domain.uids import is_uid
from npc_contour.errors import UnreadableError, bytes_of_a_stranger

INVALID_ATTRIBUTE = 0x0106


@dataclass(frozen=True, slots=True)
class AvailabilityNotice:
    """What a PACS has.

    Attributes:
        calling_ae_title: who says so.
        series: Series Instance UID → how many of its images can be retrieved (ONLINE or NEARLINE).
        retrieve_ae_titles: where from.
    """

    calling_ae_title: str
    study_instance_uid: str
    series: dict[str, int]
    retrieve_ae_titles: frozenset[str]


def availability_notices(told: Callable[[AvailabilityNotice], None]) -> Service:
    """Take notices; each is told before it is answered."""

    def create(message: Message) -> Answer:
        try:
            with bytes_of_a_stranger():
                notice = read_notice(data_set_of(message), message.association.calling_ae_title)
        except UnreadableError:
            return Answer(INVALID_ATTRIBUTE, comment="the data set cannot be read")
        told(notice)
        return Answer(SUCCESS)

    return Service(sop_class=str(InstanceAvailabilityNotification), operations={Field.N_CREATE: create})


def read_notice(data_set: Dataset, calling_ae_title: str) -> AvailabilityNotice:
    """Read the attributes of a notice (PS3.4 table R.3.2-1).

    Raises:
        ValueError: a UID is none.
        AttributeError: something required is absent.
    """
    series: dict[str, int] = {}
    titles: set[str] = set()
    for item in data_set.ReferencedSeriesSequence:
        images = list(item.ReferencedSOPSequence)
        available = [image for image in images if image.InstanceAvailability in {"ONLINE", "NEARLINE"}]
        series[str(item.SeriesInstanceUID)] = len(available)
        for image in available:
            value = image.get("RetrieveAETitle") or ""
            titles.update([value] if isinstance(value, str) else map(str, value))
    study = str(data_set.StudyInstanceUID)
    if not all(map(is_uid, [study, *series])):
        raise ValueError("a UID is none")
    return AvailabilityNotice(calling_ae_title, study, series, frozenset(filter(None, titles)))
