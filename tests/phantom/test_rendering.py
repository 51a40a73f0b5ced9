"""A rendered phantom has every structure at its size, the same on every grid; contrast agent is the only difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.domain.geometry import Grid, Vec3
from npc_phantom import Phantom, PhantomOptions, draw, render
from npc_testkit.phantoms import HEAD_AND_NECK, grid_around, reference_volumes_cc, roi_volumes_cc

QUIET = PhantomOptions(noise_hu=0.0, phase_shift_mm=0.0, metal=False, slice_spacing_mm=3.0)
LABELS = {"oar_labels": 54, "gtv_labels": 2, "ln_labels": 6}
CROWN = ((-60.0, -40.0, 95.0), (60.0, 80.0, 140.0))
JAW = ((-60.0, -110.0, -45.0), (60.0, 0.0, 25.0))
PHARYNX = ((-70.0, -60.0, -110.0), (70.0, 45.0, 55.0))
BIG = ("Brain", "Parotid_L", "Cavity_Oral", "Larynx", "Bone_Mandible_R", "GTVp", "CTVn_II_III_Va_L")


def rendered(
    seed: int, spacing_zyx_mm: Vec3, options: PhantomOptions = QUIET, box_mm: tuple[Vec3, Vec3] = HEAD_AND_NECK
) -> Phantom:
    patient = draw(seed, options)
    return render(patient, grid_around(patient, spacing_zyx_mm, box_mm))


@pytest.fixture(scope="module")
def fine() -> list[Phantom]:
    return [rendered(seed, (2.0, 1.5, 1.5)) for seed in (1, 2)]


@pytest.fixture(scope="module")
def coarse() -> Phantom:
    return rendered(4, (4.0, 3.0, 3.0))


def test_every_label_is_there(fine: list[Phantom]) -> None:
    for phantom in fine:
        for name, count in LABELS.items():
            voxels = np.bincount(getattr(phantom, name).ravel(), minlength=count + 1)

            assert voxels.size == count + 1
            assert np.flatnonzero(voxels == 0).tolist() == [], f"{name} of seed {phantom.seed}"


def test_organs_are_within_a_factor_of_two_of_the_reference(fine: list[Phantom]) -> None:
    drawn = [roi_volumes_cc(phantom) for phantom in fine]
    reference = {name: cc for name, cc in reference_volumes_cc().items() if not name.startswith("GTV")}

    ratios = {name: float(np.median([volumes[name] for volumes in drawn])) / cc for name, cc in reference.items()}

    assert len(reference) == 45
    assert {name: round(ratio, 2) for name, ratio in ratios.items() if not 0.5 < ratio < 2.0} == {}


def test_tumours_and_nodes_are_of_a_clinics_sizes() -> None:
    drawn = [roi_volumes_cc(rendered(seed, (3.0, 2.0, 2.0), box_mm=PHARYNX)) for seed in range(20, 32)]
    primary, nodal = (np.array([volumes[name] for volumes in drawn]) for name in ("GTVp", "GTVn"))

    assert 4.0 < primary.min() < primary.max() < 80.0
    assert 1.0 < nodal.min() < nodal.max() < 45.0
    assert primary.max() > 2.0 * primary.min()


def test_the_same_seed_gives_the_same_voxels(coarse: Phantom) -> None:
    again, other = rendered(4, (4.0, 3.0, 3.0)), rendered(5, (4.0, 3.0, 3.0))

    assert np.array_equal(again.contrast_hu, coarse.contrast_hu)
    assert np.array_equal(again.oar_labels, coarse.oar_labels)
    assert other.grid.shape_zyx != coarse.grid.shape_zyx or not np.array_equal(other.oar_labels, coarse.oar_labels)


def test_volumes_do_not_depend_on_the_grid(fine: list[Phantom]) -> None:
    seen_coarsely = roi_volumes_cc(rendered(2, (3.0, 2.0, 2.0)))
    seen_finely = roi_volumes_cc(fine[1])

    for name in BIG:
        assert seen_coarsely[name] == pytest.approx(seen_finely[name], rel=0.1), name


def test_contrast_agent_brightens_vessels_thyroid_and_tumour_alone(fine: list[Phantom]) -> None:
    for phantom in fine:
        gain = phantom.contrast_hu.astype(int) - phantom.noncontrast_hu
        median = {label: np.median(gain[phantom.oar_labels == label]) for label in (1, 36, 46, 53)}

        assert gain.min() > -2
        assert median[1] < 12, "brain"
        assert median[36] < 10, "mandible"
        assert median[46] < 10, "spinal cord"
        assert 60 < median[53] < 110, "thyroid"
        assert 25 < np.median(gain[phantom.gtv_labels == 1]) < 70, "tumour"
        assert gain.max() > 110, "vessels"
        assert 0.0005 < np.mean(gain > 110) < 0.02, "vessels are small"


def test_the_tumour_looks_like_muscle_without_contrast_agent(fine: list[Phantom]) -> None:
    for phantom in fine:
        assert 35 < np.median(phantom.noncontrast_hu[phantom.gtv_labels == 1]) < 65


def test_tissues_have_their_hounsfield_units(fine: list[Phantom]) -> None:
    expected = {1: (25, 50), 10: (0, 30), 12: (50, 110), 36: (400, 1500), 40: (-40, 30), 53: (90, 130), 54: (-1024, 0)}
    for phantom in fine:
        for label, (low, high) in expected.items():
            assert low < np.median(phantom.noncontrast_hu[phantom.oar_labels == label]) < high, label


def test_left_is_left(coarse: Phantom) -> None:
    for left, right in ((10, 11), (38, 39), (40, 41), (42, 43)):
        x = [np.argwhere(coarse.oar_labels == label)[:, 2].mean() for label in (left, right)]
        assert x[0] > x[1]
    assert np.argwhere(coarse.ln_labels == 2)[:, 2].mean() > np.argwhere(coarse.ln_labels == 1)[:, 2].mean()


def test_noise_has_the_strength_asked_for_and_differs_between_phases() -> None:
    noisy, clean = (
        rendered(6, (3.0, 1.5, 1.5), PhantomOptions(noise_hu=hu, phase_shift_mm=0.0, metal=False), CROWN)
        for hu in (15.0, 0.0)
    )
    brain = noisy.oar_labels == 1

    noise = [(a.astype(float) - b)[brain] for a, b in zip(_phases(noisy), _phases(clean), strict=True)]

    assert [float(n.std()) for n in noise] == pytest.approx([15.0, 15.0], rel=0.05)
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.05


def test_metal_exceeds_twelve_bits_and_casts_streaks() -> None:
    metal, plain = (rendered(7, (2.0, 2.0, 2.0), PhantomOptions(noise_hu=0.0, metal=m), JAW) for m in (True, False))
    tongue = plain.oar_labels == 35
    change = metal.noncontrast_hu.astype(float) - plain.noncontrast_hu

    assert metal.noncontrast_hu.max() > 4000
    assert plain.noncontrast_hu.max() < 3072
    assert np.percentile(np.abs(change[tongue]), 95) > 20


@pytest.mark.parametrize("position", ["HFP", "FFS", "FFP"])
def test_every_patient_position_shows_the_same_patient(position: str) -> None:
    supine, turned = (
        draw(8, PhantomOptions(matrix=96, slice_spacing_mm=5.0, noise_hu=0.0, couch=False, patient_position=p))
        for p in ("HFS", position)
    )
    axes = {"HFP": (1, 2), "FFS": (0, 2), "FFP": (0, 1)}[position]

    straight, flipped = render(supine, supine.grid()), render(turned, turned.grid())

    assert np.mean(np.flip(flipped.oar_labels, axes) == straight.oar_labels) > 0.999


def test_progress_runs_to_one() -> None:
    seen: list[float] = []
    patient = draw(9, PhantomOptions(matrix=64, slice_spacing_mm=5.0))

    render(patient, patient.grid(), progress=seen.append)

    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_a_tilted_grid_is_refused() -> None:
    c, s = float(np.cos(0.2)), float(np.sin(0.2))
    tilted = Grid((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((0.0, s, c), (0.0, c, -s), (1.0, 0.0, 0.0)), "1.2.3")

    with pytest.raises(ValueError, match="axially"):
        render(draw(1), tilted)


def _phases(phantom: Phantom) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    return phantom.noncontrast_hu, phantom.contrast_hu
