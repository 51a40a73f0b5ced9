"""TensorRT for RTX in the pipeline's own process: the engine that `npc-networks export --target tensorrt-rtx` wrote.

The engine is machine code for the kinds of GPU that its record names, made ahead of time on any machine; TensorRT's
runtime (a wheel, `pip install 'npc-autocontour[rtx]'`) compiles the rest for the card that is there, and keeps that in
a cache for the next start. Windows go to the card and logits come back through page-locked memory; CUDA graphs replay
what was captured for the full batch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.serving.config import IMAGE, LOGITS
from npc_networks.serving.gpu_engine import EngineRefused

Float32Array = npt.NDArray[np.float32]

FOLDER: Final = "tensorrt-rtx"
"""Inside the network's folder, where Triton looks for versions (numbers) and nothing else."""
ENGINE_FILE: Final = "network.engine"
RECORD_FILE: Final = "engine.json"
CACHE_FILE: Final = "tensorrt-rtx.cache"
WHEELS: Final = "pip install 'npc-autocontour[rtx]'"
GPUS: Final[dict[str, tuple[str, ...]]] = {
    "turing": ("7.5",),
    "ampere": ("8.0", "8.6"),
    "ada": ("8.9",),
    "blackwell": ("12.0",),
    "any": ("8.0", "8.6", "8.9", "12.0"),
}
"""Compute capabilities of the kinds of GPU that TensorRT for RTX builds for. Hopper (9.0) is none of them."""


class RtxRecord(BaseModel):
    """What `engine.json` says.

    Attributes:
        capabilities: compute capabilities that the engine runs on.
        tensorrt_rtx: version that built it; the runtime must be the same.
        window: (channel, z, y, x) of one window.
        batch: the most windows at a time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract_sha256: str
    engine_sha256: str
    capabilities: tuple[str, ...]
    tensorrt_rtx: str
    precision: Literal["f32", "fp16", "bf16"]
    window: tuple[int, int, int, int]
    classes: int
    batch: int = Field(ge=1, le=64)

    def text(self) -> str:
        """Return the text of `engine.json`."""
        return json.dumps(self.model_dump(), indent=2) + "\n"


def rtx_record(model_folder: Path, contract: NetworkContract) -> RtxRecord | None:
    """Return the record of a network's engine for TensorRT for RTX; None where it has none.

    Raises:
        CatalogError: the record cannot be read, or is of another contract.
    """
    path = model_folder / FOLDER / RECORD_FILE
    if not path.is_file():
        return None
    remedy = (
        f"export it again with `npc-networks export {contract.name} --target tensorrt-rtx`, or remove {path.parent}"
    )
    try:
        record = RtxRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}: {remedy}") from error
    if record.contract_sha256 != contract.contract_sha256:
        raise CatalogError(
            f"{path} is of contract {record.contract_sha256}, contract.json is {contract.contract_sha256}: {remedy}"
        )
    return record


def bindings() -> Any:  # noqa: ANN401 - the wheel has no types
    """Return TensorRT for RTX.

    Raises:
        EngineRefused: it is not installed.
    """
    try:
        # The bindings find its libraries once these were imported.
        import tensorrt_rtx_libs  # noqa: F401, I001, PLC0415 - not installed with the service
        import tensorrt_rtx_bindings  # noqa: PLC0415
    except (ImportError, OSError) as error:
        raise EngineRefused(f"TensorRT for RTX cannot be imported ({error}): {WHEELS}") from error
    return tensorrt_rtx_bindings


class RtxEngine:
    """A network on an NVIDIA GPU, in this process."""

    def __init__(self, folder: Path, record: RtxRecord, *, cache_dir: Path | None = None) -> None:
        """Load the engine onto the GPU.

        Args:
            folder: holds the engine and its record.
            record: what the engine is.
            cache_dir: where kernels compiled for this card are kept for the next start; None keeps none.

        Raises:
            EngineRefused: there is no GPU or driver, the engine is not for this card or this TensorRT, or its file is
                not the record's; the message says what helps.
        """
        content = (folder / ENGINE_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != record.engine_sha256:
            raise EngineRefused(f"{folder / ENGINE_FILE} is not the engine of {RECORD_FILE}: export it again")
        self._cuda = _cuda(folder, record)
        trt = bindings()
        if trt.__version__ != record.tensorrt_rtx:
            raise EngineRefused(
                f"{folder} was built by TensorRT for RTX {record.tensorrt_rtx}, {trt.__version__} is installed:"
                " export it again"
            )
        self._logger = trt.Logger(trt.Logger.WARNING)
        self._runtime = trt.Runtime(self._logger)
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise EngineRefused(
                f"{folder}: TensorRT for RTX does not load the engine (its own lines in the log say why):"
                " update the NVIDIA driver, or export again with --gpu for this card"
            )
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache_path = None if cache_dir is None else cache_dir / f"{record.engine_sha256[:16]}-{CACHE_FILE}"
        self._cache = config.create_runtime_cache()
        if self._cache_path is not None and self._cache_path.is_file():
            self._cache.deserialize(self._cache_path.read_bytes())
        config.set_runtime_cache(self._cache)
        self._engine, self._context = engine, engine.create_execution_context(config)
        self._batch, window = record.batch, record.window
        self._stream = self._cuda.cuda.Stream(non_blocking=True)
        self._given = _Buffer(self._cuda, (record.batch, *window))
        self._answer = _Buffer(self._cuda, (record.batch, *window[1:], record.classes))
        for name, buffer in ((IMAGE, self._given), (LOGITS, self._answer)):
            self._context.set_tensor_address(name, buffer.device.data.ptr)

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the logits (z, y, x, class) of each window, float32.

        Raises:
            RuntimeError: the GPU failed.
        """
        waiting = iter(windows)
        while several := list(itertools.islice(waiting, self._batch)):
            count = len(several)
            np.stack(several, out=self._given.host[:count])
            with self._stream:
                self._given.device[:count].set(self._given.host[:count])
                self._context.set_input_shape(IMAGE, (count, *self._given.host.shape[1:]))
                if not self._context.execute_async_v3(self._stream.ptr):
                    raise RuntimeError("TensorRT for RTX did not compute the window; its own lines in the log say why")
                self._answer.device[:count].get(out=self._answer.host[:count], stream=self._stream, blocking=False)
            self._stream.synchronize()
            yield from self._answer.host[:count].copy()
        self._keep_cache()

    def _keep_cache(self) -> None:
        """Write the cache once, after the first volume (or the warm-up) has compiled what it needs."""
        if self._cache_path is None or self._cache_path.is_file():
            return
        part = self._cache_path.with_suffix(".part")
        part.write_bytes(memoryview(self._cache.serialize()))
        part.replace(self._cache_path)


class _Buffer:
    """The same array on the GPU and, page-locked, in the processor's memory; float32."""

    def __init__(self, cuda: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401 - CuPy has no types
        self.device = cuda.empty(shape, dtype=np.float32)
        pinned = cuda.cuda.alloc_pinned_memory(self.device.nbytes)
        self.host: Float32Array = np.frombuffer(pinned, np.float32, self.device.size).reshape(shape)


def _cuda(folder: Path, record: RtxRecord) -> Any:  # noqa: ANN401 - CuPy has no types
    """Return CuPy, where the first GPU is one that the engine is for."""
    try:
        import cupy as cuda  # noqa: PLC0415 - not installed with the service
    except ImportError as error:
        raise EngineRefused(f"CuPy cannot be imported ({error}): {WHEELS}") from error
    try:
        found = cuda.cuda.Device(0).compute_capability
    except cuda.cuda.runtime.CUDARuntimeError as error:
        raise EngineRefused(
            f"{folder}: no NVIDIA GPU can be used ({error}): install or update the driver, or remove the folder to"
            " compute on the processor"
        ) from error
    refuse_card(f"{found[:-1]}.{found[-1]}", folder, record)
    return cuda


def refuse_card(capability: str, folder: Path, record: RtxRecord) -> None:
    """Refuse an engine that is not for a card.

    Args:
        capability: of the card, as "8.9".
        folder: of the engine.
        record: what the engine is for.

    Raises:
        EngineRefused: with the export that helps.
    """
    if capability in record.capabilities:
        return
    kinds = [name for name, capabilities in GPUS.items() if capability in capabilities and name != "any"]
    remedy = (
        f"export it again with --gpu {kinds[0]}"
        if kinds
        else "TensorRT for RTX builds for no such card (Hopper among others): use --target tensorrt in the container"
    )
    raise EngineRefused(
        f"{folder} is for compute capability {', '.join(record.capabilities)}, this GPU has {capability}: {remedy}"
    )
