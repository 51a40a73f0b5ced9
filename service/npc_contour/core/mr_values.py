"""MR voxel values: from a scanner's floating point scale to int16, and without the shading of the coils.

MR values have no unit. What matters is that slices of a series stay comparable and that small differences survive the
rounding; networks normalise by mean and deviation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from npc_contour.domain.volumes import Volume

LEAST_PEAK = 500.0
"""Below this, rounding to whole numbers would be seen in the image."""
STRETCHED_PEAK = 8000.0
ROBUST_PERCENT = 99.9
_N4_GRID_MM = 4.0
_N4_ITERATIONS = (50, 50, 30)


def to_int16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Round rescaled values; where they do not fit, or are too small to be rounded, stretch the whole series first.

    Args:
        values: (z, y, x) finite.

    Returns:
        int16: the values themselves, or times one factor that puts the 99.9th percentile at 8000.
    """
    limits = np.iinfo(np.int16)
    peak = float(np.abs(values).max(initial=0.0))
    if peak == 0 or LEAST_PEAK <= peak <= limits.max:
        return np.rint(values).astype(np.int16)
    bright = float(np.percentile(np.abs(values[values != 0]), ROBUST_PERCENT))
    stretched: npt.NDArray[np.int16] = np.clip(
        np.rint(values * (STRETCHED_PEAK / bright)), limits.min, limits.max
    ).astype(np.int16)
    return stretched


def without_bias(volume: Volume) -> Volume:
    """Divide out the slow shading of the receive coils (N4, Tustison 2010, as SimpleITK has it); takes seconds.

    The field is estimated on a grid of about 4 mm within the head (Otsu's threshold) and applied at full resolution.
    """
    # Loaded only where it is asked for: SimpleITK takes 110 MB in every process that imports it.
    import SimpleITK  # noqa: PLC0415

    image = SimpleITK.GetImageFromArray(volume.hu.astype(np.float32))
    image.SetSpacing([float(value) for value in reversed(volume.grid.spacing_zyx_mm)])
    shrink = [max(1, round(_N4_GRID_MM / spacing)) for spacing in image.GetSpacing()]
    coarse = SimpleITK.Shrink(image, shrink)
    mask = SimpleITK.OtsuThreshold(coarse, 0, 1, 200)
    correction = SimpleITK.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations(_N4_ITERATIONS)
    correction.Execute(coarse, mask)
    field = SimpleITK.GetArrayViewFromImage(correction.GetLogBiasFieldAsImage(image))
    corrected = to_int16(volume.hu / np.exp(np.clip(field, -2.0, 2.0), dtype=np.float32))
    return replace(volume, hu=corrected)
