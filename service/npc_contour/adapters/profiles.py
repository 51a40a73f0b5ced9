"""A site's RTSTRUCT profile, read from TOML and checked as a whole: every fault at once, by file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import npc_contour
from npc_contour.core.profiles import profile_faults, template_faults
from npc_contour.domain.pipelines import Pipeline
from npc_contour.domain.profiles import (
    MAX_POINTS,
    ContourSource,
    DerivedRoi,
    EmptyRois,
    Holes,
    Margin,
    Profile,
    RoiOverride,
    Writer,
)
from npc_contour.domain.structures import InterpretedType
from npc_contour.errors import SettingsError

PROFILES_DIR = Path(npc_contour.__file__).parent / "profiles"

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
_Mm = Annotated[float, Field(ge=-50, le=50)]
RoiName = Annotated[str, Field(min_length=1, max_length=64)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OverrideFile(_Strict):
    name: RoiName | None = None
    type: InterpretedType | None = None
    colour: Colour | None = None


class _MarginFile(_Strict):
    left: _Mm
    right: _Mm
    anterior: _Mm
    posterior: _Mm
    superior: _Mm
    inferior: _Mm

    def read(self) -> Margin:
        return Margin(**self.model_dump())

    @model_validator(mode="before")
    @classmethod
    def _same_in_all_directions(cls, value: object) -> object:
        return dict.fromkeys(cls.model_fields, value) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self.read()
        return self


class _DerivedFile(_Strict):
    name: RoiName
    type: InterpretedType
    colour: Colour
    union_of: tuple[str, ...] = ()
    of_body: bool = False
    margin_mm: _MarginFile = _MarginFile.model_validate(0.0)
    minus: tuple[str, ...] = ()
    inside_body_mm: float | None = Field(default=None, ge=0, le=50)

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if not self.union_of and not self.of_body:
            raise ValueError("union_of names no ROI, and of_body is not set")
        return self


class _ProfileFile(_Strict):
    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str
    max_name_length: int = Field(default=16, ge=1, le=64)
    writer: Writer = Writer.NPC_CONTOUR
    contour_source: ContourSource = ContourSource.MARGINS
    holes: Holes = Holes.KEYHOLE
    empty_rois: EmptyRois = EmptyRois.OMIT
    max_points: int = Field(default=MAX_POINTS, ge=16, le=MAX_POINTS)
    thin_mm: float = Field(default=0.0, ge=0, le=1)
    transfer_syntax: Literal["implicit", "explicit"] = "implicit"
    label: str = "{label}"
    doubtful_label: str = ""
    series_description: str = "Auto-contours {label}"
    rois: tuple[str, ...] = ()
    override: dict[str, _OverrideFile] = Field(default_factory=dict)
    derived: tuple[_DerivedFile, ...] = ()


def profile_path(name_or_path: str) -> Path:
    """Return the file of a profile that comes with the product, by name, or the path given.

    Raises:
        SettingsError: there is no such file; the names that exist are listed.
    """
    shipped = PROFILES_DIR / f"{name_or_path}.toml"
    if shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in PROFILES_DIR.glob("*.toml")))
        raise SettingsError(f"RTSTRUCT profile {name_or_path!r}: no such file, and not one of {names}")
    return path


def read_profile(path: Path, pipelines: Iterable[Pipeline] = ()) -> Profile:
    """Read a profile and check it against the pipelines that will use it.

    Args:
        path: a TOML file.
        pipelines: those that will use it; none leaves out what depends on them.

    Raises:
        SettingsError: a key is unknown, a value wrong, a template too long, an ROI unknown or two names collide; with
            every reason.
    """
    try:
        data = _ProfileFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError(f"{path}: {reasons}") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    profile = _profile(data)
    faults = [*template_faults(profile), *_writer_faults(profile)]
    tables = [pipeline.rois for pipeline in pipelines]
    if tables:
        faults += profile_faults(profile, tables)
    if faults:
        raise SettingsError(f"{path}: {'; '.join(faults)}")
    return profile


def _writer_faults(profile: Profile) -> list[str]:
    if profile.writer is not Writer.RT_UTILS:
        return []
    faults = []
    if profile.holes is Holes.KEYHOLE:
        faults.append('writer "rt-utils" cannot join holes to the ring around them: it needs holes = "parity"')
    if find_spec("rt_utils") is None:
        faults.append("writer \"rt-utils\": it is not installed; pip install 'npc-autocontour[rtutils]'")
    return faults


def _profile(data: _ProfileFile) -> Profile:
    overrides = {name: RoiOverride(change.name, change.type, change.colour) for name, change in data.override.items()}
    derived = tuple(
        DerivedRoi(
            name=roi.name,
            interpreted_type=roi.type,
            colour_rgb=roi.colour,
            union_of=roi.union_of,
            of_body=roi.of_body,
            margin=roi.margin_mm.read(),
            minus=roi.minus,
            inside_body_mm=roi.inside_body_mm,
        )
        for roi in data.derived
    )
    return Profile(
        name=data.name,
        title=data.title,
        max_name_length=data.max_name_length,
        writer=data.writer,
        contour_source=data.contour_source,
        holes=data.holes,
        empty_rois=data.empty_rois,
        max_points=data.max_points,
        thin_mm=data.thin_mm,
        explicit_vr=data.transfer_syntax == "explicit",
        label=data.label,
        doubtful_label=data.doubtful_label,
        series_description=data.series_description,
        rois=data.rois,
        overrides=overrides,
        derived=derived,
    )
