"""An identity provider that speaks OpenID Connect Core 1.0: authorization code with PKCE, ID token by its own keys.

What is checked of an ID token (Core 3.1.3.7): the signature by a key of the issuer's JWK set and an algorithm of
`ALGORITHMS` (never `none`, never HMAC), `iss`, `aud` and `azp`, `exp`, `iat`, `nbf`, `nonce`, and that it has a `sub`.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from npc_contour.application.sign_in import Identity
from npc_contour.domain.accounts import Attempt
from npc_contour.errors import CallError, IdentityError
from npc_contour.http_calls import Limits, Way, call
from npc_contour.settings import is_loopback

ALGORITHMS = ("RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512")
KEEP_S = 3600.0
"""How long the provider's metadata is cached, in seconds."""
KEYS_AGAIN_S = 30.0
"""An unknown key ID makes us fetch the keys again, at most this often: anybody can name an unknown key."""
LIMITS = Limits(timeout_s=10.0, whole_s=10.0, max_bytes=2**20)
"""Of one answer of the provider."""
BROKEN = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""What joserfc raises at bytes that are not what they should be."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How we are known to the provider.

    Attributes:
        role_claim: of the ID token; dots lead into nested objects ("realm_access.roles").
        secret: "" for a public client.
        ca_file: file with the certificates that it is judged by; "" takes the system's.
    """

    issuer: str
    client_id: str
    secret: str = field(repr=False)
    redirect_url: str
    scopes: tuple[str, ...]
    name_claim: str
    role_claim: str
    clock_skew_s: float
    ca_file: str = ""


class OidcProvider:
    """Asks the provider; safe to share between threads.

    Args:
        client: how we are known to it.
        now: seconds since 1970.
    """

    def __init__(self, client: Client, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._now = now
        self._lock = Lock()
        self._about: Mapping[str, Any] = {}
        self._about_until = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0

    def authorization_url(self, attempt: Attempt) -> str:
        """Return where to send the browser.

        Raises:
            IdentityError: the provider does not answer.
        """
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_url,
            "scope": " ".join(self._client.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        url = self._endpoint("authorization_endpoint")
        return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"

    def identity(self, code: str, attempt: Attempt) -> Identity:
        """Redeem a code and return whom the provider vouches for.

        Raises:
            IdentityError: it does not answer, or what it says does not hold.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_url,
            "client_id": self._client.client_id,
            "code_verifier": attempt.verifier,
        }
        if self._client.secret:
            form["client_secret"] = self._client.secret
        answer = self._ask("POST", self._endpoint("token_endpoint"), form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise IdentityError("the login provider gave no ID token")
        claims = self._claims(token, attempt.nonce)
        name = claims.get(self._client.name_claim)
        if not isinstance(name, str) or not name:
            raise IdentityError(f"the ID token has no {self._client.name_claim!r}: see oidc.name_claim")
        if not (name.isprintable() and str(claims["sub"]).isprintable()):
            raise IdentityError(f"the ID token's {self._client.name_claim!r} or 'sub' has letters that cannot be shown")
        return Identity(f"{self._client.issuer} {claims['sub']}", name, _groups(claims, self._client.role_claim))

    def logout_url(self) -> str:
        """Return where a browser ends its session at the provider; "" where it has no such place."""
        try:
            url = str(self._discovered().get("end_session_endpoint", ""))
        except IdentityError:
            return ""
        back = self._client.redirect_url.removesuffix("/oidc/callback")
        asked = {"client_id": self._client.client_id, "post_logout_redirect_uri": back}
        return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}" if url and self._is_secure(url) else ""

    def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        try:
            try:
                decoded = jwt.decode(token, self._key_set(), algorithms=ALGORITHMS)
            except BROKEN:
                # The provider may have new keys.
                decoded = jwt.decode(token, self._key_set(refresh=True), algorithms=ALGORITHMS)
            claims = decoded.claims
            jwt.JWTClaimsRegistry(
                now=int(self._now()),
                leeway=int(self._client.clock_skew_s),
                iss={"essential": True, "value": self._client.issuer},
                sub={"essential": True},
                aud={"essential": True, "value": self._client.client_id},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except BROKEN as error:
            raise IdentityError(f"the ID token does not hold: {str(error) or type(error).__name__}") from error
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        party = claims.get("azp")
        if (len(audience) > 1 or party is not None) and party != self._client.client_id:
            raise IdentityError(f"the ID token does not hold: it was issued to {party!r}")
        return claims

    def _key_set(self, *, refresh: bool = False) -> KeySet:
        with self._lock:
            age_s = self._now() - self._keys_at
            if self._keys is None or age_s > KEEP_S or (refresh and age_s > KEYS_AGAIN_S):
                self._keys = _usable_keys(self._ask("GET", self._endpoint("jwks_uri")))
                self._keys_at = self._now()
            return self._keys

    def _endpoint(self, name: str) -> str:
        url = self._discovered().get(name)
        if not isinstance(url, str) or not self._is_secure(url):
            raise IdentityError(f"the login provider's {name} is {url!r}, which is no https address")
        return url

    def _is_secure(self, url: str) -> bool:
        return urlsplit(url).scheme in {"https", urlsplit(self._client.issuer).scheme}

    def _discovered(self) -> Mapping[str, Any]:
        """Return what the provider says of itself (OpenID Connect Discovery 1.0)."""
        if self._now() < self._about_until:
            return self._about
        about = self._ask("GET", self._client.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if about.get("issuer") != self._client.issuer:
            raise IdentityError(f"the login provider is {about.get('issuer')!r}, expected {self._client.issuer!r}")
        self._about, self._about_until = about, self._now() + KEEP_S
        return about

    def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        content = urlencode(form).encode() if form is not None else b""
        headers = {"Accept": "application/json"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        # The one host that may be out in the internet: by a proxy of the environment, unless it is this machine.
        way = Way(ca_file=self._client.ca_file, proxies=not is_loopback(urlsplit(url).hostname or ""))
        try:
            with call(method, url, LIMITS, headers=headers, content=content, way=way) as reply:
                reply.check()
                found = reply.json()
        except CallError as error:
            raise IdentityError(f"the login provider does not answer: {error}") from error
        if not isinstance(found, dict):
            raise IdentityError("the login provider's answer is not what OpenID Connect says")
        return found


def _usable_keys(found: Mapping[str, Any]) -> KeySet:
    """The keys of a JWK set that are of a kind that is known; one that is not is no reason to do without the others."""
    listed = found.get("keys")
    keys: list[Any] = []
    for one in listed if isinstance(listed, list) else []:
        with suppress(*BROKEN):
            keys += KeySet.import_key_set({"keys": [one]}).keys
    if not keys:
        raise IdentityError("the login provider's jwks_uri has no key that could be used")
    return KeySet(keys)


def _groups(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    return tuple(value for value in values if isinstance(value, str))
