"""The use cases over a real store and queue, with fakes for what is outside; jobs run one by one, by the fake clock."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from npc_contour.application.assignment import AssignRoles
from npc_contour.application.cases import CaseSteps, Tools
from npc_contour.application.combining import CombineStudy
from npc_contour.application.completion import CloseSeries
from npc_contour.application.delivery import DeliveryTools, SendDelivery
from npc_contour.application.intake import Intake
from npc_contour.application.integrity import Integrity
from npc_contour.application.mending import MendCase
from npc_contour.application.routing import RouteStudy
from npc_contour.application.steps import Steps
from npc_contour.application.study import StudyReader
from npc_contour.application.verification import VerifyDelivery
from npc_contour.catalog import PIPELINES_DIR, Catalog, read_pipeline
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.findings import HoldFrom
from npc_contour.domain.jobs import AnyDestination, Destination
from npc_contour.domain.pipelines import NetworkContract, Normalisation
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.work import JobKind
from npc_contour.settings import Completion, Delivery
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_testkit.ct_headers import ct_headers
from npc_testkit.fakes import (
    FakeClock,
    FakeEngine,
    FakeLooker,
    FakeReader,
    FakeRegistrations,
    FakeReportWriter,
    FakeSender,
    FakeSpool,
    FakeVerifier,
    FakeWriter,
)

STUDY = "1.2"
LOOPBACK = Destination("tps", "TPS", "127.0.0.1", 11113)
WAIT_S = 100.0


def contract(name: str, labels: int, *, demo: bool = True) -> NetworkContract:
    """A contract that a catalogue may hold; nothing behind it."""
    channels = ("CT", "contrast CT") if name != "ln_ctv" else ("CT",)
    return NetworkContract(
        name=name,
        version="1",
        demo=demo,
        channels=channels,
        spacing_zyx_mm=(3.0, 1.0, 1.0),
        patch_zyx=(32, 32, 32),
        normalisation=(Normalisation((-1000.0, 1000.0), 0.0, 500.0),) * len(channels),
        crop_above_hu=None,
        crop_margin_mm=0.0,
        labels=("background", *(f"label {number}" for number in range(1, labels + 1))),
        step=0.5,
        weights_file="network.onnx",
        weights_sha256="0" * 64,
        contract_sha256="1" * 64,
    )


def catalog(*more: str, demo: bool = True) -> Catalog:
    """The pipelines that are on from the start, and more by name, with contracts of the same label counts."""
    pipelines = {name: read_pipeline(PIPELINES_DIR / f"{name}.toml") for name in ("ln_ctv", "npc_oar_gtv", *more)}
    sizes = {"npc_oar": 54, "npc_gtv": 2, "ln_ctv": 6, "han_oar": 50, "mediastinal_ln": 1, "npc_mr_gtv": 1}
    return Catalog(pipelines, {name: contract(name, size, demo=demo) for name, size in sizes.items()})


def plain_ct(slices: int = 50, uid: str = "1.2.10") -> list[InstanceHeader]:
    """A non-contrast head-and-neck series, small in plane."""
    return _small(ct_headers(slices, uid=uid, series_description="HEAD NECK PLAIN"))


def contrast_ct(slices: int = 50, uid: str = "1.2.20") -> list[InstanceHeader]:
    """Its contrast-enhanced partner."""
    return _small(ct_headers(slices, uid=uid, series_description="HEAD NECK C+", contrast_bolus_agent="IOHEXOL"))


def _small(headers: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    return [replace(header, rows=64, columns=480, study_instance_uid=STUDY) for header in headers]


@dataclass
class Bench:
    """Everything between the wires."""

    store: Store
    destinations: Sequence[AnyDestination] = (LOOPBACK,)
    catalog: Catalog = field(default_factory=catalog)
    completion: Completion = field(default_factory=Completion)
    delivery: Delivery = field(default_factory=Delivery)
    combine: bool = False
    hold_doubtful: HoldFrom = HoldFrom.NEVER
    more: dict[JobKind, Callable[[str], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.spool = FakeSpool()
        self.reader = FakeReader()
        self.engine = FakeEngine()
        self.writer = FakeWriter()
        self.sender = FakeSender(self.clock)
        self.verifier = FakeVerifier()
        self.board = StatusBoard(self.store, lambda key: f"/spool/{key}")
        self.intake = Intake(self.store, self.clock, self.completion)
        self.looker = FakeLooker()
        self.registrations = FakeRegistrations()
        self.study_reader = StudyReader(tuple(self.catalog.pipelines.values()), self.looker, self.registrations)
        self.assignment = AssignRoles(self.store, self.clock, self.catalog, self.study_reader)
        self.steps = self.new_steps()

    def new_steps(self) -> Steps:
        """A worker that begins with nothing in memory."""
        tools = Tools(
            store=self.store,
            spool=self.spool,
            clock=self.clock,
            catalog=self.catalog,
            reader=self.reader,
            engine=self.engine,
            writer=self.writer,
            report_writer=FakeReportWriter(),
            destinations=self.destinations,
            segmentations_at_once=1,
            combine=self.combine,
            hold_doubtful=self.hold_doubtful,
        )
        cases = CaseSteps(tools)
        mending = MendCase(tools, cases)
        integrity = Integrity(self.store, self.spool, self.clock)
        delivery = DeliveryTools(
            store=self.store,
            spool=self.spool,
            clock=self.clock,
            destinations=self.destinations,
            rules=self.delivery,
        )
        send = SendDelivery(delivery, self.sender)
        self.verification = VerifyDelivery(delivery, self.verifier)
        close = CloseSeries(self.store, self.clock, self.completion)
        route = RouteStudy(
            self.store,
            self.clock,
            self.catalog,
            partner_wait_s=WAIT_S,
            reader=self.study_reader,
            urgent_called_ae_titles=["NPC_URGENT"],
            seek_partners=JobKind.FIND_PARTNER in self.more,
        )
        self.handlers = {
            JobKind.CLOSE_SERIES: close.run,
            JobKind.ROUTE_STUDY: route.run,
            JobKind.SEGMENT_CASE: cases.segment,
            JobKind.WRITE_STRUCTURE_SET: cases.write,
            JobKind.MEND_CASE: mending.run,
            JobKind.SEND: send.run,
            JobKind.VERIFY: self.verification.run,
            JobKind.COMBINE_STUDY: CombineStudy(self.store, self.clock, self.catalog.pipelines, wait_s=WAIT_S * 2).run,
            **self.more,
        }
        given_up = {
            JobKind.SEND: send.given_up,
            JobKind.VERIFY: self.verification.given_up,
            JobKind.MEND_CASE: mending.given_up,
        }
        return Steps(self.store, self.clock, self.handlers, given_up, integrity.damaged)

    def receive(
        self,
        headers: Sequence[InstanceHeader],
        ending: Ending | None = Ending.RELEASED,
        called_ae_title: str = "NPC_CONTOUR",
    ) -> str:
        """Let an association bring these images and end; None leaves it open. Returns its id."""
        row = AssociationRow(uuid.uuid4().hex, "receiver-0", "CT_SCANNER", called_ae_title, "127.0.0.1")
        for header in headers:
            self.intake.keep(header, f"instances/{header.sop_instance_uid}", row)
        if ending is not None:
            self.intake.association_ended(row.association_id, ending)
        return row.association_id

    def work(self, limit: int = 100, *, stop_before: JobKind | None = None) -> list[JobKind]:
        """Do every job that is due, one after another; return their kinds."""
        done: list[JobKind] = []
        for _ in range(limit):
            # Writing has a queue of its own: nothing that is segmented keeps it waiting.
            rows = self.store.query(
                "SELECT id, task_name, args FROM procrastinate_jobs WHERE status = 'todo'"
                " AND (scheduled_at IS NULL OR scheduled_at <= %(now)s)"
                " ORDER BY task_name = 'write_structure_set' DESC, priority DESC, id LIMIT 1",
                {"now": self.clock.now()},
            )
            if not rows or rows[0]["task_name"] == stop_before:
                return done
            self.store.query("DELETE FROM procrastinate_jobs WHERE id = %(id)s RETURNING id", {"id": rows[0]["id"]})
            kind = JobKind(rows[0]["task_name"])
            self.steps.run(kind, rows[0]["args"]["key"])
            done.append(kind)
        raise AssertionError(f"still jobs due after {limit}: {done[-10:]}")

    def work_for(self, seconds: float, step_s: float = 5.0) -> None:
        """Let time pass, doing what becomes due."""
        self.work()
        for _ in range(int(seconds / step_s)):
            self.clock.forward(step_s)
            self.work()

    def cases(self, pipeline: str) -> list[CaseRecord]:
        """All cases of a pipeline, oldest first."""
        rows = self.store.query(
            "SELECT id FROM contour_case WHERE pipeline = %(p)s ORDER BY generation, created_at", {"p": pipeline}
        )
        found = []
        with self.store.transaction() as tx:
            for row in rows:
                case = tx.case(row["id"])
                assert case is not None
                found.append(case)
        return found

    def case(self, pipeline: str) -> CaseRecord:
        """The one live case of a pipeline."""
        (live,) = [case for case in self.cases(pipeline) if case.state.value != "superseded"]
        return live


def chest_bench(store: Store, *, segmentations: bool = False) -> Bench:
    """A bench whose one pipeline measures lymph nodes, with an archive that takes what it measured."""
    name = "mediastinal_ln"
    pipelines = {name: read_pipeline(PIPELINES_DIR / f"{name}.toml")}
    network = replace(contract(name, 1), channels=("contrast CT",))
    takes = replace(LOOPBACK, name="archive", measurements=True, segmentations=segmentations)
    return Bench(store, destinations=(LOOPBACK, takes), catalog=Catalog(pipelines, {name: network}))


def chest() -> list[InstanceHeader]:
    """A contrast-enhanced series of the chest."""
    return [replace(header, body_part="CHEST", series_description="CHEST C+") for header in contrast_ct()]
