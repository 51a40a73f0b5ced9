"""A service that cannot listen does not start: it names the key, leaves no process, and says nothing but that."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path

import pytest

from npc_testkit.service_process import npc_contour


@pytest.mark.parametrize("key", ["dicom", "web"])
def test_a_taken_port_refuses_to_start_and_names_the_key(key: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"dicom": 0, "web": 0, key: taken.getsockname()[1]}
        config = tmp_path / "site.toml"
        config.write_text("".join(f"[{name}]\nport = {port}\n" for name, port in ports.items()))

        done = npc_contour("serve", "--config", config, timeout_s=60)

    assert done.returncode == 2
    assert f"{key}.port: cannot listen on 127.0.0.1:{ports[key]}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "npc-contour-data" / "postgres").exists()


def test_a_second_service_on_the_same_storage_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text("[dicom]\nport = 0\n[web]\nport = 0\n")
    root = tmp_path / "npc-contour-data"
    root.mkdir()
    with (root / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        done = npc_contour("serve", "--config", config, timeout_s=60)

    assert done.returncode == 2
    assert "another service is running" in done.stderr
