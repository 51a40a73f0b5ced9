"""A planning system that behaves badly, in a process of its own: python rude_tps.py PORT MODE.

hang: takes the connection and never answers. abort: aborts in the middle of a C-STORE. A700, 0110, ...: answers
every C-STORE with this status.
"""

from __future__ import annotations

import socket
import sys
import threading

from pynetdicom import AE, evt
from pynetdicom.sop_class import RTStructureSetStorage, Verification  # type: ignore[attr-defined]


def hang(port: int) -> None:
    """Take connections and say nothing."""
    kept = []
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            kept.append(listener.accept())


def answer(port: int, mode: str) -> None:
    """Abort or refuse every object."""

    def on_store(event: evt.Event) -> int:
        if mode == "abort":
            event.assoc.abort()
            return 0xC000
        return int(mode, 16)

    entity = AE(ae_title="TPS")
    entity.add_supported_context(Verification)
    entity.add_supported_context(RTStructureSetStorage)
    entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[2] == "hang":
        hang(int(sys.argv[1]))
    else:
        answer(int(sys.argv[1]), sys.argv[2])
