"""Which of the received images may be a stack to contour, and which are excluded, each with its reason.

Excluded are other objects than CT and MR images, localizers, dose and protocol pages, secondary captures,
projections, CT images whose values are not Hounsfield units, the few images of another size or orientation that
scanners put into a series, and of an MR series with several images of each slice (Dixon parts, echoes) all but one
kind. Derived images beside original ones are excluded, too; a series of nothing else is a stack that says so: a
site's rule or a person may want it. What remains may still be no regular stack: that is `core.stacking`'s to say, as it
is that a series is of two patients.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from npc_contour.core.identity import is_one_patient
from npc_contour.core.mr_sequences import Part, part_of
from npc_contour.core.stacking import MIN_SLICES, SAME_ORIENTATION, slice_directions
from npc_contour.domain.series import InstanceHeader, Series

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SPATIAL_REGISTRATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.1"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
MAX_OBLIQUE_DEG = 20.0
"""A CT whose slices lean further than this from the axial plane was reformatted, whatever its Image Type says."""
MAX_STRAY_SHARE = 0.1
_SINGLE_FRAMES = (
    "several frames in one object: send the series as single-frame images, which scanners and archives export as"
    ' "classic" or "interoperable", or convert it with emf2sf of dcm4che'
)
_OBJECT_NAMES = {
    "1.2.840.10008.5.1.4.1.1.2.1": f"an Enhanced CT image ({_SINGLE_FRAMES})",
    "1.2.840.10008.5.1.4.1.1.2.2": f"a Legacy Converted Enhanced CT image ({_SINGLE_FRAMES})",
    "1.2.840.10008.5.1.4.1.1.4.1": f"an Enhanced MR image ({_SINGLE_FRAMES})",
    "1.2.840.10008.5.1.4.1.1.4.3": f"an Enhanced MR Color image ({_SINGLE_FRAMES})",
    "1.2.840.10008.5.1.4.1.1.4.4": f"a Legacy Converted Enhanced MR image ({_SINGLE_FRAMES})",
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.88.67": "a radiation dose report",
    "1.2.840.10008.5.1.4.1.1.88.22": "a structured report",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose",
    "1.2.840.10008.5.1.4.1.1.481.3": "an RT structure set",
    "1.2.840.10008.5.1.4.1.1.481.5": "an RT plan",
    SPATIAL_REGISTRATION_STORAGE: "a spatial registration",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.128": "a PET image",
}
_LOCALIZER = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "REF_SURVIEW", "SCANOGRAM"}
_PAGE = {"DOSE_INFO", "DOSE REPORT", "PATIENT_INFO", "RESULTS", "SCREEN SAVE", "SCREEN CAPTURE", "EXAM SUMMARY"}
_PROJECTION = {"CURVED", "PROJECTION IMAGE", "MIP", "MINIP", "VOLUME_RENDER"}
_REFORMATTED = {"MPR", "CSA MPR", "REFORMATTED", "AVERAGE"}
_MATERIAL = {
    "MAT_SPECIFIC",
    "MAT_REMOVED",
    "MAT_FRACTIONAL",
    "MAT_MODIFIED",
    "MAT_VALUE_BASED",
    "EFF_ATOMIC_NUM",
    "ELECTRON_DENSITY",
    "GSI MD",
    "IODINE",
    "IODINE_MAP",
}
"""Image Type value 4 of multi-energy CT (PS3.3 C.8.2.1.1.1), and what vendors wrote before. Not VMI: its values are
Hounsfield units of one keV."""
_SET_APART = (
    (_LOCALIZER, "a localizer"),
    (_PAGE, "a dose or protocol page"),
    (_PROJECTION, "a projection or curved reformation"),
    (_MATERIAL, "a material map of multi-energy CT, not an image in Hounsfield units"),
)
_HOUNSFIELD = {"", "HU"}
"""Rescale Type of a CT in Hounsfield units: absent means HU, which it may only be then (PS3.3 C.8.2.1, table C.8-3).
US says that the unit is not specified, HU_MOD that values were modified (C.11.1.1.2): neither is HU."""
_UNITS = {
    "US": "an unspecified unit",
    "HU_MOD": "modified Hounsfield units",
    "MGML": "mg/ml",
    "Z_EFF": "effective atomic numbers",
    "ED": "electron density",
    "EDW": "electron density relative to water",
    "PCT": "percent",
    "OD": "optical density",
}
_UCUM_HOUNSFIELD = "[hnsf'U]"
_MR_NAMES = tuple(
    (what, re.compile(rf"(?<![a-z])(?:{words})", re.IGNORECASE))
    for what, words in (
        (
            "a localizer",
            r"(?:loc|locali[sz]\w*|lokali[sz]\w*|rep[eé]rage|centrage|buscador|scout\w*|(?:smart)?survey|pilot|surview|topogram|3[\s-]?pl(?:ane)?|aahead|plan[\s-]?scan)(?![a-z])"
            r"|定位|位置決め|위치",
        ),
        (
            "a calibration scan",
            r"(?:calib\w*|cal|asset[\s-]?cal\w*|arc[\s-]?cal\w*|(?:sense|coil|clear)?[\s-]?ref(?:erence)?[\s-]?scan|s?sense[\s-]?ref\w*|ref[\s-]?sense"
            r"|coil[\s-]?(?:survey|sens\w*|check)|pre[\s-]?scan\w*|shim\w*|adj(?:ust\w*)?)(?![a-z])",
        ),
        (
            "a field map",
            r"(?:b[01][\s-]?map\w*|field[\s-]?map\w*|gre[\s-]?field\w*|tfl[\s-]?b1\w*)(?![a-z])",
        ),
        (
            "a subtraction",
            r"(?:sub(?![\s-]*(?:mand|max|ling|clav|mm|milli|cut|ment))|subs|subtr\w*|substr\w*|soustr\w*|sous(?=[\s-]*(?:t1|gado|inj))|subtrak\w*|sottraz\w*"
            r"|sustr\w*|restad\w*)(?![a-z])|减影|減影|サブトラクション|差分|감산",
        ),
        ("a page or research image", r"(?:phoenix\w*|screen[\s-]?save|exam[\s-]?card|research)(?![a-z])"),
    )
)
_CT_MAP = re.compile(
    r"(?<![a-z])(?:(?:iodine|jod|iode|iodio|yodo|iodo|jodium|calcium|water|fat|bone[\s-]?marrow)[\s-]*"
    r"(?:map|karte|kaart|mapa|mappa|density|dichte|conc\w*|overlay|no[\s-]?water|\(\s*(?:water|iodine|calcium|hap|fat)|suppr\w*)"
    r"|(?:carte|mapa|mappa|mapp?e)\s+(?:d['e]?\s*)?(?:iode|iodio|yodo|iodo)|z[\s-]?eff\w*|effective[\s-]?(?:z|atomic)|uric[\s-]?acid|rho[\s/-]*z(?![a-z])"
    r"|electron[\s-]?density|elektronendichte|material[\s-]?density|md[\s-]+(?:iodine|water|calcium)|\[?%edw|(?:cbf|cbv|mtt|ttp|tmax)(?![a-z]))"
    r"|碘[图圖密基]|ヨード(?:密度|マップ)|요오드\s?(?:맵|지도|밀도)|电子密度|電子密度",
    re.IGNORECASE,
)
"""Maps of a material, of atoms or of perfusion, which scanners also write as original CT images."""
_SUBTRACTED = {"SUB", "SUBTRACT", "SUBTRACTION", "SUBTRACTED", "SUBTR"}
SAME_ECHO_MS = 0.2
"""Echo times as near as this are one echo: scanners write what they measured."""
_PART_ORDER = (Part.WHOLE, Part.WATER, Part.IN_PHASE, Part.OPPOSED)
"""Of a Dixon series that holds several parts, the first of these is taken."""


@dataclass(frozen=True, slots=True)
class ExcludedImages:
    """Images excluded for one reason."""

    instances: tuple[InstanceHeader, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Grouped:
    """Candidates for contouring, at most one per Series Instance UID, and the excluded images."""

    series: tuple[Series, ...]
    excluded: tuple[ExcludedImages, ...]


def group(instances: Iterable[InstanceHeader]) -> Grouped:
    """Part images into stack candidates and those excluded.

    Args:
        instances: of any number of series and studies, in any order.
    """
    by_series: dict[str, list[InstanceHeader]] = defaultdict(list)
    derived: dict[str, list[InstanceHeader]] = defaultdict(list)
    by_reason: dict[tuple[str, str], list[InstanceHeader]] = defaultdict(list)
    received: dict[str, list[InstanceHeader]] = defaultdict(list)
    for instance in instances:
        received[instance.series_instance_uid].append(instance)
    # Of a series of two patients nothing is excluded: what differs may be all that is here of one of them.
    mixed = {uid: images for uid, images in received.items() if not is_one_patient(images)}
    for instance in (image for uid, images in received.items() if uid not in mixed for image in images):
        reason = aside_reason(instance)
        if reason is not None:
            by_reason[instance.series_instance_uid, reason].append(instance)
        elif derived_reason(instance) is not None:
            derived[instance.series_instance_uid].append(instance)
        else:
            by_series[instance.series_instance_uid].append(instance)
    for image in (image for uid in derived.keys() & by_series.keys() for image in derived[uid]):
        by_reason[image.series_instance_uid, derived_reason(image) or ""].append(image)
    excluded = [ExcludedImages(tuple(images), reason) for (_, reason), images in by_reason.items()]
    series = [Series(tuple(images)) for images in mixed.values()]
    for all_images in (derived | by_series).values():
        images, others = _one_acquisition(all_images)
        excluded.extend(others)
        main, strays = _part_strays(images)
        series.append(Series(tuple(main), derived=derived_reason(main[0]) or ""))
        excluded.extend(strays)
    return Grouped(tuple(_with_exclusions(one, excluded) for one in series), tuple(excluded))


def _with_exclusions(series: Series, excluded: Iterable[ExcludedImages]) -> Series:
    """Let a stack tell which images of its Series Instance UID are not in it: they may be its ends."""
    uid = series.series_instance_uid
    sentences = tuple(
        f"{len(one.instances)} images excluded: {one.reason}"
        for one in excluded
        if one.instances[0].series_instance_uid == uid
    )
    return replace(series, left_out=sentences) if sentences else series


def unit_fault(header: InstanceHeader) -> str | None:
    """Say in which unit the values of a CT are, where those are not Hounsfield units; None where they are."""
    if header.rescale_type.upper() not in _HOUNSFIELD:
        kind = header.rescale_type
        return f"values in {_UNITS.get(kind.upper(), 'another unit')}, not in Hounsfield units (Rescale Type {kind})"
    if header.real_world_units and _UCUM_HOUNSFIELD not in header.real_world_units:
        units = ", ".join(dict.fromkeys(header.real_world_units))
        return f"values in {units}, not in Hounsfield units (Real World Value Mapping)"
    return None


def object_name(sop_class_uid: str) -> str:
    """What an object is that is neither a CT nor an MR image, and where something helps, what does."""
    return _OBJECT_NAMES.get(sop_class_uid, f"an object of class {sop_class_uid[:64]}, not a CT or MR image")


def aside_reason(header: InstanceHeader) -> str | None:
    """Why one image is no slice of a stack to contour; None when it may be one."""
    kinds = {value.upper() for value in header.image_type}
    said = "\\".join(header.image_type)
    if header.sop_class_uid not in {CT_IMAGE_STORAGE, MR_IMAGE_STORAGE}:
        return object_name(header.sop_class_uid)
    if header.number_of_frames > 1:
        return f"an image of {header.number_of_frames} frames"
    what = next((what for names, what in _SET_APART if kinds & names), None)
    if what is not None:
        return f"{what} (Image Type {said})"
    if header.sop_class_uid == MR_IMAGE_STORAGE:
        return _mr_reason(header)
    if _CT_MAP.search(header.series_description.replace("_", " ")):
        return f"a map, not an image in Hounsfield units (series description {header.series_description!r})"
    return unit_fault(header) or _oblique_reason(header)


def derived_reason(header: InstanceHeader) -> str | None:
    """How an image says that it was made of others; None for an original one.

    Virtual mono-energetic and metal-artefact reduced CT is DERIVED and in Hounsfield units (PS3.3 C.7.6.1.1.2).
    """
    said = "\\".join(header.image_type)
    first, second = (*header.image_type, "", "")[:2]
    if {value.upper() for value in header.image_type} & _REFORMATTED:
        return f"reformatted (Image Type {said})"
    is_mr = header.sop_class_uid == MR_IMAGE_STORAGE
    if first.upper() == "DERIVED" and not (is_mr and second.upper() == "PRIMARY"):
        return f"derived from other images (Image Type {said})"
    return f"a secondary image (Image Type {said})" if second.upper() == "SECONDARY" else None


def _mr_reason(header: InstanceHeader) -> str | None:
    """Why an MR image is none to contour; filtered, distortion-corrected and Dixon images are DERIVED and welcome."""
    part = part_of(header)
    if part is Part.PHASE:
        return f"a phase image (Image Type {chr(92).join(header.image_type)})"
    if part is Part.FAT:
        return "the fat part of a Dixon acquisition"
    if kinds := {value.upper() for value in header.image_type} & _SUBTRACTED:
        return f"a subtraction (Image Type {min(kinds)})"
    if header.angio_flag.upper() == "Y":
        return "an angiography (Angio Flag Y)"
    for what, pattern in _MR_NAMES:
        if pattern.search(header.series_description.replace("_", " ")):
            return f"{what} (series description {header.series_description!r})"
    return None


def _oblique_reason(header: InstanceHeader) -> str | None:
    if header.orientation is None or not any(header.orientation):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = slice_directions(header)[0]
    if not np.isfinite(normal).all():
        return None
    angle_deg = float(np.degrees(np.arccos(min(1.0, abs(float(normal[2]))))))
    if angle_deg <= MAX_OBLIQUE_DEG:
        return None
    plane = ("sagittal", "coronal", "oblique axial")[int(np.argmax(np.abs(normal)))]
    return f"{plane}: the slices lean {angle_deg:.0f}° from the axial plane, as reformatted images do"


def _one_acquisition(images: list[InstanceHeader]) -> tuple[list[InstanceHeader], list[ExcludedImages]]:
    """Of an MR series that holds several images of each slice, one kind: a Dixon part, an echo.

    Of several spin echoes the last is kept (T2), of several gradient echoes the first (least dephasing).
    """
    if images[0].modality != "MR":
        return images, []
    parts = defaultdict(list)
    for image in images:
        parts[part_of(image)].append(image)
    best = min(parts, key=_PART_ORDER.index)
    excluded = [
        ExcludedImages(tuple(alike), f"the {part} part of a Dixon acquisition: the {best} part is taken")
        for part, alike in parts.items()
        if part is not best
    ]
    kept, others = _one_echo(parts[best])
    return kept, [*excluded, *others]


def _one_echo(images: list[InstanceHeader]) -> tuple[list[InstanceHeader], list[ExcludedImages]]:
    """Of echoes of the same slices one; echo times that differ between slices only are of one echo."""
    if any(image.echo_time_ms is None for image in images):
        return images, []
    ordered = sorted(images, key=_echo_ms)
    starts = [
        index
        for index in range(1, len(ordered))
        if _echo_ms(ordered[index]) - _echo_ms(ordered[index - 1]) > SAME_ECHO_MS
    ]
    echoes = [ordered[start:end] for start, end in zip([0, *starts], [*starts, len(ordered)], strict=True)]
    if len(echoes) < 2 or len({image.position_lps_mm for image in images}) == len(images):
        return images, []
    kept = echoes[0] if "GR" in images[0].scanning_sequence else echoes[-1]
    taken = f"that of {_echo_ms(kept[0]):g} ms is taken"
    return kept, [
        ExcludedImages(tuple(echo), f"the echo of {_echo_ms(echo[0]):g} ms: {taken}")
        for echo in echoes
        if echo is not kept
    ]


def _echo_ms(image: InstanceHeader) -> float:
    return image.echo_time_ms or 0.0


def _part_strays(images: list[InstanceHeader]) -> tuple[list[InstanceHeader], list[ExcludedImages]]:
    """The main stack of one series, and the few images that differ from it in size or orientation.

    Where two kinds are both many, all stay together: `core.stacking` then refuses the mixture by name.
    """
    kinds: list[list[InstanceHeader]] = []
    for image in images:
        kind = next((alike for alike in kinds if _is_alike(image, alike[0])), None)
        if kind is None:
            kinds.append([image])
        else:
            kind.append(image)
    largest = max(kinds, key=len)
    most_strays = max(1, int(MAX_STRAY_SHARE * len(largest)))
    main, strays = [], []
    for alike in kinds:
        if alike is largest or len(alike) > most_strays or len(largest) < MIN_SLICES:
            main.extend(alike)
        else:
            first = alike[0]
            strays.append(
                ExcludedImages(
                    tuple(alike),
                    f"{first.rows}x{first.columns} images with another size or orientation than the other"
                    f" {len(largest)} images of the series",
                )
            )
    return main, strays


def _is_alike(one: InstanceHeader, other: InstanceHeader) -> bool:
    """Whether two images have one size and, within the tolerance of a stack, one orientation."""
    ours, theirs = one.orientation or (), other.orientation or ()
    near = len(ours) == len(theirs) and all(abs(a - b) <= SAME_ORIENTATION for a, b in zip(ours, theirs, strict=True))
    return near and (one.rows, one.columns) == (other.rows, other.columns)
