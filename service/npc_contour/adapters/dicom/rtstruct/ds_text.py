"""Contour Data as text: Decimal Strings of at most 16 characters, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

IN_PLANE_DECIMALS = 3
"""A thousandth of a millimetre: a fifth of the inset of a contour at 1 mm pixels."""

CONSTANT_DECIMALS = 6
"""For a coordinate that all points of a contour share: it says on which image the contour lies."""

MAX_VALUE_BYTES = 65_534
"""Longest value that any explicit VR transfer syntax can hold in DS (PS3.5 section 7.1.2): a PACS may transcode."""

_LARGEST_MM = 99_999.0
_LONGEST_NUMBER = 14
_ZERO, _MINUS, _POINT, _BACKSLASH = 48, 45, 46, 92


def contour_data(points_lps_mm: npt.NDArray[np.float64]) -> bytes:
    """Return the value of Contour Data (3006,0050): x, y, z of each point, separated by backslashes.

    Args:
        points_lps_mm: (n, 3).

    Raises:
        ValueError: a coordinate is not finite or beyond 99,999 mm, or the text is longer than `MAX_VALUE_BYTES`.
    """
    if not np.abs(points_lps_mm).max() <= _LARGEST_MM:
        raise ValueError(f"a contour's coordinate is beyond {_LARGEST_MM:g} mm or not a number")
    constant = np.ptp(points_lps_mm, axis=0) < 1e-9
    decimals = np.where(constant, CONSTANT_DECIMALS, IN_PLANE_DECIMALS)
    text = np.empty(points_lps_mm.size * _LONGEST_NUMBER, dtype=np.uint8)
    used = _format(np.ascontiguousarray(points_lps_mm), decimals, text)
    if used > MAX_VALUE_BYTES:
        raise ValueError(
            f"a contour of {len(points_lps_mm)} points needs {used} bytes, Contour Data holds {MAX_VALUE_BYTES}"
        )
    return text[:used].tobytes()


@compiled
def _format(points: npt.NDArray[np.float64], decimals: npt.NDArray[np.int64], text: npt.NDArray[np.uint8]) -> int:
    """Write all numbers, fixed-point without trailing zeros, separated by backslashes; return the length."""
    digits = np.empty(20, dtype=np.uint8)
    used = 0
    for row in range(points.shape[0]):
        for axis in range(points.shape[1]):
            if used:
                text[used] = _BACKSLASH
                used += 1
            places = decimals[axis]
            value = int(np.rint(abs(points[row, axis]) * 10.0**places))
            if points[row, axis] < 0 and value:
                text[used] = _MINUS
                used += 1
            while places > 0 and value % 10 == 0:
                value //= 10
                places -= 1
            count = 0
            while value > 0 or count <= places:
                digits[count] = _ZERO + value % 10
                value //= 10
                count += 1
            while count > 0:
                if count == places:
                    text[used] = _POINT
                    used += 1
                count -= 1
                text[used] = digits[count]
                used += 1
    return used
