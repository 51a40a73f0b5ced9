"""A small identity provider over real HTTP: discovery, keys, codes with PKCE, ID tokens; it lies when told to."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from npc_testkit.certificates import Identity
from npc_testkit.http_peer import Handler, http_peer

Claims = dict[str, Any]


def new_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"}, private=True)


@dataclass
class Provider:
    """What it does; every attribute may be changed while it runs.

    Attributes:
        person: claims about whoever logs in.
        keys: published; the first signs.
        lie: changes the claims before they are signed.
        sign: makes the ID token of claims; None signs as it should.
    """

    host: str = "localhost"
    port: int = 0
    client_id: str = "npc"
    secret: str = "between us"  # noqa: S105 - of a test
    person: Claims = field(default_factory=lambda: {"sub": "4711", "preferred_username": "wang", "groups": ["rt"]})
    keys: list[RSAKey] = field(default_factory=lambda: [new_key("one")])
    lie: Callable[[Claims], object] = lambda _: None
    sign: Callable[[Claims], str] | None = None
    about: Claims = field(default_factory=dict)
    scheme: str = "http"
    asked: dict[str, int] = field(default_factory=dict)
    codes: dict[str, Claims] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/realm"

    def settings(self, redirect_url: str = "http://127.0.0.1/login/oidc/callback", **more: object) -> Claims:
        return {
            "issuer": self.issuer, "client_id": self.client_id, "redirect_url": redirect_url,
            "viewers": ["rt"], "operators": ["physics"], "admins": ["npc-admins"], **more,
        }  # fmt: skip

    def discovery(self) -> Claims:
        paths = {"authorization": "authorize", "token": "token", "end_session": "bye"}
        found = {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in paths.items()}
        return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **found} | self.about

    def authorize(self, query: Claims) -> str:
        """Log the person in; return where the browser goes."""
        assert (query["response_type"], query["client_id"]) == ("code", self.client_id)
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def redeem(self, form: Claims) -> tuple[int, Claims]:
        query = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            query is None
            or challenge.decode() != query["code_challenge"]
            or form["redirect_uri"] != query["redirect_uri"]
            or form.get("client_secret") != self.secret
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims: Claims = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 300,
                          "nonce": query["nonce"], **self.person}  # fmt: skip
        self.lie(claims)
        token = self.sign(claims) if self.sign else signed(claims, self.keys[0])
        return 200, {"id_token": token, "access_token": "x", "token_type": "Bearer"}

    def answer(self, path: str, query: Claims, form: Claims) -> tuple[int, Claims | str]:
        self.asked[path] = self.asked.get(path, 0) + 1
        if path.endswith("/.well-known/openid-configuration"):
            return 200, self.discovery()
        if path == "/realm/keys":
            return 200, dict(KeySet(list(self.keys)).as_dict(private=False))
        if path == "/realm/token":
            return self.redeem(form)
        if path == "/realm/authorize":
            return 303, self.authorize(query)
        return (200, "bye") if path in {"/realm/bye", "/favicon.ico"} else (404, {})


def signed(claims: Claims, key: RSAKey, algorithm: str = "RS256", kid: str = "") -> str:
    return jwt.encode({"alg": algorithm, "kid": kid or key.kid}, claims, key, algorithms=[algorithm])


def unsigned(claims: Claims, algorithm: str = "none") -> str:
    parts = [{"alg": algorithm}, claims]
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*texts, ""])


@contextmanager
def identity_provider(tls: Identity | None = None) -> Iterator[Provider]:
    """Run a provider on this machine, by a name that is another site than 127.0.0.1; over HTTPS with a certificate."""
    provider = Provider(scheme="https" if tls else "http")

    class Site(Handler):
        def answer(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            status, found = provider.answer(parts.path, dict(parse_qsl(parts.query)), dict(parse_qsl(body.decode())))
            self.reply(
                status,
                found.encode() if isinstance(found, str) else json.dumps(found).encode(),
                Content_Type="text/html" if isinstance(found, str) else "application/json",
                **({"Location": str(found)} if status == 303 else {}),
            )

    with http_peer(Site, tls=tls) as provider.port:
        yield provider
