"""From stored MR values to comparable ones, vendor by vendor.

Philips rescales every slice to its own brightness (Rescale Slope is for display) and keeps the scanner's own scale in
private elements: value = stored / scale slope + intercept / (rescale slope x scale slope) (Chenevert 2014, "Errors in
Quantitative Image Analysis due to Platform-Dependent Image Scaling"). Others write one Rescale Slope, a Real World
Value Mapping, or nothing.
"""

from __future__ import annotations

import math
from io import BytesIO

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from npc_contour.adapters.dicom.read.elements import Elements
from npc_contour.errors import PixelDataError

PHILIPS_CREATOR = "Philips MR Imaging DD 001"
_PHILIPS_GROUP, _SCALE_SLOPE = 0x2005, 0x0E
_LARGEST = 1e12


def mr_scale(elements: Elements, file: bytes) -> tuple[float, float]:
    """Return slope and intercept of one MR image; (1, 0) where the scanner writes no scale.

    Args:
        elements: of the image.
        file: the whole, read again for a Real World Value Mapping where nothing else has the scale.

    Raises:
        PixelDataError: the scale that is written is none.
    """
    slope, intercept = elements.number("RescaleSlope"), elements.number("RescaleIntercept")
    philips = elements.private_float(_PHILIPS_GROUP, PHILIPS_CREATOR, _SCALE_SLOPE)
    if philips and slope:
        return _checked(1.0 / philips, (intercept or 0.0) / (slope * philips), "Philips' private scale")
    if slope is not None or intercept is not None:
        return _checked(1.0 if slope is None else slope, intercept or 0.0, "Rescale Slope and Intercept")
    mapped = _real_world(file)
    return (1.0, 0.0) if mapped is None else _checked(*mapped, "the Real World Value Mapping")


def _checked(slope: float, intercept: float, source: str) -> tuple[float, float]:
    usable = math.isfinite(slope) and math.isfinite(intercept) and 0 < slope < _LARGEST and abs(intercept) < _LARGEST
    if not usable:
        raise PixelDataError(f"slope {slope:g}, intercept {intercept:g} by {source}: not a scale of MR values")
    return slope, intercept


def _real_world(file: bytes) -> tuple[float, float] | None:
    """Slope and intercept of the first linear mapping (PS3.3 C.7.6.16.2.11)."""
    try:
        image = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=["RealWorldValueMappingSequence"])
        for item in image.get("RealWorldValueMappingSequence", ()):
            slope, intercept = item.get("RealWorldValueSlope"), item.get("RealWorldValueIntercept")
            if slope is not None and intercept is not None:
                return float(slope), float(intercept)
    except (InvalidDicomError, ValueError, TypeError, RecursionError, EOFError, OSError) as error:
        raise PixelDataError(f"the Real World Value Mapping cannot be read: {error}") from error
    return None
