"""The service's own worker, which kills itself with -9 at one boundary of one step.

python boundary_worker.py RUNTIME_FILE KIND before|after MARKER
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from npc_contour import logs
from npc_contour.adapters.workflow.worker import Run
from npc_contour.app import worker
from npc_contour.app.runtime import Runtime
from npc_contour.domain.work import JobKind


def main(runtime_file: Path, wanted: JobKind, when: str, marker: Path) -> None:
    """Work; die at the boundary, once. The marker says when, by the time of this machine."""

    def die() -> None:
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def around(run: Run) -> Run:
        def job(kind: JobKind, key: str) -> None:
            if kind is wanted and when == "before":
                die()
            run(kind, key)
            if kind is wanted and when == "after":
                die()

        return job

    logs.configure("INFO")
    worker.run(Runtime.read(runtime_file), around)


if __name__ == "__main__":
    main(Path(sys.argv[1]), JobKind(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
