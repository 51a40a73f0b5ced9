"""Strongly typed ONNX: every tensor's precision is written into the graph, none is left to the engine.

TensorRT takes the types of the file as they are and has no switch for half precision any more. Convolutions compute in
float16 or bfloat16; instance normalisation keeps float32, since the variance of a large window overflows float16's
range and loses digits in bfloat16. Types of a file are proved by ONNX's own strict type inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper, version_converter

Precision = Literal["f32", "fp16", "bf16"]
PRECISIONS: Final[tuple[Precision, ...]] = ("f32", "fp16", "bf16")

_TYPES: Final = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_NUMPY: Final = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
BF16_OPSET: Final = 22
"""The first in which convolutions may be bfloat16."""
LOGITS_TYPES: Final = {"f32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.FLOAT}
"""Logits leave in half precision where that keeps their digits; they are blended in float32 whatever they were."""

KEPT_IN_FLOAT32: Final = frozenset({"InstanceNormalization", "LayerNormalization", "Softmax", "LogSoftmax"})
"""Sums over many values, which half precision cannot hold."""
COMPARES: Final = frozenset({"Equal", "Greater", "Less", "Not"})
"""Operators whose output is true or false; what they compare keeps its digits."""
FOLLOWS_ITS_INPUTS: Final = frozenset(
    {
        "Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Div", "Dropout", "Erf", "Expand", "Gather",
        "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Mul",
        "Neg", "PRelu", "Pad", "Relu", "Reshape", "ScatterND", "Sigmoid", "Slice", "Split", "Squeeze", "Sub",
        "Tanh", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""Operators whose output has the type of their floating inputs."""


class TypingRefused(ValueError):
    """The network cannot be written in this precision; the message says why."""


def typed_model(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return a copy of a float32 network whose convolutions compute in another precision.

    Args:
        model: one float32 input and output, batch of any size; weights float32, or float16 with a cast to float32.
        precision: "f32" only resolves the casts of stored weights.

    Returns:
        Input float32 always; output as `LOGITS_TYPES` says. Weights that do not fit float16 are refused.

    Raises:
        TypingRefused: an operator without a rule, a weight beyond float16's range, or types that do not fit.
    """
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    if precision == "bf16" and model.opset_import[0].version < BF16_OPSET:
        typed = version_converter.convert_version(typed, BF16_OPSET)
    _resolve_stored_casts(typed.graph)
    _constants_to_weights(typed.graph)
    if precision != "f32":
        _Typing(typed.graph, precision).run()
    del typed.graph.value_info[:]
    try:
        onnx.checker.check_model(typed, full_check=True)
        return onnx.shape_inference.infer_shapes(typed, strict_mode=True, check_type=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TypingRefused(f"the network's types do not fit together in {precision}: {error}") from error


def operators(model: onnx.ModelProto) -> frozenset[str]:
    """Return the kinds of operator in a network."""
    return frozenset(node.op_type for node in model.graph.node)


def _resolve_stored_casts(graph: onnx.GraphProto) -> None:
    """Replace weights that are stored as float16 and cast to float32 by float32 weights, in place."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[NodeProto] = []
    resolved: set[str] = set()
    for node in graph.node:
        stored = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if stored is None or helper.get_node_attr_value(node, "to") != TensorProto.FLOAT:
            kept.append(node)
            continue
        full = numpy_helper.to_array(stored).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(full, node.output[0]))
        resolved.add(stored.name)
    _replace_nodes(graph, kept)
    used = {name for node in kept for name in node.input}
    _drop_weights(graph, resolved - used)


def _constants_to_weights(graph: onnx.GraphProto) -> None:
    kept: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            kept.append(node)
    _replace_nodes(graph, kept)


def _replace_nodes(graph: onnx.GraphProto, nodes: Sequence[NodeProto]) -> None:
    copies = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _drop_weights(graph: onnx.GraphProto, names: set[str]) -> None:
    kept = [tensor for tensor in graph.initializer if tensor.name not in names]
    copies = []
    for tensor in kept:
        copy = TensorProto()
        copy.CopyFrom(tensor)
        copies.append(copy)
    del graph.initializer[:]
    graph.initializer.extend(copies)


class _Typing:
    """One pass over a graph whose nodes are in order, casting where the precision changes."""

    def __init__(self, graph: onnx.GraphProto, precision: Precision) -> None:
        self._graph = graph
        self._precision = precision
        self._half = _TYPES[precision]
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        # For each floating tensor of the old graph, its names in the new one by type.
        self._names: dict[str, dict[int, str]] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        graph = self._graph
        for value in graph.input:
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                self._names[value.name] = {TensorProto.FLOAT: value.name}
        self._weights_by_name()
        for node in graph.node:
            self._type(_copy(node))
        for value in graph.output:
            wanted = LOGITS_TYPES[self._precision]
            self._rename_output(value.name, wanted)
            value.type.tensor_type.elem_type = wanted
        _replace_nodes(graph, self._nodes)
        used = {name for node in self._nodes for name in node.input}
        _drop_weights(graph, {tensor.name for tensor in graph.initializer} - used)

    def _weights_by_name(self) -> None:
        for tensor in self._weights.values():
            if tensor.data_type == TensorProto.FLOAT:
                self._names[tensor.name] = {TensorProto.FLOAT: tensor.name}
            elif tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE):
                raise TypingRefused(f"weight {tensor.name} is stored in a type of its own and not cast to float32")

    def _type(self, node: NodeProto) -> None:
        if node.op_type in KEPT_IN_FLOAT32 | COMPARES:
            wanted = TensorProto.FLOAT
        elif node.op_type in FOLLOWS_ITS_INPUTS:
            wanted = self._half
        else:
            raise TypingRefused(
                f"operator {node.op_type} has no rule for {self._precision}: export with --precision f32"
            )
        for index, name in enumerate(node.input):
            if name in self._names:
                node.input[index] = self._as(name, wanted)
        floating = any(name in self._names or name.endswith(_SUFFIXES) for name in node.input)
        for name in node.output:
            if floating and node.op_type not in COMPARES:
                self._names[name] = {wanted: name}
        self._nodes.append(node)

    def _as(self, name: str, wanted: int) -> str:
        """Return the name of a tensor in a type, with a cast before its first use in that type."""
        names = self._names[name]
        if wanted not in names:
            made = f"{name}{_SUFFIX[wanted]}"
            if name in self._weights:
                self._graph.initializer.append(self._weight_as(name, made))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [made], name=f"{made}.cast", to=wanted))
            names[wanted] = made
        return names[wanted]

    def _weight_as(self, name: str, made: str) -> TensorProto:
        values = numpy_helper.to_array(self._weights[name])
        if self._precision == "fp16" and np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
            raise TypingRefused(f"weight {name} reaches {np.abs(values).max():.3g}, beyond fp16: use bf16 or f32")
        return numpy_helper.from_array(values.astype(_NUMPY[self._precision]), made)

    def _rename_output(self, name: str, wanted: int) -> None:
        """Let the graph's output keep its name whatever type it is computed in."""
        (computed,) = self._names[name]
        if computed == wanted:
            return
        inner = f"{name}{_SUFFIX[computed]}"
        for node in self._nodes:
            for names in (node.input, node.output):
                for index, found in enumerate(names):
                    if found == name:
                        names[index] = inner
        self._nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}.cast", to=wanted))


_SUFFIX: Final[Mapping[int, str]] = {
    TensorProto.FLOAT: ".f32",
    TensorProto.FLOAT16: ".fp16",
    TensorProto.BFLOAT16: ".bf16",
}
_SUFFIXES: Final = tuple(_SUFFIX.values())
