"""The fifty structures of the HaN5K list: what they add to the anatomy, and how they follow from the other labels.

Label k is the k-th structure of the list. The labels are exclusive, smaller structures taking their place from larger
ones; a pipeline unites them again (Brain holds Brainstem, Cavity_Oral holds CavityOral_NoGum).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from npc_phantom.parts import HAN, Look, Sketch
from npc_phantom.shapes import Shape, loft, tube

U8 = npt.NDArray[np.uint8]

STRUCTURES = (
    "A_Aorta",
    "BrachialPlex_L",
    "BrachialPlex_R",
    "BronchialTree",
    "Cochlea_L",
    "Cochlea_R",
    "ETbone_L",
    "ETbone_R",
    "Hippocampus_L",
    "Hippocampus_R",
    "IAC_L",
    "IAC_R",
    "Larynx",
    "Bone_Mastoid_L",
    "Bone_Mastoid_R",
    "Cavity_Oral",
    "Glnd_Submand_L",
    "Glnd_Submand_R",
    "Glnd_Thyroid",
    "Tympanic_L",
    "Tympanic_R",
    "VestibulSemi_L",
    "VestibulSemi_R",
    "Eye_L",
    "Eye_R",
    "Lens_L",
    "Lens_R",
    "OpticNrv_L",
    "OpticNrv_R",
    "OpticChiasm",
    "Pituitary",
    "Brainstem",
    "Lobe_Temporal_L",
    "Lobe_Temporal_R",
    "SpinalCord",
    "Parotid_L",
    "Parotid_R",
    "Ear_Middle_L",
    "Ear_Middle_R",
    "Joint_TM_L",
    "Joint_TM_R",
    "Bone_Mandible_L",
    "Bone_Mandible_R",
    "Esophagus",
    "Trachea",
    "CavityOral_NoGum",
    "Musc_Constrict_S",
    "Musc_Constrict_M",
    "Musc_Constrict_I",
    "Brain",
)
"""In the order of the list: label k is `STRUCTURES[k - 1]`."""

LABEL = {name: k for k, name in enumerate(STRUCTURES, start=1)}

_OF_OAR: tuple[Sequence[str], ...] = (
    ("Brain",),
    ("Brainstem",),
    ("OpticChiasm",),
    ("Lobe_Temporal_L", "Lobe_Temporal_R"),
    *(("Hippocampus_L", "Hippocampus_R"),) * 2,
    ("Eye_L", "Eye_R"),
    ("Lens_L", "Lens_R"),
    ("OpticNrv_L", "OpticNrv_R"),
    ("Ear_Middle_L", "Ear_Middle_R"),
    ("IAC_L", "IAC_R"),
    *(("Tympanic_L", "Tympanic_R"),) * 2,
    *(("VestibulSemi_L", "VestibulSemi_R"),) * 2,
    ("Cochlea_L", "Cochlea_R"),
    *(("ETbone_L", "ETbone_R"),) * 2,
    ("Pituitary",),
    ("Cavity_Oral",),
    ("Bone_Mandible_L", "Bone_Mandible_R"),
    ("Glnd_Submand_L", "Glnd_Submand_R"),
    ("Parotid_L", "Parotid_R"),
    ("Bone_Mastoid_L", "Bone_Mastoid_R"),
    ("Joint_TM_L", "Joint_TM_R"),
    ("SpinalCord",),
    ("Esophagus",),
    ("Larynx", "Larynx", "Larynx"),
    ("Musc_Constrict_M", "Musc_Constrict_M"),
    ("Glnd_Thyroid",),
    ("Trachea",),
)
OF_OAR = tuple(name for group in _OF_OAR for name in group)
"""Which structure holds each of SegRap's exclusive labels: label k lies in `OF_OAR[k - 1]`."""

LEVELS_OF_CONSTRICTOR_MM = (-26.0, -54.0)
"""Canonical z where the superior constrictor ends and the middle one, at the hyoid bone."""

CARINA_MM = (0.0, 32.0, -268.0)
NERVE = Look(38.0, 6.0, 4.0, 3.0, soft_mm=0.4)


def aorta(sketch: Sketch, shape: Shape, look: Look) -> None:
    """Paint the aorta."""
    sketch.organ("A_Aorta", shape, look, LABEL["A_Aorta"], channel=HAN)


def bronchi() -> Shape:
    """Return both main bronchi and their first branches, from the bifurcation of the windpipe on."""
    x, y, z = CARINA_MM
    left = tube(
        [
            (x + 2.0, y, z),
            (x + 22.0, y + 4.0, z - 22.0),
            (x + 42.0, y + 12.0, z - 40.0),
            (x + 50.0, y + 20.0, z - 62.0),
        ],
        [8.5, 7.5, 6.0, 4.5],
    )
    right = tube(
        [
            (x - 2.0, y, z),
            (x - 17.0, y + 4.0, z - 20.0),
            (x - 27.0, y + 10.0, z - 42.0),
            (x - 32.0, y + 18.0, z - 62.0),
        ],
        [8.5, 8.0, 6.5, 4.5],
    )
    upper = tube([(x - 19.0, y + 5.0, z - 22.0), (x - 38.0, y + 2.0, z - 18.0)], [5.5, 4.0])
    return left | right | upper


def bronchial_tree(sketch: Sketch, wall: Look, lumen: Look) -> None:
    """Paint the bronchi."""
    tree = bronchi()
    sketch.organ("BronchialTree", tree, wall, LABEL["BronchialTree"], channel=HAN)
    sketch.look("bronchial_lumen", tree.grown(-1.6), lumen)


def plexus(sketch: Sketch) -> None:
    """Paint the brachial plexus: three roots that leave the spine and meet above the first rib."""
    meet = (46.0, 24.0, -138.0)
    left = tube([(14.0, 12.0, -66.0), (26.0, 16.0, -95.0), meet], [3.6, 4.0, 4.6])
    left = left | tube([(16.0, 15.0, -92.0), (30.0, 20.0, -116.0), meet], [3.6, 4.0, 4.6])
    left = left | tube([(18.0, 20.0, -118.0), meet, (70.0, 28.0, -154.0), (100.0, 32.0, -172.0)], [3.8, 5.2, 5.4, 5.0])
    labels = (LABEL["BrachialPlex_L"], LABEL["BrachialPlex_R"])
    sketch.organs("BrachialPlex", sketch.sides(left, shift_mm=1.0, size=0.03), NERVE, labels, channel=HAN)


def divisions(sketch: Sketch) -> None:
    """Label what lies within the teeth, and the three levels of the constrictor: each counts only within its organ."""
    inner = loft(
        (
            (-42.0, 0.0, -42.0, 8.0, 14.0),
            (-37.0, 0.0, -43.0, 20.0, 22.0),
            (-24.0, 0.0, -46.0, 21.5, 25.0),
            (-14.0, 0.0, -48.0, 22.5, 27.0),
            (-8.0, 0.0, -50.0, 23.5, 28.0),
            (8.0, 0.0, -51.0, 25.0, 28.0),
            (17.0, 0.0, -51.0, 24.0, 27.0),
        ),
        power=2.5,
    )
    sketch.organ("CavityOral_NoGum", sketch.vary(inner), None, LABEL["CavityOral_NoGum"], channel=HAN)
    upper, lower = LEVELS_OF_CONSTRICTOR_MM
    # Behind the mouth only, so that no level takes the place of what was labelled before.
    for name, top, bottom in (("S", 30.0, upper), ("M", upper, lower), ("I", lower, -110.0)):
        level = loft(((bottom, 0.0, -6.0, 34.0, 30.0), (top - 0.01, 0.0, -6.0, 34.0, 30.0)), power=4.0)
        label = LABEL[f"Musc_Constrict_{name}"]
        sketch.organ(f"Musc_Constrict_{name}", level, None, label, keeps=_OTHERS, channel=HAN)


def han_labels(oar: U8, added: U8) -> U8:
    """Return the label map of the list, (z, y, x) uint8.

    Args:
        oar: SegRap's exclusive labels.
        added: what this module painted, on the same grid.
    """
    table = np.zeros(256, dtype=np.uint8)
    table[1 : len(OF_OAR) + 1] = [LABEL[name] for name in OF_OAR]
    labels: U8 = table[oar]
    within = {"Cavity_Oral": _DIVIDES_MOUTH, "Musc_Constrict_M": _DIVIDES_CONSTRICTOR}
    for organ, parts in within.items():
        for part in parts:
            labels[(labels == LABEL[organ]) & (added == part) & (part != LABEL[organ])] = part
    free = (labels == 0) & (added > 0) & ~np.isin(added, (*_DIVIDES_MOUTH, *_DIVIDES_CONSTRICTOR))
    labels[free] = added[free]
    return labels


_DIVIDES_MOUTH = (LABEL["CavityOral_NoGum"],)
_DIVIDES_CONSTRICTOR = tuple(LABEL[f"Musc_Constrict_{level}"] for level in "SMI")
_OTHERS = tuple(LABEL[name] for name in ("A_Aorta", "BrachialPlex_L", "BrachialPlex_R", "BronchialTree"))
