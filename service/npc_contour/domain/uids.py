"""What may be taken for a UID."""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def is_uid(text: str) -> bool:
    """Whether a text may be used as a UID and in a path: digits and single dots, 1 to 64 characters.

    Leading zeros are let pass although PS3.5 9.1 forbids them: real scanners write them and they harm nothing.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None
