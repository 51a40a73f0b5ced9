"""The one door to numba: a typed decorator for loops over voxels and points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers to machine code; the result is kept on disk and needs no GIL."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
