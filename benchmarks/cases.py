"""Odd inputs against the product, as a user meets them: command line, C-STORE, HTTP; judged by tests/cases.toml.

    python benchmarks/cases.py                              all
    python benchmarks/cases.py ../shared/cases/rtstruct     one folder of cases
    python benchmarks/cases.py ../shared/cases/mr/agent-words --keep /tmp/w    one case; its files are kept

Every case has a row in tests/cases.toml. A row without a way to run it is "not covered", and does not count as right.

To make a row real, add to its table one of

* `run`: commands, one inline table each, run one after another. {case} is the case's folder, {work} an empty one, in
  which the commands run and to which files are relative. `npc-contour`, `npc-networks` and `python` are those of this
  environment.

      ["rtstruct/a-case"]
      must = "the sentence"
      run = [
        { argv = ["npc-contour", "masks", "{case}/a.dcm", "{case}/ct", "--out", "a.nii"], voxels."a.nii" = { A = 4 } },
        { argv = ["npc-contour", "masks", "{case}/b.dcm", "{case}/ct", "--out", "b.nii"], refuses = "b.nii" },
      ]

  A command's `env` is added to the environment.
  What a command can be asked for: `exit` (a status or a list, 0 unless given); `refuses` (a file that must not be
  written: the command must end with 1 or 2, anything else is counted as a silent wrong); `says` and `never` (regular
  expressions over what it prints, with white space as single spaces); and of files that it wrote: `voxels` (of each
  ROI of a mask file), `rois` (names in an RTSTRUCT), `names` (the whole text of a file), `dice` (a list of
  { of = FILE, with = FILE, least = 0.999 }), `absent` (files that must not be there).
* `check = "module:function"`: a function of tests/npc_testkit/module.py, called with the case's folder and an empty
  one (both Path), which returns `npc_testkit.cases.Seen`: for what needs a running service or a peer.

A kind that has no shared input has a row, too: its name starts with the folder it belongs to, and its commands or its
function make the input ({case} is not used).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from npc_testkit.cases import Row, Seen, judge, read_table, summary

REPOSITORY = Path(__file__).resolve().parents[1]
CASES = REPOSITORY.parent / "shared" / "cases"
TABLE = REPOSITORY / "tests" / "cases.toml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="the cases, a folder of them, or one (default: all)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what the commands wrote, in FOLDER/CASE")
    args = parser.parse_args()
    missing = [folder for folder in args.folders if not folder.is_dir()]
    if missing or not (args.folders or CASES.is_dir()):
        parser.error(f"no cases in {', '.join(map(str, missing)) or CASES}")
    results = []
    console = Console(width=160, highlight=False)
    for row in read_table(TABLE):
        cases = cases_of(row, [folder.resolve() for folder in args.folders] or [CASES])
        if cases is not None:
            seen = run(row, cases / row.name, args.keep)
            results.append((row, seen))
            console.print(line(row, seen), markup=False)
    if not results:
        parser.error("no row of the table is about these folders")
    print(json.dumps(summary(results)))
    return 0 if all(seen.as_specified for _, seen in results) else 1


def cases_of(row: Row, folders: list[Path]) -> Path | None:
    """Return the folder of all cases where one of `folders` (it, a folder in it, or one case) asks for this row."""
    for folder in folders:
        if f"{folder.parent.name}/{folder.name}" == row.name:
            return folder.parents[1]
        if folder.name == row.folder:
            return folder.parent
        if (folder / row.folder).is_dir():
            return folder
    return None


def run(row: Row, case: Path, keep: Path | None) -> Seen:
    with tempfile.TemporaryDirectory(prefix="npc-cases-") as temporary:
        work = ((keep or Path(temporary)) / row.name).resolve()
        work.mkdir(parents=True, exist_ok=True)
        return judge(row, case, work)


def line(row: Row, seen: Seen) -> str:
    if not seen.covered:
        return f"not covered   {row.name}: {row.must}"
    if seen.as_specified:
        return f"ok            {row.name}: {row.must}"
    verdict = "SILENT WRONG" if seen.silent_wrong else "traceback" if seen.tracebacks else "otherwise"
    return "\n".join([f"{verdict:<13} {row.name}: {row.must}", *(f"                {fault}" for fault in seen.faults)])


if __name__ == "__main__":
    sys.exit(main())
