"""TensorRT engines: built on the machine that serves them, refused on any other, with the remedy.

An engine is machine code for one kind of GPU, one TensorRT and a driver at least as new. This file needs nothing but
Python, so that a copy of it can build the engine inside the Triton image, where this product is not installed:

    docker run --rm --gpus all -v REPO:/models IMAGE python3 /models/NETWORK_engine/build_engine.py

Engines of several GPUs lie side by side (`engines/<gpu>-<TensorRT>-<network>/`), with a cache of measured kernels; the
one of this machine is copied to `1/model.plan`. Building again for a known machine only copies. One is
served at a time: machines with other GPUs need a repository of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORD_FILE = "engine.json"
ONNX_FILE = "network.onnx"
PLAN_FILE = "1/model.plan"
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
TENSORRT_VERSION_VARIABLE = "TRT_VERSION"


class EngineRefused(Exception):
    """The engine cannot be built or used on this machine; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine depends on."""

    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str

    @property
    def folder(self) -> str:
        """Return a folder's name for engines of this kind of machine."""
        text = f"{self.gpu}-sm{self.compute_capability}-trt{self.tensorrt}"
        return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def read_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """Return what this machine is, as `nvidia-smi` and the image's `TRT_VERSION` say.

    Raises:
        EngineRefused: no GPU or no TensorRT is to be found, or GPUs of several kinds.
    """
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60, env=dict(environment))
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineRefused(
            f"no NVIDIA GPU is visible ({error}): start the container with --gpus all on a host with the driver"
        ) from error
    kinds = sorted({line.strip() for line in listed.stdout.splitlines() if line.strip()})
    if len(kinds) != 1:
        raise EngineRefused(
            f"GPUs of {len(kinds)} kinds are visible ({'; '.join(kinds)}), an engine is for one: choose with "
            "--gpus device=N"
        )
    gpu, capability, driver = (part.strip() for part in kinds[0].split(","))
    version = environment.get(TENSORRT_VERSION_VARIABLE, "")
    if not re.match(r"\d+\.\d+", version):
        raise EngineRefused(
            f"{TENSORRT_VERSION_VARIABLE} is {version!r}: this is no image with TensorRT; use "
            "nvcr.io/nvidia/tritonserver:<release>-py3, or set the variable to TensorRT's version"
        )
    return Machine(gpu, capability, driver, version)


def refuse_mismatch(built: Machine, here: Machine, *, version_compatible: bool, remedy: str) -> None:
    """Refuse an engine that was built elsewhere.

    Args:
        built: what the engine was built on.
        here: this machine.
        version_compatible: the engine also runs with later TensorRT releases of the same major version.
        remedy: the command that builds it here.

    Raises:
        EngineRefused: GPU or TensorRT differ, or the driver is older.
    """
    reasons = []
    if (built.gpu, built.compute_capability) != (here.gpu, here.compute_capability):
        reasons.append(
            f"GPU {here.gpu} (compute capability {here.compute_capability}) instead of {built.gpu}"
            f" ({built.compute_capability})"
        )
    if not _fits(built.tensorrt, here.tensorrt, version_compatible=version_compatible):
        reasons.append(f"TensorRT {here.tensorrt} instead of {built.tensorrt}")
    if _numbers(here.driver) < _numbers(built.driver):
        reasons.append(f"driver {here.driver}, older than {built.driver}")
    if reasons:
        raise EngineRefused(f"the engine was built on another machine: here is {', and '.join(reasons)}: {remedy}")


def verify_engine(folder: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse an engine that was not built, or not for this machine.

    Args:
        folder: `<network>_engine` of the model repository; its record is of a TensorRT engine.
        environment: where nvidia-smi and TensorRT's version are looked up.

    Raises:
        EngineRefused: with the remedy.
    """
    record = _read(folder)
    remedy = f"inside the Triton image run python3 {folder}/{Path(BUILD_SCRIPT).name}"
    if record["built_on"] is None or not (folder / PLAN_FILE).is_file():
        raise EngineRefused(f"{folder}: the engine was not built yet: {remedy}")
    built = Machine(**record["built_on"])
    try:
        refuse_mismatch(
            built, read_machine(environment), version_compatible=record["version_compatible"], remedy=remedy
        )
    except EngineRefused as refusal:
        raise EngineRefused(f"{folder}: {refusal}") from refusal


def build(folder: Path, *, level: int = 3, environment: Mapping[str, str] = os.environ) -> Path:
    """Build this machine's engine, or take the one that was built here before, and put it in its place.

    Args:
        folder: `<network>_engine` of the model repository.
        level: TensorRT's optimisation level, 0 (quick) to 5 (thorough).
        environment: of the tools that are called.

    Returns:
        The engine.

    Raises:
        EngineRefused: no GPU, no TensorRT, another network than the record's, or the builder failed.
    """
    record = _read(folder)
    here = read_machine(environment)
    kept = folder / "engines" / f"{here.folder}-{record['onnx_sha256'][:12]}-b{record['batch']}"
    plan = kept / "model.plan"
    if not plan.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        part = kept / "model.plan.part"
        _run_builder(folder, record, part, kept.parent / f"{here.folder}.timing", level, environment)
        part.replace(plan)
    placed = folder / PLAN_FILE
    placed.parent.mkdir(exist_ok=True)
    copy = placed.with_name("model.plan.part")
    shutil.copyfile(plan, copy)
    copy.replace(placed)
    text = json.dumps({**record, "built_on": asdict(here)}, indent=2) + "\n"
    (folder / f"{RECORD_FILE}.part").write_text(text, encoding="utf-8")
    (folder / f"{RECORD_FILE}.part").replace(folder / RECORD_FILE)
    return placed


def displaced(folder: Path, environment: Mapping[str, str] = os.environ) -> Machine | None:
    """Return the other kind of machine whose engine is in the place of this one's; None where there is none.

    Raises:
        EngineRefused: no GPU, no TensorRT, or no record.
    """
    built_on = _read(folder)["built_on"]
    if built_on is None or not (folder / PLAN_FILE).is_file():
        return None
    built = Machine(**built_on)
    return None if built.folder == read_machine(environment).folder else built


def trtexec_arguments(folder: Path, record: Mapping[str, Any], plan: Path, timing: Path, level: int) -> list[str]:
    """Return what `trtexec` is told: types as in the file, batches of one to the record's."""
    channels, *window = record["window"]
    sides = "x".join(str(side) for side in (channels, *window))
    shapes = {"min": 1, "opt": record["batch"], "max": record["batch"]}
    return [
        f"--onnx={folder / ONNX_FILE}",
        f"--saveEngine={plan}",
        *(f"--{kind}Shapes=image:{batch}x{sides}" for kind, batch in shapes.items()),
        "--stronglyTyped",
        f"--timingCacheFile={timing}",
        f"--builderOptimizationLevel={level}",
        "--skipInference",
        *(["--versionCompatible"] if record["version_compatible"] else []),
    ]


def _run_builder(
    folder: Path, record: Mapping[str, Any], plan: Path, timing: Path, level: int, environment: Mapping[str, str]
) -> None:
    tool = shutil.which("trtexec", path=environment.get("PATH")) or TRTEXEC
    if not os.access(tool, os.X_OK):
        raise EngineRefused(
            "trtexec is neither on PATH nor in /usr/src/tensorrt/bin: build in nvcr.io/nvidia/tensorrt:<release>-py3 "
            "of the same release as the Triton image, which has the same TensorRT"
        )
    command = [tool, *trtexec_arguments(folder, record, plan, timing, level)]
    done = subprocess.run(command, check=False, env=dict(environment), stdout=sys.stderr)
    if done.returncode or not plan.is_file():
        raise EngineRefused(f"trtexec ended with {done.returncode}; its last lines say why")


def _read(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineRefused(f"{folder / RECORD_FILE} cannot be read: {error}") from error
    if record.get("target") != "tensorrt":
        raise EngineRefused(f"{folder} is an engine for {record.get('target')}, there is nothing to build")
    return record


def _fits(built: str, here: str, *, version_compatible: bool) -> bool:
    if not version_compatible:
        return _numbers(built) == _numbers(here)
    return _numbers(built)[0] == _numbers(here)[0] and _numbers(built) <= _numbers(here)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


BUILD_SCRIPT = "build_engine.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the engine of the folder that this file lies in."""
    parser = argparse.ArgumentParser(description="Build this machine's TensorRT engine of the network in this folder.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent, help="default: this script's")
    parser.add_argument("--level", type=int, choices=range(6), default=3, help="optimisation level (default 3)")
    options = parser.parse_args(arguments)
    try:
        before = displaced(options.folder)
        sys.stdout.write(f"{build(options.folder, level=options.level)}\n")
    except EngineRefused as refusal:
        sys.stderr.write(f"refused: {refusal}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"refused: {error.filename or options.folder}: {error.strerror}: build as the owner of {options.folder},"
            " for example docker run --user $(id -u):$(id -g)\n"
        )
        return 2
    if before is not None:
        sys.stderr.write(
            f"this repository served {before.gpu} with TensorRT {before.tensorrt} until now, and serves this machine's"
            " kind alone from here on: give each kind of GPU a repository of its own\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
