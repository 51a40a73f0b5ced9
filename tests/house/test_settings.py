"""Settings are right or the service does not start, and the message names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.domain.work import JobKind
from npc_contour.errors import SettingsError
from npc_contour.settings import Deadlines, is_loopback, read_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, ""))

    assert settings.dicom.host == "127.0.0.1"
    assert settings.web.host == "127.0.0.1"
    assert settings.storage.root == tmp_path / "npc-contour-data"


def test_every_kind_of_job_has_a_deadline() -> None:
    assert set(Deadlines.model_fields) == set(JobKind)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[dicom]\nprot = 104", "dicom.prot"),
        ("[dicom]\nport = 123456", "dicom.port"),
        ('[dicom]\nae_title = "A_TITLE_THAT_IS_FAR_TOO_LONG"', "dicom.ae_title"),
        ('[[dicom.access]]\nnetworks = ["10.0.0.5/8"]', "dicom.access.0.networks"),
        ('[dicom.tls]\nkey = "a.pem"', "go together"),
        ("[delivery]\nfirst_retry_s = -1", "delivery.first_retry_s"),
        ('[[destinations]]\nname = "a"\nae_title = "X"\nhost = "h"', "destinations.0.port"),
        ('[logs]\nlevel = "loud"', "logs.level"),
        ("[dicom]\nport = 8080", "dicom.port and web.port"),
        ("[workers.deadlines_s]\nsegment_case = 900", "must be longer than triton.timeout_s"),
        ('[self_test]\nat = "25:00"', "self_test.at"),
        (
            '[[routing.rules]]\npipeline = "ln_ctv"\nrole = "planning_ct"\nexclude_pattern = "("',
            r"routing.rules.0.exclude_pattern.*'\(' cannot be used as a regular expression",
        ),
        (
            r"""[routing.words]
contrast = ['KM(?!.*ohne)']""",
            r"routing.words.contrast.*looking ahead.*are not",
        ),
        (
            r"""[[pacs]]
name = "p"
ae_title = "P"
host = "h"
port = 104
[[pull]]
name = "r"
pacs = "p"
description_pattern = '(a)\1'""",
            "pull.0.description_pattern",
        ),
        ("this is no toml", "site.toml"),
    ],
)
def test_wrong_value_is_refused_and_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(write(tmp_path, text))


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    one = '[[destinations]]\nname = "tps"\nae_title = "TPS"\nhost = "127.0.0.1"\nport = 104\n'

    with pytest.raises(SettingsError, match="must differ"):
        read_settings(write(tmp_path, one + one))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.5", False),
     ("127.0.0.1.example.org", False), ("tps.example.org", False)],
)  # fmt: skip
def test_loopback_is_told_by_address(host: str, loopback: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is loopback
