"""DICOMweb destinations: STOW-RS to send (PS3.18 10.5), QIDO-RS to ask whether the object is there (PS3.18 10.6)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from npc_contour.domain.jobs import Evidence, Proof, StoreReceipt, WebDestination
from npc_contour.errors import SendError

QIDO = "QIDO-RS"
PROCESSING_FAILURE = 0x0110
REFUSED = (400, 409, 415)
"""HTTP status codes by which a server refuses this very object; any other failure is the server's."""
_ONE_PIECE = 2**31
"""Larger than any structure set: in pieces, a request has no Content-Length, which many proxies refuse."""


class WebSender:
    """Sends to DICOMweb servers, and asks them.

    Args:
        timeout_s: for connecting and for each answer.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        logging.getLogger("dicomweb_client").setLevel(logging.WARNING)

    def send(self, instance: bytes, destination: WebDestination) -> StoreReceipt:
        """Store one object and return the server's answer; a Failure Reason stands for the status of C-STORE.

        Raises:
            SendError: there was no answer, or one that says nothing about the object.
        """
        dataset = _parsed(instance)
        uid, status = str(dataset.SOPInstanceUID), 0x0000
        with self._client(destination) as client:
            try:
                answer = client.store_instances([dataset])
            except requests.HTTPError as error:
                if _code(error) not in REFUSED or error.response is None:
                    raise
                status = _refusal(error.response)
            else:
                status = _status(answer, uid)
        return StoreReceipt(destination.name, uid, status, datetime.now(UTC))

    def ask(self, instance: bytes, destination: WebDestination) -> Evidence:
        """Ask whether the server holds an object.

        Raises:
            SendError: there was no answer.
        """
        dataset = _parsed(instance)
        with self._client(destination) as client:
            try:
                found = client.search_for_instances(
                    dataset.StudyInstanceUID,
                    dataset.SeriesInstanceUID,
                    search_filters={"SOPInstanceUID": dataset.SOPInstanceUID},
                )
            except requests.HTTPError as error:
                if _code(error) == 404:
                    return Evidence(Proof.MISSING, QIDO)
                if _code(error) in {400, 405, 501}:
                    return Evidence(Proof.NOT_OFFERED, QIDO, f"{destination.name}: {error}")
                raise
        uids = {str((match.get("00080018") or {}).get("Value", [""])[0]) for match in found}
        return Evidence(Proof.HELD if str(dataset.SOPInstanceUID) in uids else Proof.MISSING, QIDO)

    def reach(self, destination: WebDestination) -> str:
        """Return that the server answers a query.

        Raises:
            SendError: it does not.
        """
        with self._client(destination) as client:
            client.search_for_studies(limit=1)
        return f"{destination.url} answers"

    @contextmanager
    def _client(self, destination: WebDestination) -> Iterator[DICOMwebClient]:
        with requests.Session() as session:
            session.trust_env = False
            if destination.ca_file:
                session.verify = destination.ca_file
            try:
                headers = {}
                if destination.token_file:
                    token = Path(destination.token_file).read_text(encoding="utf-8").strip()
                    headers["Authorization"] = f"Bearer {token}"
                client = DICOMwebClient(
                    destination.url, session=session, headers=headers, timeout=self._timeout_s, chunk_size=_ONE_PIECE
                )
                client.set_http_retry_params(retry=False)
                yield client
            except (requests.RequestException, OSError, ValueError) as error:
                raise SendError(f"{destination.name} ({destination.url}): {_words(error)}") from error


def _code(error: requests.HTTPError) -> int:
    return 0 if error.response is None else error.response.status_code


def _parsed(instance: bytes) -> Dataset:
    try:
        return dcmread(BytesIO(instance))
    except (InvalidDicomError, EOFError) as error:
        raise SendError(f"what is to be sent cannot be read: {error}") from error


def _status(answer: Dataset, uid: str) -> int:
    for item in answer.get("FailedSOPSequence") or ():
        if str(item.get("ReferencedSOPInstanceUID")) == uid:
            return int(item.get("FailureReason") or PROCESSING_FAILURE)
    for item in answer.get("ReferencedSOPSequence") or ():
        if str(item.get("ReferencedSOPInstanceUID")) == uid:
            return int(item.get("WarningReason") or 0)
    return 0x0000


def _refusal(response: requests.Response) -> int:
    try:
        answer = Dataset.from_json(response.text)
        return int(answer.FailedSOPSequence[0].FailureReason)
    except (ValueError, AttributeError, KeyError, IndexError, TypeError):
        return PROCESSING_FAILURE


def _words(error: Exception) -> str:
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS: {error}"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return str(error)
