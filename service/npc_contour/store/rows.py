"""Rows of the database as the domain's dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import Any, TypeVar, get_type_hints

Kind = TypeVar("Kind")


def read(kind: type[Kind], row: Mapping[str, Any], **given: object) -> Kind:
    """Return a row as one of these: every field takes the column of its name.

    An array becomes a tuple, a text the field's enumeration. Columns without a field are not looked at; a field
    without a column keeps its default.

    Args:
        kind: a dataclass.
        row: column → value.
        given: fields that are not read from the row.
    """
    known = _fields(kind)  # type: ignore[arg-type]  # classes are hashable
    values = {name: _value(member, row[name]) for name, member in known if name in row and name not in given}
    return kind(**values, **given)


def _value(member: type[Enum] | None, value: object) -> object:
    if member is not None:
        return member(value)
    return tuple(value) if isinstance(value, list) else value


@cache
def _fields(kind: type) -> tuple[tuple[str, type[Enum] | None], ...]:
    hints = get_type_hints(kind)
    return tuple(
        (field.name, hint if isinstance(hint := hints[field.name], type) and issubclass(hint, Enum) else None)
        for field in fields(kind)
    )
