"""How far off the outlines of a demo network lie beside what its class maps say of them, measured on phantoms.

Each label is compared with the phantom's truth after what the service would leave out has been left out. Medians are
taken, so that a phantom on which a network fails says nothing of how sure it is elsewhere; a label of few phantoms
leans on all the others by the weight of one phantom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npc_contour.core.agreement import border_distances
from npc_contour.core.labels import mask_of_array
from npc_contour.core.pieces import without_far_pieces
from npc_contour.core.uncertainty import doubt_mm
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.plausibility import read_rules
from npc_networks.cards import renew_card
from npc_networks.evaluation import Answer, Judge
from npc_networks.export import write_contract, write_served
from npc_networks.phantom_data import Scan

RIGHT_MM = 2.0
"""An outline no further off in the mean is right."""
QUIET = 0.98
"""So many of the right outlines are not told."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One label of one phantom.

    Attributes:
        said_mm: how far off its outline lies as the class maps say.
        off_mm: how far off it lies, mean over both surfaces.
    """

    network: str
    label: str
    said_mm: float
    off_mm: float


def calibrate(
    judge: Judge,
    repository: Path,
    seeds: Sequence[int],
    render: Callable[[str, int], Scan],
    done: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Measure on phantoms, and write contract, Triton's configuration and card of every network of the judge anew.

    Args:
        judge: the networks.
        repository: where they lie.
        seeds: of the phantoms; none that is judged elsewhere.
        render: makes the scan of a kind and a seed.
        done: called after each phantom.

    Returns:
        The contracts written.
    """
    doubts: list[Doubt] = []
    for kind in judge.kinds:
        for seed in seeds:
            scan = render(kind, seed)
            doubts += [doubt for answer in judge.answers(scan) for doubt in doubts_of(answer, scan)]
            done()
    source = f"measured on {len(seeds)} phantoms (seeds {min(seeds)} to {max(seeds)}) that nothing was trained on"
    written = []
    for name in judge.names:
        content = json.loads((repository / name / "contract.json").read_text(encoding="utf-8"))
        own = [doubt for doubt in doubts if doubt.network == name]
        written.append(write_contract(repository, {**content, "uncertainty": uncertainty_of(own, source)}))
        write_served(repository, name)
        renew_card(repository, name)
    return written


def doubts_of(answer: Answer, scan: Scan) -> Iterator[Doubt]:
    """Compare every label of an answer with the truth."""
    grid = Grid(answer.found.shape, scan.spacing_zyx_mm, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    for label, name in list(enumerate(answer.contract.labels))[1:]:
        said_mm = doubt_mm(answer.doubts, label)
        truth = answer.truth == label
        found = _kept(answer.found == label, name, grid)
        if said_mm is not None and truth.any() and found.any():
            yield Doubt(
                answer.contract.name, name, said_mm, border_distances(found, truth, grid.spacing_zyx_mm).assd_mm
            )


def _kept(found: npt.NDArray[np.bool_], name: str, grid: Grid) -> npt.NDArray[np.bool_]:
    """What the service keeps of a label."""
    # A label that is part of several structures carries the smallest one's name first.
    roi = name.split(" in ", maxsplit=1)[0]
    kind = InterpretedType.GTV if roi.startswith("GTV") else InterpretedType.ORGAN
    spec = RoiSpec(roi, kind, "", frozenset({1}), (0, 0, 0), rule=read_rules().get(roi))
    (kept,) = without_far_pieces([mask_of_array(spec, found)], grid).masks
    return kept.on_grid(grid.shape_zyx)


def uncertainty_of(doubts: Sequence[Doubt], source: str) -> dict[str, Any]:
    """Return what a contract keeps: see `domain.pipelines.Uncertainty`."""
    by_label: dict[str, list[Doubt]] = {}
    for doubt in doubts:
        by_label.setdefault(doubt.label, []).append(doubt)
    said, off = (float(np.median([getattr(doubt, key) for doubt in doubts])) for key in ("said_mm", "off_mm"))
    factor = {}
    for label, own in by_label.items():
        own_said, own_off = (float(np.median([getattr(one, key) for one in own])) for key in ("said_mm", "off_mm"))
        factor[label] = round((len(own) * own_off + off) / (len(own) * own_said + said), 3)
    expected = [factor[doubt.label] * doubt.said_mm for doubt in doubts if doubt.off_mm <= RIGHT_MM]
    return {
        "check_mm": round(max(RIGHT_MM, float(np.quantile(expected, QUIET)) if expected else RIGHT_MM), 1),
        "factor": factor,
        "source": source,
    }
