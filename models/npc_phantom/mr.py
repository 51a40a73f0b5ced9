"""The synthetic NPC patient on MR: T1, T2 and T1 with contrast agent in one frame of reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import Grid
from npc_phantom import scanner
from npc_phantom.mr_looks import Protocol, looks_on_mr
from npc_phantom.painting import Painter
from npc_phantom.patient import Patient, draw, uid
from npc_phantom.scan import PhantomOptions

F32 = npt.NDArray[np.float32]
I16 = npt.NDArray[np.int16]

SEQUENCES = ("t1", "t2", "t1c")
SLICE_SPACINGS_MM = (3.0, 3.0, 4.0, 5.0, 5.0, 6.0)
TOP_MM, BOTTOM_MM = 78.0, -100.0
CENTRE_MM = (0.0, -6.0)
LARGEST_VALUE = 4095


@dataclass(frozen=True, slots=True, kw_only=True)
class MrOptions:
    """What to fix; None is drawn from the seed.

    Attributes:
        matrix: rows and columns of a slice.
        slice_spacing_mm: distance between slices.
        slices: how many.
        tumour_cc: about the primary tumour's volume.
        bias: amplitude of the receiver's bias field: 0 none, 0.3 a strong one.
        fat_saturation: whether T1 with contrast agent is fat-saturated.
        tilt_deg: how far the stack is turned about the patient's left-right axis, forehead forward.
    """

    matrix: int | None = None
    slice_spacing_mm: float | None = None
    slices: int | None = None
    tumour_cc: float | None = None
    bias: float | None = None
    fat_saturation: bool | None = None
    tilt_deg: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MrScan:
    """How the patient was examined.

    Attributes:
        grid: of all three sequences.
        protocol: contrasts.
        gain: stored value of a signal of 1, one a sequence: scanners scale as they like.
        noise: standard deviation of each quadrature channel's noise, in signal.
        bias: amplitude of the bias field.
        shift_lps_mm: how far the patient lay elsewhere, one a sequence.
        fat_saturated: one a sequence.
    """

    grid: Grid
    protocol: Protocol
    gain: tuple[float, float, float]
    noise: float
    bias: float
    shift_lps_mm: tuple[tuple[float, float], ...]
    fat_saturated: tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True, eq=False)
class MrPhantom:
    """A rendered examination; arrays are (z, y, x) on `scan.grid`.

    Attributes:
        images: int16, 0 to 4095, by sequence: "t1", "t2", "t1c".
        gtv_labels: uint8, 1 GTVp, 2 GTVnd.
        scan: how it was made.
        seed: what the patient was drawn from.
    """

    images: dict[str, I16]
    gtv_labels: npt.NDArray[np.uint8]
    scan: MrScan
    seed: int

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return self.scan.grid


def draw_mr(seed: int, options: MrOptions | None = None) -> tuple[Patient, MrScan]:
    """Draw a patient and an examination.

    Args:
        seed: the same seed and options give the same patient; CT and MR of one seed are one patient.
        options: what to fix; None draws everything.

    Raises:
        ValueError: a value out of range.
    """
    options = options or MrOptions()
    patient = draw(seed, PhantomOptions(mask=False, couch=False, metal=False, tumour_cc=options.tumour_cc))
    rng = np.random.default_rng([seed, 202])
    saturated = bool(rng.uniform() < 0.4), bool(rng.uniform() < 0.3)
    contrast_saturated = saturated[0] if options.fat_saturation is None else options.fat_saturation
    kept = [1.0, 0.25 if saturated[1] else 1.0, 0.22 if contrast_saturated else 1.0]
    tumour = [float(v) for v in rng.uniform((340.0, 430.0, 600.0), (410.0, 560.0, 760.0))]
    weighting = [float(v) for v in rng.uniform(0.85, 1.15, 3)]
    gain = [float(v) for v in np.exp(rng.uniform(np.log(0.4), np.log(2.2), 3))]
    bias = float(rng.uniform(0.05, 0.28))
    shift = rng.uniform(-0.8, 0.8, (3, 2))
    scan = MrScan(
        grid=_grid(rng, patient, options),
        protocol=Protocol(
            (tumour[0], tumour[1], tumour[2]), (kept[0], kept[1], kept[2]), (weighting[0], weighting[1], weighting[2])
        ),
        gain=(gain[0], gain[1], gain[2]),
        noise=float(rng.uniform(6.0, 18.0)),
        bias=bias if options.bias is None else options.bias,
        shift_lps_mm=((0.0, 0.0), *((float(x), float(y)) for x, y in shift[1:])),
        fat_saturated=(False, saturated[1], contrast_saturated),
    )
    return patient, scan


def render_mr(patient: Patient, scan: MrScan, *, progress: Callable[[float], None] | None = None) -> MrPhantom:
    """Examine a patient of `draw_mr`.

    Args:
        patient: whom.
        scan: how.
        progress: told the fraction done, 0 to 1.
    """
    grid = scan.grid
    painter = Painter(patient, grid)
    t1_looks, t2_looks = looks_on_mr(patient.parts, scan.protocol)
    images = {name: np.empty(grid.shape_zyx, dtype=np.int16) for name in SEQUENCES}
    labels = np.zeros((4, *grid.shape_zyx), dtype=np.uint8)
    rng = np.random.default_rng([patient.seed, 203])
    fields = [_bias_waves(rng, scan.bias) for _ in SEQUENCES]
    for first, last in painter.slabs():
        part = labels[:, first:last]
        t1, t2 = (np.zeros((2, *part.shape[1:]), dtype=np.float32) for _ in range(2))
        painter.paint(first, t1, part, t1_looks)
        painter.paint(first, t2, np.zeros_like(part), t2_looks)
        for k, (name, signal) in enumerate(zip(SEQUENCES, (t1[0], t2[0], t1[1]), strict=True)):
            moved = scanner.shifted(signal, _pixels(scan.shift_lps_mm[k], grid))
            seen = moved * _bias(fields[k], grid, first, last)
            images[name][first:last] = _stored(rng, seen, scan.noise, scan.gain[k])
        if progress is not None:
            progress(last / grid.shape_zyx[0])
    return MrPhantom(images, labels[1], scan, patient.seed)


def _stored(rng: np.random.Generator, signal: F32, noise: float, gain: float) -> I16:
    """Return magnitude images: noise in both quadrature channels (Rice), scaled and rounded as stored."""
    real, imaginary = (rng.standard_normal(signal.shape, dtype=np.float32) * np.float32(noise) for _ in range(2))
    magnitude = np.hypot(signal + real, imaginary) * np.float32(gain)
    stored: I16 = np.clip(np.rint(magnitude), 0, LARGEST_VALUE).astype(np.int16)
    return stored


def _bias_waves(rng: np.random.Generator, amplitude: float) -> npt.NDArray[np.float64]:
    """Return waves (3, 7): wave vector (rad/mm), phases of each axis, amplitude."""
    waves = np.empty((3, 7))
    for row, length in zip(waves, (420.0, 280.0, 200.0), strict=True):
        row[:3] = 2.0 * np.pi / length * rng.uniform(0.6, 1.0, 3)
        row[3:6] = rng.uniform(0.0, 2.0 * np.pi, 3)
        row[6] = amplitude * rng.uniform(0.5, 1.0)
    return waves


def _bias(waves: npt.NDArray[np.float64], grid: Grid, first: int, last: int) -> F32:
    """Return the receiver's sensitivity, (z, y, x), about 1."""
    axes = []
    for axis, count in enumerate(grid.shape_zyx):
        steps = np.arange(first, last) if axis == 0 else np.arange(count)
        axes.append(steps * grid.spacing_zyx_mm[axis])
    total = np.zeros((last - first, *grid.shape_zyx[1:]), dtype=np.float32)
    for row in waves:
        z, y, x = (np.sin(row[k] * axes[k] + row[3 + k]).astype(np.float32) for k in range(3))
        total += np.float32(row[6]) * z[:, None, None] * y[:, None] * x
    sensitivity: F32 = np.exp(total)
    return sensitivity


def _pixels(shift_lps_mm: tuple[float, float], grid: Grid) -> tuple[float, float]:
    return shift_lps_mm[1] / grid.spacing_zyx_mm[1], shift_lps_mm[0] / grid.spacing_zyx_mm[2]


def _grid(rng: np.random.Generator, patient: Patient, options: MrOptions) -> Grid:
    spacing = float(rng.choice(SLICE_SPACINGS_MM))
    field = float(rng.uniform(225.0, 256.0))
    matrix = int(rng.choice([256, 320, 384, 512]))
    dx, dy, dz = (float(v) for v in rng.uniform(-6.0, 6.0, 3))
    spacing = options.slice_spacing_mm or spacing
    matrix = options.matrix or matrix
    if spacing <= 0.0 or matrix < 1 or (options.slices is not None and options.slices < 1):
        raise ValueError(f"{options.slices} slices of {spacing} mm and {matrix} pixels: all must be positive")
    x, y = CENTRE_MM
    ends = patient.pose.to_patient_mm(np.array([(x, y, TOP_MM), (x, y, BOTTOM_MM)]))
    slices = options.slices or round(float(ends[0][2] - ends[1][2]) / spacing)
    tilt = np.deg2rad(options.tilt_deg)
    c, s = float(np.cos(tilt)), float(np.sin(tilt))
    direction = ((0.0, -s, c), (0.0, c, s), (1.0, 0.0, 0.0))
    pixel = field / matrix
    middle = (ends[0] + ends[1]) / 2.0 + np.array([dx, dy, dz])
    half = [(slices - 1) * spacing / 2.0, (matrix - 1) * pixel / 2.0, (matrix - 1) * pixel / 2.0]
    origin = middle - np.asarray(direction).T @ np.asarray(half)
    return Grid(
        shape_zyx=(slices, matrix, matrix),
        spacing_zyx_mm=(spacing, pixel, pixel),
        origin_lps_mm=(round(float(origin[0]), 3), round(float(origin[1]), 3), round(float(origin[2]), 3)),
        direction_lps=direction,
        frame_of_reference_uid=uid(patient.seed, "MR frame of reference"),
    )
