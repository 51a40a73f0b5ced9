"""Is the simulation right? Studies through the real service, and the same studies through `npc-tools capacity`.

The service is real, with its PostgreSQL, Triton, DCMTK senders and Orthanc; the networks are stand-ins of one
convolution and the images small, so that twenty studies take minutes. Studies come by chance, for a while faster than
one slot works, so that a line forms. The simulation gets when each came, how many images it had, and the *mean* of each
step's time; it is then asked when each was done.

    python benchmarks/capacity.py                 some minutes on two cores
    python benchmarks/capacity.py --studies 5     a look

Ends with one JSON line; times in seconds from a study's last image to its last structure set, quantiles over studies.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from npc_contour.catalog import read_catalog
from npc_contour.domain.pipelines import Pipeline
from npc_testkit.fault_lab import Lab, lab, started, wait_verified
from npc_testkit.fault_site import Sender, Service
from npc_tools.capacity.simulation import Plant, StepTimes, Study, lognormal, simulate
from npc_tools.capacity.times import step_times

PIPELINES = ("npc_oar_gtv", "ln_ctv")
QUIET_S = 1.0
"""`completion.quiet_released_s` of the trial."""
RUNS = 50
"""Simulations with other chance, whose quantiles are averaged."""

STEPS = """
SELECT step, avg(seconds) AS mean, coalesce(stddev_pop(seconds), 0) AS spread FROM event WHERE step <> '' GROUP BY 1
"""
STUDIES = """
WITH each AS (
  SELECT s.study_instance_uid AS uid, s.first_instance_at, s.last_instance_at,
         (SELECT count(*) FROM instance i WHERE i.series_instance_uid = s.series_instance_uid) AS images
  FROM series s)
SELECT uid, min(first_instance_at) AS first, max(last_instance_at) AS last, sum(images) AS images,
       (SELECT max(e.at) FROM event e JOIN contour_case c ON c.id = e.case_id
        WHERE c.study_instance_uid = uid AND e.name = 'delivery.sent') AS done
FROM each GROUP BY 1 ORDER BY 2
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--every-s", type=float, default=4.0, help="mean time between two studies (default 4)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="npc-capacity-") as folder:
        Path(folder).chmod(0o711)
        with lab(Path(folder)) as place:
            rows, steps = _measure(place, args.studies, args.every_s, args.seed)
            catalog = read_catalog(place.repository, enabled=PIPELINES)
            times = _times(rows, steps, catalog.pipelines.values())
    began = rows[0]["first"]
    studies = [Study((row["first"] - began).total_seconds(), int(row["images"])) for row in rows]
    measured = np.array([(row["done"] - row["last"]).total_seconds() for row in rows])
    last = max((row["done"] - began).total_seconds() for row in rows)
    spread = float(np.mean([step["spread"] / step["mean"] for step in steps if step["step"].startswith("segment")]))
    plant = Plant(receivers=len(studies), slots=1, workers=1)
    runs = [simulate(studies, times, plant, lognormal(spread, seed)) for seed in range(RUNS)]
    p50, p95 = (float(np.mean([run.quantile_s(part) for run in runs])) for part in (0.5, 0.95))
    simulated_last = float(np.mean([max(run.done_s) for run in runs]))
    Console(stderr=True).print({step["step"]: round(float(step["mean"]), 3) for step in steps})
    answer = {
        "studies": len(studies),
        "measured_p50_s": round(float(np.quantile(measured, 0.5)), 2),
        "simulated_p50_s": round(p50, 2),
        "measured_p95_s": round(float(np.quantile(measured, 0.95)), 2),
        "simulated_p95_s": round(p95, 2),
        "measured_all_done_s": round(last, 2),
        "simulated_all_done_s": round(simulated_last, 2),
        "simulated_slot_busy": round(float(np.mean([run.busy["slots"] for run in runs])), 2),
    }
    print(json.dumps(answer))


def _measure(place: Lab, count: int, every_s: float, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    service = place.service("capacity", pipelines=PIPELINES)
    waits = np.random.default_rng(seed)
    studies = place.studies("capacity", count, paired=True)
    threads = []
    with started(service):
        _warm_up(place, service)
        for study in studies:
            sender = Sender(service.port)
            threads.append(threading.Thread(target=sender.send, args=(study.all_files,)))
            threads[-1].start()
            time.sleep(float(waits.exponential(every_s)))
        for thread in threads:
            thread.join()
        wait_verified(service, 2 * (count + 1), 60 + 20 * count)
        wanted = {study.uid for study in studies}
        rows = [row for row in service.query(STUDIES) if row["uid"] in wanted]
        return rows, service.query(STEPS)


def _warm_up(place: Lab, service: Service) -> None:
    """One study before all: kernels are compiled, and the first step of everything is slow."""
    (first,) = place.studies("warm-up", 1, paired=True)
    Sender(service.port).send(first.all_files)
    wait_verified(service, 2, 240)
    service.query("DELETE FROM event WHERE step <> '' RETURNING 1 AS x")


def _times(rows: list[dict[str, Any]], steps: list[dict[str, Any]], pipelines: Iterable[Pipeline]) -> StepTimes:
    images = sum(row["images"] for row in rows)
    receiving_s = sum((row["last"] - row["first"]).total_seconds() for row in rows)
    means = {step["step"]: float(step["mean"]) for step in steps}
    return step_times(means, tuple(pipelines), images_per_s=float(images) / receiving_s, quiet_s=QUIET_S)


if __name__ == "__main__":
    main()
