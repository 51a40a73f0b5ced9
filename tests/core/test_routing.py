"""A study gets a route or a refusal with every reason; no series fills two roles, no choice is made by chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.evidence import SiteWords
from npc_contour.core.roles import Candidate, Knowledge
from npc_contour.core.routing import route
from npc_contour.domain.pipelines import Contrast, Pipeline, Role, Route, Weighting
from npc_contour.domain.series import Series
from npc_testkit.ct_headers import ct_headers, ct_series

BODY = ("HEAD", "NECK", "HEADNECK", "HEAD AND NECK")


def role(name: str, contrast: Contrast, **changes: Any) -> Role:
    return replace(
        Role(name=name, modality="CT", contrast=contrast, body_parts=BODY, exclude_pattern="bone"), **changes
    )


def pipeline(name: str, *roles: Role) -> Pipeline:
    return Pipeline(name=name, title="", label="L", planning_role="planning_ct", roles=roles, networks=(), rois=())


PAIR = pipeline("oar", role("contrast_ct", Contrast.PRESENT), role("planning_ct", Contrast.ABSENT))
EITHER = pipeline("ctv", role("planning_ct", Contrast.ANY))


def plain(uid: str = "1.2.1", **changes: Any) -> Candidate:
    return Candidate(ct_series(uid=uid, **{"series_description": "plain", "series_number": 2, **changes}))


def enhanced(uid: str = "1.2.2", **changes: Any) -> Candidate:
    fields = {"series_description": "CE", "series_number": 3, "contrast_bolus_agent": "ULTRAVIST", **changes}
    return Candidate(ct_series(uid=uid, **fields))


def chosen(answer: Route) -> dict[str, str]:
    assert answer.case is not None, answer.reasons
    return {name: series.series_instance_uid for name, series in answer.case.series.items()}


def test_a_pair_fills_both_roles_and_the_single_role_takes_the_one_without_contrast() -> None:
    oar, ctv = route([enhanced(), plain()], [PAIR, EITHER])

    assert chosen(oar) == {"planning_ct": "1.2.1", "contrast_ct": "1.2.2"}
    assert chosen(ctv) == {"planning_ct": "1.2.1"}
    assert oar.waiting_for == ctv.waiting_for == ()
    assert any("without contrast" in reason for reason in oar.reasons)
    assert any("contrast-enhanced" in reason for reason in oar.reasons)


def test_half_a_pair_waits_for_the_other_and_says_which() -> None:
    (oar,) = route([plain()], [PAIR])

    assert oar.case is None
    assert oar.waiting_for == ("contrast_ct",)
    assert "oar waits for contrast_ct: a contrast-enhanced CT series" in oar.reasons[0]
    assert any("a contrast-enhanced series is asked" in reason for reason in oar.reasons)


def test_the_other_half_waits_likewise() -> None:
    (oar,) = route([enhanced()], [PAIR])

    assert oar.waiting_for == ("planning_ct",)


def test_either_phase_alone_runs_and_a_better_one_may_still_come() -> None:
    alone_plain, alone_enhanced = route([plain()], [EITHER])[0], route([enhanced()], [EITHER])[0]

    assert chosen(alone_plain) == {"planning_ct": "1.2.1"}
    assert alone_plain.waiting_for == ()
    assert chosen(alone_enhanced) == {"planning_ct": "1.2.2"}
    assert alone_enhanced.waiting_for == ("planning_ct",)


def test_different_frames_of_reference_are_no_pair() -> None:
    (oar,) = route([plain(), enhanced(frame_of_reference_uid="1.2.88")], [PAIR])

    assert oar.case is None
    assert oar.waiting_for == ("contrast_ct",)
    assert any("different frames of reference (1.2.9 and 1.2.88)" in reason for reason in oar.reasons)


def test_a_partner_that_covers_little_is_no_partner() -> None:
    far = [
        replace(h, position_lps_mm=(-256.0, -256.0, 60.0 + 3 * i)) for i, h in enumerate(enhanced().series.instances)
    ]

    (oar,) = route([plain(), Candidate(Series(tuple(far)))], [PAIR])

    assert oar.case is None
    assert any("covers 17% of" in reason for reason in oar.reasons)


def test_two_of_a_kind_are_for_a_person_to_choose() -> None:
    for pipe in (PAIR, EITHER):
        (answer,) = route([plain(), plain("1.2.5"), enhanced()], [pipe])

        assert answer.case is None
        assert answer.waiting_for == ()
        assert "more than one choice" in answer.reasons[0]


def test_a_rule_of_the_site_settles_the_choice() -> None:
    rule = pipeline(
        "oar",
        role("planning_ct", Contrast.ABSENT, description_pattern="^PLAN"),
        role("contrast_ct", Contrast.PRESENT, description_pattern="^CE"),
    )
    contradictory = plain("1.2.7", series_description="PLAN CE", contrast_bolus_agent="")

    (oar,) = route([contradictory, plain(), enhanced()], [rule])

    assert chosen(oar) == {"planning_ct": "1.2.7", "contrast_ct": "1.2.2"}


def test_one_series_never_fills_two_roles() -> None:
    both = pipeline("x", role("planning_ct", Contrast.ANY), role("second", Contrast.ANY))

    (answer,) = route([plain()], [both])

    assert answer.case is None
    assert any("cannot fill two roles" in reason for reason in answer.reasons)


def test_every_reason_of_a_refusal_is_given() -> None:
    asked = replace(
        EITHER.roles[0], called_ae_titles=("NPC_ONLY",), description_pattern="NPC", max_slice_spacing_mm=2.0
    )
    wrong = ct_series(
        30, uid="1.3", modality="MR", body_part="ABDOMEN", series_description="bone", pixel_spacing_mm=(2.5, 2.5)
    )

    (answer,) = route([Candidate(wrong, "OTHER")], [pipeline("ctv", asked)])

    text = "\n".join(answer.reasons)
    assert answer.case is None
    assert answer.waiting_for == ()
    for reason in (
        "modality is MR, CT is asked",
        "sent to AE title 'OTHER', NPC_ONLY is asked",
        "body part is 'ABDOMEN'",
        "description 'bone' does not match 'NPC'",
        "contains 'bone', which is excluded",
        "30 slices, at least 40 are asked",
        "slices are 3.00 mm apart, at most 2.00 mm is taken",
        "pixels are 2.50 mm wide, at most 2.00 mm is taken",
    ):
        assert reason in text


def test_an_irregular_series_is_refused_with_its_geometry() -> None:
    headers = ct_headers(60)
    del headers[20]

    (answer,) = route([Candidate(Series(tuple(headers)))], [EITHER])

    assert any("no regular stack: gap of 6.00 mm after slice 20" in reason for reason in answer.reasons)


@pytest.mark.parametrize("body_part", ["", "Head and Neck", "HEAD_NECK", "HEADNECK", "neck"])
def test_body_parts_are_compared_as_words(body_part: str) -> None:
    (answer,) = route([plain(body_part=body_part)], [pipeline("ctv", role("planning_ct", Contrast.ANY))])

    assert answer.case is not None


def test_contradictory_evidence_is_shown() -> None:
    (answer,) = route([plain(contrast_bolus_agent="ULTRAVIST"), enhanced()], [PAIR])

    assert answer.case is None
    assert any("contrast unknown" in reason for reason in answer.reasons)


def test_an_optional_role_is_filled_when_just_one_series_suits() -> None:
    optional = pipeline(
        "x", role("planning_ct", Contrast.ABSENT), role("contrast_ct", Contrast.PRESENT, required=False)
    )

    one, none, two = (
        route(study, [optional])[0]
        for study in ([plain(), enhanced()], [plain()], [plain(), enhanced(), enhanced("1.2.6")])
    )

    assert set(chosen(one)) == {"planning_ct", "contrast_ct"}
    assert set(chosen(none)) == set(chosen(two)) == {"planning_ct"}
    assert any("more than one series suits" in reason for reason in two.reasons)


def test_verdicts_name_every_series_and_role() -> None:
    (oar,) = route([plain(), enhanced()], [PAIR])

    assert {(v.series_instance_uid, v.role, v.accepted) for v in oar.verdicts} == {
        ("1.2.1", "planning_ct", True),
        ("1.2.1", "contrast_ct", False),
        ("1.2.2", "planning_ct", False),
        ("1.2.2", "contrast_ct", True),
    }


def test_an_empty_study_is_refused() -> None:
    (answer,) = route([], [PAIR])

    assert answer.case is None
    assert answer.reasons


def mr(uid: str, description: str, **changes: Any) -> Candidate:
    fields = {"modality": "MR", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4", "series_description": description}
    return Candidate(ct_series(28, gap_mm=5.0, uid=uid, **{**fields, **changes}))


def mr_role(name: str, weighting: Weighting, contrast: Contrast) -> Role:
    return Role(
        name=name, modality="MR", contrast=contrast, weighting=weighting, min_slices=15, max_slice_spacing_mm=8.0
    )


MR_ROLES = (
    mr_role("t1", Weighting.T1, Contrast.ABSENT),
    mr_role("t2", Weighting.T2, Contrast.ANY),
    mr_role("t1c", Weighting.T1, Contrast.PRESENT),
)
THREE = replace(pipeline("npc_mr", *MR_ROLES), planning_role="t1c")
MR_STUDY = (
    mr("1.3.1", "t1_tse_tra"),
    mr("1.3.2", "t2_tse_tra"),
    mr("1.3.3", "t1_tse_fs_tra +C", contrast_bolus_agent="GADOVIST"),
)


def test_three_mr_sequences_find_their_roles() -> None:
    (answer,) = route([*MR_STUDY, mr("1.3.4", "ep2d_diff_ADC"), plain()], [THREE])

    assert chosen(answer) == {"t1": "1.3.1", "t2": "1.3.2", "t1c": "1.3.3"}
    assert answer.case is not None
    assert answer.case.planning == "t1c"
    assert any("MR T1, fat suppressed" in reason for reason in answer.reasons)


def test_a_missing_sequence_is_waited_for_by_name() -> None:
    (answer,) = route(MR_STUDY[:2], [THREE])

    assert answer.waiting_for == ("t1c",)
    assert "a contrast-enhanced T1 MR series" in answer.reasons[0]


def test_of_two_t1_a_site_takes_the_one_with_dark_fat() -> None:
    two = (*MR_STUDY, mr("1.3.5", "t1_vibe_tra", contrast_bolus_agent="GADOVIST"))
    dark = replace(THREE, roles=(*MR_ROLES[:2], replace(MR_ROLES[2], fat_suppressed=True)))

    undecided, decided = route(two, [THREE, dark])

    assert undecided.case is None
    assert chosen(decided)["t1c"] == "1.3.3"


def test_a_coronal_series_fills_no_role_that_asks_for_axial_slices() -> None:
    images = mr("1.3.6", "t1_tse_fs +C", contrast_bolus_agent="GADOVIST").series.instances
    coronal = [
        replace(h, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0), position_lps_mm=(0.0, 5.0 * i, 0.0))
        for i, h in enumerate(images)
    ]
    axial = replace(THREE, roles=(*MR_ROLES[:2], replace(MR_ROLES[2], plane="axial")))

    (answer,) = route([*MR_STUDY, Candidate(Series(tuple(coronal)))], [axial])

    assert chosen(answer)["t1c"] == "1.3.3"
    assert any("the slices lie coronal, axial is asked" in r for v in answer.verdicts for r in v.reasons)


def test_the_mr_pipeline_plans_on_axial_slices_where_a_study_has_all_planes() -> None:
    packaged = read_pipeline(PIPELINES_DIR / "npc_mr_gtv.toml")
    sagittal = [
        replace(
            h, series_instance_uid="1.3.7", orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0), position_lps_mm=(5.0 * i, 0, 0)
        )
        for i, h in enumerate(MR_STUDY[0].series.instances)
    ]

    (answer,) = route([*MR_STUDY, Candidate(Series(tuple(sagittal)))], [packaged])

    assert chosen(answer) == {"t1": "1.3.1", "t2": "1.3.2", "t1c": "1.3.3"}


def test_series_of_two_patients_are_no_pair_and_neither_is_taken_by_chance() -> None:
    other = enhanced(patient_id="OTHER")

    pair, either = route([plain(), other], [PAIR, EITHER])

    assert pair.case is either.case is None
    assert any("mixed patients: 2 Patient IDs" in reason for reason in pair.reasons)
    assert len(either.choices) == 2


@pytest.mark.parametrize(
    ("first_slice", "change", "is_part"),
    [(60, {}, True), (50, {}, True), (62, {}, False), (0, {}, False), (60, {"frame_of_reference_uid": "1.9"}, False)],
)
def test_the_other_part_of_a_scan_is_for_a_person(first_slice: int, change: dict[str, Any], *, is_part: bool) -> None:
    scan = ct_headers(80, uid="1.2.1", series_description="plain")
    rest = [replace(h, series_instance_uid="1.2.5", **change) for h in scan[first_slice:][: 25 if first_slice else 60]]

    (answer,) = route([Candidate(Series(tuple(scan[:60]))), Candidate(Series(tuple(rest[:15])))], [EITHER])

    assert any("look like two parts of one scan" in reason for reason in answer.reasons) is is_part
    assert (answer.case is None) is is_part


def test_a_partner_beside_the_patient_covers_nothing() -> None:
    beside = [
        replace(h, position_lps_mm=(244.0, 244.0, (h.position_lps_mm or (0, 0, 0))[2]))
        for h in enhanced().series.instances
    ]

    (oar,) = route([plain(), Candidate(Series(tuple(beside)))], [PAIR])

    assert oar.case is None
    assert any("covers 0% of" in reason for reason in oar.reasons)


def test_a_derived_series_is_used_by_a_site_s_word_or_a_person_s() -> None:
    vmi = plain(image_type=("DERIVED", "PRIMARY", "AXIAL", "VMI"), series_description="neck plain 70 keV")
    derived = replace(
        vmi, series=replace(vmi.series, derived=r"derived from other images (Image Type DERIVED\PRIMARY)")
    )
    by_site = [Knowledge(SiteWords(take_derived=(pattern,))) for pattern in ("70 ?kev", "^VMI$", "iMAR")]
    by_person = Knowledge(assigned={"ctv": {"planning_ct": "1.2.1"}})

    unsaid, *said, other = (route([derived], [EITHER], known)[0] for known in (Knowledge(), by_person, *by_site))

    assert unsaid.case is None
    assert other.case is None
    assert any("take_derived" in reason for reason in unsaid.reasons)
    assert [chosen(answer) for answer in said] == [{"planning_ct": "1.2.1"}] * 3
    assert all(any("derived from other images" in reason for reason in answer.reasons) for answer in said)


def test_beside_an_original_series_a_derived_one_asks_nobody() -> None:
    vmi = plain("1.2.7")

    (ctv,) = route([plain(), replace(vmi, series=replace(vmi.series, derived="reformatted"))], [EITHER])

    assert chosen(ctv) == {"planning_ct": "1.2.1"}
