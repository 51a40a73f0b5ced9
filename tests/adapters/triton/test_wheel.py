"""The server's files are found, made runnable, and what is missing is named with its remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from npc_contour.adapters.triton.wheel import prepare_server, refuse_missing_libraries
from npc_contour.errors import EmbeddedServerError


def test_server_and_stub_can_be_run(tmp_path: Path) -> None:
    files = prepare_server(tmp_path)

    stub = files.backends / "python" / "triton_python_backend_stub"
    assert os.access(files.binary, os.X_OK)
    assert os.access(stub, os.X_OK)
    assert (files.backends / "python" / "libtriton_python.so").exists()


def test_second_preparation_changes_nothing(tmp_path: Path) -> None:
    before = prepare_server(tmp_path)
    stub = before.backends / "python" / "triton_python_backend_stub"
    written = stub.stat().st_mtime_ns

    assert prepare_server(tmp_path) == before
    assert stub.stat().st_mtime_ns == written


def test_an_isolated_interpreter_found_on_the_path_sees_our_packages(tmp_path: Path) -> None:
    files = prepare_server(tmp_path)

    found = subprocess.run(
        ["python3", "-I", "-c", "import sys, numpy, npc_contour; print(numpy.__file__, sys.version_info[:2])"],
        env=files.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert str(sys.version_info[:2]) in found


def test_absent_package_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="pip install --no-deps no-such-server"):
        prepare_server(tmp_path, package="no-such-server")


def test_missing_library_is_named_with_the_remedy(tmp_path: Path) -> None:
    files = prepare_server(tmp_path)
    stub = files.backends / "python" / "triton_python_backend_stub"

    with pytest.raises(EmbeddedServerError, match=r"needs libcudart-\S+, not found .*apt-get install libpython3"):
        refuse_missing_libraries(stub, {"LD_LIBRARY_PATH": ""})
