"""The table of cases is whole, and its judge can fail: a silent wrong and a traceback are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_testkit.cases import Row, judge, read_table, summary

REPOSITORY = Path(__file__).parents[2]
CASES = REPOSITORY.parent / "shared" / "cases"


def test_every_shared_case_has_a_row() -> None:
    rows = [row.name for row in read_table(REPOSITORY / "tests" / "cases.toml")]
    assert len(rows) == len(set(rows))
    if not CASES.is_dir():
        pytest.skip(f"no cases in {CASES}")
    cases = {f"{path.parent.name}/{path.name}" for path in CASES.glob("*/*") if path.is_dir() and path.name != "common"}
    assert cases - set(rows) == set()


def _judged(work: Path, program: str, **wanted: object) -> tuple[bool, bool, int]:
    step = {"argv": ["python", "-c", program], **wanted}
    seen = judge(Row("own/case", "must", (step,)), work, work)
    return seen.as_specified, seen.silent_wrong, seen.tracebacks


def test_a_result_where_a_refusal_is_due_is_a_silent_wrong(tmp_path: Path) -> None:
    writes = "open('out', 'w').write('result')"
    assert _judged(tmp_path, "raise SystemExit('refused: cut short')", refuses="out") == (True, False, 0)
    assert _judged(tmp_path, writes, refuses="out") == (False, True, 0)


def test_a_wrong_result_is_a_silent_wrong(tmp_path: Path) -> None:
    writes = "open('names', 'w').write('1\\tPTV\\n')"
    assert _judged(tmp_path, writes, names={"names": "1\tPTV\n"}) == (True, False, 0)
    assert _judged(tmp_path, writes, names={"names": "1\tCTV\n"}) == (False, True, 0)


def test_tracebacks_and_words_are_judged(tmp_path: Path) -> None:
    assert _judged(tmp_path, "1 / 0", exit=1) == (False, False, 1)
    assert _judged(tmp_path, "print('two   words')", says=["two words"]) == (True, False, 0)
    assert _judged(tmp_path, "print('two words')", never=["words"]) == (False, False, 0)


def test_a_row_without_a_way_to_run_it_is_not_right(tmp_path: Path) -> None:
    row = Row("own/case", "must")
    figures = summary([(row, judge(row, tmp_path, tmp_path))])
    assert (figures["cases"], figures["as_specified"], figures["by_folder"]["own"]["cases"]) == (1, 0, 1)


def test_a_row_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "cases.toml"
    table.write_text('["own/case"]\nmust = "be right"\nruns = []\n')
    with pytest.raises(ValueError, match="unknown keys"):
        read_table(table)
