"""What is doubted of the images of a case is found before its networks run, and kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from npc_contour.application.contouring import Volumes, doubt_images
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.pipelines import Role
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import Volume
from npc_testkit.bench import plain_ct


def blocks_of_bone(moved_mm: float) -> Volume:
    """Bones of a few sizes in soft tissue, moved to the left."""
    grid = Grid((40, 60, 60), (3.0, 3.0, 3.0), (moved_mm, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    hu = np.full(grid.shape_zyx, 40, dtype=np.int16)
    for low, size in ((5, 8), (18, 5), (28, 9)):
        hu[low : low + size, low : low + size, 2 * size : 3 * size + 6] = 800
    places = grid.to_patient_mm(np.stack([np.arange(40), np.zeros(40), np.zeros(40)], axis=1))
    return Volume(hu, grid, tuple(map(str, range(40))), places)


@dataclass
class Reader:
    """Gives each role its volume."""

    volumes: Mapping[str, Volume]

    def read(self, series: Series, role: Role) -> Volume:
        assert series.instances
        return self.volumes[role.name]


def doubts(moved_mm: float) -> tuple[Finding, ...]:
    pipeline = replace(read_pipeline(PIPELINES_DIR / "npc_oar_gtv.toml"), image_rules={})
    reader = Reader({"planning_ct": blocks_of_bone(0.0), "contrast_ct": blocks_of_bone(moved_mm)})
    series = dict.fromkeys(reader.volumes, Series(tuple(plain_ct())))
    return doubt_images(Volumes(reader, pipeline, series), max_shift_mm=3.0)


def test_phases_that_lie_apart_are_a_finding_with_the_distance() -> None:
    (finding,) = doubts(9.0)

    assert (finding.code, finding.severity, finding.structure) == (FindingCode.PHASES_APART, Severity.CHECK, "")
    assert 8.0 < finding.numbers["largest_mm"] < 10.0
    assert finding.sentence.startswith("contrast_ct lies up to ")
    assert Finding.from_json(finding.as_json()).sentence == finding.sentence


def test_phases_in_place_are_none() -> None:
    assert doubts(0.0) == ()
