"""Fresh machines: Debian and Ubuntu as debootstrap lays them, entered by chroot in namespaces of their own.

Packages come from where this machine's own apt and pip take theirs. Nothing is mounted outside the namespace, so
nothing stays mounted, and what still runs in it when its command has ended is counted and ends with it.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from start_watch import GRACE_S, Ended

ROOT = Path(__file__).parents[1]
INCLUDED = "python3,make,ca-certificates"
USER = "visitor"
PASSED_ON = re.compile(r"(PIP_\w+|(https?|no|all)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)", re.IGNORECASE)
PATH_IN_WORDS = re.compile(r"(file://)?(/[^\s'\"]+)")
CACHE = "/var/cache/pip"
NAMESPACES = ("unshare", "--mount-proc", "--pid", "--fork", "--kill-child", "--propagation", "private")
DISK_MIB = 12_000
LAYING_S, INSTALLING_S, RUN_S = 600.0, 300.0, 900.0
LAYING_TRIES = 2
NO_CONNECTION = re.compile(
    r"Failed to fetch|Could not (connect|resolve)|Temporary failure|Connection ?(Error|refused|reset|timed out|broken)"
    r"|Read ?[Tt]imed? ?out|ReadTimeout|Max retries exceeded|IncompleteRead|incomplete-download|HTTP error 5\d\d"
)
"""What apt and pip say of a network or an index that does not answer."""
LOOKED_AT = ("tmp", "var/tmp", "dev/shm")


@dataclass(frozen=True, slots=True)
class Suite:
    """One release of a distribution: its codename, its Python, the name of its packages' origin."""

    codename: str
    python: str
    origin: str = "Debian"
    components: str = "main"


SUITES = {
    "debian12": Suite("bookworm", "3.11"),
    "debian13": Suite("trixie", "3.13"),
    "ubuntu2404": Suite("noble", "3.12", "Ubuntu", "main,universe"),
}


class NotFetchedError(RuntimeError):
    """Packages could not be fetched: that says nothing about the product."""


def why_not() -> str:
    """Return why no fresh machine can be made here; "" when it can."""
    if os.getuid() != 0:
        return "debootstrap and chroot need root"
    if not shutil.which("debootstrap"):
        return "debootstrap is missing: make system-packages, as root"
    tried = subprocess.run(
        [*NAMESPACES, "sh", "-c", "mount -t tmpfs tmpfs /mnt && chroot / true"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if tried.returncode:
        return f"root may not use namespaces, mounts and chroot here: {' '.join(tried.stdout.split())}"
    free_mib = shutil.disk_usage(tempfile.gettempdir()).free // 2**20
    if free_mib < DISK_MIB:
        return f"{tempfile.gettempdir()} has {free_mib} MiB free, {DISK_MIB} MiB are needed"
    return ""


class Machine:
    """A copy of a release's tree."""

    def __init__(self, suite: Suite, trees: Path, work: Path, name: str, until: float = float("inf")) -> None:
        """Lay the release below `trees`, unless it is there, and copy it to `work/name`; nothing runs after `until`.

        Raises:
            NotFetchedError: its packages cannot be had.
        """
        self.tree = work / name
        self._cache = trees / "pip-cache"
        self._until = until
        base = trees / suite.codename
        if not base.is_dir():
            _lay(suite, base, max(min(LAYING_S, until - time.monotonic()), 1.0))
        subprocess.run(["cp", "-a", "--reflink=auto", base, self.tree], check=True)
        self._cache.mkdir(exist_ok=True)
        self._folders, self._environment = _as_this_machine(self.tree)
        subprocess.run(["chroot", self.tree, "useradd", "--create-home", "--shell", "/bin/bash", USER], check=True)

    def install(self, package: str) -> None:
        """Install a package as the machine's administrator did it long ago.

        Raises:
            NotFetchedError: apt cannot; with its last words.
        """
        command = f"apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q {package}"
        ended = self.run(command, "root", INSTALLING_S)
        if ended.code:
            raise NotFetchedError(f"{command}\n{ended.output[-2000:]}")

    def clone(self, user: str) -> None:
        """Give a user a clean clone of this repository, npc: what is committed, nothing else."""
        home = "root" if user == "root" else f"home/{user}"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, self.tree / home / "npc"], check=True)
        subprocess.run(["chroot", self.tree, "chown", "-R", f"{user}:{user}", f"/{home}/npc"], check=True)

    def run(self, command: str, user: str, limit_s: float = RUN_S) -> Ended:
        """Run a shell command in the user's home, and see what it leaves."""
        limit_s = max(min(limit_s, self._until - time.monotonic()), 1.0)
        # pip uses a cache that its user owns, or may write. A machine beside this one may take files from it now.
        subprocess.run(["chmod", "-R", "a+rwX", self._cache], check=False, stderr=subprocess.DEVNULL)
        names = [f"{key}={value}" for key, value in self._environment.items()]
        folders = [f"{self._cache}={CACHE}", *(f"{folder}={folder}" for folder in self._folders)]
        started = time.monotonic()
        done = subprocess.run(
            [
                *NAMESPACES,
                *(sys.executable, __file__, str(self.tree), user, command, ",".join(folders), *names),
            ],
            check=False,
            timeout=limit_s + 60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NPC_START_LIMIT": str(limit_s)},
        )
        seconds = time.monotonic() - started
        left = [line.partition(" ")[2] for line in _lines(self.tree / ".left") if line.startswith("process ")]
        files = [line.partition(" ")[2] for line in _lines(self.tree / ".left") if line.startswith("file ")]
        (self.tree / ".left").unlink(missing_ok=True)
        return Ended(done.returncode, done.stdout.decode(errors="replace"), seconds, tuple(left), tuple(files))

    def remove(self) -> None:
        """Throw the copy away."""
        shutil.rmtree(self.tree)


def _lay(suite: Suite, base: Path, limit_s: float) -> None:
    part = base.with_name(f"{base.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", f"--include={INCLUDED}", f"--components={suite.components}"]
    command = ["debootstrap", *options, suite.codename, part, *_mirror(suite.origin)]
    for _ in range(LAYING_TRIES):
        shutil.rmtree(part, ignore_errors=True)
        try:
            done = subprocess.run(
                command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s
            )
        except subprocess.TimeoutExpired:
            raise NotFetchedError(f"debootstrap {suite.codename}: not done after {limit_s:.0f} s") from None
        if done.returncode == 0:
            part.replace(base)
            return
    raise NotFetchedError(f"debootstrap {suite.codename}: {' '.join(done.stdout.split())[-500:]}")


def _mirror(origin: str) -> list[str]:
    """Return where this machine's apt takes the packages of an origin; empty leaves it to debootstrap."""
    words = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    return [line.split()[2] for line in words.splitlines() if line.split()[:2] == [origin, origin]][:1]


def _as_this_machine(tree: Path) -> tuple[list[str], dict[str, str]]:
    """Let apt and pip fetch as they do here; return the folders to be bound into the tree, and the environment."""
    environment = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    environment["PIP_CACHE_DIR"] = CACHE
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", tree / "etc" / name)
    proxies = subprocess.run(["apt-config", "dump"], check=False, capture_output=True, text=True).stdout.splitlines()
    lines = [*(line for line in proxies if re.match(r"Acquire::https?::Proxy", line)), 'Acquire::Retries "3";']
    (tree / "etc/apt/apt.conf.d/99-this-machine").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = _pip_settings()
    (tree / "etc/pip.conf").write_text(_as_ini(settings), encoding="utf-8")
    folders = []
    for value in (*settings.values(), *environment.values()):
        for is_url, found in PATH_IN_WORDS.findall(value):
            if Path(found).is_dir() and found != CACHE:
                # An index on disk refers to files beside it.
                folders.append(str(Path(found).parent) if is_url else found)
            elif Path(found).is_file():
                (tree / found[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, tree / found[1:])
    return sorted(set(folders)), environment


def _pip_settings() -> dict[str, str]:
    words = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    ).stdout
    found = dict(line.split("=", 1) for line in words.splitlines() if "=" in line and not line.startswith(":env:"))
    return {name: str(ast.literal_eval(value)) for name, value in found.items()}


def _as_ini(settings: dict[str, str]) -> str:
    sections: dict[str, list[str]] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, []).append(f"{key} = {value}".replace("\n", "\n  "))
    return "".join("\n".join([f"[{section}]", *lines, ""]) for section, lines in sections.items())


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _enter(tree: Path, user: str, command: str, folders: list[str], environment: list[str]) -> int:
    """Be the first process of the namespace: mount, run the command, write what is left of it to `.left`."""
    for kind, where in (("proc", "proc"), ("devpts", "dev/pts"), ("tmpfs", "dev/shm")):
        subprocess.run(
            ["mount", "-t", kind, "-o", "mode=1777" if kind == "tmpfs" else "rw", kind, tree / where], check=True
        )
    for pair in folders:
        source, _, where = pair.partition("=")
        (tree / where[1:]).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", source, tree / where[1:]], check=True)
    home = "/root" if user == "root" else f"/home/{user}"
    own = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={home}", "LANG=C.UTF-8"]
    process = subprocess.Popen(
        ["chroot", f"--userspec={user}:{user}", tree, "env", "-i", *own, *environment, "bash", "-c", f"cd && {command}"]
    )
    try:
        code = process.wait(float(os.environ["NPC_START_LIMIT"]))
    except subprocess.TimeoutExpired:
        # All that runs here ends with this process; what would have been left nobody knows.
        process.kill()
        return 124
    deadline = time.monotonic() + GRACE_S
    while (left := _others()) and time.monotonic() < deadline:
        time.sleep(0.2)
    files = [str(path.relative_to(tree)) for folder in LOOKED_AT for path in (tree / folder).iterdir()]
    lines = [*(f"process {line}" for line in left), *(f"file {name}" for name in files)]
    (tree / ".left").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return code


def _others() -> list[str]:
    """Return the command lines of every process of this namespace but the first; the dead have none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if entry.name != "1" and line:
            found.append(line)
    return found


if __name__ == "__main__":
    _, given_tree, given_user, given_command, given_folders, *given_environment = sys.argv
    sys.exit(_enter(Path(given_tree), given_user, given_command, given_folders.split(","), given_environment))
