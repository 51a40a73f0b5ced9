"""Training and evaluation cases: phantoms rendered as scans, kept in a cache folder, brought to a network's grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from npc_contour.core.intensity import body_box
from npc_contour.core.resampling import resample, resampled_shape
from npc_contour.domain.geometry import Vec3
from npc_networks.networks import CROP_ABOVE_HU, CROP_MARGIN_MM, NetworkSpec
from npc_networks.serving.preparation import IMAGE_ORDER
from npc_phantom import PhantomOptions, draw, render
from npc_phantom.chest_patient import ChestOptions, draw_chest, render_chest
from npc_phantom.mr import SEQUENCES, MrOptions, draw_mr, render_mr
from npc_phantom.scan import Scan as ScannerSettings

TRAINING_SEED = 1000
"""Training phantoms are seeds 1000, 1001, ...; the seeds below are for evaluation."""

TRAINING_PIXEL_MM = {"npc": 1.6, "han": 2.0, "chest": 2.0}
TRAINING_SLICE_MM = 2.5
TRAINING_CHEST_MM = 2.0

TRAINING_MR_PIXEL_MM = 1.3

TARGETS = {"npc": ("oar", "gtv", "ln"), "han": ("han",), "chest": ("nodes",), "mr": ("gtvp",)}
"""The label maps of each kind of phantom."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A rendered phantom.

    Attributes:
        kind: of the phantom, a key of `KIND_CHANNELS`.
        images: (channels, z, y, x) int16, the channels of the kind on one grid.
        labels: (z, y, x) uint8 label map per target.
    """

    seed: int
    images: npt.NDArray[np.int16]
    labels: Mapping[str, npt.NDArray[np.uint8]]
    spacing_zyx_mm: Vec3
    kind: str = "npc"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCase:
    """A scan on a network's grid.

    Attributes:
        images: (channels, z, y, x) int16.
        labels: (z, y, x) uint8 of the network's target.
        mean_std: of each channel as a whole.
    """

    seed: int
    images: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    mean_std: tuple[tuple[float, float], ...] = ()


def full_scan(kind: str, seed: int) -> Scan:
    """Render the phantom of a seed as it is scanned: own field of view, matrix and slice spacing."""
    if kind == "chest":
        return chest_scan(seed, ChestOptions())
    if kind == "mr":
        return mr_scan(seed, MrOptions())
    return scan_of(seed, PhantomOptions(bottom_z_mm=_han_bottom(seed) if kind == "han" else None), kind=kind)


def training_scan(kind: str, seed: int) -> Scan:
    """Render the phantom of a seed no finer than networks look, which takes a fraction of the time."""
    if kind == "mr":
        grid = draw_mr(seed)[1].grid
        finest = round(grid.spacing_zyx_mm[2] * grid.shape_zyx[2] / TRAINING_MR_PIXEL_MM)
        return mr_scan(seed, MrOptions(matrix=min(grid.shape_zyx[2], finest)))
    if kind == "chest":
        scan = draw_chest(seed).scan
        return chest_scan(
            seed,
            ChestOptions(matrix=_no_finer(scan, kind), slice_spacing_mm=max(scan.slice_spacing_mm, TRAINING_CHEST_MM)),
        )
    scan = draw(seed).scan
    options = PhantomOptions(
        matrix=_no_finer(scan, kind),
        slice_spacing_mm=max(scan.slice_spacing_mm, TRAINING_SLICE_MM),
        bottom_z_mm=_han_bottom(seed) if kind == "han" else None,
    )
    return scan_of(seed, options, kind=kind)


def scan_of(seed: int, options: PhantomOptions, *, kind: str = "npc") -> Scan:
    """Render the head and neck of a seed with some things fixed; `kind` is "npc" or "han"."""
    patient = draw(seed, options)
    phantom = render(patient, patient.grid())
    labels = (
        {"han": phantom.han_labels}
        if kind == "han"
        else {"oar": phantom.oar_labels, "gtv": phantom.gtv_labels, "ln": phantom.ln_labels}
    )
    images = np.stack((phantom.noncontrast_hu, phantom.contrast_hu))
    return Scan(seed, images, labels, phantom.grid.spacing_zyx_mm, kind)


def chest_scan(seed: int, options: ChestOptions) -> Scan:
    """Render the chest of a seed with some things fixed."""
    patient = draw_chest(seed, options)
    phantom = render_chest(patient, patient.grid())
    nodes = (phantom.node_labels > 0).astype(np.uint8)
    return Scan(seed, phantom.contrast_hu[np.newaxis], {"nodes": nodes}, phantom.grid.spacing_zyx_mm, "chest")


def mr_scan(seed: int, options: MrOptions) -> Scan:
    """Render the MR examination of a seed with some things fixed."""
    phantom = render_mr(*draw_mr(seed, options))
    images = np.stack([phantom.images[name] for name in SEQUENCES])
    tumour = (phantom.gtv_labels == 1).astype(np.uint8)
    return Scan(seed, images, {"gtvp": tumour}, phantom.grid.spacing_zyx_mm, "mr")


def _no_finer(scan: ScannerSettings, kind: str) -> int:
    return min(scan.matrix, round(scan.field_of_view_mm / TRAINING_PIXEL_MM[kind]))


def _han_bottom(seed: int) -> float:
    """Return how far down the scan of a seed reaches: into the arch of the aorta, mostly beyond the bronchi."""
    return float(np.random.default_rng([seed, 31]).uniform(-320.0, -255.0))


def cropped(scan: Scan) -> Scan:
    """Return the scan within the box of its body, as networks crop when serving; an MR examination stays as it is."""
    if scan.kind == "mr":
        return scan
    box = body_box(scan.images, above_hu=CROP_ABOVE_HU, margin_mm=CROP_MARGIN_MM, spacing_zyx_mm=scan.spacing_zyx_mm)
    if box is None:
        raise ValueError(f"phantom {scan.seed} has no voxel above {CROP_ABOVE_HU} HU")
    labels = {name: np.ascontiguousarray(volume[box]) for name, volume in scan.labels.items()}
    images = np.ascontiguousarray(scan.images[(slice(None), *box)])
    return Scan(scan.seed, images, labels, scan.spacing_zyx_mm, scan.kind)


def on_network_grid(scan: Scan, spec: NetworkSpec) -> TrainingCase:
    """Resample a scan to the network's spacing, images as when serving and labels by the nearest voxel."""
    shape = resampled_shape(scan.images.shape[1:], scan.spacing_zyx_mm, spec.spacing_zyx_mm)
    images = np.stack([np.rint(resample(phase, shape, order=IMAGE_ORDER)).astype(np.int16) for phase in scan.images])
    labels = scan.labels[spec.target]
    nearest = [_nearest(n_in, n_out) for n_in, n_out in zip(labels.shape, shape, strict=True)]
    mean_std = tuple((float(image.mean()), float(image.std())) for image in images)
    return TrainingCase(scan.seed, images, np.ascontiguousarray(labels[np.ix_(*nearest)]), mean_std)


class ScanCache:
    """Rendered phantoms of one kind on disk, one file a seed, within the box of the body or (`whole`) as scanned."""

    def __init__(self, folder: Path, kind: str, render: Callable[[str, int], Scan], *, whole: bool = False) -> None:
        self._whole = whole
        self._folder = folder / kind
        self._kind = kind
        self._render = render
        self._folder.mkdir(parents=True, exist_ok=True)

    def has(self, seed: int) -> bool:
        """Whether the phantom is already rendered."""
        return self._path(seed).exists()

    def scan(self, seed: int) -> Scan:
        """Return a phantom, rendered and kept when it is new."""
        path = self._path(seed)
        if not path.exists():
            scan = self._render(self._kind, seed)
            self._keep(scan if self._whole else cropped(scan), path)
        with np.load(path) as kept:
            z, y, x = (float(value) for value in kept["spacing_zyx_mm"])
            labels = {target: kept[target] for target in TARGETS[self._kind]}
            return Scan(seed, kept["images"], labels, (z, y, x), self._kind)

    def _path(self, seed: int) -> Path:
        return self._folder / f"phantom_{seed:05d}.npz"

    @staticmethod
    def _keep(scan: Scan, path: Path) -> None:
        # Written under a name of this process: a trainer and the renderer ahead of it may make the same one.
        part = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
        arrays = {"images": scan.images, "spacing_zyx_mm": np.asarray(scan.spacing_zyx_mm), **scan.labels}
        np.savez(part, allow_pickle=False, **arrays)
        part.replace(path)


def _nearest(source: int, target: int) -> npt.NDArray[np.int64]:
    """Indices of the source sample nearest to each target sample, pixel centres aligned."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    return np.clip(np.rint(position), 0, source - 1).astype(np.int64)
