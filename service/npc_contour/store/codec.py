"""Image headers as JSON, and back without loss."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime, time
from typing import Any

from npc_contour.domain.cases import CaseInput, CaseRecord
from npc_contour.domain.pipelines import Verdict
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader, Seal
from npc_contour.store.rows import read

_TUPLES = (
    *("pixel_spacing_mm", "position_lps_mm", "orientation", "image_type"),
    *("scanning_sequence", "sequence_variant", "scan_options", "real_world_units"),
)
_DEFAULTS: dict[str, object] = {field.name: field.default for field in fields(InstanceHeader)}
_NAMES = frozenset(_DEFAULTS)


def header_to_json(header: InstanceHeader) -> dict[str, Any]:
    """Return a header as JSON values; what equals its default is left out."""
    kept = {name: value for name, default in _DEFAULTS.items() if (value := getattr(header, name)) != default}
    kept.pop("seal", None)  # in columns of its own
    if header.acquired_at is not None:
        kept["acquired_at"] = header.acquired_at.isoformat()
    if header.injected_at is not None:
        kept["injected_at"] = header.injected_at.isoformat()
    return kept


def header_from_json(data: dict[str, Any]) -> InstanceHeader:
    """Return the header; fields of a newer version are ignored."""
    values = {name: value for name, value in data.items() if name in _NAMES and name != "seal"}
    for name in _TUPLES:
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    if values.get("acquired_at") is not None:
        values["acquired_at"] = datetime.fromisoformat(values["acquired_at"])
    if values.get("injected_at") is not None:
        values["injected_at"] = time.fromisoformat(values["injected_at"])
    return InstanceHeader(**values)


def seal_of(row: dict[str, Any]) -> Seal | None:
    """Return what a row says that its file must hold; None where it does not say."""
    return None if row["sha256"] is None else Seal(row["sha256"], row["size"])


def inputs_to_json(case: CaseRecord) -> dict[str, Any]:
    """Return the images of a case by role as JSON values."""
    return {role: _input_to_json(given) for role, given in case.inputs.items()}


def _input_to_json(given: CaseInput) -> dict[str, Any]:
    values: dict[str, Any] = {"series": given.series_instance_uid, "images": list(given.sop_instance_uids)}
    if given.move is not None:
        values["move"] = asdict(given.move)
    return values


def _input_from_json(values: dict[str, Any]) -> CaseInput:
    move = values.get("move")
    if move is not None:
        matrix = tuple((a, b, c, d) for a, b, c, d in move["matrix"])
        uids = tuple(move["sop_instance_uids"])
        move = RigidMove(move["source_frame_uid"], move["target_frame_uid"], matrix, uids)
    return CaseInput(values["series"], tuple(values["images"]), move)


def verdicts_to_json(case: CaseRecord) -> list[dict[str, Any]]:
    """Return the verdicts of a case as JSON values."""
    return [
        {"series": one.series_instance_uid, "role": one.role, "accepted": one.accepted, "reasons": list(one.reasons)}
        for one in case.verdicts
    ]


def verdicts_from_json(values: list[dict[str, Any]], pipeline: str) -> tuple[Verdict, ...]:
    """Return the verdicts of a row of `contour_case`."""
    return tuple(Verdict(v["series"], pipeline, v["role"], v["accepted"], tuple(v["reasons"])) for v in values)


def case_from_row(row: dict[str, Any]) -> CaseRecord:
    """Return the case of a row of `contour_case`."""
    return read(
        CaseRecord,
        row,
        case_id=row["id"],
        inputs={role: _input_from_json(value) for role, value in row["inputs"].items()},
        verdicts=verdicts_from_json(row["verdicts"], row["pipeline"]),
    )
