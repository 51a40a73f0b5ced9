"""Hands numpy arrays to Triton's stub by DLPack.

The stub renames a capsule that it has taken to something numpy does not know, and numpy's own capsule then reports a
ValueError into the log for every answer. This one is made by hand, after dlpack.h version 0.8, and keeps the array
alive until the stub calls the deleter.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

CPU = 1
TYPE_CODES = {"i": 0, "u": 1, "f": 2}


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _ManagedTensor(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ManagedTensor))
_ManagedTensor._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))

_lent: dict[int, tuple[object, ...]] = {}


def _give_back(managed: ctypes._Pointer[_ManagedTensor]) -> None:
    _lent.pop(ctypes.addressof(managed.contents), None)


_deleter = _Deleter(_give_back)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class Lent:
    """An array as `from_dlpack` takes it."""

    def __init__(self, array: npt.NDArray[np.generic]) -> None:
        """Lend a numeric array; a copy of it when its memory is not in order."""
        self._array = np.ascontiguousarray(array)
        if self._array.dtype.kind not in TYPE_CODES:
            raise TypeError(f"only numbers pass through DLPack, got {self._array.dtype}")

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return that the memory is the processor's."""
        return CPU, 0

    def __dlpack__(self, *, stream: int | None = None) -> object:
        """Return a capsule that owns a reference to the array."""
        array = self._array
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        dtype = _DataType(TYPE_CODES[array.dtype.kind], array.dtype.itemsize * 8, 1)
        # No strides say that the memory is in C order.
        tensor = _Tensor(array.ctypes.data, _Device(CPU, 0), array.ndim, dtype, shape, None, 0)
        managed = _ManagedTensor(tensor, None, _deleter)
        address = ctypes.addressof(managed)
        _lent[address] = (array, shape, managed)
        capsule: object = _new_capsule(address, b"dltensor", None)
        return capsule
