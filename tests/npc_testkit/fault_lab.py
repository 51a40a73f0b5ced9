"""What all fault trials share, and how they judge: nothing acknowledged is lost, every study arrives once, proved."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydicom.dataset import FileDataset

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_testkit.fault_site import ROOTS, Sender, Service, Study, phantom_series, wait_for, write_networks, write_study
from npc_testkit.orthanc import Orthanc, orthanc

SITE = """\
[storage]
root = "data"
min_free_mb = {min_free_mb}
reserve_mb = {reserve_mb}
{spool}
[dicom]
port = 0
[dicom.peer_limits]
associations = 64
[web]
port = 0
[completion]
quiet_released_s = 1
quiet_s = 4
quiet_aborted_s = 4
[routing]
pipelines = [{pipelines}]
partner_wait_s = 60
{rules}
[delivery]
first_retry_s = 0.5
max_retry_s = {max_retry_s}
timeout_s = 5
first_ask_s = 0.2
commitment_wait_s = 0.5
{doubtful}
[database]
url = "{database}"
[triton]
url = "{triton}"
model_repository = "{repository}"
[workers]
processes = {workers}
segmentations_at_once = {at_once}
[[destinations]]
name = "tps"
ae_title = "{tps_title}"
host = "127.0.0.1"
port = {tps_port}
verify = "require"
"""
RULE = '[[routing.rules]]\npipeline = "{0}"\nrole = "{1}"\nmax_pixel_spacing_mm = 5.0\n'
"""The small images have pixels larger than a pipeline takes by itself."""
ROLES = {"ln_ctv": ("planning_ct",), "npc_oar_gtv": ("planning_ct", "contrast_ct")}
OPTIONS = {"DicomAlwaysAllowFind": True, "OverwriteInstances": True}
_REPEATED = """
SELECT count(*) AS n FROM (SELECT FROM event WHERE step = '' AND case_id IS NOT NULL
AND name IN ('case.segmented', 'structure_set.written', 'delivery.sent', 'delivery.verified')
GROUP BY case_id, name HAVING count(*) > 1) AS twice
"""


@dataclass(slots=True)
class Outcome:
    """What one trial came to; numbers add up over trials, or their largest counts.

    Attributes:
        held: whether what must hold did.
        detail: what was seen, in a few words.
        resume_s: from each kill to the next thing that the service did.
        resent: C-STOREs of an object that the destination had already: the same UID, so nothing in effect.
    """

    name: str
    held: bool = True
    detail: str = ""
    studies: int = 0
    kills: int = 0
    lost_instances: int = 0
    lost_studies: int = 0
    duplicate_objects: int = 0
    repeated_effects: int = 0
    resume_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything, to be written and added up later."""
        return asdict(self)


@dataclass(slots=True)
class Lab:
    """Images, networks, one Triton and one Orthanc for all trials of a run.

    Attributes:
        size: share of the studies and kills of the largest trial, which may be done in parts.
    """

    folder: Path
    series: dict[str, list[FileDataset]]
    repository: Path
    triton_url: str
    tps: Orthanc
    rng: random.Random
    size: float = 1.0

    def studies(self, name: str, count: int, *, paired: bool = False) -> list[Study]:
        """Write studies to send: a non-contrast series each, or a pair."""
        chosen = [self.series["noncontrast"], *([self.series["contrast"]] if paired else [])]
        seed = f"{name}-{time.time_ns()}"
        return [write_study(chosen, self.folder / "studies", f"{seed}-{number}") for number in range(count)]

    def service(self, name: str, **changes: Any) -> Service:
        """Write the settings of a service of its own; it is not started yet.

        Args:
            name: of its folder.
            changes: of the settings; `roles` of those that it runs; `roots` of an older version's packages.
        """
        folder = self.folder / f"{name}-{time.time_ns()}"
        folder.mkdir(parents=True)
        roles, roots = changes.pop("roles", "receiver,worker,web"), changes.pop("roots", ROOTS)
        values: dict[str, Any] = {
            "min_free_mb": 200, "reserve_mb": 20, "spool": "", "pipelines": ("ln_ctv",), "max_retry_s": 4,
            "database": "embedded", "triton": self.triton_url, "repository": self.repository, "workers": 1,
            "at_once": 1, "tps_title": self.tps.ae_title, "tps_port": self.tps.dicom_port,
        }  # fmt: skip
        # What these networks say is doubtful indeed; an old version knows no such key.
        settings = [path for root in roots.split(os.pathsep) for path in Path(root).glob("npc_contour/settings/*.py")]
        known = any("hold_doubtful" in path.read_text(encoding="utf-8") for path in settings)
        values["doubtful"] = 'hold_doubtful = "never"' if known else ""
        config = folder / "site.toml"
        values |= changes
        rules = "".join(RULE.format(name, role) for name in values["pipelines"] for role in ROLES[name])
        values["pipelines"] = ", ".join(f'"{name}"' for name in values["pipelines"])
        config.write_text(SITE.format(rules=rules, **values), encoding="utf-8")
        return Service(folder, config, roles, roots)


@contextmanager
def lab(folder: Path, size: float = 1.0) -> Iterator[Lab]:
    """Prepare everything while the block runs; images and networks are kept in `folder` for the next time."""
    with ExitStack() as running:
        repository = folder / "networks"
        if not repository.exists():
            write_networks(repository)
        triton = running.enter_context(EmbeddedTriton(repository, folder / "triton", start_timeout_s=300))
        tps = running.enter_context(orthanc(folder / f"orthanc-{time.time_ns()}", options=OPTIONS))
        yield Lab(folder, phantom_series(folder / "phantom"), repository, triton.urls.grpc, tps, random.Random(), size)


@contextmanager
def started(service: Service) -> Iterator[Service]:
    """Run a service while the block runs."""
    service.start()
    try:
        service.wait_ready()
        yield service
    finally:
        service.stop()


def verified(service: Service) -> int:
    """How many live cases are verified."""
    rows = service.query("SELECT count(*) AS n FROM contour_case WHERE state = 'verified'")
    return int(rows[0]["n"]) if rows else -1


def wait_verified(service: Service, cases: int, timeout_s: float) -> float:
    """Wait until so many cases are verified; returns the seconds.

    Raises:
        TimeoutError: with the states that there are.
    """
    try:
        return wait_for(lambda: verified(service) >= cases, f"{cases} verified cases", timeout_s)
    except TimeoutError as error:
        states = service.query("SELECT state, reasons, count(*) AS n FROM contour_case GROUP BY 1, 2")
        raise TimeoutError(f"{error}; there are {states}; log: {service.folder / 'service.log'}") from error


def audit(
    lab: Lab,
    service: Service,
    studies: Sequence[Study],
    senders: Sequence[Sender],
    outcome: Outcome,
    tps: Orthanc | None = None,
) -> None:
    """Count what was lost, and what came twice, into an outcome."""
    rows = service.query("SELECT sop_instance_uid, key FROM instance")
    root = Path(service.runtime["settings"]["storage"]["shared_spool"] or service.folder / "data" / "spool")
    kept = {row["sop_instance_uid"] for row in rows if (root / row["key"]).is_file()}
    wanted = frozenset().union(*(study.sop_uids for study in studies))
    outcome.lost_instances += len(wanted - kept) + sum(len(sender.lost) for sender in senders)
    live = {
        row["study_instance_uid"]
        for row in service.query("SELECT study_instance_uid FROM contour_case WHERE state = 'verified'")
    }
    outcome.studies += len(studies)
    outcome.lost_studies += sum(study.uid not in live for study in studies)
    written = {row["sop_instance_uid"] for row in service.query("SELECT sop_instance_uid FROM structure_set")}
    ours = {study.uid for study in studies}
    at_tps = objects_at(tps or lab.tps, ours)
    outcome.duplicate_objects += len(at_tps - written)
    outcome.repeated_effects += int(service.query(_REPEATED)[0]["n"])
    outcome.held = outcome.held and not any(
        (outcome.lost_instances, outcome.lost_studies, outcome.duplicate_objects, outcome.repeated_effects)
    )


def send_all(service: Service, studies: Sequence[Study]) -> tuple[list[Sender], list[Callable[[], object]]]:
    """A sender for each study, and what each does: send until everything is acknowledged."""

    def sender_of(study: Study) -> Sender:
        def missing(files: set[Path]) -> set[Path]:
            rows = service.query(
                "SELECT sop_instance_uid AS uid FROM instance JOIN series USING (series_instance_uid)"
                " WHERE study_instance_uid = %(study)s",
                {"study": study.uid},
            )
            # Without rows the database may be down: then nothing can be said yet.
            known = {row["uid"] for row in rows}
            return {path for path in files if rows and study.uid_of[path] not in known}

        return Sender(service.port, missing)

    senders = [sender_of(study) for study in studies]
    return senders, [partial(sender.send, study.all_files) for sender, study in zip(senders, studies, strict=True)]


def objects_at(tps: Orthanc, studies: set[str]) -> set[str]:
    """SOP Instance UIDs of the RTSTRUCTs of these studies at Orthanc."""
    found = set()
    for study in tps.get("/studies?expand"):
        if study["MainDicomTags"].get("StudyInstanceUID") in studies:
            for series in study["Series"]:
                for instance in tps.get(f"/series/{series}")["Instances"]:
                    found.add(tps.get(f"/instances/{instance}")["MainDicomTags"]["SOPInstanceUID"])
    return found


@contextmanager
def sending(jobs: Sequence[Callable[[], object]], *, at_once: int = 4) -> Iterator[list[Exception]]:
    """Do jobs in threads while the block runs; wait for them at its end. Yields what went wrong."""
    waiting, lock = list(jobs), threading.Lock()
    errors: list[Exception] = []

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                job = waiting.pop(0)
            try:
                job()
            except Exception as error:  # noqa: BLE001 - handed to the trial, which fails by it
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        for thread in threads:
            thread.join()
