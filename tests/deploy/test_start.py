"""How benchmarks/start.py judges what it saw: a start, a clear refusal, or neither."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REFUSAL = "libpython3.13.so.1.0 missing. As root: apt-get update && apt-get install libpython3.13\n"
TRACEBACK = "Traceback (most recent call last):\n  ...\nKeyError: 1\n"


@pytest.mark.parametrize(
    ("refusal", "code", "output", "seconds", "outcome"),
    [
        ("", 0, "RTSTRUCT  out/tps/RS.1.dcm", 60.0, "started"),
        ("", 0, "nothing arrived", 60.0, "the output lacks"),
        ("", 1, "it failed", 60.0, "exit status 1"),
        ("", 1, "ReadTimeoutError: Read timed out.", 60.0, "left out"),
        ("", 0, TRACEBACK, 60.0, "traceback"),
        ("As root", 1, REFUSAL, 1.0, "clear refusal"),
        ("As root", 1, REFUSAL, 60.0, "refused only after 60 s"),
        ("As root", 1, REFUSAL + "more\n" * 5, 1.0, "a refusal of 6 lines"),
        ("As root", 1, "it failed", 1.0, "no line like"),
        ("As root", 0, REFUSAL, 1.0, "exit status 0"),
        ("As root", 1, TRACEBACK + REFUSAL, 1.0, "traceback"),
    ],
)
def test_outcomes(
    monkeypatch: pytest.MonkeyPatch, refusal: str, code: int, output: str, seconds: float, outcome: str
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    start_bench, start_watch = (import_module(name) for name in ("start_bench", "start_watch"))
    ended = start_watch.Ended(code, output, seconds)
    case = start_bench.Case("a case", "part", lambda _: ended, refusal, "RTSTRUCT")

    assert case.outcome(ended).startswith(outcome)
