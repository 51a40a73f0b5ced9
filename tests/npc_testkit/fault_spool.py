"""The trial `foreign_spool`: a worker without the shared spool, and a second service on another's spool, do no harm."""

from __future__ import annotations

import time
from contextlib import ExitStack

from npc_testkit.fault_lab import Lab, Outcome, audit, send_all, sending, started, verified, wait_verified
from npc_testkit.fault_site import Service, wait_for

SAYS = "belong"
"""What the refusal to start has in it, whatever was found: which spool belongs to which database."""
_ROWS = "SELECT count(*) AS n FROM instance"


def foreign_spool(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - the signature of every trial
    """Neither starts, each says why, and the first service goes on with everything that it had."""
    outcome = Outcome("another's spool", more={"silent_wrong": 0.0})
    spool = f'shared_spool = "{lab.folder / f"spool-{time.time_ns()}"}"'
    studies = lab.studies("spool", 1 if short else 3)
    with ExitStack() as running:
        first = running.enter_context(started(lab.service("spool", spool=spool)))
        senders, jobs = send_all(first, studies)
        with sending(jobs) as errors:
            pass
        assert not errors, errors
        wait_verified(first, len(studies), 60 + 20 * len(studies))
        before = first.query(_ROWS)
        worker = lab.service("worker", database=first.runtime["database_url"], roles="worker")
        second = lab.service("second", spool=spool)
        for service in (worker, second):
            running.callback(service.stop)
            if not refused_to_start(service):
                outcome.more["silent_wrong"] += 1
        more = lab.studies("spool", 1)
        more_senders, jobs = send_all(first, more)
        with sending(jobs) as errors:
            pass
        assert not errors, errors
        wait_verified(first, len(studies) + 1, 120)
        assert before[0]["n"] == sum(len(study.all_files) for study in studies), before
        audit(lab, first, [*studies, *more], [*senders, *more_senders], outcome)
        found = verified(first)
    outcome.held = outcome.held and not outcome.more["silent_wrong"]
    outcome.detail = f"2 refused to start, {found} studies verified by the first service"
    return outcome


def refused_to_start(service: Service) -> bool:
    """Whether it ends by itself soon, with one sentence that says why."""
    service.start()
    process = service.process
    assert process is not None
    try:
        wait_for(lambda: process.poll() is not None, "its end", 90)
    except TimeoutError:
        return False
    log = (service.folder / "service.log").read_text()
    return process.returncode == 1 and SAYS in log and "Traceback" not in log
