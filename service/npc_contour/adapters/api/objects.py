"""The DICOM objects of a case, to be downloaded. They name the patient: the guard lets operators have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Response

from npc_contour.adapters.api.problems import READING, problems
from npc_contour.adapters.api.texts import CASE_ID
from npc_contour.domain.jobs import Deliverable

DICOM = "application/dicom"


def object_routes(read: Callable[[str, Deliverable], bytes]) -> APIRouter:
    """Return `GET /jobs/{case_id}/objects/{what}`; `read` gives an object of a case, or raises NoSuchRowError."""
    router = APIRouter(tags=["work"])

    @router.get(
        "/jobs/{case_id}/objects/{what}",
        response_class=Response,
        responses={
            **READING,
            200: {
                "content": {DICOM: {"schema": {"type": "string", "format": "binary"}, "example": "DICM"}},
                "description": "The DICOM file, as it is sent",
            },
            **problems(404),
        },
    )
    def download(
        case_id: CASE_ID, what: Annotated[Deliverable, Path(description="Which object; `objects` of the job says")]
    ) -> Response:
        """Return a DICOM object of a case; it names the patient, so it needs an operator and is in the audit trail."""
        headers = {"Content-Disposition": f'attachment; filename="{what}-{case_id[:8]}.dcm"'}
        return Response(read(case_id, what), media_type=DICOM, headers=headers)

    return router
