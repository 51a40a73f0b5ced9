"""Room set aside for each association: a study is taken whole or refused at its first image, before the disk is full.

The first byte of an association sets `reserve_mb` aside; what it writes is drawn from that. An association for which
there is no such room is answered 0xA700 at every image, and its sender keeps the study. Room is set aside by each
receiver process for its own associations; `storage.min_free_mb` stays free whatever they do.
"""

from __future__ import annotations

import threading

from npc_contour.adapters.dicom.spool.files import Spool

_MEBIBYTE = 2**20


class Admission:
    """Sets room aside in a spool.

    Args:
        spool: which keeps count.
        reserve_mb: mebibytes for one association; 0 sets nothing aside.
    """

    def __init__(self, spool: Spool, reserve_mb: int) -> None:
        self._spool = spool
        self._reserve = reserve_mb * _MEBIBYTE
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()

    def use(self, association_id: str, size: int) -> None:
        """Let an association write `size` bytes, which are no longer set aside for it.

        Raises:
            SpoolFullError: there is no room for a whole association.
        """
        if not self._reserve:
            return
        with self._lock:
            if association_id not in self._left:
                self._spool.set_aside(self._reserve)
                self._left[association_id] = self._reserve
            drawn = min(size, self._left[association_id])
            self._left[association_id] -= drawn
        self._spool.set_aside(-drawn)

    def ended(self, association_id: str) -> None:
        """Give back what an association did not use."""
        with self._lock:
            left = self._left.pop(association_id, 0)
        if left:
            self._spool.set_aside(-left)
