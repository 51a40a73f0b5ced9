"""What can be asked of the service: pipelines, their networks and the series they accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from npc_contour.domain.findings import ImageRules
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.measurements import MeasurementRule
from npc_contour.domain.series import Case
from npc_contour.domain.structures import NetworkProvenance, RoiSpec


class Weighting(StrEnum):
    """What an MR sequence weights; OTHER is known to be none of the first four (diffusion, angiography, maps)."""

    T1 = "t1"
    T2 = "t2"
    PD = "pd"
    FLAIR = "flair"
    OTHER = "other"


class Contrast(StrEnum):
    """What a role asks of a series' contrast phase."""

    ABSENT = "absent"
    PRESENT = "present"
    ANY = "any"


Scheme = Literal["ct", "zscore", "clipped_zscore", "rescale01", "rgb01"]


PARITY_FILE = "parity.json"
"""In a network's folder: whether it gave the same answers as the framework that it was imported from."""


def engine_name(network: str) -> str:
    """Return the name of the model that holds a network's engine, in the same Triton repository."""
    return f"{network}_engine"


@dataclass(frozen=True, slots=True)
class Normalisation:
    """HU to network input, per channel: clip, subtract, divide.

    Attributes:
        scheme: "ct" with the three values given; "zscore" takes mean and deviation of the channel itself, unclipped;
            "clipped_zscore" those of the values inside the clip (nnU-Net v1's CT2); "rescale01" maps least to 0 and
            largest to 1; "rgb01" divides by 255 and takes nothing outside 0 to 255.
        masked: statistics come from the voxels where any channel is not zero, holes filled; outside, the input is 0.
    """

    clip_hu: tuple[float, float]
    mean_hu: float
    std_hu: float
    scheme: Scheme = "ct"
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Regions:
    """Overlapping outputs that are written one over the other instead of competing, as nnU-Net's region training asks.

    Attributes:
        labels: label that each output writes, in the order of the outputs; later ones cover earlier ones.
        threshold: an output holds where it is above this: 0 for logits, 0.5 for probabilities.
    """

    labels: tuple[int, ...]
    threshold: float


@dataclass(frozen=True, slots=True)
class LargestComponent:
    """A rule applied to the finished label map: of some labels together, only the largest piece stays.

    Attributes:
        labels: taken together; the rest of their pieces becomes background.
        corners: pieces that touch at a corner are one; False asks for a common face.
        spare_mm3: pieces of at least this volume stay as well; None spares none.
    """

    labels: tuple[int, ...]
    corners: bool
    spare_mm3: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBounds:
    """What an answer may be at most; beyond it the network is broken, whoever the patient is.

    Attributes:
        max_label_cc: of any one label that `label_cc` does not name.
        label_cc: of single labels, by name.
        max_label_share: of the scan's voxels, of any one label.
        max_pieces_per_slice: separate pieces of one label in one slice, on average.
    """

    max_label_cc: float = 8000.0
    max_label_share: float = 0.5
    max_pieces_per_slice: int = 8
    label_cc: Mapping[str, float] = field(default_factory=dict)

    def most_cc(self, label: str) -> float:
        """Return how large a label may be."""
        return self.label_cc.get(label, self.max_label_cc)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """How what a network says of its own doubts is read (`core.uncertainty`).

    Attributes:
        check_mm: an outline that is expected further off, in the mean, is worth a look.
        factor: by label: how many times further off it lies than the network says.
        source: what this was measured on.
    """

    check_mm: float
    factor: Mapping[str, float]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkContract:
    """What a network takes and gives; read from `triton_repo/<name>/contract.json`.

    Attributes:
        name: Triton's model name.
        channels: what each input channel is, for example ("non-contrast CT", "contrast CT").
        normalisation: one per channel.
        crop_above_hu: voxels above this in any channel span the box that is segmented; None segments all.
        crop_margin_mm: added around that box.
        crop_nonzero: the box is that of the voxels that are not zero in any channel, as nnU-Net crops.
        labels: index = label value, 0 = "background".
        step: window step as a fraction of the patch.
        weights_file: ONNX file, relative to the contract.
        contract_sha256: of the contract file's bytes; Triton's config.pbtxt carries it.
        normalise_first: normalised on the planning grid, then resampled; False is the other way round.
        separate_z: thick slices are resampled within their planes only and copied between, as nnU-Net does above a
            ratio of 3 between spacings; False resamples along all axes alike.
        precision: of the engine; "fastest" is what the machine computes fastest (bfloat16 where it has the hardware).
        transpose: axes of the volume (z, y, x) in the order in which spacing, patch and weights take them.
        flipped_zyx: axes of the volume along which training saw the patient the other way round than LPS.
        mirror_axes: axes, in the network's order, along which windows are also shown mirrored; answers are averaged.
        regions: how overlapping outputs become labels; None takes the largest output.
        keep_largest: applied to the label map in this order.
        bounds: beyond which an answer is refused.
        uncertainty: how its doubts are read; None for a network that was not calibrated, of which they are not told.
    """

    name: str
    version: str
    demo: bool
    channels: tuple[str, ...]
    spacing_zyx_mm: Vec3
    patch_zyx: tuple[int, int, int]
    normalisation: tuple[Normalisation, ...]
    crop_above_hu: float | None
    crop_margin_mm: float
    labels: tuple[str, ...]
    step: float
    weights_file: str
    weights_sha256: str
    contract_sha256: str
    normalise_first: bool = False
    separate_z: bool = False
    transpose: tuple[int, int, int] = (0, 1, 2)
    precision: Literal["fastest", "f32"] = "fastest"
    crop_nonzero: bool = False
    flipped_zyx: tuple[int, ...] = ()
    mirror_axes: tuple[int, ...] = ()
    regions: Regions | None = None
    keep_largest: tuple[LargestComponent, ...] = ()
    bounds: AnswerBounds = AnswerBounds()
    uncertainty: Uncertainty | None = None

    @property
    def outputs(self) -> int:
        """Channels of the network's answer."""
        return len(self.labels) if self.regions is None else len(self.regions.labels)

    @property
    def provenance(self) -> NetworkProvenance:
        """What is written into outputs."""
        return NetworkProvenance(self.name, self.version, self.weights_sha256, self.demo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one input series of a pipeline must be; every given condition holds (None asks nothing).

    Attributes:
        description_pattern: regular expression searched, ignoring case, in the series description.
        exclude_pattern: likewise; a match takes the series out.
        called_ae_titles: the series came to one of these; empty asks nothing.
        body_parts: BodyPartExamined is one of these or empty; empty asks nothing.
        weighting: of an MR sequence.
        fat_suppressed: whether fat is dark in an MR sequence (saturated, inverted, or the water part of a Dixon).
        plane: to which the slices lie nearest.
        anatomy: what a CT must be seen to show before it is contoured; "any" looks at nothing.
        required: False lets the pipeline run without this role.
    """

    name: str
    modality: str
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


@dataclass(frozen=True, slots=True)
class NetworkUse:
    """A network of a pipeline and which roles feed its channels, in order."""

    network: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One product route, for example `npc_oar_gtv`; read from `pipelines/*.toml`.

    Attributes:
        measurements: what is measured beside the contours; None measures nothing.
        image_rules: what is usual of the images.
    """

    name: str
    title: str
    label: str
    planning_role: str
    roles: tuple[Role, ...]
    networks: tuple[NetworkUse, ...]
    rois: tuple[RoiSpec, ...]
    measurements: MeasurementRule | None = None
    image_rules: ImageRules = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why one series can or cannot fill one role of one pipeline.

    Attributes:
        reasons: each a sentence that names what was found and what is asked.
    """

    series_instance_uid: str
    pipeline: str
    role: str
    accepted: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """The router's answer for one study and one pipeline.

    Attributes:
        case: what to contour; None when refused or still waiting.
        waiting_for: roles that no series fills yet but a later one may.
        reasons: in words, every reason, kept and shown.
        verdicts: per series and role.
        choices: role → Series Instance UID; more than one way to fill the roles, or ways that nothing but a person's
            word can confirm. Empty when the answer is certain.
        concerned: whether the study holds anything that is meant for the pipeline, whether or not it can be used.
    """

    pipeline: str
    case: Case | None
    waiting_for: tuple[str, ...]
    reasons: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    choices: tuple[Mapping[str, str], ...] = ()
    concerned: bool = True
