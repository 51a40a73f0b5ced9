"""What each protocol measures.

* `segrap2023`: DSC and NSD, tolerance 1 mm but 2 mm for the larynx and 3 mm for the oral cavity; both masks empty score
  1, one of them empty scores 0; four decimals (HiLab-git/SegRap2023, folder Eval).
* `lnctvseg`: DSC, ASD and HD95; `lnq2023`: DSC and ASSD; both in medpy's definition of a surface.
* `npc-mri`: DSC, Jaccard and the morphology of answer and reference.

Outside SegRap2023 a metric that is not defined is absent (None), never a number: everything where both masks are empty,
distances where one is. DSC of a mask against nothing is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.agreement import Mask, border_distances, dice, jaccard, surface_dice
from npc_contour.core.morphology import Morphology, morphology
from npc_contour.domain.geometry import Vec3
from npc_networks.protocols.masks import Structure

Values = Mapping[str, float | None]
Measure = Callable[[Mask, Mask, Vec3, Structure], Values]

SEGRAP_TOLERANCE_MM = 1.0
SEGRAP_TOLERANCES_MM = {"Larynx": 2.0, "Cavity_Oral": 3.0}
MORPHOLOGY = (*(field.name for field in fields(Morphology)), "regularity")
TASKS = ("oar", "gtv")


@dataclass(frozen=True, slots=True)
class Protocol:
    """One data set's way of scoring.

    Attributes:
        structures: in the order of a stack of masks.
        metrics: the keys that `measure` returns, in the order of the table.
        measure: scores one structure: answer, reference, spacing in mm (z, y, x).
    """

    name: str
    structures: tuple[Structure, ...]
    metrics: tuple[str, ...]
    measure: Measure


def protocol(name: str, *, task: str = "oar") -> Protocol:
    """Return a protocol by its name.

    Args:
        name: one of PROTOCOLS.
        task: "oar" or "gtv", of SegRap2023; the others have one task.
    """
    if name == "segrap2023":
        structures = _of_network("npc_oar_gtv", f"npc_{task}")
        return Protocol(name, structures, ("DSC", "NSD"), _segrap)
    if name == "lnctvseg":
        return Protocol(name, _of_network("ln_ctv", "ln_ctv"), ("DSC", "ASD_mm", "HD95_mm"), _lnctvseg)
    if name == "lnq2023":
        return Protocol(name, (Structure("GTVn_Mediastinum", frozenset({1}), 0),), ("DSC", "ASSD_mm"), _lnq)
    if name == "npc-mri":
        shapes = tuple(f"{key}_{side}" for key in MORPHOLOGY for side in ("pred", "ref"))
        return Protocol(name, (Structure("GTVp_MR", frozenset({1}), 0),), ("DSC", "Jaccard", *shapes), _npc_mri)
    raise ValueError(f"unknown protocol {name!r}; there are {', '.join(PROTOCOLS)}")


PROTOCOLS = ("segrap2023", "lnctvseg", "lnq2023", "npc-mri")


def _of_network(pipeline: str, network: str) -> tuple[Structure, ...]:
    rois = [roi for roi in read_pipeline(PIPELINES_DIR / f"{pipeline}.toml").rois if roi.network == network]
    return tuple(
        Structure(roi.name, roi.labels, index, SEGRAP_TOLERANCES_MM.get(roi.name, SEGRAP_TOLERANCE_MM))
        for index, roi in enumerate(rois)
    )


def _segrap(found: Mask, reference: Mask, spacing_zyx_mm: Vec3, structure: Structure) -> Values:
    overlap = dice(found, reference)
    if overlap is None:
        return {"DSC": 1.0, "NSD": 1.0}
    if not found.any() or not reference.any():
        return {"DSC": 0.0, "NSD": 0.0}
    surfaces = surface_dice(found, reference, spacing_zyx_mm, structure.tolerance_mm)
    return {"DSC": round(overlap, 4), "NSD": round(surfaces, 4)}


def _lnctvseg(found: Mask, reference: Mask, spacing_zyx_mm: Vec3, structure: Structure) -> Values:
    del structure
    if not found.any() or not reference.any():
        return {"DSC": dice(found, reference), "ASD_mm": None, "HD95_mm": None}
    distances = border_distances(found, reference, spacing_zyx_mm)
    return {"DSC": dice(found, reference), "ASD_mm": distances.asd_mm, "HD95_mm": distances.hd95_mm}


def _lnq(found: Mask, reference: Mask, spacing_zyx_mm: Vec3, structure: Structure) -> Values:
    del structure
    if not found.any() or not reference.any():
        return {"DSC": dice(found, reference), "ASSD_mm": None}
    return {
        "DSC": dice(found, reference),
        "ASSD_mm": border_distances(found, reference, spacing_zyx_mm).assd_mm,
    }


def _npc_mri(found: Mask, reference: Mask, spacing_zyx_mm: Vec3, structure: Structure) -> Values:
    del structure
    values: dict[str, float | None] = {"DSC": dice(found, reference), "Jaccard": jaccard(found, reference)}
    for side, mask in (("pred", found), ("ref", reference)):
        shape = morphology(mask, spacing_zyx_mm) if mask.any() else None
        values |= {f"{key}_{side}": None if shape is None else getattr(shape, key) for key in MORPHOLOGY}
    return values
