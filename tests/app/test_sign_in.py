"""Whom the identity provider vouches for is let in with the role of the groups, and nobody by a token that lies."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from npc_contour.adapters.oidc import KEYS_AGAIN_S, Client, OidcProvider
from npc_contour.application.accounts import Accounts
from npc_contour.application.sign_in import ATTEMPT, SignIn
from npc_contour.domain.accounts import AccessRole, Attempt
from npc_contour.errors import AccountError, IdentityError, SettingsError
from npc_contour.settings import read_settings
from npc_contour.store.accounts import AccountStore
from npc_contour.store.database import Store
from npc_testkit.certificates import Authority
from npc_testkit.fakes import FakeClock
from npc_testkit.identity_provider import Provider, identity_provider, new_key, signed, unsigned
from npc_testkit.page import a_page
from npc_testkit.peers import free_port
from npc_testkit.served import served

GROUPS = {AccessRole.VIEWER: ["rt"], AccessRole.OPERATOR: ["physics"], AccessRole.ADMIN: ["npc-admins"]}


@dataclass
class Door:
    """Logging in without the pages: a real provider, a real database."""

    provider: Provider
    client: OidcProvider
    sign_in: SignIn
    accounts: Accounts
    clock: FakeClock

    def enter(self, **changed: str) -> tuple[str, str, str]:
        """Go to the provider and come back."""
        secret, url = self.sign_in.begin("/cases/1")
        back = httpx.get(url, timeout=10).headers["location"]
        asked = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        found = {"secret": secret, "state": asked["state"], "code": asked["code"]} | changed
        return self.sign_in.finish(found["secret"], found["state"], found["code"])


@pytest.fixture
def provider() -> Iterator[Provider]:
    with identity_provider() as running:
        yield running


@pytest.fixture
def door(store: Store, provider: Provider) -> Door:
    clock = FakeClock()
    accounts = Accounts(AccountStore(store), clock, session_h=8.0)
    client = OidcProvider(
        Client(
            issuer=provider.issuer, client_id="npc", secret=provider.secret, scopes=("openid",), clock_skew_s=60,
            redirect_url="http://127.0.0.1/login/oidc/callback", name_claim="preferred_username", role_claim="groups",
        ),
        now=lambda: clock.now().timestamp(),
    )  # fmt: skip
    return Door(provider, client, SignIn(AccountStore(store), clock, accounts, client, GROUPS), accounts, clock)


def test_a_person_is_let_in_with_the_role_of_the_groups(door: Door) -> None:
    session, name, after = door.enter()

    person = door.accounts.by_session(session)
    assert person is not None
    assert (person.name, person.role, name, after) == ("wang", AccessRole.VIEWER, "wang", "/cases/1")
    door.provider.person["groups"] = ["rt", "npc-admins"]
    again = door.accounts.by_session(door.enter()[0])
    assert again is not None
    assert again.role is AccessRole.ADMIN
    assert not door.accounts.fits("wang", "")


def later(name: str, seconds: int) -> Callable[[dict[str, Any]], object]:
    return lambda claims: claims.update({name: claims["iat"] + seconds})


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "wrong issuer": lambda claims: claims.update(iss="http://evil.example"),
    "wrong audience": lambda claims: claims.update(aud="another"),
    "issued to another": lambda claims: claims.update(azp="another"),
    "several audiences, issued to nobody": lambda claims: claims.update(aud=["npc", "another"]),
    "wrong nonce": lambda claims: claims.update(nonce="guess"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "expired": later("exp", -120),
    "no end": lambda claims: claims.pop("exp"),
    "issued in the future": later("iat", 300),
    "not valid yet": later("nbf", 300),
    "nobody": lambda claims: claims.pop("sub"),
    "no name": lambda claims: claims.pop("preferred_username"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_whose_claims_do_not_hold_lets_nobody_in(door: Door, lie: str) -> None:
    door.provider.lie = LIES[lie]

    with pytest.raises(IdentityError, match="ID token"):
        door.enter()
    assert door.accounts.store.accounts() == ()


def test_a_clock_that_is_a_little_off_locks_nobody_out(door: Door) -> None:
    door.provider.lie = later("exp", -30)
    assert door.enter()
    door.provider.lie = later("nbf", 30)
    assert door.enter()


def by_a_shared_secret(provider: Provider, claims: dict[str, Any]) -> str:
    """Sign by HMAC with the public key as the secret: the old confusion of algorithms."""
    signed_part = ".".join(unsigned(claims, "HS256").split(".")[:2])
    mac = hmac.digest(provider.keys[0].as_pem(private=False), signed_part.encode(), hashlib.sha256)
    return f"{signed_part}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


FORGERIES: dict[str, Callable[[Provider, dict[str, Any]], str]] = {
    "no algorithm": lambda _, claims: unsigned(claims),
    "another key under its name": lambda _, claims: signed(claims, new_key("one")),
    "unknown key": lambda _, claims: signed(claims, new_key("two")),
    "no signature": lambda provider, claims: signed(claims, provider.keys[0]).rpartition(".")[0] + ".",
    "other claims": lambda provider, claims: _swapped(signed(claims, provider.keys[0]), claims),
    "a shared secret": by_a_shared_secret,
    "no token at all": lambda _, __: "x",
}


def _swapped(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return ".".join([head, unsigned({**claims, "groups": ["npc-admins"]}).split(".")[1], signature])


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(door: Door, forgery: str) -> None:
    door.provider.sign = lambda claims: FORGERIES[forgery](door.provider, claims)

    with pytest.raises(IdentityError, match="ID token"):
        door.enter()
    assert door.accounts.store.accounts() == ()


def test_new_keys_of_the_provider_are_learnt_but_not_asked_for_at_every_forgery(door: Door) -> None:
    door.enter()
    door.provider.keys = [new_key("two")]
    door.clock.forward(KEYS_AGAIN_S + 1)
    assert door.enter()
    asked = door.provider.asked["/realm/keys"]
    door.provider.sign = lambda claims: signed(claims, new_key("three"))
    for _ in range(3):
        with pytest.raises(IdentityError):
            door.enter()
    assert door.provider.asked["/realm/keys"] == asked == 2


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"state": "guess"}, "another login"), ({"secret": "guess"}, "another browser"),
     ({"secret": ""}, "another browser"), ({"code": "guess"}, "does not answer: .*400")],
)  # fmt: skip
def test_only_the_browser_that_was_sent_comes_back(door: Door, changed: dict[str, str], why: str) -> None:
    with pytest.raises(IdentityError, match=why):
        door.enter(**changed)


def test_an_answer_is_used_once_and_in_time(door: Door) -> None:
    secret, url = door.sign_in.begin("/work")
    back = parse_qs(urlsplit(httpx.get(url, timeout=10).headers["location"]).query)
    door.sign_in.finish(secret, back["state"][0], back["code"][0])
    with pytest.raises(IdentityError, match="another browser"):
        door.sign_in.finish(secret, back["state"][0], back["code"][0])
    secret, _ = door.sign_in.begin("/work")
    door.clock.forward(ATTEMPT.total_seconds() + 1)
    with pytest.raises(IdentityError, match="took too long"):
        door.sign_in.finish(secret, "", "")


def test_who_may_not_enter_is_told_why(door: Door) -> None:
    door.provider.person["groups"] = ["kitchen"]
    with pytest.raises(AccountError, match="wang is in none of the groups"):
        door.enter()
    door.provider.person |= {"groups": ["rt"], "preferred_username": "anna"}
    door.accounts.add("Anna", AccessRole.ADMIN, "seven small stones")
    with pytest.raises(AccountError, match="an account anna already"):
        door.enter()
    anna = door.accounts.store.account("anna")
    assert anna is not None
    assert (anna.role, anna.subject) == (AccessRole.ADMIN, "")
    door.provider.person["preferred_username"] = "wang wei"
    with pytest.raises(AccountError, match=r"oidc\.name_claim"):
        door.enter()


def test_a_name_that_passes_to_another_person_gives_nothing_away_and_a_new_name_no_new_account(door: Door) -> None:
    door.enter()
    door.provider.person["preferred_username"] = "wang2"
    assert door.enter()[1] == "wang"
    door.provider.person |= {"preferred_username": "wang", "sub": "4712"}
    with pytest.raises(AccountError, match="not this person's"):
        door.enter()


def test_groups_may_lie_deep_in_the_token(door: Door) -> None:
    door.provider.person = {"sub": "1", "preferred_username": "li", "realm_access": {"roles": ["physics"]}}
    client = Client(
        issuer=door.provider.issuer, client_id="npc", secret=door.provider.secret, scopes=("openid",), clock_skew_s=60,
        redirect_url="http://127.0.0.1/login/oidc/callback", name_claim="preferred_username",
        role_claim="realm_access.roles",
    )  # fmt: skip
    store = AccountStore(door.accounts.store._store)
    door.sign_in = SignIn(store, door.clock, door.accounts, OidcProvider(client), GROUPS)
    person = door.accounts.by_session(door.enter()[0])
    assert person is not None
    assert person.role is AccessRole.OPERATOR


def test_a_provider_is_judged_by_the_certificates_of_the_settings(tmp_path: Path) -> None:
    authority, attempt = Authority(tmp_path / "ca"), Attempt(after="/", expires_at=datetime.now(UTC))
    with identity_provider(authority.issue("localhost")) as provider:

        def trusting(ca_file: Path) -> OidcProvider:
            client = Client(
                issuer=provider.issuer, client_id="npc", secret="", scopes=("openid",), clock_skew_s=60,
                redirect_url="", name_claim="sub", role_claim="groups", ca_file=str(ca_file),
            )  # fmt: skip
            return OidcProvider(client)

        assert trusting(authority.certificate).authorization_url(attempt).startswith("https://localhost:")
        with pytest.raises(IdentityError, match="certificate verify failed"):
            trusting(Authority(tmp_path / "other").certificate).authorization_url(attempt)
        provider.about = {"token_endpoint": f"http://localhost:{provider.port}/token"}
        with pytest.raises(IdentityError, match=r"token_endpoint is 'http://.*no https address"):
            trusting(authority.certificate).identity("code", attempt)


@pytest.mark.parametrize(
    ("about", "why"),
    [({"issuer": "http://evil.example"}, "the login provider is 'http://evil.example'"),
     ({"authorization_endpoint": "ftp://x/"}, "no https address"), ({"jwks_uri": 7}, "jwks_uri is 7")],
)  # fmt: skip
def test_a_provider_that_is_another_than_the_settings_say_is_not_believed(
    door: Door, about: dict[str, Any], why: str
) -> None:
    door.provider.about = about
    with pytest.raises(IdentityError, match=why):
        door.enter()


def test_over_http_the_callback_refuses_strangers(
    provider: Provider, store: Store, database_url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(provider.secret + "\n", encoding="utf-8")
    oidc = provider.settings(client_secret_file=secret)
    with served(store, database_url, tmp_path, oidc=oidc) as running, httpx.Client(base_url=running.url) as client:
        begun = client.get("/login/oidc?next=//evil.example")
        assert begun.headers["location"].startswith(provider.issuer)
        assert {"httponly", "samesite=lax", "path=/login/oidc"} <= set(begun.headers["set-cookie"].lower().split("; "))
        back = urlsplit(httpx.get(begun.headers["location"], timeout=10).headers["location"])
        ended = client.get(f"{back.path}?{back.query}")
        assert (ended.status_code, ended.headers["location"]) == (303, "/work")
        assert client.get("/account").status_code == 200
        assert httpx.get(f"{running.url}/account", timeout=10).status_code == 401
        assert client.get("/login/oidc/callback?code=a&state=b").status_code == 401
        trail = running.accounts.store.audit(100)
    assert ("wang", "login", "provider", "done") in {(row.who, row.action, row.what, row.outcome) for row in trail}
    assert ("(provider)", "refused") in {(row.who, row.outcome) for row in trail}


def test_a_browser_logs_in_and_out_at_another_site(
    provider: Provider, store: Store, database_url: str, tmp_path: Path, browser: Browser
) -> None:
    secret, port = tmp_path / "secret", free_port()
    secret.write_text(provider.secret, encoding="utf-8")
    oidc = provider.settings(
        f"http://127.0.0.1:{port}/login/oidc/callback", client_secret_file=secret, label="the clinic"
    )
    with served(store, database_url, tmp_path, port=port, oidc=oidc), a_page(browser) as page:
        page.goto(f"http://127.0.0.1:{port}/rules")
        page.get_by_role("link", name="Log in with the clinic").click()
        expect(page).to_have_url(f"http://127.0.0.1:{port}/rules")
        expect(page.get_by_role("link", name="wang")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{provider.issuer}/bye?client_id=npc&post_logout_redirect_uri="
                                 f"http%3A%2F%2F127.0.0.1%3A{port}%2Flogin")  # fmt: skip
        page.goto(f"http://127.0.0.1:{port}/work")
        expect(page).to_have_url(f"http://127.0.0.1:{port}/login?next=/work")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('issuer = "http://idp.example"', "must be an https address"),
        ('issuer = "https://idp.example"', "needs client_id, and redirect_url"),
        (
            'issuer = "https://i.example"\nclient_id = "a"\nredirect_url = "https://h/login/oidc/callback"',
            "needs viewers",
        ),
    ],
)
def test_settings_that_would_let_in_nobody_or_anybody_are_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(f"[oidc]\n{text}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=named):
        read_settings(path)
