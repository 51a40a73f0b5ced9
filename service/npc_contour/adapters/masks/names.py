"""The text file beside masks: which label or channel is which ROI."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from npc_contour.domain.structures import MAX_NAME_LENGTH, InterpretedType
from npc_contour.errors import CaseRefused

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_LABELS = re.compile(r"\d+(,\d+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class NamedLabels:
    """One ROI of a names file: `labels` are label values of a map, or channels of a stack counted from 1.

    Attributes:
        counted: whether the line gave no labels, so that its place in the list is the label.
        colour_rgb: None where nothing says one.
    """

    name: str
    labels: frozenset[int]
    interpreted_type: InterpretedType
    counted: bool = False
    colour_rgb: tuple[int, int, int] | None = None


def read_names(path: Path) -> tuple[NamedLabels, ...]:
    """Read which ROI is which label.

    One ROI a line: LABELS TAB NAME, or LABELS TAB NAME TAB TYPE, as `masks` writes them; any name will do, also none.
    A line without a tab is `[LABELS] NAME [TYPE]` with a name of one word; without LABELS the ROI is the label (or
    channel) of its place in the list, and lines that are empty or start with # are left out. LABELS are whole numbers
    joined by commas, united. TYPE is an RT ROI Interpreted Type, ORGAN unless given.

    Raises:
        CaseRefused: the file is no text in UTF-8 or UTF-16, a line cannot be read, or a name is there twice.
    """
    rois: list[NamedLabels] = []
    for number, line in enumerate(_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if "\t" not in line and (not line.strip() or line.lstrip().startswith("#")):
            continue
        try:
            rois.append(_tabbed(line) if "\t" in line else _worded(line, len(rois) + 1))
        except ValueError as error:
            raise CaseRefused(f"{path}, line {number}: {error}") from error
    repeated = _repeated([roi.name for roi in rois])
    if repeated:
        raise CaseRefused(f"{path}: two ROIs have one name, {repeated!r}")
    return tuple(rois)


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write names as `read_names` reads them, numbered from 1; a control character becomes a space."""
    path.write_text("".join(f"{n}\t{_CONTROL.sub(' ', name)}\n" for n, name in enumerate(names, start=1)), "utf-8")


def _text(path: Path) -> str:
    data = path.read_bytes()
    mark, encoding = next(((mark, name) for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CaseRefused(f"{path}, line {line}: no {encoding.upper()} text; save the file as UTF-8") from error
    if "\0" in text:
        raise CaseRefused(f"{path} holds bytes of 0, as UTF-16 without a byte order mark does; save the file as UTF-8")
    return text


def _tabbed(line: str) -> NamedLabels:
    labels, name, *rest = line.split("\t")
    if not _LABELS.fullmatch(labels.strip()) or len(rest) > 1:
        raise ValueError(f"{line!r}, expected LABELS TAB NAME, or LABELS TAB NAME TAB TYPE")
    return _named(name.strip(" "), labels, rest[0].strip() if rest else "", line)


def _worded(line: str, place: int) -> NamedLabels:
    words = line.split()
    labels = words.pop(0) if len(words) > 1 and _LABELS.fullmatch(words[0]) else ""
    if len(words) > 2:
        raise ValueError(
            f"{line!r}, expected [LABELS] NAME [TYPE]; a name of several words needs tabs: LABELS TAB NAME"
        )
    return _named(words[0], labels or str(place), words[1] if len(words) > 1 else "", line, counted=not labels)


def _named(name: str, labels: str, kind: str, line: str, *, counted: bool = False) -> NamedLabels:
    if kind and kind not in set(InterpretedType):
        several = "" if "\t" in line else "; a name of several words needs tabs: LABELS TAB NAME"
        raise ValueError(f"type {kind!r}, expected one of {', '.join(InterpretedType)}{several}")
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"ROI name {name!r} has {len(name)} characters, {MAX_NAME_LENGTH} are allowed")
    numbers = frozenset(int(label) for label in labels.strip().split(","))
    if min(numbers) < 1:
        raise ValueError(f"{line!r}: labels are counted from 1")
    return NamedLabels(name, numbers, InterpretedType(kind or InterpretedType.ORGAN), counted)


def _repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    return None
