"""Compiled functions work where their machine code cannot be kept on disk."""

from __future__ import annotations

import types

import numba
import pytest

from npc_contour.core.compiled import compiled


def doubled(value: int) -> int:
    return 2 * value


def test_a_function_without_a_place_for_its_cache_is_compiled_for_this_process() -> None:
    code = doubled.__code__.replace(co_filename="<nowhere>")
    homeless = types.FunctionType(code, {"__name__": "nowhere"})
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(homeless)

    assert compiled(homeless)(21) == 42
