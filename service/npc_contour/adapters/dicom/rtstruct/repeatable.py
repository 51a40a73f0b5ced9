"""Objects that highdicom makes, without what it takes from the clock and from chance.

An object that was damaged is made again under its SOP Instance UID, so the same content must give the same bytes.
"""

from __future__ import annotations

from datetime import datetime

from pydicom.dataset import Dataset

from npc_contour.adapters.dicom.rtstruct.text import utc_offset
from npc_contour.adapters.dicom.rtstruct.writer import derived_uid


def make_repeatable(document: Dataset, made_at: datetime, uid_seed: str) -> None:
    """Set every date and time of making to `made_at` with its zone, and derive from the seed what highdicom drew.

    Source: PS3.3 C.12.1 (SOP Common), C.7.6.17 (Multi-frame Dimension).
    """
    date, time = f"{made_at:%Y%m%d}", f"{made_at:%H%M%S}"
    document.ContentDate = document.InstanceCreationDate = date
    document.ContentTime = document.InstanceCreationTime = time
    if offset := utc_offset(made_at):
        document.TimezoneOffsetFromUTC = offset
    document.ContributingEquipmentSequence[-1].ContributionDateTime = f"{date}{time}"  # the last one is highdicom's own
    dimensions = derived_uid(uid_seed, "dimensions")
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in document.get(sequence, ()):
            item.DimensionOrganizationUID = dimensions
