"""A PACS behind DICOMweb: QIDO-RS to ask, WADO-RS to fetch (PS3.18)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.datadict import tag_for_keyword

from npc_contour.core.matches import match_from
from npc_contour.domain.queries import ArchiveNode, Match, Query, QueryLevel, Retrieved, Wanted
from npc_contour.errors import ArchiveError, InstanceRefused

MAX_MATCHES = 5000
MAX_OBJECT_BYTES = 256 * 2**20
"""Of one image, and of the answer to one query."""
MAX_OBJECTS = 20_000
MAX_ANSWER_S = 7200.0
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

JsonDataset = dict[str, dict[str, object]]


class _Bounded:
    """The body of an answer, of which no more is read than is bounded: `requests` reads without end.

    Args:
        raw: urllib3's.
    """

    def __init__(self, raw: Any) -> None:  # noqa: ANN401 - requests gives it no type
        self._raw = raw
        self._read = 0
        self._end = time.monotonic() + MAX_ANSWER_S

    def stream(self, size: int, decode_content: bool | None = None) -> Iterator[bytes]:  # noqa: FBT001 - urllib3's
        """As urllib3's; raises ValueError where a bound is crossed."""
        for chunk in self._raw.stream(size, decode_content=decode_content):
            self._read += len(chunk)
            if self._read > MAX_OBJECT_BYTES:
                raise ValueError(f"more than {MAX_OBJECT_BYTES} bytes in one piece")
            if time.monotonic() > self._end:
                raise ValueError(f"no end after {MAX_ANSWER_S:g} s")
            yield chunk

    def begin_again(self) -> None:
        """The next object is counted anew."""
        self._read = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._raw, name)


def _bound(response: requests.Response, *_: object, **__: object) -> None:
    response.raw = _Bounded(response.raw)


class _Client(DICOMwebClient):
    """The client, which also gives files as they come: decoding and encoding again could change what was kept."""

    def files(self, url: str) -> Iterator[bytes]:
        """GET the DICOM files of a study, series or instance, one at a time."""
        response = self._http_get(url, headers={"Accept": ACCEPT_FILES}, stream=True)
        for count, file in enumerate(self._decode_multipart_message(response, stream=True)):
            if count >= MAX_OBJECTS:
                raise ValueError(f"more than {MAX_OBJECTS} images")
            yield file
            response.raw.begin_again()


class WebArchive:
    """The port `Archive` over DICOMweb.

    Args:
        node: the PACS; its `web_url` is the root of its services.
        timeout_s: for connecting and between two packets.
    """

    def __init__(self, node: ArchiveNode, timeout_s: float) -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy and no .netrc by surprise
        if node.token:
            session.headers["Authorization"] = f"Bearer {node.token}"
        if node.ca_file:
            session.verify = node.ca_file
        session.hooks["response"].append(_bound)
        self._node = node
        self._client = _Client(node.web_url.rstrip("/"), session=session, timeout=timeout_s, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)

    def find(self, query: Query) -> tuple[Match, ...]:
        """Return what it has.

        Raises:
            ArchiveError: no answer, a failure, or more matches than are taken.
        """
        filters = _filters(query)
        with self._translated("QIDO-RS"):
            found: list[JsonDataset]
            match query.level:
                case QueryLevel.STUDY:
                    found = self._client.search_for_studies(
                        search_filters=filters, fields=_STUDY_FIELDS, limit=MAX_MATCHES + 1
                    )
                case QueryLevel.SERIES:
                    found = self._client.search_for_series(
                        query.study_instance_uid, search_filters=filters, fields=_SERIES_FIELDS, limit=MAX_MATCHES + 1
                    )
                case QueryLevel.IMAGE:
                    found = self._client.search_for_instances(
                        query.study_instance_uid,
                        query.series_instance_uid,
                        search_filters=filters,
                        limit=MAX_MATCHES + 1,
                    )
        if len(found) > MAX_MATCHES:
            raise ArchiveError(f"{self._where} has more than {MAX_MATCHES} matches: narrow the query")
        matches = [match for match in (match_of_json(one) for one in found) if match is not None]
        return tuple(match for match in matches if query.accepts(match))

    def retrieve(
        self, wanted: Wanted, keep: Callable[[bytes], None], progress: Callable[[int, int], None] | None = None
    ) -> Retrieved:
        """Fetch images.

        Raises:
            ArchiveError: no answer, a failure, or an answer that is no multipart message.
        """
        total = sum(self._count(wanted)) if progress is not None else 0
        kept, refused = 0, 0
        for url in self._urls(wanted):
            for file in self._files(url):
                try:
                    keep(file)
                    kept += 1
                except InstanceRefused:
                    refused += 1
                if progress is not None:
                    progress(kept + refused, max(total, kept + refused))
        return Retrieved(completed=kept, failed=refused)

    @property
    def _where(self) -> str:
        return f"{self._node.name} ({self._node.web_url})"

    def _files(self, url: str) -> Iterator[bytes]:
        with self._translated("WADO-RS"):
            yield from self._client.files(url)

    def _urls(self, wanted: Wanted) -> list[str]:
        url = f"{self._node.web_url.rstrip('/')}/studies/{wanted.study_instance_uid}"
        if wanted.series_instance_uid:
            url += f"/series/{wanted.series_instance_uid}"
        return [f"{url}/instances/{uid}" for uid in wanted.sop_instance_uids] or [url]

    def _count(self, wanted: Wanted) -> list[int]:
        if wanted.sop_instance_uids:
            return [len(wanted.sop_instance_uids)]
        query = Query(level=QueryLevel.SERIES, study_instance_uid=wanted.study_instance_uid)
        return [
            match.instances or 0
            for match in self.find(query)
            if wanted.series_instance_uid in {"", match.series_instance_uid}
        ]

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except requests.HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            raise ArchiveError(f"{self._where} answered {doing} with HTTP {code}") from error
        except requests.RequestException as error:
            raise ArchiveError(f"{self._where} does not answer {doing}: {type(error).__name__}") from error
        except (ValueError, KeyError) as error:
            raise ArchiveError(f"{self._where} answered {doing} with something else: {error}") from error


def _filters(query: Query) -> dict[str, str]:
    filters: dict[str, str] = {}
    if query.level is QueryLevel.STUDY:
        filters = {
            "StudyInstanceUID": query.study_instance_uid,
            "PatientID": query.patient_id,
            "AccessionNumber": query.accession_number,
            "ModalitiesInStudy": query.modality,
            "StudyDate": query.study_dates,
        }
    elif query.level is QueryLevel.SERIES:
        filters = {"Modality": query.modality, "SeriesInstanceUID": query.series_instance_uid}
    return {keyword: value for keyword, value in filters.items() if value}


def match_of_json(found: JsonDataset) -> Match | None:
    """Read one result in the DICOM JSON model (PS3.18 F); None for one without a Study Instance UID."""
    return match_from(partial(_texts, found))


def _texts(found: JsonDataset, keyword: str) -> tuple[str, ...]:
    element = found.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    if not isinstance(values, list):
        return ()
    return tuple(text for text in (str(value).strip() for value in values if value is not None) if text)
