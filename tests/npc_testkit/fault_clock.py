"""The trial `clock`: clocks an hour off, on one machine or on all, and set while a series is being sent."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.clocks import clock_check
from npc_contour.errors import ClockOffError
from npc_contour.store.database import Store
from npc_testkit.fault_lab import Lab, Outcome, audit, started, wait_verified
from npc_testkit.fault_site import Sender, Service, Study, debian_postgres
from npc_testkit.peers import require_tool

HOUR_S = 3600
PAUSE_S = 0.15
"""Between two images: a series takes longer than any quiet time of the trial's service."""
_GENERATIONS = "SELECT generation, inputs FROM contour_case WHERE study_instance_uid = %(study)s"


@dataclass
class Machine:
    """A clock that processes started with `env` go by.

    Attributes:
        env: to start them with.
    """

    file: Path
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def build(cls, folder: Path) -> Machine:
        """Make one whose clock is right."""
        folder.mkdir(parents=True)
        library, file = folder / "set_clock.so", folder / "ahead"
        source = Path(__file__).with_name("set_clock.c")
        subprocess.run([require_tool("cc"), "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        file.write_text("0")
        return cls(file, {"LD_PRELOAD": str(library), "CLOCK_AHEAD_FILE": str(file)})

    def set(self, seconds: int) -> None:
        """Set its clock so far ahead of the true time, at once; negative is behind."""
        part = self.file.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self.file)


def clock(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - the signature of every trial
    """Every study is contoured once, from all its images, whatever any clock says; readiness says which is off."""
    outcome = Outcome("clocks an hour off, and set", more={"clock_wrong_generations": 0.0})
    machine = Machine.build(lab.folder / f"clock-{time.time_ns()}")
    steps = (HOUR_S, -HOUR_S) if not short else (HOUR_S,)
    for place in ("worker", "receiver,web"):
        for step_s in steps:
            machine.set(step_s)
            _two_machines(lab, outcome, machine, place)
    for step_s in (HOUR_S, -HOUR_S):
        machine.set(0)
        _set_while_sending(lab, outcome, machine, step_s)
    outcome.held = outcome.held and not outcome.more["clock_wrong_generations"]
    outcome.detail = f"{outcome.studies} studies, each contoured once; {outcome.detail or 'readiness named the clock'}"
    return outcome


def _two_machines(lab: Lab, outcome: Outcome, machine: Machine, skewed: str) -> None:
    """One of two machines has a wrong clock all the time; the database has a third one."""
    folder = lab.folder / f"clock-{time.time_ns()}"
    with ExitStack() as running:
        url, _ = running.enter_context(debian_postgres(folder / "postgres"))
        spool = f'shared_spool = "{folder / "spool"}"'
        services: dict[str, Service] = {}
        for roles in ("receiver,web", "worker"):
            service = lab.service("clock", database=url, spool=spool, roles=roles)
            service.env = machine.env if roles == skewed else {}
            services[roles] = running.enter_context(started(service))
        front = services["receiver,web"]
        (study,) = lab.studies("clock", 1)
        send_slowly(front, study.all_files, lambda _: None)
        _judge(lab, outcome, front, study)


def _set_while_sending(lab: Lab, outcome: Outcome, machine: Machine, step_s: int) -> None:
    """One machine with all of the service and its database: its clock is set while a series comes, and set back."""
    service = lab.service("clock")
    service.env = machine.env
    with started(service):
        (study,) = lab.studies("clock", 1)
        images = len(study.all_files)
        when = {images // 3: step_s, 2 * images // 3: 0}
        send_slowly(service, study.all_files, lambda sent: machine.set(when[sent]) if sent in when else None)
        _judge(lab, outcome, service, study)


def send_slowly(service: Service, images: Sequence[Path], before: Callable[[int], None]) -> None:
    """Send over one association with a pause after each image; `before` is told how many were sent."""
    entity = AE(ae_title="SLOW_CT")
    entity.add_requested_context(CTImageStorage)
    association = entity.associate("127.0.0.1", service.port(), ae_title="NPC_CONTOUR")
    for sent, path in enumerate(images):
        before(sent)
        assert association.send_c_store(pydicom.dcmread(path)).Status == 0
        time.sleep(PAUSE_S)
    association.release()


def _judge(lab: Lab, outcome: Outcome, service: Service, study: Study) -> None:
    wait_verified(service, 1, 180)
    audit(lab, service, [study], [Sender(service.port)], outcome)
    cases = service.query(_GENERATIONS, {"study": study.uid})
    wrong = len(cases) - 1 + sum(len(_images(case)) != len(study.all_files) for case in cases)
    outcome.more["clock_wrong_generations"] += wrong
    with Store(service.runtime["database_url"], defer) as store:
        try:
            said = clock_check(store).probe()
        except ClockOffError:
            return
    outcome.held = False
    outcome.detail = f"readiness does not say that a clock is off: {said}"


def _images(case: dict[str, object]) -> set[str]:
    inputs = case["inputs"]
    assert isinstance(inputs, dict)
    return {uid for given in inputs.values() for uid in given["images"]}
