"""Real workers in processes of their own, and what they work on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import npc_contour
import npc_testkit
from npc_contour.application.intake import Intake
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.store.database import Store
from npc_testkit import worker_process
from npc_testkit.bench import contrast_ct, plain_ct

ROOTS = [str(Path(package.__file__).parents[1]) for package in (npc_contour, npc_testkit) if package.__file__]


@contextmanager
def worker(
    url: str, folder: Path, segment_s: float = 0.0, deadline_s: float = 3600.0, traces: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(worker_process.__file__), url, str(folder), str(segment_s), str(deadline_s)]
    command += [traces] if traces else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS)}
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def receive_pair(store: Store) -> None:
    class Wall:
        def now(self) -> datetime:
            return datetime.now(UTC)

    intake = Intake(store, Wall(), worker_process.QUIET)
    row = AssociationRow("a1", "receiver", "CT", "NPC_CONTOUR", "127.0.0.1")
    for header in (*plain_ct(), *contrast_ct()):
        intake.keep(header, f"instances/{header.sop_instance_uid}", row)
    intake.association_ended("a1", Ending.RELEASED)
