"""An engine is built by TensorRT's own tool as the record says, once for each machine, and refused on any other.

No GPU is at hand: `nvidia-smi` and `trtexec` are programs of the same name that answer as theirs do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from npc_networks.engines.targets import Choice, write_engine
from npc_networks.serving.gpu_engine import EngineRefused, Machine, build, displaced, refuse_mismatch, verify_engine
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

H100 = Machine("NVIDIA H100 80GB HBM3", "9.0", "580.65.06", "10.13.3.9")
TRTEXEC = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
for argument in "$@"; do
  case "$argument" in --saveEngine=*) echo engine > "${argument#--saveEngine=}";; esac
done
exit ${TRTEXEC_STATUS:-0}
"""


class Bench:
    """A machine with the two tools, and a network's engine to be built."""

    def __init__(self, root: Path, *, machine: Machine = H100, tools: bool = True) -> None:
        self.tools = root / "bin"
        self.tools.mkdir(parents=True)
        self.become(machine)
        if tools:
            self._script("trtexec", TRTEXEC)
        write_tiny_network(root, TinyNetwork())
        self.folder = write_engine(root, "tiny", Choice(target="tensorrt")).folder

    def become(self, *machines: Machine) -> None:
        lines = "".join(f"{m.gpu}, {m.compute_capability}, {m.driver}\n" for m in machines)
        self._script("nvidia-smi", f"#!/bin/sh\nprintf '{lines}'\n")
        self.environment = {"PATH": f"{self.tools}:/usr/bin:/bin", "TRT_VERSION": machines[0].tensorrt}

    def calls(self) -> list[str]:
        log = self.tools / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def _script(self, name: str, text: str) -> None:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)


def test_engine_is_built_as_the_record_says_and_kept_for_this_machine(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    plan = build(bench.folder, environment=bench.environment)

    assert plan == bench.folder / "1" / "model.plan"
    assert plan.read_text() == "engine\n"
    (call,) = bench.calls()
    for argument in (
        "--stronglyTyped",
        "--minShapes=image:1x1x16x32x32",
        "--maxShapes=image:1x1x16x32x32",
        f"--onnx={bench.folder}/network.onnx",
        "--timingCacheFile=",
    ):
        assert argument in call
    assert "--versionCompatible" not in call
    (kept,) = (bench.folder / "engines").glob("*/model.plan")
    assert kept.parent.name.startswith("nvidia-h100-80gb-hbm3-sm9.0-trt10.13.3.9-")
    verify_engine(bench.folder, bench.environment)


def test_known_machine_is_not_built_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    build(bench.folder, environment=bench.environment)
    bench.become(replace(H100, gpu="NVIDIA L40S", compute_capability="8.9"))
    build(bench.folder, environment=bench.environment)
    bench.become(H100)

    build(bench.folder, environment=bench.environment)

    assert len(bench.calls()) == 2
    verify_engine(bench.folder, bench.environment)


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        (replace(H100, gpu="NVIDIA L40S", compute_capability="8.9"), r"GPU NVIDIA L40S \(compute capability 8\.9\)"),
        (replace(H100, tensorrt="10.14.1.48"), r"TensorRT 10\.14\.1\.48 instead of 10\.13\.3\.9"),
        (replace(H100, driver="570.10.01"), r"driver 570\.10\.01, older than 580\.65\.06"),
    ],
)
def test_engine_of_another_machine_is_refused_with_the_remedy(tmp_path: Path, here: Machine, reason: str) -> None:
    bench = Bench(tmp_path)
    build(bench.folder, environment=bench.environment)
    bench.become(here)

    with pytest.raises(EngineRefused, match=f"{reason}.*inside the Triton image run python3 .*build_engine.py"):
        verify_engine(bench.folder, bench.environment)


@pytest.mark.parametrize(("later", "fits"), [("10.14.1.48", True), ("10.9.0.1", False), ("11.0.0.1", False)])
def test_version_compatible_engine_takes_later_releases_of_its_major_version(later: str, *, fits: bool) -> None:
    here = replace(H100, tensorrt=later, driver="590.1")
    if fits:
        refuse_mismatch(H100, here, version_compatible=True, remedy="build")
    else:
        with pytest.raises(EngineRefused, match=f"TensorRT {later}"):
            refuse_mismatch(H100, here, version_compatible=True, remedy="build")


def test_engine_that_was_not_built_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    with pytest.raises(EngineRefused, match="was not built yet: inside the Triton image run"):
        verify_engine(bench.folder, bench.environment)


def test_export_after_a_build_asks_for_a_new_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    build(bench.folder, environment=bench.environment)

    write_engine(tmp_path, "tiny", Choice(target="tensorrt", precision="bf16"))

    with pytest.raises(EngineRefused, match="not built yet"):
        verify_engine(bench.folder, bench.environment)


def test_failed_build_leaves_no_engine(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    with pytest.raises(EngineRefused, match="trtexec ended with 3"):
        build(bench.folder, environment={**bench.environment, "TRTEXEC_STATUS": "3"})

    assert not (bench.folder / "1" / "model.plan").exists()
    assert json.loads((bench.folder / "engine.json").read_text())["built_on"] is None


def test_machine_without_a_builder_is_told_which_image_has_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tools=False)

    with pytest.raises(EngineRefused, match=r"nvcr\.io/nvidia/tensorrt:<release>-py3"):
        build(bench.folder, environment=bench.environment)


def test_several_kinds_of_gpu_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.become(H100, replace(H100, gpu="NVIDIA L40S", compute_capability="8.9"))

    with pytest.raises(EngineRefused, match="GPUs of 2 kinds"):
        build(bench.folder, environment=bench.environment)


def test_image_without_tensorrt_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    with pytest.raises(EngineRefused, match="TRT_VERSION is ''"):
        build(bench.folder, environment={"PATH": bench.environment["PATH"]})


def test_a_second_kind_of_gpu_is_told_that_it_takes_the_firsts_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert displaced(bench.folder, bench.environment) is None
    build(bench.folder, environment=bench.environment)
    assert displaced(bench.folder, bench.environment) is None

    bench.become(replace(H100, gpu="NVIDIA L40S", compute_capability="8.9"))

    assert displaced(bench.folder, bench.environment) == H100


def test_script_says_in_one_line_what_it_may_not_write(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.folder / "engines").write_text("a file is in the folder's place")

    script = [sys.executable, "-I", str(bench.folder / "build_engine.py")]
    done = subprocess.run(script, env=bench.environment, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert done.stderr.startswith(f"refused: {bench.folder}/engines")


def test_script_says_in_one_line_why_it_cannot_build_here(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()

    script = [sys.executable, "-I", str(bench.folder / "build_engine.py")]
    done = subprocess.run(script, env={"PATH": str(empty)}, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert done.stderr.startswith("refused: no NVIDIA GPU is visible")
