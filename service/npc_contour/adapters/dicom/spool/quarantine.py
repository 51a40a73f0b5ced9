"""The spool's quarantine: files whose UID a stored file with different content has, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from npc_contour.adapters.dicom.read.headers import ParsedInstance, read_file
from npc_contour.adapters.dicom.spool.files import Kept, Spool
from npc_contour.application.corrections import Difference, OtherBytes
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused

FOLDER = "quarantine"
_MAX_TEXT = 80
_HEADER_FIELDS = frozenset(field.name for field in fields(InstanceHeader))


IDENTITY = {
    "patient_id": "Patient ID",
    "patient_id_issuer": "issuer of the Patient ID",
    "PatientName": "patient's name",
    "PatientBirthDate": "birth date",
    "PatientSex": "sex",
}
"""What says who the patient is: fields of `InstanceHeader`, and keywords that it does not have."""


class SpoolQuarantine:
    """Reads and empties the quarantine of one spool.

    Args:
        spool: whose.
        show_patient: whether differences hold the values of what says who the patient is.
    """

    def __init__(self, spool: Spool, *, show_patient: bool = False) -> None:
        self._spool = spool
        self._show_patient = show_patient

    def files(self) -> Sequence[OtherBytes]:
        """Return them, newest first, with what the file system says of them."""
        found = [_file(path) for path in self._spool.open_path(FOLDER).glob("*.dcm")]
        return sorted((file for file in found if file is not None), key=lambda file: file.at, reverse=True)

    def differences(self, kept_key: str, name: str) -> Sequence[Difference]:
        """Return in what a file is not the kept one, who the patient is first; empty where one cannot be read."""
        try:
            kept = read_file(self._spool.open_path(kept_key), key="")
            came = read_file(self._spool.open_path(f"{FOLDER}/{name}"), key="")
        except (InstanceRefused, OSError, ValueError):
            return ()
        return tuple(_differences(kept, came, show_patient=self._show_patient))

    def other_patient(self, kept: Kept) -> tuple[str, ...]:
        """Return in what bytes just put into quarantine name another patient than the kept ones, without the values."""
        if kept.quarantine_key is None:
            return ()
        name = kept.quarantine_key.rpartition("/")[2]
        return tuple(one.what for one in self.differences(kept.key, name) if one.is_identity)

    def header(self, name: str) -> InstanceHeader | None:
        """Return the header of a file, under the key that it would be kept by; None where it cannot be read."""
        try:
            return read_file(self._spool.open_path(f"{FOLDER}/{name}"), key="")[0]
        except (InstanceRefused, OSError, ValueError):
            return None

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self._spool.read(f"{FOLDER}/{name}")

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
    kept: tuple[InstanceHeader, ParsedInstance], came: tuple[InstanceHeader, ParsedInstance], *, show_patient: bool
) -> Iterator[Difference]:
    for name, words in IDENTITY.items():
        one, other = (_who(name, *image) for image in (kept, came))
        if one != other:
            shown = (_text(one), _text(other)) if show_patient else ("not shown here", "another")
            yield Difference(what=words, kept=shown[0], came=shown[1], is_identity=True)
    for field in fields(InstanceHeader):
        one, other = getattr(kept[0], field.name), getattr(came[0], field.name)
        if one != other and field.name not in {*IDENTITY, "person"}:
            yield Difference(what=field.name.replace("_", " "), kept=_text(one), came=_text(other))
    if _pixels(kept[1]) != _pixels(came[1]):
        yield Difference(what="pixels", kept=_size(kept[1]), came=f"{_size(came[1])}, other values")


def _who(name: str, header: InstanceHeader, parsed: ParsedInstance) -> str:
    """Return a value that says who the patient is; empty components at the end of a name say nothing."""
    return str(getattr(header, name)) if name in _HEADER_FIELDS else parsed.elements.text(name).rstrip("^= ")


def _pixels(parsed: ParsedInstance) -> bytes:
    return b"" if parsed.pixel_data_offset is None else bytes(parsed.data[parsed.pixel_data_offset :])


def _size(parsed: ParsedInstance) -> str:
    return f"{len(_pixels(parsed)) / 1024:.0f} KiB"


def _text(value: object) -> str:
    return "absent" if value in (None, "", ()) else str(value)[:_MAX_TEXT]
