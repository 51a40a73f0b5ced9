"""A typed network has the types it is said to have, keeps sums in float32, and computes what the network computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from npc_networks.engines.typed import Precision, TypingRefused, operators, typed_model
from npc_networks.export import exporter_quiet, onnx_bytes
from npc_networks.imports.uxnet import UXNet, UXPlan
from npc_networks.networks import NETWORKS
from npc_networks.unet import PlainConvUNet, isotropic_plan

SHIPPED = Path(__file__).parents[3] / "triton_repo"
PATCH = (16, 16, 24)
HALVES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    """A small U-Net with random weights, stored as float16 like those that are shipped."""
    plan = isotropic_plan(in_channels=2, classes=3, features=(8, 16, 16))
    return onnx.load_from_string(onnx_bytes(PlainConvUNet(plan).eval(), PATCH))


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_convolutions_are_half_and_normalisation_is_float32(network: onnx.ModelProto, precision: Precision) -> None:
    typed = typed_model(network, precision)

    types = types_of(typed)
    for node in typed.graph.node:
        found = {types[name] for name in (*node.input, *node.output) if name}
        if node.op_type in ("Conv", "ConvTranspose", "LeakyRelu", "Concat"):
            assert found == {HALVES[precision]}, node.name
        elif node.op_type == "InstanceNormalization":
            assert found == {TensorProto.FLOAT}, node.name
    assert types["image"] == TensorProto.FLOAT
    assert types["logits"] == (TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT)
    assert operators(typed) == operators(network)


def test_float32_only_resolves_the_stored_halves(network: onnx.ModelProto) -> None:
    typed = typed_model(network, "f32")

    assert "Cast" not in operators(typed)
    assert {tensor.data_type for tensor in typed.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}


@pytest.mark.parametrize(("precision", "limit"), [("f32", 1e-5), ("fp16", 1e-2)])
def test_onnx_runtime_accepts_the_types_and_answers_alike(
    network: onnx.ModelProto, precision: Precision, limit: float
) -> None:
    image = np.random.default_rng(1).normal(size=(2, 2, *PATCH)).astype(np.float32)

    own, typed = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"image": image}
        )[0]
        for model in (network, typed_model(network, precision))
    )

    assert np.abs(own - typed).max() <= limit * np.abs(own).max()


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SHIPPED.glob("*/contract.json")))
def test_shipped_networks_have_rules_for_every_operator(name: str) -> None:
    network = onnx.load(SHIPPED / name / "1" / "network.onnx")

    for precision in HALVES:
        assert typed_model(network, precision).graph.output[0].name == "logits"  # type: ignore[arg-type]
    assert name in NETWORKS


def test_bfloat16_is_near_the_network(network: onnx.ModelProto) -> None:
    image = np.random.default_rng(2).normal(size=(1, 2, *PATCH)).astype(np.float32)
    core = openvino.Core()

    own, typed = (
        core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
            image
        )[0]
        for model in (network, typed_model(network, "bf16"))
    )

    assert 0 < np.abs(own - typed).max() < 0.05 * np.abs(own).max()


@pytest.mark.parametrize("groups", [(8, 8, 8, 8), None], ids=["uxnet3d", "repuxnet"])
def test_networks_with_layer_normalisation_compute_it_in_float32(groups: tuple[int, int, int, int] | None) -> None:
    plan = UXPlan(in_channels=1, classes=3, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), kernel=3, hidden=8, groups=groups)
    torch.manual_seed(3)
    network = exported(UXNet(plan).eval(), (1, 32, 32, 32))
    image = np.random.default_rng(3).normal(size=(1, 1, 32, 32, 32)).astype(np.float32)

    typed = typed_model(network, "fp16")

    types = types_of(typed)
    (first, *_) = (node for node in typed.graph.node if node.op_type == "LayerNormalization")
    assert {types[name] for name in (*first.input, *first.output)} == {TensorProto.FLOAT}
    own, half = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"image": image}
        )[0]
        for model in (network, typed)
    )
    assert np.abs(own - half).max() <= 2e-2 * np.abs(own).max()


class Chosen(torch.nn.Module):
    """What exported attention masks are made of: a comparison that decides between two values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shifted = x * 3
        return torch.where(shifted == 3, shifted, -x)


def test_comparisons_decide_between_half_precision_values() -> None:
    network = exported(Chosen(), (1, 4, 4, 4))
    image = np.array([1.0, 1.0001], dtype=np.float32).repeat(32).reshape(1, 1, 4, 4, 4)

    typed = typed_model(network, "fp16")

    (compared,) = (node for node in typed.graph.node if node.op_type == "Equal")
    types = types_of(typed)
    assert {types[name] for name in compared.output} == {TensorProto.BOOL}
    (answer,) = onnxruntime.InferenceSession(typed.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"image": image}
    )
    assert answer.dtype == np.float16
    np.testing.assert_allclose(answer.ravel()[:32], 3)


def exported(network: torch.nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    with exporter_quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *shape),),
            dynamo=True,
            opset_version=20,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def single(op_type: str, weight: float = 1.0) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("image", "logits")]
    graph = helper.make_graph(
        [helper.make_node(op_type, ["image", "weight"], ["logits"])],
        "single",
        values[:1],
        values[1:],
        [numpy_helper.from_array(np.full(4, weight, dtype=np.float32), "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_operator_without_a_rule_is_refused() -> None:
    with pytest.raises(TypingRefused, match="operator Pow has no rule for fp16: export with --precision f32"):
        typed_model(single("Pow"), "fp16")


def test_weight_beyond_half_precision_is_refused() -> None:
    with pytest.raises(TypingRefused, match=r"weight weight reaches 1e\+05, beyond fp16: use bf16 or f32"):
        typed_model(single("Mul", weight=1e5), "fp16")

    assert typed_model(single("Mul", weight=1e5), "bf16").graph.output[0].name == "logits"
