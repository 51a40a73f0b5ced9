"""TensorRT for RTX, really built: every network that is shipped, and the shapes that a clinic would bring.

Both of SegRap2023's plans (from `shared/data` beside this repository, where it is there), MONAI's SwinUNETR, 3D UX-Net
and RepUX-Net get random weights. Each is written as typed fp16 ONNX, parsed, compared with what it must take and
answer, and built for every kind of GPU, ahead of time: neither a GPU nor a driver is needed for that. Where a GPU is at
hand, the engine for it runs, its logits are compared with OpenVINO's on this processor, and a window is timed.

    python benchmarks/engines.py [--only NAME ...]

Ends with one JSON line; `gpu` is null where nothing ran on one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from npc_contour.catalog import read_contract
from npc_networks.cli import main as npc_networks
from npc_networks.engines.rtx import build
from npc_networks.engines.typed import typed_model
from npc_networks.export import exporter_quiet
from npc_networks.imports.safe_files import read_pickle
from npc_networks.imports.uxnet import UXNet, UXPlan
from npc_networks.serving.gpu_engine import EngineRefused
from npc_networks.serving.rtx_engine import GPUS, RtxEngine, RtxRecord

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY, DATA = ROOT / "triton_repo", ROOT.parent / "shared" / "data"
SEGRAP = {"oar": "npc_oar", "gtv": "npc_gtv"}
WINDOW, CLASSES = (1, 64, 64, 64), 7
ROUNDS = 20


@dataclass(frozen=True)
class Candidate:
    """A network to build: ONNX in float32, (channel, z, y, x) of its window, and its classes."""

    name: str
    model: onnx.ModelProto
    window: tuple[int, int, int, int]
    classes: int


@dataclass(frozen=True)
class Row:
    """What came of one network for one kind of GPU."""

    name: str
    gpu: str
    seconds: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks (default: all)")
    args = parser.parse_args()
    rows, ran = [], []
    with tempfile.TemporaryDirectory(prefix="npc-engines-") as folder:
        for candidate in candidates(Path(folder), args.only):
            typed = typed_model(candidate.model, "fp16")
            for gpu, capabilities in GPUS.items():
                begun = time.perf_counter()
                engine, version = build(typed, candidate.name, (candidate.window, candidate.classes), capabilities, 1)
                rows.append(Row(candidate.name, gpu, time.perf_counter() - begun, len(engine) / 1e6))
                if gpu == "any":
                    result = run(candidate, engine, version, Path(folder))
                    ran += [] if result is None else [result]
            print(f"{candidate.name}: built for {', '.join(GPUS)}", file=sys.stderr)
    print_table(rows)
    print(json.dumps(summary(rows, ran)))


def candidates(folder: Path, only: list[str] | None) -> Iterator[Candidate]:
    """Yield the networks one by one: each is made when its turn comes."""
    makers: dict[str, Callable[[], Candidate | None]] = {
        path.parent.name: lambda path=path: read(path) for path in sorted(REPOSITORY.glob("*/contract.json"))
    }
    makers |= {f"segrap_{kind}": lambda kind=kind: segrap(kind, folder) for kind in SEGRAP}
    makers |= {"swinunetr": swin_unetr, "uxnet3d": lambda: uxnet("uxnet3d"), "repuxnet": lambda: uxnet("repuxnet")}
    if unknown := set(only or ()) - set(makers):
        raise SystemExit(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(makers)}")
    for name, make in makers.items():
        if only is None or name in only:
            made = make()
            if made is not None:
                yield made


def read(contract_path: Path) -> Candidate:
    """A network of a model repository."""
    contract = read_contract(contract_path)
    model = onnx.load(contract_path.parent / contract.weights_file)
    return Candidate(contract.name, model, (len(contract.channels), *contract.patch_zyx), contract.outputs)


def segrap(kind: str, folder: Path) -> Candidate | None:
    """SegRap2023's plans with random weights, imported as a user does; None where the plans are not at hand."""
    sys.path.insert(0, str(ROOT / "tests"))
    from npc_testkit.nnunet_v1 import random_network, write_checkpoint  # noqa: PLC0415 (of the tests)

    path = DATA / f"segrap_{kind}_nnunetv1_plans.pkl"
    if not path.is_file():
        print(f"left out segrap_{kind}: {path} is not there", file=sys.stderr)
        return None
    plans: dict[str, Any] = read_pickle(path)
    trained = folder / kind
    trained.mkdir()
    (trained / "plans.pkl").write_bytes(pickle.dumps(plans))
    write_checkpoint(trained / "all", random_network(plans).state_dict())
    bring = ["--pipeline", "npc_oar_gtv", "--network", SEGRAP[kind], "--name", f"segrap_{kind}", "--repo", str(folder)]
    if npc_networks(["import", "nnunet-v1", str(trained), *bring]):
        raise SystemExit(f"segrap_{kind} was not imported")
    return read(folder / f"segrap_{kind}" / "contract.json")


def swin_unetr() -> Candidate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.networks.nets.swin_unetr import SwinUNETR  # noqa: PLC0415 (slow to import)

        network = SwinUNETR(in_channels=WINDOW[0], out_channels=CLASSES, feature_size=48)
    return exported("swinunetr", network)


def uxnet(name: str) -> Candidate:
    """The published sizes: 3D UX-Net with kernels of 7, RepUX-Net with kernels of 21."""
    widths, blocks = (48, 96, 192, 384), (2, 2, 2, 2)
    kernel, groups = (7, widths) if name == "uxnet3d" else (21, None)
    plan = UXPlan(
        in_channels=WINDOW[0], classes=CLASSES, widths=widths, blocks=blocks, kernel=kernel, hidden=768, groups=groups
    )
    return exported(name, UXNet(plan))


def exported(name: str, network: nn.Module) -> Candidate:
    """A network with random weights as ONNX, batch of any size."""
    torch.manual_seed(0)
    with exporter_quiet():
        program = torch.onnx.export(
            network.eval(),
            (torch.zeros(2, *WINDOW),),
            dynamo=True,
            opset_version=20,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
            verbose=False,
        )
    if program is None:
        raise SystemExit(f"{name} was not exported")
    return Candidate(name, program.model_proto, WINDOW, CLASSES)


def run(candidate: Candidate, engine: bytes, version: str, folder: Path) -> dict[str, Any] | None:
    """Run an engine on the first GPU: parity with OpenVINO and time; None where none can be used."""
    place = folder / "engine"
    place.mkdir(exist_ok=True)
    (place / "network.engine").write_bytes(engine)
    record = RtxRecord(
        contract_sha256="",
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        capabilities=GPUS["any"],
        tensorrt_rtx=version,
        precision="fp16",
        window=candidate.window,
        classes=candidate.classes,
        batch=1,
    )
    try:
        loaded = RtxEngine(place, record)
    except EngineRefused as refusal:
        print(f"not run: {refusal}", file=sys.stderr)
        return None
    window = np.random.default_rng(0).standard_normal(candidate.window, dtype=np.float32)
    (answer,) = loaded.predict([window])
    core = openvino.Core()
    network = core.read_model(candidate.model.SerializeToString())
    network.reshape([1, *candidate.window])
    own = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(window[np.newaxis])[0][0]
    own = np.moveaxis(own, 0, -1)
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        list(loaded.predict([window]))
        seconds.append(time.perf_counter() - begun)
    return {
        "network": candidate.name,
        "window_ms": round(1000 * statistics.median(seconds), 2),
        "parity": float(np.abs(answer - own).max() / np.abs(own).max()),
        "agreement": float(np.mean(answer.argmax(-1) == own.argmax(-1))),
    }


def print_table(rows: list[Row]) -> None:
    table = Table(title="TensorRT for RTX, fp16, built on this processor")
    for column in ("network", *(f"{gpu}, s" for gpu in GPUS), "any, MB"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in dict.fromkeys(row.name for row in rows):
        own = {row.gpu: row for row in rows if row.name == name}
        table.add_row(name, *(f"{own[gpu].seconds:.2f}" for gpu in GPUS), f"{own['any'].megabytes:.1f}")
    Console().print(table)


def summary(rows: list[Row], ran: list[dict[str, Any]]) -> dict[str, Any]:
    """The line. Every network in `rows` was compared with what it must take and answer: otherwise nothing is built."""
    return {
        "networks_built": len({row.name for row in rows}),
        "targets": list(GPUS),
        "build_s_max": round(max(row.seconds for row in rows), 2),
        "tensors_as_contract": len({row.name for row in rows}),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        "gpu": ran or None,
    }


if __name__ == "__main__":
    main()
