"""The first administrator is made once, in a database of this version; what cannot be is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.app.accounts import open_accounts
from npc_contour.cli import main
from npc_contour.domain.accounts import AccessRole
from npc_contour.settings import read_settings


def test_the_first_administrator_is_made_once(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, password = tmp_path / "site.toml", tmp_path / "password"
    site.write_text(f'[database]\nurl = "{database_url}"\n')
    password.write_text("first day at work\n")
    command = ["migrate", "--config", str(site), "--first-admin", "anna", "--password-file", str(password)]

    assert main(command) == 0
    assert "anna is admin" in capsys.readouterr().out
    password.write_text("another pass phrase\n")
    assert main(command) == 0
    assert "there are 1 accounts, none was made" in capsys.readouterr().out
    with open_accounts(read_settings(site)) as accounts:
        assert [(one.name, one.role) for one in accounts.store.accounts()] == [("anna", AccessRole.ADMIN)]
        assert accounts.fits("anna", "first day at work")


def test_what_cannot_be_migrated_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site.toml"
    site.write_text("")

    assert main(["migrate", "--config", str(site)]) == 2
    assert "database.url is embedded" in " ".join(capsys.readouterr().err.split())
    assert main(["migrate", "--config", str(site), "--first-admin", "anna"]) == 2
    assert "go together" in capsys.readouterr().err
