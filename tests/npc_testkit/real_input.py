"""What becomes of every DICOM file that public test packages ship: at the receiver, and in the reader.

The pixels of what is kept are compared with pydicom's own decoding, which uses other codecs where it has any.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import UID

from npc_contour.adapters.dicom.read import headers, pixels
from npc_contour.errors import InstanceRefused, PixelDataError
from npc_testkit.malformed import Malformed
from npc_testkit.malformed_verdicts import send

PACKAGES = {
    "pydicom": "data/test_files",
    "pydicom charsets": "data/charset_files",
    "pynetdicom": "tests/dicom_files",
    "pydicom-data": "data",
}
"""Package → folder of its files. highdicom's wheel ships none."""
_MODULES = {"pydicom charsets": "pydicom", "pydicom-data": "data_store"}
NO_DICOM = "no DICOM file"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        kind: SOP class and transfer syntax in words.
        door: the status of a C-STORE, "context" where class or transfer syntax is not accepted, or why none was sent.
        reader: the size of the image, with "as pydicom" where pydicom decodes the same; or the reason of the refusal.
    """

    package: str
    file: str
    kind: str
    door: str
    reader: str


def files() -> Iterator[tuple[str, Path, Path]]:
    """Package, its folder and each file, in order."""
    for package, below in PACKAGES.items():
        found = importlib.util.find_spec(_MODULES.get(package, package))
        if found is None or found.origin is None:
            raise FileNotFoundError(f"{package} is not installed: make setup-dev")
        folder = Path(found.origin).parent / below
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in {".py", ".pyc"}:
                yield package, folder, path


def outcome(package: str, folder: Path, path: Path, port: int) -> Outcome:
    """Send one file to a receiver on 127.0.0.1 and let the reader read it."""
    name = str(path.relative_to(folder))
    try:
        meta, data_set = headers.split_file(path.read_bytes())
    except InstanceRefused as error:
        return Outcome(package, name, "", "not sent", str(error))
    sop_class, syntax = meta.uid("MediaStorageSOPClassUID"), meta.uid("TransferSyntaxUID")
    instance = meta.uid("MediaStorageSOPInstanceUID")
    item = Malformed(sop_class.encode(), instance.encode(), sop_class or "1.2.3", syntax, bytes(data_set))
    kind = f"{UID(sop_class).name.removesuffix(' Storage')}, {_short(syntax)}"
    return Outcome(package, name, kind, send(item, port), _read(path, data_set, syntax))


def outcomes(port: int) -> list[Outcome]:
    """All of them."""
    return [outcome(package, folder, path, port) for package, folder, path in files()]


def table(found: list[Outcome]) -> str:
    """The outcomes in Markdown; neighbours of one folder that fare alike share a row."""
    lines = ["| file | SOP class, transfer syntax | door | reader |", "|---|---|---|---|"]
    for package, of_package in groupby(found, lambda one: one.package):
        lines.append(f"| **{package}** | | | |")
        for (_, kind, door, reader), alike in groupby(
            of_package, lambda one: (str(Path(one.file).parent), one.kind, one.door, one.reader)
        ):
            names = [one.file for one in alike]
            name = names[0] if len(names) == 1 else f"{names[0]} … {Path(names[-1]).name} ({len(names)} files)"
            lines.append(f"| {name} | {kind} | {door} | {reader.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def _read(path: Path, data_set: memoryview, syntax: str) -> str:
    try:
        parsed = headers.parse_data_set(data_set, syntax)
        stored = pixels.decode(parsed)
    except (InstanceRefused, PixelDataError) as error:
        return str(error).splitlines()[0][:110]
    rows, columns = stored.shape
    theirs = dcmread(path)
    same = np.array_equal(theirs.pixel_array, stored)
    return f"{rows} x {columns}, {'as pydicom' if same else 'not as pydicom'}"


def _short(syntax: str) -> str:
    return UID(syntax).name.split(":")[0].replace(" Image Compression", "").replace("(Lossless Only)", "lossless")
