"""Association requests: read, and answered by the rules of the Standard as pynetdicom implements them.

Reads the A-ASSOCIATE-RQ by pynetdicom's PDU classes, chooses contexts and roles by its `negotiate_as_acceptor`
(PS3.8 annex B, PS3.7 D.3.3.4), and encodes the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from npc_contour.adapters.dicom.association.association_items import APPLICATION_CONTEXT, Tidied, tidied, with_titles
from npc_contour.adapters.dicom.association.wire import MAX_PDU, AbortReason, WireError
from npc_contour.adapters.dicom.receive.services import Context
from npc_contour.errors import bytes_of_a_stranger


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """What a peer asks for.

    Attributes:
        max_pdu: longest P-DATA-TF that it takes; 0 is any.
        implementation: what it calls itself; "" when it does not say.
        tidied: the request without what means nothing.
    """

    calling_ae_title: str
    called_ae_title: str
    application_context: str
    max_pdu: int
    implementation: str
    primitive: A_ASSOCIATE
    tidied: Tidied

    @property
    def speaks_version_1(self) -> bool:
        """Whether version 1 of the protocol is among those it speaks: the first bit (PS3.8 table 9-11)."""
        return bool(self.tidied.version & 1)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed.

    Attributes:
        pdu: the A-ASSOCIATE-AC to send.
        contexts: accepted ones by id.
        max_pdu: longest P-DATA-TF that the peer takes; 0 is any.
        refused: SOP classes that found no context.
    """

    pdu: bytes
    contexts: dict[int, Context]
    max_pdu: int
    refused: tuple[str, ...]


def _no_request(why: str) -> WireError:
    return WireError(f"no A-ASSOCIATE-RQ: {why}", AbortReason.INVALID_PARAMETER)


def read_request(pdu: bytes) -> AssociationRequest:
    """Read a whole A-ASSOCIATE-RQ PDU.

    Raises:
        WireError: it is none; what a peer sent never raises anything else.
    """
    tidy = tidied(pdu)
    with bytes_of_a_stranger(_no_request):
        decoded = A_ASSOCIATE_RQ()
        decoded.decode(tidy.pdu)
        primitive = decoded.to_primitive()
        contexts = primitive.presentation_context_definition_list
        request = AssociationRequest(
            calling_ae_title=tidy.calling_ae_title,
            called_ae_title=tidy.called_ae_title,
            application_context=tidy.application_context,
            max_pdu=int(primitive.maximum_length_received or 0),
            implementation=_implementation(primitive),
            primitive=primitive,
            tidied=tidy,
        )
    if not contexts and not tidy.unusable:
        raise WireError("an association request without a presentation context", AbortReason.INVALID_PARAMETER)
    return request


def agree(
    request: AssociationRequest,
    supported: Sequence[PresentationContext],
    implementation_class_uid: str,
    implementation_version_name: str,
) -> Agreement:
    """Accept a request, with those of its contexts that we support."""
    primitive = request.primitive
    roles: dict[UID, tuple[bool | None, bool | None]] = {
        UID(str(item.sop_class_uid)): (bool(item.scu_role), bool(item.scp_role))
        for item in primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    proposed = list(primitive.presentation_context_definition_list)
    results, role_items = negotiate_as_acceptor(proposed, list(supported), roles or None) if proposed else ([], [])
    results += [_unusable(identifier, result) for identifier, result in request.tidied.unusable.items()]
    answer = A_ASSOCIATE()
    answer.application_context_name = UID(APPLICATION_CONTEXT)
    answer.calling_ae_title = primitive.calling_ae_title
    answer.called_ae_title = primitive.called_ae_title
    answer.result, answer.result_source = 0x00, 0x01
    answer.presentation_context_definition_results_list = results
    length, name, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = MAX_PDU
    name.implementation_class_uid = UID(implementation_class_uid)
    version.implementation_version_name = implementation_version_name
    answer.user_information = [length, name, version, *role_items]
    accepted = [context for context in results if context.result == 0x00]
    return Agreement(
        with_titles(A_ASSOCIATE_AC(answer).encode(), request.tidied.titles),
        {
            int(context.context_id or 0): Context(
                int(context.context_id or 0), str(context.abstract_syntax), str(context.transfer_syntax[0])
            )
            for context in accepted
        },
        request.max_pdu,
        tuple(str(context.abstract_syntax or "none") for context in results if context.result != 0x00),
    )


def _unusable(identifier: int, result: int) -> PresentationContext:
    context = PresentationContext()
    context.context_id, context.result = identifier, result
    context.transfer_syntax = [ImplicitVRLittleEndian]
    return context


def _implementation(primitive: A_ASSOCIATE) -> str:
    for item in primitive.user_information:
        if isinstance(item, ImplementationVersionNameNotification):
            return str(item.implementation_version_name or "")
    return ""
