"""Which images to distrust before any network has run, and for which cause.

Each CT of a case is measured (`core.image_values`, `core.head_shape`, `core.vessels`) and held against
`image_rules.toml`. Of several causes the one is told that makes the others meaningless: no distances of a scan that is
upside down, no vessels among values that are no Hounsfield units. MR has no scale of values, and says nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from npc_contour.core.head_findings import look_at_head
from npc_contour.core.head_shape import head_shape
from npc_contour.core.image_values import AIR_HU, SOFT_HU, Coarse, ImageValues, Metal, Padding, values_of
from npc_contour.core.vessels import VesselFinding, look_at_vessels
from npc_contour.domain.findings import Finding, FindingCode, ImageRules, Severity, worst, worst_first
from npc_contour.domain.pipelines import Contrast, Role
from npc_contour.domain.volumes import Volume

SAME_SCALE = (0.93, 1.07)
"""Values within are Hounsfield units plus something, others times something."""
CROWN_CC = 1.0
"""Less metal leaves no streaks that matter; what is dark there is air."""
NO_VESSELS = frozenset({FindingCode.HU_SCALE, FindingCode.NOISE, FindingCode.PADDING, FindingCode.METAL})
"""What looks like a vessel, or hides one."""


@dataclass(frozen=True, slots=True)
class Image:
    """One series of a case.

    Attributes:
        role: what it is to the pipeline.
        volume: its voxels.
    """

    role: Role
    volume: Volume


def look_at_images(images: Sequence[Image], rules: ImageRules) -> tuple[Finding, ...]:
    """Return every doubt about the CTs of one case, worst first; none without rules.

    Args:
        images: of the case, the planning series first; what is told of it is not told again of others.
        rules: what is usual.
    """
    if not rules:
        return ()
    findings: list[Finding] = []
    told: set[tuple[FindingCode, Severity]] = set()
    readable = []
    for image in images:
        if image.volume.modality != "CT":
            continue
        coarse = Coarse.of(image.volume)
        values = values_of(coarse)
        if values is None:
            continue
        own = look_at_values(values, rules)
        if not {one.code for one in own} & NO_VESSELS:
            readable.append(image)
        # Padding that reads as tissue lies about what is body, and where it ends.
        shape = (
            None
            if image.role.anatomy != "head" or _is_stopped(own, FindingCode.PADDING)
            else head_shape(coarse, values)
        )
        own += [] if shape is None else _unless_rough(look_at_head(shape, rules), own)
        findings += [_of(image, one) for one in own if (one.code, one.severity) not in told]
        told |= {(one.code, one.severity) for one in own}
    return worst_first([*findings, *_contrast(readable)])


def causes(volume: Volume, rules: ImageRules) -> tuple[str, ...]:
    """Return why nothing can be recognised in a CT, as far as its values say: sentences; none where they are usual."""
    values = values_of(Coarse.of(volume)) if rules else None
    return () if values is None else tuple(one.sentence for one in look_at_values(values, rules))


def look_at_values(values: ImageValues, rules: ImageRules) -> list[Finding]:
    """Judge what the values of one CT say of themselves."""
    padding = [] if values.padding is None else [_padding(values.padding, values)]
    if _is_stopped(padding, FindingCode.PADDING):
        return padding
    found = [
        _scale(values, rules),
        _noise(values, rules),
        _kernel(values, rules),
        *(() if values.metal is None else [_metal(values.metal, rules)]),
    ]
    return [*padding, *(one for one in found if one is not None)]


def _of(image: Image, finding: Finding) -> Finding:
    return replace(finding, sentence=f"{image.role.name}: {finding.sentence}")


def _unless_rough(of_head: Sequence[Finding], of_values: Sequence[Finding]) -> list[Finding]:
    """Streaks and noise are as dense as bone: where there are any, nothing is said of the size of the skull."""
    is_rough = any(one.code in {FindingCode.METAL, FindingCode.NOISE} for one in of_values)
    return [one for one in of_head if not (is_rough and one.code is FindingCode.SCALE)]


def _is_stopped(findings: Iterable[Finding], code: FindingCode) -> bool:
    return any(one.code is code and one.severity is Severity.STOP for one in findings)


# Values.


def _scale(values: ImageValues, rules: ImageRules) -> Finding | None:
    air, soft = rules["air_hu"], rules["soft_tissue_hu"]
    severity = worst([air.severity(values.air), soft.severity(values.soft)])
    if severity is None:
        return None
    if SAME_SCALE[0] < values.scale < SAME_SCALE[1]:
        guess = f"Hounsfield units {values.offset:+.0f} (Rescale Intercept)"
    else:
        guess = f"Hounsfield units times {values.scale:.2g} (Rescale Slope)"
    words = (
        f"air lies at {values.air:.0f} and soft tissue at {values.soft:.0f}, about {AIR_HU:.0f} and {SOFT_HU:.0f} HU"
        f" are expected: the values look like {guess}"
    )
    numbers = {"air": values.air, "soft_tissue": values.soft, "scale": values.scale, "offset_hu": values.offset}
    return Finding(FindingCode.HU_SCALE, severity, "", words, None, numbers)


def _noise(values: ImageValues, rules: ImageRules) -> Finding | None:
    severity = rules["noise_hu"].severity(values.noise_hu)
    if severity is None:
        return None
    words = (
        f"noise of {values.noise_hu:.0f} HU (standard deviation in even soft tissue), at most"
        f" {rules['noise_hu'].usual[1]:.0f} HU are usual: is it a reconstruction for planning?"
    )
    return Finding(FindingCode.NOISE, severity, "", words, None, {"noise_hu": values.noise_hu})


def _kernel(values: ImageValues, rules: ImageRules) -> Finding | None:
    severity = None if values.edge_hu is None else rules["edge_hu"].severity(values.edge_hu)
    if severity is None or values.edge_hu is None:
        return None
    words = (
        f"the air beside the skin lies {values.edge_hu:+.0f} HU from air elsewhere, at least"
        f" {rules['edge_hu'].usual[0]:+.0f} HU are usual: edges are overshot, as by a sharp kernel, and the networks"
        " know smooth ones"
    )
    return Finding(FindingCode.KERNEL, severity, "", words, None, {"edge_hu": values.edge_hu})


def _metal(metal: Metal, rules: ImageRules) -> Finding | None:
    streaks = rules["streak_cm2"].severity(metal.streak_cm2) if metal.volume_cc > CROWN_CC else None
    severity = worst([rules["metal_cc"].severity(metal.volume_cc), streaks])
    if severity is None:
        return None
    words = (
        f"{metal.volume_cc:.1f} cc of metal along {metal.slices_mm:.0f} mm, with dark streaks over"
        f" {metal.streak_cm2:.0f} cm² of a slice (most of it at z {metal.z_mm:.1f} mm): contours near it are uncertain"
    )
    numbers = {"metal_cc": metal.volume_cc, "length_mm": metal.slices_mm, "streak_cm2": metal.streak_cm2}
    return Finding(FindingCode.METAL, severity, "", words, metal.z_mm, numbers)


def _padding(padding: Padding, values: ImageValues) -> Finding:
    numbers = {"value": padding.value, "share": padding.share}
    what = (
        f"the corners of every slice ({padding.share:.0%} of the voxels) hold {padding.value:.0f}, air is"
        f" {values.air:.0f}"
    )
    if padding.value < values.air:
        words = f"{what}: padding without Pixel Padding Value, taken as air"
        return Finding(FindingCode.PADDING, Severity.NOTE, "", words, None, numbers)
    words = f"{what}: padding without Pixel Padding Value, which reads as tissue or metal"
    return Finding(FindingCode.PADDING, Severity.STOP, "", words, None, numbers)


# Contrast.


def _contrast(images: Sequence[Image]) -> list[Finding]:
    """Whether vessels shine where they should, and only there."""
    asked = [image for image in images if image.role.contrast is not Contrast.ANY]
    seen = {image.role.name: look_at_vessels(image.volume) for image in asked}
    wrong = [image.role for image in asked if seen[image.role.name].says not in {None, image.role.contrast}]
    if len(wrong) == 2 and wrong[0].contrast is not wrong[1].contrast:
        return [_swapped(wrong, seen)]
    return [_not_as_asked(role, seen[role.name]) for role in wrong]


def _swapped(roles: Sequence[Role], seen: Mapping[str, VesselFinding]) -> Finding:
    plain, enhanced = sorted(roles, key=lambda role: role.contrast is Contrast.PRESENT)
    numbers = {f"{role.name}_cc": seen[role.name].dense_cc for role in roles}
    words = (
        f"the phases look swapped: vessels shine in {plain.name} ({seen[plain.name].dense_cc:.1f} cc) and not in"
        f" {enhanced.name} ({seen[enhanced.name].dense_cc:.1f} cc)"
    )
    return Finding(FindingCode.CONTRAST, Severity.STOP, "", words, None, numbers)


def _not_as_asked(role: Role, seen: VesselFinding) -> Finding:
    what = "no vessels shine" if role.contrast is Contrast.PRESENT else "vessels shine, and none should"
    words = f"{role.name}: {what}: {seen.text}"
    return Finding(FindingCode.CONTRAST, Severity.CHECK, "", words, None, {f"{role.name}_cc": seen.dense_cc})
