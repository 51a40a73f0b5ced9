"""The DICOM front door: C-ECHO, and C-STORE of CT and MR images.

An instance is answered 0x0000 only when its bytes, as received, are on disk under their final name and the intake
callback has committed its row. Everything that is not what it says it is gets a failure status and a line in the log;
the patient's name is never read.

| status | meaning here |
|--------|--------------|
| 0x0000 | kept, or the same bytes are kept already |
| 0xA700 | no room, or the database does not answer: the sender keeps the study and may try again |
| 0xA900 | command, presentation context and data set disagree on class, instance or modality |
| 0xC001 | the bytes are not a data set in the negotiated transfer syntax, or the pixels are not whole |
| 0xC002 | a UID is not a UID |
| 0xC003 | other bytes are kept under this UID; the first stay, these are quarantined |
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Self

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom import pixels
from npc_contour.adapters.dicom.bounded_server import MAX_PDU, BoundedServer, Deadlines
from npc_contour.adapters.dicom.incoming import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    STORAGE_CLASSES,
    Incoming,
)
from npc_contour.adapters.dicom.spool import Kept, Outcome, Spool
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused, SpoolFullError
from npc_contour.logs import Event

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CONFLICT = 0xC003
Network = IPv4Network | IPv6Network
LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

_PERMANENT, _SERVICE_USER = 0x01, 0x01
_NO_REASON, _CALLING_UNKNOWN, _CALLED_UNKNOWN = 0x01, 0x03, 0x07

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """How the front door behaves.

    Attributes:
        port: 0 takes a free one; `Receiver.port` then says which.
        called_ae_titles: further titles that peers may call, as routing rules tell apart by them.
        allowed_calling_ae_titles: empty lets every title in.
        allowed_networks: peers from elsewhere are rejected.
    """

    ae_title: str = "NPC_CONTOUR"
    host: str = "127.0.0.1"
    port: int = 11112
    max_associations: int = 32
    called_ae_titles: tuple[str, ...] = ()
    allowed_calling_ae_titles: tuple[str, ...] = ()
    allowed_networks: tuple[Network, ...] = LOOPBACK
    deadlines: Deadlines = field(default_factory=Deadlines)
    stop_grace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class AssociationInfo:
    """Who brought an instance."""

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str


class AssociationEnd(StrEnum):
    """Where an association stands."""

    OPENED = "opened"
    RELEASED = "released"
    ABORTED = "aborted"


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


Intake = Callable[[InstanceHeader, str, AssociationInfo], None]
"""Commit the row of an instance that is on disk: (header, key, association). It raises when it could not."""


@dataclass(slots=True)
class _Session:
    info: AssociationInfo
    series: set[str] = field(default_factory=set)
    stored: int = 0
    refused: int = 0


class Receiver:
    """Listens from `start` to `stop`; also a context manager.

    Args:
        settings: how it behaves.
        spool: where bytes go.
        intake: commits an instance's row before it is answered; called from several threads.
        on_association: told of each association opened, released, aborted or lost; its errors are logged, no more.
        on_conflict: told of other bytes under a kept UID, once they are in quarantine.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        spool: Spool,
        intake: Intake,
        *,
        on_association: Callable[[AssociationEvent], None] | None = None,
        on_conflict: Callable[[InstanceHeader, Kept, AssociationInfo], None] | None = None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._intake = intake
        self._on_association = on_association
        self._on_conflict = on_conflict
        self._sessions: dict[int, _Session] = {}
        self._lock = threading.Lock()
        self._server: BoundedServer | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            return self._settings.port
        return int(self._server.server_address[1])

    @property
    def open_associations(self) -> int:
        """Associations under way."""
        with self._lock:
            return len(self._sessions)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken or not ours to take.
        """
        # pynetdicom's own narration of every PDU costs a fifth of the time and may print data sets.
        _config.LOG_HANDLER_LEVEL = "none"
        settings = self._settings
        entity = AE(ae_title=settings.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_pdu_size = MAX_PDU
        entity.maximum_associations = settings.max_associations
        entity.acse_timeout = settings.deadlines.associate_s
        entity.dimse_timeout = settings.deadlines.silence_s
        entity.network_timeout = settings.deadlines.silence_s
        entity.add_supported_context(Verification)
        for sop_class in STORAGE_CLASSES:
            entity.add_supported_context(sop_class, [*pixels.NATIVE_SYNTAXES, *pixels.COMPRESSED_SYNTAXES])
        server = entity.make_server(
            (settings.host, settings.port),
            server_class=BoundedServer,
            deadlines=settings.deadlines,
            max_connections=settings.max_associations + 16,
            on_lost=lambda association: self._ended(association, AssociationEnd.ABORTED),
        )
        if not isinstance(server, BoundedServer):
            raise TypeError(f"pynetdicom made a {type(server).__name__}, asked for a BoundedServer")
        for event, handler in (
            (evt.EVT_CONN_OPEN, lambda event: server.opened(event.assoc)),
            (evt.EVT_CONN_CLOSE, lambda event: server.closed(event.assoc)),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_RELEASED, lambda event: self._ended(event.assoc, AssociationEnd.RELEASED)),
            (evt.EVT_ABORTED, lambda event: self._ended(event.assoc, AssociationEnd.ABORTED)),
            (evt.EVT_C_STORE, self._on_c_store),
        ):
            server.bind(event, handler)
        self._server = server
        server.start()

    def stop(self) -> None:
        """Take no more associations, let running ones end within the grace, abort the rest."""
        if self._server is not None:
            self._server.stop(grace_s=self._settings.stop_grace_s)
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _on_requested(self, event: evt.Event) -> None:
        """Let a peer in or reject it; only here, for an error raised later rejects nothing."""
        association: Association = event.assoc
        request = association.requestor.primitive
        calling = (request.calling_ae_title or "").strip() if request else ""
        called = (request.called_ae_title or "").strip() if request else ""
        address = str(association.requestor.address)
        refusal = self._refusal(calling, called, address)
        if refusal is None:
            info = AssociationInfo(uuid.uuid4().hex, calling, called, address)
            with self._lock:
                self._sessions[id(association)] = _Session(info)
            return
        reason, words = refusal
        logger.warning(
            Event.ASSOCIATION_REJECTED,
            extra={"calling_ae_title": calling, "called_ae_title": called, "peer": address, "reason": words},
        )
        association.acse.send_reject(_PERMANENT, _SERVICE_USER, reason)
        association.kill()

    def _refusal(self, calling: str, called: str, address: str) -> tuple[int, str] | None:
        settings = self._settings
        peer: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        if not any(peer in network for network in settings.allowed_networks):
            return _NO_REASON, "the peer's address is in none of the allowed networks"
        if settings.allowed_calling_ae_titles and calling not in settings.allowed_calling_ae_titles:
            return _CALLING_UNKNOWN, "the calling AE title is not allowed"
        if called not in {settings.ae_title.strip(), *settings.called_ae_titles}:
            return _CALLED_UNKNOWN, "the called AE title is not ours"
        return None

    def _on_established(self, event: evt.Event) -> None:
        session = self._session(event.assoc)
        logger.info(Event.ASSOCIATION_ACCEPTED, extra=_fields(session.info))
        self._tell(AssociationEnd.OPENED, session)

    def _ended(self, association: Association, how: AssociationEnd) -> None:
        with self._lock:
            session = self._sessions.pop(id(association), None)
        if session is None:
            return
        counts = {"stored": session.stored, "refused": session.refused, "how": how.value}
        logger.info(Event.ASSOCIATION_ENDED, extra={**_fields(session.info), **counts})
        self._tell(how, session)

    def _tell(self, kind: AssociationEnd, session: _Session) -> None:
        if self._on_association is not None:
            series = tuple(sorted(session.series))
            event = AssociationEvent(kind, session.info, series, session.stored, session.refused)
            try:
                self._on_association(event)
            except Exception:
                # Who is told must not break the wire or the watchdog: completion finds open associations by time.
                logger.exception(Event.ASSOCIATION_ENDED, extra=_fields(session.info))

    def _session(self, association: Association) -> _Session:
        with self._lock:
            return self._sessions[id(association)]

    def _on_c_store(self, event: evt.Event) -> int:
        """Keep one instance, then say so; returns the status to answer."""
        session = self._session(event.assoc)
        incoming = Incoming.of(event)
        uid = incoming.sop_instance_uid[:64]
        try:
            header = self._store(incoming, session)
        except InstanceRefused as error:
            return self._refuse(session, uid, error.status, str(error))
        except SpoolFullError as error:
            return self._refuse(session, uid, OUT_OF_RESOURCES, str(error))
        except Exception as error:
            # The edge of the wire: whatever went wrong here, the sender must keep its copy.
            logger.exception(Event.INSTANCE_REFUSED, extra={"sop_instance_uid": uid, **_fields(session.info)})
            return self._refuse(session, uid, OUT_OF_RESOURCES, type(error).__name__)
        session.stored += 1
        logger.info(
            Event.INSTANCE_STORED,
            extra={
                "sop_instance_uid": header.sop_instance_uid,
                "series_instance_uid": header.series_instance_uid,
                **_fields(session.info),
            },
        )
        return SUCCESS

    def _store(self, incoming: Incoming, session: _Session) -> InstanceHeader:
        header = incoming.checked_header()
        session.series.add(header.series_instance_uid)
        kept = self._spool.keep(header, incoming.file_parts())
        if kept.outcome is Outcome.CONFLICT:
            logger.error(
                Event.INSTANCE_CONFLICT,
                extra={"sop_instance_uid": header.sop_instance_uid, "quarantine": kept.quarantine_key},
            )
            if self._on_conflict is not None:
                self._on_conflict(header, kept, session.info)
            raise InstanceRefused("other bytes are kept under this SOP Instance UID", status=CONFLICT)
        self._intake(header, kept.key, session.info)
        return header

    def _refuse(self, session: _Session, uid: str, status: int, reason: str) -> int:
        session.refused += 1
        logger.warning(
            Event.INSTANCE_REFUSED,
            extra={"sop_instance_uid": uid, "status": f"0x{status:04X}", "reason": reason, **_fields(session.info)},
        )
        return status


def _fields(info: AssociationInfo) -> dict[str, str]:
    return {
        "association_id": info.association_id,
        "calling_ae_title": info.calling_ae_title,
        "called_ae_title": info.called_ae_title,
        "peer": info.peer_address,
    }
