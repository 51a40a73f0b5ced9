"""A case with real images and a real RTSTRUCT behind a real page, and a real browser before it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright
from pydicom import dcmread

from npc_contour.adapters.api.held_series import held_series_routes
from npc_contour.adapters.api.objects import object_routes
from npc_contour.adapters.api.operations import operation_routes
from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.api.statistics import statistics_routes
from npc_contour.adapters.api.web import create_app
from npc_contour.adapters.dicom.read.headers import read_bytes
from npc_contour.adapters.dicom.read.planning_header import read_patient_name
from npc_contour.adapters.dicom.read.reader import read_headers, read_plane, read_volume
from npc_contour.adapters.dicom.rtstruct.findings_report import pdf_of
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.web.pages import add_pages
from npc_contour.adapters.web.site import Readers, Site, name_of
from npc_contour.app.archives import corrections_of
from npc_contour.application.accounts import Accounts
from npc_contour.application.artefacts import RTSTRUCT, Artefacts
from npc_contour.application.assignment import AssignRoles
from npc_contour.application.held_series import HeldSeries
from npc_contour.application.measuring import measurement_rows
from npc_contour.application.operations import Operations
from npc_contour.application.review import ImageReaders, Review
from npc_contour.application.statistics import SiteStatistics
from npc_contour.application.study import StudyReader
from npc_contour.catalog import Catalog
from npc_contour.domain.cases import CaseInput, CaseRecord
from npc_contour.domain.findings import Finding
from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState
from npc_contour.domain.measurements import Axis, MeasurementKind, MeasurementRule, Measurements, Node
from npc_contour.domain.received import ArrivedImage, AssociationRow
from npc_contour.domain.status import CheckResult
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import JobKind
from npc_contour.logs import Event
from npc_contour.settings import Settings, Web
from npc_contour.store.accounts import AccountStore
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard
from npc_contour.store.work_board import WorkBoard
from npc_contour.store.worklist import WorkList
from npc_testkit.bench import LOOPBACK, catalog
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.fakes import FakeClock, FakeLooker, FakeRegistrations, FakeSpool
from npc_testkit.peers import require_tool
from npc_testkit.rtstructs import Mask, encoded, planning_series

PLAN = CtPlan(slices=12, rows=40, columns=48, pixel_spacing_mm=(1.0, 1.0))
CYLINDER = "Brainstem"
HELD_FOR = "held: gap of 5.00 mm after slice 5, expected 2.50 mm"
ABSENT = "Lens_L"
FINE = CheckResult("database", ok=True, detail="PostgreSQL answers")
NO_TPS = CheckResult("destination:tps", ok=False, detail="refused", remedy="check the host", required=False)


@dataclass
class World:
    """What the page shows: a store, and the files of its cases."""

    store: Store
    folder: Path
    spool: FakeSpool = field(default_factory=FakeSpool)
    settings: Settings = field(default_factory=Settings)
    checks: tuple[CheckResult, ...] = (FINE, NO_TPS)
    catalog: Catalog = field(default_factory=catalog)
    clock: FakeClock = field(default_factory=FakeClock)

    def add_case(
        self,
        *,
        seed: str = "one",
        state: CaseState = CaseState.SENT,
        reason: str = "",
        pipeline: str = "ln_ctv",
        choices: bool = False,
        measured: bool = False,
        findings: Sequence[Finding] = (),
        held_for: Sequence[str] = (),
        **plan: Any,
    ) -> str:
        """Add a study with one case, whose structure set has a cylinder and lacks an ROI; return its id.

        Args:
            seed: of the study; of one that is there already only a case is added.
            state: of the case.
            reason: for that state.
            pipeline: of the case.
            choices: whether a person has to say which series is which.
            measured: whether a lymph node was measured.
            findings: what the service doubts.
            held_for: codes of those that it is held for.
            **plan: what of `PLAN` is different.
        """
        changed = replace(PLAN, seed=seed, study_seed=seed, frame_seed=seed, **plan)
        planning = planning_series(self.folder / seed, changed)
        images = read_headers(self.folder / seed).headers
        case_id, now = uuid.uuid4().hex, datetime.now(UTC)
        series = images[0].series_instance_uid
        with self.store.transaction() as tx:
            row = AssociationRow(case_id, "receiver-0", "CT_SCANNER", "NPC_CONTOUR", "127.0.0.1")
            tx.add_images([ArrivedImage(image, row) for image in images], now)
            tx.set_series(series, SeriesState.READY, (), now)
            tx.add_case(
                CaseRecord(
                    case_id=case_id, study_instance_uid=images[0].study_instance_uid, pipeline=pipeline, generation=1,
                    state=CaseState.ROUTED, planning_role="planning_ct",
                    inputs={"planning_ct": CaseInput(series, tuple(sorted(i.sop_instance_uid for i in images)))},
                    frame_of_reference_uid=images[0].frame_of_reference_uid, waiting_for=(), wait_until=None,
                    reasons=("planning_ct: the only CT",), demo=True, predecessor=None, created_at=now,
                    choices=({"planning_ct": series},) if choices else (),
                )
            )  # fmt: skip
            tx.record(TimelineEntry(event=Event.CASE_CREATED, at=now, case=case_id, detail="planning_ct: the only CT"))
            if state is CaseState.SENT:
                z, y, x = np.indices(planning.volume.hu.shape)
                inside: Mask = np.asarray(((y - 20) ** 2 + (x - 24) ** 2 <= 64) & (z >= 3) & (z < 9))
                data = encoded(planning, {CYLINDER: inside, ABSENT: np.zeros_like(inside)})
                report = (
                    _report() | (_measured() if measured else {}) | {"findings": [one.as_json() for one in findings]}
                )
                key = self.spool.put_artefact(case_id, RTSTRUCT, data)
                uid = read_rtstruct(data).sop_instance_uid
                tx.add_structure_set(case_id, uid, key, report, now)
                delivery = tx.add_delivery(case_id, "tps", DeliveryState.QUEUED, "", now)
                assert delivery is not None
                if held_for:
                    tx.hold_case(case_id, f"the contours are doubtful: {findings[0].sentence}", now, held_for)
                    state = CaseState.CONTOURED
                else:
                    tx.set_delivery(
                        delivery, DeliveryState.SENT, now, attempts=1, next_try_at=None, status=0, message=""
                    )
            tx.set_case(case_id, state, now, reasons=(reason,) if reason else None)
        return case_id

    def add_held(
        self,
        seed: str,
        *,
        study: str = "",
        state: SeriesState = SeriesState.HELD,
        reasons: tuple[str, ...] = (HELD_FOR,),
    ) -> str:
        """Add a series that lacks a slice, held for it or in another state; return its UID.

        Args:
            seed: of the series.
            study: seed of its study; "" gives it one of its own.
            state: of the series.
            reasons: for that state.
        """
        changed = replace(
            PLAN, seed=seed, study_seed=study or seed, frame_seed=study or seed, description="HEAD NECK 2.5 FC43"
        )
        write_series(self.folder / seed, [one for index, one in enumerate(ct_datasets(changed)) if index != 5])
        images = read_headers(self.folder / seed).headers
        series, now = images[0].series_instance_uid, datetime.now(UTC)
        with self.store.transaction() as tx:
            row = AssociationRow(uuid.uuid4().hex, "receiver-0", "CT_SCANNER", "NPC_CONTOUR", "127.0.0.1")
            tx.add_images([ArrivedImage(image, row) for image in images], now)
            tx.set_series(series, state, reasons, now)
            study_uid = images[0].study_instance_uid
            tx.record(
                TimelineEntry(
                    event=Event.SERIES_HELD, at=now, study=study_uid, series=series, detail="; ".join(reasons)
                )
            )
        return series

    def add_parked(self, key: str, reason: str) -> None:
        """Add a step that was given up."""
        with self.store.transaction() as tx:
            tx.count_attempt(JobKind.ROUTE_STUDY, key, datetime.now(UTC))
            tx.park(JobKind.ROUTE_STUDY, key, reason, datetime.now(UTC))

    def add_other_bytes(self, seed: str) -> None:
        """Put all images of a study in quarantine once more, as those of another patient."""
        folder = self.folder / "spool" / "quarantine"
        folder.mkdir(parents=True, exist_ok=True)
        images = [dcmread(kept) for kept in (self.folder / seed).iterdir()]
        for image in images:
            image.PatientID = "PHANTOM-MERGED"
            image.save_as(folder / f"{image.SOPInstanceUID}-0123456789abcdef.dcm")
        with self.store.transaction() as tx:
            tx.set_correction(str(images[0].SeriesInstanceUID), datetime.now(UTC))

    @property
    def accounts(self) -> Accounts:
        """Who may see and do what."""
        return Accounts(AccountStore(self.store), self.clock, session_h=8.0)

    def tell(self, case_id: str, event: Event, detail: str) -> None:
        """Add an entry to a case's timeline."""
        with self.store.transaction() as tx:
            tx.record(
                TimelineEntry(event=event, at=datetime.now(UTC) + timedelta(seconds=1), case=case_id, detail=detail)
            )

    @contextmanager
    def app(self) -> Iterator[FastAPI]:
        """The application with the page."""
        board = StatusBoard(self.store, str)
        image_readers = ImageReaders(
            read_plane, lambda series, before_slice: read_volume(series, before_slice=before_slice), read_rtstruct
        )
        readers = Readers(
            header=lambda head: read_bytes(head, key="")[0], patient_name=lambda key: read_patient_name(Path(key))
        )
        with Review(self.store, self.spool, image_readers) as review:
            reader = StudyReader(tuple(self.catalog.pipelines.values()), FakeLooker(), FakeRegistrations())
            assignment = AssignRoles(self.store, self.clock, self.catalog, reader)
            operations = Operations(self.store, self.clock, (LOOPBACK,))
            routes = operation_routes(operations, assignment, WorkBoard(self.store), (LOOPBACK.name,), name_of)
            pacs = [one.name for one in self.settings.pacs]
            held_series = HeldSeries(self.store, HeldSeriesBoard(self.store), self.clock, pacs)
            corrections = corrections_of(self.settings, self.store, Spool(self.folder / "spool", min_free_mb=0))
            routes.include_router(
                object_routes(lambda case, what: Artefacts(self.store, self.spool, case).read_object(what), pdf_of)
            )
            routes.include_router(statistics_routes(SiteStatistics(self.store, self.clock), name_of))
            routes.include_router(held_series_routes(held_series, corrections, name_of))
            app = create_app(board, lambda: self.checks, self.catalog, "9.9.9", partial(int, 1), routes)
            site = Site(
                settings=self.settings,
                catalog=self.catalog,
                version="9.9.9",
                worklist=WorkList(self.store, board),
                review=review,
                checks=lambda: self.checks,
                readers=readers,
                held_series=held_series,
                corrections=corrections,
                parked=WorkBoard(self.store).parked,
                statistics=SiteStatistics(self.store, self.clock),
                destinations=partial(
                    WorkBoard(self.store).destinations, [one.name for one in self.settings.destinations]
                ),
            )
            add_pages(app, site, self.accounts)
            yield app

    @contextmanager
    def served(self) -> Iterator[str]:
        """The page over the wire; its address."""
        with self.app() as app, BackgroundServer(app, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.port}"


def showing_patients() -> Settings:
    """Settings of a site that shows who a patient is."""
    return Settings(web=Web(show_patient=True))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser without a window."""
    path = require_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@contextmanager
def a_page(browser: Browser, *, dark: bool = False, may_fail: bool = False) -> Iterator[Page]:
    """A page in a browser of its own; errors of its scripts, and of what it loads unless `may_fail`, fail the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" and not may_fail else None
    )
    page.set_default_timeout(30_000)
    yield page
    context.close()
    if errors:
        pytest.fail(f"the page's scripts complain: {errors}")


def _measured() -> dict[str, Any]:
    node = Node(
        number=1, volume_cc=1.2, long_axis=Axis(14.0, ((0, 0, 0), (14, 0, 0))),
        short_axis=Axis(11.0, ((0, 0, 0), (0, 11, 0))), centre_lps_mm=(0.0, 0.0, 107.5), slice_index=3,
    )  # fmt: skip
    rule = MeasurementRule(MeasurementKind.NODES, CYLINDER)
    return {"measurements": measurement_rows(Measurements(rule=rule, nodes=(node,)))}


def _report() -> dict[str, Any]:
    return {
        "label": "Test set",
        "profile": "generic",
        "min_dice_read_back": 1.0,
        "notes": [f"not found: {ABSENT}"],
        "not_found": [ABSENT],
        "rois": [
            {"name": CYLINDER, "type": "ORGAN", "volume_cc": 2.95, "found": True, "network": "ln_ctv"},
            {"name": ABSENT, "type": "ORGAN", "volume_cc": 0.0, "found": False, "network": "ln_ctv"},
        ],
        "networks": [{"name": "ln_ctv", "version": "demo-1", "weights_sha256": "a" * 64, "demo": True}],
    }
