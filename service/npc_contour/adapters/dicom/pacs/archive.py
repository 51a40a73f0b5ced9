"""A PACS behind DIMSE: C-FIND, then C-GET or C-MOVE as the site's settings say."""

from __future__ import annotations

from collections.abc import Callable

from npc_contour.adapters.dicom.pacs import query as c_find
from npc_contour.adapters.dicom.pacs import retrieve
from npc_contour.domain.queries import ArchiveNode, Match, Query, Retrieval, Retrieved, Wanted


class DicomArchive:
    """The port `Archive` over DIMSE.

    Args:
        node: the PACS.
        calling_ae: our AE title, also where C-MOVE sends.
        timeout_s: for connecting and for each message.
    """

    def __init__(self, node: ArchiveNode, calling_ae: str, timeout_s: float) -> None:
        self._node = node
        self._calling_ae = calling_ae
        self._timeout_s = timeout_s

    def find(self, query: Query) -> tuple[Match, ...]:
        """Return what it has; raises ArchiveError."""
        return c_find.find(self._node, query, self._calling_ae, self._timeout_s)

    def retrieve(
        self, wanted: Wanted, keep: Callable[[bytes], None], progress: Callable[[int, int], None] | None = None
    ) -> Retrieved:
        """Fetch images; raises ArchiveError. With C-MOVE they come in by our own receiver, which must run."""
        if self._node.retrieval is Retrieval.MOVE:
            return retrieve.move(self._node, wanted, self._calling_ae, self._timeout_s, progress)
        return retrieve.get(self._node, wanted, self._calling_ae, self._timeout_s, keep, progress)
