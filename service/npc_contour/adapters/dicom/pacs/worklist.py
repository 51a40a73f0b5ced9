"""Ask a worklist server what is scheduled on a day: C-FIND of the Modality Worklist (PS3.4 K)."""

from __future__ import annotations

from datetime import date

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.pacs.query import association, text_of
from npc_contour.domain.dimse import query_status_words
from npc_contour.domain.queries import ArchiveNode, Scheduled
from npc_contour.errors import ArchiveError

_PENDING = (0xFF00, 0xFF01)


def scheduled_on(
    node: ArchiveNode, day: date, modality: str, calling_ae: str, timeout_s: float
) -> tuple[Scheduled, ...]:
    """Return what is scheduled on a day.

    Args:
        node: the worklist server.
        day: when the procedure step starts.
        modality: of the procedure step.
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.

    Raises:
        ArchiveError: no answer, or one that says failure.
    """
    found: list[Scheduled] = []
    with association(node, [build_context(ModalityWorklistInformationFind)], calling_ae, timeout_s) as link:
        for status, answer in link.association.send_c_find(_identifier(day, modality), ModalityWorklistInformationFind):
            if "Status" not in status:
                raise link.lost("C-FIND of the worklist", timeout_s)
            code = int(status.Status)
            if code == 0x0000:
                break
            if code not in _PENDING:
                raise ArchiveError(f"{link.peer} answered C-FIND of the worklist with {query_status_words(code)}")
            if answer is not None:
                one = Scheduled(
                    accession_number=text_of(answer, "AccessionNumber"),
                    study_instance_uid=text_of(answer, "StudyInstanceUID"),
                    patient_id=text_of(answer, "PatientID"),
                )
                if one.accession_number or one.study_instance_uid:
                    found.append(one)
    return tuple(dict.fromkeys(found))


def _identifier(day: date, modality: str) -> Dataset:
    step = Dataset()
    step.Modality = modality
    step.ScheduledProcedureStepStartDate = f"{day:%Y%m%d}"
    step.ScheduledStationAETitle = ""
    identifier = Dataset()
    identifier.ScheduledProcedureStepSequence = Sequence([step])
    identifier.AccessionNumber = identifier.StudyInstanceUID = identifier.PatientID = ""
    return identifier
