"""Review: planes as raw Hounsfield units, the structure set's own points, and the page that draws both."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from npc_contour.adapters.web import words
from npc_contour.adapters.web.site import Site, as_json, name_of
from npc_contour.application.review import Axis, Scan
from npc_contour.core.overlay import Overlay
from npc_contour.domain.findings import Finding
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.status import RoiRow
from npc_contour.errors import CaseRefused, DamagedFileError, InstanceRefused

CaseId = Annotated[str, Path(max_length=128)]
RoleName = Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9_]*$")]
_PRIVATE = {"Cache-Control": "no-store"}


def add_review(app: FastAPI, site: Site) -> None:
    """Add the page and its two sources of data."""

    @app.get("/cases/{case_id}/review", include_in_schema=False)
    def page(request: Request, case_id: CaseId, role: RoleName = "") -> HTMLResponse:
        """Return the page; what it needs for its first image is in it."""
        scan = _scan(site, case_id, role)
        manifest = as_json(_manifest(scan) | {"person": name_of(request)})
        return site.page(
            request, "review.html", case=scan.case, scan=scan, manifest=manifest, patient=_patient(site, scan)
        )

    @app.get("/cases/{case_id}/planes/{axis}/{index}", include_in_schema=False)
    def plane(case_id: CaseId, axis: Axis, index: int, role: RoleName = "") -> Response:
        """Return one plane: int16 HU, little-endian, row after row."""
        scan = _scan(site, case_id, role)
        with _told():
            hu = site.review.plane(scan, axis, index)
        shape = {"X-Rows": str(hu.shape[0]), "X-Columns": str(hu.shape[1])}
        return Response(hu.astype("<i2").tobytes(), media_type="application/octet-stream", headers=_PRIVATE | shape)

    @app.get("/cases/{case_id}/contours", include_in_schema=False)
    def contours(case_id: CaseId, role: RoleName = "") -> Response:
        """Return a length (4 bytes), that much JSON, then the points: float32 pairs (column, row), little-endian."""
        scan = _scan(site, case_id, role)
        with _told():
            overlay = site.review.overlay(scan)
        if overlay is None:
            raise HTTPException(404, "no structure set is written yet")
        facts = site.worklist.facts(case_id)
        drawn = {roi.name for roi in overlay.rois}
        absent = [roi for roi in facts.details.rois if not roi.found and roi.name not in drawn] if facts else []
        findings = facts.details.findings if facts else ()
        told = {finding.text for finding in findings} | set(facts.details.reasons if facts else ())
        notes = [note for note in facts.details.notes if note not in told] if facts else []
        objects = [(what, words.OBJECTS[what]) for what in facts.details.objects] if facts else []
        contents = _contents(overlay, absent, notes, findings) | {"objects": objects}
        head = json.dumps(contents, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 4)
        body = struct.pack("<I", len(head)) + head + np.ascontiguousarray(overlay.points_xy, dtype="<f4").tobytes()
        return Response(body, media_type="application/octet-stream", headers=_PRIVATE)


def _scan(site: Site, case_id: str, role: str) -> Scan:
    with _told():
        scan = site.review.scan(case_id, role)
    if scan is None:
        raise HTTPException(404, f"no case {case_id} with images{f' as {role}' if role else ''}")
    return scan


@contextmanager
def _told() -> Iterator[None]:
    """Tell what cannot be shown as such: 404 for what is not there, 409 for what is there and cannot be read."""
    try:
        yield
    except IndexError as error:
        raise HTTPException(404, str(error)) from error
    except (CaseRefused, DamagedFileError, InstanceRefused, OSError) as error:
        raise HTTPException(409, str(error)) from error


def _manifest(scan: Scan) -> dict[str, Any]:
    grid = scan.stack.grid
    first = scan.stack.instances[0]
    return {
        "case": scan.case.case_id,
        "role": scan.role,
        "roles": list(scan.roles),
        "shape": list(grid.shape_zyx),
        "spacing": list(grid.spacing_zyx_mm),
        "origin": list(grid.origin_lps_mm),
        "direction": [list(vector) for vector in grid.direction_lps],
        "ends": [_ends(vector) for vector in grid.direction_lps],
        "headsUp": scan.heads_up,
        "modality": first.modality,
        "written": scan.structure_set,
    }


def _ends(vector: Vec3) -> list[str]:
    """Return the patient's side at the low and at the high end of an axis: L R, A P, or H F."""
    letters = (("R", "L"), ("A", "P"), ("F", "H"))
    axis = int(np.argmax(np.abs(vector)))
    low, high = letters[axis]
    return [low, high] if vector[axis] > 0 else [high, low]


def _patient(site: Site, scan: Scan) -> str:
    """Return name and Patient ID, where the site shows them; "" where not."""
    if not site.settings.web.show_patient:
        return ""
    facts = site.worklist.facts(scan.case.case_id)
    name = site.readers.patient_name(scan.stack.instances[0].key)
    return " · ".join(filter(None, (name, facts.patient_id if facts else "")))


def _contents(
    overlay: Overlay, absent: Sequence[RoiRow], notes: Sequence[str], findings: Sequence[Finding]
) -> dict[str, Any]:
    """What the file holds, which ROIs were asked for and are not in it, what is doubted and noted for the physicist."""
    return {
        "label": overlay.label,
        "approval": overlay.approval_status,
        "sop": overlay.sop_instance_uid,
        "rois": [
            {
                "name": roi.name,
                "type": roi.interpreted_type,
                "colour": list(roi.colour_rgb),
                "description": roi.description,
                "cc": round(roi.volume_cc, 3),
                "offPlane": roi.off_plane,
                "centre": roi.centre_zyx,
                "rings": [[ring.slice_index, ring.start, ring.count] for ring in roi.rings],
            }
            for roi in overlay.rois
        ],
        "notes": list(notes),
        "findings": [finding.as_json() for finding in findings],
        "absent": [{"name": roi.name, "type": roi.interpreted_type} for roi in absent],
    }
