"""What REST shows of a patient is what happened to him: the real read side, over the wire."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.api.web import create_app
from npc_contour.app.probes import ask_database
from npc_contour.application.checks import Check, Checkup
from npc_contour.catalog import Catalog
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, contrast_ct, plain_ct


def test_patient_can_be_followed_from_images_to_delivery(store: Store, database_url: str, tmp_path: Path) -> None:
    bench = Bench(store)
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(15)
    board = StatusBoard(store, lambda key: str(tmp_path / key))
    checkup = Checkup([Check("database", partial(ask_database, database_url), "start it")])
    app = create_app(board, checkup.run, Catalog({}, {}), "1.2.3", lambda: 1)

    with (
        checkup,
        BackgroundServer(app, "127.0.0.1", 0) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client,
    ):
        ready = client.get("/health/ready").json()
        jobs = client.get("/jobs?state=sent").json()
        case_details = [client.get(f"/jobs/{job['case_id']}").json() for job in jobs]
        series = client.get("/series").json()
        metrics = client.get("/metrics").text

    assert ready["status"] == "ready"
    assert ready["checks"][0]["detail"].startswith("PostgreSQL ")
    assert sorted(job["pipeline"] for job in jobs) == ["ln_ctv", "npc_oar_gtv"]
    for details in case_details:
        assert details["roles"]["planning_ct"] in {row["series_instance_uid"] for row in series}
        assert {delivery["state"] for delivery in details["deliveries"]} == {"sent"}
        assert {"case.segmented", "structure_set.written", "delivery.sent"} <= {e["event"] for e in details["timeline"]}
        assert details["rois"]
        assert details["rtstruct"].startswith(str(tmp_path))
    assert {row["state"] for row in series} == {"ready"}
    assert 'npc_contour_cases{state="sent"} 2.0' in metrics
    assert 'npc_contour_deliveries{destination="tps",state="sent"} 2.0' in metrics
    assert "npc_contour_step_seconds_count" in metrics
