"""What is usual of each structure and of the images, read from `plausibility.toml` and `image_rules.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from npc_contour.domain.findings import ImageRule, ImageRules, StructureRule
from npc_contour.errors import CatalogError

RULES = Path(__file__).with_suffix(".toml")
IMAGE_RULES = Path(__file__).with_name("image_rules.toml")
Bounds = tuple[float, float]


class _RuleFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    volume_cc: Bounds | None = None
    hu: Bounds | None = None
    noise_hu: Annotated[float, Field(gt=0)] | None = None
    place_lps_mm: tuple[float, float, float] | None = None
    spread_mm: Annotated[float, Field(ge=0)] = 0.0
    near_mm: Annotated[float, Field(gt=0)] | None = None
    whole: bool = True


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    structures: dict[str, _RuleFile] = Field(default_factory=dict)


class _ImageRuleFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    usual: Bounds
    possible: Bounds | None = None
    source: Annotated[str, Field(min_length=1)]


class _ImageFile(RootModel[dict[str, _ImageRuleFile]]):
    pass


@cache
def read_image_rules(path: Path = IMAGE_RULES) -> ImageRules:
    """Return the rules of images by name of the measure.

    Raises:
        CatalogError: the file is absent, is no TOML or a key is wrong; the message names both.
    """
    try:
        data = _ImageFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}") from error
    return {name: ImageRule(rule.usual, rule.possible, rule.source) for name, rule in data.root.items()}


@cache
def read_rules(path: Path = RULES) -> Mapping[str, StructureRule]:
    """Return the rules by name of ROI.

    Raises:
        CatalogError: the file is absent, is no TOML or a key is wrong; the message names both.
    """
    try:
        data = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}") from error
    return {name: StructureRule(**rule.model_dump()) for name, rule in data.structures.items()}
