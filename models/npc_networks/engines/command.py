"""`npc-networks export NAME --target`: a network's engine for a GPU, or for a container on a processor."""

from __future__ import annotations

import argparse

from rich.console import Console

from npc_contour.errors import CatalogError
from npc_networks.engines.rtx import write_rtx_engine
from npc_networks.engines.targets import Choice, Engine, ExportRefused, write_engine
from npc_networks.engines.typed import PRECISIONS, TypingRefused
from npc_networks.serving.engines import WeightsError
from npc_networks.serving.gpu_engine import BUILD_SCRIPT, EngineRefused
from npc_networks.serving.rtx_engine import GPUS, WHEELS

MOST_WINDOWS = 64
RTX_TARGET = "tensorrt-rtx"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `export --target`."""
    engine = command.add_argument_group("engine (--target)")
    engine.add_argument("--precision", choices=PRECISIONS, help="default: fp16 on a GPU, f32 on a processor")
    engine.add_argument("--batch", type=_batch, default=1, metavar="N", help="most windows in one request (default 1)")
    engine.add_argument("--device", choices=["gpu", "cpu"], help="default: gpu for tensorrt, cpu for the others")
    engine.add_argument(
        "--version-compatible",
        action="store_true",
        help="TensorRT engine that later releases of the same major version run too",
    )

    engine.add_argument(
        "--gpu", choices=list(GPUS), help=f"kind of GPU for {RTX_TARGET} (default any: all of them but Turing)"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Write the engine; returns 2 and says why when that is refused."""
    try:
        lines = _rtx(options) if options.target == RTX_TARGET else _for_triton(options)
    except (CatalogError, WeightsError, TypingRefused, ExportRefused, EngineRefused) as refusal:
        console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
        return 2
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _for_triton(options: argparse.Namespace) -> list[str]:
    if options.gpu is not None:
        raise ExportRefused(f"--gpu is an option of --target {RTX_TARGET}: other engines are built where they run")
    choice = Choice(
        target=options.target,
        precision=options.precision,
        batch=options.batch,
        device=options.device,
        version_compatible=options.version_compatible,
    )
    return _lines(write_engine(options.repo, options.name, choice), options.name)


def _rtx(options: argparse.Namespace) -> list[str]:
    if options.device == "cpu" or options.version_compatible:
        raise ExportRefused(f"--device cpu and --version-compatible are no options of --target {RTX_TARGET}")
    written = write_rtx_engine(
        options.repo,
        options.name,
        gpu=options.gpu or "any",
        precision=options.precision or "fp16",
        batch=options.batch,
    )
    record = written.record
    return [
        f"{written.folder}: TensorRT for RTX {record.tensorrt_rtx}, compute capability"
        f" {', '.join(record.capabilities)}, {record.precision}, at most {record.batch} windows at a time,"
        f" {written.size_bytes / 1e6:.1f} MB",
        _difference(written.parity, written.agreement),
        f"where it is served: {WHEELS}, an NVIDIA driver for CUDA 13; NVIDIA's licence of TensorRT for RTX asks for an"
        " agreement with NVIDIA before medical use",
        f"without the folder {written.folder.name} the network runs on the processor again",
    ]


def _batch(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_WINDOWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of windows from 1 to {MOST_WINDOWS}")
    return int(text)


def _difference(parity: float, agreement: float) -> str:
    return (
        f"logits differ from the network's own by at most {parity:.1g} of the largest,"
        f" {agreement:.2%} of voxels have the same label (noise, on this processor)"
    )


def _lines(written: Engine, name: str) -> list[str]:
    record = written.record
    lines = [
        f"{written.folder}: {record.target} on the {record.device}, {record.precision}, at most {record.batch} windows"
        " in a request",
        _difference(written.parity, written.agreement),
    ]
    if record.target == "tensorrt":
        compatible = " --backend-config=tensorrt,version-compatible=true" if record.version_compatible else ""
        lines += [
            "build the engine on the machine that will serve it, inside the Triton image that will serve it:",
            f"  docker run --rm --gpus all -v {written.folder.parent.resolve()}:/models"
            f" nvcr.io/nvidia/tritonserver:RELEASE-py3 python3 /models/{name}_engine/{BUILD_SCRIPT}",
            f"then start tritonserver with --rate-limit=execution_count{compatible}",
        ]
    else:
        lines.append("start tritonserver with --rate-limit=execution_count")
    lines.append(f"without the folder {written.folder.name} the network runs in its own process again")
    return lines
