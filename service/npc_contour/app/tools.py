"""Adapters in the shape of the ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from npc_contour.adapters.dicom.gate import check_rtstruct
from npc_contour.adapters.dicom.planning_header import read_planning_header
from npc_contour.adapters.dicom.reader import read_volume
from npc_contour.adapters.dicom.rtstruct import encode_rtstruct, sop_instance_uid
from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.app.runtime import Runtime
from npc_contour.application.ports import EncodedStructureSet
from npc_contour.core.labels import RoiMask
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.domain.structures import StructureSet
from npc_contour.domain.volumes import LabelMap, Volume
from npc_contour.errors import CaseRefused, InferenceError, InstanceRefused


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


class FileReader:
    """Reads series whose files `open_path` finds by key."""

    def __init__(self, open_path: Callable[[str], Path]) -> None:
        """Find files with this."""
        self._open_path = open_path

    def read(self, series: Series) -> Volume:
        """Return the series as one volume in HU."""
        return read_volume(series, self._open_path)


class RtstructWriter:
    """Encodes RTSTRUCTs and lets none pass that does not say what it must."""

    def __init__(self, open_path: Callable[[str], Path]) -> None:
        """Find the files of planning images with this."""
        self._open_path = open_path

    def write(
        self,
        structure_set: StructureSet,
        masks: Sequence[RoiMask],
        volume: Volume,
        reference: InstanceHeader,
        made_at: datetime,
    ) -> EncodedStructureSet:
        """Encode a structure set and check what was encoded."""
        try:
            header = read_planning_header(self._open_path(reference.key))
        except InstanceRefused as error:
            raise CaseRefused(str(error)) from error
        data = encode_rtstruct(structure_set, volume, header, made_at=made_at)
        report = check_rtstruct(data, masks, volume, header)
        return EncodedStructureSet(sop_instance_uid(structure_set), data, report.min_dice)


class ServiceEngine:
    """The Triton of a running service: where it listens is read from the runtime file, for it may be still starting."""

    def __init__(self, runtime: Runtime) -> None:
        """Ask the Triton of this service."""
        self._runtime = runtime
        self._engine: TritonEngine | None = None
        self._url = ""
        self._lock = threading.Lock()

    def segment(self, contract: NetworkContract, volumes: Sequence[Volume]) -> LabelMap:
        """Run a network, after a look at which network is loaded."""
        engine = self.engine()
        engine.check(contract)
        return engine.segment(contract, volumes)

    def engine(self) -> TritonEngine:
        """Return the client.

        Raises:
            InferenceError: the embedded Triton is not up yet.
        """
        with self._lock:
            if not self._runtime.triton_url:
                self._runtime = Runtime.read(self._runtime.path)
            runtime = self._runtime
            if not runtime.triton_url:
                raise InferenceError("the embedded Triton is still starting")
            if self._engine is None or self._url != runtime.triton_url:
                self._url = runtime.triton_url
                self._engine = TritonEngine(
                    runtime.triton_url,
                    metrics_url=runtime.triton_metrics_url or None,
                    timeout_s=runtime.settings.triton.timeout_s,
                )
            return self._engine
