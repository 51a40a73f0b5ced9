"""Ask a PACS what it has: C-FIND under the Study Root or Patient Root model (PS3.4 C).

The patient's name is neither asked for nor read. A PACS that answers more matches than are taken is told to stop.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from npc_contour.adapters.dicom.association.bounds import USUAL, Bounds
from npc_contour.adapters.dicom.association.requestor import Link, associate
from npc_contour.core.matches import UnusableMatchError, match_from
from npc_contour.domain.dimse import query_status_words
from npc_contour.domain.jobs import Destination
from npc_contour.domain.queries import ArchiveNode, Match, Query, QueryLevel, QueryRoot, Wanted
from npc_contour.errors import ArchiveError, SendError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

MAX_MATCHES = 5000
UNASKED = 4
"""Archives that do not support a key answer without it: so many times the matches that are taken are read."""
FIND_BOUNDS = Bounds(message_bytes=2**20, whole_s=600.0)
FIND_MODELS: dict[QueryRoot, UID] = {
    QueryRoot.STUDY: StudyRootQueryRetrieveInformationModelFind,
    QueryRoot.PATIENT: PatientRootQueryRetrieveInformationModelFind,
}
_PENDING = (0xFF00, 0xFF01)
_RETURN_KEYS = {
    QueryLevel.STUDY: (
        "PatientID",
        "AccessionNumber",
        "StudyDate",
        "StudyDescription",
        "ModalitiesInStudy",
        "NumberOfStudyRelatedInstances",
    ),
    QueryLevel.SERIES: (
        "SeriesInstanceUID",
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "BodyPartExamined",
        "NumberOfSeriesRelatedInstances",
    ),
    QueryLevel.IMAGE: ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}


def find(
    node: ArchiveNode, query: Query, calling_ae: str, timeout_s: float, *, max_matches: int = MAX_MATCHES
) -> tuple[Match, ...]:
    """Return what a PACS has.

    Args:
        node: the PACS.
        query: what to look for.
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.
        max_matches: of one query; with more the query is cancelled and refused.

    Raises:
        ArchiveError: no answer, an answer that says failure, or more matches than are taken.
    """
    model = FIND_MODELS[node.root]
    identifier = find_identifier(query, node.root)
    matches: list[Match] = []
    with association(node, [build_context(model)], calling_ae, timeout_s, bounds=FIND_BOUNDS) as link:
        for count, (status, answer) in enumerate(_answers(link, identifier, model)):
            if status not in _PENDING:
                if status != 0x0000:
                    raise ArchiveError(f"{link.peer} answered C-FIND with {query_status_words(status)}")
                break
            match = _usable(answer, query, node.name)
            if match is not None and query.accepts(match):
                matches.append(match)
            # Answers that nobody asked for count as well: there may be no end of them.
            if len(matches) > max_matches or count > UNASKED * max_matches:
                link.association.send_c_cancel(1, query_model=model)
                raise ArchiveError(f"{link.peer} has more than {max_matches} matches: narrow the query")
    return tuple(matches)


def _answers(link: Link, identifier: Dataset, model: UID) -> Iterator[tuple[int, Dataset | None]]:
    for status, answer in link.association.send_c_find(identifier, model, msg_id=1):
        if "Status" not in status:
            raise link.lost("C-FIND", link.timeout_s)
        yield int(status.Status), answer


@contextmanager
def association(
    node: ArchiveNode,
    contexts: list[PresentationContext],
    calling_ae: str,
    timeout_s: float,
    *,
    scp_classes: Sequence[str] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
    bounds: Bounds = USUAL,
) -> Iterator[Link]:
    """Hold an association with a PACS; as `associate`, but what goes wrong is an ArchiveError."""
    peer = destination_of(node)
    try:
        with associate(
            peer, contexts, calling_ae, timeout_s, scp_classes=scp_classes, handlers=handlers, bounds=bounds
        ) as link:
            yield link
    except SendError as error:
        raise ArchiveError(str(error)) from error


def destination_of(node: ArchiveNode) -> Destination:
    """The node as an address."""
    return Destination(node.name, node.ae_title, node.host, node.port, tls=node.tls)


def find_identifier(query: Query, root: QueryRoot) -> Dataset:
    """The keys of a C-FIND: unique keys of the levels above, what is looked for and what is to be returned.

    Raises:
        ArchiveError: the Patient Root model needs a patient's ID.
    """
    identifier = _unique_keys(query.level, root, query.patient_id, query.study_instance_uid)
    for keyword in _RETURN_KEYS[query.level]:
        if keyword not in identifier:
            setattr(identifier, keyword, None)
    if query.series_instance_uid:
        identifier.SeriesInstanceUID = query.series_instance_uid
    if query.sop_instance_uids:
        identifier.SOPInstanceUID = list(query.sop_instance_uids)
    if query.level is QueryLevel.STUDY:
        identifier.StudyInstanceUID = query.study_instance_uid
        identifier.PatientID = query.patient_id
        identifier.AccessionNumber = query.accession_number
        identifier.ModalitiesInStudy = query.modality
        identifier.StudyDate = query.study_dates
    elif query.level is QueryLevel.SERIES:
        identifier.Modality = query.modality
    return identifier


def retrieve_identifier(wanted: Wanted, root: QueryRoot) -> Dataset:
    """The keys of a C-GET or C-MOVE: unique keys only (PS3.4 C.4.2.1.4.1).

    Raises:
        ArchiveError: the Patient Root model needs a patient's ID.
    """
    identifier = _unique_keys(wanted.level, root, wanted.patient_id, wanted.study_instance_uid)
    if wanted.series_instance_uid:
        identifier.SeriesInstanceUID = wanted.series_instance_uid
    if wanted.sop_instance_uids:
        identifier.SOPInstanceUID = list(wanted.sop_instance_uids)
    return identifier


def _unique_keys(level: QueryLevel, root: QueryRoot, patient_id: str, study_instance_uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level.value
    if not patient_id.isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"
    if root is QueryRoot.PATIENT:
        if not patient_id:
            raise ArchiveError('the Patient Root model needs a patient\'s ID; give one, or set root = "study"')
        identifier.PatientID = patient_id
    identifier.StudyInstanceUID = study_instance_uid
    return identifier


def _usable(answer: Dataset | None, query: Query, pacs: str) -> Match | None:
    """Read one answer; None, and a line in the log, for one that names nothing."""
    try:
        return match_of(answer if answer is not None else Dataset(), query)
    except UnusableMatchError as error:
        logger.warning(Event.PULL_MATCH_DROPPED, extra={"pacs": pacs, "reason": str(error)})
        return None


def match_of(answer: Dataset, query: Query) -> Match:
    """Read one answer; raises UnusableMatchError."""
    return match_from(partial(_texts, answer), query)


def _texts(answer: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an element as text; () for one that is absent, empty or cannot be decoded."""
    try:
        value = answer.get(keyword)
    except (ValueError, TypeError, NotImplementedError, OverflowError):
        return ()
    if value is None:
        return ()
    values = list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]
    return tuple(text for text in (str(one).strip(" \0") for one in values) if text)


def text_of(answer: Dataset, keyword: str) -> str:
    """The first value of an element of an answer; "" for one that is absent, empty or cannot be decoded."""
    return next(iter(_texts(answer, keyword)), "")
