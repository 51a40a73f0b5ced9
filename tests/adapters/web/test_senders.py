"""An address counts as the sender's own only where nobody else can write it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from npc_contour.adapters.web.senders import Sender, sender_of

PROXY = (IPv4Network("127.0.0.1/32"), IPv4Network("10.0.0.2/31"), IPv6Network("fd00::2/128"))


def asked(peer: str, *headers: tuple[str, str], local_is_shared: bool = True) -> Sender:
    scope = {
        "client": (peer, 40000),
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    return sender_of(scope, PROXY, local_is_shared=local_is_shared)


FOR, PROTO = "X-Forwarded-For", "X-Forwarded-Proto"


@pytest.mark.parametrize(
    ("peer", "headers", "address", "scheme", "is_own"),
    [
        # nobody between
        ("10.9.9.9", (), "10.9.9.9", "http", True),
        ("fd00::9", (), "fd00::9", "http", True),
        # a proxy that is believed
        ("127.0.0.1", ((FOR, "10.9.9.9"), (PROTO, "https")), "10.9.9.9", "https", True),
        ("::ffff:127.0.0.1", ((FOR, "10.9.9.9"), (PROTO, "https")), "10.9.9.9", "https", True),
        ("fd00::2", ((FOR, "[fd00::9]:4711"),), "fd00::9", "http", True),
        ("127.0.0.1", ((FOR, "10.9.9.9:4711"),), "10.9.9.9", "http", True),
        # what the sender wrote itself stands before what the proxy wrote
        ("127.0.0.1", ((FOR, "127.0.0.1, 10.9.9.9"),), "10.9.9.9", "http", True),
        ("127.0.0.1", ((FOR, "1.2.3.4"), (FOR, "10.9.9.9")), "10.9.9.9", "http", True),
        # two proxies, each with its own scheme
        ("127.0.0.1", ((FOR, "10.9.9.9, 10.0.0.2"), (PROTO, "https, http")), "10.9.9.9", "https", True),
        # a proxy that is believed and says nothing, or nonsense
        ("127.0.0.1", (), "127.0.0.1", "http", False),
        ("127.0.0.1", ((PROTO, "https"),), "127.0.0.1", "https", False),
        ("127.0.0.1", ((FOR, "unknown"),), "127.0.0.1", "http", False),
        ("127.0.0.1", ((FOR, "10.9.9.9, unknown"),), "127.0.0.1", "http", False),
        ("127.0.0.1", ((FOR, "127.0.0.1"),), "127.0.0.1", "http", False),
        ("127.0.0.1", ((FOR, "10.9.9.9"), (PROTO, "gopher")), "10.9.9.9", "http", True),
        # a proxy that nobody named
        ("10.9.9.9", ((FOR, "10.1.1.1"), (PROTO, "https")), "10.9.9.9", "http", False),
        ("10.9.9.9", (("Via", "1.1 squid"),), "10.9.9.9", "http", False),
        ("10.9.9.9", (("Forwarded", "for=10.1.1.1"),), "10.9.9.9", "http", False),
        # this machine: a browser, or a proxy that leaves no mark
        ("127.0.0.2", (), "127.0.0.2", "http", False),
        ("::1", (), "::1", "http", False),
        ("", (), "", "http", False),
    ],
)
def test_address_scheme_and_whose_it_is(
    peer: str,
    headers: tuple[tuple[str, str], ...],
    address: str,
    scheme: str,
    is_own: bool,  # noqa: FBT001 - a column of the table
) -> None:
    sender = asked(peer, *headers)

    assert (sender.address, sender.scheme, sender.is_own) == (address, scheme, is_own)


def test_this_machine_is_its_own_while_nobody_is_asked_who_he_is() -> None:
    networks = [IPv4Network("127.0.0.0/8")]

    assert asked("127.0.0.2", local_is_shared=False).is_in(networks)
    assert not asked("127.0.0.2", local_is_shared=True).is_in(networks)
    assert not asked("127.0.0.2", (FOR, "127.0.0.1"), local_is_shared=False).is_in(networks)
    assert not asked("10.9.9.9", local_is_shared=False).is_in(networks)
