"""An engine's folder holds what its target needs, carries the contract, and is refused where it cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from npc_contour.catalog import read_contract
from npc_networks.cli import main
from npc_networks.engines.targets import Choice, ExportRefused, write_engine
from npc_networks.serving.engine_config import TARGETS, Target, engine_config_pbtxt, read_record
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

FILES = {
    "tensorrt": {"network.onnx", "build_engine.py", "engine.json", "config.pbtxt"},
    "onnx": {"1/model.onnx", "engine.json", "config.pbtxt"},
    "openvino": {"1/model.xml", "1/model.bin", "engine.json", "config.pbtxt"},
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("target", TARGETS)
def test_folder_holds_what_the_target_needs_and_nothing_of_another(tmp_path: Path, target: Target) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())
    for before in TARGETS:
        write_engine(tmp_path, "tiny", Choice(target=before))

    written = write_engine(tmp_path, "tiny", Choice(target=target))

    assert files(tmp_path / "tiny_engine") == FILES[target]
    record = read_record(written.folder / "engine.json")
    assert record.contract_sha256 == contract.contract_sha256
    assert record.window == (1, 16, 32, 32)
    assert (written.folder / "config.pbtxt").read_text() == engine_config_pbtxt(contract, record)


def test_engines_answer_as_the_network(tmp_path: Path) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    image = np.random.default_rng(0).normal(size=(1, 1, 16, 32, 32)).astype(np.float32)
    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    own = openvino.Core().compile_model(tmp_path / "tiny" / "1" / "network.onnx", "CPU", in_float32)(image)[0]

    write_engine(tmp_path, "tiny", Choice(target="onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "tiny_engine" / "1" / "model.onnx")
    np.testing.assert_allclose(session.run(None, {"image": image})[0], own, atol=1e-4)
    write_engine(tmp_path, "tiny", Choice(target="openvino"))
    compiled = openvino.Core().compile_model(tmp_path / "tiny_engine" / "1" / "model.xml", "CPU", in_float32)
    np.testing.assert_allclose(compiled(image)[0], own, atol=1e-4)


def test_tensorrt_gets_half_precision_and_a_script_of_its_own(tmp_path: Path) -> None:
    write_tiny_network(tmp_path, TinyNetwork())

    written = write_engine(tmp_path, "tiny", Choice(target="tensorrt", version_compatible=True))

    assert written.record.precision == "fp16"
    assert written.record.version_compatible
    model = onnx.load(written.folder / "network.onnx")
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    config = (written.folder / "config.pbtxt").read_text()
    assert 'platform: "tensorrt_plan"' in config
    assert "TYPE_FP16" in config
    # The script runs where this product is not installed.
    assert "npc_" not in (written.folder / "build_engine.py").read_text()


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (Choice(target="tensorrt", device="cpu"), "TensorRT runs on a GPU only"),
        (Choice(target="openvino", device="gpu"), "is for the processor"),
        (Choice(target="onnx", version_compatible=True), "of TensorRT's engines only"),
        (Choice(target="onnx", precision="fp16"), "slower than float32 on a processor"),
        (Choice(target="onnx", precision="bf16"), "no bfloat16 convolution"),
        (Choice(target="openvino", batch=2), "batches of one size: use --batch 1"),
        (Choice(target="onnx", batch=2), "takes batches of 1 only: use --batch 1"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(tmp_path: Path, choice: Choice, reason: str) -> None:
    write_tiny_network(tmp_path, TinyNetwork())

    with pytest.raises(ExportRefused, match=reason):
        write_engine(tmp_path, "tiny", choice)

    assert not (tmp_path / "tiny_engine").exists()


def test_openvino_backend_is_refused_where_float32_was_asked_for(tmp_path: Path) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    path = tmp_path / "tiny" / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": "f32"}))

    with pytest.raises(ExportRefused, match="accept it with --precision bf16"):
        write_engine(tmp_path, "tiny", Choice(target="openvino"))

    written = write_engine(tmp_path, "tiny", Choice(target="openvino", precision="bf16"))
    assert '"HINT_BF16", value: { string_value: "YES" }' in (written.folder / "config.pbtxt").read_text()
    assert written.record.contract_sha256 == read_contract(path).contract_sha256


def test_command_tells_how_to_build_and_ends_with_2_when_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    export = ["export", "tiny", "--repo", str(tmp_path), "--target"]

    assert main([*export, "tensorrt"]) == 0
    assert "python3 /models/tiny_engine/build_engine.py" in capsys.readouterr().out
    assert main([*export, "onnx", "--batch", "8"]) == 2
    assert "refused: " in capsys.readouterr().out
    assert main(["export", "none", "--repo", str(tmp_path), "--target", "onnx"]) == 2
    assert main(["export", "none", "--repo", str(tmp_path), "--checkpoint", "none.pt"]) == 2
