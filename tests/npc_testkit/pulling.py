"""Pulling with a PACS in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.application.intake import Intake
from npc_contour.application.pulling import FetchSeries, PollArchive, PullTools
from npc_contour.settings import Completion, PullSettings
from npc_contour.store.database import Store
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.fakes import FakeArchive, FakeClock

NECK, SCOUT = CtPlan(seed="neck", slices=5), CtPlan(seed="scout", slices=3, description="SCOUT")
RULE = PullSettings(name="planning-ct", pacs="pacs", exclude_pattern="scout", min_images=2, every_s=60)


def files(plan: CtPlan) -> list[bytes]:
    return [as_bytes(dataset) for dataset in ct_datasets(plan)]


@dataclass
class Desk:
    """Pulling with a PACS in memory, over a real database and a real spool."""

    store: Store
    spool: Spool
    clock: FakeClock
    archive: FakeArchive
    tools: PullTools
    poll: PollArchive
    fetch: FetchSeries

    def jobs(self) -> list[tuple[str, str]]:
        rows = self.store.query("SELECT task_name, args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
        return [(row["task_name"], row["args"]["key"]) for row in rows]

    def series(self) -> list[tuple[str, int | None, int, str]]:
        rows = self.store.query("SELECT state, images, attempts, message FROM pulled_series ORDER BY id")
        return [(row["state"], row["images"], row["attempts"], row["message"]) for row in rows]

    def images(self) -> int:
        return int(self.store.query("SELECT count(*) AS n FROM instance")[0]["n"])


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    clock, archive = FakeClock(), FakeArchive(files(NECK) + files(SCOUT))
    spool = Spool(tmp_path, min_free_mb=0)
    intake = Intake(store, clock, Completion())
    tools = PullTools(
        store=store,
        clock=clock,
        intake=intake,
        keeper=FileKeeper(spool, intake.keep, intake.conflict),
        archives={"pacs": archive},
        ae_titles={"pacs": "PACS"},
        our_ae_title="NPC_CONTOUR",
    )
    return Desk(store, spool, clock, archive, tools, PollArchive(tools, [RULE]), FetchSeries(tools))
