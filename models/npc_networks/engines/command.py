"""`npc-networks export NAME --target`: a network's engine for a GPU, or for a container on a processor."""

from __future__ import annotations

import argparse

from rich.console import Console

from npc_contour.errors import CatalogError
from npc_networks.engines.targets import Choice, Engine, ExportRefused, write_engine
from npc_networks.engines.typed import PRECISIONS, TypingRefused
from npc_networks.serving.engines import WeightsError
from npc_networks.serving.gpu_engine import BUILD_SCRIPT

MOST_WINDOWS = 64


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


def run(options: argparse.Namespace, console: Console) -> int:
    """Write the engine; returns 2 and says why when that is refused."""
    choice = Choice(
        target=options.target,
        precision=options.precision,
        batch=options.batch,
        device=options.device,
        version_compatible=options.version_compatible,
    )
    try:
        written = write_engine(options.repo, options.name, choice)
    except (CatalogError, WeightsError, TypingRefused, ExportRefused) as refusal:
        console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
        return 2
    for line in _lines(written, options.name):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _batch(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_WINDOWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of windows from 1 to {MOST_WINDOWS}")
    return int(text)


def _lines(written: Engine, name: str) -> list[str]:
    record = written.record
    lines = [
        f"{written.folder}: {record.target} on the {record.device}, {record.precision}, at most {record.batch} windows"
        " in a request",
        f"logits differ from the network's own by at most {written.parity:.1g} of the largest,"
        f" {written.agreement:.2%} of voxels have the same label (noise, on this processor)",
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
