"""One engine in one precision, in a process of its own: peak memory is that of nothing else.

Called by `npc-networks bench` with one JSON argument; prints one JSON line.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from npc_contour.catalog import read_contract
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.serving.engines import Engine, OpenVinoEngine, bfloat16_pays, physical_cores, verify_weights
from npc_networks.serving.pipeline import VolumeSegmenter

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
Shape = tuple[int, int, int]

KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured.

    Attributes:
        folder: of the network in the model repository.
        engine: a key of ENGINES.
    """

    folder: str
    engine: str
    shape_zyx: Shape
    spacing_zyx_mm: Vec3
    repeats: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found.

    Attributes:
        load_s: reading, verifying and compiling the network.
        first_s: the first volume, kernels compiled beforehand.
        latency_s: a whole volume, median of the repeats after the first.
        windows_per_s: through the network alone, in that volume.
        stages_s: of that volume.
        peak_rss_mb: of the process, Python and libraries included.
    """

    engine: str
    load_s: float
    first_s: float
    latency_s: float
    windows: int
    windows_per_s: float
    stages_s: dict[str, float]
    peak_rss_mb: float


def available() -> dict[str, str]:
    """Return the engines of this machine and, for the others, why they are missing."""
    missing = {}
    if not bfloat16_pays():
        missing["openvino-bf16"] = "this processor is not faster in bfloat16"
    if importlib.util.find_spec("onnxruntime") is None:
        missing["onnxruntime-f32"] = "onnxruntime is not installed"
    return missing


def head_and_neck(shape_zyx: Shape, channels: int) -> Int16Array:
    """Return a volume (channel, z, y, x) with a noisy ellipse of tissue in air; what it shows does not change times."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(-1, 1, shape_zyx[1]), np.linspace(-1, 1, shape_zyx[2]), indexing="ij")
    body = (y / 0.6) ** 2 + (x / 0.5) ** 2 <= 1
    plane = np.where(body, 40.0, -1000.0)
    volume = plane + rng.normal(0, 15, (channels, shape_zyx[0], 1, shape_zyx[2]))
    return volume.astype(np.int16)


def measure(task: Task) -> Figures:
    """Load the engine, then time volumes."""
    folder = Path(task.folder)
    contract = read_contract(folder / "contract.json")
    started = time.perf_counter()
    segmenter = VolumeSegmenter(contract, ENGINES[task.engine](contract, folder / contract.weights_file))
    load_s = time.perf_counter() - started
    segmenter.warm_up()
    volume = head_and_neck(task.shape_zyx, len(contract.channels))
    counts: list[int] = []
    runs: list[tuple[float, dict[str, float]]] = []
    for _ in range(task.repeats + 1):
        started = time.perf_counter()
        segmenter.segment(volume, task.spacing_zyx_mm, lambda _, total: counts.append(total))
        runs.append((time.perf_counter() - started, dict(segmenter.times.seconds)))
    counted = runs[1:]
    middle = sorted(counted, key=lambda run: run[0])[len(counted) // 2]
    return Figures(
        engine=task.engine,
        load_s=round(load_s, 3),
        first_s=round(runs[0][0], 3),
        latency_s=round(statistics.median(run[0] for run in counted), 3),
        windows=counts[-1],
        windows_per_s=round(counts[-1] / middle[1]["network"], 3),
        stages_s={stage: round(seconds, 3) for stage, seconds in middle[1].items()},
        peak_rss_mb=round(peak_rss_bytes() / 1e6, 1),
    )


def peak_rss_bytes() -> int:
    """Return the most memory that this process had resident.

    Read from /proc: `getrusage` also remembers what the process was before it became this program.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * KIB


class OnnxRuntimeEngine:
    """The network in ONNX Runtime on the processor, for comparison; one window at a time."""

    def __init__(self, contract: NetworkContract, weights: Path) -> None:
        """Verify and load the weights.

        Raises:
            WeightsError: other weights than the contract's.
        """
        import onnxruntime  # noqa: PLC0415 - a package that only this engine needs

        verify_weights(weights, contract.weights_sha256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = physical_cores()
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the logits (z, y, x, class) of each window."""
        for window in windows:
            (logits,) = self._session.run(None, {"image": np.ascontiguousarray(window[np.newaxis])})
            yield np.ascontiguousarray(np.moveaxis(logits[0], 0, -1))


def _openvino_f32(contract: NetworkContract, weights: Path) -> Engine:
    return OpenVinoEngine(replace(contract, precision="f32"), weights)


def _openvino_bf16(contract: NetworkContract, weights: Path) -> Engine:
    return OpenVinoEngine(replace(contract, precision="fastest"), weights)


ENGINES: Final[dict[str, Callable[[NetworkContract, Path], Engine]]] = {
    "openvino-bf16": _openvino_bf16,
    "openvino-f32": _openvino_f32,
    "onnxruntime-f32": OnnxRuntimeEngine,
}


def main() -> None:
    """Measure what the argument says."""
    given = json.loads(sys.argv[1])
    z, y, x = given["shape_zyx"]
    az, ay, ax = given["spacing_zyx_mm"]
    task = Task(given["folder"], given["engine"], (z, y, x), (az, ay, ax), given["repeats"])
    sys.stdout.write(json.dumps(asdict(measure(task))) + "\n")


if __name__ == "__main__":
    main()
