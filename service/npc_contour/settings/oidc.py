"""Logging in at an identity provider of the site (OpenID Connect)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from npc_contour.settings.base import Strict, is_loopback


class Oidc(Strict):
    """The identity provider; off while `issuer` is empty. Local accounts stay possible."""

    issuer: str = ""
    client_id: str = ""
    client_secret_file: Path | None = None
    redirect_url: str = ""
    label: str = Field(default="hospital account", min_length=1, max_length=40)
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    viewers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    clock_skew_s: float = Field(default=60.0, ge=0, le=300)
    ca_file: Path | None = None

    @property
    def is_on(self) -> bool:
        """Whether anybody can log in there."""
        return bool(self.issuer)

    @field_validator("issuer", "redirect_url")
    @classmethod
    def _secure(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ValueError(f"{value!r} must be an https address: whoever can change what comes from it can log in")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Oidc:
        if self.is_on and not (self.client_id and self.redirect_url.endswith("/login/oidc/callback")):
            raise ValueError("issuer needs client_id, and redirect_url: this page's address with /login/oidc/callback")
        if self.is_on and not (self.viewers or self.operators or self.admins):
            raise ValueError("issuer needs viewers, operators or admins: without one of them nobody is let in")
        if "openid" not in self.scopes:
            raise ValueError('scopes must hold "openid"')
        return self
