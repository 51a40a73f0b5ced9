"""Coverage-guided fuzzing (atheris, libFuzzer): python fuzz.py reader|door [libFuzzer's options] [CORPUS...].

`make fuzz SECONDS=300` runs both for minutes and keeps what reaches new code in tests/corpus. Without CORPUS it begins
with the seeds alone. A fault ends it with a trace and leaves the input as crash-* in the working folder.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "service")]

import atheris  # noqa: E402

with atheris.instrument_imports(include=["npc_contour.adapters.dicom"]):
    from npc_testkit.fuzz_targets import MAX_BYTES, FuzzDoor, Target, fuzz_reader

from npc_testkit.fuzz_seeds import door_seeds, reader_seeds, write_seeds  # noqa: E402


def main() -> None:
    """Fuzz until libFuzzer ends it."""
    name, options = sys.argv[1], sys.argv[2:]
    logging.disable(logging.WARNING)
    seeds = Path(tempfile.mkdtemp(prefix="npc-seeds-"))
    write_seeds(seeds, reader_seeds() if name == "reader" else door_seeds())
    target: Target = fuzz_reader if name == "reader" else FuzzDoor()
    # The first folder is the one that grows.
    folders = [option for option in options if not option.startswith("-")]
    flags = [option for option in options if option.startswith("-")]
    arguments = [sys.argv[0], f"-max_len={MAX_BYTES}", "-rss_limit_mb=3000", *flags, *folders, str(seeds)]
    atheris.Setup(arguments, target)
    atheris.Fuzz()


main()
