"""The elements of one encoded data set, as raw bytes, read without recursion, guessing or warnings.

pydicom's reader recurses into sequences until Python gives up, guesses the VR of data sets that lie about their
transfer syntax, and warns where it should refuse. To file an image only a few top-level values are needed: they are
taken here, everything else is stepped over by its length, and whatever does not add up is refused (PS3.5 section 7).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from npc_contour.errors import InstanceRefused

CANNOT_PARSE = 0xC001
"""C-STORE status of the "cannot understand" family (PS3.4 table B.2-1): the bytes are not a data set."""
MAX_TEXT_CHARACTERS = 256
MAX_VALUE_BYTES = 4096
MAX_NESTING = 64
PIXEL_DATA = 0x7FE00010
_PIXEL_DATA = {0x7FE00008, 0x7FE00009, PIXEL_DATA}
_REAL_WORLD_VALUES, _MEASUREMENT_UNITS, _CODE_VALUE = 0x00409096, 0x004008EA, 0x00080100
_MAX_SEQUENCE_BYTES = 2**20
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_ESCAPE = re.compile(r"\x1b\$?[()\-,]?[0-9A-Z@]")
"""Code extensions of ISO 2022 that a codec left in the text."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written."""

    implicit: bool
    little: bool


class Elements:
    """Raw values of one data set with defensive access by keyword: what is not as the Standard asks is absent."""

    def __init__(self, values: dict[int, bytes], *, little: bool, implicit: bool = False) -> None:
        self._values = values
        self._encoding = Encoding(implicit, little)
        self._order = "<" if little else ">"
        self._encodings = text_encodings(self._raw("SpecificCharacterSet"))

    def text(self, keyword: str) -> str:
        """Decoded text without control characters, at most 256 characters; "" when absent."""
        raw = self._raw(keyword)
        if raw.isascii() and (plain := raw.decode("ascii").strip("\0 ")).isprintable():
            return plain[:MAX_TEXT_CHARACTERS]  # nearly all of them, and the same in every character set
        text = decoded_text(raw, self._encodings)
        return _CONTROL.sub(" ", text).strip()[:MAX_TEXT_CHARACTERS]

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Several text values; () when absent."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def uid(self, keyword: str) -> str:
        """A UID without its padding, unchecked; "" when absent."""
        return self._raw(keyword).decode("ascii", "replace").strip("\0 ")[:MAX_TEXT_CHARACTERS]

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Exactly `count` finite decimal strings; None otherwise."""
        try:
            values = tuple(float(part) for part in self._raw(keyword).decode("ascii").strip("\0 ").split("\\"))
        except ValueError:
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    def number(self, keyword: str) -> float | None:
        """One finite decimal string; None otherwise."""
        values = self.numbers(keyword, 1)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """One integer string within 32 bits; None otherwise."""
        value = self.number(keyword)
        return int(value) if value is not None and value == int(value) and abs(value) < 2**31 else None

    def short(self, keyword: str, *, signed: bool = False) -> int | None:
        """One 16-bit binary value (US or SS by `signed`, whatever VR was written); None otherwise."""
        raw = self._raw(keyword)
        return int(struct.unpack(self._order + ("h" if signed else "H"), raw)[0]) if len(raw) == 2 else None

    def private_float(self, group: int, creator: str, element: int) -> float | None:
        """A finite FL value of a private block (PS3.5 7.8.1), found by the name of its creator; None otherwise."""
        for block in range(0x10, 0x100):
            name = self._values.get(group << 16 | block, b"").decode("ascii", "replace").strip("\0 ")
            if name == creator:
                raw = self._values.get(group << 16 | block << 8 | element, b"")
                value = float(struct.unpack(self._order + "f", raw)[0]) if len(raw) == 4 else math.nan
                return value if math.isfinite(value) else None
        return None

    def real_world_units(self) -> tuple[str, ...]:
        """Code values of the units that Real World Value Mapping Sequence (PS3.3 C.7.6.16.2.11) gives; () without."""
        raw = self._values.get(_REAL_WORLD_VALUES, b"")
        try:
            codes = _values_within(raw, self._encoding, (_REAL_WORLD_VALUES, _MEASUREMENT_UNITS), _CODE_VALUE)
        except InstanceRefused:
            return ("unreadable",)
        return tuple(code.decode("ascii", "replace").strip("\0 ")[:MAX_TEXT_CHARACTERS] for code in codes)

    def _raw(self, keyword: str) -> bytes:
        return self._values.get(tag_of(keyword), b"")


_TAGS: dict[str, int] = {}


def tag_of(keyword: str) -> int:
    """The tag of a keyword of the data dictionary."""
    tag = _TAGS.get(keyword)
    if tag is None:
        found = tag_for_keyword(keyword)
        if found is None:
            raise KeyError(keyword)
        tag = _TAGS[keyword] = int(found)
    return tag


def scan(
    data: bytes | memoryview, start: int, encoding: Encoding, *, last_group: int = 0x7FE0
) -> tuple[dict[int, bytes], int]:
    """Read the top-level elements up to the pixels, or to the first one beyond `last_group`.

    Returns:
        tag → raw value of every element of at most 4096 bytes; and where reading stopped, which is the start of
        Pixel Data or of the element beyond, or the end of the data.

    Raises:
        InstanceRefused: a length, a VR or a nesting that no data set has, or an element that occurs twice with
            different values, before the pixels or after them (PS3.5 7.1: once): readers do not agree on which counts.
    """
    values: dict[int, bytes] = {}
    places: Places = {}
    position = start
    while position < len(data):
        next_tag = tag_at(data, position, encoding)
        if next_tag is not None and (next_tag >> 16 > last_group or next_tag in _PIXEL_DATA):
            break
        tag, value_at, end = _element(data, position, encoding)
        if tag in places:
            _check_repeated(data, tag, places[tag], (value_at, end))
        places[tag] = value_at, end
        if end - value_at <= (_MAX_SEQUENCE_BYTES if tag == _REAL_WORLD_VALUES else MAX_VALUE_BYTES):
            values[tag] = bytes(data[value_at:end])
        position = end
    stopped_at = position
    while last_group == PIXEL_DATA >> 16 and position < len(data):
        try:
            tag, value_at, end = _element(data, position, encoding)
        except InstanceRefused:
            break  # padding behind the data set is nobody's value
        if tag in places:
            _check_repeated(data, tag, places[tag], (value_at, end))
        places[tag] = value_at, end
        position = end
    return values, stopped_at


def check_no_element_repeated(data: bytes | memoryview, encoding: Encoding) -> None:
    """Return when no element occurs twice with different values, at any level of the data set.

    Raises:
        InstanceRefused: one does, and is named; or the data set cannot be parsed.
    """
    levels: list[_Level] = [_Level(len(data), encoding, {})]
    position = 0
    while levels:
        level = levels[-1]
        if position >= (len(data) if level.end is None else level.end):
            levels.pop()
            continue
        tag, vr, length, value_at = _head(data, position, level.encoding)
        if tag in {_ITEM_END, _SEQUENCE_END}:
            levels.pop()
            position = value_at
            continue
        if length != _UNDEFINED and length > len(data) - value_at:
            raise _refused(f"element {tag:08X} says {length} bytes, {len(data) - value_at} are left")
        end = None if length == _UNDEFINED else value_at + length
        if tag == _ITEM or end is None or (vr or _usual_vr(tag)) == b"SQ":
            # Fragments of pixels are items, too, of bytes: no object that is walked through has pixels.
            inner = level.encoding if tag == _ITEM else _encoding_within(vr, level.encoding)
            levels.append(_Level(end, inner, {}))
            position = value_at
        else:
            place = value_at, value_at + length
            if tag in level.places:
                _check_repeated(data, tag, level.places[tag], place)
            level.places[tag] = place
            position = value_at + length
        if len(levels) > 2 * MAX_NESTING:
            raise _refused(f"sequences are nested deeper than {MAX_NESTING}")


Places = dict[int, tuple[int, int]]
"""Tag → where its value starts and ends."""


@dataclass(frozen=True, slots=True)
class _Level:
    """A data set, a sequence or an item that is open; `end` is None where a delimiter ends it."""

    end: int | None
    encoding: Encoding
    places: Places


def _usual_vr(tag: int) -> bytes:
    return dictionary_VR(tag).encode() if dictionary_has_tag(tag) else b""


def _check_repeated(data: bytes | memoryview, tag: int, first: tuple[int, int], second: tuple[int, int]) -> None:
    """Let an element be written twice where it says the same; group lengths, which nobody reads, may differ."""
    one, other = (bytes(data[start:end]).rstrip(b"\0 ") for start, end in (first, second))
    if one != other and tag & 0xFFFF:
        raise _refused(
            f"element {tag:08X} ({keyword_for_tag(tag) or 'private'}) occurs twice with different values:"
            " a data set has each element once"
        )


def _values_within(raw: bytes, encoding: Encoding, sequences: tuple[int, ...], wanted: int) -> list[bytes]:
    """Values of one element in the items of sequences that are nested in each other in this order."""
    found = []
    position, inside = 0, 1
    while position < len(raw):
        tag, _, length, value_at = _head(raw, position, encoding)
        if tag == _SEQUENCE_END:
            inside -= 1
        if tag in sequences:
            inside = sequences.index(tag) + 1
        elif length == _UNDEFINED and tag != _ITEM:
            value_at = _skip_undefined(raw, value_at, encoding, b"")
        elif tag not in {_ITEM, _ITEM_END, _SEQUENCE_END}:
            if tag == wanted and inside == len(sequences):
                found.append(raw[value_at : value_at + length])
            value_at += length
        position = value_at
    return found


def tag_at(data: bytes | memoryview, position: int, encoding: Encoding) -> int | None:
    """The tag of the element that starts there; None at the end."""
    if position + 4 > len(data):
        return None
    group, element = struct.unpack_from("<HH" if encoding.little else ">HH", data, position)
    return int(group << 16 | element)


def _element(data: bytes | memoryview, position: int, encoding: Encoding) -> tuple[int, int, int]:
    """Tag, and where the value of a top-level element starts and ends."""
    tag, vr, length, value_at = _head(data, position, encoding)
    if length == _UNDEFINED:
        return tag, value_at, _skip_undefined(data, value_at, encoding, vr)
    if length > len(data) - value_at:
        raise _refused(f"element {tag:08X} says {length} bytes, {len(data) - value_at} are left")
    return tag, value_at, value_at + length


def _head(data: bytes | memoryview, position: int, encoding: Encoding) -> tuple[int, bytes, int, int]:
    """Tag, VR (empty when implicit), length, and where the value starts."""
    if position + 8 > len(data):
        raise _refused(f"the data set is cut off within an element at byte {position}")
    order = "<" if encoding.little else ">"
    group, element = struct.unpack_from(order + "HH", data, position)
    tag = group << 16 | element
    if encoding.implicit or group == 0xFFFE:
        return tag, b"", struct.unpack_from(order + "L", data, position + 4)[0], position + 8
    vr = bytes(data[position + 4 : position + 6])
    if not (vr.isalpha() and vr.isupper()):
        raise _refused(f"element {tag:08X} has VR {vr!r}, which is none")
    if vr not in _LONG_VRS:
        return tag, vr, struct.unpack_from(order + "H", data, position + 6)[0], position + 8
    if position + 12 > len(data):
        raise _refused(f"the data set is cut off within element {tag:08X}")
    return tag, vr, struct.unpack_from(order + "L", data, position + 8)[0], position + 12


def _skip_undefined(data: bytes | memoryview, position: int, encoding: Encoding, vr: bytes) -> int:
    """Step over a value of undefined length: items, and whatever is nested in them.

    Open levels are kept on a list, not on Python's stack: (is it an item?, its encoding).
    """
    inner = _encoding_within(vr, encoding)
    levels: list[tuple[bool, Encoding]] = [(False, inner)]
    while levels:
        in_item, current = levels[-1]
        tag, nested_vr, length, value_at = _head(data, position, current)
        position = value_at
        if tag in {_ITEM_END, _SEQUENCE_END}:
            if in_item is not (tag == _ITEM_END):
                raise _refused(f"a delimiter {tag:08X} closes what is not open")
            levels.pop()
        elif length == _UNDEFINED:
            if in_item is (tag == _ITEM):
                raise _refused(f"element {tag:08X} of undefined length is not allowed here")
            levels.append((not in_item, current if tag == _ITEM else _encoding_within(nested_vr, current)))
            if len(levels) > 2 * MAX_NESTING:
                raise _refused(f"sequences are nested deeper than {MAX_NESTING}")
        else:
            if length > len(data) - position:
                raise _refused(f"element {tag:08X} in a sequence is not whole")
            position += length
    return position


def _encoding_within(vr: bytes, encoding: Encoding) -> Encoding:
    """UN of undefined length holds implicit VR little endian, whatever is around it (PS3.5 6.2.2 note 4)."""
    return Encoding(implicit=True, little=True) if vr == b"UN" else encoding


def _refused(message: str) -> InstanceRefused:
    return InstanceRefused(message, status=CANNOT_PARSE)


def decoded_text(raw: bytes, encodings: Sequence[str]) -> str:
    """Text in these codecs, without padding and without the code extensions that a codec left in it."""
    return _ESCAPE.sub("", _decode(raw, encodings))


def text_encodings(declared: bytes) -> list[str]:
    """Python codecs of Specific Character Set; [] when none is declared or known."""
    terms = [term.strip() for term in declared.decode("ascii", "replace").strip("\0 ").split("\\")]
    known = [term for term in terms if term in python_encoding]
    return list(convert_encodings(known)) if any(known) else []


def _decode(value: bytes, encodings: Sequence[str]) -> str:
    """Decode text; undeclared 8-bit text is tried as UTF-8, then GB18030, as Chinese sites leave it undeclared."""
    value = value.rstrip(b"\0 ")
    if len(encodings) > 1 and b"\x1b" in value:
        return decode_bytes(value, encodings, {ord("\\")})
    for encoding in (*encodings[:1], "utf-8", "gb18030"):
        try:
            return value.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return value.decode("latin-1")
