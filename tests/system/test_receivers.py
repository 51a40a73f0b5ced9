"""Several receiving processes on one port lose nothing, and one that is killed takes nothing of the others with it."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.doors import our_node
from npc_testkit.peers import run_tool, start_tool


@pytest.mark.system
@pytest.mark.slow
def test_two_processes_take_what_six_senders_push_and_one_goes_on_alone(tmp_path: Path, open_folder: Path) -> None:
    series = [write_series(tmp_path / str(n), ct_datasets(CtPlan(seed=str(n), slices=8))) for n in range(7)]
    with our_node(open_folder / "ours", processes=2) as node:
        to = ("-aec", node.ae_title, "127.0.0.1", str(node.port))
        senders = [start_tool("storescu", *to, *files) for files in series[:6]]
        outputs = [sender.communicate(timeout=120)[0] for sender in senders]
        assert [sender.returncode for sender in senders] == [0] * 6, outputs

        psutil.Process(node.pids[0]).send_signal(signal.SIGKILL)
        psutil.Process(node.pids[0]).wait(timeout=10)
        alone = run_tool("storescu", *to, *series[6])
        assert alone.returncode == 0, alone.stderr

        kept = {path.stem for path in node.received.rglob("*.dcm")}
        assert len(kept) == 7 * 8
        assert node.under_way is not None
        assert list(node.under_way.iterdir()) == []
