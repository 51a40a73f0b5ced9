"""What is held is listed with the reason and the command that helps, and that command helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npc_contour.cli import main
from npc_contour.store.database import Store
from npc_testkit.page import World


def test_a_held_series_is_listed_and_excluded(
    store: Store, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "site.toml"
    config.write_text(
        f'[database]\nurl = "{database_url}"\n[storage]\nroot = "{tmp_path / "root"}"\n', encoding="utf-8"
    )
    site = ["--config", str(config)]
    assert main(["held", *site]) == 0
    assert capsys.readouterr().out == "nothing is held\n"
    uid = World(store, tmp_path / "world").add_held("alone")

    assert main(["held", *site]) == 0
    told = capsys.readouterr().out
    assert "held series: HEAD NECK 2.5 FC43" in told
    assert f"npc-contour exclude {uid}" in told
    assert main(["held", "--json", *site]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["series_instance_uid"], one["kind"]) == (uid, "held series")
    assert one["why"]
    assert main(["exclude", uid, "--reason", "scout", *site]) == 0
    capsys.readouterr()
    assert main(["held", "--json", *site]) == 0
    assert [one["kind"] for one in json.loads(capsys.readouterr().out)] in ([], ["excluded series"])
