"""DICOM data elements as bytes, little endian, implicit or explicit VR (PS3.5 section 7 and annex A).

An RTSTRUCT is written element by element: what is copied from the images stays the same bytes whatever its character
set, and a hundred thousand coordinates need no object each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from pydicom.charset import encode_string
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

_ITEM = b"\xfe\xff\x00\xe0"
_LIMITS = {"CS": 16, "SH": 16, "LO": 64, "ST": 1024, "LT": 10240, "DA": 8, "TM": 14, "IS": 12, "UI": 64, "DS": 16}
_MULTIPLE = {"CS", "SH", "LO", "IS", "DS", "UI"}
"""Value representations in which a backslash separates values."""

_LONG_LENGTH = {"OB", "OW", "UN", "UT", "SQ"}
"""Of those that occur here: length in four bytes, after two reserved, in explicit VR."""

Value = str | list[bytes] | bytes | None


def tag_of(keyword: str) -> int:
    """Return the tag of a data element keyword.

    Raises:
        KeyError: the data dictionary has no such keyword.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


class Encoder:
    """Encodes elements for one object's character sets and transfer syntax.

    Attributes:
        encodings: Python codecs of Specific Character Set (0008,0005).
        explicit_vr: Explicit VR Little Endian; otherwise Implicit.
    """

    def __init__(self, encodings: Iterable[str], *, explicit_vr: bool) -> None:
        self.encodings = list(encodings)
        self.explicit_vr = explicit_vr

    def dataset(self, values: Mapping[str, Value]) -> bytes:
        """Return elements in ascending order of their tags.

        Args:
            values: by keyword: text for a value, "" for an empty one, a list of encoded items for a sequence,
                bytes for a value that is encoded already, None to leave the element out.

        Raises:
            ValueError: a text is longer than its VR allows or cannot be written in the character sets.
        """
        elements = {tag_of(keyword): value for keyword, value in values.items() if value is not None}
        return b"".join(self._element(tag, elements[tag]) for tag in sorted(elements))

    def _element(self, tag: int, value: str | list[bytes] | bytes) -> bytes:
        if isinstance(value, list):
            return self.raw(tag, b"".join(_ITEM + struct.pack("<I", len(item)) + item for item in value))
        return self.raw(tag, value if isinstance(value, bytes) else self.text(tag, value))

    def raw(self, tag: int, value: bytes) -> bytes:
        """Return one element with its value as it is, padded to an even length by the rule of its VR.

        Raises:
            ValueError: explicit VR has no room for the length.
        """
        vr = dictionary_VR(tag)
        if len(value) % 2:
            value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
        start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if not self.explicit_vr:
            return start + struct.pack("<I", len(value)) + value
        if vr in _LONG_LENGTH:
            return start + vr.encode() + struct.pack("<HI", 0, len(value)) + value
        if len(value) > 0xFFFE:
            raise ValueError(f"{keyword_for_tag(tag)} has {len(value)} bytes, explicit VR holds 65534")
        return start + vr.encode() + struct.pack("<H", len(value)) + value

    def text(self, tag: int, value: str) -> bytes:
        """Return the bytes of a text value, checked against its VR."""
        vr = dictionary_VR(tag)
        parts = value.split("\\") if vr in _MULTIPLE else [value]
        longest = max(len(part) for part in parts)
        if longest > _LIMITS.get(vr, longest):
            raise ValueError(
                f"{keyword_for_tag(tag)} is {longest} characters long, {vr} allows {_LIMITS[vr]}: {value!r}"
            )
        if value.isascii():
            return value.encode("ascii")
        if not all(self._can_write(part) for part in parts):
            raise ValueError(
                f"{keyword_for_tag(tag)} {value!r} cannot be written in the images' character set {self.encodings}"
            )
        return b"\\".join(bytes(encode_string(part, self.encodings)) for part in parts)

    def _can_write(self, text: str) -> bool:
        """Whether one of the character sets holds all of a text."""
        for encoding in self.encodings:
            try:
                text.encode(encoding)
            except UnicodeEncodeError:
                continue
            return True
        return False
