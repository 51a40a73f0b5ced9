"""A duplicate with different content is shown with what differs, without patient data, and discarded on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from npc_contour.adapters.dicom.read.headers import read_bytes
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.dicom.spool.quarantine import SpoolQuarantine
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets


def keep(spool: Spool, dataset: Dataset) -> str:
    content = as_bytes(dataset)
    return spool.keep(read_bytes(content, key="")[0], [content]).key


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, min_free_mb=0)


def test_what_differs_is_named_without_the_patient(spool: Spool) -> None:
    image = ct_datasets(CtPlan())[0]
    key = keep(spool, image)
    image.SeriesDescription = "ANOTHER"
    image.PatientID = "OTHER-PERSON"
    image.PixelData = bytes(len(image.PixelData))
    assert keep(spool, image) == key
    quarantine = SpoolQuarantine(spool)

    (file,) = quarantine.files()
    found = {line.what: (line.kept, line.came) for line in quarantine.differences(key, file.name)}

    assert file.sop_instance_uid == image.SOPInstanceUID
    assert found["series description"] == ("HEAD NECK 2.5 STD", "ANOTHER")
    assert set(found) == {"series description", "Patient ID", "pixels"}
    assert "OTHER-PERSON" not in str(found)
    shown = SpoolQuarantine(spool, show_patient=True).differences(key, file.name)
    assert "OTHER-PERSON" in str(shown), "where the site shows who a patient is"


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("PatientID", "PHANTOM-2", ("Patient ID",)),
        ("IssuerOfPatientID", "ELSEWHERE", ("issuer of the Patient ID",)),
        ("PatientName", "Other^Name", ("patient's name",)),
        ("PatientBirthDate", "19010203", ("birth date",)),
        ("PatientSex", "F", ("sex",)),
        ("StudyDescription", "OTHER WORDS", ()),
    ],
)
def test_another_patient_is_told_from_another_description(
    spool: Spool, keyword: str, value: str, words: tuple[str, ...]
) -> None:
    image = ct_datasets(CtPlan())[0]
    keep(spool, image)
    setattr(image, keyword, value)
    content = as_bytes(image)
    kept = spool.keep(read_bytes(content, key="")[0], [content])

    assert SpoolQuarantine(spool).other_patient(kept) == words
    assert kept.quarantine_key is not None
    header = SpoolQuarantine(spool).header(kept.quarantine_key.rpartition("/")[2])
    assert header is not None
    assert header.sop_instance_uid == image.SOPInstanceUID


def test_empty_components_at_the_end_of_a_name_name_nobody_else(spool: Spool) -> None:
    image = ct_datasets(CtPlan())[0]
    keep(spool, image)
    image.PatientName = f"{image.PatientName}^^"
    content = as_bytes(image)

    assert SpoolQuarantine(spool).other_patient(spool.keep(read_bytes(content, key="")[0], [content])) == ()


def test_only_a_file_of_the_quarantine_is_thrown_away(spool: Spool) -> None:
    image = ct_datasets(CtPlan())[0]
    key = keep(spool, image)
    image.PixelData = bytes(len(image.PixelData))
    keep(spool, image)
    quarantine = SpoolQuarantine(spool)

    assert not quarantine.discard(f"../{key}")
    assert quarantine.discard(quarantine.files()[0].name)
    assert quarantine.files() == []
    assert spool.exists(key)


def test_what_cannot_be_read_has_no_differences(spool: Spool) -> None:
    assert SpoolQuarantine(spool).differences("instances/1/2/3.dcm", "1.2.3-abc.dcm") == ()
