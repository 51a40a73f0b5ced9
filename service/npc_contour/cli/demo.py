"""`npc-contour demo`: the whole job on a synthetic patient, every part in its own process, over real wires.

What a user sees: a bar for each long step (render, start, send, contour), then a table of what arrived at the node
that stands for the planning system (ROI, volume, Dice against the phantom's truth), the seconds of each step, and the
paths of the RTSTRUCTs and of the pictures drawn from them.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from npc_contour.adapters.checks import free_bytes
from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.loopback import refuse_small_shared_memory
from npc_contour.cli import demo_report, local_run, phantom
from npc_contour.cli.arguments import RAW, Verbs, number_in
from npc_contour.cli.progress import bar, bars
from npc_contour.domain.jobs import CaseState
from npc_contour.errors import AutocontourError
from npc_contour.settings import read_settings
from npc_phantom import PhantomOptions

EXAMPLES = """\
examples:
  npc-contour demo                          512x512x150 at 2.5 mm, everything into demo-out/
  npc-contour demo --slice-spacing 4        fewer slices, sooner done
  npc-contour demo --seed 11 --out other    another patient"""

CONFIG = "site.toml"
MARKER = ".npc-contour-demo"
"""The file in a demo's folder that lists what the demo wrote there; a demo that runs holds a lock on it."""
WRITTEN = ("patient", "tps", "data", "service.log", CONFIG)
NEEDED_MB = 1100
"""For the patient, the images as received, database and networks; and the service takes no image in the last 500."""
SCAN_MM = 375.0
"""Vertex to upper chest, as a planning scan of the head and neck is; what ends earlier is held as doubtful."""

WORK_DEADLINE_S = 900.0
STAGE = {CaseState.ROUTED: 0.1, CaseState.SEGMENTED: 0.7, CaseState.CONTOURED: 0.9}
"""How far a case is, for the bar; 0 before, 1 once it has ended."""

FINAL = frozenset({CaseState.SENT, CaseState.REFUSED, CaseState.FAILED})
WORDS = {
    CaseState.ROUTED: "segmenting in Triton",
    CaseState.SEGMENTED: "contouring",
    CaseState.CONTOURED: "sending",
}


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="run the whole job on a synthetic patient and show what arrived",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for everything (default demo-out)")
    parser.add_argument("--seed", type=number_in(0), default=1, help="which phantom (default 1)")
    parser.add_argument(
        "--slice-spacing",
        type=number_in(1, 5, whole=False),
        default=2.5,
        metavar="MM",
        help=f"distance between slices, in a scan of {SCAN_MM:.0f} mm (default 2.5)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when the RTSTRUCT of every pipeline arrived."""
    out: Path = args.out.resolve()
    with own_folder(out) as written:
        free_mb = free_bytes(out) // 2**20
        if free_mb < NEEDED_MB:
            raise AutocontourError(f"{free_mb} MiB free at {out}, the demo needs {NEEDED_MB} MiB: choose another --out")
        refuse_small_shared_memory()
        steps_s, case_details = _contour(out, args, written.fileno())
        received = sorted((out / "tps").glob("RS.*.dcm"))
        before = set(out.iterdir())
        code = demo_report.show(
            Console(), case_details=case_details, steps_s=steps_s, received=received, patient=out / "patient", out=out
        )
        written.writelines(f"{picture.name}\n" for picture in set(out.iterdir()) - before)
    return code


def _contour(out: Path, args: argparse.Namespace, lock: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Do the whole job; return the seconds of each step, and the details of the cases."""
    patient, steps_s = out / "patient", dict[str, float]()
    with _timed(steps_s, "make the phantom"):
        slices = round(SCAN_MM / args.slice_spacing)
        phantom.write(
            patient, args.seed, PhantomOptions(matrix=512, slice_spacing_mm=args.slice_spacing, slices=slices)
        )
    with ExitStack() as processes:
        tps_port = processes.enter_context(local_run.planning_system(out / "tps"))
        config = out / CONFIG
        config.write_text(local_run.SITE + local_run.destination_toml("tps", "TPS", tps_port), encoding="utf-8")
        with _timed(steps_s, "start the service"), bar("starting database, Triton, receiver, worker") as update:
            running = processes.enter_context(local_run.service(config, progress=update, pass_fds=(lock,)))
        with _timed(steps_s, "send the CT pair"):
            local_run.send(patient, running.dicom_port)
        with _timed(steps_s, "complete, contour, deliver"):
            case_details = _watch(running, list(read_settings(config).routing.pipelines))
    return steps_s, case_details


@contextmanager
def own_folder(out: Path) -> Iterator[TextIO]:
    """Hold the folder for this demo alone, without what an earlier demo wrote there; yield the marker, open to add to.

    Raises:
        AutocontourError: another demo runs in it, or it holds something, and no demo made it.
    """
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise AutocontourError(f"{out} is a file: choose another --out")
    if out.is_dir() and not marker.is_file() and any(out.iterdir()):
        raise AutocontourError(f"{out} is not empty and no demo made it: choose another --out, or remove it yourself")
    out.mkdir(parents=True, exist_ok=True)
    with marker.open("a+", encoding="utf-8") as file:
        try:
            # The service inherits it: until it has ended, too, the folder is in use.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AutocontourError(
                f"another demo is running in {out}, or just ending: wait for it, or choose another --out"
            ) from error
        file.seek(0)
        listed = set(file.read().splitlines())
        for written in [each for each in out.iterdir() if each.name in listed]:
            if written.is_dir() and not written.is_symlink():
                shutil.rmtree(written)
            else:
                written.unlink()
        file.truncate(0)
        file.writelines(f"{name}\n" for name in WRITTEN)
        file.flush()
        yield file


@contextmanager
def _timed(steps_s: dict[str, float], step: str) -> Iterator[None]:
    started_s = time.monotonic()
    yield
    steps_s[step] = time.monotonic() - started_s


def _watch(running: local_run.Running, pipelines: list[str]) -> list[dict[str, Any]]:
    """Follow the cases until each has ended; return their details as REST shows them."""
    deadline_s = time.monotonic() + WORK_DEADLINE_S
    networks = {known["name"]: known["networks"] for known in running.get("/version")["pipelines"]}
    with bars() as progress, TritonEngine(running.triton_url, metrics_url=running.triton_metrics_url) as engine:
        tasks = {name: progress.add_task(f"{name}: waiting for the series", total=1.0) for name in pipelines}
        while time.monotonic() < deadline_s:
            jobs = {job["pipeline"]: job for job in running.get("/jobs")}
            for name, job in jobs.items():
                state = CaseState(job["state"])
                done = 1.0 if _ended(job) else STAGE.get(state, 0.0)
                if state is CaseState.ROUTED:
                    done += (STAGE[CaseState.SEGMENTED] - done) * _windows_done(engine, networks[name])
                words = "held" if job["held"] else WORDS.get(state, state.value)
                progress.update(tasks[name], completed=done, description=f"{name}: {words}")
            if len(jobs) == len(pipelines) and all(map(_ended, jobs.values())):
                return [running.get(f"/jobs/{job['case_id']}") for job in jobs.values()]
            time.sleep(0.5)
    raise AutocontourError(f"not every case ended within {WORK_DEADLINE_S:.0f} s: see {running.log}")


def _ended(job: dict[str, Any]) -> bool:
    """Whether nothing more comes of a case by itself."""
    return bool(job["held"]) or CaseState(job["state"]) in FINAL


def _windows_done(engine: TritonEngine, networks: list[str]) -> float:
    """Return the share of the networks' windows that Triton has done, 0 to 1."""
    shares = [windows[0] / max(windows[1], 1) for name in networks if (windows := engine.progress(name)) is not None]
    return sum(shares) / len(networks)
