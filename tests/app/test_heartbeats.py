"""Readiness is red while nobody takes jobs, and names whoever is silent."""

from __future__ import annotations

import pytest

from npc_contour.app.heartbeats import heartbeats_check, workers_check
from npc_contour.domain.status import ProcessRow
from npc_contour.errors import ProcessMissingError


def row(name: str, silent_s: float, place: str = "a") -> ProcessRow:
    return ProcessRow(name=name, role=name.partition("-")[0], machine=f"host-{place}", place=place, silent_s=silent_s)


def test_one_worker_that_is_heard_is_enough() -> None:
    rows = [row("worker-0", 31.2), row("worker-1", 3.0), row("web", 1.0)]

    assert workers_check(lambda: rows).probe() == "1 of 2 take jobs"
    with pytest.raises(ProcessMissingError, match=r"^worker-0 on host-a has not been heard for 31 s$"):
        heartbeats_check(lambda: rows).probe()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no worker takes jobs: none has started"),
        ([row("receiver-0", 1.0)], "no worker takes jobs: none has started"),
        ([row("worker-0", 45.0)], "no worker takes jobs: worker-0 on host-a has not been heard for 45 s"),
    ],
)
def test_nobody_takes_jobs(rows: list[ProcessRow], words: str) -> None:
    check = workers_check(lambda: rows)

    assert check.required
    with pytest.raises(ProcessMissingError, match=words):
        check.probe()


def test_a_status_port_tells_of_its_own_machine() -> None:
    rows = [row("worker-0", 31.2, "b"), row("worker-0", 3.0)]

    assert heartbeats_check(lambda: rows, "a").probe() == "1 processes were heard within 20 s"
    assert not heartbeats_check(lambda: rows).required
