"""A-ASSOCIATE PDUs as others write them, made such as pynetdicom reads them (PS3.8 9.3.2, 9.3.3; PS3.7 D.3).

Implementations pad with NUL and with spaces, name versions longer than 16 letters, and send items of later editions of
the Standard. PS3.8 9.3.1 and D.2 say what a reader does with them: padding means nothing, items that are not
recognised are ignored. Only what this program uses is handed on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from npc_contour.adapters.dicom.association.wire import AbortReason, PduType, WireError
from npc_contour.domain.uids import is_uid

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_DEFAULT_SYNTAX = b"1.2.840.10008.1.2"
_CONTEXTS, _RESULTS, _USER_INFORMATION, _CONTEXT_NAME = 0x20, 0x21, 0x50, 0x10
_ABSTRACT, _TRANSFER = 0x30, 0x40
_LENGTH, _CLASS_UID, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
_ITEMS_AT = 74
NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 3, 4
"""Results of a presentation context that cannot be accepted (PS3.8 table 9-18)."""
_FALLBACK_LENGTH = struct.pack(">L", 16384)


@dataclass(frozen=True, slots=True)
class Tidied:
    """An association request or acceptance without what means nothing.

    Attributes:
        pdu: of the items that are used, the titles left out.
        titles: both titles as they came, with the reserved field behind them: an acceptance repeats them.
        called_ae_title: without padding; "" where it is blank or no title.
        calling_ae_title: likewise.
        version: bits of the protocol versions that the peer speaks; the first is ours.
        application_context: its name; "" without one.
        unusable: result by id of presentation contexts that name no syntax that could be meant.
    """

    pdu: bytes
    titles: bytes
    called_ae_title: str
    calling_ae_title: str
    version: int
    application_context: str
    unusable: dict[int, int]


def tidied(pdu: bytes) -> Tidied:
    """Read a whole A-ASSOCIATE-RQ or A-ASSOCIATE-AC PDU and leave out what means nothing.

    Raises:
        WireError: its lengths do not add up, or the ids of its presentation contexts are none.
    """
    if len(pdu) < _ITEMS_AT:
        raise _wrong(f"an association PDU of {len(pdu)} bytes")
    context_name, contexts, information = "", list[bytes](), b""
    unusable: dict[int, int] = {}
    identifiers: set[int] = set()
    for kind, value in _items(pdu[_ITEMS_AT:]):
        if kind == _CONTEXT_NAME:
            context_name = context_name or _text(value)
        elif kind in {_CONTEXTS, _RESULTS}:
            if len(value) < 4 or value[0] % 2 == 0 or value[0] in identifiers:
                raise _wrong("a presentation context whose id is even, or is there twice")
            identifiers.add(value[0])
            tidy = _proposed(value, unusable) if kind == _CONTEXTS else _answered(value)
            contexts += [_item(kind, tidy)] if tidy else []
        elif kind == _USER_INFORMATION:
            information = information or value
    body = b"".join([
        pdu[6:8], b"\0\0", b"ANY".ljust(16) * 2, bytes(32),
        _item(_CONTEXT_NAME, APPLICATION_CONTEXT.encode()), *contexts, _item(_USER_INFORMATION, _used(information)),
    ])  # fmt: skip
    return Tidied(
        pdu=struct.pack(">BBL", pdu[0], 0, len(body)) + body,
        titles=pdu[10:_ITEMS_AT],
        called_ae_title=_title(pdu[10:26]),
        calling_ae_title=_title(pdu[26:42]),
        version=int.from_bytes(pdu[6:8], "big"),
        application_context=context_name,
        unusable=unusable,
    )


def with_titles(pdu: bytes, titles: bytes) -> bytes:
    """An acceptance that repeats the titles of its request, byte for byte (PS3.8 9.3.3)."""
    return pdu[:10] + titles + pdu[_ITEMS_AT:]


def is_acceptance(head: bytes | bytearray) -> bool:
    """Whether the first bytes of a PDU are those of an A-ASSOCIATE-AC."""
    return bool(head) and head[0] == PduType.ASSOCIATE_AC


def _proposed(value: bytes, unusable: dict[int, int]) -> bytes:
    """A presentation context of a request; b"" for one that cannot be accepted, whose result is noted."""
    syntaxes = [(kind, _uid(name)) for kind, name in _items(value[4:])]
    abstract = [name for kind, name in syntaxes if kind == _ABSTRACT and name]
    transfer = [name for kind, name in syntaxes if kind == _TRANSFER and name]
    if not abstract or not transfer:
        unusable[value[0]] = NO_TRANSFER_SYNTAX if abstract else NO_ABSTRACT_SYNTAX
        return b""
    items = [_item(_ABSTRACT, abstract[0]), *(_item(_TRANSFER, name) for name in transfer)]
    return bytes([value[0], 0, 0, 0]) + b"".join(items)


def _answered(value: bytes) -> bytes:
    """The result of a presentation context; the syntax of one that was not accepted means nothing."""
    named = [_uid(name) for kind, name in _items(value[4:]) if kind == _TRANSFER] if value[2] == 0 else []
    syntax = next(filter(None, named), _DEFAULT_SYNTAX if value[2] else b"")
    if not syntax:
        raise _wrong("a presentation context that is accepted without a transfer syntax")
    return bytes([value[0], 0, value[2], 0]) + _item(_TRANSFER, syntax)


def _used(information: bytes) -> bytes:
    """The user information that is used, each item once but for the roles."""
    found: dict[int, bytes] = {}
    roles: dict[bytes, bytes] = {}
    for kind, value in _items(information):
        if kind == _ROLE:
            if role := _role(value):
                roles.setdefault(*role)
        elif kind in _READERS and (read := _READERS[kind](value)):
            found.setdefault(kind, read)
    found.setdefault(_LENGTH, _FALLBACK_LENGTH)
    items = [*((kind, found[kind]) for kind in sorted(found)), *((_ROLE, role) for role in roles.values())]
    return b"".join(_item(kind, value) for kind, value in sorted(items, key=lambda item: item[0]))


def _role(value: bytes) -> tuple[bytes, bytes] | None:
    """SOP class and item of a role selection (PS3.7 D.3.3.4); None for one that names no class."""
    length = int.from_bytes(value[:2], "big")
    uid, rest = _uid(value[2 : 2 + length]), value[2 + length :]
    if not uid or len(rest) != 2:
        return None
    return uid, struct.pack(">H", len(uid)) + uid + bytes(int(role != 0) for role in rest)


def _version_name(value: bytes) -> bytes:
    text = _text(value)
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)[:16].encode()


def _uid(value: bytes) -> bytes:
    text = _text(value)
    return text.encode() if is_uid(text) else b""


_READERS: dict[int, Callable[[bytes], bytes]] = {
    _LENGTH: lambda value: value if len(value) == 4 else b"",
    _CLASS_UID: _uid,
    _VERSION_NAME: _version_name,
}


def _text(value: bytes) -> str:
    return value.strip(b" \0").decode("latin-1")


def _title(value: bytes) -> str:
    """An AE title (PS3.8 table 9-11, PS3.5 6.2); "" for what is none."""
    text = _text(value)
    return text if text.isascii() and text.isprintable() and "\\" not in text else ""


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise _wrong("an item of an association PDU is cut off")
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 4 + length
        if end > len(data):
            raise _wrong(f"an item of {length} bytes in an association PDU where {len(data) - position - 4} are left")
        yield data[position], data[position + 4 : end]
        position = end


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _wrong(words: str) -> WireError:
    return WireError(words, AbortReason.INVALID_PARAMETER)
