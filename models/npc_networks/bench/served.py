"""A network behind a running Triton, whatever engine that has: what a client waits for, by gRPC."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.serving.config import CONTRACT_KEY, LABELS, SPACING, VOLUME

MEBIBYTES_256 = 256 * 2**20
TIMEOUT_S = 3600.0


class ServerRefused(Exception):
    """The server cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class ServedFigures:
    """Seconds of whole volumes, the transfer of volume and labels as gRPC bytes included.

    Attributes:
        engine: "triton", and what the server is.
    """

    engine: str
    first_s: float
    latency_s: float


def measure_served(
    url: str, contract: NetworkContract, volume_hu: npt.NDArray[np.int16], spacing_zyx_mm: Vec3, repeats: int
) -> ServedFigures:
    """Send the volume once and then `repeats` times more, one after another.

    Args:
        url: host:port of the server's gRPC.
        contract: of the network, which the server must carry too.
        volume_hu: (channel, z, y, x).
        spacing_zyx_mm: of the volume.
        repeats: how many are counted.

    Raises:
        ServerRefused: no answer, no such network, or another contract.
    """
    limit = max(MEBIBYTES_256, 2 * volume_hu.nbytes)
    options = [("grpc.max_send_message_length", limit), ("grpc.max_receive_message_length", limit)]
    options.append(("grpc.enable_http_proxy", 0))
    try:
        with grpc.InferenceServerClient(url, channel_args=options) as client:
            found = client.get_model_config(contract.name, as_json=True)["config"].get("parameters", {})
            if found.get(CONTRACT_KEY, {}).get("string_value") != contract.contract_sha256:
                raise ServerRefused(f"{url} runs {contract.name} with another contract than the repository's")
            version = client.get_server_metadata(as_json=True)["version"]
            seconds = [_once(client, contract, volume_hu, spacing_zyx_mm) for _ in range(repeats + 1)]
    except InferenceServerException as error:
        raise ServerRefused(f"{url}: {error.message()}") from error
    return ServedFigures(f"triton {version}", round(seconds[0], 3), round(statistics.median(seconds[1:]), 3))


def _once(
    client: grpc.InferenceServerClient,
    contract: NetworkContract,
    volume_hu: npt.NDArray[np.int16],
    spacing_zyx_mm: Vec3,
) -> float:
    inputs = [
        grpc.InferInput(VOLUME, list(volume_hu.shape), "INT16"),
        grpc.InferInput(SPACING, [3], "FP32"),
    ]
    inputs[0].set_data_from_numpy(volume_hu)
    inputs[1].set_data_from_numpy(np.array(spacing_zyx_mm, dtype=np.float32))
    started = time.perf_counter()
    client.infer(contract.name, inputs, outputs=[grpc.InferRequestedOutput(LABELS)], client_timeout=TIMEOUT_S)
    return time.perf_counter() - started
