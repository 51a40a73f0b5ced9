"""A site's profile decides which ROIs a case's structure set has, in what order, and which are derived."""

from __future__ import annotations

from dataclasses import replace

from npc_contour.adapters.store.database import PgStore
from npc_contour.domain.profiles import GENERIC, DerivedRoi, RoiOverride
from npc_contour.domain.structures import InterpretedType, StructureSet
from npc_testkit.bench import Bench, contrast_ct, plain_ct


def names(structure_set: StructureSet) -> list[str]:
    return [roi.spec.name for roi in structure_set.rois]


def test_the_profile_shapes_every_structure_set(store: PgStore) -> None:
    bench = Bench(store)
    margin = DerivedRoi(
        name="Brainstem_PRV03",
        interpreted_type=InterpretedType.ORGAN,
        colour_rgb=(1, 2, 3),
        union_of=("Brainstem",),
        margin_mm=3.0,
    )
    bench.writer.profile = replace(
        GENERIC,
        derived=(margin,),
        rois=("GTVp", "Brainstem_PRV03", "Brainstem"),
        overrides={"GTVp": RoiOverride("GTV_70")},
    )

    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(15)

    organs, nodes = sorted(bench.writer.written, key=lambda content: len(content.rois))
    assert names(organs) == ["GTV_70", "Brainstem_PRV03", "Brainstem"]
    assert organs.rois[1].volume_cc > organs.rois[2].volume_cc
    assert len(nodes.rois) == 6
