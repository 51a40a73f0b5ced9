"""Finds the real tritonserver that the PyPI wheel nvidia-pytriton carries, and makes it runnable.

Only the wheel's files are used, never its Python API: that is why it is installed without its dependencies.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from npc_contour.errors import EmbeddedServerError

WHEEL = "nvidia-pytriton"
PYTHON_XY = f"{sys.version_info.major}.{sys.version_info.minor}"
X86_64 = "x86_64"
LIBPYTHON = f"libpython{PYTHON_XY}.so.1.0"
ROOM_MB = 200
"""For the backend's files and what is compiled of the networks."""
SERVER_PLACE = f"a folder with {ROOM_MB} MiB of room, a path without spaces, and the right to run programs from it"
SYSTEM_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")
"""Where Debian and its kind, and Red Hat's kind, keep libraries."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """What it takes to start the server: the binary, a backends folder and the environment."""

    binary: Path
    backends: Path
    environment: dict[str, str]


def suits_server(folder: Path) -> bool:
    """Whether the server's files can lie in a folder: it has room, programs may be run from there, its path is plain.

    The server starts the process of a network by words of a shell, and quotes no path in them.
    """
    if not is_plain(folder) or shutil.disk_usage(folder).free < ROOM_MB * 2**20:
        return False
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        Path(probe.name).chmod(0o700)
        return os.access(probe.name, os.X_OK)


def is_plain(path: Path) -> bool:
    """Whether a path reads the same in a shell's words, a list of folders and every encoding."""
    return re.fullmatch(r"[A-Za-z0-9_./+-]+", str(path)) is not None


def prepare_server(work_dir: Path, *, package: str = WHEEL, machine: str = "") -> ServerFiles:
    """Lay out server and Python backend for the running Python below `work_dir`.

    Args:
        work_dir: a folder that `suits_server`; kept between starts; what is there already is used again.
        package: the distribution that carries the server.
        machine: what kind of processor it is for; this one's when empty.

    Raises:
        EmbeddedServerError: the processor is another, the wheel is missing, has no stub for this Python, or a library
            is missing; with the remedy.
    """
    machine = machine or platform.machine()
    if machine != X86_64:
        raise EmbeddedServerError(
            f"the embedded Triton runs on {X86_64}, this machine is {machine}: set triton.url to a Triton elsewhere"
        )
    try:
        wheel = distribution(package)
    except PackageNotFoundError:
        raise EmbeddedServerError(
            f"the embedded Triton needs the package {package}: pip install --no-deps {package}"
        ) from None
    root = Path(str(wheel.locate_file("pytriton/tritonserver")))
    libraries = Path(str(wheel.locate_file("nvidia_pytriton.libs")))
    stub = root / "python_backend_stubs" / PYTHON_XY / "triton_python_backend_stub"
    if not stub.is_file():
        found = sorted(folder.name for folder in (root / "python_backend_stubs").glob("*"))
        raise EmbeddedServerError(
            f"{package} {wheel.version} has no Python backend for Python {PYTHON_XY}, only for {', '.join(found)}"
        )
    binary = _runnable(root / "bin" / "tritonserver", work_dir)
    python_backend = work_dir / "backends" / "python"
    python_backend.mkdir(parents=True, exist_ok=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        _link(root / "backends" / "python" / name, python_backend / name)
    placed_stub = _copy_runnable(stub, python_backend / stub.name)
    own = work_dir / "libpython"
    environment = _environment([own, libraries], _stub_python(work_dir / "python"))
    place_libpython(placed_stub, own, environment, library_folders())
    refuse_missing_libraries(placed_stub, environment)
    return ServerFiles(binary, work_dir / "backends", environment)


def _runnable(binary: Path, work_dir: Path) -> Path:
    # pip keeps no run bit in some versions, and the site-packages may not be ours to change.
    if os.access(binary, os.X_OK):
        return binary
    return _copy_runnable(binary, work_dir / "bin" / binary.name)


def _copy_runnable(source: Path, target: Path) -> Path:
    if not (target.is_file() and target.stat().st_size == source.stat().st_size and os.access(target, os.X_OK)):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.copyfile(source, part)
        part.chmod(0o755)
        part.replace(target)
    return target


def plain_path(path: Path, link: Path) -> Path:
    """Return a path itself where it is plain, else a new link to it."""
    if is_plain(path):
        return path
    _link(path, link)
    return link


def _link(source: Path, link: Path) -> None:
    if link.is_symlink() and link.readlink() == source:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(source)


def _stub_python(home: Path) -> Path:
    """Write a virtual environment that sees the packages of the running Python; return its bin folder.

    The stub's interpreter runs isolated, so it reads no PYTHONPATH; but it takes the first `python3` on PATH for itself
    and obeys the pyvenv.cfg beside that.
    """
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    packages = home / "lib" / f"python{PYTHON_XY}" / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (home / "bin").mkdir(exist_ok=True)
    (home / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n", encoding="utf-8")
    _link(base, home / "bin" / "python3")
    entries = [
        plain_path(Path(entry).resolve(), home / f"path{number}") for number, entry in enumerate(sys.path) if entry
    ]
    (packages / "service.pth").write_text("\n".join(map(str, entries)) + "\n", encoding="utf-8")
    return home / "bin"


def _environment(first: list[Path], python_bin: Path) -> dict[str, str]:
    given = os.environ.get("LD_LIBRARY_PATH", "")
    return {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "LD_LIBRARY_PATH": os.pathsep.join([*map(str, first), *library_folders(), *([given] if given else [])]),
        "PATH": os.pathsep.join((str(python_bin), os.environ.get("PATH", os.defpath))),
    }


def library_folders() -> list[str]:
    """Return where the running Python's shared library may lie, likeliest first."""
    own = str(sysconfig.get_config_var("LIBDIR") or "")
    return [str(Path(sys.prefix) / "lib"), *([own] if own else []), str(Path(sys.base_prefix) / "lib"), *SYSTEM_FOLDERS]


def place_libpython(stub: Path, target: Path, environment: dict[str, str], folders: Sequence[str]) -> None:
    """Link the running Python's library under each name by which the stub asks for one.

    Of some versions the wheel brings a library of its own, which knows less than the running Python: Debian builds
    modules into its library, `_datetime` among them, that are then found nowhere.

    Args:
        stub: of the running version.
        target: folder for the links; the environment's LD_LIBRARY_PATH must begin with it.
        environment: in which the stub will run.
        folders: where to look for the library.

    Raises:
        EmbeddedServerError: there is none; with the remedy.
    """
    library = next((path for folder in folders if (path := Path(folder) / LIBPYTHON).is_file()), None)
    if library is None:
        raise EmbeddedServerError(_missing(LIBPYTHON))
    target.mkdir(parents=True, exist_ok=True)
    for name in _loaded(stub, environment):
        if name.startswith("libpython"):
            _link(library, target / name)


def refuse_missing_libraries(stub: Path, environment: dict[str, str]) -> None:
    """Ask the dynamic linker what the stub would load, and refuse what it does not find.

    Raises:
        EmbeddedServerError: names each library and where Debian has it.
    """
    missing = [name for name, found in _loaded(stub, environment).items() if not found]
    if missing:
        raise EmbeddedServerError(_missing(", ".join(missing)))


def _missing(libraries: str) -> str:
    return (
        f"Triton's Python backend needs {libraries}, not found on this machine; Debian's own Python comes without its "
        f"library: as root apt-get install libpython{PYTHON_XY}, or put the file into {sys.prefix}/lib"
    )


def _loaded(stub: Path, environment: dict[str, str]) -> dict[str, bool]:
    """Return the libraries that the dynamic linker would load, by name, and whether it finds each."""
    listed = subprocess.run(
        [stub],
        env={**environment, "LD_TRACE_LOADED_OBJECTS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    ).stdout
    return {line.split()[0]: "not found" not in line for line in listed.splitlines() if line.strip()}
