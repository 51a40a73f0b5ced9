"""The model that a network's windows go to: what its folder says of it, and its config.pbtxt.

`<network>_engine/engine.json` is the record: target, precision, batch, the contract it was made for, and for a
TensorRT engine the machine that it was built on. `config.pbtxt` is made from that and the contract.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.serving.config import CONTRACT_KEY, IMAGE, LOGITS

RECORD_FILE: Final = "engine.json"
SLOT: Final = "window_slot"
"""Rate limiter's resource: one per device, taken by every engine, so that one engine at a time runs on a GPU."""

Target = Literal["tensorrt", "onnx", "openvino"]
TARGETS: Final[tuple[Target, ...]] = ("tensorrt", "onnx", "openvino")
Device = Literal["gpu", "cpu"]

_BACKENDS: Final = {
    "tensorrt": 'platform: "tensorrt_plan"',
    "onnx": 'backend: "onnxruntime"',
    "openvino": 'backend: "openvino"',
}


class BuiltOn(BaseModel):
    """The machine of a TensorRT engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str


class EngineRecord(BaseModel):
    """What `engine.json` says.

    Attributes:
        window: (channel, z, y, x) of one window.
        logits: Triton's type of the answer.
        batch: the most windows in one request.
        version_compatible: a TensorRT engine that later releases of the same major version run too.
        built_on: None until a TensorRT engine is built; always None for other targets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract_sha256: str
    onnx_sha256: str
    window: tuple[int, int, int, int]
    target: Target
    device: Device
    precision: Literal["f32", "fp16", "bf16"]
    logits: Literal["TYPE_FP32", "TYPE_FP16"]
    batch: int = Field(ge=1, le=64)
    version_compatible: bool = False
    built_on: BuiltOn | None = None


def read_record(path: Path) -> EngineRecord:
    """Read an engine's record.

    Raises:
        CatalogError: the file is absent or a key is wrong.
    """
    try:
        return EngineRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}: make the engine anew with `npc-networks export --target`") from error


def record_text(record: EngineRecord) -> str:
    """Return the text of `engine.json`."""
    return json.dumps(record.model_dump(), indent=2) + "\n"


def engine_config_pbtxt(contract: NetworkContract, record: EngineRecord) -> str:
    """Return the text of `<network>_engine/config.pbtxt`.

    One window is run when the model is loaded, so that the first case does not wait for kernels; and the rate limiter
    (`tritonserver --rate-limit=execution_count`) lets one engine at a time run on each device.
    """
    z, y, x = contract.patch_zyx
    # OpenVINO's backend refuses batches smaller than the largest: it gets windows one by one, batch written out.
    batched = record.target != "openvino"
    lead = "" if batched else "1, "
    window = f"[ {lead}{len(contract.channels)}, {z}, {y}, {x} ]"
    answer = f"[ {lead}{contract.outputs}, {z}, {y}, {x} ]"
    group = (
        f"{{ kind: KIND_{record.device.upper()}, count: 1,"
        f' rate_limiter: {{ resources: [ {{ name: "{SLOT}", count: 1 }} ] }} }}'
    )
    parameters = {CONTRACT_KEY: contract.contract_sha256, **_backend_parameters(record)}
    lines = [
        "# Made from contract.json and engine.json by `npc-networks export --target`.",
        f'name: "{contract.name}_engine"',
        _BACKENDS[record.target],
        f"max_batch_size: {record.batch if batched else 0}",
        f'input [ {{ name: "{IMAGE}", data_type: TYPE_FP32, dims: {window} }} ]',
        f'output [ {{ name: "{LOGITS}", data_type: {record.logits}, dims: {answer} }} ]',
        f"instance_group [ {group} ]",
        f'model_warmup [ {{ name: "one window", batch_size: 1, inputs {{ key: "{IMAGE}", value: '
        f"{{ data_type: TYPE_FP32, dims: {window}, zero_data: true }} }} }} ]",
        *(f'parameters: {{ key: "{key}", value: {{ string_value: "{value}" }} }}' for key, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"


def _backend_parameters(record: EngineRecord) -> dict[str, str]:
    if record.target != "openvino":
        return {}
    # One window at a time on all cores.
    hints = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    return hints | ({"HINT_BF16": "YES"} if record.precision == "bf16" else {})
