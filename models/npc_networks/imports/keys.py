"""Dictionaries of strangers, asked for their keys by kind."""

from __future__ import annotations

from collections.abc import ItemsView, Mapping, Sequence
from typing import Any

import numpy as np

from npc_networks.imports.safe_files import ImportRefused
from npc_networks.unet import Triple

LARGEST_COUNT = 4096


class Keys:
    """A dictionary of a file; every question raises ImportRefused, which names the key, what was found and expected."""

    def __init__(self, content: Any, where: str) -> None:  # noqa: ANN401
        if not isinstance(content, Mapping):
            raise ImportRefused(f"{where}: found a {type(content).__name__}, expected a dictionary")
        self._content = content
        self.where = where

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def items(self) -> ItemsView[Any, Any]:
        """Return all of it."""
        return self._content.items()

    def get(self, key: str) -> Any:  # noqa: ANN401
        """Return what a key holds."""
        if key not in self._content:
            raise ImportRefused(f"{self.where} has no {key!r}; it has {', '.join(map(str, self._content))}")
        return self._content[key]

    def mapping(self, key: str) -> Mapping[Any, Any]:
        """Return a dictionary."""
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise ImportRefused(f"{self.where}: {key} is a {type(value).__name__}, expected a dictionary")
        return value

    def whole(self, key: str) -> int:
        """Return a whole number from 1 to LARGEST_COUNT."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= LARGEST_COUNT:
            raise ImportRefused(f"{self.where}: {key} is {value!r}, expected a positive whole number")
        return int(value)

    def numbered(self, key: str) -> Mapping[int, Any]:
        """Return a dictionary whose keys are whole numbers."""
        value = self.mapping(key)
        if not value or not all(isinstance(index, int) and not isinstance(index, bool) for index in value):
            raise ImportRefused(f"{self.where}: {key} has keys {list(value)}, expected 0, 1, ...")
        return value

    def numbers(self, key: str) -> Sequence[float]:
        """Return a list of numbers."""
        value = self.get(key)
        if not isinstance(value, list | tuple | np.ndarray) or not all(is_number(one) for one in value):
            raise ImportRefused(f"{self.where}: {key} is {value!r}, expected numbers")
        return [float(one) for one in value]

    def number(self, key: str) -> float:
        """Return one finite number."""
        value = self.get(key)
        if not is_number(value):
            raise ImportRefused(f"{self.where}: {key} is {value!r}, expected a number")
        return float(value)

    def rows(self, key: str) -> list[Triple]:
        """Return a list of three whole numbers each."""
        value = self.get(key)
        if not isinstance(value, list | tuple | np.ndarray) or not len(value):
            raise ImportRefused(f"{self.where}: {key} is {value!r}, expected a list of three numbers each")
        return [triple(row, f"{self.where}: {key}") for row in value]


def is_number(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is a finite number."""
    return isinstance(value, int | float | np.integer | np.floating) and bool(np.isfinite(value))


def three(values: Any, where: str) -> Sequence[float]:  # noqa: ANN401
    """Return three numbers."""
    if not isinstance(values, list | tuple | np.ndarray) or len(values) != 3 or not all(is_number(v) for v in values):
        raise ImportRefused(f"{where} is {values!r}, expected three numbers (two-dimensional networks are not taken)")
    return list(values)


def triple(values: Any, where: str) -> Triple:  # noqa: ANN401
    """Return three whole numbers."""
    first, second, third = (int(value) for value in three(values, where))
    return first, second, third
