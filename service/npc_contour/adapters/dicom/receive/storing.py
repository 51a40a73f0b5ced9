"""C-STORE: an object's bytes go to a file as they arrive; it is answered when they and their row are durable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from pydicom.uid import DeflatedExplicitVRLittleEndian

from npc_contour.adapters.dicom.association.command import Command, Element
from npc_contour.adapters.dicom.read.incoming import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    Incoming,
    fields_of,
    file_meta,
)
from npc_contour.adapters.dicom.receive.admission import Admission
from npc_contour.adapters.dicom.receive.services import SUCCESS, Answer, AssociationInfo, Context
from npc_contour.adapters.dicom.spool.draft import Draft
from npc_contour.adapters.dicom.spool.files import INVALID_UID, Kept, Outcome, Spool
from npc_contour.application.intake import UID_CONFLICT
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.uids import is_uid
from npc_contour.errors import InstanceRefused, SpoolFullError
from npc_contour.logs import Event

OUT_OF_RESOURCES = 0xA700

logger = logging.getLogger(__name__)

Intake = Callable[[InstanceHeader, str, AssociationInfo, Callable[[], None]], None]
"""Commit the row of an instance that has its name: (header, key, association, what makes its file durable, to be called
once while the database works). It raises when either failed."""
OnConflict = Callable[[InstanceHeader, Kept, AssociationInfo], None]

_one_inflation = threading.Lock()
"""A deflated data set may take 256 MiB to look into: one at a time."""


@dataclass(slots=True)
class Session:
    """One association and what it brought.

    Attributes:
        series: Series Instance UIDs of which it brought instances.
        stored: instances answered 0x0000.
        refused: instances answered otherwise.
    """

    info: AssociationInfo
    series: set[str] = field(default_factory=set)
    stored: int = 0
    refused: int = 0

    def fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {
            "association_id": self.info.association_id,
            "calling_ae_title": self.info.calling_ae_title,
            "called_ae_title": self.info.called_ae_title,
            "peer": self.info.peer_address,
            **({"tls_subject": self.info.tls_subject} if self.info.tls_subject else {}),
        }


@dataclass(frozen=True, slots=True)
class Storing:
    """Where objects go.

    Attributes:
        intake: commits an instance's row before it is answered; called from several threads.
        on_conflict: called for a duplicate UID with different content, once it is quarantined or replaces a damaged
            file.
        admission: sets room aside for associations; None sets nothing aside.
    """

    spool: Spool
    intake: Intake
    on_conflict: OnConflict | None = None
    admission: Admission | None = None

    def begin(self, command: Command, context: Context, session: Session) -> StoredObject:
        """Begin to take the object of a C-STORE."""
        return StoredObject(self, command, context, session)


class _Once:
    """Does something once, however often it is called: whether or not the intake flushes, the file is flushed."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            self._do()
            self._done = True


class StoredObject:
    """The object of one C-STORE while it arrives."""

    def __init__(self, storing: Storing, command: Command, context: Context, session: Session) -> None:
        self._storing = storing
        self._context = context
        self._session = session
        self._class_uid = command.uid(Element.AFFECTED_SOP_CLASS_UID)
        self._instance_uid = command.uid(Element.AFFECTED_SOP_INSTANCE_UID)
        self._draft: Draft | None = None
        self._meta = b""
        self._failure: Exception | None = self._refusal()

    def _refusal(self) -> InstanceRefused | None:
        """What is wrong before a byte of the data set has come; the rest is still read, to answer in good order."""
        if not is_uid(self._instance_uid):
            return InstanceRefused(f"the command's SOP Instance UID is none: {self._instance_uid[:64]!r}",
                                   status=INVALID_UID)  # fmt: skip
        if self._class_uid != self._context.sop_class:
            return InstanceRefused(
                f"class {self._class_uid[:64]} came under a presentation context for {self._context.sop_class}",
                status=DATA_SET_MISMATCH,
            )
        return None

    def write(self, data: memoryview) -> None:
        """Append to the file; what goes wrong is kept for `finish`."""
        if self._failure is not None:
            return
        try:
            if self._storing.admission is not None:
                self._storing.admission.use(self._session.info.association_id, data.nbytes)
            if self._draft is None:
                self._meta = file_meta(self._class_uid, self._instance_uid, self._context.transfer_syntax)
                self._draft = self._storing.spool.new_draft()
                self._draft.write(self._meta)
            self._draft.write(data)
        except (SpoolFullError, OSError) as error:
            self._failure = error
            self.discard()

    def finish(self) -> Answer:
        """Keep the object, then say so."""
        try:
            header = self._kept()
        except InstanceRefused as error:
            return self._refused(error.status, str(error))
        except SpoolFullError as error:
            return self._refused(OUT_OF_RESOURCES, str(error))
        except Exception as error:
            # The edge of the wire: whatever went wrong here, the sender must keep its copy.
            logger.exception(
                Event.INSTANCE_REFUSED, extra={"sop_instance_uid": self._instance_uid[:64], **self._session.fields()}
            )
            return self._refused(OUT_OF_RESOURCES, type(error).__name__)
        self._session.stored += 1
        logger.info(
            Event.INSTANCE_STORED,
            extra={**fields_of(header), **self._session.fields()},
        )
        return Answer(SUCCESS)

    def discard(self) -> None:
        """Remove the file under way; one that was kept stays under its name."""
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    def _kept(self) -> InstanceHeader:
        if self._failure is not None:
            raise self._failure
        if self._draft is None:
            raise InstanceRefused("the C-STORE brings no data set", status=CANNOT_UNDERSTAND)
        draft, session, storing = self._draft, self._session, self._storing
        header = self._checked(draft)
        session.series.add(header.series_instance_uid)
        kept = storing.spool.name(header, draft)
        if kept.outcome is Outcome.CONFLICT:
            logger.error(
                Event.INSTANCE_CONFLICT,
                extra={"sop_instance_uid": header.sop_instance_uid, "quarantine": kept.quarantine_key},
            )
            storing.spool.settle(kept, draft)
            if storing.on_conflict is not None:
                storing.on_conflict(header, kept, session.info)
            raise InstanceRefused("another object with this SOP Instance UID is stored already", status=UID_CONFLICT)
        # Disk and database flush at the same time, and both before the answer. Should the power fail in between, a row
        # may be left without its file, never answered: the next start of the receiver takes it back.
        settle = _Once(partial(storing.spool.settle, kept, draft))
        storing.intake(replace(header, seal=kept.seal), kept.key, session.info, settle)
        settle()
        if kept.outcome is Outcome.REPAIRED and storing.on_conflict is not None:
            storing.on_conflict(header, kept, session.info)
        return header

    def _checked(self, draft: Draft) -> InstanceHeader:
        syntax = self._context.transfer_syntax
        deflated = syntax == DeflatedExplicitVRLittleEndian
        with _one_inflation if deflated else nullcontext(), draft.view() as whole, whole[len(self._meta) :] as data_set:
            return Incoming(
                self._class_uid, self._instance_uid, self._context.sop_class, syntax, data_set
            ).checked_header()

    def _refused(self, status: int, reason: str) -> Answer:
        self._session.refused += 1
        logger.warning(
            Event.INSTANCE_REFUSED,
            extra={
                "sop_instance_uid": self._instance_uid[:64],
                "status": f"0x{status:04X}",
                "reason": reason,
                **self._session.fields(),
            },
        )
        return Answer(status, comment=reason)
