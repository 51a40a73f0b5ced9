"""A worker in a process of its own, to be killed: real queue, store, spool; a slow network, a folder for a sender.

python worker_process.py DATABASE_URL FOLDER SEGMENT_SECONDS DEADLINE_SECONDS [TRACES]
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from npc_contour import logs
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.otlp import trace_to
from npc_contour.adapters.workflow.queue import defer
from npc_contour.adapters.workflow.worker import Duties, WorkerOptions, run_worker
from npc_contour.application.cases import CaseSteps, Tools
from npc_contour.application.completion import CloseSeries
from npc_contour.application.delivery import DeliveryTools, SendDelivery
from npc_contour.application.routing import RouteStudy
from npc_contour.application.steps import Steps
from npc_contour.application.study import StudyReader
from npc_contour.application.verification import VerifyDelivery
from npc_contour.domain.jobs import AnyDestination, StoreReceipt
from npc_contour.domain.work import JobKind
from npc_contour.settings import Completion, Delivery
from npc_contour.store.database import Store
from npc_testkit.bench import LOOPBACK, catalog
from npc_testkit.fakes import (
    FakeEngine,
    FakeLooker,
    FakeReader,
    FakeRegistrations,
    FakeReportWriter,
    FakeVerifier,
    FakeWriter,
)

QUIET = Completion(quiet_released_s=0.3)


class WallClock:
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FolderSender:
    """Keeps every object it is sent as a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def send(self, instance: bytes, destination: AnyDestination) -> StoreReceipt:
        (self._folder / uuid.uuid4().hex).write_bytes(instance)
        return StoreReceipt(destination.name, "1.2", 0, datetime.now(UTC))


def main(url: str, folder: Path, segment_s: float, deadline_s: float) -> None:
    """Work until stopped."""
    logs.configure("INFO")
    (folder / "segmenting").mkdir(exist_ok=True)

    def busy() -> None:
        (folder / "segmenting" / f"{os.getpid()}-{uuid.uuid4().hex}").touch()
        time.sleep(segment_s)

    spool, clock = Spool(folder / "spool", min_free_mb=0), WallClock()
    with Store(url, defer, pool_size=16) as store:
        cases = CaseSteps(
            Tools(
                store=store,
                spool=spool,
                clock=clock,
                catalog=catalog(),
                reader=FakeReader(),
                engine=FakeEngine(before=busy),
                writer=FakeWriter(),
                report_writer=FakeReportWriter(),
                destinations=(LOOPBACK,),
                segmentations_at_once=1,
            )
        )
        reader = StudyReader(tuple(catalog().pipelines.values()), FakeLooker(), FakeRegistrations())
        sender = FolderSender(folder / "sent")
        delivery = DeliveryTools(store=store, spool=spool, clock=clock, destinations=(LOOPBACK,), rules=Delivery())
        handlers = {
            JobKind.CLOSE_SERIES: CloseSeries(store, clock, QUIET).run,
            JobKind.ROUTE_STUDY: RouteStudy(store, clock, catalog(), partner_wait_s=60, reader=reader).run,
            JobKind.SEGMENT_CASE: cases.segment,
            JobKind.WRITE_STRUCTURE_SET: cases.write,
            JobKind.SEND: SendDelivery(delivery, sender).run,
            JobKind.VERIFY: VerifyDelivery(delivery, FakeVerifier()).run,
        }

        def sweep() -> int:
            with store.transaction() as tx:
                missing = tx.jobs_missing()
                for job in missing:
                    tx.defer(job)
            return len(missing)

        steps = Steps(store, clock, handlers)
        options = WorkerOptions(sweep_every_s=0.5, deadlines_s={JobKind.SEGMENT_CASE: deadline_s})
        run_worker(url, Duties(steps.run, sweep, steps.interrupted), options)


if __name__ == "__main__":
    if len(sys.argv) > 5:
        trace_to(sys.argv[5], "worker")
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
