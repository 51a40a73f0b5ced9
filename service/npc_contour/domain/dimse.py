"""What DICOM peers answer, in words."""

from __future__ import annotations

_EXACT_STATUS = {
    0x0000: "success",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0115: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "class-instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "refused: SOP class not supported",
    0x0124: "refused: not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xFF00: "pending, which is no answer to a C-STORE",
    0xB000: "stored, some elements were coerced",
    0xB006: "stored, some elements were discarded",
    0xB007: "stored, although the data set does not match its SOP class",
}
_RANGE_STATUS = (
    (0xFF00, 0xA700, "refused: out of resources (its disk or database is full)"),
    (0xFF00, 0xA900, "error: data set does not match its SOP class"),
    (0xF000, 0xB000, "stored, with a warning"),
    (0xF000, 0xC000, "error: it cannot understand the object"),
)


_TEMPORARY = (0x0110, 0x0210, 0x0213)
"""Processing failure, duplicate invocation, resource limitation (PS3.7 annex C): they may pass by themselves."""


def may_pass(status: int) -> bool:
    """Whether a C-STORE that was answered so may be answered otherwise later, with nothing changed (PS3.4 B.2.3).

    Out of resources may pass. A class that is not supported, a sender that is not authorised, a data set that does not
    match its class or cannot be understood, and what no C-STORE may be answered with do not.
    """
    return status & 0xFF00 == 0xA700 or status in _TEMPORARY


def status_words(status: int) -> str:
    """Return a C-STORE or C-ECHO status in words (PS3.4 table B.2-1, PS3.7 annex C), with its number."""
    words = _EXACT_STATUS.get(status)
    if words is None:
        words = next((text for mask, value, text in _RANGE_STATUS if status & mask == value), "unknown status")
    return f"0x{status:04X} {words}"


_QUERY_STATUS = (
    (0xFFFF, 0xA701, "refused: out of resources, it cannot count the matches"),
    (0xFFFF, 0xA702, "refused: out of resources, it cannot send the images"),
    (0xFFFF, 0xA801, "refused: it does not know where to send, our AE title is not configured there"),
    (0xFF00, 0xA700, "refused: out of resources"),
    (0xFF00, 0xA900, "error: the keys do not match its information model"),
    (0xFFFF, 0xB000, "ended, some images failed"),
    (0xFFFF, 0xFE00, "ended: cancelled"),
    (0xF000, 0xC000, "failed: it cannot process the request"),
)


def query_status_words(status: int) -> str:
    """Return a C-FIND, C-GET or C-MOVE status in words (PS3.4 tables C.4-1 to C.4-3), with its number."""
    words = next((text for mask, value, text in _QUERY_STATUS if status & mask == value), None)
    return status_words(status) if words is None else f"0x{status:04X} {words}"
