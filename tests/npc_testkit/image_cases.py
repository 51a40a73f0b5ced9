"""Images that no network was made for, of the table of cases: as files, read and judged as before the networks run.

The networks themselves are not run. Each kind is made of one phantom's files; the phantom as it is must raise nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from npc_contour.adapters.dicom.read.reader import read_at_key, read_headers
from npc_contour.app.tools import FileReader
from npc_contour.application.contouring import Volumes, doubt_images
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.grouping import group
from npc_contour.core.labels import mask_of_array
from npc_contour.core.pieces import without_far_pieces
from npc_contour.core.plausibility import look_at_contours
from npc_contour.core.quantification import measure
from npc_contour.domain.findings import FindingCode, Severity
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused
from npc_contour.settings import Mr
from npc_phantom import PhantomOptions, draw, render
from npc_phantom.writer import write_patient
from npc_testkit.cases import Seen

Change = Callable[[list[Dataset]], list[Dataset]]
"""Changes the slices of one series, lowest first, or leaves some out."""
SEED = 101


def made_for_no_network(_case: Path, work: Path) -> Seen:
    """Wrong units, noise, metal, spacing and a scan that lacks its lower part are told by their cause."""
    return _tried(work, {
        "cut_low": (_cut_low, "does not hold the whole neck"),
        "metal": (_values(_streaks(700.0, (0.45, 0.62), 9.0)), "cc of metal"),
        "metal_mild": (_values(_streaks(300.0, (0.50, 0.56), 6.0)), "cc of metal"),
        "in_plane_x0_6": (_spaced(0.6, 1.0), "is the pixel spacing"),
        "hu_plus_300": (_intercept(300.0), "Rescale Intercept"),
        "hu_plus_100": (_intercept(100.0), "Rescale Intercept"),
        "noise_200": (_values(lambda hu, _: hu + _noise(hu, 200.0)), "noise of"),
        "noise_60": (_values(lambda hu, _: hu + _noise(hu, 60.0)), "noise of"),
    })  # fmt: skip


def wrong_without_a_word(_case: Path, work: Path) -> Seen:
    """Patients the wrong way round, swapped phases, padding, arms, a small field of view, wrong units and spacing."""
    return _tried(work, {
        "upside_down": (lambda slices: _shown(slices, lambda hu: hu[::-1]), "upside down"),
        "prone_said_supine": (lambda slices: _shown(slices, lambda hu: hu[:, ::-1, ::-1]), "face looks the wrong way"),
        "large135": (_spaced(1.35, 1.2), "skull measures"),
        "child60": (_spaced(0.6, 0.6), "skull measures"),
        "hu_plus200": (_intercept(200.0), "Rescale Intercept"),
        "hu_plus1024": (_intercept(1024.0), "Rescale Intercept"),
        "hu_scaled": (_slope, "Rescale Slope"),
        "fov200": (_cropped, "field of view cuts"),
        "arms": (_values(_arms), "arms or hands"),
        "cut_mid": (lambda slices: slices[len(slices) // 3 : -len(slices) // 6], "begins within the head"),
        "pad_pos": (_values(lambda hu, _: np.where(_corners(hu), 32000.0, hu)), "padding without"),
        "pad_neg": (_values(lambda hu, _: np.where(_corners(hu), -2000.0, hu)), "padding without"),
        "swap_contrast": (None, "phases look swapped"),
    })  # fmt: skip


def tumour_in_two_pieces(_case: Path, _work: Path) -> Seen:
    """A piece of 0.4 cc, 45 mm below a tumour of 27 cc: the diameter is the tumour's, and the piece is told."""
    pipeline = read_pipeline(PIPELINES_DIR / "npc_mr_gtv.toml")
    grid = Grid((120, 90, 90), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    z, y, x = np.indices(grid.shape_zyx)
    ball = (z - 80) ** 2 + (y - 45) ** 2 + (x - 45) ** 2 <= 18.6**2
    piece = (z - 13) ** 2 + (y - 45) ** 2 + (x - 45) ** 2 <= 4.5**2
    mask = mask_of_array(pipeline.rois[0], ball | piece)
    places = grid.to_patient_mm(np.stack([np.arange(120), np.zeros(120), np.zeros(120)], axis=1))
    empty = Volume(np.zeros(grid.shape_zyx, np.int16), grid, tuple(map(str, range(120))), places, "MR")
    assert pipeline.measurements is not None
    shape = measure(pipeline.measurements, [mask], grid).shape
    assert shape is not None
    findings = look_at_contours(without_far_pieces([mask], grid), empty)
    faults = [] if 34.0 < shape.diameter_mm < 40.0 else [f"the diameter is {shape.diameter_mm:.1f} mm"]
    if [one.code for one in findings] != [FindingCode.PIECE_APART]:
        faults.append(f"the second piece is not told: {[one.sentence for one in findings]}")
    return Seen(tuple(faults), silent_wrong=bool(faults))


def _tried(work: Path, kinds: Mapping[str, tuple[Change | None, str]]) -> Seen:
    patient = draw(SEED, PhantomOptions(matrix=160, slice_spacing_mm=4.0, noise_hu=10.0, metal=False, couch=True))
    written = write_patient(render(patient, patient.grid()), work / "plain")
    series = {"planning_ct": written.noncontrast, "contrast_ct": written.contrast}
    faults = [f"plain: {text}" for text in _told(series)]
    for kind, (change, words) in kinds.items():
        given = {role: _changed(folder, work / kind / role, change) for role, folder in series.items()}
        if change is None:
            given = dict(zip(given, reversed(tuple(series.values())), strict=True))
        told = _told(given)
        if not any(words in text for text in told):
            faults.append(f"{kind}: {words!r} is not said, but {told}")
        shutil.rmtree(work / kind, ignore_errors=True)
    return Seen(tuple(faults), silent_wrong=bool(faults))


def _told(series: Mapping[str, Path]) -> list[str]:
    """What is said of a pair before the networks run: findings, or the refusal."""
    read = {role: group(read_headers(folder).headers).series[0] for role, folder in series.items()}
    pipeline = read_pipeline(PIPELINES_DIR / "npc_oar_gtv.toml")
    try:
        findings = doubt_images(Volumes(FileReader(read_at_key, Mr()), pipeline, read), max_shift_mm=3.0)
    except CaseRefused as refusal:
        return [f"refused: {refusal}"]
    return [one.text for one in findings if one.severity is not Severity.NOTE or one.code is FindingCode.PADDING]


def _changed(folder: Path, out: Path, change: Change | None) -> Path:
    slices: list[Dataset] = [dcmread(path) for path in folder.glob("*.dcm")]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    out.mkdir(parents=True)
    for number, one in enumerate(slices if change is None else change(slices)):
        one.save_as(out / f"{number:04d}.dcm")
    return out


def _hu(slices: list[Dataset]) -> np.ndarray:
    return np.stack([one.pixel_array.astype(np.float64) + float(one.RescaleIntercept) for one in slices])


def _shown(slices: list[Dataset], change: Callable[[np.ndarray], np.ndarray]) -> list[Dataset]:
    """Give the slices other voxels, as signed numbers of 16 bits."""
    for one, hu in zip(slices, change(_hu(slices)), strict=True):
        one.PixelRepresentation, one.BitsStored, one.HighBit, one.RescaleIntercept = 1, 16, 15, "0"
        one.Rows, one.Columns = hu.shape
        one.PixelData = np.clip(np.rint(hu), -32768, 32767).astype("<i2").tobytes()
        one["PixelData"].VR = "OW"
    return slices


def _values(change: Callable[[np.ndarray, float], np.ndarray]) -> Change:
    return lambda slices: _shown(slices, lambda hu: change(hu, float(slices[0].PixelSpacing[0])))


def _noise(hu: np.ndarray, sigma: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, sigma, hu.shape)


def _streaks(most_hu: float, part: tuple[float, float], radius_mm: float) -> Callable[[np.ndarray, float], np.ndarray]:
    """Two metal cylinders in the teeth, with rays through the body."""

    def put(hu: np.ndarray, pixel_mm: float) -> np.ndarray:
        y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] * pixel_mm
        for section in hu[int(part[0] * len(hu)) : int(part[1] * len(hu)) + 1]:
            body = section > -300
            rows, columns = np.nonzero(body)
            down = (rows.min() + 0.25 * np.ptp(rows)) * pixel_mm
            across = (columns.min() + columns.max()) / 2 * pixel_mm
            rays = np.sin(9 * np.arctan2(y - down, x - across)) * np.exp(-np.hypot(y - down, x - across) / 100)
            section[body] += most_hu * rays[body]
            for side in (-25.0, 25.0):
                section[np.hypot(y - down, x - across - side) < radius_mm] = 3071
        clipped: np.ndarray = np.clip(hu, -1024, 3071)
        return clipped

    return put


def _arms(hu: np.ndarray, pixel_mm: float) -> np.ndarray:
    y, x = (np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2) * pixel_mm
    for side in (-150.0, 150.0):
        away = np.hypot(x - side, y - 10.0)
        hu[:, away < 45] = np.where(away < 12, 700, np.where(away < 38, 55, -90))[away < 45]
    return hu


def _corners(hu: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2
    return np.broadcast_to(np.hypot(y, x) > hu.shape[1] / 2, hu.shape)


def _cut_low(slices: list[Dataset]) -> list[Dataset]:
    return slices[int(0.55 * len(slices)) :]


def _spaced(in_plane: float, between: float) -> Change:
    def change(slices: list[Dataset]) -> list[Dataset]:
        for one in slices:
            one.PixelSpacing = [f"{float(mm) * in_plane:.8g}" for mm in one.PixelSpacing]
            x, y, z = (float(mm) for mm in one.ImagePositionPatient)
            one.ImagePositionPatient = [f"{x * in_plane:.8g}", f"{y * in_plane:.8g}", f"{z * between:.8g}"]
            one.SliceThickness = f"{float(one.SliceThickness) * between:.8g}"
        return slices

    return change


def _intercept(more_hu: float) -> Change:
    def change(slices: list[Dataset]) -> list[Dataset]:
        for one in slices:
            one.RescaleIntercept = str(float(one.RescaleIntercept) + more_hu)
        return slices

    return change


def _slope(slices: list[Dataset]) -> list[Dataset]:
    for one in slices:
        one.RescaleSlope = "0.5"
    return slices


def _cropped(slices: list[Dataset]) -> list[Dataset]:
    half = int(100.0 / float(slices[0].PixelSpacing[0]))
    middle = int(slices[0].Rows) // 2
    for one in slices:
        mm = float(one.PixelSpacing[0]) * (middle - half)
        x, y, z = (float(part) for part in one.ImagePositionPatient)
        one.ImagePositionPatient = [f"{x + mm:.8g}", f"{y + mm:.8g}", f"{z:.8g}"]
    return _shown(slices, lambda hu: hu[:, middle - half : middle + half, middle - half : middle + half])
