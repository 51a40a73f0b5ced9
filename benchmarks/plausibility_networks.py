"""What the demo networks themselves do wrong, for benchmarks/plausibility.py: is it told, and do they know it?

Phantoms are contoured as the service does it (windows, cleaning, findings), without Triton. An answer fails where its
Dice is below 0.6 or its 95 % surface distance above 10 mm; how sure a network is, is held against a mean distance of
2 mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from npc_contour.catalog import PIPELINES_DIR, read_contract, read_pipeline
from npc_contour.core.agreement import border_distances, dice
from npc_contour.core.class_doubts import COLUMNS
from npc_contour.core.components import components_of
from npc_contour.core.labels import RoiMask, roi_masks
from npc_contour.core.pieces import SPECK_CC, far_pieces, without_far_pieces
from npc_contour.core.plausibility import look_at_contours
from npc_contour.core.second_opinions import look_at_second_opinions
from npc_contour.core.uncertainty import look_at_uncertainty, uncertainty_mm
from npc_contour.domain.findings import Finding, Severity
from npc_contour.domain.pipelines import Pipeline
from npc_contour.domain.volumes import LabelMap, Volume
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter

REPOSITORY = Path(__file__).resolve().parents[1] / "triton_repo"
LEAST_DICE, MOST_HD95_MM, RIGHT_MM = 0.6, 10.0, 2.0


@dataclass
class Own:
    """What was counted, a value for each structure that the truth has.

    Attributes:
        failed: whether Dice or distance says so; one that was not found has failed.
        told: whether a finding of severity check or stop names it, or that it was not found.
        expected_mm: how far off the network expects it; those found only.
        off_mm: how far off it is; likewise.
        strays: pieces that were sent and touch nothing of the truth, further from the structure than its rule allows.
    """

    failed: list[bool] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)
    expected_mm: list[float] = field(default_factory=list)
    off_mm: list[float] = field(default_factory=list)
    strays: int = 0


class Networks:
    """The networks of some pipelines, loaded as Triton loads them."""

    def __init__(self, pipelines: Sequence[str]) -> None:
        self._pipelines = [read_pipeline(PIPELINES_DIR / f"{name}.toml") for name in pipelines]
        names = dict.fromkeys(use.network for pipeline in self._pipelines for use in pipeline.networks)
        self._contracts = {name: read_contract(REPOSITORY / name / "contract.json") for name in names}
        self._segmenters = {
            name: VolumeSegmenter(contract, OpenVinoEngine(contract, REPOSITORY / name / contract.weights_file))
            for name, contract in self._contracts.items()
        }

    def judge(self, counted: Own, truth: Mapping[str, Sequence[RoiMask]], plain: Volume, contrast: Volume) -> None:
        """Contour a phantom with every pipeline, and count.

        Args:
            counted: added to.
            truth: right masks by pipeline.
            plain: the planning CT.
            contrast: the same with contrast agent.
        """
        series = {"planning_ct": plain, "contrast_ct": contrast}
        drawn: list[RoiMask] = []
        for pipeline in self._pipelines:
            maps = self._answers(pipeline, series)
            contracts = [self._contracts[name] for name in maps]
            masks = roi_masks(maps, pipeline.rois)
            cleaned = without_far_pieces(masks, plain.grid)
            expected = uncertainty_mm(cleaned.masks, maps, contracts)
            findings: list[Finding] = [
                *look_at_contours(cleaned, plain),
                *look_at_uncertainty(cleaned.masks, expected, contracts),
                *look_at_second_opinions(masks, drawn, plain.grid),
            ]
            drawn += masks
            told = {one.structure for one in findings if one.severity is not Severity.NOTE}
            right = {mask.spec.name: mask for mask in truth[pipeline.name]}
            for mask in cleaned.masks:
                _count(counted, mask, right[mask.spec.name], plain, expected, told)

    def _answers(self, pipeline: Pipeline, series: Mapping[str, Volume]) -> dict[str, LabelMap]:
        maps = {}
        for use in pipeline.networks:
            contract = self._contracts[use.network]
            given = np.stack([series[role].hu for role in use.roles])
            grid, doubts = series["planning_ct"].grid, np.zeros((len(contract.labels), COLUMNS))
            labels = self._segmenters[use.network].segment(given, grid.spacing_zyx_mm, doubts=doubts)
            maps[use.network] = LabelMap(labels, grid, use.network, doubts=doubts)
        return maps


def _count(
    counted: Own, found: RoiMask, truth: RoiMask, volume: Volume, expected: Mapping[str, float], told: set[str]
) -> None:
    """Judge one structure; one that the truth does not have is left alone."""
    if truth.empty:
        return
    name, grid = found.spec.name, volume.grid
    if found.empty:
        # The structure set names it as not found.
        counted.failed.append(True)
        counted.told.append(True)
        return
    answer, right = found.on_grid(grid.shape_zyx), truth.on_grid(grid.shape_zyx)
    distances = border_distances(answer, right, grid.spacing_zyx_mm)
    share = dice(answer, right) or 0.0
    counted.failed.append(share < LEAST_DICE or distances.hd95_mm > MOST_HD95_MM)
    counted.told.append("" in told or name in told)
    if name in expected:
        counted.expected_mm.append(expected[name])
        counted.off_mm.append(distances.assd_mm)
    counted.strays += _strays(found, right[found.box], volume)


def _strays(found: RoiMask, right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], volume: Volume) -> int:
    rule = found.spec.rule
    if rule is None or rule.near_mm is None:
        return 0
    components = components_of(found.mask)
    strays = 0
    for piece in far_pieces(found, components, volume.grid, rule.near_mm):
        inside, (z, y, x) = components.box([piece.number])
        there = right[z : z + inside.shape[0], y : y + inside.shape[1], x : x + inside.shape[2]]
        strays += piece.volume_cc >= SPECK_CC and not (inside & there).any()
    return strays
