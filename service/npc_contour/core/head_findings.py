"""Judging how a head lies in its scan: which way round, how large, and what of it the scan holds."""

from __future__ import annotations

from npc_contour.core.head_shape import HeadShape
from npc_contour.domain.findings import Finding, FindingCode, ImageRules, Severity, worst

_ALONG = {"width": "from side to side", "length": "from front to back", "height": "from the vertex to its base"}
_SPACING = {"width": "pixel spacing", "length": "pixel spacing", "height": "distance between slices"}


def look_at_head(shape: HeadShape, rules: ImageRules) -> list[Finding]:
    """Judge how a head lies in its scan; nothing but the first where it lies the wrong way round."""
    turned = _upside_down(shape) or _facing(shape, rules)
    if turned is not None:
        return [turned]
    found = [_size(shape, rules), _top(shape, rules), *_ends(shape, rules), _edge(shape, rules), _beside(shape, rules)]
    return [one for one in found if one is not None]


def _upside_down(shape: HeadShape) -> Finding | None:
    if not shape.is_upside_down:
        return None
    words = (
        f"the patient is upside down: {shape.above_cc:.0f} cc of the body lie above the skull and"
        f" {shape.below_cc:.0f} cc below it; do the slices' positions run the way the patient lay?"
    )
    numbers = {"above_cc": shape.above_cc, "below_cc": shape.below_cc}
    return Finding(FindingCode.ORIENTATION, Severity.STOP, "", words, None, numbers)


def _facing(shape: HeadShape, rules: ImageRules) -> Finding | None:
    if shape.face_ap_mm is None or shape.face_lr_mm is None:
        return None
    least = rules["face_mm"].usual[0]
    side, back = shape.face_lr_mm, shape.face_ap_mm
    if -back >= max(least, abs(side)):
        return None
    if max(back, abs(side)) < least:
        return None
    if abs(side) > abs(back):
        where = f"{abs(side):.0f} mm to the {'left' if side > 0 else 'right'} of the middle"
    else:
        where = f"{back:.0f} mm behind the middle"
    words = (
        f"the face looks the wrong way: the air of nose and throat lies {where} of head and neck; {least:.0f} mm or"
        " more before it are expected. Are Image Orientation and Patient Position right?"
    )
    numbers = {"to_the_left_mm": side, "to_the_back_mm": back}
    return Finding(FindingCode.ORIENTATION, Severity.STOP, "", words, None, numbers)


def _size(shape: HeadShape, rules: ImageRules) -> Finding | None:
    sizes = {"width": shape.width_mm, "length": shape.length_mm}
    is_whole = rules["top_cm2"].severity(shape.top_cm2) is None
    if shape.height_mm is not None and is_whole:
        sizes["height"] = shape.height_mm
    severities = {name: rules[f"skull_{name}_mm"].severity(mm) for name, mm in sizes.items()}
    if not is_whole:
        severities["length"] = None
    severity = worst(severities.values())
    if severity is None:
        return None
    parts = [
        f"{mm:.0f} mm {_ALONG[name]} ({_range(rules, f'skull_{name}_mm')} mm are usual)" for name, mm in sizes.items()
    ]
    spacings = [_SPACING[name] for name, one in severities.items() if one is not None]
    words = f"the skull measures {', '.join(parts)}: is the {' and the '.join(dict.fromkeys(spacings))} right?"
    return Finding(FindingCode.SCALE, severity, "", words, None, {f"{name}_mm": mm for name, mm in sizes.items()})


def _range(rules: ImageRules, name: str) -> str:
    least, most = rules[name].usual
    return f"{least:g} to {most:g}"


def _top(shape: HeadShape, rules: ImageRules) -> Finding | None:
    severity = rules["top_cm2"].severity(shape.top_cm2)
    if severity is None:
        return None
    words = (
        f"the scan begins within the head: its uppermost slice shows {shape.top_cm2:.0f} cm² of it, at most"
        f" {rules['top_cm2'].usual[1]:.0f} cm² where the vertex is in the scan; what lies above has no contours"
    )
    return Finding(FindingCode.COVERAGE, severity, "", words, None, {"top_cm2": shape.top_cm2})


def _ends(shape: HeadShape, rules: ImageRules) -> list[Finding | None]:
    below = rules["below_skull_mm"].severity(shape.below_skull_mm)
    beyond = rules["below_vertex_mm"].severity(shape.below_vertex_mm)
    found: list[Finding | None] = []
    if below is not None:
        words = (
            f"the scan ends {shape.below_skull_mm:.0f} mm below the skull, {rules['below_skull_mm'].usual[0]:.0f} mm or"
            " more are expected: it does not hold the whole neck"
        )
        numbers = {"below_skull_mm": shape.below_skull_mm}
        found.append(Finding(FindingCode.COVERAGE, below, "", words, None, numbers))
    if beyond is not None:
        words = (
            f"the scan reaches {shape.below_vertex_mm:.0f} mm below the vertex, up to"
            f" {rules['below_vertex_mm'].usual[1]:.0f} mm are what the networks know: look for contours in the chest"
        )
        numbers = {"below_vertex_mm": shape.below_vertex_mm}
        found.append(Finding(FindingCode.COVERAGE, beyond, "", words, None, numbers))
    return found


def _edge(shape: HeadShape, rules: ImageRules) -> Finding | None:
    severity = rules["edge_mm"].severity(shape.edge_mm)
    if severity is None:
        return None
    words = (
        f"the field of view cuts head or neck: {shape.edge_mm:.0f} mm of the outline lie on the edge of the image"
        f" (slice at z {shape.edge_z_mm:.1f} mm)"
    )
    return Finding(FindingCode.FIELD_OF_VIEW, severity, "", words, shape.edge_z_mm, {"edge_mm": shape.edge_mm})


def _beside(shape: HeadShape, rules: ImageRules) -> Finding | None:
    severity = rules["beside_cm2"].severity(shape.beside_cm2)
    if severity is None:
        return None
    words = (
        f"{shape.beside_cm2:.0f} cm² of something with bone in it lie beside the head (slice at z"
        f" {shape.beside_z_mm:.1f} mm): arms or hands?"
    )
    return Finding(FindingCode.ARMS, severity, "", words, shape.beside_z_mm, {"beside_cm2": shape.beside_cm2})
