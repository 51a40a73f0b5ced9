"""The cases of benchmarks/start.py: one row each, what is run where, and how it must end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from start_machines import ROOT, SUITES, USER, Machine
from start_watch import Ended, watched

DEMO = ("demo", "--slices", "60", "--out")
SITE = "[storage]\nroot = 'data'\nmin_free_mb = 100\n[dicom]\nport = 0\n[web]\nport = 0\n"
CHECK = f'printf "{SITE}" > site.toml && .venv/bin/npc-contour check --config site.toml'.replace("\n", "\\n")
PYTHONS = ("3.11", "3.12", "3.13")
REFUSED_WITHIN_S = 20.0
LINES_OF_A_REFUSAL = 3
NEEDS_ROOT = "As root: apt-get update && apt-get install python{}-venv"


@dataclass(slots=True)
class Bench:
    """What cases share: folders, machines that are laid once, packages that are installed once."""

    work: Path
    trees: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    def machine(self, name: str, suite: str) -> Machine:
        """Return the machine of this name, laid when first asked for."""
        if name not in self.machines:
            self.machines[name] = Machine(SUITES[suite], self.trees, self.work, name)
        return self.machines[name]

    def folder(self, name: str) -> Path:
        """Return a new folder that anybody may enter."""
        path = self.work / name
        path.mkdir(mode=0o755, parents=True)
        return path

    def installed(self, python: str) -> Path:
        """Return the commands' folder of an environment into which the built wheel was installed, as a user does it."""
        venv = self.work / f"wheel-{python}"
        pip = [venv / "bin" / "python", "-m", "pip", "install", "-q", "--constraint", ROOT / "constraints.txt"]
        if not venv.is_dir():
            _do([f"python{python}", "-m", "venv", venv])
            _do([*pip, self.wheel()])
            _do([*pip, "--no-deps", "nvidia-pytriton"])
        return venv / "bin"

    def wheel(self) -> Path:
        """Return the built wheel."""
        folder = self.work / "dist"
        if not folder.is_dir():
            _do(["python3", "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder, ROOT])
        return next(folder.glob("*.whl"))


@dataclass(frozen=True, slots=True)
class Case:
    """One way to start the product.

    Attributes:
        part: by which cases are chosen.
        run: runs it.
        refusal: pattern of the one line with which it must be refused; "" means that it must start.
        shows: pattern that the output of what has started must have.
    """

    name: str
    part: str
    run: Callable[[Bench], Ended]
    refusal: str = ""
    shows: str = ""

    def outcome(self, ended: Ended) -> str:
        """Return "started", "clear refusal" or what was wrong."""
        if "Traceback (most recent call last)" in ended.output:
            return "traceback"
        if bool(ended.code) != bool(self.refusal):
            return f"exit status {ended.code}"
        return self._refused(ended) if self.refusal else self._started(ended)

    def _started(self, ended: Ended) -> str:
        return "started" if re.search(self.shows, ended.output) else f"the output lacks {self.shows!r}"

    def _refused(self, ended: Ended) -> str:
        said = [line for line in ended.output.splitlines() if line.strip() and not line.startswith("make")]
        if not any(re.search(self.refusal, line) for line in said):
            return f"no line like {self.refusal!r}"
        if len(said) > LINES_OF_A_REFUSAL:
            return f"a refusal of {len(said)} lines"
        return "clear refusal" if ended.seconds < REFUSED_WITHIN_S else f"refused only after {ended.seconds:.0f} s"


def fresh(suite: str, part: str) -> list[Case]:
    """Return the cases of a fresh machine: a clone and `make demo`, by root and by a user."""

    def bare(bench: Bench) -> Ended:
        machine = bench.machine(f"{suite}-user", suite)
        machine.clone(USER)
        return machine.run("cd npc && make demo", USER)

    def user(bench: Bench) -> Ended:
        machine = bench.machine(f"{suite}-user", suite)
        machine.install("python3-venv")
        return machine.run("cd npc && make demo", USER)

    def root(bench: Bench) -> Ended:
        machine = bench.machine(f"{suite}-root", suite)
        machine.clone("root")
        return machine.run("cd npc && make demo", "root")

    def check(bench: Bench) -> Ended:
        return bench.machine(f"{suite}-root", suite).run(f"cd npc && {CHECK}", "root")

    refusal = re.escape(NEEDS_ROOT.format(SUITES[suite].python))
    return [
        Case(f"{suite}: make demo by a user, Python without venv", part, bare, refusal=refusal),
        Case(f"{suite}: make demo by a user", part, user, shows=r"RTSTRUCT +.*demo-out/tps/RS"),
        Case(f"{suite}: make demo by root, nothing installed", part, root, shows=r"RTSTRUCT +.*demo-out/tps/RS"),
        Case(f"{suite}: check", part, check, shows="answered to one window"),
    ]


def wheel(python: str) -> Case:
    """Return the case of the wheel under a Python of this machine."""

    def run(bench: Bench) -> Ended:
        return watched([bench.installed(python) / "npc-contour", *DEMO, "out"], bench.folder(f"demo-{python}"))

    return Case(f"wheel, Python {python}: demo", "pythons", run, shows=r"RTSTRUCT +.*out/tps/RS")


def old_python(name: str) -> Case:
    """Return the case of a Python that is too old or too new."""

    def run(bench: Bench) -> Ended:
        clone = bench.work / f"clone-{name}"
        _do(["git", "clone", "-q", "--no-hardlinks", ROOT, clone])
        return watched(["make", "demo", f"PYTHON={name}"], clone)

    return Case(f"make demo with {name}", "pythons", run, refusal=r"Python 3\.11 to 3\.13 is needed")


def without_torch(bench: Bench) -> Ended:
    """Ask for what needs the extra."""
    return watched([bench.installed(_own()) / "npc-networks", "--help"], bench.work)


def odd_folder(bench: Bench) -> Ended:
    """Run the demo where every path has a space and letters beyond ASCII."""
    folder = bench.folder("Prüfung eins")
    temporary = bench.folder("temporär zwei")
    return watched(
        [bench.installed(_own()) / "npc-contour", *DEMO, "démo drei"], folder, environment={"TMPDIR": str(temporary)}
    )


def with_environment(name: str, **environment: str) -> Case:
    """Return the case of a demo with these variables."""

    def run(bench: Bench) -> Ended:
        folder = bench.folder(f"demo {name}".replace(" ", "-").replace("/", "-"))
        return watched([bench.installed(_own()) / "npc-contour", *DEMO, "out"], folder, environment=environment)

    return Case(f"demo, {name}", "environment", run, shows=r"RTSTRUCT +.*out/tps/RS")


def killed(how: signal.Signals) -> Case:
    """Return the case of a demo that is ended half-way: nothing of it may go on, nothing may lie about."""

    def run(bench: Bench) -> Ended:
        folder = bench.folder(f"demo-{how.name}")
        ended = watched([bench.installed(_own()) / "npc-contour", *DEMO, "out"], folder, kill=(25.0, how))
        # Ended as it was asked to; what it leaves is what is looked at.
        return Ended(0, ended.output, ended.seconds, ended.processes, ended.files)

    return Case(f"demo, {how.name} to it alone", "environment", run)


def _own() -> str:
    return next(python for python in PYTHONS if shutil.which(f"python{python}"))


def _do(command: list[str | Path]) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}")


def cases() -> list[Case]:
    """Return every case, in the order in which they run."""
    found = [python for python in PYTHONS if shutil.which(f"python{python}")]
    strange = [name for name in ("python3.9", "python3.10", "python3.14") if shutil.which(name)]
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return [
        *fresh("debian13", "debian"),
        *fresh("debian12", "debian"),
        *fresh("ubuntu2404", "ubuntu"),
        *(wheel(python) for python in found),
        *(old_python(name) for name in strange),
        Case("npc-networks without its extra", "pythons", without_torch, refusal=r"npc-autocontour\[networks\]"),
        Case("demo, spaces and umlauts in every path", "environment", odd_folder, shows=r"démo drei/tps/RS"),
        with_environment("a proxy for HTTP", **proxy),
        with_environment("a home that cannot be written", HOME="/proc"),
        *(killed(how) for how in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)),
    ]


def needs_machine(case: Case) -> bool:
    """Whether a case needs a fresh machine, and so root."""
    return case.part in {"debian", "ubuntu"}


def is_possible(case: Case) -> bool:
    """Whether this machine can run a case at all."""
    return not needs_machine(case) or os.getuid() == 0
