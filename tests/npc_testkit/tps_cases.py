"""Cases of planning systems: what they answer to an object, and who may say that they hold it; to a running service."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    RTStructureSetStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_testkit.cases import Seen
from npc_testkit.fault_lab import Lab, started
from npc_testkit.fault_site import Sender, Service, phantom_series, wait_for, write_networks
from npc_testkit.orthanc import Orthanc

DESTINATION = """
[[destinations]]
name = "{0}"
ae_title = "TPS"
host = "127.0.0.1"
port = {1}
verify = "{2}"
"""
UNSUPPORTED, PENDING, COERCED, FULL, STORED = 0x0122, 0xFF00, 0xB000, 0xA700, 0x0000
ANSWERS = {
    "unsupported": ((UNSUPPORTED,), "failed", 3),
    "pending": ((PENDING,), "failed", 3),
    "coerced": ((COERCED,), "sent", 1),
    "full": ((FULL, FULL, STORED), "sent", 3),
}
"""What it answers, one after another, the last for ever; the state in the end; after how many tries."""
DELIVERIES = "SELECT destination, state, attempts, message FROM delivery WHERE destination <> 'tps'"


def answers(_case: Path, work: Path) -> Seen:
    """A permanent refusal fails after a few tries; a temporary one is retried."""
    with ExitStack() as running:
        ports = {name: running.enter_context(_planning_system(plan[0])) for name, plan in ANSWERS.items()}
        service = running.enter_context(_service(work, ports, "off"))

        def decided() -> bool:
            rows = service.query(DELIVERIES)
            return len(rows) == len(ANSWERS) and all(row["state"] != "queued" for row in rows)

        wait_for(decided, "the end of every delivery", 120)
        rows = {row["destination"]: row for row in service.query(DELIVERIES)}
        (unreachable,) = service.query("SELECT state FROM delivery WHERE destination = 'tps'")
    wanted = {name: (state, tries) for name, (_, state, tries) in ANSWERS.items()}
    found = {name: (row["state"], row["attempts"]) for name, row in rows.items()}
    faults = [f"{name}: {rows[name]}" for name in wanted if found[name] != wanted[name]]
    faults += [] if unreachable["state"] == "queued" else [f"one that does not listen: {unreachable}"]
    wrong = any(rows[name]["state"] == "sent" for name in ("unsupported", "pending"))
    return Seen(tuple(faults), silent_wrong=wrong)


def commitment(_case: Path, work: Path) -> Seen:
    """A report verifies when the planning system gives it, and when nobody else does."""
    asked: list[Dataset] = []
    with _planning_system((STORED,), asked) as port, _service(work, {"holds": port}, "require") as service:
        wait_for(lambda: bool(asked), "a request for commitment", 120)
        wait_for(lambda: _state(service) == "sent", "the question in the database", 30)
        faults = []
        for title, address in (("STRANGER", "127.0.0.1"), ("TPS", "127.0.0.2")):
            status = _report(service, asked[-1], title, address)
            faults += [f"{title} at {address} is answered {status:04x}"] if status == STORED else []
        wrong = _state(service) != "sent"
        faults += [f"the delivery is {_state(service)}"] if wrong else []
        status = _report(service, asked[-1], "TPS", "127.0.0.1")
        faults += [f"the planning system is answered {status:04x}"] if status != STORED else []
        wait_for(lambda: _state(service) == "verified", "a verified delivery", 30)
    return Seen(tuple(faults), silent_wrong=wrong)


def _state(service: Service) -> str:
    (row,) = service.query(DELIVERIES)
    return str(row["state"])


def _report(service: Service, request: Dataset, title: str, address: str) -> int:
    """Say from here that all that was asked for is held; returns the status that is answered."""
    entity = AE(ae_title=title)
    entity.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    association = entity.associate(
        "127.0.0.1", service.port(), ae_title="NPC_CONTOUR", ext_neg=[role], bind_address=(address, 0)
    )
    if not association.is_established:
        return -1
    report = Dataset()
    report.TransactionUID = request.TransactionUID
    report.ReferencedSOPSequence = request.ReferencedSOPSequence
    status, _ = association.send_n_event_report(
        report, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    association.release()
    return int(status.Status)


@contextmanager
def _planning_system(statuses: Sequence[int], asked: list[Dataset] | None = None) -> Iterator[int]:
    """Run one that answers so, the last status for ever; yields its port. It commits itself where `asked` is given."""
    waiting = list(statuses)

    def store(_: evt.Event) -> int:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def commit(event: evt.Event) -> tuple[int, None]:
        (asked if asked is not None else []).append(event.action_information)
        return STORED, None

    entity = AE(ae_title="TPS")
    for sop_class in (
        RTStructureSetStorage,
        Verification,
        *([StorageCommitmentPushModel] if asked is not None else []),
    ):
        entity.add_supported_context(sop_class)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, commit)]
    )
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


@contextmanager
def _service(work: Path, ports: Mapping[str, int], verify: str) -> Iterator[Service]:
    """Run one that has contoured a study, and sends to these planning systems and to one that does not listen."""
    repository = work / "networks"
    write_networks(repository, ["ln_ctv"])
    with EmbeddedTriton(repository, work / "triton", start_timeout_s=300) as triton:
        images = phantom_series(work / "phantom")
        lab = Lab(work, images, repository, triton.urls.grpc, Orthanc(1, 1, "NOBODY"), random.Random())
        service = lab.service("sends")
        more = "".join(DESTINATION.format(name, port, verify) for name, port in ports.items())
        service.config.write_text(service.config.read_text() + more)
        (study,) = lab.studies("sends", 1)
        with started(service):
            Sender(service.port).send(study.all_files)
            yield service
