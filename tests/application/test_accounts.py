"""A copy of the database opens nothing, wrong passwords are slow to guess, and what has ended lets nobody in."""

from __future__ import annotations

import pytest

from npc_contour.adapters.store.accounts import PgAccounts
from npc_contour.adapters.store.database import PgStore
from npc_contour.application.accounts import (
    LOCAL,
    MAX_REFUSED_FROM_PEER,
    MAX_REFUSED_OF_NAME,
    AccessRole,
    Accounts,
    Person,
    check_password,
    hash_password,
)
from npc_contour.errors import AccountError
from npc_testkit.fakes import FakeClock

PASSWORD = "seven small stones"  # noqa: S105


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def accounts(store: PgStore, clock: FakeClock) -> Accounts:
    known = Accounts(PgAccounts(store), clock, session_h=8.0)
    known.add("anna", AccessRole.OPERATOR, PASSWORD)
    return known


def test_a_password_is_not_in_what_is_kept_and_two_hashes_differ() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)

    assert PASSWORD not in first
    assert first != second
    assert check_password(PASSWORD, first)
    assert not check_password(PASSWORD + " ", first)


def test_session_is_of_its_account_whatever_the_case(accounts: Accounts) -> None:
    secret = accounts.login("ANNA", PASSWORD)

    assert secret is not None
    person = accounts.by_session(secret)
    assert person is not None
    assert (person.name, person.role) == ("anna", AccessRole.OPERATOR)
    assert person.csrf


def test_neither_session_nor_token_can_be_read_from_the_database(accounts: Accounts, store: PgStore) -> None:
    session, token = accounts.login("anna", PASSWORD), accounts.make_token("bot", LOCAL, AccessRole.VIEWER, 1)

    rows = [store.query("SELECT * FROM web_session"), store.query("SELECT * FROM web_token")]
    assert session is not None
    assert session not in repr(rows)
    assert token not in repr(rows)


def test_session_ends_with_time_with_logout_and_with_its_account(accounts: Accounts, clock: FakeClock) -> None:
    secrets = [accounts.login("anna", PASSWORD) or "" for _ in range(3)]
    accounts.logout(secrets[0])
    assert accounts.by_session(secrets[0]) is None
    assert accounts.by_session(secrets[1]) is not None

    accounts.add("anna", AccessRole.VIEWER, "nine round pebbles")
    assert accounts.by_session(secrets[1]) is None

    later = accounts.login("anna", "nine round pebbles") or ""
    clock.forward(8 * 3600 + 1)
    assert accounts.by_session(later) is None


def test_token_ends_and_never_outranks_its_maker(accounts: Accounts, clock: FakeClock) -> None:
    anna = Person("anna", AccessRole.OPERATOR)
    with pytest.raises(AccountError, match="anna is operator and cannot make a token for admin"):
        accounts.make_token("bot", anna, AccessRole.ADMIN, 1)
    token = accounts.make_token("bot", anna, AccessRole.OPERATOR, 1)
    assert accounts.by_token(token) == Person("anna:bot", AccessRole.OPERATOR, token=True)

    accounts.add("anna", AccessRole.VIEWER, PASSWORD)
    assert accounts.by_token(token) == Person("anna:bot", AccessRole.VIEWER, token=True)
    clock.forward(24 * 3600 + 1)
    assert accounts.by_token(token) is None


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("anna", "short", "12 to 256 characters"),
        ("anna", "aaaaaaaaaaaaaaaa", "too easy"),
        ("anna", "xx-Anna-12345678", "holds the account's name"),
        ("an na", PASSWORD, "letters, digits"),
        ("local", PASSWORD, "not 'local'"),
    ],
)
def test_poor_names_and_passwords_are_refused_with_the_reason(
    accounts: Accounts, name: str, password: str, why: str
) -> None:
    with pytest.raises(AccountError, match=why):
        accounts.add(name, AccessRole.VIEWER, password)


def test_guessing_is_stopped_for_a_name_and_for_a_peer_and_forgiven_with_time(
    accounts: Accounts, clock: FakeClock
) -> None:
    for _ in range(MAX_REFUSED_OF_NAME):
        assert accounts.may_try("anna", "10.0.0.1")
        accounts.audit("anna", "login", "", "10.0.0.1", "refused")
    assert not accounts.may_try("Anna", "10.0.0.2")
    assert accounts.may_try("bert", "10.0.0.1")
    for number in range(MAX_REFUSED_FROM_PEER):
        accounts.audit(f"name{number}", "login", "", "10.0.0.9", "refused")
    assert not accounts.may_try("bert", "10.0.0.9")

    clock.forward(601)
    assert accounts.may_try("anna", "10.0.0.1")
    assert accounts.may_try("bert", "10.0.0.9")
