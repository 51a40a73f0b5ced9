"""Send every DICOM file of public test packages to a receiver and to the reader; write docs/real-input.md.

python benchmarks/real_input.py [--out docs/real-input.md]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "service"), str(ROOT / "tests")]

from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings  # noqa: E402
from npc_contour.adapters.dicom.spool.files import Spool  # noqa: E402
from npc_testkit.real_input import Outcome, outcomes, table  # noqa: E402

HEAD = """\
# Real input: what becomes of files that others made

Every file of the test data that pydicom, pynetdicom and pydicom-data ship (highdicom's wheel ships none), sent to
the receiver by C-STORE in its own transfer syntax and read by the reader; made by `python
benchmarks/real_input.py`, compared by `tests/adapters/dicom/read/test_real_input.py`. *door* is the status answered,
"context" where the SOP class or transfer syntax is not accepted (CT and MR images, uncompressed or lossless, are,
and registrations); 0xC003 means that the same image came before in another encoding. *reader* is what decoding the
pixels of that one file gives; "as pydicom" means that pydicom's own decoding gives the same numbers. Refused files
are refused by name, and nothing is left behind.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "real-input.md")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool", min_free_mb=1)
        with Receiver(ReceiverSettings(port=0), spool, lambda *_: None) as receiver:
            found = outcomes(receiver.port)
    args.out.write_text(HEAD + "\n" + summary(found) + "\n" + table(found), encoding="utf-8")
    print(json.dumps({"files": len(found), "doors": Counter(one.door for one in found)}))


def summary(found: list[Outcome]) -> str:
    """How many files met which answer."""
    counts = Counter(one.door for one in found)
    lines = ["| door | files |", "|---|---|"]
    return "\n".join([*lines, *(f"| {door} | {count} |" for door, count in sorted(counts.items()))]) + "\n"


if __name__ == "__main__":
    main()
