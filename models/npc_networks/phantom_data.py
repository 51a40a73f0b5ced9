"""Training and evaluation cases: phantoms rendered as scans, kept in a cache folder, brought to a network's grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from npc_contour.core.intensity import body_box
from npc_contour.core.phantom import PhantomOptions, draw, render
from npc_contour.core.resampling import resample, resampled_shape
from npc_contour.domain.geometry import Vec3
from npc_networks.networks import CROP_ABOVE_HU, CROP_MARGIN_MM, NetworkSpec
from npc_networks.serving.preparation import IMAGE_ORDER

TRAINING_SEED = 1000
"""Training phantoms are seeds 1000, 1001, ...; the seeds below are for evaluation."""

TRAINING_PIXEL_MM = 1.6
TRAINING_SLICE_MM = 2.5

TARGETS = ("oar", "gtv", "ln")


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A rendered phantom within the box of its body.

    Attributes:
        hu: (2, z, y, x) int16, non-contrast and contrast on one grid.
        labels: (z, y, x) uint8 label map per target.
    """

    seed: int
    hu: npt.NDArray[np.int16]
    labels: Mapping[str, npt.NDArray[np.uint8]]
    spacing_zyx_mm: Vec3


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCase:
    """A scan on a network's grid.

    Attributes:
        hu: (2, z, y, x) int16.
        labels: (z, y, x) uint8 of the network's target.
    """

    seed: int
    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]


def full_scan(seed: int) -> Scan:
    """Render the phantom of a seed as it is scanned: own field of view, matrix and slice spacing."""
    return scan_of(seed, PhantomOptions())


def training_scan(seed: int) -> Scan:
    """Render the phantom of a seed no finer than networks look, which takes a fraction of the time."""
    scan = draw(seed).scan
    options = PhantomOptions(
        matrix=min(scan.matrix, round(scan.field_of_view_mm / TRAINING_PIXEL_MM)),
        slice_spacing_mm=max(scan.slice_spacing_mm, TRAINING_SLICE_MM),
    )
    return scan_of(seed, options)


def scan_of(seed: int, options: PhantomOptions) -> Scan:
    """Render the phantom of a seed with some things fixed."""
    patient = draw(seed, options)
    phantom = render(patient, patient.grid())
    labels = {"oar": phantom.oar_labels, "gtv": phantom.gtv_labels, "ln": phantom.ln_labels}
    return Scan(seed, np.stack((phantom.noncontrast_hu, phantom.contrast_hu)), labels, phantom.grid.spacing_zyx_mm)


def cropped(scan: Scan) -> Scan:
    """Return the scan within the box of its body, as networks crop when serving."""
    box = body_box(scan.hu, above_hu=CROP_ABOVE_HU, margin_mm=CROP_MARGIN_MM, spacing_zyx_mm=scan.spacing_zyx_mm)
    if box is None:
        raise ValueError(f"phantom {scan.seed} has no voxel above {CROP_ABOVE_HU} HU")
    labels = {name: np.ascontiguousarray(volume[box]) for name, volume in scan.labels.items()}
    return Scan(scan.seed, np.ascontiguousarray(scan.hu[(slice(None), *box)]), labels, scan.spacing_zyx_mm)


def on_network_grid(scan: Scan, spec: NetworkSpec) -> TrainingCase:
    """Resample a scan to the network's spacing, HU as when serving and labels by the nearest voxel."""
    shape = resampled_shape(scan.hu.shape[1:], scan.spacing_zyx_mm, spec.spacing_zyx_mm)
    hu = np.stack([np.rint(resample(phase, shape, order=IMAGE_ORDER)).astype(np.int16) for phase in scan.hu])
    labels = scan.labels[spec.target]
    nearest = [_nearest(n_in, n_out) for n_in, n_out in zip(labels.shape, shape, strict=True)]
    return TrainingCase(scan.seed, hu, np.ascontiguousarray(labels[np.ix_(*nearest)]))


class ScanCache:
    """Rendered phantoms on disk, one file a seed."""

    def __init__(self, folder: Path, render: Callable[[int], Scan]) -> None:
        self._folder = folder
        self._render = render
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, seed: int) -> bool:
        """Whether the phantom is already rendered."""
        return self._path(seed).exists()

    def scan(self, seed: int) -> Scan:
        """Return a phantom, rendered and kept when it is new."""
        path = self._path(seed)
        if not path.exists():
            self._keep(cropped(self._render(seed)), path)
        with np.load(path) as kept:
            z, y, x = (float(value) for value in kept["spacing_zyx_mm"])
            return Scan(seed, kept["hu"], {target: kept[target] for target in TARGETS}, (z, y, x))

    def _path(self, seed: int) -> Path:
        return self._folder / f"phantom_{seed:05d}.npz"

    @staticmethod
    def _keep(scan: Scan, path: Path) -> None:
        # Written under a name of this process: a trainer and the renderer ahead of it may make the same one.
        part = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
        np.savez(
            part,
            hu=scan.hu,
            spacing_zyx_mm=scan.spacing_zyx_mm,
            oar=scan.labels["oar"],
            gtv=scan.labels["gtv"],
            ln=scan.labels["ln"],
        )
        part.replace(path)


def _nearest(source: int, target: int) -> npt.NDArray[np.int64]:
    """Indices of the source sample nearest to each target sample, pixel centres aligned."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    return np.clip(np.rint(position), 0, source - 1).astype(np.int64)
