"""Open an association as requestor and say in words why it did not work.

pynetdicom tells *that* an association failed; the words of the Standard for *why* are collected here from its
events: connection, rejection (PS3.8 table 9-21), abort (PS3.8 table 9-26), time-out.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLCertVerificationError, SSLContext, SSLError

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext, build_role
from pynetdicom.transport import AddressInformation, AssociationSocket

from npc_contour.adapters.dicom.association.association_items import is_acceptance, tidied
from npc_contour.adapters.dicom.association.bounds import USUAL, Bounds, Meter, OutOfBoundsError
from npc_contour.adapters.dicom.association.tls import TlsFiles, client_context
from npc_contour.adapters.dicom.association.wire import HEAD, WireError
from npc_contour.domain.jobs import Destination
from npc_contour.errors import NotOfferedError, SendError, SettingsError

MAX_PDU = 131072
"""Measured as the largest that peers use; longer PDUs gain nothing."""

REJECT_RESULTS = {1: "rejected permanently", 2: "rejected temporarily"}
REJECT_REASONS = {
    (1, 1): "it gives no reason",
    (1, 2): "it does not support the DICOM application context",
    (1, 3): "it does not know our (calling) AE title",
    (1, 7): "it does not have the called AE title",
    (2, 1): "its ACSE provider gives no reason",
    (2, 2): "it does not support the protocol version",
    (3, 1): "it is congested",
    (3, 2): "its limit of associations is reached",
}
"""(source, reason) of an A-ASSOCIATE-RJ, PS3.8 table 9-21."""

ABORT_REASONS = {
    0: "no reason given",
    1: "unrecognised PDU",
    2: "unexpected PDU",
    4: "unrecognised PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}
"""Reason of a provider's A-ABORT, PS3.8 table 9-26."""


NOT_UNDERSTOOD = "it sent what the DICOM protocol does not let it send"
IN_OUR_ERRORS = (
    "Association request failed",
    "TCP Initialisation Error",
    "Association Rejected",
    "Result: ",
    "Reason: ",
    "No accepted presentation contexts",
)
"""Beginnings of pynetdicom's log messages whose content is in our errors, too."""


class _OnlyOnce(logging.Filter):
    """Drops what our errors say: a destination that is down would fill the log at every check of readiness."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        return not record.getMessage().startswith(IN_OUR_ERRORS)


_only_once = _OnlyOnce()


@dataclass(slots=True)
class _WireEvents:
    """What happened on the wire during the association."""

    connected: bool = False
    cause: BaseException | None = None
    rejection: A_ASSOCIATE_RJ | None = None
    abort: A_ABORT_RQ | None = None
    our_abort: bool = False

    def on_open(self, event: evt.Event) -> None:
        """Note the connection and switch Nagle's algorithm off: with it each message waits for a delayed ACK."""
        self.connected = True
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_pdu(self, event: evt.Event) -> None:
        """Keep the peer's rejection or abort."""
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu
        elif isinstance(event.pdu, A_ABORT_RQ) and not self.our_abort:
            self.abort = event.pdu

    def on_sent(self, event: evt.Event) -> None:
        """Note that it was we who aborted: what follows on the wire is no fault of the peer's."""
        if isinstance(event.pdu, A_ABORT_RQ) and self.abort is None:
            self.our_abort = True


class _ReactorPause(threading.Event):
    """Keeps an association's reactor from running between our requests.

    pynetdicom (3.0.4) pauses its reactor thread for each request, but tests "is paused" while the reactor may be just
    past its pause: on a busy machine the reactor then takes the peer's answer off the queue, and the request waits
    for it in vain. With this event the reactor stays in its pause until `end` lets it run.
    """

    def set(self) -> None:
        """Do nothing: what pynetdicom calls to let the reactor run between requests."""

    def end(self) -> None:
        """Let the reactor run to its end."""
        super().set()


class _Connection(AssociationSocket):
    """pynetdicom's socket, which closes even when it never got connected, says why it did not, and reads in bounds."""

    def __init__(
        self, association: Association, address: AddressInformation, events: _WireEvents, meter: Meter
    ) -> None:
        super().__init__(association, address=address)
        self._events = events
        self._meter = meter
        self._ahead = bytearray()

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly so many bytes, or fewer where the connection ends; an acceptance comes as pynetdicom reads it.

        Raises:
            OutOfBoundsError: the peer crossed a bound, took too long, or accepted in bytes that mean nothing.
        """
        mine = self.socket
        if mine is None:
            return bytearray()
        if self._ahead:
            data, self._ahead = self._ahead[:nr_bytes], self._ahead[nr_bytes:]
            return data
        try:
            data = self._within_bounds(mine, nr_bytes)
            if len(data) == HEAD and not self.assoc.is_established and is_acceptance(data):
                data += self._within_bounds(mine, int.from_bytes(data[2:HEAD], "big"))
                whole = tidied(bytes(data)).pdu
                data, self._ahead = bytearray(whole[:HEAD]), bytearray(whole[HEAD:])
        except WireError as error:
            self._hang_up(mine)
            raise self._meter.refuse(f"accepted in bytes that mean nothing ({error})") from error
        except OutOfBoundsError:
            self._hang_up(mine)
            raise
        return data

    def _within_bounds(self, mine: socket.socket, size: int) -> bytearray:
        self._meter.expect(size, self.assoc.dimse.msg_queue.qsize)
        return self._read(mine, size)

    def _read(self, mine: socket.socket, size: int) -> bytearray:
        data = bytearray(size)
        view, start = memoryview(data), 0
        deadline = time.monotonic() + self._meter.timeout_s
        while start < size:
            mine.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                count = mine.recv_into(view[start:])
            except TimeoutError:
                raise self._meter.refuse(f"sent no whole PDU within {self._meter.timeout_s:g} s") from None
            if not count:
                break
            start += count
        view.release()
        mine.settimeout(self._meter.timeout_s)
        return data[:start] if start < size else data

    @staticmethod
    def _hang_up(mine: socket.socket) -> None:
        with suppress(OSError):
            mine.shutdown(socket.SHUT_RDWR)

    def _shutdown_socket(self) -> None:
        # pynetdicom calls this while it handles the error of a failed connect(), and only logs that error.
        mine = self.socket
        if mine is not None and not self._events.connected:
            self._events.cause = sys.exception()
        super()._shutdown_socket()
        if mine is not None:
            mine.close()


class _Requestor(AE):
    """An application entity whose sockets and pauses are ours."""

    def __init__(self, ae_title: str, events: _WireEvents, pause: _ReactorPause, meter: Meter) -> None:
        super().__init__(ae_title=ae_title)
        self._events = events
        self._pause = pause
        self._meter = meter

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[SSLContext, str] | None
    ) -> AssociationSocket:
        assoc._reactor_checkpoint = self._pause  # noqa: SLF001 (the only place to put it before the reactor starts)
        connection = _Connection(assoc, address, self._events, self._meter)
        connection.tls_args = tls_args
        return connection


@dataclass(frozen=True, slots=True)
class Link:
    """An established association.

    Attributes:
        association: pynetdicom's.
        peer: the peer in words, for messages.
        timeout_s: how long an answer may take.
    """

    association: Association
    peer: str
    timeout_s: float
    events: _WireEvents
    pause: _ReactorPause
    meter: Meter

    def listen(self, heard: threading.Event, seconds: float) -> bool:
        """Let the peer ask something of us until `heard` is set; afterwards nothing may be asked over this link.

        Args:
            heard: set by a handler.
            seconds: how long to wait for it.

        Returns:
            Whether it was set.
        """
        self.pause.end()
        return heard.wait(seconds)

    def end(self, why: str) -> None:
        """Abort the association, because the peer `why`."""
        self.meter.refuse(why)
        self.association.abort()

    def lost(self, doing: str, waited_s: float) -> SendError:
        """Return the error for an answer that never came.

        Args:
            doing: what was asked, for example "C-STORE of 1.2.3".
            waited_s: how long the answer was waited for.
        """
        if self.meter.broken is not None:
            return SendError(f"{self.peer} {self.meter.broken}: the association was ended during {doing}")
        if self.events.abort is not None:
            return SendError(f"{self.peer} aborted the association during {doing}: {_abort_words(self.events.abort)}")
        if waited_s >= self.timeout_s * 0.95:
            return SendError(f"{self.peer} did not answer {doing} within {self.timeout_s:g} s")
        if self.events.our_abort:
            return SendError(f"we ended the association with {self.peer} during {doing}: {NOT_UNDERSTOOD}")
        return SendError(f"{self.peer} closed the connection during {doing}")


def describe(destination: Destination) -> str:
    """Return a destination in words: name, AE title, host and port."""
    return f"{destination.name} ({destination.ae_title} at {destination.host}:{destination.port})"


@contextmanager
def associate(
    destination: Destination,
    contexts: Sequence[PresentationContext],
    calling_ae: str,
    timeout_s: float,
    *,
    scp_classes: Sequence[str] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
    bounds: Bounds = USUAL,
) -> Iterator[Link]:
    """Hold an association while the block runs: released at its end, aborted when the block raises.

    Args:
        destination: whom to call.
        contexts: what to propose, 1 to 128 presentation contexts.
        calling_ae: our AE title.
        timeout_s: for connecting, for the answer to the association request and for each answer after it.
        scp_classes: SOP classes of which we also take objects over this association, as C-GET needs (PS3.7 D.3.3.4).
        handlers: of pynetdicom's events, for what the peer asks of us over this association.
        bounds: what the peer may cost us.

    Raises:
        SendError: no association came about; the message names the peer and the cause.
    """
    # Files are sent as they lie on disk: decoding and encoding again could change what was checked.
    _config.STORE_SEND_CHUNKED_DATASET = True
    # Its own narration of every PDU costs a fifth of the time; what matters is in our errors.
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom.transport", "pynetdicom.acse"):
        logging.getLogger(name).addFilter(_only_once)
    peer = describe(destination)
    address = _resolve(destination, peer)
    events, pause, meter = _WireEvents(), _ReactorPause(), Meter(bounds, timeout_s)
    entity = _Requestor(calling_ae, events, pause, meter)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = timeout_s
    entity.network_timeout = timeout_s
    bound: list[evt.EventHandlerType] = [
        (evt.EVT_CONN_OPEN, events.on_open),
        (evt.EVT_PDU_RECV, events.on_pdu),
        (evt.EVT_PDU_SENT, events.on_sent),
        (evt.EVT_DIMSE_RECV, lambda _: meter.message_came()),
        *handlers,
    ]
    started = time.monotonic()
    association = entity.associate(
        address,
        destination.port,
        contexts=list(contexts),
        ae_title=destination.ae_title,
        max_pdu=MAX_PDU,
        ext_neg=[build_role(sop_class, scp_role=True) for sop_class in scp_classes],
        evt_handlers=bound,
        tls_args=_tls_of(destination),
    )
    if meter.broken is not None:
        association.abort()
        raise SendError(f"{peer} {meter.broken}: the association was ended before it began")
    if not association.is_established:
        raise _not_established(destination, association, events, meter, time.monotonic() - started)
    try:
        yield Link(association, peer, timeout_s, events, pause, meter)
    except BaseException:
        if association.is_established:
            association.abort()
        raise
    else:
        if association.is_established:
            association.release()
    finally:
        pause.end()
        association.join(timeout=timeout_s)


def _tls_of(destination: Destination) -> tuple[SSLContext, str] | None:
    """Pynetdicom's arguments for TLS; files are read for each call, so that renewed ones are taken."""
    if (tls := destination.tls) is None:
        return None
    files = TlsFiles(certificate=Path(tls.certificate), key=Path(tls.key), trusted=Path(tls.trusted))
    try:
        return client_context(files), tls.peer_name or destination.host
    except SettingsError as error:
        raise SendError(f"{describe(destination)} cannot be called over TLS: {error}") from error


def _resolve(destination: Destination, peer: str) -> str:
    """Return one address of the host, IPv4 first: hospital networks rarely route the other."""
    try:
        found = socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SendError(f"{peer}: host name cannot be resolved: {error}") from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def _not_established(
    destination: Destination, association: Association, events: _WireEvents, meter: Meter, waited_s: float
) -> SendError:
    peer = describe(destination)
    if not events.connected:
        return SendError(f"{peer} cannot be reached: {_connection_words(events.cause)}")
    if (rejection := events.rejection) is not None:
        result = REJECT_RESULTS.get(rejection.result or 0, f"rejected (result {rejection.result})")
        key = (rejection.source or 0, rejection.reason_diagnostic or 0)
        reason = REJECT_REASONS.get(key, "for a reason that the Standard does not define")
        return SendError(f"{peer} {result}: {reason} (source {key[0]}, reason {key[1]})")
    if association.rejected_contexts:
        refused = ", ".join(str(context.abstract_syntax.name) for context in association.rejected_contexts
                            if context.abstract_syntax is not None)  # fmt: skip
        return NotOfferedError(f"{peer} accepts none of the proposed presentation contexts: {refused}")
    return SendError(_unanswered(peer, events, meter, waited_s))


def _unanswered(peer: str, events: _WireEvents, meter: Meter, waited_s: float) -> str:
    if events.abort is not None:
        return f"{peer} aborted the association request: {_abort_words(events.abort)}"
    if waited_s >= meter.timeout_s * 0.95:
        return f"{peer} took the connection but did not answer the association request in {meter.timeout_s:g} s"
    if events.our_abort:
        return f"we ended the association with {peer} before it began: {NOT_UNDERSTOOD}"
    return f"{peer} closed the connection without answering the association request"


def _connection_words(cause: BaseException | None) -> str:
    if isinstance(cause, TimeoutError):
        return "no answer from the network (wrong address, host down, or a firewall drops the packets)"
    if isinstance(cause, SSLCertVerificationError):
        return f"TLS: certificate verification failed: {cause.verify_message}"
    if isinstance(cause, SSLError):
        return f"TLS: {cause.reason or cause}"
    if isinstance(cause, OSError):
        return str(cause.strerror or cause)
    return "no connection"


def _abort_words(abort: A_ABORT_RQ) -> str:
    if abort.source == 2:
        reason = ABORT_REASONS.get(abort.reason_diagnostic or 0, f"reason {abort.reason_diagnostic}")
        return f"its DICOM stack says: {reason}"
    return "by its application, without a reason"
