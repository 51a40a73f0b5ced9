"""The DICOM receiver: C-STORE of CT and MR images, C-ECHO, and whatever other services are handed to it.

An instance is answered 0x0000 only when its bytes, as received, are on disk under their final name and the intake
callback has committed its row. Everything that is not what it says it is gets a failure status and a line in the log;
the patient's name is never read.

| status | meaning here |
|--------|--------------|
| 0x0000 | kept, or the same bytes are kept already |
| 0xA700 | no room, or the database does not answer: the sender keeps the study and may try again |
| 0xA900 | command, presentation context and data set disagree on class, instance or modality |
| 0xC001 | no data set in the negotiated transfer syntax, no whole pixels, or an element twice with different values |
| 0xC002 | a UID is not a UID |
| 0xC003 | another object with this UID is stored; it stays, and this one is quarantined |

Pending connections are handled in one thread (`acceptor`), each association in one of its own (`conversation`).
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from npc_contour.adapters.dicom.association.association_items import APPLICATION_CONTEXT
from npc_contour.adapters.dicom.association.tls import Reloading, certificate_names, server_context
from npc_contour.adapters.dicom.association.wire import PeerGoneError, Wire, WireError, reject_pdu
from npc_contour.adapters.dicom.read import pixels
from npc_contour.adapters.dicom.read.incoming import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    STORAGE_CLASSES,
)
from npc_contour.adapters.dicom.receive.acceptor import BACKLOG, Acceptor, Arrival, Listener
from npc_contour.adapters.dicom.receive.access import (
    APPLICATION_CONTEXT_UNKNOWN,
    LOOPBACK,
    PROTOCOL_VERSION_UNKNOWN,
    AccessRule,
    Caller,
    Gatekeeper,
    Refusal,
    refusal,
)
from npc_contour.adapters.dicom.receive.admission import Admission
from npc_contour.adapters.dicom.receive.conversation import AssociationEnd, Conversation
from npc_contour.adapters.dicom.receive.limits import Deadlines, ReceiverSettings, TlsPort
from npc_contour.adapters.dicom.receive.negotiation import AssociationRequest, agree, read_request
from npc_contour.adapters.dicom.receive.services import AssociationInfo, Service, Services, verification
from npc_contour.adapters.dicom.receive.storing import Intake, OnConflict, Session, Storing
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.logs import Event

__all__ = [
    "AssociationEnd",
    "AssociationEvent",
    "AssociationInfo",
    "Deadlines",
    "Receiver",
    "ReceiverSettings",
    "TlsPort",
]

LONGEST_PAUSE_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AssociationEvent:
    """Something happened to an association.

    Attributes:
        series_instance_uids: series of which it brought instances so far.
        stored: instances answered 0x0000.
        refused: instances answered otherwise.
    """

    kind: AssociationEnd
    association: AssociationInfo
    series_instance_uids: tuple[str, ...]
    stored: int
    refused: int


class Receiver:
    """Listens from `start` to `stop`; also a context manager.

    Args:
        settings: how it behaves.
        spool: where bytes go.
        intake: commits an instance's row before it is answered; called from several threads.
        on_association: told of each association opened, released, aborted or lost; its errors are logged, no more.
        on_conflict: called for a duplicate UID with different content, once it is quarantined or replaces a damaged
            file.
        services: what is served besides C-ECHO and C-STORE of images.
        admission: sets room aside for each association; None sets nothing aside.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        spool: Spool,
        intake: Intake,
        *,
        on_association: Callable[[AssociationEvent], None] | None = None,
        on_conflict: OnConflict | None = None,
        services: Iterable[Service] = (),
        admission: Admission | None = None,
    ) -> None:
        self._settings = settings
        self._storing = Storing(spool, intake, on_conflict, admission)
        self._admission = admission
        self._on_association = on_association
        self._services = Services([verification(), *storage_services(), *services])
        own = AccessRule(networks=LOOPBACK, calling_ae_titles=(settings.ae_title.strip(),))
        self._rules = (*settings.access, own)
        self._titles = frozenset({settings.ae_title.strip(), *settings.called_ae_titles})
        self._gatekeeper = Gatekeeper(settings.max_associations, settings.limits)
        self._acceptor: Acceptor | None = None
        self._wires: dict[threading.Thread, Wire] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ports: list[int] = []

    @property
    def port(self) -> int:
        """The plain port it listens on."""
        return self._ports[0] if self._ports else self._settings.port

    @property
    def tls_port(self) -> int:
        """The TLS port it listens on; 0 without one."""
        return self._ports[1] if len(self._ports) > 1 else 0

    @property
    def open_associations(self) -> int:
        """Associations under way."""
        with self._lock:
            return len(self._wires)

    @property
    def is_listening(self) -> bool:
        """Whether connections are accepted: False before `start`, after `stop`, and if its thread has ended."""
        return self._acceptor is not None and self._acceptor.is_open

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: a port is taken or not ours to take.
            SettingsError: a certificate cannot be used.
        """
        # pynetdicom's decoder logs every byte that it cannot decode: a peer could fill the disk with that.
        logging.getLogger("pynetdicom.utils").setLevel(logging.CRITICAL)
        settings = self._settings
        self._stopping.clear()
        listeners = [Listener(_listener(settings.host, settings.port, shared=settings.shared_port))]
        try:
            if (tls := settings.tls) is not None:
                context = Reloading(
                    tls.files, lambda files: server_context(files, client_certificates=tls.client_certificates)
                )
                listeners.append(Listener(_listener(settings.host, tls.port, shared=settings.shared_port), context))
        except BaseException:
            listeners[0].listening.close()
            raise
        self._ports = [int(listener.listening.getsockname()[1]) for listener in listeners]
        self._acceptor = Acceptor(listeners, settings.deadlines.associate_s, self._admit, settings.beat)
        self._acceptor.start()

    def stop(self) -> None:
        """Take no more associations, let running ones end within the grace, abort the rest."""
        if self._acceptor is None:
            return
        self._acceptor.stop()
        self._acceptor = None
        deadline = time.monotonic() + self._settings.stop_grace_s
        while self.open_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stopping.set()
        with self._lock:
            running = list(self._wires.items())
        for _, wire in running:
            wire.shut()
        for thread, _ in running:
            thread.join(timeout=5.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _admit(self, arrival: Arrival) -> None:
        """Give the connection a thread of its own, or reject it; called in the acceptor's thread, so it never waits."""
        refused = self._gatekeeper.enter(arrival.address)
        wire = Wire(arrival.connection, self._settings.deadlines.silence_s)
        if refused is not None:
            # One short send into an empty buffer: it cannot wait.
            self._reject(wire, arrival, None, refused)
            wire.close()
            return
        thread = threading.Thread(target=self._attend, args=(arrival, wire), name="dicom-association", daemon=True)
        with self._lock:
            self._wires[thread] = wire
        try:
            thread.start()
        except RuntimeError:
            # No more threads on this machine: this peer may try again, all others go on.
            logger.exception(Event.ASSOCIATION_REJECTED, extra={"peer": arrival.address})
            self._gone(thread, arrival, wire)

    def _attend(self, arrival: Arrival, wire: Wire) -> None:
        """The life of one association."""
        try:
            self._converse(arrival, wire)
        except WireError as error:
            logger.warning(Event.ASSOCIATION_REJECTED, extra={"peer": arrival.address, "reason": str(error)})
            wire.abort(error.reason)
        except PeerGoneError as error:
            logger.info(Event.ASSOCIATION_REJECTED, extra={"peer": arrival.address, "reason": str(error)})
        except Exception:
            # The edge of the wire: an error in one association must not end another.
            logger.exception(Event.ASSOCIATION_ENDED, extra={"peer": arrival.address})
        finally:
            self._gone(threading.current_thread(), arrival, wire)

    def _gone(self, thread: threading.Thread, arrival: Arrival, wire: Wire) -> None:
        wire.close()
        self._gatekeeper.leave(arrival.address)
        with self._lock:
            self._wires.pop(thread, None)

    def _converse(self, arrival: Arrival, wire: Wire) -> None:
        request = read_request(arrival.request)
        names = certificate_names(arrival.connection)
        caller = Caller(arrival.address, request.calling_ae_title, request.called_ae_title, names)
        refused = refusal(caller, self._rules, self._titles)
        if request.application_context != APPLICATION_CONTEXT:
            refused = APPLICATION_CONTEXT_UNKNOWN
        if not request.speaks_version_1:
            refused = PROTOCOL_VERSION_UNKNOWN
        if refused is not None:
            self._reject(wire, arrival, request, refused)
            wire.linger(0.2)
            return
        info = AssociationInfo(
            uuid.uuid4().hex,
            caller.calling_ae_title,
            caller.called_ae_title,
            arrival.address,
            names[0] if names else "",
        )
        agreement = agree(request, self._services.contexts, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)
        wire.send(agreement.pdu)
        session = Session(info)
        logger.info(
            Event.ASSOCIATION_ACCEPTED,
            extra={
                **session.fields(),
                "implementation": request.implementation,
                "contexts": sorted({context.sop_class for context in agreement.contexts.values()}),
                "refused_contexts": sorted(set(agreement.refused)),
            },
        )
        self._notify(AssociationEnd.OPENED, session)
        how = AssociationEnd.ABORTED
        why = "the receiver failed"
        try:
            how, why = Conversation(
                wire,
                agreement,
                info,
                self._services,
                lambda command, context: self._storing.begin(command, context, session),
                lambda size: self._pace(arrival.address, size),
                message_s=self._settings.deadlines.message_s,
            ).run()
        finally:
            counts = {"stored": session.stored, "refused": session.refused, "how": how.value, "reason": why}
            logger.info(Event.ASSOCIATION_ENDED, extra={**session.fields(), **counts})
            self._notify(how, session)

    def _reject(self, wire: Wire, arrival: Arrival, request: AssociationRequest | None, refused: Refusal) -> None:
        logger.warning(
            Event.ASSOCIATION_REJECTED,
            extra={
                "calling_ae_title": request.calling_ae_title if request else "",
                "called_ae_title": request.called_ae_title if request else "",
                "peer": arrival.address,
                "reason": refused.words,
            },
        )
        try:
            wire.send(reject_pdu(refused.result, refused.source, refused.reason))
        except PeerGoneError:
            return

    def _pace(self, address: str, size: int) -> None:
        pause_s = self._gatekeeper.wait_s(address, size)
        while pause_s > 0 and not self._stopping.wait(min(pause_s, LONGEST_PAUSE_S)):
            pause_s -= LONGEST_PAUSE_S

    def _notify(self, kind: AssociationEnd, session: Session) -> None:
        if self._admission is not None and kind is not AssociationEnd.OPENED:
            self._admission.ended(session.info.association_id)
        if self._on_association is not None:
            series = tuple(sorted(session.series))
            event = AssociationEvent(kind, session.info, series, session.stored, session.refused)
            try:
                self._on_association(event)
            except Exception:
                # A listener must not break the association: completion finds open associations by time.
                logger.exception(Event.ASSOCIATION_ENDED, extra=session.fields())


def storage_services() -> list[Service]:
    """C-STORE of the image classes that are taken."""
    syntaxes = tuple(map(str, (*pixels.NATIVE_SYNTAXES, *pixels.COMPRESSED_SYNTAXES)))
    return [Service(sop_class=name, transfer_syntaxes=syntaxes, stores=True) for name in STORAGE_CLASSES]


def _listener(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
