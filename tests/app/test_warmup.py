"""The warm-up passes through all that a case passes through, or the first patient pays for what it left out."""

from __future__ import annotations

from pathlib import Path

from npc_contour.app import warmup
from npc_contour.app.runtime import Runtime
from npc_contour.settings import Dicom, Settings, Storage, Web


def test_it_runs_to_its_end(tmp_path: Path) -> None:
    settings = Settings(storage=Storage(root=tmp_path), dicom=Dicom(port=0), web=Web(port=0))
    warmup.run(Runtime.of(settings, database_url="postgresql://unused"))
