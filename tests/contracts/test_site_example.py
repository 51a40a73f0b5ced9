"""The example of a site's settings documents every key, shows the true defaults, and wrong settings are named."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from npc_contour.errors import SettingsError
from npc_contour.settings import (
    DESTINATION_KINDS,
    AccessRuleSettings,
    CommitmentPeer,
    PacsSettings,
    PullSettings,
    RuleSettings,
    Settings,
    WebhookSettings,
    read_settings,
)

EXAMPLE = Path(__file__).parents[2] / "deploy" / "site.example.toml"
LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()
TABLES: dict[str, tuple[type[BaseModel], ...]] = {
    "destinations": tuple(DESTINATION_KINDS.values()),
    "rules": (RuleSettings,),
    "pacs": (PacsSettings,),
    "pull": (PullSettings,),
    "commitment": (CommitmentPeer,),
    "webhooks": (WebhookSettings,),
    "access": (AccessRuleSettings,),
}
KEY = re.compile(r"^#?[a-z_]+ = ")


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if name in TABLES and inner is not str:
            for table in TABLES[name]:
                yield from keys_of(table, f"{name}.")
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(inner, f"{name}.")
        else:
            yield prefix + name


def keys_in(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        rows = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        for row in rows:
            if isinstance(row, dict):
                yield from keys_in(row, f"{name}.")
            else:
                yield prefix + name


def with_examples() -> str:
    """Return the file with the keys that are off by default switched on."""
    return "\n".join(line[1:] if re.match(r"^#(\[\[|[a-z_]+ = )", line) else line for line in LINES)


def test_values_shown_are_the_defaults() -> None:
    assert Settings.model_validate(tomllib.loads("\n".join(LINES))) == Settings()


def test_every_key_is_there_and_none_besides() -> None:
    raw = tomllib.loads(with_examples())

    assert sorted(keys_in(raw)) == sorted(keys_of(Settings))


def test_examples_of_optional_keys_are_valid() -> None:
    settings = Settings.model_validate(tomllib.loads(with_examples()))

    assert [(one.kind, one.name) for one in settings.destinations] == [
        ("dicom", "tps"),
        ("dicomweb", "archive"),
        ("folder", "import"),
    ]
    for one in settings.destinations:
        assert (one.allow_demo, one.verify) == (False, "try")


def test_every_key_has_its_comment_above() -> None:
    bare = [line for above, line in pairwise(LINES) if KEY.match(line) and not above.startswith("# ")]

    assert bare == []


def test_keys_off_by_default_say_what_the_default_is() -> None:
    text = "\n".join(LINES)

    for key in ("metrics_url", "model_repository"):
        comment = text[: text.index(f"#{key} = ")].splitlines()[-1]
        assert "Default: " in comment


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[dicom]\nport = 70000\n", r"dicom\.port: .*65535"),
        ("[dicom]\nprot = 104\n", r"dicom\.prot: Extra inputs are not permitted"),
        ("[dicomm]\nport = 104\n", r"dicomm: Extra inputs are not permitted"),
        ('[dicom]\nae_title = "SEVENTEEN_LETTERS"\n', r"dicom\.ae_title: .*16 characters"),
        ('[[dicom.access]]\nnetworks = ["10.0.0"]\n', r"dicom\.access\.0\.networks\.0"),
        ("[dicom.tls]\nport = 2762\n", r"dicom\.tls: .*needs certificate, key and trusted"),
        ("[delivery]\ngive_up_after_h = 0\n", r"delivery\.give_up_after_h: .*greater than 0"),
        ('[logs]\nlevel = "LOUD"\n', r"logs\.level: .*'DEBUG'"),
        ("[dicom]\nport = 8080\n", r"dicom\.port and web\.port are both 8080"),
        ('[[destinations]]\nname = "tps"\nae_title = "TPS"\nhost = "h"\n', r"destinations\.0\.port: Field required"),
        ("[dicom\n", r"site\.toml: .*line 1"),
    ],
)
def test_wrong_setting_is_refused_and_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match=named):
        read_settings(path)


@pytest.mark.parametrize("name", ["container.site.toml", "compose.site.toml"])
def test_settings_of_the_images_are_valid_and_listen(name: str) -> None:
    settings = Settings.model_validate(tomllib.loads((EXAMPLE.parent / name).read_text(encoding="utf-8")))

    assert settings.web.needs_accounts
    assert settings.dicom.host == settings.web.host == "0.0.0.0"  # noqa: S104 (what is checked)
    assert settings.storage.root == Path("/var/lib/npc-contour")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: .*No such file"):
        read_settings(tmp_path / "nowhere.toml")


def test_relative_storage_starts_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[storage]\nroot = "data"\n', encoding="utf-8")

    assert read_settings(path).storage.root == tmp_path / "data"
