"""The writer behind the port encodes as the site's profile says and lets nothing out that fails its check."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from npc_contour.adapters.dicom.read.reader import read_headers
from npc_contour.adapters.dicom.rtstruct.writer import sop_instance_uid
from npc_contour.app.shared import profile_of
from npc_contour.app.tools import RtstructWriter
from npc_contour.core.labels import RoiMask
from npc_contour.domain.profiles import GENERIC
from npc_contour.domain.series import Series
from npc_contour.errors import GateError, SettingsError
from npc_contour.settings import Rtstruct, Settings
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import MADE_AT, Planning, crops, encoded, planning_series, structure_set


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), CtPlan(slices=5, rows=20, columns=20))


def ball(planning: Planning, radius: float) -> np.ndarray:
    z, y, x = np.indices(planning.volume.grid.shape_zyx)
    mask: np.ndarray = np.sqrt((y - 9.5) ** 2 + (x - 9.5) ** 2 + (2 * (z - 2)) ** 2) < radius
    return mask


def masks(planning: Planning) -> tuple[RoiMask, ...]:
    return crops({"Ball": ball(planning, 7.0), "Nothing": ball(planning, 0.0)})


def series(planning: Planning) -> Series:
    return Series(read_headers(planning.folder).headers)


def test_what_is_written_was_checked(planning: Planning) -> None:
    path = next(planning.folder.iterdir())
    content = structure_set(masks(planning), planning.volume)

    written = RtstructWriter(lambda _: path.read_bytes(), GENERIC).write(
        content, masks(planning), planning.volume, series(planning), MADE_AT
    )

    assert written.data == encoded(planning, {"Ball": ball(planning, 7.0), "Nothing": ball(planning, 0.0)})
    assert written.sop_instance_uid == sop_instance_uid(content)
    assert written.min_dice == 1.0


def test_nothing_wrong_gets_out(planning: Planning) -> None:
    path = next(planning.folder.iterdir())
    content = structure_set(crops({"Ball": ball(planning, 5.0)}), planning.volume)

    with pytest.raises(GateError, match="Ball reads back with Dice"):
        RtstructWriter(lambda _: path.read_bytes(), GENERIC).write(
            content, masks(planning), planning.volume, series(planning), MADE_AT
        )


def test_the_profile_is_followed(planning: Planning) -> None:
    path: Path = next(planning.folder.iterdir())
    profile = profile_of(Settings(rtstruct=Rtstruct(profile="eclipse")))
    writer = RtstructWriter(lambda _: path.read_bytes(), replace(profile, label="{label} E"))
    content = structure_set(masks(planning), planning.volume)

    written = writer.write(content, masks(planning), planning.volume, series(planning), MADE_AT)

    dataset = dcmread(BytesIO(written.data))
    assert dataset.StructureSetLabel == "Test set E"
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Ball", "Nothing"]


def test_a_wrong_profile_refuses_to_start() -> None:
    with pytest.raises(SettingsError, match="RTSTRUCT profile 'xio': no such file"):
        profile_of(Settings(rtstruct=Rtstruct(profile="xio")))
