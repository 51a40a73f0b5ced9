"""What a receiver and a reader make of the malformed objects, against what malformed.toml says they must.

Any DICOM node can be asked: `door_verdicts(port)` is what benchmarks compare nodes by.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.domain.series import Series
from npc_contour.errors import AutocontourError
from npc_testkit.ct_series import ct_datasets, write_series
from npc_testkit.malformed import PLAN, SLICE, Malformed, build
from npc_testkit.raw_dicom import RawAssociation, Rejected

TABLE = Path(__file__).parent / "malformed.toml"
NOT_SENT = "not sent"
"""The case is one that only a file can have."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        door: the status that a C-STORE of it gets, "context" where its class or transfer syntax is not accepted, or
            "not sent".
        reader: a part of the reason for which the reader leaves it or its series out, or "reads".
    """

    name: str
    family: str
    door: str
    reader: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case."""

    case: Case
    found: str

    @property
    def as_specified(self) -> bool:
        """Whether it is what the table says."""
        return self.found == self.case.door


def read_cases(path: Path = TABLE) -> tuple[Case, ...]:
    """The table."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Case(name, family, row["door"], row["reader"]) for family, cases in rows.items() for name, row in cases.items()
    )


def door_verdicts(port: int, cases: Iterable[Case] | None = None, *, called: str = "NPC_CONTOUR") -> Iterator[Verdict]:
    """Send every case to a node on 127.0.0.1, one association each."""
    for case in read_cases() if cases is None else cases:
        yield Verdict(case, send(build(case.name), port, called=called))


def count_as_specified(port: int, *, called: str = "NPC_CONTOUR") -> tuple[int, int]:
    """How many cases a node was sent, and how many ended as the table says."""
    verdicts = [verdict for verdict in door_verdicts(port, called=called) if verdict.case.door != NOT_SENT]
    return len(verdicts), sum(verdict.as_specified for verdict in verdicts)


def send(item: Malformed, port: int, *, called: str = "NPC_CONTOUR") -> str:
    """C-STORE one object; returns the status, "context" when it is not accepted, "closed" or "not sent"."""
    if item.file is not None:
        return NOT_SENT
    try:
        association = RawAssociation(port, item.context_class, [item.transfer_syntax], called=called)
    except Rejected:
        return "context"
    with association:
        status = association.store(item.sop_class, item.instance, item.data_set)
        if status is not None:
            association.release()
    return "closed" if status is None else f"0x{status:04X}"


def is_alive(port: int, *, called: str = "NPC_CONTOUR") -> bool:
    """Whether the node still accepts an association for CT and releases it; raises where it does not."""
    with RawAssociation(port, CTImageStorage, [ExplicitVRLittleEndian], called=called) as association:
        association.release()
    return True


def read(name: str, folder: Path) -> str:
    """Let the reader read a series in which one slice is malformed; returns the reason it gives, or "reads"."""
    datasets = ct_datasets(PLAN)
    del datasets[SLICE]
    write_series(folder, datasets)
    evil = folder / "evil.dcm"
    evil.write_bytes(build(name).as_file())
    content = read_headers(folder)
    for path, reason in content.skipped:
        if path == evil:
            return reason
    series = Series(tuple(header for header in content.headers if _is_ours(header.series_instance_uid)))
    if all(Path(header.key) != evil for header in series.instances):
        return "its UIDs make it another series"
    try:
        read_volume(series)
    except AutocontourError as error:
        return str(error)
    return "reads"


def _is_ours(series_instance_uid: str) -> bool:
    return series_instance_uid == str(ct_datasets(PLAN)[0].SeriesInstanceUID)
