"""Pickles and checkpoints of strangers, read without running what may be in them."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

LARGEST_PICKLE = 256 * 1024 * 1024

_SCALAR = np.float64(0).__reduce__()[0]
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_DTYPES = tuple(
    type(np.dtype(code)) for code in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
)
_READ_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    OverflowError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    UnicodeDecodeError,
    MemoryError,
    ImportError,
)


class ImportRefused(ValueError):
    """The network cannot be imported; the message says what was found and what was expected."""


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, by which old pickles write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes written in {encoding!r}, expected latin1")
    return text.encode("latin1")


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
} | {
    (module, name): what
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name, what in (("scalar", _SCALAR), ("_reconstruct", _RECONSTRUCT))
}


@dataclass(frozen=True, slots=True)
class Named:
    """A function of a framework as a pickle names it; the function itself is never loaded."""

    module: str
    name: str


class _Restricted(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, allowed: tuple[Named, ...]) -> None:
        super().__init__(file)
        self._named = {(one.module, one.name): one for one in allowed}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) in self._named:
            return self._named[module, name]
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which data has no need of") from None


def read_pickle(path: Path, *, allowed: tuple[Named, ...] = ()) -> Any:  # noqa: ANN401
    """Return what a pickle holds: built-in types, ordered dictionaries and numpy arrays, nothing else.

    Args:
        path: the pickle.
        allowed: functions that it may name; they come back as `Named`, which cannot be called.

    Raises:
        ImportRefused: the file is absent, too large, damaged, or asks for anything else, which is named.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_PICKLE:
            raise ImportRefused(f"{path} has {size} bytes, at most {LARGEST_PICKLE} are read")
        return _Restricted(io.BytesIO(path.read_bytes()), allowed).load()
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except _READ_ERRORS as error:
        raise ImportRefused(f"{path} is no pickle of plain data, or a damaged one: {_first_line(error)}") from error


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return what a checkpoint of PyTorch holds, read with `weights_only`.

    Raises:
        ImportRefused: the file is absent, damaged, no dictionary, or would run code; the reason is named.
    """
    try:
        with torch.serialization.safe_globals(_checkpoint_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except _READ_ERRORS as error:
        raise ImportRefused(f"{path} is no checkpoint of weights alone, or a damaged one: {_reason(error)}") from error
    if not isinstance(content, Mapping):
        raise ImportRefused(f"{path} holds a {type(content).__name__}, expected a dictionary")
    return content


def _checkpoint_globals() -> list[Any]:
    # Losses and epochs lie beside the weights as numpy scalars; numpy 1 and 2 name their module differently.
    scalars = [(_SCALAR, f"{module}.multiarray.scalar") for module in ("numpy.core", "numpy._core")]
    arrays = [(_RECONSTRUCT, f"{module}.multiarray._reconstruct") for module in ("numpy.core", "numpy._core")]
    return [*scalars, *arrays, np.ndarray, np.dtype, *_DTYPES]


def _reason(error: BaseException) -> str:
    """Return what is wrong without PyTorch's advice to load the file regardless."""
    text = str(error)
    marker = "Unsupported "
    if marker in text:
        return "it asks for " + text[text.index(marker) + len(marker) :].splitlines()[0]
    for line in text.splitlines():
        if "GLOBAL" in line or "global" in line:
            return line.strip()
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
