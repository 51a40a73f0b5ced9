"""The growing pool of training phantoms: rendered ahead by a process of its own, waited for only when missing."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npc_networks.networks import NetworkSpec
from npc_networks.patches import SampledCase, with_centres
from npc_networks.phantom_data import TRAINING_SEED, ScanCache, on_network_grid, training_scan

RENDERER_NICENESS = 10


class PhantomPool:
    """Training cases of one network by number: case n is the phantom of seed 1000 + n.

    Cases stay in memory on the network's grid (some megabytes each); a phantom not yet in the cache is
    rendered here, so that what a step sees never depends on who was faster.
    """

    def __init__(self, spec: NetworkSpec, cache: Path) -> None:
        self._spec = spec
        self._scans = ScanCache(cache, spec.kind, training_scan)
        self._cases: dict[int, SampledCase] = {}

    def __len__(self) -> int:
        return len(self._cases)

    def case(self, number: int) -> SampledCase:
        """Return a case; takes some seconds the first time."""
        if number not in self._cases:
            scan = self._scans.scan(TRAINING_SEED + number)
            self._cases[number] = with_centres(on_network_grid(scan, self._spec), on_parts=self._spec.centred_on_parts)
        return self._cases[number]


@contextmanager
def rendering_ahead(cache: Path, kind: str, cases: int) -> Iterator[None]:
    """Render the first `cases` training phantoms of a kind into the cache, in order, while the body runs."""
    # A fresh interpreter: torch's threads do not survive a fork.
    process = multiprocessing.get_context("spawn").Process(target=_render, args=(cache, kind, cases), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _render(cache: Path, kind: str, cases: int) -> None:
    os.nice(RENDERER_NICENESS)
    scans = ScanCache(cache, kind, training_scan)
    for number in range(cases):
        if not scans.has(TRAINING_SEED + number):
            scans.scan(TRAINING_SEED + number)
