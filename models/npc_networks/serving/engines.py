"""Engines: what turns normalised windows into logits."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.properties as props
import openvino.properties.hint as hints
from openvino.properties import streams

from npc_contour.domain.pipelines import NetworkContract

Float32Array = npt.NDArray[np.float32]

CONCURRENT = 2


class WeightsError(Exception):
    """The weights are not those of the contract."""


class Engine(Protocol):
    """Runs one network on a stream of windows."""

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the logits of each window, in order.

        Args:
            windows: each (channel, z, y, x) float32, normalised, of the contract's patch.

        Yields:
            (z, y, x, class) float32; valid until the next is asked for.
        """
        ...


def verify_weights(path: Path, expected_sha256: str) -> None:
    """Refuse weights other than the contract's.

    Raises:
        WeightsError: the file is missing or its hash differs.
    """
    if not path.is_file():
        raise WeightsError(f"weights {path} are missing")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected_sha256:
        raise WeightsError(f"weights {path} have SHA-256 {found}, the contract says {expected_sha256}")


def physical_cores() -> int:
    """Return how many physical cores this process may run on (hyper-threads do not speed a convolution)."""
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add(
                ((topology / "physical_package_id").read_text(), (topology / "core_id").read_text()),
            )
        except OSError:
            return len(allowed)
    return len(cores)


def bfloat16_pays() -> bool:
    """Whether the processor computes faster in bfloat16 than in float32.

    Matrix units (AMX) do, several times; so do AMD's AVX-512 instructions for it, twice. Intel's without AMX, and
    processors without either, are slower in bfloat16.
    """
    if platform.machine() != "x86_64":
        return False
    try:
        description = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in description or ("AuthenticAMD" in description and "avx512_bf16" in description)


class OpenVinoEngine:
    """The network in this process, on the processor."""

    def __init__(self, contract: NetworkContract, weights: Path, *, cache_dir: Path | None = None) -> None:
        """Verify, read and compile the weights.

        Args:
            contract: of the network.
            weights: ONNX file, input (1 or n, channel, z, y, x), output (same n, class, z, y, x).
            cache_dir: where compiled networks are kept for the next start; None keeps none.

        Raises:
            WeightsError: other weights than the contract's, or their channels or classes differ from it.
        """
        verify_weights(weights, contract.weights_sha256)
        core = ov.Core()
        if cache_dir is not None:
            core.set_property({props.cache_dir: str(cache_dir)})
        network = core.read_model(weights)
        shape = [1, len(contract.channels), *contract.patch_zyx]
        network.reshape(shape)
        produced = list(network.output(0).partial_shape.to_shape())
        expected = [1, contract.outputs, *contract.patch_zyx]
        if produced != expected:
            raise WeightsError(f"weights {weights} answer {shape} with {produced}, the contract says {expected}")
        # Classes last: a third faster than laid out anew as classes first, and blending several times faster.
        steps = ov.preprocess.PrePostProcessor(network)
        steps.output().model().set_layout(ov.Layout("NCDHW"))
        steps.output().tensor().set_layout(ov.Layout("NDHWC")).set_element_type(ov.Type.f32)
        options = {
            # Two windows at a time keep all cores busy where one alone waits between layers; more only cost memory.
            streams.num: streams.Num(min(CONCURRENT, physical_cores())),
            hints.inference_precision: ov.Type.bf16
            if contract.precision == "fastest" and bfloat16_pays()
            else ov.Type.f32,
            props.inference_num_threads: physical_cores(),
        }
        self._compiled = core.compile_model(steps.build(), "CPU", options)
        self._requests = [self._compiled.create_infer_request() for _ in range(CONCURRENT)]

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the logits of each window while the next one is being computed."""
        waiting: list[ov.InferRequest] = []
        for index, window in enumerate(windows):
            request = self._requests[index % CONCURRENT]
            request.set_input_tensor(ov.Tensor(np.ascontiguousarray(window[np.newaxis])))
            request.start_async()
            waiting.append(request)
            if len(waiting) == CONCURRENT:
                yield self._answer(waiting.pop(0))
        while waiting:
            yield self._answer(waiting.pop(0))

    @staticmethod
    def _answer(request: ov.InferRequest) -> Float32Array:
        request.wait()
        logits: Float32Array = request.get_output_tensor(0).data[0]
        return logits
