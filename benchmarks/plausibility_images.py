"""What is wrong with images, for benchmarks/plausibility.py: judged before any network, by the images alone.

A kind is found when a finding of severity check or stop is told, or the images are refused, or what is wrong is mended
and told as a note (padding below air); no network runs. Phantoms
are scanned coarsely (pixels of about 3.5 mm, slices of 4 mm), for what is seen of edges alone more finely (1.3 mm), the
real CT as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.anatomy import find_head
from npc_contour.core.images_as_expected import Image, look_at_images
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3
from npc_contour.domain.volumes import Volume
from npc_contour.voxel_files import read_image
from npc_phantom import PhantomOptions, draw, render

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PIPELINE = read_pipeline(PIPELINES_DIR / "npc_oar_gtv.toml")
Array = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Scan:
    """A pair of phases as arrays (z, y, x), head up, face forward."""

    plain: Array
    contrast: Array | None
    spacing_zyx_mm: Vec3


@dataclass
class Images:
    """What was counted.

    Attributes:
        found: of each kind, whether each scan with it was told of.
        ranks: of each scan with an error, how much what is told matters; -1 where nothing is told.
        quiet: of each scan without an error, whether it stayed without check and stop.
        seconds: a scan without an error.
        real: findings on the real CT; None where it is not at hand.
    """

    found: dict[str, list[bool]]
    ranks: list[int]
    quiet: list[bool]
    seconds: list[float]
    real: tuple[Finding, ...] | None = None


def judge_images(seeds: Sequence[int]) -> Images:
    """Put every kind of error into the images of every phantom."""
    counted = Images({kind: [] for kind in IMAGE_KINDS}, [], [], [])
    for seed in seeds:
        patient = draw(seed, PhantomOptions(matrix=160, slice_spacing_mm=4.0))
        phantom = render(patient, patient.grid())
        scan = Scan(phantom.noncontrast_hu, phantom.contrast_hu, phantom.grid.spacing_zyx_mm)
        begun = time.process_time()
        plain = told(scan)
        counted.seconds.append(time.process_time() - begun)
        fine = told(fine_scan(seed))
        counted.quiet += [not any(one.severity is not Severity.NOTE for one in found) for found in (plain, fine)]
        for at, (kind, error) in enumerate(IMAGE_KINDS.items()):
            given = fine_scan(seed) if kind in FINE_KINDS else scan
            wrong = error(given, np.random.default_rng((seed, at)))
            rank = max((one.severity.rank for one in told(wrong) if _counts(one)), default=-1)
            counted.ranks.append(Severity.STOP.rank if rank < 0 and is_refused(wrong) else rank)
            counted.found[kind].append(counted.ranks[-1] >= 0)
        print(f"images of phantom {seed} judged; without error: {[one.text for one in plain]}", file=sys.stderr)
    real = real_scan()
    if real is not None:
        counted.real = told(real)
        print(f"real CT: {[one.text for one in counted.real]}", file=sys.stderr)
    return counted


@lru_cache(maxsize=1)
def fine_scan(seed: int) -> Scan:
    """The planning CT alone, with pixels as fine as they must be for the edges to be looked at."""
    patient = draw(seed, PhantomOptions(matrix=400, slice_spacing_mm=8.0))
    phantom = render(patient, patient.grid(), contrast=(False,))
    return Scan(phantom.noncontrast_hu, None, phantom.grid.spacing_zyx_mm)


def told(scan: Scan) -> tuple[Finding, ...]:
    """Findings on a pair, or on the planning CT alone."""
    arrays = {"planning_ct": scan.plain, "contrast_ct": scan.contrast}
    roles = {role.name: role for role in PIPELINE.roles}
    images = [Image(roles[name], _volume(hu, scan.spacing_zyx_mm)) for name, hu in arrays.items() if hu is not None]
    return look_at_images(images, PIPELINE.image_rules)


def _counts(finding: Finding) -> bool:
    """Whether it asks a person to look, or tells what the service has mended itself: padding that is taken as air."""
    return finding.severity is not Severity.NOTE or finding.code is FindingCode.PADDING


def is_refused(scan: Scan) -> bool:
    """Whether no skull is seen in it: such a scan is not contoured at all."""
    return find_head(_volume(scan.plain, scan.spacing_zyx_mm)).fault is not None


def real_scan() -> Scan | None:
    """Return the real head and neck CT; None where it is not at hand."""
    path = DATA / "ct_head_neck_real.nii.gz"
    if not path.exists():
        return None
    import SimpleITK  # noqa: PLC0415 (not needed elsewhere)

    image = SimpleITK.DICOMOrient(read_image(path), "LPS")
    x_mm, y_mm, z_mm = image.GetSpacing()
    return Scan(SimpleITK.GetArrayFromImage(image).astype(np.int16), None, (z_mm, y_mm, x_mm))


def _volume(hu: npt.NDArray[np.generic], spacing_zyx_mm: Vec3) -> Volume:
    slices = hu.shape[0]
    grid = Grid(hu.shape, spacing_zyx_mm, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    places = grid.to_patient_mm(np.stack([np.arange(slices), np.zeros(slices), np.zeros(slices)], axis=1))
    return Volume(np.ascontiguousarray(hu, dtype=np.int16), grid, tuple(map(str, range(slices))), places)


Kind = Callable[[Scan, np.random.Generator], Scan]


def both(change: Callable[[npt.NDArray[np.float64], np.random.Generator, Vec3], npt.NDArray[np.float64]]) -> Kind:
    """The same error in both phases."""

    def put(scan: Scan, rng: np.random.Generator) -> Scan:
        def one(hu: Array) -> Array:
            wrong = change(hu.astype(np.float64), rng, scan.spacing_zyx_mm)
            return np.clip(np.rint(wrong), -32768, 32767).astype(np.int16)

        return Scan(one(scan.plain), None if scan.contrast is None else one(scan.contrast), scan.spacing_zyx_mm)

    return put


def spaced(factor: float, *axes: int) -> Kind:
    def put(scan: Scan, _: np.random.Generator) -> Scan:
        z, y, x = (mm * factor if axis in axes else mm for axis, mm in enumerate(scan.spacing_zyx_mm))
        return Scan(scan.plain, scan.contrast, (z, y, x))

    return put


def scanned(hu: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What 12 bits hold."""
    return np.clip(hu, -1024, 3071)


def middle_mm(hu: npt.NDArray[np.float64], spacing: Vec3) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Down and across from the middle of a slice."""
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]]
    return (y - (hu.shape[1] - 1) / 2) * spacing[1], (x - (hu.shape[2] - 1) / 2) * spacing[2]


def outside(hu: npt.NDArray[np.float64], value: float) -> npt.NDArray[np.float64]:
    """Another value outside the circle of the field of view."""
    y, x = middle_mm(hu, (1.0, 1.0, 1.0))
    return np.where(np.hypot(y, x) > hu.shape[1] / 2, value, hu)


def streaked(most_hu: float, part: tuple[float, float], radius_mm: float) -> Kind:
    """Two metal cylinders in the teeth, with rays through the body."""

    def put(hu: npt.NDArray[np.float64], _: np.random.Generator, spacing: Vec3) -> npt.NDArray[np.float64]:
        down, across = middle_mm(hu, spacing)
        for section in hu[int(part[0] * len(hu)) : int(part[1] * len(hu)) + 1]:
            body = section > -300
            rows, columns = np.nonzero(body)
            y = down - (np.quantile(down[rows, 0], 0.25))
            x = across - np.median(across[0, columns])
            rays = np.sin(9 * np.arctan2(y, x)) * np.exp(-np.hypot(y, x) / 100)
            section[body] += most_hu * rays[body]
            for side in (-25.0, 25.0):
                section[np.hypot(y, x - side) < radius_mm] = 3071
        return scanned(hu)

    return both(put)


def armed(hu: npt.NDArray[np.float64], _: np.random.Generator, spacing: Vec3) -> npt.NDArray[np.float64]:
    """An arm on each side, along the whole scan."""
    down, across = middle_mm(hu, spacing)
    for side in (-160.0, 160.0):
        away = np.hypot(across - side, down - 10.0)
        hu[:, away < 45] = np.where(away < 12, 700, np.where(away < 38, 55, -90))[away < 45]
    return hu


def cut_200(hu: npt.NDArray[np.float64], _: np.random.Generator, spacing: Vec3) -> npt.NDArray[np.float64]:
    down, across = middle_mm(hu, spacing)
    return hu[:, np.abs(down[:, 0]) < 100.0][:, :, np.abs(across[0]) < 100.0]


def blurred(hu: npt.NDArray[np.float64], pixel_mm: float) -> npt.NDArray[np.float64]:
    return np.stack([ndimage.gaussian_filter(one, 1.2 / pixel_mm) for one in hu])


def longer(scan: Scan, _: np.random.Generator) -> Scan:
    """Chest and belly below: the lowest slice goes on for 150 mm."""
    more = round(150.0 / scan.spacing_zyx_mm[0])

    def one(hu: Array) -> Array:
        return np.concatenate([np.repeat(hu[:1], more, axis=0), hu])

    return Scan(one(scan.plain), None if scan.contrast is None else one(scan.contrast), scan.spacing_zyx_mm)


def part(first_mm: float | None, last_mm: float | None) -> Kind:
    """Only the slices between two distances below the upper end of the scan."""

    def put(scan: Scan, _: np.random.Generator) -> Scan:
        below = (scan.plain.shape[0] - 1 - np.arange(scan.plain.shape[0])) * scan.spacing_zyx_mm[0]
        kept = (below >= (first_mm or 0.0)) & (below <= (last_mm or np.inf))
        return Scan(scan.plain[kept], None if scan.contrast is None else scan.contrast[kept], scan.spacing_zyx_mm)

    return put


def swapped(scan: Scan, _: np.random.Generator) -> Scan:
    assert scan.contrast is not None
    return Scan(scan.contrast, scan.plain, scan.spacing_zyx_mm)


FINE_KINDS = ("sharp kernel",)
IMAGE_KINDS: Mapping[str, Kind] = {
    "upside down": both(lambda hu, *_: hu[::-1]),
    "face down": both(lambda hu, *_: hu[:, ::-1]),
    "mirrored": both(lambda hu, *_: hu[:, :, ::-1]),
    "a quarter turned": both(lambda hu, *_: np.rot90(hu, axes=(1, 2))),
    "spacing x 0.6": spaced(0.6, 0, 1, 2),
    "spacing x 1.35": spaced(1.35, 0, 1, 2),
    "pixel spacing x 0.6": spaced(0.6, 1, 2),
    "pixel spacing x 1.35": spaced(1.35, 1, 2),
    "slice spacing x 0.6": spaced(0.6, 0),
    "slice spacing x 1.35": spaced(1.35, 0),
    "HU + 100": both(lambda hu, *_: scanned(hu + 100.0)),
    "HU + 300": both(lambda hu, *_: scanned(hu + 300.0)),
    "HU + 1024": both(lambda hu, *_: scanned(hu) + 1024.0),
    "HU x 0.5": both(lambda hu, *_: scanned(hu * 0.5)),
    "HU x 2": both(lambda hu, *_: scanned(hu) * 2.0),
    "noise 60 HU": both(lambda hu, rng, _: scanned(hu + rng.normal(0.0, 60.0, hu.shape))),
    "noise 200 HU": both(lambda hu, rng, _: scanned(hu + rng.normal(0.0, 200.0, hu.shape))),
    "metal, streaks of 700 HU": streaked(700.0, (0.45, 0.62), 9.0),
    "metal, streaks of 300 HU": streaked(300.0, (0.50, 0.56), 6.0),
    "padding above air": both(lambda hu, *_: outside(hu, 32767.0)),
    "padding below air": both(lambda hu, *_: outside(hu, -2000.0)),
    "arms": both(armed),
    "sharp kernel": both(lambda hu, _, spacing: scanned(hu + 2.5 * (hu - blurred(hu, spacing[1])))),
    "field of view 200 mm": both(cut_200),
    "chest and belly in the scan": longer,
    "head cut, 80 mm": part(80.0, None),
    "skull alone, 170 mm": part(None, 170.0),
    "neck alone": part(215.0, None),
    "phases swapped": swapped,
    "contrast series without contrast": lambda scan, _: Scan(scan.plain, scan.plain, scan.spacing_zyx_mm),
    "both series with contrast": lambda scan, _: Scan(
        scan.plain if scan.contrast is None else scan.contrast, scan.contrast, scan.spacing_zyx_mm
    ),
}
