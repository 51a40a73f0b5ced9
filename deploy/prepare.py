"""Makes the virtual environment of this checkout; what is missing is told in one line, before anything is downloaded.

    python3 deploy/prepare.py .venv

As root, on Debian and its kind, it installs what is missing by apt. It takes nothing but a Python, older ones than the
service's too, so that those are refused in words.
"""

import glob
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec

OLDEST, NEWEST = (3, 11), (3, 13)
GLIBC = (2, 35)
DISK_MIB = 2048
"""1.5 GB for the environment, the rest for the demo."""
MEMORY_MIB = 7000
"""The service and its networks at their peak."""
PYTHON_XY = "{}.{}".format(*sys.version_info)
LIBRARY = f"libpython{PYTHON_XY}.so.1.0"
LIBRARY_PACKAGE = f"libpython{PYTHON_XY}"
VENV_PACKAGE = f"python{PYTHON_XY}-venv"
SYSTEM_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")


def main(venv: str) -> str:
    """Make the environment; return why that cannot be, "" when it is done."""
    refusal = unfit_machine((platform.system(), platform.machine()), sys.version_info[:2], platform.libc_ver())
    refusal = refusal or unfit_folder(os.path.dirname(os.path.abspath(venv)))
    if refusal:
        return refusal
    missing = missing_packages(venv)
    root = os.getuid() == 0
    said = ""
    if missing and root and shutil.which("apt-get"):
        said = installed(list(missing))
        missing = missing_packages(venv)
    with tempfile.TemporaryDirectory() as scratch:
        library = unpacked_library(scratch) if list(missing) == [LIBRARY_PACKAGE] else ""
        if library:
            del missing[LIBRARY_PACKAGE]
        if missing:
            return remedy(missing, root, said)
        if not made(venv):
            return f"{sys.executable} -m venv {venv} failed: run it to see why."
        if library:
            shutil.copy(library, os.path.join(venv, "lib", LIBRARY))
    return ""


def unfit_machine(machine: tuple, python: tuple, libc: tuple) -> str:
    """Return why the service cannot run on this machine, under this Python, with this C library; "" when it can."""
    if machine != ("Linux", "x86_64"):
        return "Linux on x86_64 is needed, this is {} on {}.".format(*machine)
    if not OLDEST <= python <= NEWEST:
        needed = "Python {}.{} to {}.{} is needed".format(*OLDEST, *NEWEST)
        return "{}, {} is {}.{}: make demo PYTHON=python3.12, for example.".format(needed, sys.executable, *python)
    name, version = libc
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < GLIBC:
        found = f"{name} {version}" if name else "another C library"
        return f"glibc 2.35 or later is needed, this machine has {found}: Debian 12, Ubuntu 22.04 or later."
    return ""


def unfit_folder(folder: str) -> str:
    """Return why the environment cannot lie in a folder; "" when it can. Little memory is told, and no reason."""
    if not os.access(folder, os.W_OK):
        return f"{folder} cannot be written by this user: clone into a folder of your own."
    free = shutil.disk_usage(folder).free // 2**20
    if free < DISK_MIB:
        return f"{folder} has {free} MiB free, {DISK_MIB} MiB are needed: make room, or clone to another disk."
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    if memory < MEMORY_MIB:
        print(f"This machine has {memory} MiB of memory, the demo needs about {MEMORY_MIB}: it may be slow, or fail.")
    return ""


def missing_packages(venv: str) -> dict:
    """Return what is missing, in words, by the name of Debian's package."""
    missing = {}
    if not (find_spec("ensurepip") or find_spec("virtualenv")):
        missing[VENV_PACKAGE] = f"the venv module of {sys.executable}"
    # Where npc_contour/adapters/triton/wheel.py looks for it.
    own = (os.path.join(venv, "lib"), sysconfig.get_config_var("LIBDIR") or "", os.path.join(sys.base_prefix, "lib"))
    if not any(os.path.exists(os.path.join(folder, LIBRARY)) for folder in (*own, *SYSTEM_FOLDERS)):
        missing[LIBRARY_PACKAGE] = LIBRARY
    return missing


def installed(packages: list) -> str:
    """Install by apt, as root; return the last that apt said where that failed."""
    print("installing " + " ".join(packages))
    ran(["apt-get", "update", "-q"])
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"]
    done = ran(install + packages)
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return lines[-1] if done.returncode and lines else ""


def unpacked_library(scratch: str) -> str:
    """Fetch and unpack the package of libpython, which takes no root; return the file, "" where that failed."""
    # Ubuntu, since 24.04, has the package by another name.
    for package in (LIBRARY_PACKAGE, LIBRARY_PACKAGE + "t64"):
        if shutil.which("apt-get") and ran(["apt-get", "download", "-q", package], scratch).returncode == 0:
            ran(["dpkg", "-x", *glob.glob(os.path.join(scratch, "*.deb")), scratch])
            return next(iter(glob.glob(os.path.join(scratch, "usr/lib/*", LIBRARY))), "")
    return ""


def remedy(missing: dict, root: bool, said: str) -> str:
    """Return what is missing and who can do what about it."""
    found = " and ".join(missing.values()) + " missing"
    if not shutil.which("apt-get"):
        return f"{found}: install it, or name another Python, make demo PYTHON=/path/to/python3."
    if root:
        return f"{found}, apt cannot install it ({said}). The system's Python: make demo PYTHON=/usr/bin/python3"
    return f"{found}. As root: apt-get update && apt-get install {' '.join(missing)}"


def made(venv: str) -> bool:
    """Make the environment with whichever module this Python has."""
    for module in ("venv", "virtualenv"):
        if ran([sys.executable, "-m", module, venv]).returncode == 0:
            return True
        shutil.rmtree(venv, ignore_errors=True)
    return False


def ran(command: list, folder: str = ".") -> subprocess.CompletedProcess:
    """Run a command to its end and keep what it said."""
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


if __name__ == "__main__":
    failure = main(sys.argv[1])
    if failure:
        sys.exit(failure)
