"""What a pipeline measures beside its contours, as an object of its own and as rows to show."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npc_contour.application.contouring import Request, Timings, timed
from npc_contour.application.ports import (
    EncodedReport,
    EncodedStructureSet,
    MeasurementReport,
    Outlined,
    ReportWriter,
)
from npc_contour.core.contouring import ContourOptions, contour_rois
from npc_contour.core.labels import RoiMask, roi_masks
from npc_contour.core.quantification import component, measure
from npc_contour.domain.measurements import ENLARGED_MM, MeasurementKind, Measurements, Node
from npc_contour.domain.volumes import LabelMap, Volume

NODE_COLUMNS = (
    "node", "volume_cc", "long_axis_mm", "short_axis_mm", "enlarged", "x_mm", "y_mm", "z_mm", "slice",
)  # fmt: skip
SHAPE_COLUMNS = ("roi", "volume_cc", "surface_cm2", "diameter_mm", "regularity", "pieces")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured, and its report; None where there was nothing to measure."""

    measurements: Measurements
    encoded: EncodedReport | None


def measure_case(
    request: Request,
    label_maps: Mapping[str, LabelMap],
    volume: Volume,
    structure_set: EncodedStructureSet,
    writer: ReportWriter,
    timings_s: Timings,
) -> Measured | None:
    """Measure what the pipeline asks and encode it; None where it asks nothing.

    The masks are the networks' own: a profile may smooth or rename what is sent, the measures stay comparable.

    Args:
        request: of the structure set.
        label_maps: by network, on the grid of `volume`.
        volume: the planning volume.
        structure_set: the RTSTRUCT beside the report.
        writer: encodes the report.
        timings_s: seconds by step, added to.
    """
    rule = request.pipeline.measurements
    if rule is None:
        return None
    with timed(timings_s, "measure"):
        (mask,) = roi_masks(label_maps, [roi for roi in request.pipeline.rois if roi.name == rule.roi])
        found = measure(rule, [mask], volume.grid)
        outlined = _outlined(found, mask, volume)
        if not outlined:
            return Measured(found, None)
        network = next(c.provenance for c in request.contracts if c.name == mask.spec.network)
        report = MeasurementReport(
            measurements=found,
            outlined=outlined,
            uid_seed=request.uid_seed,
            network=network,
            made_at=request.made_at,
        )
        return Measured(found, writer.write(report, volume, request.planning, structure_set))


def measured_report(measured: Measured | None) -> dict[str, Any]:
    """Return what the report of a case says of its measurements; nothing where the pipeline asks nothing."""
    if measured is None:
        return {}
    return {
        "measurements": measurement_rows(measured.measurements),
        "measurements_sop_instance_uid": measured.encoded.sop_instance_uid if measured.encoded else "",
    }


def measurement_rows(measurements: Measurements) -> dict[str, Any]:
    """Return measurements as JSON values: what REST shows and the report keeps."""
    rule, shape = measurements.rule, measurements.shape
    return {
        "kind": rule.kind.value,
        "roi": rule.roi,
        "ignore_below_mm": rule.ignore_below_mm,
        "enlarged_from_mm": ENLARGED_MM,
        "ignored_nodes": measurements.ignored_nodes,
        "nodes": [_node_row(node) for node in measurements.nodes],
        "shape": None
        if shape is None
        else {
            "volume_cc": round(shape.volume_cc, 3),
            "surface_cm2": round(shape.surface_cm2, 2),
            "diameter_mm": round(shape.diameter_mm, 1),
            "regularity": round(shape.regularity, 3),
            "pieces": shape.pieces,
        },
    }


def measurements_csv(rows: Mapping[str, Any]) -> str:
    """Return what `measurement_rows` gave as a table with a header, comma-separated, one node or one ROI a line."""
    buffer = io.StringIO()
    nodes = rows["kind"] == MeasurementKind.NODES
    table = csv.DictWriter(buffer, NODE_COLUMNS if nodes else SHAPE_COLUMNS, lineterminator="\n")
    table.writeheader()
    if nodes:
        table.writerows(_flat(node) for node in rows["nodes"])
    elif rows["shape"] is not None:
        table.writerow({"roi": rows["roi"], **rows["shape"]})
    return buffer.getvalue()


def _outlined(found: Measurements, mask: RoiMask, volume: Volume) -> tuple[Outlined, ...]:
    if found.shape is not None:
        return (Outlined(found.shape, contour_rois([mask], volume, ContourOptions())[0]),)
    parts: Sequence[RoiMask] = [component(mask, node, volume.grid) for node in found.nodes]
    rois = contour_rois(parts, volume, ContourOptions())
    return tuple(Outlined(node, roi) for node, roi in zip(found.nodes, rois, strict=True))


def _node_row(node: Node) -> dict[str, Any]:
    return {
        "node": node.number,
        "volume_cc": round(node.volume_cc, 3),
        "long_axis_mm": round(node.long_axis.length_mm, 1),
        "short_axis_mm": round(node.short_axis.length_mm, 1),
        "enlarged": node.enlarged,
        "centre_lps_mm": [round(value, 1) for value in node.centre_lps_mm],
        "slice": node.slice_index + 1,
    }


def _flat(node: Mapping[str, Any]) -> dict[str, Any]:
    x, y, z = node["centre_lps_mm"]
    rest = {name: value for name, value in node.items() if name != "centre_lps_mm"}
    return {**rest, "x_mm": x, "y_mm": y, "z_mm": z}
