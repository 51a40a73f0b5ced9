"""The inference engine of the service: one call to Triton per case and network."""

from __future__ import annotations

import logging
import math
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import psutil
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from npc_contour import tracing
from npc_contour.adapters.triton import regions
from npc_contour.adapters.triton.loopback import DIRECT
from npc_contour.adapters.triton.regions import Region, owner_pid
from npc_contour.core.alignment import resample_onto
from npc_contour.core.class_doubts import COLUMNS
from npc_contour.core.crossings import turned_back
from npc_contour.core.orientation import turn_of
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import NetworkContract, engine_name
from npc_contour.domain.volumes import LabelMap, Volume
from npc_contour.errors import (
    CaseRefused,
    InferenceError,
    NetworkAnswerError,
    NetworkMismatchError,
    NetworkNotLoadedError,
)

logger = logging.getLogger(__name__)

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]
Int16Array = npt.NDArray[np.int16]
Shapes = Mapping[str, tuple[int, ...]]
"""Of outputs, by name."""

CONTRACT_KEY = "contract_sha256"
ANSWER_TYPE = "UINT8"
VOLUME, SPACING, LABELS, CROSSINGS = "VOLUME", "SPACING_ZYX_MM", "LABELS", "CROSSINGS"
DOUBTS = "DOUBTS"
"""What the class maps say of each label; asked of servers that offer it, for those of an older version do not."""
EXACT_SPACING = "SPACING_ZYX_MM_FP64"
"""Beside SPACING, where the network takes it: in float32 a ratio of three, nnU-Net's bound, may lie above it."""
DONE_METRIC, TOTAL_METRIC = "npc_windows_done", "npc_windows_total"
PROBE_TIMEOUT_S = 5.0
RELEASE_TRIES = 40
RELEASE_PAUSE_S = 0.05
CHANNEL = [
    ("grpc.max_send_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.enable_http_proxy", 0),
]
"""Volumes of any size, and never through a proxy that the environment names."""
LOOPBACK = ("127.", "localhost", "[::1]")


class _NoSharedMemory(Exception):
    """There is none, or the server cannot see ours."""


class TritonEngine:
    """Asks one Triton server; safe to share between threads."""

    def __init__(
        self,
        url: str,
        *,
        metrics_url: str | None = None,
        timeout_s: float = 900.0,
        shared_memory: bool | None = None,
        crossings: bool = True,
        new_region: Callable[[int], Region] = Region,
    ) -> None:
        """Describe the server; nothing is sent yet.

        Args:
            url: host:port of its gRPC endpoint.
            metrics_url: of its Prometheus endpoint, for progress; None shows no progress.
            timeout_s: for one volume, waiting in the server's queue included.
            shared_memory: None uses it when the server is on this host; gRPC bytes when that fails.
            crossings: also ask where labels change between voxels, for contours from margins.
            new_region: makes shared memory of so many bytes.
        """
        self._url = url
        self._metrics_url = metrics_url
        self._timeout_s = timeout_s
        self._shared_memory = url.startswith(LOOPBACK) if shared_memory is None else shared_memory
        self._crossings = crossings
        self._new_region = new_region
        self._client = triton.InferenceServerClient(url, channel_args=CHANNEL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def segment(self, contract: NetworkContract, volumes: Sequence[Volume], grid: Grid | None = None) -> LabelMap:
        """Run a network.

        Args:
            contract: of the network to run.
            volumes: one per channel.
            grid: onto which they are brought; None is that of the first volume.

        Returns:
            The label map on that grid.

        Raises:
            CaseRefused: the volumes cannot be paired, or the network refuses them.
            InferenceError: the server cannot be reached, failed, or took too long.
        """
        if len(volumes) != len(contract.channels):
            raise CaseRefused(
                f"{contract.name} takes {len(contract.channels)} series ({', '.join(contract.channels)}), "
                f"got {len(volumes)}"
            )
        grid = grid or volumes[0].grid
        turn = turn_of(grid)
        channels = [turn.apply(resample_onto(volume, grid)) for volume in volumes]
        shape = channels[0].shape
        wanted = {LABELS: shape, CROSSINGS: (2, *shape)} if self._crossings else {LABELS: shape}
        with _translated(f"network {contract.name} at {self._url}"):
            answers, doubts = self._infer(contract.name, channels, turn.spacing_zyx_mm(grid.spacing_zyx_mm), wanted)
        labels = np.ascontiguousarray(turn.undo(answers[LABELS]))
        crossings = turned_back(answers[CROSSINGS], turn) if CROSSINGS in answers else None
        return LabelMap(labels, grid, contract.name, crossings, _of_labels(doubts, contract))

    def check(self, contract: NetworkContract) -> None:
        """Return when the server runs exactly the network of the contract.

        Raises:
            NetworkMismatchError: the network is not in the repository, or is another one.
            NetworkNotLoadedError: the network did not load, or the engine that computes for it did not.
            InferenceError: the server cannot be reached.
        """
        with _translated(f"Triton at {self._url}"):
            models = self._client.get_model_repository_index(client_timeout=PROBE_TIMEOUT_S, as_json=True)
        found = {model["name"]: model for model in models.get("models", [])}
        if contract.name not in found:
            raise NetworkMismatchError(
                f"Triton at {self._url} has no network {contract.name}, found {', '.join(sorted(found)) or 'none'}"
            )
        for name in (contract.name, engine_name(contract.name)):
            model = found.get(name)
            if model is not None and model.get("state") != "READY":
                reason = (str(model.get("reason", "")).strip() or "no reason given").splitlines()[0]
                what = "network" if name == contract.name else f"the engine of network {contract.name},"
                raise NetworkNotLoadedError(f"{what} {name} is not loaded at {self._url}: {reason}")
        with _translated(f"Triton at {self._url}"):
            config = self._client.get_model_config(contract.name, client_timeout=PROBE_TIMEOUT_S, as_json=True)
        answers = {output["name"] for output in config["config"].get("output", [])}
        if self._crossings and CROSSINGS not in answers:
            raise NetworkMismatchError(
                f"network {contract.name} at {self._url} does not answer with {CROSSINGS}: its config.pbtxt is of an "
                "older version, export or import the network again"
            )
        loaded = config["config"].get("parameters", {}).get(CONTRACT_KEY, {}).get("string_value", "none")
        if loaded != contract.contract_sha256:
            raise NetworkMismatchError(
                f"Triton at {self._url} runs {contract.name} with contract {loaded}, "
                f"expected {contract.contract_sha256} (version {contract.version})"
            )

    def progress(self, network: str) -> tuple[int, int] | None:
        """Return (windows done, windows in all) of the volume that the network works on, or worked on last.

        Returns:
            None when nothing is known: no metrics endpoint, or no volume yet.
        """
        if not self._metrics_url:
            return None
        try:
            with DIRECT.open(self._metrics_url, timeout=PROBE_TIMEOUT_S) as answer:
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, OSError):
            return None
        values = [_gauge(lines, metric, network) for metric in (DONE_METRIC, TOTAL_METRIC)]
        done, total = values
        return None if done is None or total is None else (done, total)

    def _infer(
        self, name: str, channels: list[Int16Array], spacing_zyx_mm: Sequence[float], wanted: Shapes
    ) -> tuple[dict[str, UInt8Array], Float64Array | None]:
        """Return the outputs wanted, and the doubts where this server says them."""
        offered = self._client.get_model_metadata(name, client_timeout=PROBE_TIMEOUT_S, as_json=True)
        spacings = _spacings(spacing_zyx_mm, exact=_has(offered, "inputs", EXACT_SPACING))
        beside = [triton.InferRequestedOutput(DOUBTS)] if _has(offered, "outputs", DOUBTS) else []
        if self._shared_memory:
            try:
                return self._infer_through_memory(name, channels, spacings, wanted, beside)
            except _NoSharedMemory as reason:
                # A server in another container answers on loopback too, but has a /dev/shm of its own.
                logger.warning("triton.no_shared_memory", extra={"reason": str(reason)})
        volume = triton.InferInput(VOLUME, (len(channels), *channels[0].shape), "INT16")
        volume.set_data_from_numpy(np.stack(channels))
        outputs = [triton.InferRequestedOutput(output) for output in wanted]
        answer = self._ask(name, [volume, *spacings], [*outputs, *beside])
        answers = {output: answer.as_numpy(output) for output in wanted}
        for output, array in answers.items():
            _check_type(name, output, "nothing" if array is None else str(array.dtype).upper())
        _check_shapes(name, {output: array.shape for output, array in answers.items()}, wanted)
        return answers, answer.as_numpy(DOUBTS) if beside else None

    def _infer_through_memory(
        self,
        name: str,
        channels: list[Int16Array],
        spacings: list[triton.InferInput],
        wanted: Shapes,
        beside: list[triton.InferRequestedOutput],
    ) -> tuple[dict[str, UInt8Array], Float64Array | None]:
        self._forget_the_dead()
        shape = (len(channels), *channels[0].shape)
        volume = triton.InferInput(VOLUME, shape, "INT16")
        with ExitStack() as stack:
            given = stack.enter_context(self._registered(math.prod(shape) * 2))
            taken = {
                output: stack.enter_context(self._registered(math.prod(dimensions)))
                for output, dimensions in wanted.items()
            }
            target = np.ndarray(shape, np.int16, given.memory)
            for index, channel in enumerate(channels):
                target[index] = channel
            del target
            volume.set_shared_memory(given.name, given.size)
            outputs = [triton.InferRequestedOutput(output) for output in wanted]
            for output, region in zip(outputs, taken.values(), strict=True):
                output.set_shared_memory(region.name, region.size)
            answer = self._ask(name, [volume, *spacings], [*outputs, *beside])
            for output in wanted:
                _check_type(name, output, str(answer.get_output(output).datatype))
            _check_shapes(name, {output: tuple(answer.get_output(output).shape) for output in wanted}, wanted)
            answers = {
                output: np.frombuffer(region.memory, np.uint8).reshape(wanted[output]).copy()
                for output, region in taken.items()
            }
            return answers, answer.as_numpy(DOUBTS) if beside else None

    def _ask(self, name: str, inputs: list[Any], outputs: list[triton.InferRequestedOutput]) -> triton.InferResult:
        # Triton's own spans hang under ours, where it makes any.
        parent = tracing.traceparent()
        headers = {tracing.HEADER: parent} if parent else None
        return self._client.infer(name, inputs, outputs=outputs, client_timeout=self._timeout_s, headers=headers)

    @contextmanager
    def _registered(self, size: int) -> Iterator[Region]:
        try:
            region = self._new_region(size)
        except OSError as error:
            raise _NoSharedMemory(str(error)) from error
        with region:
            try:
                self._client.register_system_shared_memory(
                    region.name, region.key, size, client_timeout=PROBE_TIMEOUT_S
                )
            except InferenceServerException as error:
                if _code(error) in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}:
                    raise
                raise _NoSharedMemory(error.message()) from error
            # The server has it mapped: from here on nothing can be left in /dev/shm.
            region.unlink()
            try:
                yield region
            finally:
                self._release(region.name)

    def _release(self, name: str) -> None:
        # Just after an answer, or while a request that ran out of time is still being computed, the server refuses.
        for attempt in range(RELEASE_TRIES):
            try:
                self._client.unregister_system_shared_memory(name, client_timeout=PROBE_TIMEOUT_S)
            except InferenceServerException as error:
                if _code(error) == "UNAVAILABLE":
                    return  # a server that is gone holds nothing
                if _code(error) == "DEADLINE_EXCEEDED":
                    break
                if attempt + 1 < RELEASE_TRIES:
                    time.sleep(RELEASE_PAUSE_S)
            else:
                return
        regions.kept.add(name)
        logger.warning("triton.region_kept", extra={"region": name})

    def _forget_the_dead(self) -> None:
        """Let the server unmap what clients that were killed, or calls that ran out of time, left registered."""
        status = self._client.get_system_shared_memory_status(client_timeout=PROBE_TIMEOUT_S, as_json=True)
        for name in status.get("regions", {}):
            owner = owner_pid(name)
            if name in regions.kept or (owner is not None and not psutil.pid_exists(owner)):
                try:
                    self._client.unregister_system_shared_memory(name, client_timeout=PROBE_TIMEOUT_S)
                except InferenceServerException as error:
                    logger.warning("triton.region_kept", extra={"region": name, "reason": str(error)})
                else:
                    regions.kept.discard(name)


def _spacings(spacing_zyx_mm: Sequence[float], *, exact: bool) -> list[triton.InferInput]:
    """Return the spacing as every network takes it, and in double precision where this one does."""
    spacings = []
    for key, kind in ((SPACING, "FP32"), (EXACT_SPACING, "FP64"))[: 2 if exact else 1]:
        spacings.append(triton.InferInput(key, [3], kind))
        spacings[-1].set_data_from_numpy(np.asarray(spacing_zyx_mm, triton_to_np_dtype(kind)))
    return spacings


def _has(metadata: Mapping[str, Any], side: str, name: str) -> bool:
    """Whether a model has an input, or an output, of that name."""
    return any(one["name"] == name for one in metadata.get(side, []))


def _of_labels(doubts: Float64Array | None, contract: NetworkContract) -> Float64Array | None:
    """Return the doubts of every label.

    Raises:
        NetworkAnswerError: they have another shape, or are no numbers.
    """
    expected = (len(contract.labels), COLUMNS)
    if doubts is None:
        return None
    if doubts.shape != expected or not np.isfinite(doubts).all():
        raise NetworkAnswerError(
            f"network {contract.name} answered {DOUBTS} with shape {doubts.shape}, expected {expected} and finite"
        )
    return np.asarray(doubts, dtype=np.float64)


def _check_shapes(name: str, answered: Shapes, wanted: Shapes) -> None:
    for output, expected in wanted.items():
        if answered[output] != expected:
            raise NetworkAnswerError(
                f"network {name} answered {output} with shape {answered[output]}, expected {expected}"
            )


def _check_type(name: str, output: str, found: str) -> None:
    if found != ANSWER_TYPE:
        raise NetworkAnswerError(f"network {name} answered {output} as {found}, expected {ANSWER_TYPE}")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate the foreign errors of one call, here and nowhere else."""
    try:
        yield
    except InferenceServerException as error:
        code = _code(error)
        if code == "INVALID_ARGUMENT":
            raise CaseRefused(f"{what}: {error.message()}") from error
        if code == "DEADLINE_EXCEEDED":
            raise InferenceError(f"{what}: no answer in time") from error
        raise InferenceError(f"{what}: {error.message()}") from error
    except OSError as error:
        raise InferenceError(f"{what}: {error}") from error


def _code(error: InferenceServerException) -> str:
    """Return the name of the gRPC status; empty when the error did not come from the wire."""
    return str(error.status() or "").removeprefix("StatusCode.")


def _gauge(lines: list[str], metric: str, network: str) -> int | None:
    for line in lines:
        if line.startswith(f'{metric}{{model="{network}"}}'):
            return int(float(line.rsplit(" ", 1)[1]))
    return None
