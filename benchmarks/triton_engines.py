"""Where the windows of a network should run on a processor: in its own process, or in a second model asked by BLS.

One real Triton serves the same network four times: in process (OpenVINO), by business logic scripting with the same
OpenVINO in a second model, one window and several at a time; and with a second model that computes nothing, which
leaves the price of the calls alone. The same volume goes through all of them, in turns; figures are medians of the
counted rounds.

    python benchmarks/triton_engines.py [--network npc_gtv] [--rounds 3]

Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.catalog import read_contract
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.volumes import Volume
from npc_networks.bench.measure import head_and_neck
from npc_networks.serving.config import config_pbtxt
from npc_networks.serving.engine_config import RECORD_FILE, EngineRecord, engine_config_pbtxt, record_text
from npc_networks.serving.pipeline import VolumeSegmenter

Float32Array = npt.NDArray[np.float32]
REPOSITORY = Path(__file__).parents[1] / "triton_repo"
SHAPE, SPACING_ZYX_MM = (120, 256, 256), (3.0, 1.5, 1.5)
BATCH = 4
SECOND_MODEL = """import numpy as np
import openvino as ov
import triton_python_backend_utils as pb_utils
from npc_networks.serving.dlpack import Lent
from npc_networks.serving.engines import bfloat16_pays, physical_cores


class TritonPythonModel:
    def initialize(self, args):
        network = ov.Core().read_model({weights!r})
        network.reshape([-1, {channels}, {window}])
        hints = {{"INFERENCE_PRECISION_HINT": "bf16" if {fastest} and bfloat16_pays() else "f32",
                 "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": physical_cores()}}
        self.compiled = ov.Core().compile_model(network, "CPU", hints)

    def execute(self, requests):
        return [self.answer(np.from_dlpack(pb_utils.get_input_tensor_by_name(r, "image"))) for r in requests]

    def answer(self, image):
        logits = {answer}
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("logits", Lent(logits))])
"""
COMPUTED = "self.compiled(image)[0]"
NOTHING = "np.zeros((len(image), {outputs}, {window}), dtype=np.float32)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="npc_gtv")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="npc-bench-") as folder:
        root = Path(folder)
        contracts = [
            copy_network(root / "repository", args.network, "direct"),
            copy_network(root / "repository", args.network, "called", batch=1, answer=COMPUTED),
            copy_network(root / "repository", args.network, "batched", batch=BATCH, answer=COMPUTED),
            copy_network(root / "repository", args.network, "empty", batch=1, answer=NOTHING),
        ]
        windows, seconds = measure(root, contracts, args.rounds)
    report(args.network, contracts[0], windows, seconds)


def copy_network(
    repository: Path, source: str, name: str, *, batch: int = 0, answer: str | None = None
) -> NetworkContract:
    """Write a network under another name, with a second model when there is an answer for it to give."""
    folder = repository / name
    shutil.copytree(REPOSITORY / source, folder)
    path = folder / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name}))
    contract = read_contract(path)
    (folder / "config.pbtxt").write_text(config_pbtxt(contract))
    if answer is None:
        return contract
    engine = folder.with_name(f"{name}_engine")
    (engine / "1").mkdir(parents=True)
    record = EngineRecord(
        contract_sha256=contract.contract_sha256,
        onnx_sha256=contract.weights_sha256,
        window=(len(contract.channels), *contract.patch_zyx),
        target="onnx",
        device="cpu",
        precision="f32",
        logits="TYPE_FP32",
        batch=batch,
    )
    (engine / RECORD_FILE).write_text(record_text(record))
    config = engine_config_pbtxt(contract, record).replace('backend: "onnxruntime"', 'backend: "python"')
    (engine / "config.pbtxt").write_text(config)
    facts = {
        "weights": str(folder / contract.weights_file),
        "channels": len(contract.channels),
        "window": ", ".join(map(str, contract.patch_zyx)),
        "outputs": contract.outputs,
        "fastest": contract.precision == "fastest",
    }
    text = SECOND_MODEL.format(**facts, answer=answer.format(**facts))
    (engine / "1" / "model.py").write_text(text)
    return contract


def measure(root: Path, contracts: list[NetworkContract], rounds: int) -> tuple[int, dict[str, list[float]]]:
    """Return the number of windows and each network's seconds in its network stage, as the server logs them."""
    volumes = [volume_of(hu) for hu in head_and_neck(SHAPE, len(contracts[0].channels))]
    log = root / "triton.log"
    with EmbeddedTriton(root / "repository", root / "work", log_file=log) as server:
        urls = server.urls
        with TritonEngine(urls.grpc, metrics_url=urls.metrics, timeout_s=300.0) as client:
            for _ in range(rounds + 1):
                for contract in contracts:
                    client.segment(contract, volumes)
    text = log.read_text(errors="replace")
    seconds = {
        contract.name: [float(found) for found in re.findall(rf"{contract.name}: \(.*network=([0-9.]+)s", text)][1:]
        for contract in contracts
    }
    return count_windows(contracts[0]), seconds


def count_windows(contract: NetworkContract) -> int:
    counts: list[int] = []
    volume = head_and_neck(SHAPE, len(contract.channels))
    VolumeSegmenter(contract, Zeros(contract)).segment(volume, SPACING_ZYX_MM, lambda _, total: counts.append(total))
    return counts[-1]


class Zeros:
    """Stands in for a network where only the windows are counted."""

    def __init__(self, contract: NetworkContract) -> None:
        self.answer = np.zeros((*contract.patch_zyx, contract.outputs), dtype=np.float32)

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the same answer for every window."""
        for _ in windows:
            yield self.answer


def volume_of(hu: npt.NDArray[np.int16]) -> Volume:
    grid = Grid(SHAPE, SPACING_ZYX_MM, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    corners = grid.to_patient_mm([(z, 0, 0) for z in range(SHAPE[0])])
    return Volume(hu, grid, tuple(f"1.2.3.{z}" for z in range(SHAPE[0])), corners)


def report(network: str, contract: NetworkContract, windows: int, seconds: dict[str, list[float]]) -> None:
    per_window = {name: 1000 * statistics.median(found) / windows for name, found in seconds.items()}
    z, y, x = contract.patch_zyx
    megabytes = 4 * z * y * x * (contract.outputs + len(contract.channels)) / 1e6
    table = Table("way", "ms a window", "of in process", title=f"{network}, {windows} windows", title_justify="left")
    words = {
        "direct": "in process",
        "called": "BLS, one window a call",
        "batched": f"BLS, {BATCH} windows a call",
        "empty": "BLS, nothing computed",
    }
    for name, value in per_window.items():
        table.add_row(words[name], f"{value:.1f}", f"{value / per_window['direct']:.2f}")
    Console().print(table)
    line = {
        "network": network,
        "windows": windows,
        "window_mb": round(megabytes, 2),
        "in_process_ms": round(per_window["direct"], 2),
        "bls_ms": round(per_window["called"], 2),
        "bls_batched_ms": round(per_window["batched"], 2),
        "bls_calls_alone_ms": round(per_window["empty"], 2),
        "bls_ratio": round(per_window["called"] / per_window["direct"], 3),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
