"""The Triton of a running service in the shape of the port."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.app.runtime import Runtime
from npc_contour.app.shared import profile_of
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.profiles import ContourSource
from npc_contour.domain.volumes import LabelMap, Volume
from npc_contour.errors import InferenceError

LOOK_EVERY_S = 0.5


class ServiceEngine:
    """The Triton of a running service: where it listens is read from the runtime file, for it may be still starting."""

    def __init__(self, runtime: Runtime) -> None:
        """Ask the Triton of this service."""
        self._runtime = runtime
        self._engine: TritonEngine | None = None
        self._url = ""
        self._lock = threading.Lock()

    def segment(self, contract: NetworkContract, volumes: Sequence[Volume], grid: Grid) -> LabelMap:
        """Run a network, after a look at which network is loaded."""
        engine = self._started_engine()
        engine.check(contract)
        return engine.segment(contract, volumes, grid)

    def _started_engine(self) -> TritonEngine:
        """Return the client; waits while the embedded Triton is starting."""
        deadline = time.monotonic() + self._runtime.settings.triton.start_timeout_s
        while True:
            try:
                return self.engine()
            except InferenceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_EVERY_S)

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
                    crossings=profile_of(runtime.settings).contour_source is ContourSource.MARGINS,
                )
            return self._engine
