"""Compiled functions work where their machine code cannot be kept on disk."""

from __future__ import annotations

import types
from pathlib import Path

import numba
import pytest

import npc_contour.core
from npc_contour.core.compiled import compiled


def doubled(value: int) -> int:
    return 2 * value


def test_a_function_without_a_place_for_its_cache_is_compiled_for_this_process() -> None:
    code = doubled.__code__.replace(co_filename="<nowhere>")
    homeless = types.FunctionType(code, {"__name__": "nowhere"})
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(homeless)

    assert compiled(homeless)(21) == 42


def test_options_of_the_compiler_are_kept_without_a_cache_too() -> None:
    homeless = types.FunctionType(doubled.__code__.replace(co_filename="<nowhere>"), {"__name__": "nowhere"})

    assert compiled(fastmath=True, inline="always")(homeless)(21) == 42


def test_no_module_asks_numba_for_a_cache_itself() -> None:
    core = Path(npc_contour.core.__file__).parent
    asking = {path.name for path in core.rglob("*.py") if "cache=True" in path.read_text(encoding="utf-8")}

    assert asking == {"compiled.py"}
