"""An MR sequence is known by its times and its names; where they contradict each other it is unknown.

Header values are those that scanners of the three large vendors write.
"""

from __future__ import annotations

from typing import Any

import pytest

from npc_contour.core.mr_sequences import Part, part_of, sequence_of
from npc_contour.domain.pipelines import Weighting
from npc_testkit.ct_headers import ct_header

T1, T2, PD, FLAIR, OTHER = Weighting.T1, Weighting.T2, Weighting.PD, Weighting.FLAIR, Weighting.OTHER
SE: dict[str, Any] = {"scanning_sequence": ("SE",), "sequence_variant": ("SK", "SP", "OSP")}


def times(echo_ms: float, repetition_ms: float, inversion_ms: float | None = None, *kinds: str) -> dict[str, Any]:
    return {
        "echo_time_ms": echo_ms,
        "repetition_time_ms": repetition_ms,
        "inversion_time_ms": inversion_ms,
        "scanning_sequence": kinds or ("SE",),
    }


@pytest.mark.parametrize(
    ("description", "change", "weighting", "fat"),
    [
        ("t1_tse_tra_320", times(9.6, 650), T1, False),
        ("t1_tse_fs_tra +C", times(10, 720), T1, True),
        ("Ax T1 FS+C", {**times(7.8, 617), "scan_options": ("FAST_GEMS", "FS")}, T1, True),
        ("T1W_TSE_SPIR", times(18, 580), T1, True),
        ("t2_tse_tra", times(86, 4200), T2, False),
        ("T2W_TSE_SPAIR_TRA", times(80, 3500), T2, True),
        ("OAx T2 fs", {**times(68, 5100), "scan_options": ("FS",)}, T2, True),
        ("t2_tirm_tra", times(60, 4500, 220, "SE", "IR"), T2, True),
        ("t2_space_dark-fluid", times(390, 5000, 1800, "SE", "IR"), FLAIR, False),
        ("Ax T1 FLAIR", times(24, 2050, 860, "SE", "IR"), T1, False),
        ("t1_mprage_sag", times(2.98, 2300, 900, "GR", "IR"), T1, False),
        ("t1_vibe_fs_tra_dyn", times(1.8, 4.6, None, "GR"), T1, True),
        ("3D_T1_THRIVE_CE", times(2.1, 4.4, None, "GR"), T1, False),
        ("pd_tse_tra", times(20, 3000), PD, False),
        ("ep2d_diff_b50_800_ADC", times(62, 5200, None, "EP"), OTHER, False),
        ("鼻咽 T1 压脂增强", times(11, 600), T1, True),
        ("T2加权 轴位", times(90, 4000), T2, False),
        ("", times(12, 550), T1, False),
        ("", times(95, 4000), T2, False),
        ("AX SERIES 5", {}, None, False),
        ("NECK", times(50, 1300), None, False),
        ("t1_tse_tra", times(95, 4000), None, False),
    ],
)
def test_sequences(description: str, change: dict[str, Any], weighting: Weighting | None, fat: bool) -> None:  # noqa: FBT001
    found = sequence_of(ct_header(modality="MR", series_description=description, **change))

    assert (found.weighting, found.fat_suppressed) == (weighting, fat), found.sentence


def test_a_diffusion_map_is_nothing_else_whatever_its_times_say() -> None:
    header = ct_header(modality="MR", image_type=("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), **times(95, 4000))

    assert sequence_of(header).weighting is OTHER


@pytest.mark.parametrize(
    ("image_type", "description", "part"),
    [
        (("DERIVED", "PRIMARY", "DIXON", "WATER"), "t1_vibe_dixon_tra_W", Part.WATER),
        (("ORIGINAL", "PRIMARY", "W_FFE", "W", "FFE"), "mDIXON", Part.WATER),
        (("ORIGINAL", "PRIMARY", "IP", "M", "FFE"), "mDIXON", Part.IN_PHASE),
        (("DERIVED", "PRIMARY", "DIXON", "OUT_PHASE"), "LAVA FLEX", Part.OPPOSED),
        (("DERIVED", "PRIMARY", "OTHER"), "WATER: AX T1 LAVA FLEX", Part.WATER),
        (("DERIVED", "PRIMARY", "OTHER"), "FAT: AX T1 IDEAL", Part.FAT),
        (("ORIGINAL", "PRIMARY", "M", "ND"), "t1_vibe_dixon_opp", Part.OPPOSED),
        (("ORIGINAL", "PRIMARY", "M", "ND", "NORM"), "t1_tse_tra", Part.WHOLE),
        (("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"), "T2W_TSE_F", Part.WHOLE),
        (("ORIGINAL", "PRIMARY", "R_SE", "R", "SE"), "T1W_IR", Part.PHASE),
        (("ORIGINAL", "PRIMARY", "M", "ND"), "T1 VIBE TRA NO FAT", Part.WHOLE),
        (("ORIGINAL", "PRIMARY", "M", "ND"), "T1 VIBE TRA POST OP", Part.WHOLE),
    ],
)
def test_parts(image_type: tuple[str, ...], description: str, part: Part) -> None:
    assert part_of(ct_header(modality="MR", image_type=image_type, series_description=description)) is part


def test_the_water_part_has_dark_fat() -> None:
    header = ct_header(modality="MR", image_type=("DERIVED", "PRIMARY", "DIXON", "WATER"), **times(2, 6, None, "GR"))

    assert sequence_of(header).fat_suppressed


def test_the_verdict_names_every_source() -> None:
    found = sequence_of(
        ct_header(modality="MR", series_description="T2 TSE", protocol_name="NPC T1", **times(90, 4000))
    )

    assert found.sentence == (
        "MR T2 (the series description 'T2 TSE' says T2; the protocol name 'NPC T1' says T1; TE 90, TR 4000 ms says T2)"
    )
