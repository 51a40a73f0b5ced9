"""What the cases of benchmarks/start.py are made of: what they share, and how each is judged."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from start_machines import NO_CONNECTION, ROOT, SUITES, Machine
from start_watch import Ended

LEFT_OUT = "left out"
DEMO = ("demo", "--slice-spacing", "4", "--out")
PYTHONS = ("3.11", "3.12", "3.13")
REFUSED_WITHIN_S = 20.0
LINES_OF_A_REFUSAL = 3


def runs(python: str) -> bool:
    """Whether this machine has a Python of this name; one of pyenv's may be a name only."""
    return (
        bool(shutil.which(python))
        and not subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode
    )


def own() -> str:
    """Return the version of the oldest Python of this machine that suits."""
    return next(python for python in PYTHONS if runs(f"python{python}"))


def do(command: list[str | Path]) -> None:
    """Run a command that must end well."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}")


@dataclass(slots=True)
class Bench:
    """What cases share: folders, machines that are laid once, packages that are installed once."""

    work: Path
    trees: Path
    until: float = float("inf")
    machines: dict[str, Machine] = field(default_factory=dict)

    def machine(self, name: str, suite: str) -> Machine:
        """Return the machine of this name, laid when first asked for."""
        if name not in self.machines:
            self.machines[name] = Machine(SUITES[suite], self.trees, self.work, name, self.until)
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
            do([f"python{python}", "-m", "venv", venv])
            do([*pip, self.wheel()])
            do([*pip, "--no-deps", "nvidia-pytriton"])
        return venv / "bin"

    def contour(self) -> Path:
        """Return the command of an environment of the oldest Python of this machine."""
        return self.installed(own()) / "npc-contour"

    def wheel(self) -> Path:
        """Return the built wheel."""
        folder = self.work / "dist"
        if not folder.is_dir():
            do(["python3", "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder, ROOT])
        return next(folder.glob("*.whl"))


@dataclass(frozen=True, slots=True)
class Case:
    """One way to start the product.

    Attributes:
        part: by which cases are chosen.
        run: runs it.
        refusal: pattern of the one line with which it must be refused; "" means that it must start.
        shows: pattern that the output of what has started must have.
        machine: the kind of fresh machine it needs, and so root; "" is this machine.
        root: it needs root for another reason: something to be mounted, another user to become.
        refused_within_s: a refusal takes no longer; more where something else is run to its end beside it.
    """

    name: str
    part: str
    run: Callable[[Bench], Ended]
    refusal: str = ""
    shows: str = ""
    machine: str = ""
    root: bool = False
    refused_within_s: float = REFUSED_WITHIN_S

    @property
    def needs_root(self) -> bool:
        """Whether only root can run it."""
        return self.root or bool(self.machine)

    def outcome(self, ended: Ended) -> str:
        """Return "started", "clear refusal" or what was wrong."""
        if "Traceback (most recent call last)" in ended.output:
            return "traceback"
        if ended.code and NO_CONNECTION.search(ended.output):
            return f"{LEFT_OUT}: packages cannot be fetched"
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
        return "clear refusal" if ended.seconds < self.refused_within_s else f"refused only after {ended.seconds:.0f} s"
