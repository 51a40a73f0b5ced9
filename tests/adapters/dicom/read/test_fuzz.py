"""Whatever bytes a stranger sends, the reader and the receiver refuse in words, or take; nothing else comes out.

The corpus in tests/corpus is what fuzzing found to reach different code; it is replayed, then fuzzed on from.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import npc_testkit
from npc_testkit.fuzz_seeds import door_seeds, reader_seeds
from npc_testkit.fuzz_targets import FuzzDoor, corpus, fuzz_reader
from npc_testkit.peers import require_package

CORPUS = Path(__file__).parents[3] / "corpus"
FUZZ = Path(next(iter(npc_testkit.__path__))) / "fuzz.py"


@pytest.fixture
def door() -> Iterator[FuzzDoor]:
    with FuzzDoor() as target:
        yield target


@pytest.mark.filterwarnings("ignore")
def test_the_corpus_and_the_seeds_do_the_reader_no_harm() -> None:
    inputs = [*corpus(CORPUS / "reader"), *reader_seeds()]

    assert len(inputs) > 100
    for data in inputs:
        fuzz_reader(data)


@pytest.mark.filterwarnings("ignore")
def test_the_corpus_and_the_seeds_do_the_door_no_harm(door: FuzzDoor) -> None:
    inputs = [*corpus(CORPUS / "door"), *door_seeds()]

    assert len(inputs) > 100
    for data in inputs:
        door(data)


def test_the_door_of_the_fuzzer_does_take_images(door: FuzzDoor) -> None:
    """A target that refuses everything would find nothing."""
    for data in door_seeds():
        door(data)

    assert door.kept > 10


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="atheris has no wheel for this Python")
@pytest.mark.parametrize(("target", "runs"), [("reader", 20_000), ("door", 4_000)])
def test_fuzzing_on_from_the_corpus_finds_no_fault(target: str, runs: int, tmp_path: Path) -> None:
    require_package("atheris")
    grown = tmp_path / "grown"
    grown.mkdir()
    options = [str(FUZZ), target, f"-runs={runs}", "-seed=1", str(grown), str(CORPUS / target)]
    command = [sys.executable, "-W", "ignore", *options]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["grown"]
