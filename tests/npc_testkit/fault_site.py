"""A small hospital for fault trials: real service, PostgreSQL, Triton, DCMTK senders, Orthanc.

Only the networks are stand-ins, of one 1x1x1 convolution, and the images are a phantom's at a quarter of its
resolution in plane.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import psycopg
import pydicom
from psycopg.rows import dict_row
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

import npc_contour
import npc_testkit
from npc_contour.cli.phantom import write as write_phantom
from npc_phantom import PhantomOptions
from npc_testkit.peers import free_port, peer_environment, require_postgres, require_tool
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

ROOTS = os.pathsep.join(str(Path(p.__file__).parents[1]) for p in (npc_contour, npc_testkit) if p.__file__)
SHRINK = 4
SLICES = 44
LABELS = {"npc_oar": (2, 55), "npc_gtv": (2, 3), "ln_ctv": (1, 7)}
"""Network → channels and classes of the product's contracts."""
_SENT_OK = re.compile(r"Received Store Response \(Success\)")
_SENDING = re.compile(r"Sending file: (.+)")


def write_networks(repository: Path, names: Iterable[str] = LABELS) -> None:
    """Write stand-ins for the product's networks, or for some: label 1 is bone, nothing else is found."""
    for name in names:
        channels, classes = LABELS[name]
        write_tiny_network(
            repository,
            TinyNetwork(
                name=name,
                channels=channels,
                classes=classes,
                threshold_hu=400.0,
                spacing_zyx_mm=(5.0, 4.0, 4.0),
                patch_zyx=(16, 48, 48),
            ),
        )


def phantom_series(folder: Path) -> dict[str, list[FileDataset]]:
    """Return a phantom's two series, small in plane: name → images in ascending order."""
    if not folder.exists():
        write_phantom(folder, 5, PhantomOptions(matrix=512, slice_spacing_mm=5.0, slices=SLICES))
    found: dict[str, list[FileDataset]] = {}
    for path in sorted(folder.glob("*/*.dcm")):
        image = pydicom.dcmread(path)
        if image.Modality != "CT":
            continue
        pixels = image.pixel_array.reshape(image.Rows // SHRINK, SHRINK, image.Columns // SHRINK, SHRINK)
        image.PixelData = pixels.mean(axis=(1, 3)).round().astype(pixels.dtype).tobytes()
        image.Rows, image.Columns = image.Rows // SHRINK, image.Columns // SHRINK
        spacing = np.asarray(image.PixelSpacing, dtype=float)
        shift = (SHRINK - 1) / 2 * spacing
        position = np.asarray(image.ImagePositionPatient, dtype=float)
        image.PixelSpacing = [float(value) * SHRINK for value in spacing]
        image.ImagePositionPatient = [round(float(v), 4) for v in position + np.array([shift[1], shift[0], 0.0])]
        found.setdefault(path.parent.name, []).append(image)
    for images in found.values():
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    return found


@dataclass(frozen=True, slots=True)
class Study:
    """A study on disk at its sender: series → files, and the UIDs that it consists of."""

    uid: str
    files: tuple[tuple[Path, ...], ...]
    uid_of: Mapping[Path, str]

    @property
    def sop_uids(self) -> frozenset[str]:
        """SOP Instance UIDs of all images."""
        return frozenset(self.uid_of.values())

    @property
    def all_files(self) -> tuple[Path, ...]:
        """The files of all series."""
        return tuple(path for series in self.files for path in series)


def write_study(series: Sequence[Sequence[FileDataset]], folder: Path, seed: str) -> Study:
    """Write series under new UIDs of one study and frame."""
    study = generate_uid(entropy_srcs=[seed, "study"])
    frame = generate_uid(entropy_srcs=[seed, "frame"])
    files: list[tuple[Path, ...]] = []
    uids: dict[Path, str] = {}
    for number, images in enumerate(series):
        paths = []
        for index, image in enumerate(images):
            image.StudyInstanceUID, image.FrameOfReferenceUID = study, frame
            image.SeriesInstanceUID = generate_uid(entropy_srcs=[f"{seed}/series/{number}"])
            image.SOPInstanceUID = generate_uid(entropy_srcs=[f"{seed}/{number}/{index}"])
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            path = folder / seed / f"{number}-{index:03d}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save_as(path, enforce_file_format=True)
            paths.append(path)
            uids[path] = str(image.SOPInstanceUID)
        files.append(tuple(paths))
    return Study(str(study), tuple(files), uids)


@dataclass(slots=True)
class Sender:
    """DCMTK's storescu, which sends a study again until all of it is acknowledged, as a PACS does.

    Attributes:
        missing: says which of these files the service does not have; asked before anything is sent again, so that a
            second sending cannot hide a loss.
        acknowledged: files whose C-STORE was answered with success, over all tries.
        lost: files that were acknowledged and then missing.
        last_words: of the last storescu.
    """

    port: Callable[[], int]
    missing: Callable[[set[Path]], set[Path]] = lambda _: set()
    acknowledged: set[Path] = field(default_factory=set)
    lost: set[Path] = field(default_factory=set)
    last_words: str = ""

    def send(self, files: Sequence[Path], *, tries: int = 60, called: str = "NPC_CONTOUR") -> None:
        """Send until everything is acknowledged.

        Raises:
            TimeoutError: not within `tries`.
        """
        for _ in range(tries):
            if self.once(files, called=called) == 0:
                return
            time.sleep(0.5)
            self.lost |= self.missing(set(self.acknowledged))
        raise TimeoutError(f"{len(files)} files were not acknowledged in {tries} tries: {self.last_words}")

    def once(self, files: Sequence[Path], *, called: str = "NPC_CONTOUR") -> int:
        """Send once; returns storescu's exit status."""
        command = [require_tool("storescu"), "-v", "-R", "-aec", called, "127.0.0.1", str(self.port())]
        done = subprocess.run(
            [*command, *map(str, files)], capture_output=True, text=True, check=False, env=peer_environment(),
            errors="replace", timeout=240,
        )  # fmt: skip
        self.last_words = "; ".join((done.stdout + done.stderr).splitlines()[-3:])
        current: Path | None = None
        for line in (done.stdout + done.stderr).splitlines():
            if (sending := _SENDING.search(line)) is not None:
                current = Path(sending.group(1).strip())
            elif _SENT_OK.search(line) and current is not None:
                self.acknowledged.add(current)
        return done.returncode


@dataclass(slots=True)
class Service:
    """One `npc-contour serve` in a folder of its own, started and killed as often as a trial wants.

    Attributes:
        roots: where its packages lie: those of another version of the product, where a trial wants that.
        env: more of its environment.
    """

    folder: Path
    config: Path
    roles: str = "receiver,worker,web"
    roots: str = ROOTS
    process: subprocess.Popen[bytes] | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it; returns at once."""
        command = [sys.executable, "-m", "npc_contour", "serve", "--config", str(self.config), "--roles", self.roles]
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stderr=log, env={**os.environ, **self.env, "PYTHONPATH": self.roots}
            )

    def stop(self) -> None:
        """End it in good order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """Kill it with everything that it started, as a machine that never returns."""
        if self.process is None:
            return
        everything = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for process in everything:
            process.kill()
        self.process.wait()
        self.process = None

    @property
    def runtime(self) -> dict[str, Any]:
        """What the service says of itself."""
        data: dict[str, Any] = json.loads((self.folder / "data" / "runtime.json").read_text())
        return data

    def port(self) -> int:
        """Its DICOM port."""
        return int(self.runtime["dicom_port"])

    def pids(self, *words: str) -> list[int]:
        """Process ids of its children whose command line has all of these words."""
        if self.process is None:
            return []
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(child.cmdline())
            except psutil.Error:
                continue
            if all(word in line for word in words):
                found.append(child.pid)
        return found

    def named(self, name: str) -> list[int]:
        """Process ids of its children whose program has this name."""
        if self.process is None:
            return []
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                found += [child.pid] if child.name() == name else []
            except psutil.Error:
                continue
        return found

    def kill_one(self, *words: str) -> bool:
        """Kill -9 one child whose command line has these words; returns whether there was one."""
        pids = self.pids(*words)
        if pids:
            os.kill(random.choice(pids), signal.SIGKILL)
        return bool(pids)

    def get(self, path: str) -> Any:
        """The JSON of a REST path."""
        url = f"http://127.0.0.1:{self.runtime['web_port']}{path}"
        return httpx.get(url, timeout=20, trust_env=False).raise_for_status().json()

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until it listens, by its own account of its ports, and its database answers."""
        wait_for(lambda: bool(self.query("SELECT 1 AS x")) and self._listens(), "the service", timeout_s)

    def wait_page(self, timeout_s: float = 120.0) -> None:
        """Wait until the page answers."""
        wait_for(self._page_answers, "the page", timeout_s)

    def _page_answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.runtime['web_port']}/health/live"
            return httpx.get(url, timeout=20, trust_env=False).status_code == 200
        except (httpx.HTTPError, OSError, ValueError, KeyError):
            return False

    def _listens(self) -> bool:
        if "receiver" not in self.roles:
            return True
        status = subprocess.run(
            [require_tool("echoscu"), "-aec", "NPC_CONTOUR", "127.0.0.1", str(self.port())],
            capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        return status.returncode == 0

    def query(self, statement: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Rows of its database; none while it is down."""
        try:
            url = self.runtime["database_url"]
            with psycopg.connect(url, row_factory=dict_row, connect_timeout=3) as connection:
                return connection.execute(statement.encode(), values).fetchall()
        except (OSError, ValueError, psycopg.Error):
            return []


def wait_for(what: Callable[[], bool], words: str, timeout_s: float) -> float:
    """Wait until something holds; returns the seconds that it took.

    Raises:
        TimeoutError: it does not in time.
    """
    started = time.monotonic()
    while not what():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"{words}: not within {timeout_s:g} s")
        time.sleep(0.1)
    return time.monotonic() - started


@contextmanager
def debian_postgres(folder: Path, *, password: str = "") -> Iterator[tuple[str, Callable[[], None]]]:
    """Run Debian's PostgreSQL as a site would, on TCP; yields its URL and what crash-restarts it.

    Args:
        folder: made for it; its own user must be able to enter the folders above.
        password: of the user npc; none lets everybody in.
    """
    binaries = require_postgres()
    folder.mkdir(parents=True)
    secret = folder / "password"
    secret.write_text(password or "unused")
    secret.chmod(0o644)
    as_postgres: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    if as_postgres:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **as_postgres}
    subprocess.run([str(binaries / "initdb"), "-D", str(data),
                    "-A", "scram-sha-256" if password else "trust", "--pwfile", str(secret), "-U", "npc"],
                   check=True, **quiet)  # fmt: skip
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1",
               "-c", "max_connections=200"]  # fmt: skip
    url = f"postgresql://npc:{password or 'unused'}@127.0.0.1:{port}/postgres"
    processes = [subprocess.Popen(command, **quiet)]

    def up() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def crash() -> None:
        processes[-1].send_signal(signal.SIGQUIT)
        processes[-1].wait(30)
        processes.append(subprocess.Popen(command, **quiet))
        wait_for(up, "PostgreSQL", 60)

    try:
        wait_for(up, "PostgreSQL", 60)
        yield url, crash
    finally:
        processes[-1].send_signal(signal.SIGINT)
        processes[-1].wait(30)
