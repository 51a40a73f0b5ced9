"""Keep DICOM files that did not come by C-STORE: fetched from a PACS, or posted by STOW-RS.

They pass the same checks, lie in the same spool under our own file meta information, and their rows commit before the
bringer is told so. The preamble of the file is not kept: it may hold a program (CVE-2019-11687).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from npc_contour.adapters.dicom.read import headers
from npc_contour.adapters.dicom.read.incoming import DATA_SET_MISMATCH, Incoming, fields_of
from npc_contour.adapters.dicom.read.pixels import COMPRESSED_SYNTAXES, NATIVE_SYNTAXES
from npc_contour.adapters.dicom.spool.files import INVALID_UID, Outcome, Spool
from npc_contour.adapters.dicom.spool.quarantine import SpoolQuarantine
from npc_contour.application.intake import UID_CONFLICT
from npc_contour.core.grouping import object_name
from npc_contour.domain.queries import Wanted
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.uids import is_uid
from npc_contour.errors import InstanceRefused
from npc_contour.logs import Event

CLASS_NOT_SUPPORTED = 0x0122
_SYNTAXES = frozenset(map(str, (*NATIVE_SYNTAXES, *COMPRESSED_SYNTAXES)))

logger = logging.getLogger(__name__)

Note = Callable[[InstanceHeader, str, AssociationRow], object]
"""Commits the row of an image that is on disk: (header, key, association); raises when it could not."""
Repaired = Callable[[InstanceHeader], None]
"""Told of good bytes that took the place of damaged ones."""
NoteConflict = Callable[[InstanceHeader, str, Sequence[str]], None]
"""Called for a duplicate UID with different content: (header, detail, in what it names another patient)."""


class FileKeeper:
    """Keeps files as the receiver keeps objects.

    Args:
        spool: where bytes go.
        note: commits the row of an image.
        note_conflict: records that a duplicate UID came with different content.
        on_repair: told once good bytes have taken the place of damaged ones.
    """

    def __init__(
        self,
        spool: Spool,
        note: Note,
        note_conflict: NoteConflict,
        on_repair: Repaired = lambda _: None,
    ) -> None:
        self._on_repair = on_repair
        self._spool = spool
        self._note = note
        self._note_conflict = note_conflict

    def keep(self, file: bytes, association: AssociationRow, *, asked: Wanted | None = None) -> InstanceHeader:
        """Keep one DICOM file (PS3.10); on return it survives a power cut. The same file again changes nothing.

        Args:
            file: the whole file.
            association: by which it came.
            asked: it must be of what was asked for; None lets any be.

        Raises:
            InstanceRefused: it is not what it says it is, or nothing that we take; carries a C-STORE status.
            SpoolFullError: no room.
            StoreError: the database did not take its row.
        """
        meta, data_set = headers.split_file(file)
        instance, sop_class = meta.uid("MediaStorageSOPInstanceUID"), meta.uid("MediaStorageSOPClassUID")
        incoming = Incoming(sop_class, instance, sop_class, meta.uid("TransferSyntaxUID"), data_set)
        try:
            return self._keep(incoming, association, asked)
        except InstanceRefused as error:
            error.sop_instance_uid = instance if is_uid(instance) else ""
            error.sop_class_uid = sop_class if is_uid(sop_class) else ""
            raise

    def _keep(self, incoming: Incoming, association: AssociationRow, asked: Wanted | None) -> InstanceHeader:
        instance, sop_class, syntax = (
            incoming.sop_instance_uid, incoming.sop_class_uid, incoming.transfer_syntax_uid,
        )  # fmt: skip
        if not is_uid(instance):
            raise InstanceRefused(f"Media Storage SOP Instance UID is not a UID: {instance[:64]!r}", status=INVALID_UID)
        if not incoming.is_class_taken:
            raise InstanceRefused(f"{object_name(sop_class)} is not taken", status=CLASS_NOT_SUPPORTED)
        if syntax not in _SYNTAXES:
            raise InstanceRefused(
                f"class {sop_class[:64]!r} in transfer syntax {syntax[:64]!r} is not taken", status=CLASS_NOT_SUPPORTED
            )
        header = incoming.checked_header()
        if asked is not None and (why := asked.stranger(header)):
            raise InstanceRefused(why, status=DATA_SET_MISMATCH)
        kept = self._spool.keep(header, incoming.file_parts())
        if kept.outcome is Outcome.CONFLICT:
            logger.error(
                Event.INSTANCE_CONFLICT,
                extra={"sop_instance_uid": header.sop_instance_uid, "quarantine": kept.quarantine_key},
            )
            words = f"another object with this UID is quarantined as {kept.quarantine_key}"
            self._note_conflict(header, words, SpoolQuarantine(self._spool).other_patient(kept))
            raise InstanceRefused("another object with this SOP Instance UID is stored already", status=UID_CONFLICT)
        self._note(replace(header, seal=kept.seal), kept.key, association)
        if kept.outcome is Outcome.REPAIRED:
            self._on_repair(header)
        logger.info(
            Event.INSTANCE_STORED,
            extra={
                **fields_of(header),
                "association_id": association.association_id,
                "calling_ae_title": association.calling_ae_title,
                "called_ae_title": association.called_ae_title,
                "peer": association.peer,
            },
        )
        return header
