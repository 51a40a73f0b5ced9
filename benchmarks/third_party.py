"""What installed wheels carry of others: native libraries, and programs, inside each package that the service uses.

python benchmarks/third_party.py            writes the table into THIRD_PARTY.md
python benchmarks/third_party.py --check    ends with 1 where the table is not what is installed
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT, PINS = ROOT / "THIRD_PARTY.md", ROOT / "constraints.txt"
BEGIN, END = "<!-- made by benchmarks/third_party.py -->", "<!-- end -->"
LIBRARY = re.compile(r"(lib[A-Za-z0-9_+.-]*?)\.so((?:\.\d+)*)$")
HASH = re.compile(r"-[0-9a-f]{8}(?=[.]|$)")
"""What `auditwheel` puts into a name."""
PROGRAMS = {"postgres", "psql", "initdb", "pg_ctl", "pg_dump", "pg_restore", "tritonserver"}
VERSIONS = {
    "OpenSSL": re.compile(rb"OpenSSL (\d+\.\d+\.\d+[a-z]?) "),
    "PostgreSQL": re.compile(rb"PostgreSQL\) (\d+\.\d+)"),
}
EXTENSION = re.compile(r"\.cpython-|\.abi3\.")


def carried(distribution: Distribution) -> Iterator[str]:
    """Yield the libraries and programs in a wheel that are not its own Python extensions, by name."""
    for file in distribution.files or ():
        if EXTENSION.search(file.name):
            continue
        found = LIBRARY.match(file.name)
        if found:
            yield HASH.sub("", found.group(1)) + found.group(2)
        elif file.name in PROGRAMS and file.parent.name == "bin":
            yield f"`{file.name}`"


def versions(distribution: Distribution) -> Iterator[str]:
    """Yield the versions that OpenSSL and PostgreSQL say of themselves inside the files of a wheel."""
    for file in distribution.files or ():
        if "crypto" not in file.name and file.name not in {"postgres"} and not EXTENSION.search(file.name):
            continue
        path = Path(str(distribution.locate_file(file)))
        if not path.is_file():
            continue
        data = path.read_bytes()
        for name, pattern in VERSIONS.items():
            yield from (f"{name} {one.decode()}" for one in set(pattern.findall(data)))


def table() -> str:
    """Return the table of every pinned package that carries something."""
    pins = set(re.findall(r"^([a-z0-9-]+)==", PINS.read_text(encoding="utf-8"), flags=re.MULTILINE))
    rows = []
    for one in distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        names = set(carried(one)) if name in pins else set()
        # libz and libz.1 are the same as libz.1.3.
        inside = sorted((each for each in names if not any(o.startswith(f"{each}.") for o in names)), key=str.lower)
        if inside:
            said = ", ".join(sorted(set(versions(one)))) or "–"
            rows.append(f"| `{name}` | {said} | {', '.join(inside)} |")
    return "\n".join(
        ["| package | says of itself | libraries and programs inside |", "|---|---|---|", *sorted(set(rows))]
    )


def main() -> int:
    text = TEXT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    new = f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END, 1)[1]}"
    if "--check" in sys.argv:
        return int(new != text)
    TEXT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
