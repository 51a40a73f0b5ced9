"""Contrast is seen in the great vessels of phantoms of every kind, and is not seen where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.vessels import VesselFinding, look_at_vessels
from npc_contour.domain.pipelines import Contrast
from npc_contour.domain.volumes import Volume
from npc_phantom import PhantomOptions, draw, render


@pytest.mark.parametrize("seed", [4, 7])
def test_both_phases_are_told_apart(seed: int) -> None:
    patient = draw(seed, PhantomOptions(matrix=192, slice_spacing_mm=5.0))
    phantom = render(patient, patient.grid())
    slices = phantom.grid.shape_zyx[0]
    positions = phantom.grid.to_patient_mm([(i, 0, 0) for i in range(slices)])

    def seen(hu: np.ndarray) -> VesselFinding:
        return look_at_vessels(Volume(hu, phantom.grid, tuple(map(str, range(slices))), positions))

    plain, enhanced = seen(phantom.noncontrast_hu), seen(phantom.contrast_hu)

    assert (plain.says, enhanced.says) == (Contrast.ABSENT, Contrast.PRESENT), (plain, enhanced)
    assert enhanced.evidence is not None
    assert "as vessels with contrast are" in enhanced.evidence.text


def test_between_the_limits_nothing_is_said() -> None:
    assert VesselFinding(9.0).says is None
    assert VesselFinding(9.0).evidence is None
