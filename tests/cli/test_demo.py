"""A demo takes away what a demo wrote, nothing else, and has its folder for itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from npc_contour.cli.demo import MARKER, own_folder
from npc_contour.cli.demo_report import show
from npc_contour.errors import AutocontourError


@pytest.mark.parametrize("name", ["site.toml", "patient", "npc-contour-data"])
def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "precious.txt").write_text("keep")

    with pytest.raises(AutocontourError, match="no demo made it"), own_folder(tmp_path):
        pytest.fail("the folder was taken")

    assert {path.name for path in tmp_path.iterdir()} == {name, "precious.txt"}


def test_what_an_earlier_demo_wrote_goes_and_what_a_person_put_beside_it_stays(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "image.dcm").write_bytes(b"keep")
    with own_folder(out) as marker:
        (out / "data").mkdir()
        (out / "data" / "row").write_text("old")
        (out / "patient").symlink_to(elsewhere)
        (out / "picture.png").write_bytes(b"old")
        marker.write("picture.png\n")
    (out / "notes.txt").write_text("keep")

    with own_folder(out):
        assert {path.name for path in out.iterdir()} == {MARKER, "notes.txt"}
    assert (elsewhere / "image.dcm").exists()


def test_a_second_demo_in_one_folder_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with own_folder(tmp_path / "demo"):
        (tmp_path / "demo" / "data").mkdir()

        with pytest.raises(AutocontourError, match="another demo is running"), own_folder(tmp_path / "demo"):
            pytest.fail("both have it")
        with own_folder(tmp_path / "other"):
            assert (tmp_path / "demo" / "data").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")

    with pytest.raises(AutocontourError, match="is a file"), own_folder(tmp_path / "demo"):
        pytest.fail("it was taken")


def test_a_held_case_ends_the_demo_and_says_why(tmp_path: Path) -> None:
    printed = io.StringIO()
    job = {"pipeline": "ln_ctv", "state": "contoured", "held": "the contours are doubtful", "reason": ""}

    code = show(
        Console(file=printed),
        case_details=[{"job": job, "timeline": []}],
        steps_s={},
        received=[],
        patient=tmp_path,
        out=tmp_path,
    )

    assert code == 1
    assert "ln_ctv held: the contours are doubtful" in printed.getvalue()
