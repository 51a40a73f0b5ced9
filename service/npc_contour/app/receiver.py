"""The process that takes images."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

from npc_contour.adapters.checks import destinations_of
from npc_contour.adapters.dicom.association.tls import TlsFiles
from npc_contour.adapters.dicom.receive.access import LOOPBACK, AccessRule, PeerLimits
from npc_contour.adapters.dicom.receive.admission import Admission
from npc_contour.adapters.dicom.receive.availability import AvailabilityNotice
from npc_contour.adapters.dicom.receive.commitment import CommitmentReport, is_from
from npc_contour.adapters.dicom.receive.scp import (
    AssociationEnd,
    AssociationEvent,
    AssociationInfo,
    Deadlines,
    Receiver,
    ReceiverSettings,
    TlsPort,
)
from npc_contour.adapters.dicom.spool.files import Kept, Outcome
from npc_contour.adapters.dicom.spool.quarantine import SpoolQuarantine
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.archives import commitments_of, pull_tools
from npc_contour.app.dicom_services import further_services
from npc_contour.app.priority import answer_soon
from npc_contour.app.pulse import Pulse
from npc_contour.app.runtime import Runtime, place_of
from npc_contour.app.senders import Senders
from npc_contour.app.shared import catalog_of, spool_of
from npc_contour.application.delivery import DeliveryTools
from npc_contour.application.intake import Intake
from npc_contour.application.integrity import Integrity
from npc_contour.application.pulling import PollArchive
from npc_contour.application.verification import VerifyDelivery
from npc_contour.catalog import Catalog
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import SettingsError, StoreError
from npc_contour.logs import Event
from npc_contour.settings import Settings, Storage
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

RECEIVER_NAME = "receiver"
LOOK_EVERY_S = 1.0
RECEIVER_POOL = 16
MAX_PROCESSES = 16
"""Of `dicom.processes`."""


def run(runtime: Runtime, number: int = 0) -> None:
    """Take images until SIGTERM.

    Args:
        runtime: of the service it belongs to.
        number: of this receiver among `dicom.processes`, all of which listen on the same ports.
    """
    answer_soon()
    stop = _stop_signal()
    name = receiver_name(runtime.settings.storage, number)
    spool = spool_of(runtime, lane=name)
    spool.remove_partial_files()
    settings = runtime.settings
    with Store(runtime.database_url, defer, pool_size=RECEIVER_POOL, process=f"receiver-{number}") as store:
        intake = Intake(store, store.clock, settings.completion)
        integrity = Integrity(store, spool, store.clock)
        spool.known = integrity.kept_seal
        for gone in _names_to_end(settings, number):
            intake.receiver_started(gone, spool.exists)

        def keep(header: InstanceHeader, key: str, association: AssociationInfo, flush: Callable[[], None]) -> None:
            intake.keep(header, key, _association_row(association, name), flush)

        def tell(event: AssociationEvent) -> None:
            if event.kind is not AssociationEnd.OPENED:
                intake.association_ended(event.association.association_id, Ending(event.kind.value))

        delivery = DeliveryTools(
            store=store,
            spool=spool,
            clock=store.clock,
            destinations=destinations_of(settings),
            rules=settings.delivery,
        )
        verification = VerifyDelivery(delivery, Senders(settings))

        def commitment(report: CommitmentReport, peer: AssociationInfo) -> bool:
            told: dict[str, int | None] = {**report.failed, **dict.fromkeys(report.held)}
            known = [
                verification.reported(report.transaction_uid, uid, failure, lambda asked: is_from(asked, peer))
                for uid, failure in told.items()
            ]
            return any(known)

        asked = commitments_of(settings, store, spool)
        poll = PollArchive(pull_tools(runtime, store), settings.pull)

        def announced(notice: AvailabilityNotice) -> None:
            rules = poll.look_now(notice.retrieve_ae_titles | {notice.calling_ae_title})
            logger.info(
                Event.SERIES_ANNOUNCED,
                extra={
                    "study_instance_uid": notice.study_instance_uid,
                    "series": notice.series,
                    "calling_ae_title": notice.calling_ae_title,
                    "rules": rules,
                },
            )

        def conflict(header: InstanceHeader, kept: Kept, _: AssociationInfo) -> None:
            if kept.outcome is Outcome.REPAIRED:
                integrity.repaired(header)
                return
            intake.conflict(header, f"another object with this UID is quarantined as {kept.quarantine_key}",
                            SpoolQuarantine(spool).other_patient(kept))  # fmt: skip

        receiver = Receiver(
            _receiver_settings(runtime, catalog_of(settings)),
            spool,
            keep,
            on_association=tell,
            on_conflict=conflict,
            services=further_services(commitment, asked.knows, asked.asked, announced),
            admission=Admission(spool, settings.storage.reserve_mb),
        )
        with ExitStack() as listening:
            try:
                listening.enter_context(receiver)
            except OSError as error:
                dicom = runtime.settings.dicom
                where, why = f"{dicom.host}:{runtime.dicom_port}", error.strerror or error
                raise SettingsError(f"dicom.host, dicom.port: cannot listen on {where}: {why}") from error
            _wait(stop, receiver, store)


def receiver_name(storage: Storage, number: int) -> str:
    """What a receiver is called in the database and in the names of its files under way; its own among all machines."""
    if storage.shared_spool is None:
        return f"{RECEIVER_NAME}-{number}"
    return f"{RECEIVER_NAME}-{place_of(storage)}-{number}"


def _names_to_end(settings: Settings, number: int) -> list[str]:
    """This receiver's own name; for the first one also those of receivers that there are no more."""
    gone = range(settings.dicom.processes, MAX_PROCESSES) if number == 0 else ()
    return [receiver_name(settings.storage, other) for other in (number, *gone)]


def _receiver_settings(runtime: Runtime, catalog: Catalog) -> ReceiverSettings:
    """Without rules this machine alone is let in; each of several processes takes its share of associations."""
    dicom = runtime.settings.dicom
    roles = [role for pipeline in catalog.pipelines.values() for role in pipeline.roles]
    urgent = set(runtime.settings.routing.urgent_called_ae_titles)
    limits = dicom.peer_limits
    return ReceiverSettings(
        ae_title=dicom.ae_title,
        host=dicom.host,
        port=runtime.dicom_port,
        shared_port=dicom.has_shared_port(runtime.settings.storage),
        tls=_tls_port(runtime),
        max_associations=-(-dicom.max_associations // dicom.processes),
        called_ae_titles=tuple(sorted({title for role in roles for title in role.called_ae_titles} | urgent)),
        access=tuple(
            AccessRule(
                networks=rule.networks,
                calling_ae_titles=rule.calling_ae_titles,
                called_ae_titles=rule.called_ae_titles,
                tls_subjects=rule.tls_subjects,
            )
            for rule in dicom.access
        )
        or (AccessRule(networks=LOOPBACK),),
        limits=PeerLimits(
            associations=limits.associations,
            associations_per_minute=limits.associations_per_minute,
            mb_per_s=limits.mb_per_s,
        ),
        deadlines=Deadlines(associate_s=dicom.associate_s, silence_s=dicom.silence_s),
        beat=Pulse.own().beat,
    )


def _tls_port(runtime: Runtime) -> TlsPort | None:
    tls = runtime.settings.dicom.tls
    if tls.port is None or tls.certificate is None or tls.key is None or tls.trusted is None:
        return None
    files = TlsFiles(certificate=tls.certificate, key=tls.key, trusted=tls.trusted)
    return TlsPort(port=runtime.dicom_tls_port, files=files, client_certificates=tls.client_certificates)


def _association_row(info: AssociationInfo, receiver: str) -> AssociationRow:
    return AssociationRow(info.association_id, receiver, info.calling_ae_title, info.called_ae_title, info.peer_address)


def _wait(stop: threading.Event, receiver: Receiver, store: Store) -> None:
    """Return when we are to end; raise should the door have died, so that the supervisor starts us again."""
    while not stop.wait(LOOK_EVERY_S):
        if not receiver.is_listening:
            raise RuntimeError("the receiver accepts no more associations")
        # A look at least this often: whoever sets the database's clock is noticed, and this machine's is noted.
        with suppress(StoreError):
            store.clock.now()


def _stop_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
