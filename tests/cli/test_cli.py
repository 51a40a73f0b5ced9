"""Every verb explains itself with an example, and what is wrong is said in one message and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from npc_contour import __version__
from npc_contour.cli import MODULES, build_parser, main


@pytest.mark.parametrize("verb", MODULES)
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser(verb).parse_args([verb, "--help"])

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


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    listed = capsys.readouterr().out.split("options:")[0].splitlines()
    assert [verb for verb in MODULES if not any(line.split()[:1] == [verb] for line in listed)] == []


def test_a_path_in_another_encoding_is_refused_before_a_library_ends_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latin = os.fsdecode(os.fsencode(tmp_path) + b"/tr\xe4ger")

    assert main(["phantom", latin, "--slices", "2"]) == 2
    assert "is not UTF-8" in capsys.readouterr().err


def test_the_version_is_said_without_loading_what_computes() -> None:
    code = "import sys; from npc_contour.cli import main; main(['--version']); print(*sys.modules)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()

    assert seen[:2] == ["npc-contour", __version__]
    assert {"numba", "numpy", "pydicom", "pydantic"} & set(seen) == set()


def test_serve_loads_no_pictures_and_no_networks_of_its_own() -> None:
    seen = subprocess.run(
        [sys.executable, "-c", "import sys; from npc_contour.cli import build_parser; build_parser('serve');"
         "print(*sys.modules)"],
        capture_output=True, check=True, text=True,
    ).stdout.split()  # fmt: skip

    assert {"matplotlib", "SimpleITK", "openvino", "torch"} & set(seen) == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("phantom", "p", "--slices", "0"), "from 2 to 2000"),
        (("phantom", "p", "--slice-spacing", "100"), "from 1 to 5"),
        (("phantom", "p", "--seed", "-1"), "from 0"),
        (("demo", "--slice-spacing", "0.5"), "from 1 to 5"),
        (("self-test", "--seed", "x"), "a whole number"),
        (("inbox", "d", "--port", "99999"), "from 0 to 65535"),
        (("echo", "127.0.0.1:104", "--called", "TOO_LONG_FOR_A_TITLE"), "1 to 16"),
        (("echo", "127.0.0.1:104", "--timeout", "0"), "from 0.1"),
        (("send-test", ".", "--to", "127.0.0.1:104", "--associations", "0"), "from 1 to 64"),
    ],
)
def test_numbers_and_titles_out_of_range_are_refused_where_they_are_typed(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["inbox", "phantom", "demo"])
def test_a_path_that_cannot_be_written_is_told_in_one_line(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, not a folder")
    arguments = {
        "inbox": ["inbox", str(taken)],
        "phantom": ["phantom", str(taken), "--slices", "2", "--slice-spacing", "5", "--matrix", "512"],
        "demo": ["demo", "--out", str(taken)],
    }

    assert main(arguments[verb]) == 1
    said = capsys.readouterr().err
    assert str(taken) in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"\xff\xfe[dicom]\n", "site.toml"),
        (b'[database]\nurl = "mysql://user:secret@db/npc"\n', "database.url"),
        (b'[triton]\nurl = "triton.example"\n', "triton.url"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_showing_a_password(
    text: bytes, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "site.toml"
    config.write_bytes(text)

    assert main(["check", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert key in said
    assert "secret" not in said
