"""What the product can do, read from data: `pipelines/*.toml` and `triton_repo/<network>/contract.json`.

Both are checked when they are read: an unknown key, a label outside a network's table or a name that is too long
refuses to start and names the file and the key.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from npc_contour.domain.measurements import MeasurementKind, MeasurementRule
from npc_contour.domain.pipelines import (
    AnswerBounds,
    Contrast,
    LargestComponent,
    NetworkContract,
    NetworkUse,
    Normalisation,
    Pipeline,
    Regions,
    Role,
    Uncertainty,
    Weighting,
)
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.errors import CatalogError
from npc_contour.patterns import check_pattern
from npc_contour.plausibility import read_image_rules, read_rules

PIPELINES_DIR = Path(__file__).parent / "pipelines"
Channel = Annotated[int, Field(ge=0, le=255)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _NormalisationFile(_Strict):
    clip_hu: tuple[float, float]
    mean_hu: float
    std_hu: float = Field(gt=0)
    masked: bool = False

    def read(self) -> Normalisation:
        return Normalisation(self.clip_hu, self.mean_hu, self.std_hu, masked=self.masked)


class _OwnStatisticsFile(_Strict):
    scheme: Literal["zscore", "clipped_zscore", "rescale01", "rgb01"]
    clip_hu: tuple[float, float] = (-math.inf, math.inf)
    masked: bool = False

    def read(self) -> Normalisation:
        return Normalisation(self.clip_hu, 0.0, 1.0, self.scheme, self.masked)


class _CropFile(_Strict):
    above_hu: float
    margin_mm: float = Field(ge=0)


class _NonzeroCropFile(_Strict):
    nonzero: Literal[True]


class _RegionsFile(_Strict):
    labels: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(min_length=1)
    threshold: float

    def read(self) -> Regions:
        return Regions(self.labels, self.threshold)


class _LargestFile(_Strict):
    labels: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(min_length=1)
    corners: bool
    spare_mm3: float | None = Field(default=None, ge=0)

    def read(self) -> LargestComponent:
        return LargestComponent(self.labels, self.corners, self.spare_mm3)


class _WeightsFile(_Strict):
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _BoundsFile(_Strict):
    max_label_cc: float = Field(default=AnswerBounds().max_label_cc, gt=0)
    max_label_share: float = Field(default=AnswerBounds().max_label_share, gt=0, le=1)
    max_pieces_per_slice: int = Field(default=AnswerBounds().max_pieces_per_slice, ge=1)
    label_cc: dict[str, Annotated[float, Field(gt=0)]] = {}


class _UncertaintyFile(_Strict):
    check_mm: float = Field(gt=0)
    factor: dict[str, Annotated[float, Field(gt=0)]]
    source: str = Field(min_length=1)

    def read(self) -> Uncertainty:
        return Uncertainty(self.check_mm, self.factor, self.source)


class _ContractFile(_Strict):
    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    version: str
    demo: bool
    channels: tuple[str, ...] = Field(min_length=1)
    spacing_zyx_mm: tuple[float, float, float]
    patch_zyx: tuple[int, int, int]
    normalisation: tuple[_OwnStatisticsFile | _NormalisationFile, ...]
    crop: _CropFile | _NonzeroCropFile | None
    labels: tuple[str, ...] = Field(min_length=2, max_length=256)
    step: float = Field(gt=0, le=1)
    weights: _WeightsFile
    trained_on: str
    intended_use: str
    normalise_first: bool = False
    separate_z: bool = False
    transpose: tuple[int, int, int] = (0, 1, 2)
    precision: Literal["fastest", "f32"] = "fastest"
    flipped_zyx: tuple[Literal[0, 1, 2], ...] = ()
    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    regions: _RegionsFile | None = None
    keep_largest: tuple[_LargestFile, ...] = ()
    bounds: _BoundsFile = _BoundsFile()
    uncertainty: _UncertaintyFile | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if len(self.normalisation) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels but {len(self.normalisation)} normalisations")
        if sorted(self.transpose) != [0, 1, 2]:
            raise ValueError(f"transpose is an order of the axes 0, 1, 2, found {list(self.transpose)}")
        if len(set(self.mirror_axes)) != len(self.mirror_axes):
            raise ValueError(f"mirror_axes names an axis twice: {list(self.mirror_axes)}")
        written = self.regions.labels if self.regions else ()
        if strange := {*written, *(label for rule in self.keep_largest for label in rule.labels)} - {
            *range(1, len(self.labels))
        }:
            raise ValueError(f"regions and keep_largest name labels {sorted(strange)}, there are {len(self.labels)}")
        if unknown := self.bounds.label_cc.keys() - {*self.labels}:
            raise ValueError(f"bounds name {', '.join(sorted(unknown))}: no label of this network")
        if self.uncertainty and (unknown := self.uncertainty.factor.keys() - {*self.labels}):
            raise ValueError(f"uncertainty names {', '.join(sorted(unknown))}: no label of this network")
        return self


class _RoleFile(_Strict):
    name: str
    modality: Literal["CT", "MR"]
    contrast: Contrast
    description_pattern: str | None = None
    exclude_pattern: str | None = None
    called_ae_titles: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    min_slices: int = 40
    max_slices: int = 1000
    max_slice_spacing_mm: float = 5.0
    max_pixel_spacing_mm: float = 2.0
    weighting: Weighting | None = None
    fat_suppressed: bool | None = None
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    anatomy: Literal["head", "any"] = "head"
    required: bool = True

    @field_validator("description_pattern", "exclude_pattern")
    @classmethod
    def _can_be_matched(cls, value: str | None) -> str | None:
        return None if value is None else check_pattern(value)

    @model_validator(mode="after")
    def _of_mr(self) -> Self:
        if self.modality == "CT" and (self.weighting is not None or self.fat_suppressed is not None):
            raise ValueError(f"role {self.name}: weighting and fat_suppressed are asked of MR series only")
        return self


class _NetworkUseFile(_Strict):
    network: str
    roles: tuple[str, ...] = Field(min_length=1)


class _RoiFile(_Strict):
    name: str
    type: InterpretedType
    network: str
    labels: tuple[int, ...] = Field(min_length=1)
    colour: tuple[Channel, Channel, Channel]
    fma: str = ""

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if not 1 <= len(name) <= 16:
            raise ValueError(f"ROI name {name!r} has {len(name)} characters, 1 to 16 are allowed")
        return name


class _MeasurementFile(_Strict):
    kind: MeasurementKind
    roi: str
    ignore_below_mm: float = Field(default=0.0, ge=0)


class _PipelineFile(_Strict):
    name: str
    title: str
    label: str = Field(min_length=1, max_length=16)
    planning_role: str
    roles: tuple[_RoleFile, ...] = Field(min_length=1)
    networks: tuple[_NetworkUseFile, ...] = Field(min_length=1)
    rois: tuple[_RoiFile, ...] = Field(min_length=1)
    measurements: _MeasurementFile | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All pipelines and the contracts of the networks they use, by name."""

    pipelines: Mapping[str, Pipeline]
    contracts: Mapping[str, NetworkContract]

    def contracts_of(self, pipeline: Pipeline) -> tuple[NetworkContract, ...]:
        """Contracts in the order of the pipeline's networks."""
        return tuple(self.contracts[use.network] for use in pipeline.networks)


def read_contract(path: Path) -> NetworkContract:
    """Read one network's contract.

    Args:
        path: a `contract.json`.

    Raises:
        CatalogError: the file is absent or a key is wrong; the message names both.
    """
    try:
        raw = path.read_bytes()
        data = _ContractFile.model_validate_json(raw)
    except (OSError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}") from error
    return NetworkContract(
        name=data.name,
        version=data.version,
        demo=data.demo,
        channels=data.channels,
        spacing_zyx_mm=data.spacing_zyx_mm,
        patch_zyx=data.patch_zyx,
        normalisation=tuple(how.read() for how in data.normalisation),
        crop_above_hu=data.crop.above_hu if isinstance(data.crop, _CropFile) else None,
        crop_margin_mm=data.crop.margin_mm if isinstance(data.crop, _CropFile) else 0.0,
        crop_nonzero=isinstance(data.crop, _NonzeroCropFile),
        labels=data.labels,
        step=data.step,
        weights_file=data.weights.file,
        weights_sha256=data.weights.sha256,
        contract_sha256=hashlib.sha256(raw).hexdigest(),
        normalise_first=data.normalise_first,
        separate_z=data.separate_z,
        transpose=data.transpose,
        precision=data.precision,
        flipped_zyx=data.flipped_zyx,
        mirror_axes=data.mirror_axes,
        regions=data.regions.read() if data.regions else None,
        keep_largest=tuple(rule.read() for rule in data.keep_largest),
        bounds=AnswerBounds(**data.bounds.model_dump()),
        uncertainty=data.uncertainty.read() if data.uncertainty else None,
    )


def read_pipeline(path: Path) -> Pipeline:
    """Read one pipeline definition.

    Raises:
        CatalogError: the file is absent, is no TOML or a key is wrong; the message names both.
    """
    rules = read_rules()
    try:
        data = _PipelineFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        rois = tuple(
            RoiSpec(roi.name, roi.type, roi.network, frozenset(roi.labels), roi.colour, roi.fma, rules.get(roi.name))
            for roi in data.rois
        )
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: {error}") from error
    roles = tuple(Role(**role.model_dump()) for role in data.roles)
    uses = tuple(NetworkUse(use.network, use.roles) for use in data.networks)
    _check_pipeline(path, data, rois)
    return Pipeline(
        name=data.name,
        title=data.title,
        label=data.label,
        planning_role=data.planning_role,
        roles=roles,
        networks=uses,
        rois=rois,
        measurements=MeasurementRule(data.measurements.kind, data.measurements.roi, data.measurements.ignore_below_mm)
        if data.measurements
        else None,
        image_rules=read_image_rules(),
    )


def read_pipelines(own: Iterable[Path] = (), pipelines_dir: Path = PIPELINES_DIR) -> dict[str, Pipeline]:
    """Read the product's pipelines and a site's own, by name.

    Args:
        own: the site's TOML files.
        pipelines_dir: folder with the product's.

    Raises:
        CatalogError: a file is wrong, or two have one name.
    """
    pipelines: dict[str, Pipeline] = {}
    for path in (*sorted(pipelines_dir.glob("*.toml")), *own):
        pipeline = read_pipeline(path)
        if pipeline.name in pipelines:
            raise CatalogError(f"{path}: name: there is a pipeline {pipeline.name} already")
        pipelines[pipeline.name] = pipeline
    return pipelines


def read_catalog(
    model_repository: Path,
    pipelines_dir: Path = PIPELINES_DIR,
    *,
    enabled: Iterable[str] | None = None,
    own: Mapping[str, Path] | None = None,
) -> Catalog:
    """Read every pipeline and the contracts of the networks that it uses.

    Args:
        model_repository: folder with one folder per network.
        pipelines_dir: folder with the TOML files.
        enabled: the pipelines wanted, by name or by a site's own word for its file; None takes all.
        own: a site's own files, by that word.

    Raises:
        CatalogError: a file is wrong, a pipeline is unknown, or files disagree.
    """
    files = own or {}
    pipelines = read_pipelines(files.values(), pipelines_dir)
    if enabled is not None:
        enabled = [read_pipeline(files[name]).name if name in files else name for name in enabled]
        unknown = set(enabled) - set(pipelines)
        if unknown:
            raise CatalogError(f"unknown pipelines {sorted(unknown)}; {pipelines_dir} has {sorted(pipelines)}")
        pipelines = {name: pipelines[name] for name in enabled}
    names = sorted({use.network for pipeline in pipelines.values() for use in pipeline.networks})
    contracts = {name: read_contract(model_repository / name / "contract.json") for name in names}
    for pipeline in pipelines.values():
        _check_against_contracts(pipeline, contracts)
    return Catalog(pipelines, contracts)


def with_role_changes(catalog: Catalog, pipeline: str, role: str, changes: Mapping[str, object]) -> Catalog:
    """Return the catalogue with some conditions of one role replaced, as a site's rules ask.

    Args:
        catalog: what is shipped.
        pipeline: name of the pipeline; one that is not enabled is left as it is.
        role: name of the role.
        changes: fields of `Role`.

    Raises:
        CatalogError: the pipeline has no such role.
    """
    known = catalog.pipelines.get(pipeline)
    if known is None:
        return catalog
    if role not in {one.name for one in known.roles}:
        raise CatalogError(
            f"routing.rules: pipeline {pipeline} has no role {role!r}, it has {[one.name for one in known.roles]}"
        )
    roles = tuple(_changed(one, changes) if one.name == role else one for one in known.roles)
    return replace(catalog, pipelines={**catalog.pipelines, pipeline: replace(known, roles=roles)})


def with_planning_role(catalog: Catalog, pipeline: str, role: str) -> Catalog:
    """Return the catalogue with another role of a pipeline as the one whose grid carries the contours.

    Args:
        catalog: what is shipped.
        pipeline: name of the pipeline; one that is not enabled is left as it is.
        role: name of one of its required roles.

    Raises:
        CatalogError: the pipeline has no such role, or can run without it.
    """
    known = catalog.pipelines.get(pipeline)
    if known is None:
        return catalog
    required = [one.name for one in known.roles if one.required]
    if role not in required:
        raise CatalogError(
            f"routing.rules: pipeline {pipeline} cannot plan on {role!r}, its required roles are {required}"
        )
    return replace(catalog, pipelines={**catalog.pipelines, pipeline: replace(known, planning_role=role)})


def _changed(role: Role, changes: Mapping[str, object]) -> Role:
    fields = {**{name: getattr(role, name) for name in Role.__dataclass_fields__}, **changes}
    return Role(**fields)


def _check_pipeline(path: Path, data: _PipelineFile, rois: tuple[RoiSpec, ...]) -> None:
    roles = {role.name for role in data.roles}
    if data.planning_role not in roles:
        raise CatalogError(f"{path}: planning_role {data.planning_role!r} is none of the roles {sorted(roles)}")
    networks = {use.network for use in data.networks}
    for use in data.networks:
        if missing := set(use.roles) - roles:
            raise CatalogError(f"{path}: network {use.network} asks for roles {sorted(missing)}, not defined")
    folded: set[str] = set()
    for roi in rois:
        if roi.network not in networks:
            raise CatalogError(f"{path}: ROI {roi.name} asks for network {roi.network!r}, not in {sorted(networks)}")
        if roi.name.casefold() in folded:
            raise CatalogError(f"{path}: ROI name {roi.name} occurs twice (case is ignored)")
        folded.add(roi.name.casefold())
    if data.measurements is not None and data.measurements.roi not in {roi.name for roi in rois}:
        raise CatalogError(
            f"{path}: measurements are asked of ROI {data.measurements.roi!r}, which is not in the table"
        )


def _check_against_contracts(pipeline: Pipeline, contracts: Mapping[str, NetworkContract]) -> None:
    for use in pipeline.networks:
        contract = contracts[use.network]
        if len(use.roles) != len(contract.channels):
            raise CatalogError(
                f"pipeline {pipeline.name}: network {use.network} has {len(contract.channels)} channels"
                f" {list(contract.channels)}, the pipeline feeds {list(use.roles)}"
            )
    for roi in pipeline.rois:
        highest = len(contracts[roi.network].labels) - 1
        if max(roi.labels) > highest:
            raise CatalogError(
                f"pipeline {pipeline.name}: ROI {roi.name} asks for label {max(roi.labels)},"
                f" network {roi.network} has labels 1 to {highest}"
            )
