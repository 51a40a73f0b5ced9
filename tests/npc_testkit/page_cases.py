"""Cases about the page, REST and metrics: the real application over a real database, asked as others would ask it."""

from __future__ import annotations

import html
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import psycopg
import yaml
from pydicom import dcmread

from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.adapters.postgres_embedded import OPTIONS, EmbeddedPostgres
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.status import Part
from npc_contour.store.database import Store, migrate
from npc_testkit import helm
from npc_testkit.bench import Bench, contrast_ct, plain_ct
from npc_testkit.cases import Seen
from npc_testkit.page import PLAN, World, chromium
from npc_testkit.peers import require_tool
from npc_testkit.rtstructs import crops, planning_series, structure_set

HTMX = {"HX-Request": "true"}
REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "deploy" / "helm" / "npc-contour"


@dataclass
class Look:
    """An application's world, and what was found wrong with it."""

    world: World
    database_url: str
    faults: list[str] = field(default_factory=list)

    def must(self, what: str, holds: object) -> None:
        """Note what does not hold."""
        self.faults += [] if holds else [what]

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Note what is not as it must be."""
        if found != wanted:
            self.faults.append(f"{what}: {found!r}, expected {wanted!r}")

    def fill(self, statements: Path) -> None:
        """Run a file of psql."""
        text = "\n".join(line for line in statements.read_text().splitlines() if not line.startswith("\\"))
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(text.encode())

    def seen(self) -> Seen:
        """What was found."""
        return Seen(tuple(self.faults))


@contextmanager
def looking(work: Path) -> Iterator[Look]:
    """Give a world over a database of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="npc-pg-") as folder,
        EmbeddedPostgres(Path(folder) / "data", options={**OPTIONS, "fsync": "off"}) as server,
    ):
        migrate(server.url, apply_queue_schema)
        with Store(server.url, defer) as store:
            yield Look(World(store, work), server.url)


def rest_pagination(case: Path, work: Path) -> Seen:
    """20,000 cases are had in parts, each once, filtered as asked; what a path does not know is refused."""
    with looking(work) as look:
        look.fill(case.parent / "seed_10000.sql")
        with look.world.served() as url, httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
            rows: list[str] = []
            part = client.get("/jobs?limit=1000")
            while True:
                rows += [row["case_id"] for row in part.json()]
                following = part.links.get("next")
                if following is None or len(rows) > 20_000:
                    break
                part = client.get(following["url"])
            look.expect("cases had in parts", (len(rows), len(set(rows))), (20_000, 20_000))
            for query, count in (("study=1.2.17", 2), ("patient=PAT000017", 2), ("patient=PAT", 0), ("study=1.2", 0),
                                 ("study=1.2.97&state=failed", 2), ("study=1.2.97&state=sent", 0)):  # fmt: skip
                look.expect(f"jobs?{query}", len(client.get(f"/jobs?{query}").json()), count)
            newest = client.get("/jobs?limit=1").json()[0]
            since = client.get("/jobs", params={"since": newest["updated_at"]})
            look.expect("jobs?since= the newest", len(since.json()), 2)
            look.expect("series of a patient", len(client.get("/series?patient=PAT000017").json()), 2)
            for query in ("offset=10", "stat=failed", "cursor=nothing", "since=yesterday", "limit=1001"):
                answer = client.get(f"/jobs?{query}")
                look.must(f"jobs?{query} answers {answer.status_code}: {answer.text}", answer.status_code == 422)
                look.must(f"jobs?{query} does not name it: {answer.text}", query.partition("=")[0] in answer.text)
            for path in ("live", "ready"):
                answer = httpx.head(f"{url}/health/{path}")
                look.expect(f"HEAD of health/{path}", (answer.status_code, answer.content), (200, b""))
        return look.seen()


def step_counter_falls(_: Path, work: Path) -> Seen:
    """A case that retention deletes leaves the totals of its steps as they were."""
    with looking(work) as look:
        bench = Bench(look.world.store)
        bench.receive(plain_ct())
        bench.work_for(30)
        before = bench.board.counts().steps
        look.must(f"no step of the case was counted: {sorted(before)}", "segment ln_ctv" in before)
        with look.world.store.transaction() as tx:
            for row in look.world.store.query("SELECT study_instance_uid FROM study"):
                tx.expire_images(row["study_instance_uid"], "deleted")
                tx.delete_study(row["study_instance_uid"])
        look.expect("events left", look.world.store.query("SELECT count(*) AS n FROM event")[0]["n"], 0)
        look.expect("totals after the deletion", bench.board.counts().steps, before)
        return look.seen()


def receive_duration(case: Path, work: Path) -> Seen:
    """A slice that comes three hours late makes no step of three hours, and raises no alert."""
    with looking(work) as look:
        bench = Bench(look.world.store)
        images = plain_ct()
        bench.receive(images[:-1])
        bench.work_for(30)
        bench.clock.forward(10800)
        bench.receive(images[-1:])
        bench.work_for(30)
        look.expect("series", [row.state for row in bench.board.series(Part())], [SeriesState.READY])
        took_s = bench.board.counts().steps["receive"].seconds
        look.must(f"receiving is said to have taken {took_s:g} s", took_s < 60)
        rules = work / "test.yml"
        rules.write_text((case / "test.yml").read_text().replace("$PROJECT", str(REPOSITORY)))
        told = subprocess.run(
            [require_tool("promtool"), "test", "rules", rules], capture_output=True, text=True, check=False
        )
        look.must(f"promtool: {told.stdout} {told.stderr}", told.returncode == 0)
        return look.seen()


def derived_vanishes(_: Path, work: Path) -> Seen:
    """A series that is derived, and one that is being received, are on the work list and found by their UIDs."""
    with looking(work) as look:
        bench = Bench(look.world.store)
        bench.receive([replace(one, image_type=("DERIVED", "SECONDARY", "AXIAL")) for one in plain_ct()])
        with look.world.served() as url:
            look.must("being received, and not listed", "Receiving" in httpx.get(f"{url}/work").text)
            bench.work_for(60)
            for query in ("", "?group=attention", "?text=1.2.10"):
                text = httpx.get(f"{url}/work{query}").text
                look.must(f"work{query} does not say why", "derived from other images" in text)
        return look.seen()


def pair_with_held_phase(_: Path, work: Path) -> Seen:
    """A pair whose contrast phase has a gap names that series and the gap, and leads to what can be done."""
    with looking(work) as look:
        bench = Bench(look.world.store)
        contrast = contrast_ct()
        bench.receive(plain_ct())
        bench.receive(contrast[:20] + contrast[22:])
        bench.work_for(2400, step_s=200)
        case = bench.case("npc_oar_gtv")
        look.expect("state", case.state, CaseState.REFUSED)
        look.must(f"the gap is not named: {case.reasons}", any("gap of" in reason for reason in case.reasons))
        with look.world.served() as url:
            text = httpx.get(f"{url}/cases/{case.case_id}").text
            look.must("no way to the held series", 'href="/held#1.2.20"' in text)
            look.must("it is not on the timeline", "Series held" in text)
        return look.seen()


def older_page_jumps(case: Path, work: Path) -> Seen:
    """What the second part of the list shows, and what it asks for when something moves, stays while cases come."""
    with looking(work) as look:
        look.fill(case.parent / "seed_10000.sql")
        with look.world.served() as url:

            def rows(path: str) -> list[str]:
                return re.findall(r'id="row-(\w+)"', httpx.get(f"{url}{path}", headers=HTMX).text)

            older = _found(r'href="(/work[^"]*)">Next', httpx.get(f"{url}/work").text)
            before = rows(older)
            look.expect("rows of a part", len(before), 100)
            look.must("the second part is the first", before != rows("/work"))
            look.world.add_case()
            asks_for = _found(r'id="work"[^>]*hx-get="([^"]*)"', httpx.get(f"{url}{older}").text)
            look.must("the list jumps", rows(older) == before == rows(asks_for))
        return look.seen()


def back_button(_: Path, work: Path) -> Seen:
    """Going back, htmx gets the whole page."""
    with looking(work) as look:
        look.world.add_case()
        with look.world.served() as url:
            text = httpx.get(f"{url}/work?text=PAT", headers=HTMX | {"HX-History-Restore-Request": "true"}).text
            look.must("no head", '<header class="top">' in text)
            look.must("no search box", 'id="text"' in text)
        return look.seen()


def time_zone(_: Path, work: Path) -> Seen:
    """Times on the page have a zone, and so has a structure set whose images have none."""
    with looking(work) as look:
        look.world.add_case()
        with look.world.served() as url, chromium() as browser:
            text = httpx.get(f"{url}/work").text
            look.must("no zone on the page", re.search(r'id="zone">[^<]+<', text))
            look.must("a time without its zone", re.search(r'<time datetime="[^"]+" title="[^"]*UTC[^"]*"', text))
            page = browser.new_context(timezone_id="Asia/Tokyo").new_page()
            page.goto(f"{url}/work")
            look.expect("the browser's zone", page.inner_text("#zone"), "Asia/Tokyo (UTC+09:00)")
        planning = planning_series(work / "planning", PLAN)
        mask = np.ones(planning.volume.grid.shape_zyx, dtype=np.bool_)
        file = encode_rtstruct(
            structure_set(crops({"Brain": mask}), planning.volume), planning.volume, planning.header,
            made_at=datetime.now(UTC),
        )  # fmt: skip
        offset = dcmread(io.BytesIO(file)).get("TimezoneOffsetFromUTC", "")
        look.expect("Timezone Offset From UTC", offset, f"{datetime.now().astimezone():%z}")
        return look.seen()


def helm_secrets(case: Path, _: Path) -> Seen:
    """The chart mounts what site.toml names, opens the port of DICOM over TLS, and takes what a site adds."""
    values = yaml.safe_load((case / "values.yaml").read_text())
    more = {"extraEnv": [{"name": "A", "value": "b"}], "extraVolumes": [{"name": "v", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}], "podSecurityContext": {"fsGroup": 7}}  # fmt: skip
    files = helm.render(CHART, values | more, namespace="x")
    found = [
        one for text in files.values() for one in yaml.safe_load_all(text) if isinstance(one, dict) and "kind" in one
    ]
    faults = []
    pods = [one["spec"]["template"]["spec"] for one in found if one["kind"] in {"Deployment", "StatefulSet"}]
    ours = [pod for pod in pods if pod["containers"][0]["command"][:2] == ["npc-contour", "serve"]]
    for pod in ours:
        places = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        faults += [
            f"{place} is not mounted" for place in ("/etc/tls", "/run/secrets/oidc", "/v") if place not in places
        ]
    ports = {port["port"] for one in found if one["kind"] == "Service" for port in one["spec"]["ports"]}
    faults += [] if 2762 in ports else [f"ports of services: {sorted(ports)}"]
    faults += [] if len(ours) == 3 else [f"{len(ours)} pods of the service"]
    return Seen(tuple(faults))


def keyhole_seam(_: Path, work: Path) -> Seen:
    """A small hole beside an organ's edge is joined to that edge, on whichever side it lies, not to the far one."""
    planning = planning_series(work / "planning", PLAN)
    masks = {}
    for name, column in (("left", 8), ("right", 38)):
        mask = np.zeros(planning.volume.grid.shape_zyx, dtype=np.bool_)
        mask[5, 10:30, 5:43] = True
        mask[5, 20:22, column : column + 2] = False
        masks[name] = mask
    faults = []
    for roi in structure_set(crops(masks), planning.volume).rois:
        (contour,) = roi.contours
        points = [tuple(point) for point in contour.points_lps_mm.round(6)]
        edges = set(zip(points, [*points[1:], points[0]], strict=True))
        longest = max((float(np.abs(np.subtract(a, b)).max()) for a, b in edges if (b, a) in edges), default=0.0)
        faults += [] if 0 < longest < 5 else [f"hole on the {roi.spec.name}: joined over {longest:g} mm"]
    return Seen(tuple(faults))


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise AssertionError(f"the page has no {pattern}")
    return html.unescape(match[1])
