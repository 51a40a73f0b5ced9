"""Images that no network should be shown are told with their true cause; those of a phantom are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from npc_contour.core.images_as_expected import Image, causes, look_at_images
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.pipelines import Contrast, Role
from npc_contour.domain.volumes import Volume
from npc_contour.plausibility import read_image_rules
from npc_phantom import PhantomOptions, draw, render

Int16 = npt.NDArray[np.int16]
PLAIN, ENHANCED = (
    Role(name="planning_ct", modality="CT", contrast=Contrast.ABSENT),
    Role(name="contrast_ct", modality="CT", contrast=Contrast.PRESENT),
)
RULES = read_image_rules()
STOP, CHECK, NOTE = Severity.STOP, Severity.CHECK, Severity.NOTE


def volume(hu: npt.NDArray[np.generic], spacing_zyx_mm: tuple[float, float, float], modality: str = "CT") -> Volume:
    slices = hu.shape[0]
    grid = Grid(hu.shape, spacing_zyx_mm, (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    places = grid.to_patient_mm(np.stack([np.arange(slices), np.zeros(slices), np.zeros(slices)], axis=1))
    return Volume(np.ascontiguousarray(hu, dtype=np.int16), grid, tuple(map(str, range(slices))), places, modality)


Scan = tuple[Int16, Int16, tuple[float, float, float]]


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A phantom that no rule was made from: without and with contrast agent, and its spacing."""
    patient = draw(4005, PhantomOptions(matrix=128, slice_spacing_mm=4.0, metal=False, noise_hu=10.0))
    phantom = render(patient, patient.grid())
    return phantom.noncontrast_hu, phantom.contrast_hu, phantom.grid.spacing_zyx_mm


def told(plain: Volume, enhanced: Volume | None = None) -> list[Finding]:
    images = [Image(PLAIN, plain)] if enhanced is None else [Image(PLAIN, plain), Image(ENHANCED, enhanced)]
    return list(look_at_images(images, RULES))


def codes(findings: list[Finding]) -> list[tuple[FindingCode, Severity]]:
    return [(one.code, one.severity) for one in findings]


def test_images_of_a_phantom_raise_nothing(scan: Scan) -> None:
    plain, enhanced, spacing = scan

    assert told(volume(plain, spacing), volume(enhanced, spacing)) == []


def circle(hu: Int16) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2
    return np.broadcast_to(np.hypot(y, x) > hu.shape[1] / 2, hu.shape)


def noisy(sigma: float) -> Callable[[Int16], npt.NDArray[np.float64]]:
    return lambda hu: np.clip(hu + np.random.default_rng(1).normal(0.0, sigma, hu.shape), -1024, 3071)


def with_arms(hu: Int16) -> Int16:
    arm = np.hypot(*(np.mgrid[: hu.shape[1], : hu.shape[2]] - np.array([[[64]], [[102]]])))
    changed = hu.copy()
    changed[:, arm < 10] = 50
    changed[:, arm < 3] = 700
    return changed


def with_metal(hu: Int16) -> Int16:
    """Two spheres and rays from them, in the slices of the teeth."""
    changed = hu.astype(np.float64)
    slices = slice(hu.shape[0] // 2, hu.shape[0] // 2 + 6)
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]]
    rays = 500.0 * np.sin(9 * np.arctan2(y - 52, x - 64)) * np.exp(-np.hypot(y - 52, x - 64) / 32)
    changed[slices] += np.where(changed[slices] > -300, rays, 0.0)
    changed[slices, 50:54, 56:60] = changed[slices, 50:54, 70:74] = 3071
    return np.clip(changed, -1024, 3071).astype(np.int16)


@pytest.mark.parametrize(
    ("change", "code", "severity", "words"),
    [
        (
            lambda hu: hu + 100,
            FindingCode.HU_SCALE,
            STOP,
            r"look like Hounsfield units \+9\d|\+10\d \(Rescale Intercept",
        ),
        (lambda hu: hu + 300, FindingCode.HU_SCALE, STOP, "air lies at -70"),
        (lambda hu: np.clip(hu, -1024, 3071) // 2, FindingCode.HU_SCALE, STOP, r"times 0\.\d+ \(Rescale Slope"),
        (lambda hu: np.clip(hu, -1024, 3071) * 2, FindingCode.HU_SCALE, STOP, r"times 2 \(Rescale Slope"),
        (noisy(60.0), FindingCode.NOISE, CHECK, "noise of [45]"),
        (noisy(200.0), FindingCode.NOISE, STOP, "noise of [12]"),
        (with_metal, FindingCode.METAL, CHECK, "cc of metal along 24 mm"),
        (with_arms, FindingCode.ARMS, CHECK, "arms or hands"),
        (lambda hu: np.where(circle(hu), 32767, hu), FindingCode.PADDING, STOP, "hold 32767, air is -1001"),
        (lambda hu: np.where(circle(hu), -2000, hu), FindingCode.PADDING, NOTE, "taken as air"),
        (lambda hu: hu[::-1], FindingCode.ORIENTATION, STOP, "upside down"),
        (lambda hu: hu[:, ::-1], FindingCode.ORIENTATION, STOP, "mm behind the middle"),
        (lambda hu: np.rot90(hu, axes=(1, 2)), FindingCode.ORIENTATION, STOP, "mm to the right of the middle"),
        (lambda hu: np.rot90(hu, -1, axes=(1, 2)), FindingCode.ORIENTATION, STOP, "mm to the left of the middle"),
        (lambda hu: hu[:-18], FindingCode.COVERAGE, CHECK, "begins within the head"),
        (lambda hu: hu[-45:], FindingCode.COVERAGE, CHECK, "does not hold the whole neck"),
        (lambda hu: hu[:, 38:90, 38:90], FindingCode.FIELD_OF_VIEW, CHECK, "cuts head or neck"),
    ],
)
def test_one_fault_is_told_as_what_it_is(
    scan: Scan, change: Callable[[Int16], Int16], code: FindingCode, severity: Severity, words: str
) -> None:
    plain, _, spacing = scan
    findings = told(volume(change(plain), spacing))

    assert codes(findings) == [(code, severity)]
    assert findings[0].numbers
    assert re.search(words, findings[0].sentence)


@pytest.mark.parametrize("factor", [0.6, 1.35])
@pytest.mark.parametrize(
    ("axes", "words"),
    [((0,), "distance between slices right"), ((1, 2), "pixel spacing"), ((0, 1, 2), "pixel spacing")],
)
def test_a_wrong_spacing_is_told_by_the_size_of_the_skull(
    scan: Scan, factor: float, axes: tuple[int, ...], words: str
) -> None:
    plain, _, spacing = scan
    wrong = tuple(mm * factor if axis in axes else mm for axis, mm in enumerate(spacing))
    finding = next(one for one in told(volume(plain, wrong)) if one.code is FindingCode.SCALE)  # type: ignore[arg-type]

    assert words in finding.sentence


def test_phases_that_are_swapped_are_a_stop(scan: Scan) -> None:
    plain, enhanced, spacing = scan
    findings = told(volume(enhanced, spacing), volume(plain, spacing))

    assert codes(findings) == [(FindingCode.CONTRAST, STOP)]
    assert findings[0].sentence.startswith("the phases look swapped: vessels shine in planning_ct (")


def test_a_contrast_series_without_contrast_is_told(scan: Scan) -> None:
    plain, _, spacing = scan
    findings = told(volume(plain, spacing), volume(plain, spacing))

    assert codes(findings) == [(FindingCode.CONTRAST, CHECK)]
    assert findings[0].sentence.startswith("contrast_ct: no vessels shine")


def test_a_fault_of_both_series_is_told_once_and_of_the_second_alone_by_its_name(scan: Scan) -> None:
    plain, enhanced, spacing = scan
    both = told(volume(plain + 300, spacing), volume(enhanced + 300, spacing))
    second = told(volume(plain, spacing), volume(enhanced + 300, spacing))

    assert [one.sentence.partition(":")[0] for one in (*both, *second)] == ["planning_ct", "contrast_ct"]


@pytest.mark.parametrize("axes", [(0, 2), (1, 2), (0, 1)])
def test_a_patient_who_was_scanned_the_other_way_round_and_says_so_is_no_fault(
    scan: Scan, axes: tuple[int, ...]
) -> None:
    plain, _, spacing = scan
    images = volume(np.flip(plain, axes), spacing)
    flipped = np.asarray(HEAD_FIRST_SUPINE) * [[-1.0 if axis in axes else 1.0] for axis in range(3)]
    z, y, x = ((row[0], row[1], row[2]) for row in flipped.tolist())

    assert told(replace(images, grid=replace(images.grid, direction_lps=(z, y, x)))) == []


def test_mr_and_a_case_without_rules_say_nothing(scan: Scan) -> None:
    plain, _, spacing = scan

    assert told(volume(plain + 300, spacing, "MR")) == []
    assert look_at_images([Image(PLAIN, volume(plain + 300, spacing))], {}) == ()


def test_a_chest_is_judged_by_its_values_alone(scan: Scan) -> None:
    plain, _, spacing = scan
    chest = Image(replace(PLAIN, anatomy="any"), volume(plain[::-1], spacing))

    assert look_at_images([chest], RULES) == ()


def test_a_sharp_kernel_is_told_by_the_air_beside_the_skin() -> None:
    """An ellipse of soft tissue with the blur of a smooth kernel, and what a sharp one makes of it."""
    y, x = np.mgrid[:200, :200]
    ellipse = np.where(np.hypot((y - 100) / 80, (x - 100) / 60) < 1, 40.0, -1000.0)
    smooth = np.stack([ndimage.gaussian_filter(ellipse, 0.9)] * 20)
    smooth += np.random.default_rng(2).normal(0.0, 8.0, smooth.shape)
    sharp = smooth + 2.5 * (smooth - ndimage.gaussian_filter(smooth, (0.0, 1.2, 1.2)))
    smooth, sharp = (np.clip(hu, -1024, 3071) for hu in (smooth, sharp))

    assert causes(volume(smooth, (3.0, 1.0, 1.0)), RULES) == ()
    (sentence,) = causes(volume(sharp, (3.0, 1.0, 1.0)), RULES)
    assert "as by a sharp kernel" in sentence
    assert causes(volume(sharp, (3.0, 1.6, 1.6)), RULES) == ()


def test_a_refusal_has_the_cause_that_the_values_say(scan: Scan) -> None:
    plain, _, spacing = scan
    (cause,) = causes(volume(np.clip(plain, -1024, 3071) // 2, spacing), RULES)

    assert "Rescale Slope" in cause
    assert causes(volume(plain, spacing), RULES) == ()
    assert causes(volume(np.zeros((9, 30, 30)), spacing), RULES) == ()
