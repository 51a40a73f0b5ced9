"""StructureSet to DICOM SEG (Segmentation Storage, PS3.3 A.51): the same ROIs as voxels, for viewers that want voxels.

Written by highdicom. Binary, one segment an ROI (they may overlap), on the planning images' own planes, cut to the box
that holds all ROIs. Text is UTF-8 whatever the images use.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import npc_contour
from npc_contour.adapters.dicom.read.headers import as_file
from npc_contour.adapters.dicom.read.planning_header import planning_header
from npc_contour.adapters.dicom.rtstruct.repeatable import make_repeatable
from npc_contour.adapters.dicom.rtstruct.text import DEMO_WORDS, clock_time, demo_label, shortened
from npc_contour.adapters.dicom.rtstruct.writer import MANUFACTURER, MODEL_NAME, derived_uid
from npc_contour.core.labels import RoiMask
from npc_contour.domain.structures import InterpretedType, NetworkProvenance, StructureSet
from npc_contour.domain.volumes import Volume
from npc_contour.errors import GateError

SERIES_NUMBER = 9002
_TARGET = codes.cid9502.RTTarget
_CATEGORIES: dict[InterpretedType, tuple[Code, Code]] = {
    InterpretedType.ORGAN: (codes.cid9502.AnatomicalStructure, codes.cid9535.OrganAtRisk),
    InterpretedType.GTV: (_TARGET, codes.cid9534.GTV),
    InterpretedType.CTV: (_TARGET, codes.cid9534.CTV),
    InterpretedType.EXTERNAL: (codes.cid9502.AnatomicalStructure, codes.cid9502.ExternalBodyModel),
    InterpretedType.PTV: (_TARGET, codes.cid9534.PTV),
    InterpretedType.TREATED_VOLUME: (_TARGET, codes.cid9534.TreatedVolume),
    InterpretedType.IRRAD_VOLUME: (_TARGET, codes.cid9534.IrradiatedVolume),
    InterpretedType.AVOIDANCE: (codes.cid9502.AnatomicalStructure, codes.cid9535.AvoidanceVolume),
}
"""Segmented Property Category and Type (PS3.16 CID 9502, 9534, 9535)."""
_OTHER = (codes.cid9502.RTGeometricInformation, codes.cid9535.RadiationDoseShapingVolume)
"""Of what only serves planning."""


def segmentation_uid(structure_set: StructureSet) -> str:
    """Return the SOP Instance UID that the segmentation of this structure set has."""
    return derived_uid(structure_set.uid_seed, "seg-instance")


def encode_segmentation(
    structure_set: StructureSet,
    masks: Sequence[RoiMask],
    volume: Volume,
    images: Sequence[Dataset],
    made_at: datetime,
) -> bytes:
    """Encode the voxels of a structure set's ROIs as a DICOM file.

    Args:
        structure_set: label, networks and what its UIDs derive from.
        masks: its ROIs; empty ones are left out.
        volume: the planning volume.
        images: headers of the planning images, one a slice, in the order of the volume.
        made_at: written into the object as the images' clock shows it (see `clock_time`).

    Raises:
        GateError: no ROI has a voxel, or the object cannot be made of these images.
    """
    kept = [mask for mask in masks if not mask.empty]
    if not kept:
        raise GateError("no ROI has a voxel: a segmentation must have at least one")
    clock = clock_time(made_at, planning_header(images[0]))
    low = np.min([mask.offset_zyx for mask in kept], axis=0)
    high = np.max([np.add(mask.offset_zyx, mask.mask.shape) for mask in kept], axis=0)
    # One block of memory an ROI, seen with ROIs last: pages that no ROI touches are never taken.
    stacks = np.zeros((len(kept), *(high - low)), dtype=np.uint8)
    for stack, mask in zip(stacks, kept, strict=True):
        start = np.subtract(mask.offset_zyx, low)
        box = tuple(slice(int(first), int(first) + size) for first, size in zip(start, mask.mask.shape, strict=True))
        stack[box] = mask.mask
    used = slice(int(low[0]), int(high[0]))
    try:
        made = Segmentation(
            source_images=list(images[used]),
            pixel_array=np.moveaxis(stacks, 0, -1),
            segmentation_type="BINARY",
            segment_descriptions=[
                _description(number, mask, structure_set.networks.get(mask.spec.network))
                for number, mask in enumerate(kept, start=1)
            ],
            series_instance_uid=derived_uid(structure_set.uid_seed, "seg-series"),
            series_number=SERIES_NUMBER,
            sop_instance_uid=segmentation_uid(structure_set),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL_NAME,
            software_versions=npc_contour.__version__,
            device_serial_number="none",
            content_label=_code_string(structure_set),
            content_description=shortened(_demo_prefix(structure_set) + structure_set.description, 64) or None,
            series_description=shortened(f"{_demo_prefix(structure_set)}Voxels {structure_set.label}", 64),
            pixel_measures=_measures(volume),
            plane_orientation=_orientation(volume),
            plane_positions=_positions(volume, used, low),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise GateError(f"the segmentation cannot be written: {error}") from error
    make_repeatable(made, clock, structure_set.uid_seed)
    buffer = io.BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()


def read_image_headers(sources: Iterable[Path | bytes]) -> list[Dataset]:
    """Return the attributes of images, files or their bytes, without their pixels."""
    return [dcmread(as_file(source), stop_before_pixels=True, force=True) for source in sources]


def _description(number: int, mask: RoiMask, network: NetworkProvenance | None) -> SegmentDescription:
    spec = mask.spec
    category, kind = _CATEGORIES.get(spec.interpreted_type, _OTHER)
    algorithm = None
    if network is not None:
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=network.name,
            family=codes.DCM.ArtificialIntelligence,
            version=network.version,
            source=MANUFACTURER,
            parameters={"weights SHA-256": network.weights_sha256},
        )
    return SegmentDescription(
        segment_number=number,
        segment_label=spec.name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC" if network is not None else "MANUAL",
        algorithm_identification=algorithm,
        anatomic_regions=[Code(spec.fma_id, "FMA", spec.name)] if spec.fma_id else None,
        display_color=CIELabColor.from_rgb(*spec.colour_rgb),
    )


def _measures(volume: Volume) -> highdicom.PixelMeasuresSequence:
    slice_mm, row_mm, column_mm = volume.grid.spacing_zyx_mm
    return highdicom.PixelMeasuresSequence(
        pixel_spacing=(row_mm, column_mm), slice_thickness=slice_mm, spacing_between_slices=slice_mm
    )


def _orientation(volume: Volume) -> highdicom.PlaneOrientationSequence:
    _, down, right = volume.grid.direction_lps
    return highdicom.PlaneOrientationSequence("PATIENT", (*right, *down))


def _positions(volume: Volume, used: slice, low: np.typing.NDArray[np.int64]) -> list[highdicom.PlanePositionSequence]:
    """Return where the cut planes begin, each from its own slice's position."""
    directions = np.asarray(volume.grid.direction_lps)[1:]
    shift = (low[1:] * np.asarray(volume.grid.spacing_zyx_mm)[1:]) @ directions
    return [
        highdicom.PlanePositionSequence("PATIENT", [round(float(value), 6) for value in position + shift])
        for position in volume.slice_positions_lps_mm[used]
    ]


def _demo_prefix(structure_set: StructureSet) -> str:
    return f"{DEMO_WORDS} - " if structure_set.demo else ""


def _code_string(structure_set: StructureSet) -> str:
    """Return Content Label (CS): capitals, digits, blank and underscore, at most 16."""
    label = demo_label(structure_set.label) if structure_set.demo else structure_set.label
    return "".join(c if c.isascii() and (c.isalnum() or c == " ") else "_" for c in label.upper())[:16]
