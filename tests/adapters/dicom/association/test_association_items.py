"""Associations as odd implementations ask for and accept them: padding means nothing, what is unknown is ignored."""

from __future__ import annotations

import struct

import pytest

from npc_contour.adapters.dicom.association.wire import WireError
from npc_contour.adapters.dicom.receive.access import LOOPBACK, AccessRule, Caller, refusal
from npc_contour.adapters.dicom.receive.negotiation import agree, read_request
from npc_contour.adapters.dicom.receive.services import Services, verification
from npc_contour.adapters.dicom.send.scu import echo
from npc_contour.domain.jobs import Destination
from npc_contour.errors import SendError
from npc_testkit.odd_associations import IMPLICIT, VERIFICATION, Odd, context, item, odd_acceptor, result

SUPPORTED = Services([verification()]).contexts
REQUEST, ACCEPTANCE = 1, 2
UNKNOWN = item(0x5A, b"abcdef") + item(0x53, struct.pack(">HH", 0, 0))
IDENTITIES = (
    item(0x58, struct.pack(">BBH", 1, 1, 4) + b"user\0\0") + item(0x58, b"\x05\0\0\4abcd\0\0") + item(0x58, b"")
)
NEGOTIATIONS = item(0x56, struct.pack(">H", 17) + VERIFICATION + b"\2\0") + item(0x57, b"\0\x11") + item(0x54, b"\0\1")

FINE = {
    "plain": Odd(),
    "titles padded with NUL": Odd(called=b"NPC_CONTOUR\0\0\0\0\0", calling=b"SCANNER".ljust(16, b"\0")),
    "titles with spaces before": Odd(called=b"  NPC_CONTOUR   ", calling=b"  SCANNER       "),
    "names padded": Odd(
        context_name=b"1.2.840.10008.3.1.1.1\0", contexts=context(1, VERIFICATION + b" ", [IMPLICIT + b"\0"])
    ),
    "version name padded": Odd(more_information=item(0x55, b"OT_1\0\0")),
    "version name of 17": Odd(more_information=item(0x55, b"A_VERSION_NAME_17")),
    "version name empty, and not ASCII": Odd(more_information=item(0x55, b"") + item(0x55, b"\xff\xfe")),
    "items nobody knows": Odd(more_information=UNKNOWN, tail=item(0x99, b"x")),
    "user identities": Odd(more_information=IDENTITIES),
    "extended negotiations": Odd(more_information=NEGOTIATIONS),
    "class UID that is none": Odd(information=item(0x51, b"\0\0\x40\0") + item(0x52, b"1.2.3.x")),
    "no user information": Odd(information=b""),
    "later versions, too": Odd(version=0xFFFF),
    "reserved field in use": Odd(reserved=b" " * 32),
}  # fmt: skip


@pytest.mark.parametrize("odd", FINE.values(), ids=FINE.keys())
def test_what_the_standard_lets_pass_is_accepted(odd: Odd) -> None:
    request = read_request(odd.pdu(REQUEST))
    agreement = agree(request, SUPPORTED, "1.2.3", "OURS")

    assert (request.called_ae_title, request.calling_ae_title) == ("NPC_CONTOUR", "SCANNER")
    assert request.speaks_version_1
    assert list(agreement.contexts) == [1]
    assert agreement.pdu[10:74] == odd.called + odd.calling + odd.reserved


def test_a_context_that_cannot_be_meant_is_refused_and_the_others_are_not() -> None:
    contexts = (
        context(1, b"") + context(3) + context(5, VERIFICATION, [b"abc"]) + context(7, b"1.2.3.4") + context(9, b"x y")
    )

    agreement = agree(read_request(Odd(contexts=contexts).pdu(REQUEST)), SUPPORTED, "1.2.3", "OURS")

    assert list(agreement.contexts) == [3]
    answered = {agreement.pdu[start + 4]: agreement.pdu[start + 6] for start in _results(agreement.pdu)}
    assert answered == {1: 3, 3: 0, 5: 4, 7: 3, 9: 3}


def _results(pdu: bytes) -> list[int]:
    starts, position = [], 74
    while position < len(pdu):
        if pdu[position] == 0x21:
            starts.append(position)
        position += 4 + int.from_bytes(pdu[position + 2 : position + 4], "big")
    return starts


@pytest.mark.parametrize(("calling", "reason"), [
    (b" " * 16, 3), (bytes(16), 3), ("CT_HÖRSAAL".encode("latin-1").ljust(16), 3), (b"CT\\1".ljust(16), 3),
    (b"CT1\0rubbish".ljust(16, b"\0"), 3),
])  # fmt: skip
def test_a_calling_title_that_is_none_is_rejected(calling: bytes, reason: int) -> None:
    request = read_request(Odd(calling=calling).pdu(REQUEST))
    caller = Caller("127.0.0.1", request.calling_ae_title, request.called_ae_title)

    refused = refusal(caller, [AccessRule(networks=LOOPBACK)], frozenset({"NPC_CONTOUR"}))

    assert refused is not None
    assert (refused.result, refused.source, refused.reason) == (1, 1, reason)


@pytest.mark.parametrize("odd", [
    Odd(contexts=context(2)), Odd(contexts=context(1) + context(1)), Odd(contexts=b""), Odd(contexts=item(0x20, b"\1")),
    Odd(tail=b"\x99\0\xff\xffx"), Odd(tail=b"\x99"), Odd(reserved=b""),
])  # fmt: skip
def test_what_is_no_request_is_told_apart(odd: Odd) -> None:
    with pytest.raises(WireError):
        read_request(odd.pdu(REQUEST)[: None if odd.reserved else 60])


ACCEPTED = result(1, 0, IMPLICIT)
ANSWERS = {
    "plain": Odd(contexts=ACCEPTED),
    "titles of zeros": Odd(contexts=ACCEPTED, called=bytes(16), calling=bytes(16)),
    "version name padded": Odd(contexts=ACCEPTED, more_information=item(0x55, b"TPS_1\0\0")),
    "version name of 17": Odd(contexts=ACCEPTED, more_information=item(0x55, b"A_VERSION_NAME_17")),
    "items nobody knows": Odd(contexts=ACCEPTED, more_information=UNKNOWN),
    "syntax padded": Odd(contexts=result(1, 0, IMPLICIT + b"\0")),
    "rejected without a syntax": Odd(contexts=ACCEPTED + result(3, 3) + result(5, 4, b"")),
    "no user information": Odd(contexts=ACCEPTED, information=b""),
}


@pytest.mark.parametrize("odd", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_peer_that_accepts_oddly_is_talked_to(odd: Odd) -> None:
    with odd_acceptor(odd.pdu(ACCEPTANCE)) as port:
        assert echo(Destination("tps", "TPS", "127.0.0.1", port), "OURS", 10.0).destination == "tps"


@pytest.mark.parametrize(("answer", "words"), [
    (Odd(contexts=ACCEPTED, tail=b"\x99\0\xff\xffx").pdu(ACCEPTANCE), "accepted in bytes that mean nothing"),
    (Odd(contexts=result(1, 0)).pdu(ACCEPTANCE), "accepted in bytes that mean nothing"),
    (struct.pack(">BBL", 9, 0, 4) + bytes(4), "we ended the association"),
    (struct.pack(">BBL", 4, 0, 4) + bytes(4), "we ended the association"),
])  # fmt: skip
def test_our_own_abort_is_never_called_the_peers(answer: bytes, words: str) -> None:
    with odd_acceptor(answer) as port, pytest.raises(SendError, match=words) as caught:
        echo(Destination("tps", "TPS", "127.0.0.1", port), "OURS", 10.0)
    assert "closed the connection" not in str(caught.value)
    assert "aborted" not in str(caught.value)
