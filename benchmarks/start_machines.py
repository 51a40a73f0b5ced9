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


def why_not() -> str:
    """Return why no fresh machine can be made here; "" when it can."""
    if os.getuid() != 0:
        return "debootstrap and chroot need root"
    if not shutil.which("debootstrap"):
        return "debootstrap is missing: make system-packages, as root"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True).returncode:
        return "root may make no namespaces here (unshare), as in some containers"
    return ""


class Machine:
    """A copy of a release's tree."""

    def __init__(self, suite: Suite, trees: Path, work: Path, name: str) -> None:
        """Lay the release below `trees`, unless it is there, and copy it to `work/name`."""
        self.tree = work / name
        self._cache = work / "pip-cache"
        base = trees / suite.codename
        if not base.is_dir():
            _lay(suite, base)
        subprocess.run(["cp", "-a", "--reflink=auto", base, self.tree], check=True)
        self._cache.mkdir(exist_ok=True)
        self._folders, self._environment = _as_this_machine(self.tree)
        subprocess.run(["chroot", self.tree, "useradd", "--create-home", "--shell", "/bin/bash", USER], check=True)

    def install(self, package: str) -> None:
        """Install a package as the machine's administrator did it long ago.

        Raises:
            RuntimeError: apt cannot; with its last words.
        """
        command = f"apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q {package}"
        ended = self.run(command, "root")
        if ended.code:
            raise RuntimeError(f"{command}\n{ended.output[-2000:]}")

    def clone(self, user: str) -> None:
        """Give a user a clean clone of this repository, npc: what is committed, nothing else."""
        home = "root" if user == "root" else f"home/{user}"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, self.tree / home / "npc"], check=True)
        subprocess.run(["chroot", self.tree, "chown", "-R", f"{user}:{user}", f"/{home}/npc"], check=True)

    def run(self, command: str, user: str, limit_s: float = 900.0) -> Ended:
        """Run a shell command in the user's home, and see what it leaves."""
        # pip uses a cache that its user owns, or may write.
        subprocess.run(["chmod", "-R", "a+rwX", self._cache], check=True)
        names = [f"{key}={value}" for key, value in self._environment.items()]
        folders = [f"{self._cache}={CACHE}", *(f"{folder}={folder}" for folder in self._folders)]
        started = time.monotonic()
        done = subprocess.run(
            [
                *("unshare", "--mount-proc", "--pid", "--fork", "--kill-child", "--propagation", "private"),
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


def _lay(suite: Suite, base: Path) -> None:
    part = base.with_name(f"{base.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", f"--include={INCLUDED}", f"--components={suite.components}"]
    done = subprocess.run(
        ["debootstrap", *options, suite.codename, part, *_mirror(suite.origin)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"debootstrap {suite.codename}\n{done.stdout[-2000:]}")
    part.replace(base)


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
    lines = [line for line in proxies if re.match(r"Acquire::https?::Proxy", line)]
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
        process.kill()
        code = 124
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
