"""A copy of the database opens nothing, wrong passwords are slow to guess, and what has ended lets nobody in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest

from npc_contour.application.accounts import (
    LOCAL,
    MAX_REFUSED_FROM_PEER,
    MAX_REFUSED_OF_NAME,
    Accounts,
    By,
    Person,
    Place,
    check_password,
    digest,
    hash_password,
)
from npc_contour.domain.accounts import AccessRole
from npc_contour.errors import AccountError
from npc_contour.store.accounts import AccountStore
from npc_contour.store.database import Store
from npc_testkit.fakes import FakeClock

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
PASSWORD = "seven small stones"  # noqa: S105


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def accounts(store: Store, clock: FakeClock) -> Accounts:
    known = Accounts(AccountStore(store), clock, session_h=8.0)
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


def test_neither_session_nor_token_can_be_read_from_the_database(accounts: Accounts, store: Store) -> None:
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

    accounts.set_password("anna", "nine round pebbles")
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

    accounts.set_role("anna", AccessRole.VIEWER)
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


def test_guessing_is_stopped_for_a_name_from_one_place_and_forgiven_with_time(
    accounts: Accounts, clock: FakeClock
) -> None:
    for _ in range(MAX_REFUSED_OF_NAME):
        assert accounts.may_try("anna", Place("10.0.0.1"))
        accounts.refused("anna", Place("10.0.0.1"))

    assert not accounts.may_try("Anna", Place("10.0.0.1"))
    assert accounts.may_try("anna", Place("10.0.0.2"))
    assert accounts.may_try("bert", Place("10.0.0.1"))
    clock.forward(601)
    assert accounts.may_try("anna", Place("10.0.0.1"))


def test_all_names_together_count_for_an_address_of_its_own_but_not_for_one_that_others_share(
    accounts: Accounts,
) -> None:
    for number in range(MAX_REFUSED_FROM_PEER):
        accounts.refused(f"name{number}", Place("10.0.0.9"))

    assert not accounts.may_try("bert", Place("10.0.0.9"))
    assert accounts.may_try("bert", Place("10.0.0.9", is_own=False))


def test_a_browser_that_an_account_has_used_is_not_kept_out_by_others_behind_the_same_proxy(accounts: Accounts) -> None:
    browser = accounts.remember_browser("anna", "")
    known, strange = Place("127.0.0.1", is_own=False, browser=browser), Place("127.0.0.1", is_own=False)
    for _ in range(MAX_REFUSED_OF_NAME):
        accounts.refused("anna", strange)

    assert not accounts.may_try("anna", strange)
    assert accounts.may_try("anna", known)
    for _ in range(MAX_REFUSED_OF_NAME):
        accounts.refused("anna", known)
    assert not accounts.may_try("anna", known)
    assert accounts.unlock("ANNA") == 2 * MAX_REFUSED_OF_NAME
    assert accounts.may_try("anna", strange)
    accounts.set_password("anna", "nine round pebbles")
    assert not accounts.store.knows_browser(digest(browser), "anna", LONG_AGO)


def test_an_account_is_never_written_over(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="there is an account ANNA already"):
        accounts.add("ANNA", AccessRole.VIEWER, "nine round pebbles")

    assert accounts.fits("anna", PASSWORD)


@pytest.mark.parametrize("change", ["role", "disable"])
def test_the_last_admin_stays(accounts: Accounts, change: str) -> None:
    accounts.add("ann", AccessRole.ADMIN, PASSWORD)

    def take_away(name: str) -> None:
        if change == "role":
            accounts.set_role(name, AccessRole.VIEWER)
        else:
            accounts.disable(name, disabled=True)

    with pytest.raises(AccountError, match="ann is the only admin"):
        take_away("ann")
    accounts.add("bea", AccessRole.ADMIN, PASSWORD)
    take_away("ann")
    with pytest.raises(AccountError, match="bea is the only admin"):
        take_away("bea")


def test_of_two_admins_who_take_each_other_away_at_the_same_time_one_stays(accounts: Accounts) -> None:
    for name in ("ann", "bea"):
        accounts.add(name, AccessRole.ADMIN, PASSWORD)
    together = Barrier(2)

    def disable(name: str) -> bool:
        together.wait()
        try:
            accounts.disable(name, disabled=True)
        except AccountError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(disable, ("ann", "bea")))

    assert sorted(done) == [False, True]


def test_every_change_is_in_the_audit_trail_with_who_and_what(accounts: Accounts) -> None:
    by = By("root", "command line")
    accounts.add("ann", AccessRole.ADMIN, PASSWORD, by)
    accounts.set_role("anna", AccessRole.VIEWER, by)
    accounts.set_password("anna", "nine round pebbles", by)
    accounts.disable("anna", disabled=True, by=by)
    accounts.disable("anna", disabled=False, by=by)
    accounts.unlock("anna", by)
    token = accounts.make_token("bot", LOCAL, AccessRole.VIEWER, 1, by)
    assert accounts.by_token(token) is not None
    accounts.remove_token(accounts.store.tokens()[0].token_id, by)
    accounts.vouched("carl", "issuer#1", AccessRole.VIEWER)
    accounts.vouched("carl", "issuer#1", AccessRole.OPERATOR)

    lines = [line for line in reversed(accounts.store.audit(20)) if line.what != "anna: operator"]
    assert [(line.who, line.peer) for line in lines[:8]] == [("root", "command line")] * 8
    assert [(line.action, line.what) for line in lines] == [
        ("account.add", "ann: admin"),
        ("account.role", "anna: operator -> viewer"),
        ("account.password", "anna"),
        ("account.disable", "anna"),
        ("account.enable", "anna"),
        ("account.unlock", "anna"),
        ("token.add", lines[6].what),
        ("token.remove", lines[6].what.split()[0]),
        ("account.add", "carl: viewer"),
        ("account.role", "carl: viewer -> operator"),
    ]
