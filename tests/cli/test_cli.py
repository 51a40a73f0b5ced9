"""Every verb explains itself with an example, and what is wrong is said in one message and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.cli import build_parser, main

VERBS = ("serve", "self-test", "segment", "send-test", "echo", "inbox", "check", "phantom", "demo")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([verb, "--help"])

    assert ended.value.code == 0
    assert f"npc-contour {verb}" in capsys.readouterr().out.split("example", 1)[1]


@pytest.mark.parametrize("peer", ["nowhere", "host:", ":104", "host:0", "host:70000", "host:abc"])
def test_wrong_peer_is_refused(peer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["echo", peer])

    assert ended.value.code == 2
    assert "expected HOST:PORT" in capsys.readouterr().err


def test_wrong_settings_end_with_code_2_and_name_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "site.toml"
    config.write_text("[dicom]\nprot = 104\n")

    assert main(["check", "--config", str(config)]) == 2
    assert "dicom.prot" in capsys.readouterr().err


def test_silent_peer_ends_with_code_1_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", "127.0.0.1:1", "--timeout", "2"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_folder_without_dicom_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no image")

    assert main(["segment", str(tmp_path), "--out", str(tmp_path / "rt.dcm")]) == 1
    assert "DICOM" in capsys.readouterr().err
