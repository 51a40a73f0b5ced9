"""What `pip install` brings works outside a checkout: the wheel that the source distribution builds."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from npc_testkit.peers import free_port

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
SITE = """
[storage]
root = "data"
min_free_mb = 100
[dicom]
port = 0
[web]
port = {port}
[routing]
pipelines = ["ln_ctv"]
[triton]
model_repository = "networks"
"""
"""One network is loaded faster than all that the package brings."""


@dataclass(frozen=True)
class Built:
    from_sources: Path
    from_checkout: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return the wheel of the source distribution, and that of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    _do([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], ROOT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sources:
        sources.extractall(folder / "sources", filter="data")
    unpacked = next((folder / "sources").iterdir())
    _do([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "again")], unpacked)
    return Built(next((folder / "again").glob("*.whl")), next(folder.glob("*.whl")))


@pytest.fixture(scope="module")
def commands(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the commands' folder of an environment with the wheel; its dependencies are those of this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    _do([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index",
         str(built.from_sources)], home)  # fmt: skip
    packages = home / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_source_distribution_builds_the_same_wheel(built: Built) -> None:
    wheel = _contents(built.from_sources)

    assert wheel == _contents(built.from_checkout)
    for name in ("ln_ctv", "npc_oar", "npc_gtv"):
        assert any(path.endswith(f"share/npc-autocontour/triton_repo/{name}/1/network.onnx") for path in wheel)


def test_commands_run_outside_a_checkout(commands: Path, tmp_path: Path) -> None:
    contour, web_port = str(commands / "npc-contour"), free_port()
    (tmp_path / "site.toml").write_text(SITE.format(port=web_port))

    assert "0." in _do([contour, "--version"], tmp_path)
    _do([contour, "phantom", "patient", "--slices", "60", "--matrix", "512"], tmp_path)
    said = _do([contour, "segment", "patient", "--out", "nodes.dcm", "--pipeline", "ln_ctv"], tmp_path)
    assert "ln_ctv: nodes.dcm: " in said
    assert (tmp_path / "nodes.dcm").is_file()
    networks = commands.parent / "share" / "npc-autocontour" / "triton_repo"
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "ln_ctv").symlink_to(networks / "ln_ctv")
    for verb in ("check", "self-test"):
        _do([contour, verb, "--config", "site.toml"], tmp_path)
    with (tmp_path / "serve.log").open("w") as log:
        service = subprocess.Popen([contour, "serve", "--config", "site.toml"], cwd=tmp_path, stderr=log, env=_clean())
    try:
        assert _ready(service, web_port), (tmp_path / "serve.log").read_text()[-3000:]
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=60) == 0


def _contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def _do(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=_clean(), capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _clean() -> dict[str, str]:
    """Return an environment in which nothing points into the checkout."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def _ready(service: subprocess.Popen[bytes], web_port: int) -> bool:
    deadline_s = time.monotonic() + 300
    while time.monotonic() < deadline_s and service.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{web_port}/health/ready", trust_env=False).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    return False
