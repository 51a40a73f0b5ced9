"""A PACS behind DICOMweb: QIDO-RS to ask, WADO-RS to fetch (PS3.18)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from pydicom.datadict import tag_for_keyword

from npc_contour.core.matches import UnusableMatchError, match_from
from npc_contour.domain.queries import ArchiveNode, Match, Query, QueryLevel, Retrieved, Wanted
from npc_contour.errors import ArchiveError, CallError, InstanceRefused
from npc_contour.http_calls import Limits, Reply, Way, call
from npc_contour.http_parts import PartError, Parts, content_type
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

MAX_MATCHES = 5000
MAX_QUERY_BYTES = 64 * 2**20
MAX_OBJECT_BYTES = 256 * 2**20
"""Of one image."""
MAX_OBJECTS = 20_000
MAX_QUERY_S = 600.0
MAX_ANSWER_S = 7200.0
DICOM_JSON = "application/dicom+json"
ACCEPT_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Files as the archive keeps them: in another transfer syntax their bytes would differ from what C-STORE brings."""
_STUDY_FIELDS = (
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyDescription",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
_SERIES_FIELDS = ("SeriesDescription", "BodyPartExamined", "NumberOfSeriesRelatedInstances")

JsonDataset = dict[str, object]


class WebArchive:
    """The port `Archive` over DICOMweb.

    Args:
        node: the PACS; its `web_url` is the root of its services.
        timeout_s: for connecting and between two packets.
    """

    def __init__(self, node: ArchiveNode, timeout_s: float) -> None:
        self._node = node
        self._url = node.web_url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {node.token}"} if node.token else {}

    def find(self, query: Query) -> tuple[Match, ...]:
        """Return what it has; an answer that names nothing usable is told of in the log.

        Raises:
            ArchiveError: no answer, a failure, or more matches than are taken.
        """
        limits = Limits(timeout_s=self._timeout_s, whole_s=MAX_QUERY_S, max_bytes=MAX_QUERY_BYTES)
        with self._asked("QIDO-RS", _path(query), DICOM_JSON, limits, _params(query)) as reply:
            found = [] if reply.status == 204 else reply.json()
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ArchiveError(f"{self._where} answered QIDO-RS with something else than a list of matches")
        if len(found) > MAX_MATCHES:
            raise ArchiveError(f"{self._where} has more than {MAX_MATCHES} matches: narrow the query")
        return tuple(match for match in self._usable(found, query) if query.accepts(match))

    def retrieve(
        self, wanted: Wanted, keep: Callable[[bytes], None], progress: Callable[[int, int], None] | None = None
    ) -> Retrieved:
        """Fetch images.

        Raises:
            ArchiveError: no answer, a failure, only a part of what was asked for, or an answer that is no multipart
                message or is cut off. What was kept before stays.
        """
        total = self._count(wanted) if progress is not None else 0
        kept, refused = 0, 0
        for path in _paths(wanted):
            for file in self._files(path):
                try:
                    keep(file)
                    kept += 1
                except InstanceRefused as error:
                    refused += 1
                    logger.warning(
                        Event.INSTANCE_REFUSED, extra={"status": f"0x{error.status:04X}", "reason": str(error)}
                    )
                if progress is not None:
                    progress(kept + refused, max(total, kept + refused))
        return Retrieved(completed=kept, failed=refused)

    @property
    def _where(self) -> str:
        return f"{self._node.name} ({self._node.web_url})"

    def _usable(self, found: list[JsonDataset], query: Query) -> Iterator[Match]:
        for one in found:
            try:
                yield match_of_json(one, query)
            except UnusableMatchError as error:
                logger.warning(Event.PULL_MATCH_DROPPED, extra={"pacs": self._node.name, "reason": str(error)})

    def _files(self, path: str) -> Iterator[bytes]:
        limits = Limits(timeout_s=self._timeout_s, whole_s=MAX_ANSWER_S, max_bytes=float("inf"))
        with self._asked("WADO-RS", path, ACCEPT_FILES, limits) as reply:
            if reply.status == 204:
                return
            for count, file in enumerate(_parts(reply)):
                if count >= MAX_OBJECTS:
                    raise ArchiveError(f"{self._where} sends more than {MAX_OBJECTS} images")
                yield file
            if reply.status != 200:
                raise ArchiveError(f"{self._where} answered WADO-RS with {reply.words}: that is not all of it")

    def _count(self, wanted: Wanted) -> int:
        if wanted.sop_instance_uids:
            return len(wanted.sop_instance_uids)
        query = Query(level=QueryLevel.SERIES, study_instance_uid=wanted.study_instance_uid)
        return sum(
            match.instances or 0
            for match in self.find(query)
            if wanted.series_instance_uid in {"", match.series_instance_uid}
        )

    @contextmanager
    def _asked(
        self, doing: str, path: str, accept: str, limits: Limits, params: tuple[tuple[str, str], ...] = ()
    ) -> Iterator[Reply]:
        """The answer to one request, which is one of success."""
        headers = {"Accept": accept, **self._headers}
        try:
            with call(
                "GET", self._url + path, limits, headers=headers, params=params, way=Way(ca_file=self._node.ca_file)
            ) as reply:
                if not 200 <= reply.status < 300:
                    raise ArchiveError(f"{self._where} answered {doing} with {reply.words}")
                yield reply
        except CallError as error:
            raise ArchiveError(f"{self._where} does not answer {doing}: {error}") from error
        except PartError as error:
            raise ArchiveError(f"{self._where} answered {doing} with something else: {error}") from error


def _parts(reply: Reply) -> Iterator[bytes]:
    """The files of a WADO-RS answer; raises PartError where it is none, or is cut off."""
    media_type, _, boundary = content_type(reply.content_type)
    if media_type != "multipart/related" or not boundary:
        raise PartError(f"{media_type or 'an answer without a content type'}, expected multipart/related")
    parts = Parts(boundary, MAX_OBJECT_BYTES)
    for piece in reply.pieces():
        yield from (file.read() for file in parts.feed(piece))
    parts.end()


def _paths(wanted: Wanted) -> list[str]:
    path = f"/studies/{wanted.study_instance_uid}"
    if wanted.series_instance_uid:
        path += f"/series/{wanted.series_instance_uid}"
    return [f"{path}/instances/{uid}" for uid in wanted.sop_instance_uids] or [path]


def _path(query: Query) -> str:
    match query.level:
        case QueryLevel.STUDY:
            return "/studies"
        case QueryLevel.SERIES:
            return f"/studies/{query.study_instance_uid}/series"
        case QueryLevel.IMAGE:
            return f"/studies/{query.study_instance_uid}/series/{query.series_instance_uid}/instances"


def _params(query: Query) -> tuple[tuple[str, str], ...]:
    filters: dict[str, str] = {}
    fields: tuple[str, ...] = ()
    if query.level is QueryLevel.STUDY:
        fields = _STUDY_FIELDS
        filters = {
            "StudyInstanceUID": query.study_instance_uid,
            "PatientID": query.patient_id,
            "AccessionNumber": query.accession_number,
            "ModalitiesInStudy": query.modality,
            "StudyDate": query.study_dates,
        }
    elif query.level is QueryLevel.SERIES:
        fields = _SERIES_FIELDS
        filters = {"Modality": query.modality, "SeriesInstanceUID": query.series_instance_uid}
    named = [(keyword, value) for keyword, value in filters.items() if value]
    return (*named, *(("includefield", field) for field in fields), ("limit", str(MAX_MATCHES + 1)))


def match_of_json(found: JsonDataset, query: Query) -> Match:
    """Read one result in the DICOM JSON model (PS3.18 F); raises UnusableMatchError."""
    return match_from(partial(_texts, found), query)


def _texts(found: JsonDataset, keyword: str) -> tuple[str, ...]:
    element = found.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    if not isinstance(values, list):
        return ()
    plain = (str(value).strip() for value in values if isinstance(value, str | int | float))
    return tuple(text for text in plain if text)
