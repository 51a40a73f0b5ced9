"""How tissues look on MR: signals of spin-echo T1, T2 and T1 with contrast agent, from what they are on CT.

Signals are relative: fat on T1 is about 850. Tissue that CT tells apart takes its signal from its Hounsfield units;
tissue that looks alike on CT and differently on MR is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_phantom.parts import Part

F32 = npt.NDArray[np.float32]
Signals = tuple[float, float, float]

FAT: Signals = (850.0, 560.0, 860.0)
MUSCLE: Signals = (370.0, 180.0, 430.0)
WATER: Signals = (140.0, 1050.0, 150.0)
BONE: Signals = (45.0, 40.0, 50.0)
MARROW: Signals = (560.0, 300.0, 620.0)
MUCOSA: Signals = (360.0, 640.0, 820.0)
ARTERY: Signals = (80.0, 45.0, 420.0)
VEIN: Signals = (140.0, 120.0, 640.0)
NOTHING: Signals = (0.0, 0.0, 0.0)
SOFT: Signals = (380.0, 330.0, 480.0)

NAMED: dict[str, Signals] = {
    "Brain": (390.0, 430.0, 405.0),
    "white_matter": (500.0, 330.0, 515.0),
    "temporal_white": (500.0, 330.0, 515.0),
    "basal_ganglia": (400.0, 380.0, 415.0),
    "TemporalLobe": (390.0, 430.0, 405.0),
    "Hippocampus": (385.0, 450.0, 400.0),
    "cerebellum": (410.0, 410.0, 425.0),
    "BrainStem": (460.0, 360.0, 475.0),
    "SpinalCord": (440.0, 370.0, 455.0),
    "OpticChiasm": (450.0, 370.0, 465.0),
    "OpticNerve": (440.0, 370.0, 450.0),
    "Pituitary": (430.0, 420.0, 860.0),
    "cavernous": (330.0, 300.0, 800.0),
    "Lens": (420.0, 120.0, 430.0),
    "Eye": (330.0, 260.0, 420.0),
    "vitreous": WATER,
    "VestibulSemi": WATER,
    "Cochlea": WATER,
    "Parotid": (620.0, 470.0, 700.0),
    "Submandibular": (470.0, 460.0, 620.0),
    "Thyroid": (450.0, 450.0, 720.0),
    "pharynx_wall": MUCOSA,
    "uvula": MUCOSA,
    "lower_turbinate": MUCOSA,
    "middle_turbinate": MUCOSA,
    "PharynxConst": (375.0, 230.0, 470.0),
    "tongue": (440.0, 260.0, 480.0),
    "OralCavity": (440.0, 260.0, 480.0),
    "lingual_septum": FAT,
    "discs": (330.0, 380.0, 350.0),
    "BrachialPlex": (380.0, 430.0, 430.0),
    "tentorium": (300.0, 200.0, 620.0),
    "falx": (300.0, 200.0, 560.0),
    "jugular": VEIN,
    "sigmoid_sinus": VEIN,
    "common_carotid": ARTERY,
    "internal_carotid": ARTERY,
    "external_carotid": ARTERY,
    "vertebral_artery": ARTERY,
    "A_Aorta": ARTERY,
    "Mastoid": (60.0, 70.0, 70.0),
    "beam_hardening": NOTHING,
    "crown": NOTHING,
    "tracheal_lumen": NOTHING,
    "tumour_core": (360.0, 560.0, 520.0),
    "necrosis": (330.0, 760.0, 380.0),
}
"""By the part's name without side or number."""

UNSEEN = frozenset({"beam_hardening", "mask", "under_mask"})
"""What only a CT shows."""

TEXTURE = 0.06
"""Standard deviation of a tissue's texture as a share of its signal."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What makes one examination's contrasts differ from another's.

    Attributes:
        tumour: signals of the primary tumour and, about, of its nodes.
        fat_kept: share of the fat's signal that each sequence keeps: below 1 with fat saturation.
        weighting: exponent on signals relative to muscle, one a sequence: stronger or weaker contrast.
    """

    tumour: Signals
    fat_kept: Signals
    weighting: Signals


def looks_on_mr(parts: Sequence[Part], protocol: Protocol) -> tuple[F32, F32]:
    """Return how every part looks: (parts, 6) twice, in the columns of `kernels.Program`.

    The first shows T1 and T1 with contrast agent, the second T2 (twice).
    """
    first, second = np.zeros((len(parts), 6), np.float32), np.zeros((len(parts), 6), np.float32)
    for k, part in enumerate(parts):
        if part.look is None or part.name in UNSEEN:
            continue
        t1, t2, t1c = _signals(part, protocol)
        rest = (part.look.opacity, part.look.soft_mm)
        grain = part.look.texture_mm
        first[k] = (t1, t1c, TEXTURE * t1, grain, *rest)
        second[k] = (t2, t2, TEXTURE * t2, grain, *rest)
    return first, second


def _signals(part: Part, protocol: Protocol) -> Signals:
    name = part.name.rsplit("_", 1)[0] if part.name.endswith(("_L", "_R")) else part.name
    stem = name.rstrip("0123456789").rstrip("_")
    if stem == "GTVp":
        return _weighted(protocol.tumour, protocol)
    if stem == "GTVnd":
        t1, t2, t1c = protocol.tumour
        return _weighted((t1, 1.08 * t2, 0.95 * t1c), protocol)
    signals = NAMED.get(stem) or NAMED.get(name) or _by_density(part)
    if signals in {FAT, MARROW}:
        kept = protocol.fat_kept
        signals = (signals[0] * kept[0], signals[1] * kept[1], signals[2] * kept[2])
    return _weighted(signals, protocol)


def _weighted(signals: Signals, protocol: Protocol) -> Signals:
    values = [
        reference * (signal / reference) ** power
        for signal, reference, power in zip(signals, MUSCLE, protocol.weighting, strict=True)
    ]
    return values[0], values[1], values[2]


def _by_density(part: Part) -> Signals:
    hu, gain = (part.look.hu, part.look.enhancement_hu) if part.look else (0.0, 0.0)
    classes = (
        (-300.0, NOTHING),
        (-40.0, FAT),
        (-5.0, (620.0, 470.0, 700.0)),
        (12.0, WATER if gain < 2.0 else SOFT),
        (30.0, (250.0, 900.0, 320.0)),
        (60.0, MUCOSA if gain > 40.0 else MUSCLE),
        (150.0, SOFT),
        (280.0, (280.0, 200.0, 320.0)),
        (480.0, MARROW),
    )
    return next((signals for limit, signals in classes if hu < limit), BONE)
