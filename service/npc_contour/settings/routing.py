"""Which pipelines run on what, and how their structure sets are written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from npc_contour.domain.pipelines import Weighting
from npc_contour.patterns import check_pattern
from npc_contour.settings.base import AeTitle, Seconds, Strict


class RuleSettings(Strict):
    """What this site asks of one role of one pipeline; a key that is absent leaves the pipeline's own rule."""

    pipeline: str
    role: str
    description_pattern: str | None = None
    exclude_pattern: str | None = None
    called_ae_titles: tuple[AeTitle, ...] | None = None
    body_parts: tuple[str, ...] | None = None
    min_slices: int | None = Field(default=None, ge=2)
    max_slices: int | None = Field(default=None, ge=2)
    max_slice_spacing_mm: float | None = Field(default=None, gt=0)
    max_pixel_spacing_mm: float | None = Field(default=None, gt=0)

    @field_validator("description_pattern", "exclude_pattern")
    @classmethod
    def _can_be_matched(cls, value: str | None) -> str | None:
        return None if value is None else check_pattern(value)

    weighting: Weighting | None = None
    fat_suppressed: bool | None = None
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    planning: bool | None = None

    @property
    def changes(self) -> dict[str, object]:
        """The keys that are set of those that a role has."""
        return self.model_dump(exclude={"pipeline", "role", "planning"}, exclude_none=True)


class WordSettings(Strict):
    """Regular expressions of this site's own words in series descriptions and protocol names; case is ignored."""

    contrast: tuple[str, ...] = ()
    no_contrast: tuple[str, ...] = ()
    t1: tuple[str, ...] = ()
    t2: tuple[str, ...] = ()
    take_derived: tuple[str, ...] = ()

    @field_validator("contrast", "no_contrast", "t1", "t2", "take_derived")
    @classmethod
    def _can_be_matched(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_pattern(pattern) for pattern in value)


class Routing(Strict):
    """Which pipelines run, how long a pair may take to arrive, and what this site asks of its series.

    A pipeline that ends in ".toml" is a file of the site's own.
    """

    pipelines: tuple[str, ...] = ("npc_oar_gtv", "ln_ctv")
    partner_wait_s: Seconds = 900.0
    urgent_called_ae_titles: tuple[AeTitle, ...] = ()
    partner_pacs: tuple[str, ...] = ()
    max_shift_mm: float = Field(default=3.0, gt=0)
    words: WordSettings = WordSettings()
    rules: tuple[RuleSettings, ...] = ()

    @property
    def own_files(self) -> dict[str, Path]:
        """The site's own pipelines, by the words that `pipelines` has for them."""
        return {word: Path(word) for word in self.pipelines if word.endswith(".toml")}

    def beside(self, home: Path) -> Routing:
        """Return the same with files relative to a folder."""
        files = tuple(str(home / word) if word.endswith(".toml") else word for word in self.pipelines)
        return self.model_copy(update={"pipelines": files})


class Rtstruct(Strict):
    """How RTSTRUCTs are written and checked: a profile that comes with the product, by name, or a TOML file."""

    profile: str = "generic"
    second_reader: Literal["none", "rt-utils"] = "none"
    segmentation: bool = False

    @field_validator("second_reader")
    @classmethod
    def _installed(cls, value: str) -> str:
        if value == "rt-utils" and find_spec("rt_utils") is None:
            raise ValueError("rt-utils is not installed: pip install 'npc-autocontour[rtutils]'")
        return value
