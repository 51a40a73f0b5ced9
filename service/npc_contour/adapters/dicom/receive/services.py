"""What the receiver serves: one entry for each SOP class, which the negotiation and the dispatch both read.

To add a service, hand `Receiver` another `Service`: its SOP class is then accepted, and each operation named in it is
called with the request and answers it. Two entries for one SOP class are joined, so that a class may be served in
both roles (Storage Commitment: N-ACTION as SCP, N-EVENT-REPORT as SCU).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import decode
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.association.command import Command, Field
from npc_contour.errors import bytes_of_a_stranger

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
UNRECOGNISED_OPERATION = 0x0211
NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


@dataclass(frozen=True, slots=True)
class AssociationInfo:
    """Who is at the other end.

    Attributes:
        tls_subject: common name of the peer's certificate; "" without one.
    """

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    tls_subject: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    context_id: int
    sop_class: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Message:
    """One request as its operation gets it.

    Attributes:
        data_set: encoded in the context's transfer syntax; None when the request brings none.
    """

    command: Command
    context: Context
    association: AssociationInfo
    data_set: bytes | None


def data_set_of(message: Message) -> Dataset:
    """Return the data set of a request, empty where it brings none.

    Raises:
        UnreadableError: it cannot be read.
    """
    implicit = message.context.transfer_syntax == str(ImplicitVRLittleEndian)
    with bytes_of_a_stranger():
        return decode(BytesIO(message.data_set or b""), implicit, True)  # noqa: FBT003 - little endian


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers.

    Attributes:
        status: PS3.7 annex C.
        data_set: encoded in the context's transfer syntax; None for none.
        comment: Error Comment, at most 64 characters, no patient's name.
        after: called once the answer is sent, for what must follow it.
    """

    status: int
    data_set: bytes | None = None
    comment: str = ""
    after: Callable[[], None] | None = None


Operation = Callable[[Message], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One SOP class.

    Attributes:
        transfer_syntaxes: in our order of preference.
        operations: by Command Field of the request; another request is answered 0x0211.
        stores: C-STORE of this class goes to the spool.
        requestor_may_be_scp: we are SCU of this class for requests that the peer sends us (N-EVENT-REPORT).
    """

    sop_class: str
    transfer_syntaxes: tuple[str, ...] = NATIVE
    operations: Mapping[int, Operation] = field(default_factory=dict)
    stores: bool = False
    requestor_may_be_scp: bool = False


class Services:
    """All services, by SOP class."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._services: dict[str, Service] = {}
        for service in services:
            known = self._services.get(service.sop_class)
            self._services[service.sop_class] = service if known is None else _joined(known, service)
        self.contexts = tuple(_supported(service) for service in self._services.values())

    def of(self, sop_class: str) -> Service:
        """The service of a SOP class that was accepted."""
        return self._services[sop_class]


def verification() -> Service:
    """C-ECHO."""
    return Service(sop_class=str(Verification), operations={Field.C_ECHO: lambda _: Answer(SUCCESS)})


def _joined(one: Service, other: Service) -> Service:
    twice = set(one.operations) & set(other.operations)
    if twice or one.stores != other.stores:
        raise ValueError(f"two services of SOP class {one.sop_class} answer the same requests: {sorted(twice)}")
    return replace(
        one,
        operations={**one.operations, **other.operations},
        requestor_may_be_scp=one.requestor_may_be_scp or other.requestor_may_be_scp,
    )


def _supported(service: Service) -> PresentationContext:
    context = build_context(service.sop_class, list(service.transfer_syntaxes))
    if service.requestor_may_be_scp:
        context.scu_role = context.scp_role = True
    return context
