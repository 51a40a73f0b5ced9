"""IT sees who may come in and which programs may, as a table and as JSON, and ends a token by its number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npc_contour.cli import main
from npc_contour.store.database import Store


def test_accounts_and_tokens_are_listed_and_a_token_is_ended(
    store: Store, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "site.toml"
    config.write_text(f'[database]\nurl = "{database_url}"\n', encoding="utf-8")
    site = ["--config", str(config)]
    assert main(["account", "token", "prometheus", "--days", "30", *site]) == 0
    secret = capsys.readouterr().out.strip()

    assert main(["account", "tokens", "--json", *site]) == 0
    (token,) = json.loads(capsys.readouterr().out)
    assert (token["label"], token["role"], token["last_used_at"]) == ("prometheus", "viewer", None)
    assert main(["account", "tokens", *site]) == 0
    listed = capsys.readouterr().out
    assert "prometheus" in listed
    assert secret not in listed
    assert main(["account", "revoke", str(token["token_id"]), *site]) == 0
    assert main(["account", "revoke", str(token["token_id"]), *site]) == 1
    assert "there is no token" in capsys.readouterr().err
    lines = store.query("SELECT action FROM web_audit WHERE action = 'token.remove'", {})
    assert len(lines) == 1
    assert main(["account", "list", "--json", *site]) == 0
    assert json.loads(capsys.readouterr().out) == []
