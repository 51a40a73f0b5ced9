"""A temporary folder goes with its owner, and lies where it is of use."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from npc_contour.scratch import Scratch

OWNER = "import time; from npc_contour.scratch import Scratch; s = Scratch(); print(s.path, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_nobody_else_can_look_into_it_and_it_is_gone_at_the_end(place: Path) -> None:
    with Scratch() as scratch:
        assert scratch.path.parent == place
        assert scratch.path.stat().st_mode & 0o077 == 0
        (scratch.path / "file").write_text("x")
    assert list(place.iterdir()) == []


def test_the_next_start_removes_what_a_killed_owner_left_and_not_what_a_living_one_has(place: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        with Scratch():
            assert left.is_dir()
        owner.kill()
        owner.wait()

    with Scratch() as scratch:
        assert list(place.iterdir()) == [scratch.path]


def test_where_the_usual_place_does_not_suit_another_is_taken(place: Path) -> None:
    with Scratch(lambda folder: place not in folder.parents) as scratch:
        assert scratch.path.parent != place
    assert not scratch.path.exists()
    assert list(place.iterdir()) == []


def test_where_none_suits_the_places_are_named(place: Path) -> None:
    with pytest.raises(OSError, match=rf"a dry place is needed.*{place}.*TMPDIR"):
        Scratch(lambda _: False, "a dry place")
    assert list(place.iterdir()) == []
