"""What a person looks at before contours are used: the images, plane by plane, and over them the points that were sent.

An axial plane of a CT needs one file, so the first one is there at once; coronal and sagittal planes need the volume,
which is read when the first of them is asked for, in the background, once for everybody, and which gives way to whoever
waits for an axial plane. MR values are scaled over a whole series, so that its axial planes need the volume, too.
Nothing here names a patient.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from time import monotonic, sleep
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from npc_contour.application.artefacts import RTSTRUCT, Artefacts
from npc_contour.application.ports import Spool
from npc_contour.core.overlay import Overlay, overlay_on
from npc_contour.core.stacking import Stack, stack
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.domain.structures import ReadStructureSet
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused
from npc_contour.store.database import Store

VOLUMES_KEPT = 2
STACKS_KEPT = 16
PATIENCE_S = 2.0
MOMENT_S = 0.15

Plane = npt.NDArray[np.int16]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Axis(StrEnum):
    """Across which axis of the stack a plane lies."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One series of a case, in order.

    Attributes:
        roles: the roles of the case that have images, the planning role first.
        structure_set: whether an RTSTRUCT of the case exists.
        heads_up: whether higher slices lie nearer to the head.
    """

    case: CaseRecord
    role: str
    roles: tuple[str, ...]
    stack: Stack
    structure_set: bool

    @property
    def heads_up(self) -> bool:
        """Whether slices ascend towards the head."""
        return self.stack.grid.direction_lps[0][2] >= 0


@dataclass(frozen=True, slots=True)
class ImageReaders:
    """Functions that read images and structure sets.

    Attributes:
        plane: one image as (rows, columns) HU.
        volume: a whole series; calls what it is given before it reads a slice.
        structure_set: the bytes of an RTSTRUCT.
    """

    plane: Callable[[InstanceHeader], Plane]
    volume: Callable[[Series, Callable[[], None]], Volume]
    structure_set: Callable[[bytes], ReadStructureSet]


class Review:
    """Answers for one process; keeps the last few volumes in memory, shared by everybody who looks."""

    def __init__(self, store: Store, spool: Spool, image_readers: ImageReaders) -> None:
        """Show the cases of this store, read with these readers."""
        self._store = store
        self._spool = spool
        self._readers = image_readers
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="review")
        self._scans: _Recent[tuple[str, str], Scan] = _Recent(STACKS_KEPT)
        self._volumes: _Recent[tuple[str, str], Future[Volume]] = _Recent(VOLUMES_KEPT)
        self._overlays: _Recent[tuple[str, str], Overlay] = _Recent(STACKS_KEPT)
        self._first = _Precedence()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def scan(self, case_id: str, role: str = "") -> Scan | None:
        """Return a series of a case.

        Args:
            case_id: of the case.
            role: which of its series; "" is the planning series.

        Returns:
            None when there is no such case, or no images for the role.

        Raises:
            CaseRefused: the images form no regular stack.
            StoreError: the database does not answer.
        """
        known = self._scans.get((case_id, role))
        if known is None or not known.structure_set:
            with self._first:
                known = self._find(case_id, role)
            if known is None:
                return None
            self._scans.put((case_id, role), known)
        return known

    def plane(self, scan: Scan, axis: Axis, index: int) -> Plane:
        """Return one plane as (rows, columns) int16 HU; coronal and sagittal ones have the head at the top.

        Raises:
            IndexError: there is no such plane.
            CaseRefused: an image cannot be read.
        """
        depth = scan.stack.grid.shape_zyx[list(Axis).index(axis)]
        if not 0 <= index < depth:
            raise IndexError(f"{axis} plane {index}: there are {depth}, counted from 0")
        if axis is Axis.AXIAL:
            volume = self._volumes.get((scan.case.case_id, scan.role))
            if volume is not None and volume.done() and volume.exception() is None:
                read: Plane = volume.result().hu[index]
                return read
            if scan.stack.instances[index].modality == "CT":
                with self._first:
                    return self._readers.plane(scan.stack.instances[index])
        hu = self._volume(scan).result().hu
        if axis is Axis.AXIAL:
            return np.ascontiguousarray(hu[index])
        across = hu[:, index, :] if axis is Axis.CORONAL else hu[:, :, index]
        return np.ascontiguousarray(across[::-1] if scan.heads_up else across)

    def overlay(self, scan: Scan) -> Overlay | None:
        """Return what was written, on the grid of a series; None while nothing is written.

        Raises:
            StoreError: the file is gone.
            InstanceRefused: the file is no RTSTRUCT any more.
        """
        key = (scan.case.case_id, scan.role)
        known = self._overlays.get(key)
        artefacts = Artefacts(self._store, self._spool, scan.case.case_id)
        if known is None and artefacts.has(RTSTRUCT):
            content = self._readers.structure_set(artefacts.read(RTSTRUCT))
            known = overlay_on(content, scan.stack.grid)
            self._overlays.put(key, known)
        return known

    def _find(self, case_id: str, role: str) -> Scan | None:
        with self._store.transaction() as tx:
            case = tx.case(case_id)
            if case is None:
                return None
            given = case.inputs.get(role or case.planning_role)
            if given is None:
                return None
            headers = tx.headers(given.series_instance_uid)
        wanted = frozenset(given.sop_instance_uids)
        images = tuple(header for header in headers if header.sop_instance_uid in wanted)
        if not images:
            raise CaseRefused(f"the images of case {case_id} are no longer kept")
        roles = sorted(case.inputs, key=lambda name: name != case.planning_role)
        written = Artefacts(self._store, self._spool, case_id).has(RTSTRUCT)
        return Scan(case, role or case.planning_role, tuple(roles), stack(Series(images)), written)

    def _volume(self, scan: Scan) -> Future[Volume]:
        key = (scan.case.case_id, scan.role)
        series = Series(scan.stack.instances)
        return self._volumes.get_or_put(
            key, lambda: self._pool.submit(self._readers.volume, series, self._first.give_way)
        )


class _Precedence:
    """Lets whoever waits for a first image go before the reading of volumes, which stops while a block of it runs.

    An opening is several requests in a row (its page, then its first plane): reading waits `MOMENT_S` more after each.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._until_s = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            self._until_s = monotonic() + MOMENT_S

    def give_way(self) -> None:
        """Return when nobody has precedence, at the latest after `PATIENCE_S`."""
        give_up_s = monotonic() + PATIENCE_S
        while (now_s := monotonic()) < give_up_s and (self._inside or now_s < self._until_s):
            sleep(MOMENT_S / 10)


class _Recent(Generic[Key, Value]):
    """The last few values by key; safe to share between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def get_or_put(self, key: Key, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
            return self._values[key]
