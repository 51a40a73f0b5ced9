"""The page on 1000 studies: first slice of a review in a real browser, the work list, and how many pages may listen.

A synthetic CT of 512 x 512 x 150 is copied for each review that is opened, so that nothing of a case is in the
server's memory yet; the browser has the page's own files, as after the first visit. The first slice
counts from the start of the navigation to the frame after the one in which the slice was drawn. Each review is opened
once the one before has come to rest; a quarter as many more (`hurried`) as soon as the one before shows its contours,
while its planes are still fetched and its volume is read. The web process runs apart from the browser and from this
script, against the embedded PostgreSQL.

    python benchmarks/web.py
    python benchmarks/web.py --opens 10 --listeners 50
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import sync_playwright
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from npc_contour.adapters.dicom.read.reader import read_headers
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_contour.app.runtime import Runtime
from npc_contour.app.web import run as run_web
from npc_contour.application.artefacts import RTSTRUCT
from npc_contour.domain.series import InstanceHeader
from npc_contour.settings import Settings
from npc_contour.store.codec import header_to_json
from npc_contour.store.database import Store, migrate
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.rtstructs import encoded, planning_series

PLAN = CtPlan(slices=150, rows=512, columns=512, pixel_spacing_mm=(0.9, 0.9), slice_spacing_mm=2.5)
ROIS = 20
STUDIES = 1000
START = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opens", type=int, default=40, help="reviews opened (default 40)")
    parser.add_argument("--lists", type=int, default=100, help="work lists asked for (default 100)")
    parser.add_argument("--listeners", type=int, default=500, help="pages that listen (default 500)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="npc-bench-web-") as folder:
        root = Path(folder)
        settings = Settings.model_validate({"storage": {"root": root / "data"}, "web": {"port": 0}})
        with EmbeddedPostgres(settings.storage.database) as postgres:
            migrate(postgres.url, apply_queue_schema)
            with Store(postgres.url, defer) as store:
                cases = fill(store, settings, root, args.opens + args.opens // 4 + 1)
                runtime = Runtime.of(settings, database_url=postgres.url)
                process = multiprocessing.get_context("spawn").Process(target=run_web, args=(runtime,), daemon=True)
                process.start()
                url = f"http://127.0.0.1:{runtime.web_port}"
                wait_for(url)
                try:
                    figures = measure(url, store, cases, args)
                finally:
                    process.terminate()
                    process.join(20)
    print_table(figures)
    print(json.dumps(figures))


def measure(url: str, store: Store, cases: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """All three, one after another."""
    hurried = args.opens // 4
    calm = first_slices(url, cases[: args.opens + 1], "allAt")
    haste = first_slices(url, cases[args.opens + 1 :], "contoursAt") if hurried else []
    lists = work_lists(url, args.lists)
    held, heard_s = asyncio.run(listeners(url, store, cases[0], args.listeners))
    return {
        "first_slice_ms_p95": p95([visit["first"] for visit in calm]),
        "worklist_ms_p95_1000_studies": p95(lists),
        "sse_clients_held": held,
        "first_slice_ms_median": median(calm, "first"),
        "page_ms_median": median(calm, "page"),
        "plane_ms_median": median(calm, "plane"),
        "contours_ms_median": median(calm, "contours"),
        "all_planes_ms_median": median(calm, "all"),
        "first_slice_hurried_ms_median": median(haste, "first"),
        "worklist_ms_median": round(statistics.median(lists), 1),
        "sse_last_heard_s": round(heard_s, 2),
        "reviews": len(calm),
        "slices": PLAN.slices,
    }


def median(visits: Sequence[dict[str, float]], what: str) -> float | None:
    """The median of one time of all visits."""
    return round(statistics.median(visit[what] for visit in visits), 1) if visits else None


TIMES = """() => { const resources = performance.getEntriesByType("resource");
  return { page: performance.getEntriesByType("navigation")[0].responseEnd,
           plane: resources.find((one) => one.name.includes("/planes/axial")).responseEnd,
           first: window.firstSliceAt, contours: window.contoursAt, all: window.allAt ?? 0 }; }"""


def first_slices(url: str, cases: Sequence[str], until: str) -> list[dict[str, float]]:
    """Milliseconds from navigation to what a visit gets, a case a visit.

    Args:
        url: of the service.
        cases: one visit each; the first one fetches the page's own files and does not count.
        until: what ends a visit, a variable of the page's script.

    Returns:
        By visit: `page` and `plane` arrived, `first` slice on the screen, `contours` over it, `all` planes.
    """
    visits = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(f"{url}/work")
        for number, case_id in enumerate(cases):
            page.goto(f"{url}/cases/{case_id}/review", wait_until="commit")
            page.wait_for_function(f"() => window.{until} && window.firstSliceAt")
            if number:
                visits.append(page.evaluate(TIMES))
        browser.close()
    return visits


def work_lists(url: str, count: int) -> list[float]:
    """Milliseconds of the whole page, its groups and searches in turn."""
    asks = ("/work", "/work?group=done", "/work?text=NECK", "/work?group=attention", "/work?offset=900")
    taken = []
    with httpx.Client(base_url=url, timeout=30) as client:
        client.get("/work")
        for number in range(count):
            began = time.perf_counter()
            client.get(asks[number % len(asks)]).raise_for_status()
            taken.append(1000 * (time.perf_counter() - began))
    return taken


async def listeners(url: str, store: Store, case_id: str, count: int) -> tuple[int, float]:
    """Open so many streams, let a case move, and return how many heard of it and when the last one did."""
    heard: list[float] = []
    opened = asyncio.Semaphore(0)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

        async def listen() -> None:
            async with client.stream("GET", "/live") as answer:
                if answer.status_code != 200:
                    return
                async for line in answer.aiter_lines():
                    if line.startswith("retry"):
                        opened.release()
                    if line == f"event: case-{case_id}":
                        heard.append(time.perf_counter())
                        return

        tasks = [asyncio.create_task(listen()) for _ in range(count)]
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                for _ in range(count):
                    await opened.acquire()
        await asyncio.sleep(3)
        began = time.perf_counter()
        store.query(
            "INSERT INTO event (at, name, case_id, detail) VALUES (now(), 'delivery.sent', %(case)s, 'bench')"
            " RETURNING id",
            {"case": case_id},
        )
        await asyncio.wait(tasks, timeout=30)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return len(heard), max(heard, default=began) - began


def fill(store: Store, settings: Settings, root: Path, opens: int) -> list[str]:
    """Write images and rows; return the cases that can be reviewed."""
    images = render(root / "ct")
    structure_set = contours(root / "small")
    spool = Spool(settings.storage.spool, min_free_mb=0)
    cases = []
    for number in range(STUDIES):
        reviewed = number < opens + 1
        study, series, case_id = f"1.2.{number + 1}", f"1.2.{number + 1}.1", uuid.uuid4().hex
        own = [
            replace(image, study_instance_uid=study, series_instance_uid=series, sop_instance_uid=f"{series}.{index}")
            for index, image in enumerate(images if reviewed else images[:1])
        ]
        add_study(store, own, case_id, START + timedelta(minutes=number))
        if reviewed:
            # Every case has files of its own, whose headers say what the database says of them.
            place(root, spool, own, case_id, structure_set, store)
            cases.append(case_id)
    return cases


def render(folder: Path) -> tuple[InstanceHeader, ...]:
    """A head of soft tissue and bone, so that there is something to see."""
    z, y, x = np.ogrid[: PLAN.slices, : PLAN.rows, : PLAN.columns]
    radius = np.hypot((y - 256) / 1.25, x - 256) / (150 + 20 * np.sin(z / 20))
    hu = np.where(radius < 1, 40 + 30 * np.sin(x / 9) * np.cos(y / 7), -1000.0)
    hu = np.where((radius > 0.85) & (radius < 0.95), 700, hu)
    datasets = ct_datasets(replace(PLAN, rows=2, columns=2))
    for index, dataset in enumerate(datasets):
        dataset.Rows, dataset.Columns = PLAN.rows, PLAN.columns
        dataset.PixelData = (hu[index] + 1024).astype(np.int16).tobytes()
    write_series(folder, datasets)
    return read_headers(folder).headers


def contours(folder: Path) -> bytes:
    """An RTSTRUCT of many ellipsoids in the same space, on a coarser grid."""
    coarse = replace(PLAN, rows=128, columns=128, pixel_spacing_mm=(3.6, 3.6))
    planning = planning_series(folder, coarse)
    z, y, x = np.indices(planning.volume.hu.shape, sparse=True)
    masks = {
        f"Roi_{number}": np.asarray(
            ((z - 75) / 20) ** 2 + ((y - 40 - 2 * number) / 8) ** 2 + ((x - 50 - number) / 8) ** 2 < 1
        )
        for number in range(ROIS)
    }
    return encoded(planning, masks)


def add_study(store: Store, images: Sequence[InstanceHeader], case_id: str, at: datetime) -> None:
    """The rows of one study with one case that was sent."""
    first, series = images[0], images[0].series_instance_uid
    roi = {"type": "ORGAN", "volume_cc": 9.0, "found": True, "network": "n"}
    rois = [{"name": f"Roi_{number}", **roi} for number in range(ROIS)]
    values = {
        "study": first.study_instance_uid, "series": series, "case": case_id, "at": at, "images": len(images),
        "inputs": Jsonb({"planning_ct": {"series": series, "images": [i.sop_instance_uid for i in images]}}),
        "report": Jsonb({"label": "BENCH", "rois": rois, "not_found": [], "notes": [], "networks": []}),
        "frame": first.frame_of_reference_uid,
    }  # fmt: skip
    with store.transaction() as tx:
        run = tx._connection.execute  # noqa: SLF001 - rows are written as a thousand received studies would leave them
        for statement in (
            "INSERT INTO study (study_instance_uid, patient_id, created_at) VALUES (%(study)s, 'BENCH', %(at)s)",
            "INSERT INTO association (id, receiver, calling_ae_title, called_ae_title, peer, opened_at, ended_at,"
            " ending) VALUES (%(case)s, 'r', 'CT', 'NPC_CONTOUR', '127.0.0.1', %(at)s, %(at)s, 'released')",
            "INSERT INTO series (series_instance_uid, study_instance_uid, modality, description, called_ae_title,"
            " state, images, first_instance_at, last_instance_at, updated_at) VALUES (%(series)s, %(study)s, 'CT',"
            " 'HEAD NECK', 'NPC_CONTOUR', 'ready', %(images)s, %(at)s, %(at)s, %(at)s)",
            "INSERT INTO contour_case (id, study_instance_uid, pipeline, generation, state, planning_role,"
            " planning_series_uid, frame_of_reference_uid, inputs, demo, created_at, updated_at) VALUES (%(case)s,"
            " %(study)s, 'ln_ctv', 1, 'sent', 'planning_ct', %(series)s, %(frame)s, %(inputs)s, true, %(at)s, %(at)s)",
            "INSERT INTO structure_set (case_id, sop_instance_uid, key, report, created_at)"
            " VALUES (%(case)s, %(series)s || '.0', 'artefacts/' || %(case)s, %(report)s, %(at)s)",
            "INSERT INTO delivery (case_id, destination, state, attempts, status, created_at, updated_at)"
            " VALUES (%(case)s, 'tps', 'sent', 1, 0, %(at)s, %(at)s)",
            "INSERT INTO event (at, name, case_id, detail) VALUES (%(at)s, 'case.created', %(case)s, 'bench')",
        ):
            run(statement, values)


def place(
    root: Path, spool: Spool, images: Sequence[InstanceHeader], case_id: str, structure_set: bytes, store: Store
) -> None:
    """Keep the files of one reviewed case, with the UIDs of its rows."""
    import pydicom  # noqa: PLC0415 - only here

    with store.transaction() as tx:
        for image in images:
            path = spool.open_path(key := f"instances/{image.study_instance_uid}/{image.sop_instance_uid}.dcm")
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset = pydicom.dcmread(root / "ct" / image.key)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = image.study_instance_uid, image.series_instance_uid
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = image.sop_instance_uid
            dataset.save_as(path)
            tx._connection.execute(  # noqa: SLF001
                "INSERT INTO instance (sop_instance_uid, series_instance_uid, key, header, association_id, received_at)"
                " VALUES (%s, %s, %s, %s, %s, now())",
                (image.sop_instance_uid, image.series_instance_uid, key,
                 Jsonb(header_to_json(replace(image, key=key))), case_id),
            )  # fmt: skip
    spool.put_artefact(case_id, RTSTRUCT, structure_set)


def wait_for(url: str) -> None:
    """Return once the web process answers."""
    for _ in range(120):
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health/live", timeout=2).status_code == 200:
                return
        time.sleep(0.5)
    raise TimeoutError(f"{url} does not answer")


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return round(statistics.quantiles(values, n=20)[-1], 1)


def print_table(figures: dict[str, Any]) -> None:
    """For people."""
    table = Table(title="the page")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
