"""What a planning CT shows within its organs: values by which a site sees that a scanner or a kernel has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from npc_contour.core.labels import RoiMask
from npc_contour.domain.statistics import Measure
from npc_contour.domain.structures import InterpretedType
from npc_contour.domain.volumes import Volume


def site_values(masks: Sequence[RoiMask], volume: Volume) -> Mapping[Measure, float]:
    """Return slice spacing, and of a CT the mean and the standard deviation (HU) of the median organ.

    Args:
        masks: on the grid of `volume`; only organs that a network drew count.
        volume: the planning series.
    """
    values = {Measure.SLICE: volume.grid.spacing_zyx_mm[0]}
    organs = [one for one in masks if one.spec.interpreted_type is InterpretedType.ORGAN and one.spec.network]
    inside = [volume.hu[one.box][one.mask] for one in organs if not one.empty]
    if volume.modality == "CT" and inside:
        values[Measure.SOFT_TISSUE] = float(np.median([hu.mean() for hu in inside]))
        values[Measure.NOISE] = float(np.median([hu.std() for hu in inside]))
    return values
