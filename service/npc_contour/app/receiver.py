"""The process that takes images."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack

from npc_contour.adapters.dicom.scp import (
    LOOPBACK,
    AssociationEnd,
    AssociationEvent,
    AssociationInfo,
    Receiver,
    ReceiverSettings,
)
from npc_contour.adapters.dicom.spool import Kept
from npc_contour.adapters.store.database import PgStore
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.runtime import Runtime
from npc_contour.app.shared import SystemClock, catalog_of, spool_of
from npc_contour.application.intake import Intake
from npc_contour.application.records import AssociationRow, Ending
from npc_contour.catalog import Catalog
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import SettingsError

RECEIVER_NAME = "receiver"
RECEIVER_POOL = 16


def run(runtime: Runtime) -> None:
    """Take images until SIGTERM."""
    stop = _stop_signal()
    spool = spool_of(runtime)
    catalog = catalog_of(runtime.settings)
    with PgStore(runtime.database_url, defer, pool_size=RECEIVER_POOL) as store:
        intake = Intake(store, SystemClock(), runtime.settings.completion)
        intake.receiver_started(RECEIVER_NAME)

        def keep(header: InstanceHeader, key: str, association: AssociationInfo) -> None:
            intake.keep(header, key, _association_row(association))

        def tell(event: AssociationEvent) -> None:
            if event.kind is not AssociationEnd.OPENED:
                intake.association_ended(event.association.association_id, Ending(event.kind.value))

        def conflict(header: InstanceHeader, kept: Kept, _: AssociationInfo) -> None:
            intake.conflict(header, f"other bytes under this UID are kept apart as {kept.quarantine_key}")

        receiver = Receiver(
            _receiver_settings(runtime, catalog), spool, keep, on_association=tell, on_conflict=conflict
        )
        with ExitStack() as listening:
            try:
                listening.enter_context(receiver)
            except OSError as error:
                dicom = runtime.settings.dicom
                where, why = f"{dicom.host}:{runtime.dicom_port}", error.strerror or error
                raise SettingsError(f"dicom.host, dicom.port: cannot listen on {where}: {why}") from error
            stop.wait()


def _receiver_settings(runtime: Runtime, catalog: Catalog) -> ReceiverSettings:
    """Our own C-ECHO, by which readiness is judged, comes from this machine and must always be let in."""
    dicom = runtime.settings.dicom
    roles = [role for pipeline in catalog.pipelines.values() for role in pipeline.roles]
    allowed = dicom.allowed_calling_ae_titles
    return ReceiverSettings(
        ae_title=dicom.ae_title,
        host=dicom.host,
        port=runtime.dicom_port,
        max_associations=dicom.max_associations,
        called_ae_titles=tuple(sorted({title for role in roles for title in role.called_ae_titles})),
        allowed_calling_ae_titles=(*allowed, dicom.ae_title) if allowed else (),
        allowed_networks=tuple(dict.fromkeys((*dicom.allowed_networks, *LOOPBACK))),
    )


def _association_row(info: AssociationInfo) -> AssociationRow:
    return AssociationRow(
        info.association_id, RECEIVER_NAME, info.calling_ae_title, info.called_ae_title, info.peer_address
    )


def _stop_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
