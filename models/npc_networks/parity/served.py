"""The same network behind a real Triton: an embedded one started for this, or one that is running."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tritonclient import grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.parity.original import ParityRefused
from npc_networks.serving.config import EXACT_SPACING, LABELS, SPACING, VOLUME

CHANNEL = [
    ("grpc.max_send_message_length", grpc.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", grpc.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.enable_http_proxy", 0),
]
"""Volumes of any size, and never through a proxy that the environment names."""
END_TIMEOUT_S = 30.0


@contextmanager
def embedded(model_folder: Path) -> Iterator[str]:
    """Start `npc-contour triton` with one network; yield host:port of its gRPC endpoint, stop it at the end.

    Raises:
        ParityRefused: the server did not start; its last words are quoted.
    """
    with tempfile.TemporaryDirectory(prefix="npc-parity-") as name:
        repository = Path(name) / "repository"
        shutil.copytree(model_folder, repository / model_folder.name)
        command = [sys.executable, "-m", "npc_contour", "triton", "--models", str(repository)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().strip() if server.stdout else ""
                if not url:
                    _, words = server.communicate(timeout=END_TIMEOUT_S)
                    raise ParityRefused(f"the embedded Triton did not start: {words.strip()[-500:]}")
                yield url
            finally:
                server.terminate()
                server.wait(timeout=END_TIMEOUT_S)


def ask(
    url: str, contract: NetworkContract, volume_hu: npt.NDArray[np.int16], spacing_zyx_mm: Vec3
) -> npt.NDArray[np.uint8]:
    """Return the labels that a running Triton gives.

    Args:
        url: host:port of its gRPC endpoint.
        contract: of the network that is asked.
        volume_hu: (channel, z, y, x).
        spacing_zyx_mm: of the volume.

    Raises:
        ParityRefused: the server is not there or has no such network.
    """
    volume = grpc.InferInput(VOLUME, list(volume_hu.shape), "INT16")
    volume.set_data_from_numpy(np.ascontiguousarray(volume_hu))
    given = [volume]
    for key, kind in ((SPACING, "FP32"), (EXACT_SPACING, "FP64")):
        given.append(grpc.InferInput(key, [3], kind))
        given[-1].set_data_from_numpy(np.array(spacing_zyx_mm, triton_to_np_dtype(kind)))
    with grpc.InferenceServerClient(url, channel_args=CHANNEL) as client:
        try:
            wanted = [grpc.InferRequestedOutput(LABELS)]
            known = {one["name"] for one in client.get_model_metadata(contract.name, as_json=True)["inputs"]}
            asked = [one for one in given if one.name() in known]
            answer = client.infer(contract.name, asked, outputs=wanted)
        except InferenceServerException as error:
            raise ParityRefused(f"Triton at {url}, network {contract.name}: {error.message()}") from error
    labels = answer.as_numpy(LABELS)
    if labels is None:
        raise ParityRefused(f"Triton at {url}, network {contract.name} answered without labels")
    return np.asarray(labels, dtype=np.uint8)
