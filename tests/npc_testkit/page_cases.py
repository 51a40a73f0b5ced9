"""Cases about the page, REST and metrics: the real application over a real database, asked as others would ask it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from npc_contour.adapters.postgres_embedded import OPTIONS, EmbeddedPostgres
from npc_contour.adapters.store.database import PgStore, migrate
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_testkit.cases import Seen
from npc_testkit.page import World


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
        with PgStore(server.url, defer) as store:
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
