"""How well the demo networks contour phantoms they never saw, through the same code that serves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from npc_contour.catalog import PIPELINES_DIR, read_contract, read_pipeline
from npc_contour.core.class_doubts import COLUMNS
from npc_contour.core.overlap import confusion, roi_dice, roi_overlap
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.structures import RoiSpec
from npc_networks.networks import NETWORKS, NetworkSpec
from npc_networks.phantom_data import Scan
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter

PHASES = ("non-contrast", "contrast")


@dataclass(frozen=True, slots=True)
class Score:
    """One ROI of one phantom, contoured by one network.

    Attributes:
        inputs: what the network was given: "both" phases, "non-contrast", "contrast", or "all" there is.
        dice: of the voxels; 0 where only one of truth and answer holds the ROI, None where neither does.
    """

    network: str
    inputs: str
    roi: str
    seed: int
    dice: float | None
    truth_cc: float
    found_cc: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One ROI over all phantoms that hold it."""

    network: str
    inputs: str
    roi: str
    mean: float
    worst: float
    cases: int


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a network says of one phantom.

    Attributes:
        inputs: as in `Score`.
        found: (z, y, x) uint8 label map.
        truth: likewise.
        doubts: (labels, `class_doubts.COLUMNS`).
    """

    contract: NetworkContract
    inputs: str
    found: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    doubts: npt.NDArray[np.float64]


class Judge:
    """The networks of a model repository, loaded as Triton loads them."""

    def __init__(self, repository: Path, names: Iterable[str]) -> None:
        self._rois = rois_by_network()
        self._segmenters: dict[str, tuple[NetworkContract, VolumeSegmenter]] = {}
        for name in names:
            contract = read_contract(repository / name / "contract.json")
            engine = OpenVinoEngine(contract, repository / name / contract.weights_file)
            self._segmenters[name] = (contract, VolumeSegmenter(contract, engine))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which phantoms the networks are made for."""
        return tuple(dict.fromkeys(NETWORKS[name].kind for name in self._segmenters))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the networks."""
        return tuple(self._segmenters)

    def answers(self, scan: Scan) -> Iterator[Answer]:
        """Contour a phantom with every network made for its kind, from every input that it takes."""
        for name, (contract, segmenter) in self._segmenters.items():
            if NETWORKS[name].kind != scan.kind:
                continue
            for inputs, images in _inputs(NETWORKS[name], scan.images):
                doubts = np.zeros((len(contract.labels), COLUMNS))
                found = segmenter.segment(images, scan.spacing_zyx_mm, doubts=doubts)
                yield Answer(contract, inputs, found, scan.labels[NETWORKS[name].target], doubts)

    def judge(self, scan: Scan) -> Iterator[Score]:
        """Compare every answer with the phantom's truth, ROI by ROI."""
        voxel_cc = float(np.prod(scan.spacing_zyx_mm)) / 1000.0
        for answer in self.answers(scan):
            counts = confusion(answer.truth, answer.found, len(answer.contract.labels))
            for roi in self._rois[answer.contract.name]:
                _, in_truth, in_found = roi_overlap(counts, roi.labels)
                sizes_cc = in_truth * voxel_cc, in_found * voxel_cc
                dice = roi_dice(counts, roi.labels)
                yield Score(answer.contract.name, answer.inputs, roi.name, scan.seed, dice, *sizes_cc)


def rois_by_network(pipelines_dir: Path = PIPELINES_DIR) -> Mapping[str, tuple[RoiSpec, ...]]:
    """Return the ROIs that the product's pipelines make from each network's labels."""
    rois: dict[str, dict[str, RoiSpec]] = {}
    for path in sorted(pipelines_dir.glob("*.toml")):
        for roi in read_pipeline(path).rois:
            rois.setdefault(roi.network, {})[roi.name] = roi
    return {network: tuple(named.values()) for network, named in rois.items()}


def evaluate(
    judge: Judge, seeds: Sequence[int], render: Callable[[str, int], Scan], done: Callable[[], None] = lambda: None
) -> list[Score]:
    """Judge phantoms one after another.

    Args:
        judge: the networks.
        seeds: of the phantoms; below `phantom_data.TRAINING_SEED` none was trained on.
        render: makes the scan of a kind and a seed.
        done: called after each phantom.
    """
    scores: list[Score] = []
    for kind in judge.kinds:
        for seed in seeds:
            scores.extend(judge.judge(render(kind, seed)))
            done()
    return scores


def summarise(scores: Iterable[Score]) -> list[Summary]:
    """Return mean and worst Dice per network, inputs and ROI, in the order in which they first occur."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for score in scores:
        values = groups.setdefault((score.network, score.inputs, score.roi), [])
        if score.dice is not None:
            values.append(score.dice)
    return [
        Summary(*key, float(np.mean(values)), float(np.min(values)), len(values))
        for key, values in groups.items()
        if values
    ]


def means(summaries: Iterable[Summary]) -> Mapping[tuple[str, str], float]:
    """Return the mean over ROIs of their mean Dice, per network and inputs."""
    groups: dict[tuple[str, str], list[float]] = {}
    for summary in summaries:
        groups.setdefault((summary.network, summary.inputs), []).append(summary.mean)
    return {key: float(np.mean(values)) for key, values in groups.items()}


def _inputs(spec: NetworkSpec, images: npt.NDArray[np.int16]) -> Iterator[tuple[str, npt.NDArray[np.int16]]]:
    for choice in spec.inputs:
        yield PHASES[choice[0]] if len(spec.inputs) > 1 else "both" if len(choice) == 2 else "all", images[list(choice)]
