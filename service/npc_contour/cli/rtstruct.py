"""`npc-contour rtstruct` and `profile`: masks to RTSTRUCT, no network needed."""

from __future__ import annotations

import argparse
import colorsys
import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from npc_contour.adapters.dicom.read.planning_folder import PlanningFolder, read_planning_folder, with_pixels
from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.adapters.masks.files import MaskFile, read_mask_file
from npc_contour.adapters.masks.names import NamedLabels, read_names
from npc_contour.adapters.profiles import profile_path, read_profile
from npc_contour.app.tools import contours_of
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.cli.arguments import RAW, Verbs, existing_file, existing_folder
from npc_contour.cli.progress import bar
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.profiles import MAX_LABEL_LENGTH, apply_profile, profile_faults, written_names
from npc_contour.domain.profiles import ContourSource, EmptyRois, Profile
from npc_contour.domain.structures import InterpretedType, RoiSpec, StructureSet
from npc_contour.domain.volumes import Volume
from npc_contour.errors import SettingsError

GOLDEN_RATIO = 0.618034
_RTSTRUCT_EXAMPLES = """\
examples:
  npc-contour rtstruct ct oar.nii.gz --out rt.dcm                      one ROI per label
  npc-contour rtstruct ct masks.mha --names names.txt --out rt.dcm     one ROI per line of names.txt
  npc-contour rtstruct ct masks.mha --profile eclipse --out rt.dcm     as that planning system wants it

names.txt has one ROI a line: labels, a tab, the name, and if need be a tab and the type. Without tabs,
[LABELS] NAME [TYPE] with a name of one word:
  1,2,3 Brain
  GTVp GTV"""
_PROFILE_EXAMPLES = """\
examples:
  npc-contour profile check eclipse            a profile that comes with the product
  npc-contour profile check site-profile.toml  your own: every fault at once, or what it gives"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs."""
    parser = verbs.add_parser(
        "rtstruct", help="make an RTSTRUCT of masks", epilog=_RTSTRUCT_EXAMPLES, formatter_class=RAW
    )
    parser.add_argument("ct", type=existing_folder, metavar="CT_DIR", help="the planning series, as DICOM")
    parser.add_argument(
        "masks",
        type=existing_file,
        help="label map or 4-D stack (NIfTI, MHA, NRRD), 3D Slicer's .seg.nrrd or a DICOM SEG, on the CT's grid",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.dcm")
    parser.add_argument("--names", type=existing_file, help="which label or channel is which ROI")
    parser.add_argument("--label", type=_label, default="Masks", help="Structure Set Label, at most 16 characters")
    parser.add_argument("--series", default="", metavar="UID", help="the planning series, where CT_DIR has several")
    parser.add_argument(
        "--profile", default="generic", help="a shipped profile's name or a TOML file (default generic)"
    )
    parser.set_defaults(run=write)
    parser = verbs.add_parser(
        "profile", help="check an RTSTRUCT profile", epilog=_PROFILE_EXAMPLES, formatter_class=RAW
    )
    parser.add_argument("action", choices=["check"])
    parser.add_argument("profile", help="a shipped profile's name or a TOML file")
    parser.set_defaults(run=check)


def _label(text: str) -> str:
    if not 1 <= len(text) <= MAX_LABEL_LENGTH:
        raise argparse.ArgumentTypeError(f"{text!r} has {len(text)} characters, expected 1 to {MAX_LABEL_LENGTH}")
    return text


def write(args: argparse.Namespace) -> int:
    """Write an RTSTRUCT of masks, after it passed the gate."""
    with bar("masks to RTSTRUCT") as progress:
        planning = read_planning_folder(args.ct, series_instance_uid=args.series)
        source = read_mask_file(args.masks, planning.volume.grid)
        progress(0.5)
        rois = read_names(args.names) if args.names else source.rois or _numbered(source)
        left_out = source.unnamed(rois)
        given = tuple(_roi_masks(source, rois))
        profile = read_profile(profile_path(args.profile))
        faults = profile_faults(profile, [[mask.spec for mask in given]])
        if faults:
            raise SettingsError(f"profile {args.profile} does not suit these ROIs: {'; '.join(faults)}")
        masks = apply_profile(profile, given, _with_pixels(args.ct, planning, profile))
        progress(0.7)
        data = _encode(masks, planning, args.label, profile)
        progress(0.9)
        report = check_rtstruct(data, masks, planning.volume, planning.header)
        args.out.write_bytes(data)
    empty = [mask.spec.name for mask in masks if mask.empty]
    print(
        f"{args.out}: {len(report.rois)} ROIs, {len(data) / 1e6:.2f} MB, UNAPPROVED; "
        f"read back, the worst ROI has Dice {report.min_dice:.4f}"
    )
    if empty:
        kept = "kept without contours" if profile.empty_rois is EmptyRois.PLACEHOLDER else "left out"
        print(f"  empty, {kept}: {', '.join(map(repr, empty))}")
    if left_out:
        print(f"  labels that {args.names or 'the file'} does not name, left out: {', '.join(map(str, left_out))}")
    for note in planning.notes:
        print(f"  {note}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Read a profile as the service does and say what it gives."""
    catalog = [read_pipeline(path) for path in sorted(PIPELINES_DIR.glob("*.toml"))]
    profile = read_profile(profile_path(args.profile), catalog)
    print(
        f"{profile.name} ({profile.title}): ok. Names up to {profile.max_name_length} characters, holes by "
        f"{profile.holes}, empty ROIs: {profile.empty_rois}, {'explicit' if profile.explicit_vr else 'implicit'} VR"
    )
    for pipeline in catalog:
        names = written_names(profile, pipeline.rois)
        print(f"  {pipeline.name}: {len(names)} ROIs: {', '.join(names)}")
    return 0


def _with_pixels(folder: Path, planning: PlanningFolder, profile: Profile) -> Volume:
    """The planning volume, with its pixels where the profile needs them to find the body."""
    if all(roi.inside_body_mm is None for roi in profile.derived):
        return planning.volume
    return with_pixels(folder, planning)


def _numbered(source: MaskFile) -> tuple[NamedLabels, ...]:
    return tuple(NamedLabels(f"ROI_{label}", frozenset({label}), InterpretedType.ORGAN) for label in source.labels())


def _roi_masks(source: MaskFile, rois: tuple[NamedLabels, ...]) -> Iterator[RoiMask]:
    for index, roi in enumerate(rois):
        red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.65, 0.95)
        colour = roi.colour_rgb or (int(255 * red), int(255 * green), int(255 * blue))
        spec = RoiSpec(roi.name, roi.interpreted_type, "masks", roi.labels, colour)
        yield mask_of_array(spec, source.mask(roi.labels))


def _encode(masks: tuple[RoiMask, ...], planning: PlanningFolder, label: str, profile: Profile) -> bytes:
    seed = hashlib.sha256(planning.header.series_instance_uid.encode())
    for mask in masks:
        seed.update(f"{mask.spec.name} {mask.offset_zyx} {mask.mask.shape}".encode())
        seed.update(np.packbits(mask.mask).tobytes())
    content = StructureSet(
        label=label,
        description="Made of masks.",
        uid_seed=f"{label}/{profile}/{seed.hexdigest()}",
        rois=contours_of(masks, planning.volume, profile, ContourSource.MASKS),
        networks={},
    )
    made_at = datetime.now().astimezone()
    return encode_rtstruct(content, planning.volume, planning.header, made_at=made_at, profile=profile)
