"""Nobody comes in whom no rule names, and nobody takes more than an address may."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from npc_contour.adapters.dicom.receive.access import (
    CALLED_UNKNOWN,
    CALLING_UNKNOWN,
    LIMIT,
    MAX_PEERS,
    NOT_ALLOWED,
    PEER_LIMIT,
    PEER_RATE,
    AccessRule,
    Caller,
    Gatekeeper,
    PeerLimits,
    Refusal,
    refusal,
)

OURS = frozenset({"NPC_CONTOUR", "NPC_CTV"})
SCANNER = Caller("10.1.2.3", "CT1", "NPC_CONTOUR", ("ct1.hospital.example",))


def rule(network: str = "10.1.0.0/16", **keys: Any) -> AccessRule:
    return AccessRule(networks=(ip_network(network),), **keys)


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ((), NOT_ALLOWED),
        ((AccessRule(),), NOT_ALLOWED),
        ((rule("10.9.0.0/16"),), NOT_ALLOWED),
        ((AccessRule(networks=()),), NOT_ALLOWED),
        ((rule(tls_subjects=("ct2.hospital.example",)),), NOT_ALLOWED),
        ((rule(calling_ae_titles=("CT2", "CT3")),), CALLING_UNKNOWN),
        ((rule(called_ae_titles=("NPC_CTV",)),), CALLED_UNKNOWN),
        # What must hold together may not be picked from two rules.
        ((rule(calling_ae_titles=("CT2",)), rule("10.9.0.0/16", calling_ae_titles=("CT1",))), CALLING_UNKNOWN),
        ((rule(),), None),
        ((rule("10.9.0.0/16"), rule(calling_ae_titles=("CT1",), called_ae_titles=("NPC_CONTOUR",))), None),
        ((rule(tls_subjects=("*.hospital.example",)),), None),
        ((rule(tls_subjects=("CT1.Hospital.Example",)),), None),
    ],
)
def test_all_of_one_rule_must_hold(rules: tuple[AccessRule, ...], why: Refusal | None) -> None:
    assert refusal(SCANNER, rules, OURS) == why


def test_a_title_that_is_not_ours_is_told_so() -> None:
    caller = Caller("10.1.2.3", "CT1", "SOMEBODY")

    assert refusal(caller, (rule(),), OURS) == CALLED_UNKNOWN


def test_without_certificate_no_rule_with_subjects_holds() -> None:
    caller = Caller("10.1.2.3", "CT1", "NPC_CONTOUR")

    assert refusal(caller, (rule(tls_subjects=("*",)),), OURS) == NOT_ALLOWED


@pytest.mark.parametrize("address", ["::ffff:10.1.2.3", "10.1.2.3"])
def test_an_ipv4_peer_on_an_ipv6_socket_is_known(address: str) -> None:
    assert refusal(Caller(address, "CT1", "NPC_CONTOUR"), (rule(),), OURS) is None


def test_a_link_local_zone_does_not_confuse() -> None:
    caller = Caller("fe80::1%eth0", "CT1", "NPC_CONTOUR")

    assert refusal(caller, (rule("fe80::/10"),), OURS) is None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_associations_are_limited_in_all_and_for_each_address() -> None:
    gate = Gatekeeper(3, PeerLimits(associations=2))

    assert [gate.enter("a") for _ in range(3)] == [None, None, PEER_LIMIT]
    assert [gate.enter("b") for _ in range(2)] == [None, LIMIT]
    gate.leave("a")
    assert gate.enter("b") is None


def test_too_many_associations_within_a_minute_are_refused_until_it_is_over() -> None:
    clock = Clock()
    gate = Gatekeeper(10, PeerLimits(associations_per_minute=2), clock)
    for _ in range(2):
        assert gate.enter("a") is None
        gate.leave("a")

    assert gate.enter("a") == PEER_RATE
    assert gate.enter("b") is None
    clock.now += 61
    assert gate.enter("a") is None


def test_a_fast_peer_is_held_back_to_its_rate_and_a_slow_one_is_not() -> None:
    clock = Clock()
    gate = Gatekeeper(10, PeerLimits(mb_per_s=1.0), clock)

    waited = sum(gate.wait_s("fast", 2**20) for _ in range(1))
    for _ in range(9):
        pause = gate.wait_s("fast", 2**20)
        clock.now += pause
        waited += pause
    assert waited == pytest.approx(9.0, abs=1.1)
    for _ in range(5):
        clock.now += 2.0
        assert gate.wait_s("slow", 2**20) <= 1.0


def test_addresses_without_end_do_not_fill_the_memory() -> None:
    gate = Gatekeeper(10, PeerLimits())
    for number in range(MAX_PEERS + 100):
        assert gate.enter(str(number)) is None
        gate.leave(str(number))

    assert len(gate._peers) <= MAX_PEERS
