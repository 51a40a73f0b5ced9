"""The PACS of the settings, and what keeps the images that they give."""

from __future__ import annotations

from npc_contour.adapters.dicom.pacs.archive import DicomArchive
from npc_contour.adapters.dicom.receive.commitment_scp import report
from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.dicom.spool.quarantine import SpoolQuarantine
from npc_contour.adapters.dicomweb import WebArchive
from npc_contour.app.runtime import Runtime
from npc_contour.app.shared import spool_of
from npc_contour.application.commitments import Commitment, Commitments
from npc_contour.application.corrections import Corrections, CorrectionTools
from npc_contour.application.intake import Intake
from npc_contour.application.integrity import Integrity
from npc_contour.application.ports import Archive
from npc_contour.application.pulling import PullTools
from npc_contour.domain.jobs import Destination
from npc_contour.domain.queries import ArchiveNode, Retrieval
from npc_contour.errors import SettingsError
from npc_contour.settings import PacsSettings, Settings, Tls
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard


def archive_of(pacs: PacsSettings, our_ae_title: str, tls: Tls) -> Archive:
    """Return a PACS as it is to be asked.

    Raises:
        SettingsError: its token cannot be read.
    """
    node = node_of(pacs, tls)
    if pacs.retrieve is Retrieval.WEB:
        return WebArchive(node, pacs.timeout_s)
    return DicomArchive(node, our_ae_title, pacs.timeout_s)


def node_of(pacs: PacsSettings, tls: Tls) -> ArchiveNode:
    """Return the address of a PACS, with its secrets.

    Raises:
        SettingsError: its token cannot be read.
    """
    return ArchiveNode(
        name=pacs.name,
        ae_title=pacs.ae_title,
        host=pacs.host,
        port=pacs.port,
        root=pacs.root,
        retrieval=pacs.retrieve,
        web_url=pacs.web_url,
        token=_token(pacs),
        ca_file=str(pacs.web_ca_file) if pacs.web_ca_file else "",
        tls=tls.identity(pacs.tls_name) if pacs.tls else None,
    )


def archives_of(settings: Settings) -> dict[str, Archive]:
    """Return every PACS of the settings by name."""
    return {pacs.name: archive_of(pacs, settings.dicom.ae_title, settings.dicom.tls) for pacs in settings.pacs}


def keeper_of(store: Store, spool: Spool, intake: Intake) -> FileKeeper:
    """Return what keeps files as the receiver keeps objects."""
    integrity = Integrity(store, spool, store.clock)
    spool.known = integrity.kept_seal
    return FileKeeper(spool, intake.keep, intake.conflict, integrity.repaired)


def corrections_of(settings: Settings, store: Store, spool: Spool) -> Corrections:
    """Return what shows images that came again under the same UIDs, and does what a person decides about them."""
    intake = Intake(store, store.clock, settings.completion)
    return Corrections(
        CorrectionTools(
            store=store,
            board=HeldSeriesBoard(store),
            quarantine=SpoolQuarantine(spool, show_patient=settings.web.show_patient),
            spool=spool,
            keeper=keeper_of(store, spool, intake),
            ended=intake.association_ended,
            clock=store.clock,
            our_ae_title=settings.dicom.ae_title,
        )
    )


def pull_tools(runtime: Runtime, store: Store) -> PullTools:
    """Return what pulling works with."""
    settings, clock = runtime.settings, store.clock
    intake = Intake(store, clock, settings.completion)
    return PullTools(
        store=store,
        clock=clock,
        intake=intake,
        keeper=keeper_of(store, spool_of(runtime), intake),
        archives=archives_of(settings),
        ae_titles={pacs.name: pacs.ae_title for pacs in settings.pacs},
        our_ae_title=settings.dicom.ae_title,
    )


def commitments_of(settings: Settings, store: Store, spool: Spool) -> Commitments:
    """Return what answers senders that ask for storage commitment."""
    tls = settings.dicom.tls
    peers = {
        peer.ae_title: Destination(
            peer.ae_title,
            peer.ae_title,
            peer.host,
            peer.port,
            tls=tls.identity(peer.tls_name) if peer.tls else None,
        )
        for peer in settings.dicom.commitment
    }

    def tell(commitment: Commitment, peer: Destination) -> None:
        report(
            commitment.transaction_uid,
            commitment.held,
            commitment.failed,
            peer,
            settings.dicom.ae_title,
            settings.delivery.timeout_s,
        )

    return Commitments(store, spool, store.clock, peers, tell, Integrity(store, spool, store.clock).damaged)


def _token(pacs: PacsSettings) -> str:
    if pacs.web_token_file is None:
        return ""
    try:
        return pacs.web_token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"pacs.web_token_file of {pacs.name}: {error}") from error
