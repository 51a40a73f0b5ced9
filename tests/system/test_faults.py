"""The trials of `benchmarks/faults.py`, small: nothing acknowledged is lost, and all is delivered once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npc_testkit.fault_lab import Lab, Outcome, lab
from npc_testkit.fault_outside import disk_full, rude_senders, tps_away
from npc_testkit.fault_trials import boundaries, database_crashes
from npc_testkit.fault_upgrade import rolling_upgrade

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="npc-faults-") as folder:
        Path(folder).chmod(0o755)
        with lab(Path(folder)) as prepared:
            yield prepared


@pytest.mark.parametrize("trial", [boundaries, database_crashes, rolling_upgrade, disk_full, tps_away, rude_senders])
def test_nothing_is_lost_and_nothing_arrives_twice(shared: Lab, trial: Callable[[Lab, bool], Outcome]) -> None:
    outcome = trial(shared, True)  # noqa: FBT003 - the small one

    if outcome.detail.startswith("not run"):
        pytest.skip(outcome.detail)
    assert (outcome.lost_instances, outcome.lost_studies) == (0, 0), outcome
    assert (outcome.duplicate_objects, outcome.repeated_effects) == (0, 0), outcome
    assert outcome.held, outcome
