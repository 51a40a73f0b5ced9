"""One established association: messages in, answers out, until it is released, aborted or lost.

The data set of a C-STORE goes from the socket to its file PDU by PDU; nothing of it is decoded or collected on the
way. Other data sets are small and bounded. One message is worked on at a time: what a peer sends ahead stays in the
network's buffers and holds it back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from npc_contour.adapters.dicom.association.command import MAX_COMMAND_BYTES, RESPONSE, Command, CommandError, Field
from npc_contour.adapters.dicom.association.wire import (
    RELEASE_RP,
    AbortReason,
    Fragment,
    PduType,
    PeerGoneError,
    Wire,
    WireError,
    data_pdus,
    fragments,
)
from npc_contour.adapters.dicom.receive.negotiation import Agreement
from npc_contour.adapters.dicom.receive.services import (
    PROCESSING_FAILURE,
    UNRECOGNISED_OPERATION,
    Answer,
    AssociationInfo,
    Context,
    Message,
    Services,
)
from npc_contour.logs import Event

MAX_STORED_BYTES = 256 * 2**20
"""A data set to store; the largest single-frame image that is taken has 32 MiB."""
MAX_DATA_SET_BYTES = 4 * 2**20
"""A data set of any other request; a Storage Commitment of 20000 images has 3 MiB."""
LINGER_S = 2.0

logger = logging.getLogger(__name__)


class AssociationEnd(StrEnum):
    """Where an association stands."""

    OPENED = "opened"
    RELEASED = "released"
    ABORTED = "aborted"


class Inflow(Protocol):
    """The object of one C-STORE while it arrives."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes of the data set; a failure to keep them is told by `finish`."""
        ...

    def finish(self) -> Answer:
        """The data set is whole: keep it, then say so."""
        ...

    def discard(self) -> None:
        """Leave nothing behind of what is not kept; called last, whatever happened."""
        ...


@dataclass(slots=True)
class _Pending:
    """The message that is arriving."""

    command: Command
    context: Context
    started: float
    inflow: Inflow | None
    data: bytearray
    size: int = 0


class Conversation:
    """Talks with one peer.

    Args:
        wire: to it, the association accepted.
        agreement: what was agreed.
        info: who it is.
        services: what is served.
        store: begins to take the object of a C-STORE.
        pace: called with how many bytes came; may wait.
        message_s: how long one message may take to arrive.
    """

    def __init__(
        self,
        wire: Wire,
        agreement: Agreement,
        info: AssociationInfo,
        services: Services,
        store: Callable[[Command, Context], Inflow],
        pace: Callable[[int], None],
        *,
        message_s: float,
    ) -> None:
        self._wire = wire
        self._contexts = agreement.contexts
        self._max_pdu = agreement.max_pdu
        self._info = info
        self._services = services
        self._store = store
        self._pace = pace
        self._message_s = message_s
        self._command = bytearray()
        self._command_context = 0
        self._command_started = 0.0
        self._pending: _Pending | None = None

    def run(self) -> tuple[AssociationEnd, str]:
        """Talk to the end; return how it ended, and why where it was not released."""
        try:
            return self._talk()
        except WireError as error:
            self._wire.abort(error.reason)
            return AssociationEnd.ABORTED, str(error)
        except PeerGoneError as error:
            return AssociationEnd.ABORTED, f"connection lost: {error}"
        finally:
            self._forget()

    def _talk(self) -> tuple[AssociationEnd, str]:
        while True:
            kind, body = self._wire.read()
            if kind is PduType.P_DATA_TF:
                self._pace(len(body))
                for fragment in fragments(body):
                    self._take(fragment)
                self._check_time()
            elif kind is PduType.RELEASE_RQ:
                self._wire.send(RELEASE_RP)
                self._wire.linger(LINGER_S)
                return AssociationEnd.RELEASED, ""
            elif kind is PduType.ABORT:
                return AssociationEnd.ABORTED, "by the peer"
            else:
                raise WireError(f"a {kind.name} within an association", AbortReason.UNEXPECTED_PDU)

    def _take(self, fragment: Fragment) -> None:
        if fragment.context_id not in self._contexts:
            raise WireError(
                f"presentation context {fragment.context_id} was not accepted", AbortReason.INVALID_PARAMETER
            )
        if fragment.is_command:
            self._take_command(fragment)
        else:
            self._take_data(fragment)

    def _take_command(self, fragment: Fragment) -> None:
        if self._pending is not None:
            raise WireError("a command within a data set", AbortReason.UNEXPECTED_PDU)
        if not self._command:
            self._command_context, self._command_started = fragment.context_id, time.monotonic()
        elif fragment.context_id != self._command_context:
            raise WireError("one command in two presentation contexts", AbortReason.UNEXPECTED_PDU)
        self._command += fragment.data
        if len(self._command) > MAX_COMMAND_BYTES:
            raise WireError(f"a command beyond {MAX_COMMAND_BYTES} bytes")
        if not fragment.is_last:
            return
        try:
            command = Command.parse(self._command)
        except CommandError as error:
            raise WireError(str(error), AbortReason.INVALID_PARAMETER) from error
        self._command.clear()
        self._begin(command, self._contexts[fragment.context_id])

    def _begin(self, command: Command, context: Context) -> None:
        if command.field & RESPONSE:
            raise WireError(f"a response {command.field:04X} to no request of ours", AbortReason.UNEXPECTED_PDU)
        if command.field == Field.C_CANCEL:
            return  # what it cancels is answered already
        stores = command.field == Field.C_STORE and self._services.of(context.sop_class).stores
        inflow = self._store(command, context) if stores else None
        self._pending = _Pending(command, context, self._command_started, inflow, bytearray())
        if not command.has_data_set:
            self._finish()

    def _take_data(self, fragment: Fragment) -> None:
        pending = self._pending
        if pending is None or self._command:
            raise WireError("a data set without its command", AbortReason.UNEXPECTED_PDU)
        if fragment.context_id != pending.context.context_id:
            raise WireError("a data set in another presentation context than its command", AbortReason.UNEXPECTED_PDU)
        pending.size += len(fragment.data)
        limit = MAX_DATA_SET_BYTES if pending.inflow is None else MAX_STORED_BYTES
        if pending.size > limit:
            raise WireError(f"a data set beyond {limit} bytes")
        if pending.inflow is None:
            pending.data += fragment.data
        else:
            pending.inflow.write(fragment.data)
        if fragment.is_last:
            self._finish()

    def _finish(self) -> None:
        """The message is whole: have it worked on and answer it."""
        pending = self._pending
        if pending is None:
            raise WireError("the end of no message", AbortReason.UNEXPECTED_PDU)
        try:
            answer = pending.inflow.finish() if pending.inflow is not None else self._operate(pending)
        finally:
            self._forget()
        head = pending.command.answer(answer.status, comment=answer.comment, has_data_set=answer.data_set is not None)
        identifier = pending.context.context_id
        out = data_pdus(identifier, head, is_command=True, max_pdu=self._max_pdu)
        if answer.data_set is not None:
            out += data_pdus(identifier, answer.data_set, is_command=False, max_pdu=self._max_pdu)
        self._wire.send(out)
        if answer.after is not None:
            answer.after()

    def _operate(self, pending: _Pending) -> Answer:
        operation = self._services.of(pending.context.sop_class).operations.get(pending.command.field)
        if operation is None:
            return Answer(UNRECOGNISED_OPERATION, comment=f"command {pending.command.field:04X}H is not served here")
        data_set = bytes(pending.data) if pending.command.has_data_set else None
        try:
            return operation(Message(pending.command, pending.context, self._info, data_set))
        except Exception as error:
            # The edge of the wire: the peer gets an answer whatever went wrong here, and the association goes on.
            logger.exception(
                Event.REQUEST_FAILED,
                extra={"command": f"0x{pending.command.field:04X}", "association_id": self._info.association_id},
            )
            return Answer(PROCESSING_FAILURE, comment=type(error).__name__)

    def _check_time(self) -> None:
        started = self._pending.started if self._pending is not None else self._command_started
        if (self._pending is not None or self._command) and time.monotonic() - started > self._message_s:
            raise WireError(f"one message took longer than {self._message_s:g} s")

    def _forget(self) -> None:
        if self._pending is not None and self._pending.inflow is not None:
            self._pending.inflow.discard()
        self._pending = None
