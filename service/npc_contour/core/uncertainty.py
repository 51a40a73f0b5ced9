"""How far off a network itself expects each outline to be, from what its class maps left (`core.class_doubts`).

The volume that the probabilities leave in doubt, spread over the surface, is a distance. Networks are too sure of
themselves, each label in its own way: the contract keeps by how much, and from where on a person is asked to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from npc_contour.core.class_doubts import AREA, MISSING, WRONG
from npc_contour.core.labels import RoiMask
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.structures import RoiSpec
from npc_contour.domain.volumes import LabelMap


def doubt_mm(doubts: FloatArray, label: int) -> float | None:
    """Return the volume in doubt over the surface of a label, in mm, as the network says it; None without a surface."""
    wrong, missing, area = (float(doubts[label, column]) for column in (WRONG, MISSING, AREA))
    return (wrong + missing) / area if area > 0 else None


def expected_mm(spec: RoiSpec, doubts: FloatArray, contract: NetworkContract) -> float | None:
    """Return how far the outline of an ROI is expected to lie from the true one: mean over the surface, in mm.

    Args:
        spec: the ROI; of several labels each counts by its surface.
        doubts: (labels, COLUMNS) of the ROI's network.
        contract: of that network.

    Returns:
        None where the network was not calibrated, or found nothing of the ROI.
    """
    if contract.uncertainty is None:
        return None
    total = area = 0.0
    for label in spec.labels:
        factor = contract.uncertainty.factor.get(contract.labels[label])
        doubt = doubt_mm(doubts, label)
        if factor is not None and doubt is not None:
            total += factor * doubt * float(doubts[label, AREA])
            area += float(doubts[label, AREA])
    return total / area if area > 0 else None


def uncertainty_mm(
    masks: Sequence[RoiMask], label_maps: Mapping[str, LabelMap], contracts: Sequence[NetworkContract]
) -> dict[str, float]:
    """Return `expected_mm` by name of every ROI that was found, of networks that said it."""
    known = {contract.name: contract for contract in contracts}
    found = {}
    for mask in masks:
        label_map = label_maps.get(mask.spec.network)
        if mask.empty or label_map is None or label_map.doubts is None:
            continue
        distance_mm = expected_mm(mask.spec, label_map.doubts, known[mask.spec.network])
        if distance_mm is not None:
            found[mask.spec.name] = distance_mm
    return found


def look_at_uncertainty(
    masks: Sequence[RoiMask], expected: Mapping[str, float], contracts: Sequence[NetworkContract]
) -> list[Finding]:
    """Tell of each ROI whose outline its network expects further off than its contract's bound.

    Args:
        masks: ROIs of a case.
        expected: what `uncertainty_mm` gave of them.
        contracts: of their networks.
    """
    bounds = {one.name: one.uncertainty.check_mm for one in contracts if one.uncertainty is not None}
    findings = []
    for mask in masks:
        name = mask.spec.name
        if name not in expected or expected[name] <= bounds[mask.spec.network]:
            continue
        words = (
            f"{name}: the network is unsure: it expects its outline {expected[name]:.1f} mm off in the mean, at most"
            f" {bounds[mask.spec.network]:.1f} mm are usual"
        )
        numbers = {"expected_mm": expected[name], "usual_mm": bounds[mask.spec.network]}
        findings.append(Finding(FindingCode.UNCERTAIN, Severity.CHECK, name, words, None, numbers))
    return findings
