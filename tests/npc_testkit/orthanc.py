"""Orthanc, a PACS that nobody here wrote, as the node that takes our RTSTRUCTs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from npc_testkit.peers import free_port, start_tool, wait_for_port

START_S = 90.0


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc on 127.0.0.1."""

    dicom_port: int
    http_port: int
    ae_title: str

    def get(self, path: str) -> Any:
        """Return the JSON of a REST path."""
        answer = httpx.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON that a REST path answers to JSON."""
        answer = httpx.post(f"http://127.0.0.1:{self.http_port}{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def instances(self, modality: str) -> list[bytes]:
        """Return the DICOM files that it holds of one modality."""
        files = []
        for series in self.get("/series?expand"):
            if series["MainDicomTags"].get("Modality") == modality:
                for instance in series["Instances"]:
                    answer = httpx.get(f"http://127.0.0.1:{self.http_port}/instances/{instance}/file", timeout=30)
                    files.append(answer.raise_for_status().content)
        return files

    def wait_for(self, modality: str, count: int, *, timeout_s: float = 60.0) -> list[bytes]:
        """Wait until it holds that many instances of a modality and return them."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            files = self.instances(modality)
            if len(files) >= count:
                return files
            time.sleep(0.3)
        raise TimeoutError(
            f"Orthanc holds {len(self.instances(modality))} {modality} after {timeout_s:g} s, not {count}"
        )


@contextmanager
def orthanc(
    folder: Path, *, ae_title: str = "ORTHANC", options: Mapping[str, object] | None = None, port: int = 0
) -> Iterator[Orthanc]:
    """Run Orthanc while the block runs; it writes below `folder`.

    Args:
        folder: of its index and files.
        ae_title: what it calls itself.
        port: of DICOM; 0 takes a free one.
        options: further keys of its configuration, for example `{"DicomAlwaysAllowFind": True}`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    node = Orthanc(port or free_port(), free_port(), ae_title)
    config = folder / "orthanc.json"
    config.write_text(
        json.dumps(
            {
                "Name": "peer",
                "DicomAet": ae_title,
                "DicomPort": node.dicom_port,
                "HttpPort": node.http_port,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "Plugins": [],
                **(options or {}),
            }
        ),
        encoding="utf-8",
    )
    process = start_tool("Orthanc", config)
    try:
        wait_for_port(node.dicom_port, timeout_s=START_S)
        wait_for_port(node.http_port, timeout_s=START_S)
        yield node
    finally:
        process.terminate()
        process.communicate(timeout=30)
