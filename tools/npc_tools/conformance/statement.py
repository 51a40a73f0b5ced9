"""The DICOM Conformance Statement (PS3.2), made of the tables that the code runs on, so that it cannot drift."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

from pydantic import BaseModel
from pydicom.uid import UID
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ModalityWorklistInformationFind,
    RTStructureSetStorage,
    SegmentationStorage,
    StorageCommitmentPushModel,
    Verification,
)

import npc_contour
from npc_contour.adapters.audit.messages import EventId, EventType
from npc_contour.adapters.dicom.association import tls
from npc_contour.adapters.dicom.association.association_items import APPLICATION_CONTEXT
from npc_contour.adapters.dicom.association.command import Field
from npc_contour.adapters.dicom.association.requestor import REJECT_REASONS
from npc_contour.adapters.dicom.association.wire import MAX_PDU
from npc_contour.adapters.dicom.pacs.query import FIND_MODELS
from npc_contour.adapters.dicom.pacs.retrieve import GET_MODELS, MOVE_MODELS
from npc_contour.adapters.dicom.read import pixels
from npc_contour.adapters.dicom.read.incoming import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from npc_contour.adapters.dicom.receive import access, scp
from npc_contour.adapters.dicom.receive.commitment_scp import DUPLICATE_TRANSACTION, INVALID_ARGUMENT, NOT_AUTHORISED
from npc_contour.adapters.dicom.receive.services import NATIVE, Service, Services, verification
from npc_contour.app.dicom_services import further_services
from npc_contour.domain.dimse import query_status_words, status_words
from npc_contour.settings import Completion, Delivery, Dicom, PacsSettings, PullSettings, Retention
from npc_tools.conformance.objects import created_objects

Row = Sequence[object]
SYNTAX_NAMES = {
    "1.2.840.10008.1.2.4.57": "JPEG Lossless, Non-Hierarchical (Process 14)",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, SV1)",
}


def served() -> list[Service]:
    """Every service of the receiver, in the order of its table."""
    nothing = further_services(lambda *_: False, lambda _: False, lambda *_: False, lambda _: None)
    entries = [verification(), *scp.storage_services(), *nothing]
    joined = Services(entries)
    return [joined.of(sop_class) for sop_class in dict.fromkeys(entry.sop_class for entry in entries)]


def requested() -> list[tuple[str, str, tuple[str, ...]]]:
    """What we propose as requestor: (SOP class, what for, transfer syntaxes)."""
    images = tuple(map(str, (*pixels.NATIVE_SYNTAXES, *pixels.COMPRESSED_SYNTAXES)))
    rows: list[tuple[str, str, tuple[str, ...]]] = [
        (str(Verification), "readiness, `npc-contour echo`", NATIVE),
        (str(RTStructureSetStorage), "structure sets to destinations", NATIVE),
        (str(SegmentationStorage), "segmentations to destinations, where asked for", NATIVE),
        (str(Comprehensive3DSRStorage), "measurements and findings to destinations, where asked for", NATIVE),
        (str(EncapsulatedPDFStorage), "findings with pictures to destinations, where asked for", NATIVE),
        (str(StorageCommitmentPushModel), "proof that a destination holds what was sent (SCU); reports (SCP)", NATIVE),
        (str(ModalityWorklistInformationFind), "`npc-contour pull --worklist`", NATIVE),
    ]
    for models, what in ((FIND_MODELS, "pull, proof"), (GET_MODELS, "pull"), (MOVE_MODELS, "pull")):
        rows += [(str(model), what, NATIVE) for model in models.values()]
    rows += [(service.sop_class, "C-GET (we are SCP)", images) for service in served() if service.stores]
    return rows


def statement() -> str:
    """Return the statement in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterable[str]:
    yield f"""# DICOM Conformance Statement: npc-autocontour {npc_contour.__version__}

Made by `npc-tools conformance` of the tables that the code runs on; a test keeps this file equal to its output, and
another compares its tables with what DCMTK negotiates. Form: DICOM PS3.2. Not a medical device.

## 1 Overview

The service receives CT and MR images, contours them, and sends RT Structure Sets (UNAPPROVED) and, where asked for,
Segmentations and measurement reports (SR) to the planning system. It can fetch images from a PACS, asks
destinations to commit themselves to what was sent, and answers senders that ask the same of it. It is no archive:
it answers no queries.
"""
    yield from _table(("SOP class", "UID", "SCU", "SCP"), _overview())
    yield "\n| DICOMweb (PS3.18) | user agent | origin server |\n|---|---|---|"
    yield "| QIDO-RS search for studies, series, instances | yes | no |"
    yield "| WADO-RS retrieve study, series, instance (`application/dicom`, any transfer syntax) | yes | no |"
    yield "| STOW-RS store instances (`application/dicom`) | yes | yes, `/dicom-web/studies` |"
    yield from _networking()
    yield from _acceptor()
    yield from _requestor()
    yield from _configuration()
    yield from _security()
    yield from created_objects()


def _overview() -> Iterable[Row]:
    roles: dict[str, list[bool]] = {}
    for sop_class, _, _ in requested():
        roles.setdefault(sop_class, [False, False])[0] = True
    for service in served():
        row = roles.setdefault(service.sop_class, [False, False])
        row[1] = True
        if service.stores:
            row[0] = False
    return [(_name(uid), f"`{uid}`", _yes(scu), _yes(is_scp)) for uid, (scu, is_scp) in roles.items()]


def _networking() -> Iterable[str]:
    yield f"""
## 2 Networking

One application entity (default title `{Dicom().ae_title}`). TCP/IP, IPv4 and IPv6; plain on `dicom.port`, TLS on
`dicom.tls.port`. Application context `{APPLICATION_CONTEXT}`. Longest PDU offered and sent: {MAX_PDU} bytes.
Asynchronous
operations: none. Implementation class UID `{IMPLEMENTATION_CLASS_UID}`, version name `{IMPLEMENTATION_VERSION_NAME}`.
Associations at the same time: `dicom.max_associations` (default {Dicom().max_associations}) as acceptor; one for each
destination or PACS as requestor, more for `npc-contour send-test` only."""


def _acceptor() -> Iterable[str]:
    yield """
## 3 As acceptor

### 3.1 Who is let in

By default only this machine. Rules (`dicom.access`) name network, calling and called AE title and certificate
subject;
all of a rule must hold. What a rejected peer gets (result, source, reason of A-ASSOCIATE-RJ):
"""
    refusals = [value for value in vars(access).values() if isinstance(value, access.Refusal)]
    yield from _table(
        ("result", "source", "reason", "when", "in the words of PS3.8"),
        [(r.result, r.source, r.reason, r.words, REJECT_REASONS.get((r.source, r.reason), "")) for r in refusals],
    )
    deadlines = scp.Deadlines()
    yield f"""
A peer that does not finish its request in `dicom.associate_s` ({deadlines.associate_s:g} s) is closed; one that is
silent
for `dicom.silence_s` ({deadlines.silence_s:g} s), or takes {deadlines.message_s:g} s for one message, is aborted.

### 3.2 Presentation contexts

The first transfer syntax of a context that stands in our order (the order of this table) is chosen.
"""
    rows = [
        (_name(service.sop_class), f"`{service.sop_class}`", _syntax(syntax), f"`{syntax}`", _operations(service))
        for service in served()
        for syntax in service.transfer_syntaxes
    ]
    yield from _table(("abstract syntax", "UID", "transfer syntax", "UID", "operations"), rows)
    yield "\n### 3.3 C-STORE\n\nAn image is answered 0x0000 once its bytes and its row are on disk. Statuses:\n"
    yield from _doc_table(scp.__doc__ or "")
    yield "\nEach object of 143 malformed ones gets what stands in `tests/npc_testkit/malformed.toml`."
    yield f"""
### 3.4 Storage Commitment and availability

N-ACTION (request) is answered 0x0000 once it is noted; 0x{NOT_AUTHORISED:04X} when `dicom.commitment` has no
address of
the sender, 0x{INVALID_ARGUMENT:04X} for a request that cannot be read, 0x{DUPLICATE_TRANSACTION:04X} for a
transaction
that was asked before. The report (N-EVENT-REPORT, type 1 or 2) goes over an association of our own, in which we
propose
the SCP role; failure reasons 0x0112 and 0x0119. Images reported
as kept stay `retention.committed_days` (default {Retention().committed_days:g}) after that at least. N-EVENT-REPORT
for our own requests is taken over our association or one
of the peer's. An Instance Availability Notification (N-CREATE) lets the `[[pull]]` rules of that PACS look at
once."""


def _requestor() -> Iterable[str]:
    yield "\n## 4 As requestor\n\n### 4.1 Presentation contexts\n"
    yield from _table(
        ("abstract syntax", "UID", "what for", "transfer syntaxes"),
        [
            (_name(uid), f"`{uid}`", what, ", ".join(_syntax(syntax) for syntax in syntaxes))
            for uid, what, syntaxes in requested()
        ],
    )
    delivery = Delivery()
    yield f"""
### 4.2 What we do on an answer

C-STORE: 0x0000 and 0xBxxx are success. Any other status, no answer in `delivery.timeout_s` ({delivery.timeout_s:g}
s), a
rejection or an abort is tried again after {delivery.first_retry_s:g} s, then twice as long each time up to
{delivery.max_retry_s:g} s, for {delivery.give_up_after_h:g} hours; then the delivery is failed and shown. Statuses
in words:
"""
    codes = (0x0000, 0xA700, 0xA900, 0xB000, 0xB006, 0xB007, 0xC000, 0x0110, 0x0117, 0x0122, 0x0124)
    yield from _table(("C-STORE status",), [(status_words(code),) for code in codes])
    yield "\nC-FIND, C-GET, C-MOVE: pending is read on, 0x0000 ends, 0xB000 counts what failed; else an error:\n"
    failures = (0xA701, 0xA702, 0xA801, 0xA900, 0xC000, 0xFE00)
    yield from _table(("C-FIND, C-GET, C-MOVE status",), [(query_status_words(code),) for code in failures])


def _configuration() -> Iterable[str]:
    yield "\n## 5 Configuration\n\nAll keys are explained in `deploy/site.example.toml`; those of DICOM:\n"
    tables: list[tuple[str, type[BaseModel]]] = [
        ("dicom", Dicom),
        ("completion", Completion),
        ("delivery", Delivery),
        ("pacs", PacsSettings),
        ("pull", PullSettings),
    ]
    rows = []
    for prefix, model in tables:
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else field.get_default(call_default_factory=True)
            if not isinstance(default, BaseModel):
                rows.append((f"`{prefix}.{name}`", _shown(default)))
    yield from _table(("key", "default"), rows)
    yield """
## 6 Character sets

Read: every Specific Character Set of PS3.3 C.12.1.1.2, with and without code extensions; undeclared 8-bit text is
tried as
UTF-8, then GB18030. Written: the character set of the planning images, whose bytes are copied; our own text is
ASCII."""


def _security() -> Iterable[str]:
    yield f"""
## 7 Security

* TLS: BCP 195 profile (PS3.15 B.12), versions 1.2 and 1.3; ciphers of 1.2: `{tls.CIPHERS}`. Client certificates are
  required unless `dicom.tls.client_certificates = false`. Changed certificate files are taken without a restart.
* AE title, address and certificate are checked together, see 3.1.
* Audit messages (PS3.15 A.5) to a file and by syslog over UDP, TCP or TLS:
"""
    yield from _table(
        ("code (DCM)", "meaning"), [(one.value[0], one.value[1]) for kind in (EventId, EventType) for one in kind]
    )
    yield """
* No patient's name is logged, shown by REST or put into audit messages. See docs/audit-and-privacy.md."""


def _operations(service: Service) -> str:
    names = ["C-STORE"] if service.stores else []
    return ", ".join(names + [Field(code).name.replace("_", "-") for code in service.operations])


def _doc_table(doc: str) -> Iterable[str]:
    """The table of statuses that stands in a module's docstring, which is the one place where they are explained."""
    return [line for line in inspect.cleandoc(doc).splitlines() if line.startswith("|")]


def _table(heads: Sequence[str], rows: Iterable[Row]) -> Iterable[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def _name(uid: str) -> str:
    return str(UID(uid).name).removesuffix(" (Retired)")


def _syntax(uid: str) -> str:
    return SYNTAX_NAMES.get(uid, str(UID(uid).name))


def _yes(value: bool) -> str:  # noqa: FBT001 (a cell of a table)
    return "yes" if value else "no"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in {None, ""} else f"`{value}`"
