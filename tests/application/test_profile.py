"""A site's profile decides which ROIs a case's structure set has, in what order, and which are derived."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npc_contour.application.artefacts import SEGMENTATION, Artefacts
from npc_contour.domain.jobs import CaseState, Deliverable
from npc_contour.domain.profiles import GENERIC, ContourSource, DerivedRoi, Margin, RoiOverride
from npc_contour.domain.structures import InterpretedType, StructureSet
from npc_contour.errors import GateError
from npc_contour.store.database import Store
from npc_testkit.bench import LOOPBACK, Bench, contrast_ct, plain_ct


def names(structure_set: StructureSet) -> list[str]:
    return [roi.spec.name for roi in structure_set.rois]


def test_the_profile_shapes_every_structure_set(store: Store) -> None:
    bench = Bench(store)
    margin = DerivedRoi(
        name="Brainstem_PRV03",
        interpreted_type=InterpretedType.ORGAN,
        colour_rgb=(1, 2, 3),
        union_of=("Brainstem",),
        margin=Margin.same(3.0),
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


@pytest.mark.parametrize(
    ("source", "fault", "written", "reach_px"),
    [
        (ContourSource.MARGINS, None, "margins", 1 / 3),
        (ContourSource.MASKS, None, "masks", 0.495),
        (ContourSource.MARGINS, GateError("GTVp reads back with Dice 0.9"), "masks", 0.495),
    ],
)
def test_contours_run_where_the_network_changes_its_mind_unless_the_gate_or_the_site_objects(
    store: Store, source: ContourSource, fault: GateError | None, written: str, reach_px: float
) -> None:
    bench = Bench(store)
    bench.writer.profile = replace(GENERIC, contour_source=source)
    bench.writer.failures = [fault] if fault else []

    bench.receive(plain_ct())
    bench.work_for(15)

    case = bench.case("ln_ctv")
    assert case.state is CaseState.SENT
    report = Artefacts(bench.store, bench.spool, case.case_id).report()
    assert report["contour_source"] == written
    assert report["profile"] == bench.writer.profile.name
    (structure_set,) = bench.writer.written
    (width_mm,) = {
        round(float(np.ptp(contour.points_lps_mm[:, 0])), 2) for roi in structure_set.rois for contour in roi.contours
    }
    spacing_mm = plain_ct()[0].pixel_spacing_mm
    assert spacing_mm is not None
    assert width_mm == pytest.approx((4 + 2 * reach_px) * spacing_mm[1], rel=0.01)


@pytest.mark.parametrize(("segmentations", "objects"), [(True, 2), (False, 1)])
def test_voxels_go_where_they_are_wanted_and_do_not_hold_the_case_up(
    store: Store, *, segmentations: bool, objects: int
) -> None:
    bench = Bench(store, destinations=(replace(LOOPBACK, segmentations=segmentations),))
    bench.writer.segmentation = True

    bench.receive(plain_ct())
    bench.work_for(15)

    case = bench.case("ln_ctv")
    assert case.state is CaseState.SENT
    assert bench.spool.exists(Artefacts(bench.store, bench.spool, case.case_id).key(SEGMENTATION))
    with store.transaction() as tx:
        sent = {delivery.what: delivery.sop_instance_uid for delivery in tx.deliveries(case.case_id)}
    assert len(bench.sender.sent) == len(sent) == objects
    if segmentations:
        assert sent[Deliverable.SEGMENTATION] == sent[Deliverable.RTSTRUCT] + ".1"
