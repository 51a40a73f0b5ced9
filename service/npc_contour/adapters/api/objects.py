"""The DICOM objects of a case, to be downloaded. They name the patient: the guard lets operators have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Response

from npc_contour.adapters.api.problems import READING, problems
from npc_contour.adapters.api.texts import CASE_ID
from npc_contour.domain.jobs import Deliverable

DICOM, PDF = "application/dicom", "application/pdf"


def object_routes(read: Callable[[str, Deliverable], bytes], pdf_of: Callable[[bytes], bytes]) -> APIRouter:
    """Return `GET /jobs/{case_id}/objects/{what}` and `GET /jobs/{case_id}/findings.pdf`.

    Args:
        read: gives an object of a case, or raises NoSuchRowError.
        pdf_of: gives the document within an Encapsulated PDF.
    """
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

    @router.get(
        "/jobs/{case_id}/findings.pdf",
        response_class=Response,
        responses={
            **READING,
            200: {
                "content": {PDF: {"schema": {"type": "string", "format": "binary"}, "example": "%PDF"}},
                "description": "A page to print",
            },
            **problems(404),
        },
    )
    def findings_pdf(case_id: CASE_ID) -> Response:
        """Return what is doubtful of a case as a page with pictures; it needs an operator and is in the audit trail."""
        headers = {"Content-Disposition": f'attachment; filename="findings-{case_id[:8]}.pdf"'}
        return Response(pdf_of(read(case_id, Deliverable.FINDINGS_PDF)), media_type=PDF, headers=headers)

    return router
