"""A service whose secrets cannot be read does not start, and says which: it would only be restarted without end."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.adapters.otlp import check_installed
from npc_contour.app.outside import check_secrets
from npc_contour.cli import main
from npc_contour.errors import SettingsError
from npc_contour.settings import Settings

HOOK = {"name": "ris", "url": "https://ris.example/", "events": ["case.failed"], "secret_file": "missing"}
OIDC = {
    "issuer": "https://i.example", "client_id": "npc", "redirect_url": "https://h/login/oidc/callback",
    "client_secret_file": "missing", "viewers": ["rt"],
}  # fmt: skip


def test_each_role_needs_its_own_secrets_and_no_others() -> None:
    settings = Settings.model_validate({"webhooks": [HOOK], "oidc": OIDC})

    check_secrets(settings, ["receiver"])
    with pytest.raises(SettingsError, match=r"webhooks\.secret_file of ris: .*missing"):
        check_secrets(settings, ["worker"])
    with pytest.raises(SettingsError, match=r"oidc\.client_secret_file: .*missing"):
        check_secrets(settings, ["web"])


def test_check_and_serve_refuse_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("not one", encoding="ascii")
    (tmp_path / "site.toml").write_text(
        '[storage]\nroot = "data"\n[[webhooks]]\nname = "ris"\nurl = "https://ris.example/"\n'
        'events = ["case.failed"]\nsecret_file = "secret"\n',
        encoding="utf-8",
    )
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(tmp_path / "site.toml")]) == 2
        assert "webhooks.secret_file of ris" in capsys.readouterr().err


def test_an_event_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"no event 'case\.done'; there are .*case\.failed"):
        Settings.model_validate({"webhooks": [{**HOOK, "events": ["case.done"]}]})


def test_traces_without_their_packages_say_what_to_install() -> None:
    with pytest.raises(SettingsError, match=r"pip install 'npc-autocontour\[tracing\]'"):
        check_installed(lambda _: None)
