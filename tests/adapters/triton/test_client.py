"""What a real Triton answers is the network's closed form, and every failure has its own clear name."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.regions import NAME_PREFIX, SHARED_MEMORY, Region, owner_pid
from npc_contour.core.class_doubts import AREA
from npc_contour.domain.geometry import Grid
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused, InferenceError, NetworkMismatchError
from npc_contour.lifetime import pid_namespace
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network
from npc_testkit.tiny_server import Served, blocks, volume_of


def engine(served: Served, *, shared_memory: bool | None = None, timeout_s: float = 60.0) -> TritonEngine:
    urls = served.server.urls
    return TritonEngine(urls.grpc, metrics_url=urls.metrics, shared_memory=shared_memory, timeout_s=timeout_s)


def our_regions() -> list[str]:
    return [path.name for path in SHARED_MEMORY.glob(f"{NAME_PREFIX}{os.getpid()}.*")]


def registered(served: Served) -> dict[str, object]:
    with triton.InferenceServerClient(served.server.urls.grpc) as client:
        status: dict[str, dict[str, object]] = client.get_system_shared_memory_status(as_json=True)
    return status.get("regions", {})


@pytest.mark.parametrize("shared_memory", [True, False])
def test_answer_is_the_closed_form_by_either_way(served: Served, volume: Volume, *, shared_memory: bool) -> None:
    with engine(served, shared_memory=shared_memory) as client:
        answer = client.segment(served.contracts["tiny"], [volume])

    np.testing.assert_array_equal(answer.labels, volume.hu > 100)
    assert answer.crossings is not None
    np.testing.assert_array_equal(answer.crossings[0, :, :-1] > 0, np.diff(answer.labels, axis=1) != 0)
    np.testing.assert_array_equal(answer.crossings[1, :, :, :-1] > 0, np.diff(answer.labels, axis=2) != 0)
    assert answer.grid == volume.grid
    assert answer.network == "tiny"
    # Neither of its two labels is ever in doubt, and they share one surface.
    assert answer.doubts is not None
    assert answer.doubts[0, AREA] == answer.doubts[1, AREA] > 0
    assert not our_regions()
    assert not registered(served)


@pytest.mark.parametrize(("network", "kind"), [("exact", np.float64), ("version_before", np.float32)])
def test_spacing_is_in_double_precision_where_the_network_takes_it(served: Served, network: str, kind: type) -> None:
    """1.2 / 0.4 is below three, nnU-Net's bound of thick slices; in single precision it is above."""
    spacing = (1.2, 0.4, 0.4)
    hu = np.random.default_rng(3).normal(100, 300, (17, 40, 44)).astype(np.int16)
    contract = served.contracts[network]
    z, y, x = np.asarray(spacing, kind).tolist()
    here = VolumeSegmenter(contract, OpenVinoEngine(contract, served.repository / network / contract.weights_file))

    with engine(served) as client:
        answer = client.segment(contract, [volume_of(hu, spacing)])

    expected, otherwise = here.segment(hu[np.newaxis], (z, y, x)), here.segment(hu[np.newaxis], (z * 1.0001, y, x))
    np.testing.assert_array_equal(answer.labels, expected)
    assert np.array_equal(expected, otherwise) == (kind is np.float32)
    assert (answer.doubts is None) == (network == "version_before")


def full(size: int) -> Region:
    raise OSError(errno.ENOSPC, f"no room for {size} bytes")


def out_of_sight(size: int) -> Region:
    region = Region(size)
    region.unlink()
    return region


@pytest.mark.parametrize("new_region", [full, out_of_sight])
def test_without_shared_memory_the_volume_goes_by_grpc(
    served: Served, volume: Volume, new_region: Callable[[int], Region]
) -> None:
    with TritonEngine(served.server.urls.grpc, new_region=new_region) as client:
        answer = client.segment(served.contracts["tiny"], [volume])

    np.testing.assert_array_equal(answer.labels, volume.hu > 100)
    assert not our_regions()


def test_second_series_on_another_grid_is_brought_to_the_planning_grid(served: Served) -> None:
    planning = volume_of(blocks((20, 40, 40), 1))
    shifted = Grid((30, 50, 50), (3.0, 1.0, 1.0), (-4.0, -5.0, -9.0), planning.grid.direction_lps, "1.2.3")
    second = Volume(blocks((30, 50, 50), 2), shifted, tuple(f"1.2.4.{z}" for z in range(30)), np.zeros((30, 3)))

    with engine(served) as client:
        answer = client.segment(served.contracts["tiny_pair"], [planning, second])

    np.testing.assert_array_equal(answer.labels, second.hu[3:23, 5:45, 4:44] > 100)


def test_series_in_two_frames_of_reference_are_refused(served: Served, volume: Volume) -> None:
    other = replace(volume, grid=replace(volume.grid, frame_of_reference_uid="1.9"))

    with engine(served) as client, pytest.raises(CaseRefused, match="two frames of reference"):
        client.segment(served.contracts["tiny_pair"], [volume, other])


def test_wrong_number_of_series_is_refused(served: Served, volume: Volume) -> None:
    with engine(served) as client, pytest.raises(CaseRefused, match=r"takes 2 series \(CT 0, CT 1\), got 1"):
        client.segment(served.contracts["tiny_pair"], [volume])


@pytest.mark.parametrize("shared_memory", [True, False])
def test_volume_without_a_body_is_refused_with_the_networks_reason(served: Served, *, shared_memory: bool) -> None:
    air = volume_of(np.full((20, 40, 40), -1000, dtype=np.int16))

    with (
        engine(served, shared_memory=shared_memory) as client,
        pytest.raises(CaseRefused, match=r"no voxel above -400 HU .*largest -1000 HU"),
    ):
        client.segment(served.contracts["tiny_pair"], [air, air])

    assert not our_regions()
    assert not registered(served)


def test_engine_model_in_the_repository_is_used_instead_of_the_processor(served: Served, volume: Volume) -> None:
    with engine(served) as client:
        answer = client.segment(served.contracts["on_gpu"], [volume])

    np.testing.assert_array_equal(answer.labels, volume.hu < 100)


def test_loaded_network_of_the_contract_passes(served: Served) -> None:
    with engine(served) as client:
        client.check(served.contracts["tiny"])


def test_another_version_of_the_network_is_named(served: Served, tmp_path: Path) -> None:
    newer = write_tiny_network(tmp_path, TinyNetwork(version="2.0.0"))

    with engine(served) as client, pytest.raises(NetworkMismatchError, match="runs tiny with contract") as failure:
        client.check(newer)

    assert served.contracts["tiny"].contract_sha256 in str(failure.value)
    assert newer.contract_sha256 in str(failure.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other_weights", r"weights .* have SHA-256"),
        ("other_contract", r"config\.pbtxt carries contract 0000"),
        ("old_engine", r"old_engine_engine was made for contract 0{64}"),
    ],
)
def test_network_that_refused_to_load_says_why(served: Served, name: str, reason: str) -> None:
    with engine(served) as client, pytest.raises(NetworkMismatchError, match=reason):
        client.check(served.contracts[name])


def test_absent_network_names_what_is_there(served: Served) -> None:
    with engine(served) as client, pytest.raises(NetworkMismatchError, match=r"has no network liver, found .*tiny"):
        client.check(replace(served.contracts["tiny"], name="liver"))


def test_progress_reaches_the_end(served: Served, volume: Volume) -> None:
    with engine(served) as client:
        client.segment(served.contracts["tiny"], [volume])

        assert client.progress("tiny") == (8, 8)
        assert client.progress("liver") is None


def test_call_out_of_time_ends_in_time_and_frees_server_and_memory(served: Served) -> None:
    large = volume_of(np.tile(blocks((20, 40, 40)), (6, 12, 12)))
    started = time.monotonic()

    with engine(served, timeout_s=0.3) as client, pytest.raises(InferenceError, match="no answer in time"):
        client.segment(served.contracts["tiny"], [large])

    # Computing the whole volume takes many times as long: the server stops when nobody waits.
    assert time.monotonic() - started < 10.0
    with engine(served) as client:
        client.segment(served.contracts["tiny"], [volume_of(blocks((16, 32, 32)))])
    assert not our_regions()


def test_memory_of_a_killed_client_is_let_go(served: Served) -> None:
    script = (
        "import os, signal, sys\n"
        "from tritonclient import grpc as triton\n"
        "from npc_contour.adapters.triton.regions import Region\n"
        "region = Region(4096)\n"
        "client = triton.InferenceServerClient(sys.argv[1])\n"
        "client.register_system_shared_memory(region.name, region.key, region.size)\n"
        "region.unlink()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, served.server.urls.grpc], env=_with_path())
    assert killed.wait() == -signal.SIGKILL
    assert killed.pid in map(owner_pid, registered(served))

    with engine(served) as client:
        client.segment(served.contracts["tiny"], [volume_of(blocks((16, 32, 32)))])

    assert killed.pid not in map(owner_pid, registered(served))


def test_calls_from_several_threads_do_not_mix(served: Served) -> None:
    volumes = [volume_of(blocks((16, 32, 32), seed)) for seed in range(4)]
    answers: dict[int, bool] = {}

    with engine(served) as client:

        def run(number: int) -> None:
            labels = client.segment(served.contracts["tiny"], [volumes[number]]).labels
            answers[number] = np.array_equal(labels, volumes[number].hu > 100)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == dict.fromkeys(range(4), True)


def test_no_server_is_an_inference_error(served: Served, volume: Volume) -> None:
    with TritonEngine("127.0.0.1:9", metrics_url="http://127.0.0.1:9/metrics", timeout_s=2.0) as client:
        with pytest.raises(InferenceError, match=r"127\.0\.0\.1:9"):
            client.segment(served.contracts["tiny"], [volume])
        with pytest.raises(InferenceError, match=r"127\.0\.0\.1:9"):
            client.check(served.contracts["tiny"])
        assert client.progress("tiny") is None
    assert not our_regions()


@pytest.mark.parametrize(
    ("name", "pid"),
    [
        (f"{NAME_PREFIX}{pid_namespace()}.12.abc", 12),
        (f"{NAME_PREFIX}4026539999.12.abc", None),
        (f"other.{pid_namespace()}.12.abc", None),
        (f"{NAME_PREFIX}x.abc", None),
    ],
)
def test_region_tells_who_made_it(name: str, pid: int | None) -> None:
    assert owner_pid(name) == pid


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
