"""Cases of odd machines and of what is left behind: each starts the product as a user would, and looks around."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from npc_contour.adapters.triton.regions import SHARED_MEMORY
from npc_testkit.cases import TRACEBACK, Seen

BIN = Path(sys.executable).parent
CONTOUR = str(BIN / "npc-contour")
ROOT = Path(__file__).resolve().parents[2]
START_S, END_S = 600.0, 60.0
ODD = "mit Träger & 'x' $1"
SITE = """
[storage]
root = "data"
min_free_mb = 10
[dicom]
port = 0
[web]
port = 0
[routing]
pipelines = ["ln_ctv"]
[triton]
model_repository = "networks"
"""
NOBODY = [
    "setpriv", "--reuid", "123456", "--regid", "0", "--clear-groups",
    "--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search",
]  # fmt: skip
"""A user id without a name, who may read everything and write nothing of others."""


def home_read_only(_: Path, work: Path) -> Seen:
    """The installation and the home cannot be written: the version, and code that is compiled."""
    quiet = {"HOME": "/proc", "NUMBA_CACHE_DIR": "/proc/x"}
    faults, traces = _as_nobody(work, ["--version"], quiet)
    more, others = _as_nobody(
        work, ["phantom", "patient", "--slices", "2", "--matrix", "512", "--slice-spacing", "5"], quiet
    )
    return _needs_root() or Seen((*faults, *more), tracebacks=traces + others)


def arbitrary_uid(_: Path, work: Path) -> Seen:
    """A user id without a name checks the machine, then runs the service until it is ready, or says what is missing."""
    if not_root := _needs_root():
        return not_root
    _write_site(work)
    faults, traces = _as_nobody(work, ["check", "--config", "site.toml"], {"NUMBA_CACHE_DIR": "/unwritable"})
    faults = [fault for fault in faults if "no entry in /etc/passwd" not in " ".join(fault.split())]
    log = work / "service.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*NOBODY, CONTOUR, "serve", "--config", "site.toml"], cwd=work, stderr=file, env=_environment(HOME="/none")
        ) as serve,
    ):
        _wait(lambda: serve.poll() is not None or b"triton.ready" in log.read_bytes(), START_S)
        said = log.read_text(encoding="utf-8")
        if "triton.ready" not in said and "no entry in /etc/passwd" not in said:
            faults.append(f"the service neither started nor said why: {said[-300:]}")
        serve.terminate()
    return Seen(tuple(faults), tracebacks=traces + (TRACEBACK in said))


def path_with_space(_: Path, work: Path) -> Seen:
    """Checkout, TMPDIR, the folder of the demo and so its data have spaces and letters beyond ASCII in their paths."""
    odd = work / ODD
    (odd / "tmp").mkdir(parents=True)
    checkout = odd / "checkout"
    checkout.mkdir()
    for name in ("service", "models", "triton_repo"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(checkout)], check=True)
    sources = f"{checkout / 'service'}:{checkout / 'models'}"
    command = [sys.executable, "-m", "npc_contour", "demo", "--slice-spacing", "4", "--out", str(odd / "demo")]
    done = subprocess.run(
        command,
        cwd=odd,
        env=_environment(TMPDIR=str(odd / "tmp"), PYTHONPATH=sources),
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    faults = [] if done.returncode == 0 else [f"exit status {done.returncode}: {text[-600:]}"]
    faults += [f"left in TMPDIR: {path.name}" for path in (odd / "tmp").iterdir()]
    return Seen(tuple(faults), tracebacks=int(TRACEBACK in text))


def kill_demo(_: Path, work: Path) -> Seen:
    """Each way to end the demo alone takes everything with it: no process, no temporary folder, no shared memory."""
    faults: list[str] = []
    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        folder, scratch = work / ending.name, work / f"{ending.name}-tmp"
        folder.mkdir()
        scratch.mkdir()
        shared = _shared_memory()
        command = [CONTOUR, "demo", "--slice-spacing", "4", "--out", ODD]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(TMPDIR=str(scratch)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as demo:
            log = folder / ODD / "service.log"
            started = _wait(partial(_says, log, b"triton.started"), START_S)
            family = psutil.Process(demo.pid).children(recursive=True) if started else []
            demo.send_signal(ending)
            demo.wait(END_S)
        if not started:
            faults.append(f"{ending.name}: the demo did not come to start its service")
        _, alive = psutil.wait_procs(family, END_S)
        faults += [f"{ending.name}: left running: {' '.join(process.cmdline())[:90]}" for process in alive]
        # What goes last is removed by what ended last.
        _wait(partial(_is_empty, scratch), 5.0)
        faults += [f"{ending.name}: left in TMPDIR: {path.name}" for path in scratch.iterdir()]
        left = _shared_memory() - shared
        faults += [f"{ending.name}: left in /dev/shm: {name}" for name in left if _of(name, family)]
    return Seen(tuple(faults))


def pid_namespace(_: Path, work: Path) -> Seen:
    """A service in another namespace of processes keeps its Triton while one is started and stopped beside it."""
    if not_root := _needs_root():
        return not_root
    _write_site(work)
    log = work / "service.log"
    inside = f"echo 90000 > /proc/sys/kernel/ns_last_pid; '{CONTOUR}' serve --config site.toml; :"
    command = ["unshare", "--pid", "--mount", "--ipc", "--fork", "--kill-child", "--mount-proc", "bash", "-c", inside]
    with log.open("wb") as file, subprocess.Popen(command, cwd=work, stderr=file) as container:
        if not _wait(lambda: b"triton.ready" in log.read_bytes(), START_S):
            container.kill()
            return Seen((f"the service did not start: {log.read_text(encoding='utf-8')[-300:]}",))
        beside = subprocess.Popen(
            [CONTOUR, "triton", "--models", "networks"], cwd=work, stdout=subprocess.PIPE, text=True
        )
        first = beside.stdout.readline() if beside.stdout else ""
        beside.terminate()
        beside.communicate()
        died = log.read_text(encoding="utf-8").count("triton.died")
        container.kill()
    faults = [] if first.startswith("127.") else [f"the Triton beside it did not start: {first!r}"]
    return Seen((*faults, *([f"its Triton died {died} times"] if died else [])))


def rtstruct_left_in_tmp(case: Path, work: Path) -> Seen:
    """The case's own script kills a process while it sends, and lists what lies in its temporary folder."""
    sent = Dataset()
    sent.SOPClassUID, sent.SOPInstanceUID = RTStructureSetStorage, "2.25.90"
    sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.Modality = "2.25.1", "2.25.2", "RTSTRUCT"
    sent.PatientName, sent.PatientID, sent.StructureSetLabel = "PHANTOM^SENT", "PHANTOM", "PHANTOM"
    sent.file_meta = FileMetaDataset()
    sent.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = work / "rs.dcm"
    dcmwrite(path, sent, enforce_file_format=True)
    done = subprocess.run(
        [sys.executable, str(case / "run.py"), str(path)], capture_output=True, text=True, check=False, cwd=work
    )
    faults = [] if done.returncode == 0 else [f"exit status {done.returncode}: {done.stderr[-300:]}"]
    return Seen((*faults, *([f"left: {done.stdout.strip()}"] if done.stdout.strip() else [])))


def demo_out_wipes_site(_: Path, work: Path) -> Seen:
    """A site's own folder is refused, and all that is in it stays."""
    (work / "site.toml").write_text(SITE)
    (work / "npc-contour-data").mkdir()
    (work / "precious.txt").write_text("keep")
    command = [CONTOUR, "demo", "--out", ".", "--slice-spacing", "4"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    gone = {"site.toml", "npc-contour-data", "precious.txt"} - {path.name for path in work.iterdir()}
    faults = [f"removed {name}" for name in sorted(gone)]
    if done.returncode != 1 or "no demo made it" not in " ".join(done.stderr.split()):
        faults.append(f"exit status {done.returncode}, not refused: {done.stderr[-300:]}")
    return Seen(tuple(faults), silent_wrong=bool(gone), tracebacks=int(TRACEBACK in done.stderr))


def _as_nobody(work: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], int]:
    """Run the product as a user id without a name; return what went wrong, and how many tracebacks there were."""
    if os.geteuid() != 0:
        return [], 0
    os.chown(work, 123456, 0)
    for above in work.parents:
        if above.stat().st_mode & 0o001 == 0:
            above.chmod(above.stat().st_mode | 0o001)
    done = subprocess.run(
        [*NOBODY, CONTOUR, *arguments],
        cwd=work,
        env=_environment(**{"HOME": "/none", **environment}),
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    faults = [] if done.returncode == 0 else [f"{arguments[0]}: exit status {done.returncode}: {text[-3000:]}"]
    return faults, int(TRACEBACK in text)


def _write_site(work: Path) -> None:
    """Write the settings of a service with one small network."""
    (work / "site.toml").write_text(SITE)
    shutil.copytree(ROOT / "triton_repo" / "ln_ctv", work / "networks" / "ln_ctv")


def _needs_root() -> Seen | None:
    return None if os.geteuid() == 0 else Seen(covered=False)


def _environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **more}


def _says(log: Path, words: bytes) -> bool:
    return log.is_file() and words in log.read_bytes()


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def _shared_memory() -> set[str]:
    return {path.name for path in SHARED_MEMORY.glob("npc_*")}


def _of(name: str, family: Sequence[psutil.Process]) -> bool:
    """Whether a region was made for one of these processes."""
    return any(f"_{process.pid}_" in name or f".{process.pid}." in name for process in family)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.2)
    return condition()
