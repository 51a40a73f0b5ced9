r"""Regular expressions that a site writes, matched in a time that grows with the text alone.

Python's own engine tries again from every branch: `^(\w+\s?)+$` keeps it busy for years with thirty letters, no other
thread of the process runs meanwhile, and nothing can stop it. RE2 never goes back, and in return does not know what
cannot be matched that way; such a pattern is refused when the settings are read.
"""

from __future__ import annotations

import re
from functools import lru_cache

import re2

MEMORY = 8 * 2**20
"""Bytes that one pattern may take, RE2's own default: a pattern that would take more is refused."""
SUPPORTED = (
    r"groups, classes such as [a-z] and \pL, | * + ? {2,5} ^ $ \b \w \d \s are supported; looking ahead or back (?=..)"
    r" (?!..) (?<=..), references to a group \1, possessive and atomic groups, more than 1000 repetitions are not"
)
_PIECE = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)
_BOUNDARY_OF_OTHERS = re.compile(r"\\[bB][^\x00-\x7f]|[^\x00-\x7f]\\[bB]")
_LETTERS = r"\pL\pM\p{Nd}_"
"""What Python takes for `\\w`; to RE2 only ASCII letters are."""


def check_pattern(pattern: str) -> str:
    """Return the pattern itself.

    Raises:
        ValueError: it cannot be matched here; says why, and what can be.
    """
    if _BOUNDARY_OF_OTHERS.search(pattern):
        raise ValueError(
            rf"{pattern!r}: \b tells words of ASCII letters apart only; write (^|[^\pL]) and ([^\pL]|$) beside others"
        )
    try:
        _compiled(pattern)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{pattern!r} cannot be used as a regular expression: {why}; {SUPPORTED}") from error
    return pattern


def first_match(pattern: str, text: str) -> str | None:
    """Return the first part of a text that a pattern matches, which may be empty; None when none does.

    Args:
        pattern: one that `check_pattern` let pass.
        text: of any length; upper and lower case are the same.
    """
    # What is no text, a lone surrogate, matches as a question mark: RE2 reads UTF-8.
    match = _compiled(pattern).search(text.encode("utf-8", "replace").decode("utf-8"))
    return None if match is None else str(match[0])


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.case_sensitive, options.log_errors, options.max_mem = False, False, MEMORY
    return re2.compile(_with_all_letters(pattern), options=options)


def _with_all_letters(pattern: str) -> str:
    r"""Return the pattern with `\w` and `\W` outside of classes, and `\w` within one, meaning letters of any script."""
    pieces, in_class = [], False
    for piece in _PIECE.findall(pattern):
        if piece == r"\w":
            pieces.append(_LETTERS if in_class else f"[{_LETTERS}]")
        elif piece == r"\W" and not in_class:
            pieces.append(f"[^{_LETTERS}]")
        else:
            pieces.append(piece)
        in_class = piece != "]" if in_class else piece.startswith("[")
    return "".join(pieces)
