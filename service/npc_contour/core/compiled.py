"""The one door to numba: a typed decorator for loops over voxels and points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, cast, overload

import numba

Function = TypeVar("Function", bound=Callable[..., object])
FastMath = bool | set[str]
Inline = Literal["never", "always"]


@overload
def compiled(function: Function) -> Function: ...


@overload
def compiled(*, fastmath: FastMath = ..., inline: Inline = ...) -> Callable[[Function], Function]: ...


def compiled(
    function: Function | None = None, *, fastmath: FastMath = False, inline: Inline = "never"
) -> Function | Callable[[Function], Function]:
    """Compile a function of arrays and numbers to machine code that needs no GIL.

    The result is kept on disk beside the source or in the user's cache folder (NUMBA_CACHE_DIR names another); where
    none of them can be written, each process compiles for itself.

    Args:
        function: to compile; None returns a decorator.
        fastmath: which liberties with floating point are allowed, as numba.njit takes them.
        inline: whether calls from compiled functions are inlined.
    """

    def compile_(given: Function) -> Function:
        try:
            made = numba.njit(cache=True, nogil=True, fastmath=fastmath, inline=inline)(given)
        except RuntimeError:
            made = numba.njit(nogil=True, fastmath=fastmath, inline=inline)(given)
        return cast(Function, made)

    return compile_ if function is None else compile_(function)
