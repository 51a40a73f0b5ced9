"""Contrast is judged from every source; contradiction gives "unknown", never a guess."""

from __future__ import annotations

from datetime import datetime

import pytest

from npc_contour.core.evidence import contrast_of, with_acquisition_order
from npc_contour.domain.pipelines import Contrast
from npc_testkit.ct_headers import ct_series

YES, NO = Contrast.PRESENT, Contrast.ABSENT


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("HN CE 3mm", YES),
        ("HEAD_NECK_CE", YES),
        ("Neck C+", YES),
        ("NPC +C", YES),
        ("with contrast", YES),
        ("POST CONTRAST", YES),
        ("enhanced", YES),
        ("头颈部增强", YES),
        ("鼻咽 增强扫描 3mm", YES),
        ("靜脈 增強", YES),
        ("动脉期", YES),
        ("鼻咽部平扫", NO),
        ("未增强", NO),
        ("平扫+定位", NO),
        ("non contrast", NO),
        ("Non-Contrast HN", NO),
        ("noncontrast", NO),
        ("W/O", NO),
        ("w/o contrast", NO),
        ("WO CONTRAST", NO),
        ("without contrast", NO),
        ("no contrast", NO),
        ("unenhanced", NO),
        ("pre-contrast", NO),
        ("NECK C-", NO),
        ("NCCT", NO),
        ("plain", NO),
        ("HEAD NECK 3.0 STD", None),
        ("C-SPINE", None),
        ("C1-C7", None),
        ("PLANNING FACE MASK", None),
        ("w/wo contrast", None),
    ],
)
def test_words_of_descriptions(description: str, phase: Contrast | None) -> None:
    finding = contrast_of(ct_series(4, series_description=description))

    spoken = [item.says for item in finding.evidence if "description" in item.text]
    assert spoken == ([] if phase is None else [phase])


def test_chinese_declared_as_latin_1_is_read_all_the_same() -> None:
    garbled = "鼻咽增强".encode("gb18030").decode("latin-1")

    assert contrast_of(ct_series(4, series_description=garbled)).phase is YES


@pytest.mark.parametrize(
    ("agent", "description", "phase"),
    [
        ("OMNIPAQUE 300", "HN", YES),
        ("", "HN", NO),
        ("NONE", "HN", NO),
        ("无", "HN", NO),
        ("", "HN CE", YES),
        ("OMNIPAQUE", "HN CE", YES),
        ("OMNIPAQUE", "平扫", None),
        ("NO", "CE", None),
    ],
)
def test_agent_and_description_together(agent: str, description: str, phase: Contrast | None) -> None:
    finding = contrast_of(ct_series(4, contrast_bolus_agent=agent, series_description=description))

    assert finding.phase is phase
    assert "Contrast/Bolus Agent" in finding.sentence


def test_unknown_is_said_with_both_sides() -> None:
    sentence = contrast_of(ct_series(4, contrast_bolus_agent="ULTRAVIST", series_description="平扫")).sentence

    assert sentence.startswith("contrast unknown")
    assert "ULTRAVIST" in sentence
    assert "平扫" in sentence


def test_the_earlier_of_a_pair_is_the_one_without_contrast() -> None:
    times = [datetime(2026, 1, 2, 10, minute) for minute in (10, 14)]  # noqa: DTZ001
    unknown = ct_series(4, uid="1.1", protocol_name="neck contrast", acquired_at=times[0])
    enhanced = ct_series(4, uid="1.2", contrast_bolus_agent="ULTRAVIST", acquired_at=times[1])
    pair = [unknown, enhanced]
    findings = [contrast_of(series) for series in pair]

    heard = with_acquisition_order(pair, findings)

    assert findings[0].phase is None
    assert heard[0].phase is NO
    assert "acquired 4 min before the contrast series" in heard[0].sentence
    assert heard[1] == findings[1]


def test_time_says_nothing_across_frames_of_reference() -> None:
    times = [datetime(2026, 1, 2, 10, minute) for minute in (10, 14)]  # noqa: DTZ001
    unknown = ct_series(4, uid="1.1", protocol_name="contrast", acquired_at=times[0], frame_of_reference_uid="1.8")
    enhanced = ct_series(4, uid="1.2", contrast_bolus_agent="ULTRAVIST", acquired_at=times[1])
    pair = [unknown, enhanced]

    heard = with_acquisition_order(pair, [contrast_of(series) for series in pair])

    assert heard[0].phase is None


@pytest.mark.parametrize(
    "agent", ["WITHOUT CONTRAST", "NONE GIVEN", "OHNE KM", "NO IV CONTRAST", "无造影剂", "ORAL", "BARIUM ORAL"]
)
def test_an_agent_that_is_none_in_the_vessels(agent: str) -> None:
    assert contrast_of(ct_series(4, contrast_bolus_agent=agent, series_description="Thorax 3.0")).phase is NO


def test_an_agent_by_mouth_is_told_by_its_route() -> None:
    finding = contrast_of(
        ct_series(4, contrast_bolus_agent="OMNIPAQUE", contrast_bolus_route="PO", series_description="Thorax")
    )

    assert finding.phase is NO
    assert "not in the vessels" in finding.sentence


def test_a_lone_word_against_a_weaker_one_is_unknown() -> None:
    finding = contrast_of(ct_series(4, series_description="PLAIN", protocol_name="NECK W CONTRAST"))

    assert finding.phase is None


def test_contrast_cannot_be_taken_back() -> None:
    times = [datetime(2026, 1, 2, 10, minute) for minute in (10, 14)]  # noqa: DTZ001
    pair = [
        ct_series(4, uid="1.1", series_description="POST", acquired_at=times[0]),
        ct_series(4, uid="1.2", series_description="PRE", acquired_at=times[1]),
    ]

    heard = with_acquisition_order(pair, [contrast_of(series) for series in pair])

    assert [finding.phase for finding in heard] == [None, None]
