"""The one door to numba: a typed decorator for loops over voxels and points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers to machine code that needs no GIL.

    The result is kept on disk beside the source or in the user's cache folder (NUMBA_CACHE_DIR names another); where
    none of them can be written, each process compiles for itself.
    """
    try:
        made = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        made = numba.njit(nogil=True)(function)
    return cast(Function, made)
