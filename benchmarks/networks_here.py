"""This product's side of `benchmarks/networks.py`: one network, one case, a process that imports what serving does.

    python benchmarks/networks_here.py JOB.json

Leaves labels.npy and result.json in the job's folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.catalog import read_contract
from npc_contour.core.argmax import AxisLookup, axis_lookup
from npc_networks.bench.measure import peak_rss_bytes
from npc_networks.serving.engines import Engine, OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
UInt8Array = npt.NDArray[np.uint8]


def main(job_path: Path) -> None:
    job = json.loads(job_path.read_text())
    folder = Path(job["folder"])
    contract = replace(read_contract(folder / "contract.json"), precision=job["precision"])
    engine = Noticing(OpenVinoEngine(contract, folder / contract.weights_file))
    segmenter = VolumeSegmenter(contract, engine)
    segmenter.warm_up()
    segmenter.segment(*read(job["warm_up"]))
    case = read(job["case"])
    found = segmenter.segment(*case)
    result: dict[str, Any] = {
        "seconds": segmenter.times.seconds,
        "peak_rss_mb": round(peak_rss_bytes() / 1e6, 1),
    }
    if job["count"]:
        engine.begin()
        maps = segmenter.class_maps(*case)
        result |= {"windows": engine.windows, "constant_windows": engine.constant}
        result["disagreeing"] = argmax_disagreeing(maps, found)
    np.save(Path(job["to"]) / "labels.npy", found)
    (Path(job["to"]) / "result.json").write_text(json.dumps(result))


def read(path: str) -> tuple[Int16Array, tuple[float, float, float]]:
    """Return one channel (1, z, y, x) of a case and its spacing."""
    image = SimpleITK.ReadImage(path)
    x, y, z = image.GetSpacing()
    return SimpleITK.GetArrayFromImage(image)[np.newaxis], (z, y, x)


class Noticing:
    """Passes windows on; once begun it counts them, and those of one value, whose answer could be kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counts = False
        self.windows = self.constant = 0

    def begin(self) -> None:
        """Count from now on."""
        self._counts = True

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the other engine's answers."""
        return self._engine.predict(map(self._seen, windows) if self._counts else windows)

    def _seen(self, window: Float32Array) -> Float32Array:
        self.windows += 1
        self.constant += int(np.ptp(window) == 0)
        return window


def argmax_disagreeing(class_maps: Float32Array, labels: UInt8Array) -> int:
    """Count voxels that differ from interpolating every class map everywhere.

    Args:
        class_maps: (class, z, y, x) on the network's grid; nothing was cropped.
        labels: (z, y, x) on the planning grid, found by the boundary argmax.
    """
    maps = np.moveaxis(class_maps, 0, -1)
    z, y, x = (axis_lookup(coarse, fine) for coarse, fine in zip(maps.shape[:3], labels.shape, strict=True))
    different = 0
    for index in range(len(labels)):
        below, above = z.lower[index], min(z.lower[index] + 1, z.coarse - 1)
        near, far = between(maps[below], y, 0), between(maps[above], y, 0)
        plane = near * (np.float32(1) - z.fraction[index]) + far * z.fraction[index]
        different += int(np.count_nonzero(between(plane, x, 1).argmax(axis=-1) != labels[index]))
    return different


def between(maps: Float32Array, lookup: AxisLookup, axis: int) -> Float32Array:
    above = np.minimum(lookup.lower + 1, lookup.coarse - 1)
    fraction = lookup.fraction.reshape([-1 if other == axis else 1 for other in range(maps.ndim)])
    return maps.take(lookup.lower, axis) * (np.float32(1) - fraction) + maps.take(above, axis) * fraction


if __name__ == "__main__":
    main(Path(sys.argv[1]))
