"""TensorRT for RTX builds every network here, without a GPU, and says what is wrong where there is none to serve it.

Its runtime asks for a driver: an engine runs only where a GPU is at hand (`benchmarks/engines.py` does then).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from npc_contour.catalog import read_contract
from npc_contour.errors import CatalogError
from npc_networks.cli import main
from npc_networks.engines.rtx import build, write_rtx_engine
from npc_networks.engines.targets import ExportRefused
from npc_networks.engines.typed import typed_model
from npc_networks.serving.gpu_engine import EngineRefused
from npc_networks.serving.rtx_engine import FOLDER, GPUS, RtxEngine, refuse_card, rtx_record
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

pytest.importorskip("tensorrt_rtx_libs", reason="pip install 'npc-autocontour[rtx]' (x86_64 only)")
cupy = pytest.importorskip("cupy")

SHIPPED = Path(__file__).parents[3] / "triton_repo"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SHIPPED.glob("*/contract.json")))
def test_every_shipped_network_is_built_for_every_kind_of_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copytree(SHIPPED / name, tmp_path / name)

    assert main(["export", name, "--target", "tensorrt-rtx", "--batch", "2", "--repo", str(tmp_path)]) == 0

    assert "agreement with NVIDIA before medical use" in capsys.readouterr().out
    contract = read_contract(tmp_path / name / "contract.json")
    record = rtx_record(tmp_path / name, contract)
    assert record is not None
    assert record.capabilities == GPUS["any"]
    assert (tmp_path / name / FOLDER / "network.engine").stat().st_size > 1_000_000
    typed = typed_model(onnx.load(tmp_path / name / contract.weights_file), "fp16")
    for gpu in sorted(set(GPUS) - {"any"}):
        engine, _ = build(typed, name, (record.window, record.classes), GPUS[gpu], 2)
        assert len(engine) > 1_000_000


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_other_precisions_are_built_too(tmp_path: Path, precision: str) -> None:
    write_tiny_network(tmp_path, TinyNetwork())

    arguments = ["--target", "tensorrt-rtx", "--precision", precision, "--repo", str(tmp_path)]
    assert main(["export", "tiny", *arguments]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "tensorrt-rtx", "--gpu", "turing", "--precision", "bf16"], "Turing has no bfloat16"),
        (["--target", "tensorrt-rtx", "--device", "cpu"], "--device cpu and --version-compatible are no options"),
        (["--target", "onnx", "--gpu", "ada"], "--gpu is an option of --target tensorrt-rtx"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    write_tiny_network(tmp_path, TinyNetwork())

    assert main(["export", "tiny", *arguments, "--repo", str(tmp_path)]) == 2
    assert said in capsys.readouterr().out
    assert not (tmp_path / "tiny" / FOLDER).exists()


def test_a_parsed_network_that_is_not_the_contracts_is_refused(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())
    typed = typed_model(onnx.load(tmp_path / "tiny" / contract.weights_file), "fp16")
    window = (1, *contract.patch_zyx)

    with pytest.raises(ExportRefused, match="the contract says"):
        build(typed, "tiny", (window, contract.outputs + 1), GPUS["ada"], 1)
    with pytest.raises(ExportRefused, match="the contract says"):
        build(typed, "tiny", ((2, *contract.patch_zyx), contract.outputs), GPUS["ada"], 1)


def test_an_engine_of_another_contract_is_refused(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())
    write_rtx_engine(tmp_path, "tiny")

    with pytest.raises(CatalogError, match="export it again"):
        rtx_record(tmp_path / "tiny", replace(contract, contract_sha256="0" * 64))


def test_a_damaged_engine_is_refused(tmp_path: Path) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    written = write_rtx_engine(tmp_path, "tiny")
    engine = written.folder / "network.engine"
    engine.write_bytes(engine.read_bytes()[:-1])

    with pytest.raises(EngineRefused, match=r"is not the engine of engine\.json"):
        RtxEngine(written.folder, written.record)


def test_a_card_that_it_is_not_for_is_refused_with_the_export_that_helps(tmp_path: Path) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    record = write_rtx_engine(tmp_path, "tiny", gpu="ada").record

    refuse_card("8.9", tmp_path, record)
    with pytest.raises(EngineRefused, match=r"this GPU has 12\.0: export it again with --gpu blackwell"):
        refuse_card("12.0", tmp_path, record)
    with pytest.raises(EngineRefused, match=r"Hopper among others.*--target tensorrt in the container"):
        refuse_card("9.0", tmp_path, record)


def test_without_a_driver_it_is_refused_with_what_helps(tmp_path: Path) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    written = write_rtx_engine(tmp_path, "tiny")
    try:
        cupy.cuda.Device(0).compute_capability  # noqa: B018 - asks the driver
    except cupy.cuda.runtime.CUDARuntimeError:
        with pytest.raises(EngineRefused, match="install or update the driver, or remove the folder"):
            RtxEngine(written.folder, written.record)
    else:
        pytest.skip("there is a GPU")


def test_the_record_says_what_was_built(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())
    written = write_rtx_engine(tmp_path, "tiny")

    said = json.loads((written.folder / "engine.json").read_text())
    assert said["contract_sha256"] == contract.contract_sha256
    assert (said["batch"], said["window"], said["classes"]) == (1, [1, 16, 32, 32], 2)
