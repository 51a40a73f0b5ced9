"""What the processes know of each other survives a file, which nobody else may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.app.runtime import Runtime
from npc_contour.errors import EmbeddedServerError
from npc_contour.settings import Database, Dicom, DicomDestination, Settings, Storage, Triton, Web

URL = "postgresql://npc:secret@db/npc"


def settings(root: Path, **changes: object) -> Settings:
    base = Settings(
        storage=Storage(root=root),
        dicom=Dicom(port=0),
        web=Web(port=0),
        destinations=(DicomDestination(name="tps", ae_title="TPS", host="10.0.0.7", port=104),),
    )
    return base.model_copy(update=changes)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    runtime = Runtime.of(settings(tmp_path), database_url=URL).with_triton("127.0.0.1:1", "http://127.0.0.1:2/metrics")
    runtime.write()
    assert Runtime.read(tmp_path / "runtime.json") == runtime
    assert runtime.path.stat().st_mode & 0o077 == 0
    runtime.write()
    assert [path.name for path in tmp_path.iterdir()] == ["runtime.json"]


def test_ports_left_to_chance_are_fixed_and_differ(tmp_path: Path) -> None:
    runtime = Runtime.of(settings(tmp_path), database_url=URL)
    assert 0 < runtime.dicom_port != runtime.web_port > 0


def test_ports_and_servers_of_the_settings_are_kept(tmp_path: Path) -> None:
    chosen = settings(
        tmp_path,
        dicom=Dicom(port=11112),
        web=Web(port=8080),
        database=Database(url=URL),
        triton=Triton(url="gpu:8001", metrics_url="http://gpu:8002/metrics"),
    )
    runtime = Runtime.of(chosen)
    assert (runtime.dicom_port, runtime.web_port, runtime.database_url) == (11112, 8080, URL)
    assert (runtime.triton_url, runtime.triton_metrics_url) == ("gpu:8001", "http://gpu:8002/metrics")


def test_an_embedded_database_needs_its_url(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="embedded"):
        Runtime.of(settings(tmp_path))
