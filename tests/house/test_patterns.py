r"""No text keeps a pattern busy; what cannot be matched in linear time is refused in words; \w knows all letters."""

from __future__ import annotations

import re
import time

import pytest

from npc_contour.patterns import SUPPORTED, check_pattern, first_match

UNLUCKY = "THORAX_NATIVE_WITHOUT_CONTRAST_5_0_B31f -"


@pytest.mark.parametrize(
    "pattern", [r"^(\w+\s?)+$", r"^(a|a)*$", r"(.*)*x{3}$", r"^(\w*_?)*!$", r"((a{1,30}){1,30})*$"], ids=str
)
def test_no_text_keeps_a_pattern_busy(pattern: str) -> None:
    began = time.process_time()
    for text in (UNLUCKY, UNLUCKY * 200, "a" * 10_000 + "-"):
        first_match(check_pattern(pattern), text)

    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("pattern", ["(?=KM)", "(?<!ohne )KM", r"(a)\1", "a++", "(?>a)", "(", "a{1001}", "[z-a]"])
def test_what_cannot_be_matched_is_refused_with_what_can(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(pattern))) as caught:
        check_pattern(pattern)

    assert SUPPORTED in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "text", "part"),
    [
        ("neck|NPC|鼻咽", "Neck 1.0 Br40", "Neck"),
        ("neck|NPC|鼻咽", "平扫鼻咽部", "鼻咽"),
        ("bone|sharp", "soft tissue", None),
        (r"^\w+ nativ$", "Schädel nativ", "Schädel nativ"),
        (r"[\w-]+$", "HALS SPÄT-VENÖS", "SPÄT-VENÖS"),
        (r"a\Wb", "aäb a b", "a b"),
        (r"[]x]", "a]", "]"),
        ("", "anything", ""),
        ("spät", "SPÄT", "SPÄT"),
        ("x", "\udce4x", "x"),
        (r"\bkm\b", "nach KM art.", "KM"),
    ],
)
def test_first_match(pattern: str, text: str, part: str | None) -> None:
    assert first_match(check_pattern(pattern), text) == part


def test_a_word_boundary_beside_another_script_is_refused_for_it_would_never_match() -> None:
    with pytest.raises(ValueError, match="ASCII letters apart only"):
        check_pattern(r"\bspä\b")
