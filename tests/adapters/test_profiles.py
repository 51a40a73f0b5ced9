"""Every profile that comes with the product suits every pipeline; a wrong one is refused with all reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from npc_contour.adapters.profiles import PROFILES_DIR, profile_path, read_profile
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.domain.pipelines import Pipeline
from npc_contour.domain.profiles import GENERIC, DerivedRoi, Margin, RoiOverride
from npc_contour.domain.structures import InterpretedType
from npc_contour.errors import SettingsError


def pipelines() -> list[Pipeline]:
    return [read_pipeline(path) for path in sorted(PIPELINES_DIR.glob("*.toml"))]


@pytest.mark.parametrize("path", sorted(PROFILES_DIR.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_profiles_suit_every_pipeline(path: Path) -> None:
    profile = read_profile(path, pipelines())

    assert profile.name == path.stem


def test_the_five_systems_are_there() -> None:
    names = {path.stem for path in PROFILES_DIR.glob("*.toml")}

    assert names == {"generic", "eclipse", "raystation", "monaco", "pinnacle"}


def test_the_generic_file_is_the_default() -> None:
    assert read_profile(profile_path("generic")) == GENERIC


def test_overrides_and_derived_rois_are_read(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(
        """
name = "site"
title = "Our clinic"
[override.Brainstem]
name = "BrainStem"
colour = [1, 2, 3]
[[derived]]
name = "SpinalCord_PRV5"
type = "ORGAN"
colour = [9, 9, 9]
union_of = ["SpinalCord"]
margin_mm = 5
""",
        encoding="utf-8",
    )
    oar = next(pipeline for pipeline in pipelines() if pipeline.name == "npc_oar_gtv")

    profile = read_profile(path, [oar])

    assert profile.overrides == {"Brainstem": RoiOverride("BrainStem", None, (1, 2, 3))}
    expected = DerivedRoi(
        name="SpinalCord_PRV5", interpreted_type=InterpretedType.ORGAN, colour_rgb=(9, 9, 9), union_of=("SpinalCord",)
    )
    assert profile.derived == (replace(expected, margin=Margin.same(5.0)),)


def derived_with(margin: str) -> str:
    return (
        'name = "x"\ntitle = "X"\n[[derived]]\nname = "PTV"\ntype = "PTV"\ncolour = [9, 9, 9]\nunion_of = ["GTVp"]\n'
        f"margin_mm = {{ {margin} }}\n"
    )


def test_a_margin_may_differ_by_direction(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(derived_with("left = 5, right = 4, anterior = 8, posterior = 3, superior = 6, inferior = 0"))

    (roi,) = read_profile(path, []).derived

    assert roi.margin == Margin(left=5, right=4, anterior=8, posterior=3, superior=6, inferior=0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name = "x"\ntitle = "X"\nhole = "keyhole"\n', "hole: Extra inputs are not permitted"),
        ('name = "x"\ntitle = "X"\nholes = "xor"\n', "holes: Input should be 'keyhole' or 'parity'"),
        ('name = "x"\ntitle = "X"\nmax_points = 5000\n', "max_points: Input should be less than or equal to 2000"),
        ('name = "x"\ntitle = "X"\nlabel = "{label} by our clinic"\n', "characters, 16 are allowed"),
        (
            'name = "x"\ntitle = "X"\n[[derived]]\nname = "A"\ntype = "PTV"\ncolour = [9, 9, 9]\n',
            "union_of names no ROI, and of_body is not set",
        ),
        (derived_with("left = 5, right = 4"), "margin_mm.anterior: Field required"),
        (
            derived_with("left = 5, right = 4, anterior = 8, posterior = 3, superior = 6, inferior = -1"),
            "a margin grows or shrinks, it cannot do both",
        ),
        ('name = "x"\ntitle = "X"\nrois = ["Nose"]\n', "rois names Nose, which no pipeline has"),
        ('name = "x"\ntitle = "X"\nmax_name_length = 8\n', "characters, 8 are allowed"),
        ("name = 'x", "site.toml: "),
    ],
)
def test_a_wrong_profile_is_refused_with_reasons(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match=reason):
        read_profile(path, pipelines())


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="not one of eclipse, generic, monaco, pinnacle, raystation"):
        profile_path("xio")
