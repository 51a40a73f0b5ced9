"""Apply a site's profile to ROI masks: derive, rename, choose, order; and check that it can be applied at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.components import BoolArray
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.margins import with_margin_mm
from npc_contour.domain.geometry import Grid
from npc_contour.domain.profiles import DerivedRoi, Margin, Profile, RoiOverride
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused

MAX_LABEL_LENGTH = 16
BODY_ABOVE_HU = -300
"""The body is what is denser, largest in one piece, with its cavities."""
THIN_MM = 8.0
"""What is thinner in a slice is no body of a CT: the shell of a couch, a mask, also where it touches the skin."""
LONG_MM, TOUCHING_MM = 20.0, 60.0
"""A row of a couch's shell is at least so long beside the patient, and touches the skin over so much at most."""
MR_BODY_SHARE = 0.12
"""Of the 99th percentile: in MR the body is what gives at least this much signal."""

_ANY = RoiSpec("Any", InterpretedType.ORGAN, "", frozenset({1}), (0, 0, 0))
_NO_CHANGE = RoiOverride()
_LABEL_FIELDS = {"label": "L" * 10}
_TEXT_FIELDS = {"label": "L", "title": "T"}


def profile_faults(profile: Profile, tables: Sequence[Sequence[RoiSpec]]) -> list[str]:
    """Return what makes a profile unusable, as sentences; empty when nothing does.

    Args:
        profile: the site's.
        tables: the ROIs of each pipeline that will use it; what only one of them has may be named.
    """
    known = {spec.name for table in tables for spec in table}
    faults = [f"override of {name}: no pipeline has such an ROI" for name in profile.overrides if name not in known]
    for roi in profile.derived:
        missing = [name for name in (*roi.union_of, *roi.minus) if name not in known]
        faults += [f"derived ROI {roi.name}: {name} is not known where it is used" for name in missing]
        if roi.name in known:
            faults.append(f"derived ROI {roi.name} has the name of another ROI")
        known.add(roi.name)
    faults += [f"rois names {name}, which no pipeline has" for name in profile.rois if name not in known]
    for table in tables:
        faults += [fault for fault in _name_faults(profile, written_names(profile, table)) if fault not in faults]
    return faults


def written_names(profile: Profile, table: Sequence[RoiSpec]) -> list[str]:
    """Return the names under which a pipeline's ROIs are written, in order."""
    names = _order(profile, _with_derived(profile, [spec.name for spec in table]))
    return [profile.overrides.get(name, _NO_CHANGE).name or name for name in names]


def template_faults(profile: Profile) -> list[str]:
    """Return what is wrong with a profile's templates, whatever the pipeline."""
    faults = []
    for name, template, fields in (
        ("label", profile.label, _LABEL_FIELDS),
        ("doubtful_label", profile.doubtful_label, _LABEL_FIELDS | {"severity": "CHECK"}),
        ("series_description", profile.series_description, _TEXT_FIELDS),
    ):
        try:
            text = template.format(**fields)
        except (KeyError, IndexError, ValueError) as error:
            faults.append(f"{name} {template!r}: {type(error).__name__} {error}, allowed are {sorted(fields)}")
            continue
        if name == "label" and len(text) > MAX_LABEL_LENGTH:
            faults.append(f"label {template!r} grows to {len(text)} characters, {MAX_LABEL_LENGTH} are allowed")
    return faults


def apply_profile(profile: Profile, masks: Sequence[RoiMask], volume: Volume) -> tuple[RoiMask, ...]:
    """Return the ROIs that a site wants, under its names and in its order.

    Args:
        profile: what the site wants.
        masks: every ROI of the pipeline.
        volume: the planning volume; its pixels are looked at only where a derived ROI is cut to the body.

    Returns:
        In the site's order; derived ROIs whose parts this pipeline does not have are left out.

    Raises:
        CaseRefused: an ROI is to be cut to the body, or made of it, and the images show none.
    """
    by_name = {mask.spec.name: mask for mask in masks}
    available = _with_derived(profile, list(by_name))
    wanted = [roi for roi in profile.derived if roi.name in available]
    asks_body = any(roi.inside_body_mm is not None or roi.of_body for roi in wanted)
    body = body_mask(volume) if asks_body else None
    for roi in wanted:
        by_name[roi.name] = derived_mask(roi, by_name, volume.grid, body)
    return tuple(_renamed(by_name[name], profile) for name in _order(profile, available))


def _with_derived(profile: Profile, names: Sequence[str]) -> list[str]:
    """Names of a pipeline and of the derived ROIs that can be made of them."""
    available = list(names)
    for roi in profile.derived:
        if {*roi.union_of, *roi.minus} <= set(available):
            available.append(roi.name)
    return available


def _order(profile: Profile, available: Sequence[str]) -> list[str]:
    """Which of a pipeline's ROIs are written, in order; all of a pipeline that the site's list does not mention."""
    return [name for name in profile.rois if name in available] or list(available)


def derived_mask(roi: DerivedRoi, by_name: Mapping[str, RoiMask], grid: Grid, body: BoolArray | None) -> RoiMask:
    """Unite, grow or shrink, take away, cut to the body: in this order.

    Args:
        roi: how.
        by_name: the ROIs it is made of.
        grid: the planning grid.
        body: (z, y, x); needed where `inside_body_mm` is given, or the ROI is of the body.
    """
    sources = [by_name[name] for name in roi.union_of]
    network = sources[0].spec.network if sources else ""
    spec = RoiSpec(roi.name, roi.interpreted_type, network, frozenset({1}), roi.colour_rgb)
    whole = body.copy() if roi.of_body and body is not None else np.zeros(grid.shape_zyx, dtype=np.bool_)
    for source in sources:
        whole |= source.on_grid(grid.shape_zyx)
    whole = with_margin(whole, roi.margin, grid)
    for name in roi.minus:
        whole &= ~by_name[name].on_grid(grid.shape_zyx)
    if roi.inside_body_mm is not None and body is not None:
        whole = inside_by(whole, body, roi.inside_body_mm, grid)
    return mask_of_array(spec, whole)


def with_margin(mask: BoolArray, margin: Margin, grid: Grid) -> BoolArray:
    """Return a mask grown by a margin, or shrunk by a negative one, measured from its surface (`core.margins`).

    Args:
        mask: (z, y, x); beyond the grid is outside.
        margin: towards each of the patient's directions.
        grid: for the spacing and the patient's directions.
    """
    crop = mask_of_array(_ANY, mask)
    if margin.most_mm == 0 or crop.empty:
        return mask
    reach = _reach(margin.most_mm, grid)
    padded = np.pad(crop.mask, [(int(pad), int(pad)) for pad in reach])
    changed = with_margin_mm(padded, margin, grid.spacing_zyx_mm, grid.direction_lps)
    return _placed(changed, np.subtract(crop.offset_zyx, reach), grid.shape_zyx)


def inside_by(mask: BoolArray, body: BoolArray, depth_mm: float, grid: Grid) -> BoolArray:
    """Return the part of a mask that lies so far inside the skin; the ends of the scan are no skin."""
    cut = mask & body
    crop = mask_of_array(_ANY, cut)
    if depth_mm == 0 or crop.empty:
        return cut
    reach = _reach(depth_mm, grid)
    low = np.maximum(np.subtract(crop.offset_zyx, reach), 0)
    high = np.add(crop.offset_zyx, crop.mask.shape) + reach
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    deep = with_margin_mm(body[box], Margin.same(-depth_mm), grid.spacing_zyx_mm, where=cut[box])
    cut[box] &= deep
    return cut


def _reach(margin_mm: float, grid: Grid) -> npt.NDArray[np.int64]:
    return np.ceil(margin_mm / np.asarray(grid.spacing_zyx_mm)).astype(np.int64) + 2


def body_mask(volume: Volume) -> BoolArray:
    """Return the patient without couch and air around: the largest piece above `BODY_ABOVE_HU`, cavities filled.

    Raises:
        CaseRefused: there is none.
    """
    above = BODY_ABOVE_HU if volume.modality == "CT" else MR_BODY_SHARE * float(np.percentile(volume.hu, 99))
    radius_mm = THIN_MM / 2 if volume.modality == "CT" else 0.0
    seen = volume.hu > above
    dense = ndimage.binary_opening(seen, structure=_disk(radius_mm, volume.grid))
    if radius_mm:
        dense &= ~_shells(seen & ~dense, volume.grid)
    pieces, count = ndimage.label(dense)
    if count == 0:
        raise CaseRefused(f"no body is seen: nothing is above {above:g}, so no ROI can be cut to it")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == int(np.argmax(sizes))
    return np.stack([ndimage.binary_fill_holes(section) for section in body])


def _shells(thin: BoolArray, grid: Grid) -> BoolArray:
    """Return the layers that thin, long rows are part of, also where they pass under what they touch."""
    step_mm = grid.spacing_zyx_mm[2]
    long, gap = (np.ones((1, 1, max(int(mm / step_mm), 1)), dtype=np.bool_) for mm in (LONG_MM, TOUCHING_MM))
    rows = ndimage.binary_opening(thin, structure=long)
    pad = gap.shape[2]
    closed = ndimage.binary_closing(np.pad(rows, ((0, 0), (0, 0), (pad, pad))), structure=gap)
    shells: BoolArray = closed[:, :, pad:-pad]
    return shells


def _disk(radius_mm: float, grid: Grid) -> BoolArray:
    """Return a disk in the plane of the slices, (1, y, x), of 3 x 3 pixels at least."""
    _, step_y, step_x = grid.spacing_zyx_mm
    rows, columns = max(int(radius_mm / step_y), 1), max(int(radius_mm / step_x), 1)
    y, x = np.mgrid[-rows : rows + 1, -columns : columns + 1]
    near = np.hypot(y * step_y, x * step_x) <= radius_mm
    disk: BoolArray = (near | ((abs(y) <= 1) & (abs(x) <= 1)))[np.newaxis]
    return disk


def _placed(crop: BoolArray, start: npt.NDArray[np.int64], shape_zyx: tuple[int, int, int]) -> BoolArray:
    """Put a crop that may reach over the grid's edges on the grid."""
    whole = np.zeros(shape_zyx, dtype=np.bool_)
    low = np.maximum(start, 0)
    high = np.minimum(start + crop.shape, shape_zyx)
    target = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    source = tuple(slice(int(a - s), int(b - s)) for a, b, s in zip(low, high, start, strict=True))
    whole[target] = crop[source]
    return whole


def _name_faults(profile: Profile, names: Sequence[str]) -> list[str]:
    faults = [
        f"ROI name {name!r} has {len(name)} characters, {profile.max_name_length} are allowed"
        for name in names
        if len(name) > profile.max_name_length
    ]
    faults += [f"ROI name {name!r} has a backslash, which separates values in DICOM" for name in names if "\\" in name]
    seen: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if folded in seen:
            faults.append(f"ROI names {seen[folded]!r} and {name!r} differ only in case, or not at all")
        seen[folded] = name
    return faults


def _renamed(mask: RoiMask, profile: Profile) -> RoiMask:
    change = profile.overrides.get(mask.spec.name)
    if change is None:
        return mask
    spec = replace(
        mask.spec,
        name=change.name or mask.spec.name,
        interpreted_type=change.interpreted_type or mask.spec.interpreted_type,
        colour_rgb=change.colour_rgb or mask.spec.colour_rgb,
    )
    return replace(mask, spec=spec)
