"""Files that others made fare as docs/real-input.md says, and lossless pixels are those that pydicom's codecs give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from npc_contour.adapters.dicom.read import headers, pixels
from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.spool.files import Spool
from npc_testkit.peers import run_tool
from npc_testkit.real_input import files, outcomes, table

DOCS = Path(__file__).parents[4] / "docs" / "real-input.md"


@pytest.mark.filterwarnings("ignore")
def test_every_file_fares_as_the_table_says(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", min_free_mb=1)
    with Receiver(ReceiverSettings(port=0), spool, lambda *_: None) as receiver:
        found = outcomes(receiver.port)

    assert len(found) > 250
    assert not [one.file for one in found if one.reader.endswith("not as pydicom")]
    assert table(found) in DOCS.read_text(encoding="utf-8"), "run: python benchmarks/real_input.py"
    assert list((tmp_path / "spool").rglob("*.part")) == []


def path_of(name: str) -> Path:
    return next(path for _, _, path in files() if path.name == name)


def decoded(name: str | Path) -> tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.int32]]]:
    path = name if isinstance(name, Path) else path_of(name)
    meta, data_set = headers.split_file(path.read_bytes())
    syntax = meta.uid("TransferSyntaxUID")
    return syntax, pixels.decode(headers.parse_data_set(data_set, syntax))


@pytest.mark.parametrize(
    ("compressed", "plain", "syntax"),
    [
        ("693_J2KR.dcm", "693_UNCR.dcm", JPEG2000Lossless),
        ("MR2_J2KR.dcm", "MR2_UNCR.dcm", JPEG2000Lossless),
        ("MR_small_RLE.dcm", "MR_small.dcm", RLELossless),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm", JPEGLSLossless),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm", JPEG2000Lossless),
        ("MR_small_bigendian.dcm", "MR_small.dcm", ExplicitVRBigEndian),
    ],
)
def test_a_compressed_image_is_the_image_that_was_compressed(compressed: str, plain: str, syntax: str) -> None:
    said, values = decoded(compressed)

    assert said == syntax
    assert np.array_equal(values, decoded(plain)[1])


@pytest.mark.parametrize(
    ("tool", "option", "syntax"),
    [("dcmcjpeg", "+e1", JPEGLosslessSV1), ("dcmcjpeg", "+el", JPEGLossless), ("dcmcjpls", "+el", JPEGLSLossless)],
)
def test_what_dcmtk_compresses_is_decoded(tool: str, option: str, syntax: str, tmp_path: Path) -> None:
    source = path_of("693_UNCI.dcm")
    assert run_tool(tool, option, source, tmp_path / "compressed.dcm").returncode == 0

    said, values = decoded(tmp_path / "compressed.dcm")

    assert said == syntax
    assert np.array_equal(values, decoded(source)[1])


def test_deflated_data_sets_are_inflated() -> None:
    syntax, values = decoded("image_dfl.dcm")

    assert syntax == DeflatedExplicitVRLittleEndian
    assert values.shape == (512, 512)
