"""Where structures lie among each other: the patient's own anatomy is laid over the usual one, and what strays is told.

The centres of the structures found are moved, turned and scaled onto the usual places such that most agree (iteratively
reweighted least squares with Cauchy weights, Umeyama 1991 at each turn), so one structure that is wrong does not move
the others. What then lies further off than its own spread allows is misplaced; what lies across the middle is on the
wrong side; a size unlike an adult's says that a spacing is wrong; where most disagree, the whole scan is doubtful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.findings import Finding, FindingCode, Severity, StructureRule
from npc_contour.domain.geometry import FloatArray

BoolArray = npt.NDArray[np.bool_]

FIXED_SPREAD_MM = 12.0
"""Structures that stray more are no landmarks: the neck bends."""
LEAST_LANDMARKS = 6
ROOM_MM, SPREADS = 5.0, 2.5
"""A centre may stray by this and so many times its spread."""
STOP_MM = 60.0
ACROSS_MM = 6.0
USUAL_SIZE, POSSIBLE_SIZE = (0.86, 1.17), (0.76, 1.3)
"""Of a head beside the usual one, along each axis; beyond the first it is told, beyond the second it is no head."""
TILT_DEG = 40.0
MANY = 0.34
"""More than this share of the landmarks astray: the scan as a whole is doubtful."""
NO_SIZE = 0.3
"""A slope below says that the places do not follow one another at all."""
_TURNS = 25
_AXES = ("from side to side", "from front to back", "from head to foot")


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How a patient's places become usual ones: `scale * turn @ p + shift`.

    Attributes:
        turn: (3, 3) rotation.
        shift: (3,) mm.
    """

    scale: float
    turn: FloatArray
    shift: FloatArray

    def of(self, points: FloatArray) -> FloatArray:
        """Map (n, 3) patient positions in mm into the usual frame."""
        moved: FloatArray = self.scale * points @ self.turn.T + self.shift
        return moved

    @property
    def tilt_deg(self) -> float:
        """Angle of the turn."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.turn) - 1.0) / 2.0, -1.0, 1.0))))


def look_at_places(centres_lps_mm: Mapping[str, FloatArray], rules: Mapping[str, StructureRule]) -> list[Finding]:
    """Compare where structures lie with where they usually do.

    Args:
        centres_lps_mm: of the structures found and whole, by name.
        rules: of every structure that has a usual place.

    Returns:
        Findings; none where fewer than `LEAST_LANDMARKS` landmarks were found.
    """
    names = [name for name in centres_lps_mm if name in rules and rules[name].place_lps_mm is not None]
    found = np.array([centres_lps_mm[name] for name in names]).reshape(-1, 3)
    usual = np.array([rules[name].place_lps_mm for name in names]).reshape(-1, 3)
    spread = np.array([rules[name].spread_mm for name in names])
    fixed = spread <= FIXED_SPREAD_MM
    if np.count_nonzero(fixed) < LEAST_LANDMARKS:
        return []
    fit = robust_fit(found[fixed], usual[fixed], spread[fixed])
    placed = fit.of(found)
    astray_mm = np.linalg.norm(placed - usual, axis=1)
    room_mm = ROOM_MM + SPREADS * spread
    whole = _of_the_scan(fit, placed[fixed], usual[fixed], astray_mm[fixed] > room_mm[fixed])
    if any(one.code is FindingCode.ANATOMY for one in whole):
        return whole
    z_mm = found[:, 2]
    return whole + [
        finding
        for at, name in enumerate(names)
        if (finding := _of_one(name, placed[at], usual[at], float(astray_mm[at]), float(room_mm[at]), float(z_mm[at])))
    ]


def robust_fit(found: FloatArray, usual: FloatArray, spread_mm: FloatArray) -> Fit:
    """Lay (n, 3) places found over the usual ones such that most agree."""
    fit = Fit(1.0, np.eye(3), np.median(usual - found, axis=0))
    room_mm = ROOM_MM + spread_mm
    for _ in range(_TURNS):
        away = np.linalg.norm(fit.of(found) - usual, axis=1) / room_mm
        fit = _least_squares(found, usual, 1.0 / (1.0 + away**2) / room_mm**2)
    return fit


def _least_squares(found: FloatArray, usual: FloatArray, weights: FloatArray) -> Fit:
    weights = weights / weights.sum()
    middle_found, middle_usual = weights @ found, weights @ usual
    a, b = found - middle_found, usual - middle_usual
    left, sizes, right = np.linalg.svd((b * weights[:, np.newaxis]).T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = left @ np.diag(signs) @ right
    scale = float((sizes * signs).sum() / (weights @ (a**2).sum(axis=1)))
    return Fit(scale, turn, middle_usual - scale * turn @ middle_found)


def _of_the_scan(fit: Fit, placed: FloatArray, usual: FloatArray, astray: BoolArray) -> list[Finding]:
    """What the landmarks together say: a size unlike an adult's, too many astray, a head far from straight."""
    findings = []
    share = float(np.mean(astray))
    trusted = ~astray if share <= MANY else np.ones_like(astray)
    sizes = axis_sizes(placed[trusted], usual[trusted]) / fit.scale
    for axis, size in zip(_AXES, sizes.tolist(), strict=True):
        if USUAL_SIZE[0] <= size <= USUAL_SIZE[1] or size < NO_SIZE:
            continue
        severity = Severity.CHECK if POSSIBLE_SIZE[0] <= size <= POSSIBLE_SIZE[1] else Severity.STOP
        words = f"the head measures {size:.2f} of the usual {axis}: is the spacing of the images right?"
        findings.append(Finding(FindingCode.SCALE, severity, "", words, None, {"size": size}))
    if share > MANY:
        words = (
            f"{np.count_nonzero(astray)} of {len(astray)} landmarks lie where they do not belong: are head and foot,"
            " front and back, left and right of the images as they say, and is it a head?"
        )
        return [*findings, Finding(FindingCode.ANATOMY, Severity.STOP, "", words, None, {"share": share})]
    if fit.tilt_deg > TILT_DEG:
        words = f"the head lies {fit.tilt_deg:.0f} degrees from straight: is the patient's position right?"
        findings.append(Finding(FindingCode.TILT, Severity.CHECK, "", words, None, {"degrees": fit.tilt_deg}))
    return findings


def axis_sizes(placed: FloatArray, usual: FloatArray) -> FloatArray:
    """How large a fitted patient is beside the usual one along x, y and z: slopes of regressions."""
    a, b = placed - placed.mean(axis=0), usual - usual.mean(axis=0)
    sizes: FloatArray = (a * b).sum(axis=0) / (b * b).sum(axis=0)
    return sizes


def _of_one(
    name: str, placed: FloatArray, usual: FloatArray, astray_mm: float, room_mm: float, z_mm: float
) -> Finding | None:
    numbers = {"astray_mm": astray_mm, "allowed_mm": room_mm}
    if name.endswith(("_L", "_R")) and placed[0] * usual[0] < 0 and abs(placed[0]) > ACROSS_MM:
        words = f"{name}: lies on the patient's {'right' if name.endswith('_L') else 'left'} side"
        return Finding(FindingCode.SIDE, Severity.STOP, name, words, z_mm, numbers)
    if astray_mm <= room_mm:
        return None
    severity = Severity.STOP if astray_mm > max(STOP_MM, 2.0 * room_mm) else Severity.CHECK
    words = f"{name}: its centre lies {astray_mm:.0f} mm from where it usually is ({_where(placed - usual)})"
    return Finding(FindingCode.PLACE, severity, name, words, z_mm, numbers)


def _where(away: FloatArray) -> str:
    words = (("left", "right"), ("back", "front"), ("up", "down"))
    parts: Sequence[str] = [
        f"{abs(mm):.0f} mm {pair[0] if mm > 0 else pair[1]}" for mm, pair in zip(away.tolist(), words, strict=True)
        if abs(mm) >= 3.0
    ]  # fmt: skip
    return ", ".join(parts)
