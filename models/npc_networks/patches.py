"""Training patches: where they are cut and how they are varied.

Every patch is a pure function of (seed, step, cases), so that a resumed training sees what it would have seen.
Patches are never mirrored: left and right are different labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.intensity import normalise
from npc_contour.domain.pipelines import Normalisation
from npc_networks.networks import NetworkSpec
from npc_networks.phantom_data import TrainingCase
from npc_networks.serving.preparation import SMALLEST_STD
from npc_networks.unet import Triple

FloatVolume = npt.NDArray[np.float32]
LabelVolume = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

CENTRE_JITTER = 0.3
"""How far, as a share of the patch, the centre may lie from that voxel along each axis."""

SEED_VOXELS_PER_CLASS = 64
"""Voxels remembered of each class or part of a case."""


@dataclass(frozen=True, slots=True, eq=False)
class SampledCase:
    """A case with some voxels of each class, or of each connected part of one, at hand.

    Attributes:
        centres: per foreground class (or part) present, (n, 3) voxel indices.
    """

    case: TrainingCase
    centres: tuple[IntArray, ...]


def with_centres(case: TrainingCase, *, on_parts: bool = False) -> SampledCase:
    """Pick the voxels around which patches of a case are centred, of each class or, `on_parts`, of each part of one."""
    rng = np.random.default_rng([case.seed, 7])
    flat = (ndimage.label(case.labels, np.ones((3, 3, 3)))[0] if on_parts else case.labels).ravel()
    order = np.flatnonzero(flat)
    order = order[np.argsort(flat[order], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(flat[order].astype(np.int64))) + 1)
    centres = []
    for group in groups if order.size else ():
        chosen = rng.choice(group, min(SEED_VOXELS_PER_CLASS, group.size), replace=False)
        centres.append(np.stack(np.unravel_index(chosen, case.labels.shape), axis=1))
    return SampledCase(case, tuple(centres))


def draw_patch(sampled: SampledCase, spec: NetworkSpec, rng: np.random.Generator) -> tuple[FloatVolume, LabelVolume]:
    """Return one augmented training patch.

    Returns:
        (channels, z, y, x) float32 normalised input and (z, y, x) uint8 labels, of the spec's patch size.
        Beyond the case the input is 0, as the sliding window pads, and the label background.
    """
    case = sampled.case
    start = _patch_start(sampled, spec, rng)
    choices = spec.inputs
    channels = choices[int(rng.integers(len(choices)))] if len(choices) > 1 else choices[0]
    image = np.stack(
        [
            cut(
                _normalised(_cut_source(case.images[channel], start, spec.patch_zyx), _in_numbers(case, channel, how)),
                start,
                spec.patch_zyx,
            )
            for channel, how in zip(channels, spec.normalisation, strict=True)
        ]
    )
    labels = cut(_cut_source(case.labels, start, spec.patch_zyx), start, spec.patch_zyx)
    return _augment(image, rng), labels


def _in_numbers(case: TrainingCase, channel: int, how: Normalisation) -> Normalisation:
    """Return a normalisation whose numbers are known: those of the whole channel where it takes its own."""
    if how.scheme == "ct":
        return how
    mean, std = case.mean_std[channel]
    return Normalisation((-math.inf, math.inf), mean, std + SMALLEST_STD)


def _normalised(hu: npt.NDArray[np.int16], how: Normalisation) -> FloatVolume:
    values = hu.astype(np.float32)
    return normalise(values, how, out=values)


def _cut_source(volume: npt.NDArray[Any], start: IntArray, size: Triple) -> npt.NDArray[Any]:
    """Return the part of the volume inside the window, which may reach beyond it."""
    stop = start + size
    inside = tuple(slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(start, stop, volume.shape, strict=True))
    return volume[inside]


def cut(part: npt.NDArray[Any], start: IntArray, size: Triple) -> npt.NDArray[Any]:
    """Place the part of a window that lies inside a volume into a window of zeros.

    Args:
        part: what `volume[start:start+size]` holds within the volume's bounds.
        start: (3,) first voxel of the window, negative where it begins before the volume.
        size: voxels of the window.
    """
    if part.shape == size:
        return part
    window = np.zeros(size, part.dtype)
    begin = np.maximum(-start, 0)
    window[tuple(slice(int(b), int(b) + n) for b, n in zip(begin, part.shape, strict=True))] = part
    return window


def _patch_start(sampled: SampledCase, spec: NetworkSpec, rng: np.random.Generator) -> IntArray:
    shape = np.array(sampled.case.labels.shape)
    size = np.array(spec.patch_zyx)
    slack = shape - size
    if sampled.centres and rng.random() < spec.centred_share:
        voxels = sampled.centres[rng.integers(len(sampled.centres))]
        jitter = rng.uniform(-CENTRE_JITTER, CENTRE_JITTER, 3) * size
        wanted = voxels[rng.integers(len(voxels))] + jitter - size / 2
    else:
        wanted = rng.uniform(0, 1, 3) * np.maximum(slack, 0)
    # A volume smaller than the window lies in its middle, as when serving.
    start: IntArray = np.where(slack < 0, -(-slack // 2), np.clip(np.rint(wanted), 0, np.maximum(slack, 0)))
    return start.astype(np.int64)


def _augment(image: FloatVolume, rng: np.random.Generator) -> FloatVolume:
    """Vary brightness, contrast and noise a little, each channel by itself."""
    channels = (len(image), 1, 1, 1)
    scale = rng.uniform(0.9, 1.1, channels).astype(np.float32)
    shift = rng.uniform(-0.1, 0.1, channels).astype(np.float32)
    varied: FloatVolume = image * scale + shift
    if rng.random() < 0.5:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        varied += noise * np.float32(rng.uniform(0, 0.15))
    return varied
