"""The port `StructureSetWriter`: an RTSTRUCT leaves here only after it passed the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from npc_contour.adapters.dicom.gate import check_rtstruct
from npc_contour.adapters.dicom.planning_header import read_planning_header
from npc_contour.adapters.dicom.rtstruct import encode_rtstruct, sop_instance_uid
from npc_contour.application.ports import EncodedStructureSet
from npc_contour.core.labels import RoiMask
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.structures import StructureSet
from npc_contour.domain.volumes import Volume


class CheckedWriter:
    """Writes RTSTRUCTs and checks each before anybody sees it."""

    def __init__(self, open_path: Callable[[str], Path] = Path) -> None:
        """Make a writer.

        Args:
            open_path: from an image header's key to its file; the default takes the key as a path.
        """
        self._open_path = open_path

    def write(
        self,
        structure_set: StructureSet,
        masks: Sequence[RoiMask],
        volume: Volume,
        reference: InstanceHeader,
        made_at: datetime,
    ) -> EncodedStructureSet:
        """Encode and check, see the port.

        Raises:
            GateError: the RTSTRUCT failed its own check and must not leave the house.
            InstanceRefused: the reference image lacks a UID.
        """
        header = read_planning_header(self._open_path(reference.key))
        data = encode_rtstruct(structure_set, volume, header, made_at=made_at)
        report = check_rtstruct(data, masks, volume, header)
        return EncodedStructureSet(sop_instance_uid(structure_set), data, report.min_dice)
