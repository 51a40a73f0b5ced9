"""A series becomes the HU that its files mean, on the grid that they name, or it is refused for the right reason.

Files: closed-form series of our own; pydicom's and pynetdicom's packaged test files and real CT that nobody here made.
"""

from __future__ import annotations

import base64
import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pydicom
import pynetdicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from npc_contour.adapters.dicom.read import headers, pixels
from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.core.grouping import aside_reason, derived_reason, group
from npc_contour.core.stacking import geometry_faults
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused, InstanceRefused, PixelDataError, SeriesGeometryError
from npc_testkit.ct_series import ORIENTATIONS, CtPlan, ct_datasets, expected_hu, write_series
from npc_testkit.peers import run_tool

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PYNETDICOM_FILES = Path(pynetdicom.__file__).parent / "tests" / "dicom_files"
REAL_DATA = Path(__file__).resolve().parents[5] / "shared" / "data"


def volume_of(folder: Path, datasets: list[FileDataset]) -> Volume:
    write_series(folder, datasets)
    return read_volume(Series(read_headers(folder).headers))


def real_series(name: str) -> Series:
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} with real CT slices is not on this machine")
    content = read_headers(folder)
    assert content.skipped == ()
    return Series(content.headers)


@pytest.mark.parametrize("position", ORIENTATIONS)
def test_every_patient_position_is_read_voxel_for_voxel(position: str, tmp_path: Path) -> None:
    plan = CtPlan(patient_position=position, padding=-2000)

    volume = volume_of(tmp_path, ct_datasets(plan))

    np.testing.assert_array_equal(volume.hu, expected_hu(plan))
    datasets = ct_datasets(plan)
    assert volume.sop_instance_uids == tuple(str(ds.SOPInstanceUID) for ds in datasets)
    for index, dataset in enumerate(datasets):
        expected = np.asarray(dataset.ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(volume.grid.to_patient_mm((index, 0, 0)), expected, atol=1e-6)
        np.testing.assert_allclose(volume.slice_positions_lps_mm[index], expected, atol=1e-9)
    assert volume.grid.spacing_zyx_mm == pytest.approx((2.5, 1.5, 0.75))


def test_an_oblique_stack_keeps_its_place(tmp_path: Path) -> None:
    angle = np.radians(7)
    plan = CtPlan(orientation=(1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle))))

    volume = volume_of(tmp_path, ct_datasets(plan))

    np.testing.assert_array_equal(volume.hu, expected_hu(plan))
    np.testing.assert_allclose(volume.grid.direction_lps[1], (0, np.cos(angle), np.sin(angle)), atol=1e-6)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    plan = CtPlan(slope_step=0.25)

    volume = volume_of(tmp_path, ct_datasets(plan))

    # Stored values are whole: a slope of up to 2.25 can be off by half a step.
    assert np.abs(volume.hu.astype(int) - expected_hu(plan)).max() <= 1.125
    assert (volume.hu[0] == expected_hu(plan)[0]).all()


def edited(change: Callable[[FileDataset], None], *, only: int | None = None) -> list[FileDataset]:
    datasets = ct_datasets(CtPlan())
    for index, dataset in enumerate(datasets):
        if only is None or index == only:
            change(dataset)
    return datasets


def set_pixels(dataset: Dataset, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"


def big_endian(source: FileDataset) -> FileDataset:
    """A copy that pydicom does not know to have been little-endian, so that it writes it big-endian."""
    copy = Dataset(source)
    copy.file_meta = source.file_meta
    set_pixels(copy, np.frombuffer(source.PixelData, "<i2").astype(">i2"))
    return cast("FileDataset", copy)


def test_metal_saturates_and_does_not_wrap(tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        dataset.RescaleSlope = 2.0
        set_pixels(dataset, np.full((10, 12), 32767, np.int16))

    assert (volume_of(tmp_path, edited(change)).hu == 32767).all()


def test_twelve_unsigned_bits_with_an_overlay_above_them(tmp_path: Path) -> None:
    values = np.arange(120, dtype=np.uint16).reshape(10, 12) * 34

    def change(dataset: FileDataset) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        set_pixels(dataset, values | 0xA000)

    volume = volume_of(tmp_path, edited(change))

    np.testing.assert_array_equal(volume.hu[0], values.astype(int) - 1024)


def test_twelve_signed_bits_carry_their_sign(tmp_path: Path) -> None:
    values = (np.arange(120, dtype=np.int16).reshape(10, 12) * 34) - 2000

    def change(dataset: FileDataset) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11
        set_pixels(dataset, values & 0x0FFF)

    volume = volume_of(tmp_path, edited(change))

    np.testing.assert_array_equal(volume.hu[0], values.astype(int) - 1024)


def test_a_padding_range_is_air_and_lower_values_stay(tmp_path: Path) -> None:
    values = np.arange(-2010, -1890, dtype=np.int16).reshape(10, 12)

    def change(dataset: FileDataset) -> None:
        dataset.RescaleIntercept = 0
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = -1990, -2000
        dataset["PixelPaddingValue"].VR = dataset["PixelPaddingRangeLimit"].VR = "SS"
        set_pixels(dataset, values)

    volume = volume_of(tmp_path, edited(change))

    padded = (values >= -2000) & (values <= -1990)
    np.testing.assert_array_equal(volume.hu[0], np.where(padded, -1024, values))


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda syntax: str(UID(syntax).name).replace(" ", "_"),
)
def test_every_transfer_syntax_gives_the_same_volume(syntax: UID, tmp_path: Path) -> None:
    plan = CtPlan(rows=64, columns=48)
    datasets = ct_datasets(plan)
    for dataset in datasets:
        if syntax in pixels.COMPRESSED_SYNTAXES:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        datasets = [big_endian(dataset) for dataset in datasets]

    volume = volume_of(tmp_path, datasets)

    np.testing.assert_array_equal(volume.hu, expected_hu(plan))


HTJ2K_OF_OPENJPH = (
    "/0//UQApQAAAAAAMAAAACgAAAAAAAAAAAAAADAAAAAoAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQ"
    "iIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAQsAAf+TwAAmAP0Ch3QAAMAAEkAAEsAAEoABh3QAgwKHdAApAgd0AMAAE8AAFRAABMA7"
    "4PgCC3QARSJB/gDiNACB/AMHdADAABakAAFfAABXgNTaMYq/jxINgmlj4ggl5kGAvZgAR9BLq/6CI7L7AIQDfzYAqkXQgo0X5lf+AFGAvZYAwAAujgAB"
    "dxAAC2R17NhFMibyiiBjXbDLLnYBBjCiBv4AhfKIzE9LOMRBA79+AGm4WhqskwYdp2EmDEmVdRjy8DR8Jw1pSEMaGJIGYqaBaWWwDMrgrtkH4f4H0UPc"
    "4MUmGxCAC50A29lOu7R7u9tpZ7sgAwjClAD7MAyDA79+AP/Z"
)
"""10 x 12 signed values of 16 bits, encoded losslessly by OpenJPH 0.26.3."""


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL])
def test_htj2k_of_another_encoder_is_read_voxel_for_voxel(syntax: UID, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:10, :12]
    values = (columns * 97 + rows * rows * 53 - 1024) % 3000 - 1024

    def change(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = encapsulate([base64.b64decode(HTJ2K_OF_OPENJPH)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True

    np.testing.assert_array_equal(volume_of(tmp_path, edited(change)).hu[3], values)


@pytest.mark.parametrize(
    ("tool", "option", "syntax"),
    [
        ("dcmconv", "+ti", "1.2.840.10008.1.2"),
        ("dcmconv", "+tb", "1.2.840.10008.1.2.2"),
        ("dcmconv", "+td", "1.2.840.10008.1.2.1.99"),
        ("dcmcrle", "", "1.2.840.10008.1.2.5"),
        ("dcmcjpeg", "+el", "1.2.840.10008.1.2.4.57"),
        ("dcmcjpeg", "+e1", "1.2.840.10008.1.2.4.70"),
        ("dcmcjpls", "+el", "1.2.840.10008.1.2.4.80"),
    ],
)
def test_what_dcmtk_encodes_is_read_voxel_for_voxel(tool: str, option: str, syntax: str, tmp_path: Path) -> None:
    plan = CtPlan(rows=64, columns=48)
    for path in write_series(tmp_path / "plain", ct_datasets(plan)):
        (tmp_path / "coded").mkdir(exist_ok=True)
        done = run_tool(tool, *([option] if option else []), path, tmp_path / "coded" / path.name)
        assert done.returncode == 0, done.stderr

    content = read_headers(tmp_path / "coded")

    assert {header.transfer_syntax_uid for header in content.headers} == {syntax}
    np.testing.assert_array_equal(read_volume(Series(content.headers)).hu, expected_hu(plan))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: setattr(ds, "PixelData", ds.PixelData[:-20]), "Pixel Data says 220 bytes, 10 x 12 need 240"),
        (lambda ds: setattr(ds, "PixelData", ds.PixelData * 2), "Pixel Data says 480 bytes"),
        (lambda ds: delattr(ds, "PixelData"), "has no Pixel Data"),
        (lambda ds: setattr(ds, "RescaleSlope", 0), "Rescale Slope 0, Intercept -1024: not a scale"),
        (lambda ds: setattr(ds, "RescaleSlope", 1e30), "not a scale of Hounsfield units"),
        (lambda ds: delattr(ds, "RescaleSlope"), "Rescale Slope or Intercept is absent"),
        (lambda ds: setattr(ds, "BitsStored", 17), "bits allocated 16, stored 17"),
        (lambda ds: setattr(ds, "HighBit", 7), "high bit 7"),
        (lambda ds: setattr(ds, "SamplesPerPixel", 3), "3 samples a pixel"),
        (lambda ds: setattr(ds, "PixelRepresentation", 2), "Pixel Representation is 2"),
    ],
)
def test_a_slice_whose_pixels_are_not_what_it_says_is_named(
    change: Callable[[FileDataset], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(PixelDataError, match=rf"slice 3 of 6 \(SOP instance .*\): .*{message}"):
        volume_of(tmp_path, edited(change, only=2))


def test_a_bomb_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.Rows = dataset.Columns = 60000

    with pytest.raises(PixelDataError, match="6 slices of 60000 x 60000: at most 4096"):
        volume_of(tmp_path, edited(change))


def test_a_codestream_of_another_matrix_never_reaches_the_codec(tmp_path: Path) -> None:
    big = ct_datasets(CtPlan(rows=128, columns=128))

    def change(dataset: FileDataset) -> None:
        donor = big[0]
        if donor.file_meta.TransferSyntaxUID != JPEG2000Lossless:
            donor.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = donor.PixelData
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True

    with pytest.raises(PixelDataError, match=r"announces \(128, 128\), the header 10 x 12"):
        volume_of(tmp_path, edited(change))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_cut_off_fragments_are_refused(syntax: UID, tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    datasets = ct_datasets(CtPlan(rows=64, columns=64))
    for dataset in datasets:
        change(dataset)
    paths = write_series(tmp_path, datasets)
    paths[0].write_bytes(paths[0].read_bytes()[:-30])

    with pytest.raises(PixelDataError, match=r"compressed Pixel Data is (cut off|broken)"):
        read_volume(Series(read_headers(tmp_path).headers))


def test_a_file_that_changed_since_its_header_was_read_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, ct_datasets(CtPlan()))
    content = read_headers(tmp_path)
    moved = tuple(replace(h, frame_of_reference_uid="1.2.3") for h in content.headers)

    with pytest.raises(PixelDataError, match="not the one whose header was read"):
        read_volume(Series(moved))


def test_a_row_of_an_earlier_version_that_read_fewer_attributes_is_read_all_the_same(tmp_path: Path) -> None:
    write_series(tmp_path, ct_datasets(CtPlan()))
    fewer = tuple(replace(h, scan_options=(), body_part="", manufacturer="") for h in read_headers(tmp_path).headers)

    np.testing.assert_array_equal(read_volume(Series(fewer)).hu, expected_hu(CtPlan()))


def test_a_lost_slice_is_refused_before_pixels_are_read(tmp_path: Path) -> None:
    datasets = ct_datasets(CtPlan())
    del datasets[2]

    with pytest.raises(SeriesGeometryError, match=r"gap of 5\.00 mm after slice 2"):
        volume_of(tmp_path, datasets)


def test_a_folder_is_read_whole_and_what_is_not_dicom_is_listed(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "deep" / "er", ct_datasets(CtPlan()))
    (tmp_path / "readme.txt").write_text("notes")
    (tmp_path / "empty").touch()
    (tmp_path / "DICOMDIR").write_bytes((PYDICOM_FILES / "dicomdirtests" / "DICOMDIR").read_bytes())
    told: list[tuple[int, int]] = []

    content = read_headers(tmp_path, progress=lambda done, total: told.append((done, total)))

    assert {header.key for header in content.headers} == {str(path) for path in paths}
    assert {path.name: reason for path, reason in content.skipped} == {
        "readme.txt": "not a DICOM file: no DICM after the preamble",
        "empty": "not a DICOM file: no DICM after the preamble",
        "DICOMDIR": "a DICOMDIR is an index, not an image",
    }
    assert told[-1] == (9, 9)


def test_progress_counts_slices(tmp_path: Path) -> None:
    write_series(tmp_path, ct_datasets(CtPlan()))
    told: list[tuple[int, int]] = []

    read_volume(Series(read_headers(tmp_path).headers), progress=lambda done, total: told.append((done, total)))

    assert told == [(n, 6) for n in range(1, 7)]


FOREIGN = {
    # file: why it is excluded or refused; "" = its pixels are read
    "CT_small.dcm": "",
    "J2K_pixelrep_mismatch.dcm": "oblique axial: the slices lean 22°",
    "693_J2KI.dcm": "derived from other images",
    "MR_small.dcm": "derived from other images",
    "JPEG2000.dcm": "a secondary capture",
    "image_dfl.dcm": "a secondary capture",
    "rtplan.dcm": "an RT plan",
    "rtdose.dcm": "an RT dose",
    "liver_1frame.dcm": "a segmentation",
    "reportsi.dcm": "not a CT or MR image",
    "ExplVR_BigEnd.dcm": "not a CT or MR image",
    "examples_overlay.dcm": "reformatted",
    "no_meta.dcm": "no DICM after the preamble",
    "rtstruct.dcm": "no DICM after the preamble",
    "meta_missing_tsyntax.dcm": "no Transfer Syntax UID",
    "UN_sequence.dcm": "starts with group 4453",
    "rtplan_truncated.dcm": "element 300A00B0 says 976 bytes, 711 are left",
    "SC_rgb_jpeg.dcm": "has implicit VR, its transfer syntax says explicit",
    "dicomdirtests/98892001/CT2N/6293": "a localizer",
    "dicomdirtests/98892001/CT5N/2062": "",
    "dicomdirtests/98892003/MR700/4467": "a projection",
    "CTImageStorage.dcm": "",
    "CTImageStorage_bad_meta.dcm": "",
    "RTImageStorage.dcm": "not a CT or MR image",
    "SCImageStorage_Deflated.dcm": "a secondary capture",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_nobody_here_made_are_accepted_or_refused_for_the_right_reason(name: str) -> None:
    found = [root / name for root in (PYDICOM_FILES, PYNETDICOM_FILES) if (root / name).exists()]
    if not found:
        pytest.skip(f"{name} is not packaged with the installed pydicom or pynetdicom")

    try:
        header, parsed = headers.read_file(found[0])
        reason = aside_reason(header) or derived_reason(header) or ""
        if not reason:
            assert pixels.decode(parsed).shape == (header.rows, header.columns)
    except InstanceRefused as error:
        reason = str(error)

    assert FOREIGN[name] in reason
    assert bool(reason) == bool(FOREIGN[name])


def lossless_images() -> list[Path]:
    paths = [*sorted(PYDICOM_FILES.glob("*.dcm")), *sorted(PYNETDICOM_FILES.glob("*.dcm"))]
    return [path for path in paths if path.name.startswith(("CT", "MR", "693", "J2K_", "eCT", "emri"))]


@pytest.mark.parametrize("path", lossless_images(), ids=lambda path: path.name)
def test_foreign_pixels_equal_pydicom_s_own_or_are_refused(path: Path) -> None:
    refused = {
        "693_J2KI.dcm": "transfer syntax JPEG 2000 Image Compression is not taken",
        "MR_truncated.dcm": "Pixel Data is cut off: 8130 of 8192 bytes",
    }
    header, parsed = headers.read_file(path)

    if path.name in refused:
        with pytest.raises(PixelDataError, match=refused[path.name]):
            pixels.decode(parsed)
        return
    if header.number_of_frames > 1:
        with pytest.raises(PixelDataError, match="frames, an image of a series has one"):
            pixels.decode(parsed)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom remarks on its own flawed test files
        expected = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(pixels.decode(parsed), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("98892001/CT2N", ["a localizer"]),
        ("98892003/MR1", ["a localizer (series description 'FAST LOCALIZER')"] * 3),
        ("98892003/MR2", ["a localizer"] * 3),
        ("77654033/CT2", ["gap of 202.50 mm after slice 1"]),
    ],
)
def test_pydicom_s_thinned_out_series_say_why_they_are_no_stacks(name: str, expected: list[str]) -> None:
    grouped = group(read_headers(PYDICOM_FILES / "dicomdirtests" / name).headers)

    texts = [fault.text for series in grouped.series for fault in geometry_faults(series.instances)]
    texts += [one.reason for one in grouped.excluded]

    assert len(texts) == len(expected)
    assert all(reason in text for reason, text in zip(expected, texts, strict=True))


def test_pydicom_s_regular_series_is_read_where_its_files_say() -> None:
    folder = PYDICOM_FILES / "dicomdirtests" / "98892001" / "CT5N"

    volume = read_volume(Series(read_headers(folder).headers))

    by_uid = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, folder.iterdir())}
    assert volume.hu.shape == (5, 16, 16)
    for index, uid in enumerate(volume.sop_instance_uids):
        dataset = by_uid[uid]
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(volume.hu[index], np.where(hu == -2000 - 1024, -1024, hu))
        np.testing.assert_allclose(volume.grid.to_patient_mm((index, 0, 0)), dataset.ImagePositionPatient, atol=0.01)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("ct_ge_gantry_tilt", ["leans 18.5°", "gap of 1.08 mm after slice 14", "gap of 7.00 mm after slice 15"]),
        ("ct_failing/gantrytilting", ["leans 14.0°"]),
        (
            "ct_failing/notavolume",
            ["slices 1 and 2 (at +61.50 mm)", "several acquisitions in one series: numbers 12, 13"],
        ),
        ("ct_failing/slicecount", ["2 slices, at least 4"]),
        ("ct_failing/sliceincrement/001", ["gap of 10.00 mm"]),
        ("ct_failing/sliceincrement/002", ["gap of 1.50 mm after slice 3", "leans 15.5°"]),
        ("ct_failing/sliceorientation", ["mixed orientations: 2 of 4 slices", "mixed pixel spacings"]),
    ],
)
def test_real_ct_that_is_no_stack_is_refused_with_its_millimetres(name: str, reasons: list[str]) -> None:
    series = real_series(name)

    with pytest.raises(SeriesGeometryError) as caught:
        read_volume(series)

    for reason in reasons:
        assert reason in str(caught.value)


def test_the_order_of_files_means_nothing(tmp_path: Path) -> None:
    plan = CtPlan(slices=20)
    write_series(tmp_path, ct_datasets(plan))
    content = read_headers(tmp_path)
    shuffled = random.Random(1).sample(content.headers, 20)

    volume = read_volume(Series(tuple(shuffled)))

    np.testing.assert_array_equal(volume.hu, expected_hu(plan))


def test_an_image_under_two_names_counts_once_and_two_images_under_one_uid_are_refused(tmp_path: Path) -> None:
    first, *_ = write_series(tmp_path, ct_datasets(CtPlan()))
    again = tmp_path / "again.dcm"
    again.write_bytes(b"preamble".ljust(128, b"\0") + first.read_bytes()[128:])
    content = read_headers(tmp_path)
    assert len(content.copies) == 1
    assert len({header.sop_instance_uid for header in content.headers}) == len(content.headers)

    again.write_bytes(first.read_bytes()[:-2] + b"\x07\x07")
    with pytest.raises(CaseRefused, match=r"again\.dcm .*have one SOP Instance UID and are not the same"):
        read_headers(tmp_path)
