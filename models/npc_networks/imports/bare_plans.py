"""`plans.toml`: what a file of weights does not say about how its network is fed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from npc_contour.domain.pipelines import Normalisation
from npc_networks.imports.safe_files import ImportRefused

Side = Annotated[int, Field(ge=1, le=1024)]
Spacing = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Normalisation(_Strict):
    scheme: Literal["ct", "zscore", "rescale01"] = "ct"
    clip_hu: tuple[float, float] = (-32768.0, 32767.0)
    mean_hu: float = 0.0
    std_hu: float = Field(default=1.0, gt=0)

    def read(self) -> Normalisation:
        return Normalisation(self.clip_hu, self.mean_hu, self.std_hu, self.scheme)


class BarePlans(_Strict):
    """The content of `plans.toml`.

    Attributes:
        channels: what each input channel is.
        spacing_mm: of the network's grid, in its own order of axes, as `patch`.
        normalisation: one per channel.
        axes: order of the network's axes.
        orientation: in which directions they count: DICOM's (to the patient's left, back, head) or NIfTI's and MONAI's
            (to the right, front, head).
        normalise_first: before resampling rather than after.
        separate_z: thick slices are treated apart, as nnU-Net does.
        blended: what the windows' overlap averages.
        mirror_axes: of the network's own order; windows are shown mirrored along them too.
        downsample: of SwinUNETR: which of MONAI's two ways of merging patches, which the weights do not tell.
    """

    channels: tuple[str, ...] = Field(min_length=1)
    spacing_mm: tuple[Spacing, Spacing, Spacing]
    patch: tuple[Side, Side, Side]
    normalisation: tuple[_Normalisation, ...]
    axes: Literal["zyx", "xyz"] = "zyx"
    orientation: Literal["LPS", "RAS"] = "LPS"
    normalise_first: bool = False
    separate_z: bool = False
    blended: Literal["logits", "softmax"] = "logits"
    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    downsample: Literal["merging", "mergingv2"] = "merging"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if len(self.normalisation) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels but {len(self.normalisation)} normalisations")
        return self

    @property
    def normalisations(self) -> tuple[Normalisation, ...]:
        """One per channel."""
        return tuple(one.read() for one in self.normalisation)

    @property
    def transpose(self) -> tuple[int, int, int]:
        """Axes (z, y, x) in the network's order."""
        return (0, 1, 2) if self.axes == "zyx" else (2, 1, 0)

    @property
    def flipped(self) -> tuple[int, ...]:
        """Axes of the volume (z, y, x) that count the other way than DICOM's."""
        return () if self.orientation == "LPS" else (1, 2)


def read_bare_plans(path: Path) -> BarePlans:
    """Read `plans.toml`.

    Raises:
        ImportRefused: the file is absent, no TOML, or a key is missing, unknown or wrong; each is named.
    """
    try:
        return BarePlans.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise ImportRefused(f"{path}: {problems}") from error
    except ValueError as error:
        raise ImportRefused(f"{path} is no TOML: {error}") from error
