"""The spool's quarantine: files that came under a UID which other bytes have, and what tells the two apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from npc_contour.adapters.dicom.headers import ParsedInstance, read_file
from npc_contour.adapters.dicom.spool import Spool
from npc_contour.application.troubles import Difference, OtherBytes
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused

FOLDER = "quarantine"
_MAX_TEXT = 80


class SpoolQuarantine:
    """Reads and empties the quarantine of one spool."""

    def __init__(self, spool: Spool) -> None:
        """Look into this spool."""
        self._spool = spool

    def files(self) -> Sequence[OtherBytes]:
        """Return them, newest first, with what the file system says of them."""
        found = [_file(path) for path in self._spool.open_path(FOLDER).glob("*.dcm")]
        return sorted((file for file in found if file is not None), key=lambda file: file.at, reverse=True)

    def differences(self, kept_key: str, name: str) -> Sequence[Difference]:
        """Return in what a file is not the kept one, header values first; nothing of a patient is in it."""
        try:
            kept = read_file(self._spool.open_path(kept_key), key="")
            came = read_file(self._spool.open_path(f"{FOLDER}/{name}"), key="")
        except (InstanceRefused, OSError, ValueError):
            return ()
        return tuple(_differences(kept, came))

    def discard(self, name: str) -> bool:
        """Delete one; returns whether it was there."""
        return name in {file.name for file in self.files()} and self._spool.delete(f"{FOLDER}/{name}")


def _file(path: Path) -> OtherBytes | None:
    """What the file system says; None where the file has just gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return OtherBytes(
        name=path.name,
        sop_instance_uid=path.stem.rpartition("-")[0],
        at=datetime.fromtimestamp(found.st_mtime, UTC),
        size_bytes=found.st_size,
    )


def _differences(
    kept: tuple[InstanceHeader, ParsedInstance], came: tuple[InstanceHeader, ParsedInstance]
) -> Iterator[Difference]:
    for field in fields(InstanceHeader):
        one, other = getattr(kept[0], field.name), getattr(came[0], field.name)
        if one == other:
            continue
        shown = ("not shown here", "another") if field.name == "patient_id" else (_text(one), _text(other))
        yield Difference(what=field.name.replace("_", " "), kept=shown[0], came=shown[1])
    if _pixels(kept[1]) != _pixels(came[1]):
        yield Difference(what="pixels", kept=_size(kept[1]), came=f"{_size(came[1])}, other values")


def _pixels(parsed: ParsedInstance) -> bytes:
    return b"" if parsed.pixel_data_offset is None else bytes(parsed.data[parsed.pixel_data_offset :])


def _size(parsed: ParsedInstance) -> str:
    return f"{len(_pixels(parsed)) / 1024:.0f} KiB"


def _text(value: object) -> str:
    return "absent" if value in (None, "", ()) else str(value)[:_MAX_TEXT]
