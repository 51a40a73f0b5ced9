"""Odd series of the table of cases: what the product reads from their headers, and which roles they fill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from npc_contour.adapters.dicom.read.headers import read_file
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.grouping import MR_IMAGE_STORAGE, group
from npc_contour.core.labels import mask_of_array
from npc_contour.core.quantification import nodes_of, shape_of
from npc_contour.core.roles import Candidate
from npc_contour.core.routing import route
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.pipelines import Route
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_testkit.cases import Seen
from npc_testkit.ct_headers import ct_headers

NONE_IN_THE_VESSELS = (
    *("WITHOUT CONTRAST", "NON-CONTRAST", "W/O CONTRAST", "NO IV CONTRAST", "OHNE", "OHNE KM", "KEIN KM", "NONE GIVEN"),
    *("NOT GIVEN", "UNENHANCED", "无造影剂", "ORAL", "ORAL CONTRAST", "BARIUM ORAL", "NON", "NIHIL", "SALINE"),
)
BEFORE_AND_AFTER = (
    *(("T1 AX SANS GADO", "T1 AX INJECTE"), ("AX T1 PRE GD", "AX T1 POST"), ("t1_tra_vor_Gd", "t1_tra_nach_KM")),
    *(("AX T1 NO GAD", "AX T1 POST GAD"), ("T1 TRA OHNE GD", "T1 TRA MIT GD"), ("AX T1 W/O GAD", "AX T1 W GAD")),
    *(("T1 sin contraste", "T1 con gadolinio"), ("T1 senza mdc", "T1 dopo mdc"), ("T1 平扫", "T1 增强")),
)


def contrast_order(case: Path, _work: Path) -> Seen:
    """PRE GD fills t1 and POST fills t1c, or a person is asked."""
    answer = answer_of("npc_mr_gtv", (read_file(path)[0] for path in sorted(case.rglob("*.dcm"))))
    return _filled(answer, t1="AX T1 PRE GD", t1c="AX T1 POST")


def one_echo(case: Path, _work: Path) -> Seen:
    """An echo time that jitters between slices cuts nothing."""
    headers = [read_file(path)[0] for path in sorted(case.rglob("*.dcm"))]
    aside = group(headers).excluded
    taken = {} if (answer := answer_of("npc_mr_gtv", headers)).case is None else answer.case.series
    lost = [f"{len(one.instances)} images: {one.reason}" for one in aside]
    counts = {role: len(series.instances) for role, series in taken.items()}
    wanted = {"t1c", "t1", "t2"} == set(counts) and sum(counts.values()) == len(headers)
    return Seen() if wanted else Seen((f"roles filled {counts}, excluded {lost}",), silent_wrong=bool(lost))


def agents(_case: Path, _work: Path) -> Seen:
    """No agent that denies contrast, or goes by mouth, makes a plain chest CT a contrast CT."""
    taken = []
    for agent in NONE_IN_THE_VESSELS:
        chest = ct_headers(80, body_part="CHEST", series_description="Thorax 3.0 B31f", contrast_bolus_agent=agent)
        if answer_of("mediastinal_ln", chest).case is not None:
            taken.append(agent)
    return Seen((f"taken for contrast: {taken}",), silent_wrong=True) if taken else Seen()


def words(_case: Path, _work: Path) -> Seen:
    """In every language the series before contrast fills t1 and the one after it t1c; gradient echoes fill no t2."""
    faults: list[str] = []
    for before, after in BEFORE_AND_AFTER:
        answer = answer_of("npc_mr_gtv", _study(before, after))
        faults += _filled(answer, t1=before, t1c=after).faults
    for name in ("T2W_FFE", "Ax T2 GRE", "Ax T2 MERGE", "t2_me2d_tra", "t2_fl2d_tra_hemo"):
        study = _study("t1_tse_tra", "t1_tse_tra +C", t2=(name, 16.0, 617.0, ("GR",)))
        if answer_of("npc_mr_gtv", study).case is not None:
            faults.append(f"{name} fills t2")
    return Seen(tuple(faults), silent_wrong=bool(faults))


def overlap(_case: Path, _work: Path) -> Seen:
    """A T2 beside the patient, at the same heights, is no partner."""
    study = [
        replace(header, position_lps_mm=(500.0, 500.0, (header.position_lps_mm or (0, 0, 0))[2]))
        if header.series_instance_uid == "1.2"
        else header
        for header in _study("t1_tse_tra", "t1_tse_tra +C")
    ]
    answer = answer_of("npc_mr_gtv", study)
    return Seen() if answer.case is None else Seen(("a T2 with no common voxel is taken",), silent_wrong=True)


def node_shapes(_case: Path, _work: Path) -> Seen:
    """A spur hides no node, a bridge joins none, a far voxel does not lengthen a tumour."""
    grid = Grid((24, 160, 160), (2.0, 0.5, 0.5), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    spec = RoiSpec("GTVn_Mediastinum", InterpretedType.GTV, "n", frozenset({1}), (255, 0, 0))
    z, y, x = np.meshgrid(
        *(np.arange(count) * mm for count, mm in zip(grid.shape_zyx, grid.spacing_zyx_mm, strict=True)), indexing="ij"
    )
    ball = (x - 40) ** 2 + (y - 40) ** 2 + (z - 20) ** 2 <= 7.5**2
    spur = (abs(y - 40) <= 1) & (x >= 32) & (x <= 52) & (abs(z - 28) <= 1)
    legs = ((x - 30) ** 2 + (y - 40) ** 2 <= 9) | ((x - 50) ** 2 + (y - 40) ** 2 <= 9)
    bridge = (abs(y - 40) <= 1) & (x >= 30) & (x <= 50) & (z == 22)
    far = np.zeros_like(ball)
    far[20, 150, 150] = True
    with_spur, _ = nodes_of(mask_of_array(spec, ball | spur), grid, ignore_below_mm=5.0)
    joined, _ = nodes_of(mask_of_array(spec, (legs & (z >= 10) & (z <= 22)) | bridge), grid, ignore_below_mm=5.0)
    diameter_mm = shape_of(ball | far, grid.spacing_zyx_mm).diameter_mm
    faults = [
        text
        for text, wrong in (
            (f"a ball of 15 mm with a spur: {[node.short_axis.length_mm for node in with_spur]}",
             [round(node.short_axis.length_mm) for node in with_spur] not in ([15], [16])),
            (f"two legs with a bridge: {len(joined)} nodes", len(joined) != 2),
            (f"a ball of 15 mm and a far voxel: diameter {diameter_mm:.1f} mm", abs(diameter_mm - 15) > 2.0),
        )
        if wrong
    ]  # fmt: skip
    return Seen(tuple(faults), silent_wrong=bool(faults))


def answer_of(pipeline: str, headers: Iterable[InstanceHeader]) -> Route:
    """What a pipeline would contour of these images."""
    candidates = [Candidate(series) for series in group(headers).series]
    (answer,) = route(candidates, [read_pipeline(PIPELINES_DIR / f"{pipeline}.toml")])
    return answer


def _filled(answer: Route, **wanted: str) -> Seen:
    if answer.case is None:
        return Seen() if answer.choices else Seen((f"neither contoured nor asked: {answer.reasons[0]}",))
    found = {role: answer.case.series[role].first.series_description for role in wanted}
    return Seen() if found == wanted else Seen((f"roles filled {found}, wanted {wanted}",), silent_wrong=True)


def _study(before: str, after: str, t2: tuple[str, float, float, Sequence[str]] | None = None) -> list[InstanceHeader]:
    name, echo_ms, repetition_ms, kinds = t2 or ("t2_tse_tra", 95.0, 4200.0, ("SE",))
    return [
        *_mr("1.1", before, 11.0, 600.0, ("SE",), minute=15),
        *_mr("1.2", name, echo_ms, repetition_ms, kinds, minute=20),
        *_mr("1.3", after, 11.0, 620.0, ("SE",), minute=30),
    ]


def _mr(
    uid: str, name: str, echo_ms: float, repetition_ms: float, kinds: Sequence[str], *, minute: int
) -> list[InstanceHeader]:
    return ct_headers(
        24,
        gap_mm=5.0,
        uid=uid,
        sop_class_uid=MR_IMAGE_STORAGE,
        modality="MR",
        rows=256,
        columns=256,
        pixel_spacing_mm=(0.9, 0.9),
        image_type=("ORIGINAL", "PRIMARY", "OTHER"),
        scanning_sequence=tuple(kinds),
        echo_time_ms=echo_ms,
        repetition_time_ms=repetition_ms,
        series_description=name,
        acquired_at=datetime(2026, 1, 2, 10, minute),  # noqa: DTZ001  scanners write local time
    )
