"""What this machine lacks is told in one line, at once, before `make` downloads anything."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "prepare.py"
X86, PYTHON, GLIBC = ("Linux", "x86_64"), (3, 11), ("glibc", "2.36")


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = spec_from_file_location("prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("machine", "python", "libc", "said"),
    [
        (X86, (3, 11), GLIBC, ""),
        (X86, (3, 13), ("glibc", "2.41"), ""),
        (("Linux", "aarch64"), PYTHON, GLIBC, "Linux on x86_64 is needed, this is Linux on aarch64."),
        (("Darwin", "arm64"), PYTHON, ("", ""), "Linux on x86_64 is needed, this is Darwin on arm64."),
        (X86, (3, 10), GLIBC, "Python 3.11 to 3.13 is needed"),
        (X86, (3, 14), GLIBC, "is 3.14: make demo PYTHON="),
        (X86, PYTHON, ("glibc", "2.31"), "glibc 2.35 or later is needed, this machine has glibc 2.31"),
        (X86, PYTHON, ("", ""), "this machine has another C library"),
    ],
)
def test_machines(
    prepare: ModuleType, machine: tuple[str, str], python: tuple[int, int], libc: tuple[str, str], said: str
) -> None:
    found = prepare.unfit_machine(machine, python, libc)

    assert said in found
    assert bool(said) == bool(found)
    assert "\n" not in found


def test_a_disk_without_room_is_refused(prepare: ModuleType) -> None:
    assert "/proc has 0 MiB free, 2048 MiB are needed" in prepare.unfit_folder("/proc")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_of_somebody_else_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).resolve(), "-c", f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import os, "
         "prepare; os.setuid(65534); sys.exit(prepare.main(sys.argv[1]))", tmp_path / ".venv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr == f"{tmp_path} cannot be written by this user: clone into a folder of your own.\n"


def test_what_is_missing_is_named_with_the_command(prepare: ModuleType) -> None:
    missing = {"python3.11-venv": "the venv module of /usr/bin/python3", "libpython3.11": "libpython3.11.so.1.0"}

    user, root = (prepare.remedy(missing, is_root, "E: Unable to locate package") for is_root in (False, True))

    assert user.endswith("As root: apt-get update && apt-get install python3.11-venv libpython3.11")
    assert "E: Unable to locate package" in root
    for words in missing.values():
        assert words in user
        assert words in root
