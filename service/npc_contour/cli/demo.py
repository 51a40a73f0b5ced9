"""`npc-contour demo`: the whole job on a synthetic patient, every part in its own process, over real wires.

What a user sees: a bar for each long step (render, start, send, contour), then a table of what arrived at the node
that stands for the planning system (ROI, volume, Dice against the phantom's truth), the seconds of each step, and the
paths of the RTSTRUCTs and of the pictures drawn from them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress

from npc_contour.catalog import read_catalog
from npc_contour.cli import demo_report, phantom
from npc_contour.cli.arguments import RAW, Verbs
from npc_contour.cli.progress import bar, bars
from npc_contour.core.phantom import PhantomOptions
from npc_contour.domain.jobs import CaseState
from npc_contour.errors import AutocontourError
from npc_contour.settings import default_model_repository

EXAMPLES = """\
examples:
  npc-contour demo                          512x512x150 at 3 mm, everything into demo-out/
  npc-contour demo --seed 11 --out other    another patient"""

SITE = """\
# The demo's settings: free ports, short waits, one destination on this machine.
[storage]
root = "data"
min_free_mb = 500

[dicom]
port = 0

[web]
port = 0

[completion]
quiet_released_s = 2

[routing]
partner_wait_s = 60

[[destinations]]
name = "tps"
ae_title = "TPS"
host = "127.0.0.1"
port = {tps_port}
"""
MARKER = "site.toml"
START_DEADLINE_S = 180.0
WORK_DEADLINE_S = 900.0
STAGE = {
    CaseState.WAITING: 0.0,
    CaseState.ROUTED: 0.1,
    CaseState.SEGMENTED: 0.7,
    CaseState.CONTOURED: 0.9,
    CaseState.SENT: 1.0,
    CaseState.REFUSED: 1.0,
    CaseState.FAILED: 1.0,
    CaseState.SUPERSEDED: 0.0,
}
"""How far a case is, for the bar."""
FINAL = frozenset({CaseState.SENT, CaseState.REFUSED, CaseState.FAILED})


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="run the whole job on a synthetic patient and show what arrived",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for everything (default demo-out)")
    parser.add_argument("--seed", type=int, default=1, help="which phantom (default 1)")
    parser.add_argument("--slices", type=int, default=150, help="slices of 3 mm (default 150)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when the RTSTRUCT of every pipeline arrived."""
    out: Path = args.out.resolve()
    _clear(out)
    steps_s: dict[str, float] = {}
    with _timed(steps_s, "make the phantom"):
        phantom.write(out / "patient", args.seed, PhantomOptions(matrix=512, slice_spacing_mm=3.0, slices=args.slices))
    with _planning_system(out / "tps") as tps_port:
        config = out / MARKER
        config.write_text(SITE.format(tps_port=tps_port), encoding="utf-8")
        with _service(config, out / "service.log") as service:
            with _timed(steps_s, "start the service"):
                runtime = _wait_until_ready(out / "data" / "runtime.json", service, out / "service.log")
            with _timed(steps_s, "send the CT pair"):
                _send(out / "patient", int(runtime["dicom_port"]))
            pipelines = sorted(read_catalog(default_model_repository()).pipelines)
            with _timed(steps_s, "complete, contour, deliver"):
                stories = _watch(f"http://127.0.0.1:{runtime['web_port']}", pipelines, service)
    return demo_report.show(
        Console(),
        stories=stories,
        steps_s=steps_s,
        received=sorted((out / "tps").glob("RS.*.dcm")),
        patient=out / "patient",
        out=out,
    )


def _clear(out: Path) -> None:
    """Empty the folder of an earlier demo; a folder of anything else is left alone."""
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists() and not (out / "patient").exists():
        raise AutocontourError(f"{out} is not empty and holds no earlier demo: choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


@contextmanager
def _timed(steps_s: dict[str, float], step: str) -> Iterator[None]:
    started_s = time.monotonic()
    yield
    steps_s[step] = time.monotonic() - started_s


@contextmanager
def _child(command: list[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401 (as Popen takes them)
    process = subprocess.Popen([sys.executable, "-m", "npc_contour", *command], text=True, **streams)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _planning_system(folder: Path) -> Iterator[int]:
    with _child(["inbox", str(folder)], stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise AutocontourError("the inbox has no output to read its port from")
        first = process.stdout.readline()
        yield int(first.split(":")[1].split()[0])


@contextmanager
def _service(config: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w", encoding="utf-8") as file, _child(["serve", "--config", str(config)], stderr=file) as process:
        yield process


def _wait_until_ready(runtime_file: Path, service: subprocess.Popen[str], log: Path) -> Mapping[str, Any]:
    deadline_s = time.monotonic() + START_DEADLINE_S
    with bar("starting database, Triton, receiver, worker") as update:
        seen = 0.0
        while time.monotonic() < deadline_s:
            if service.poll() is not None:
                raise AutocontourError(f"the service ended while starting (exit code {service.returncode}): see {log}")
            if runtime_file.exists():
                runtime: Mapping[str, Any] = json.loads(runtime_file.read_text(encoding="utf-8"))
                checks = _checks(f"http://127.0.0.1:{runtime['web_port']}")
                seen = max(seen, sum(bool(check["ok"]) for check in checks) / max(len(checks), 1))
                if checks and all(check["ok"] or not check["required"] for check in checks):
                    return runtime
            update(seen)
            time.sleep(0.3)
    raise AutocontourError(f"the service was not ready after {START_DEADLINE_S:.0f} s: see {log}")


def _checks(web: str) -> list[dict[str, Any]]:
    try:
        checks: list[dict[str, Any]] = httpx.get(f"{web}/health/ready", timeout=10).json()["checks"]
    except httpx.TransportError:
        return []
    return checks


def _send(folder: Path, port: int) -> None:
    command = [sys.executable, "-m", "npc_contour", "send-test", str(folder), "--to", f"127.0.0.1:{port}"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise AutocontourError(f"sending the phantom failed:\n{done.stdout}")


def _watch(web: str, pipelines: list[str], service: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Follow the cases until each has ended; return their stories as REST tells them."""
    deadline_s = time.monotonic() + WORK_DEADLINE_S
    with bars() as progress:
        tasks = {name: progress.add_task(f"{name}: waiting for the series", total=1.0) for name in pipelines}
        while time.monotonic() < deadline_s and service.poll() is None:
            jobs = {job["pipeline"]: job for job in _get(f"{web}/jobs")}
            for name, job in jobs.items():
                _advance(progress, tasks[name], job)
            if len(jobs) == len(pipelines) and all(CaseState(job["state"]) in FINAL for job in jobs.values()):
                return [_get(f"{web}/jobs/{job['case_id']}") for job in jobs.values()]
            time.sleep(0.5)
    raise AutocontourError(f"not every case ended within {WORK_DEADLINE_S:.0f} s")


def _advance(progress: Progress, task: Any, job: Mapping[str, Any]) -> None:  # noqa: ANN401 (rich's TaskID)
    state = CaseState(job["state"])
    words = {
        CaseState.ROUTED: "segmenting in Triton",
        CaseState.SEGMENTED: "contouring",
        CaseState.CONTOURED: "sending",
    }
    progress.update(task, completed=STAGE[state], description=f"{job['pipeline']}: {words.get(state, state.value)}")


def _get(url: str) -> Any:  # noqa: ANN401 (JSON)
    answer = httpx.get(url, timeout=30)
    answer.raise_for_status()
    return answer.json()
