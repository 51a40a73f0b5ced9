"""The cases of benchmarks/start.py on fresh machines and under every Python; the others: start_environments.py."""

from __future__ import annotations

import re

from start_bench import DEMO, PYTHONS, Bench, Case, do, own, runs
from start_environments import environments
from start_machines import ROOT, SUITES, USER
from start_watch import Ended, watched

SITE = "[storage]\nroot = 'data'\nmin_free_mb = 100\n[dicom]\nport = 0\n[web]\nport = 0\n"
CHECK = f'printf "{SITE}" > site.toml && .venv/bin/npc-contour check --config site.toml'.replace("\n", "\\n")
NEEDS_ROOT = "As root: apt-get update && apt-get install python{}-venv"


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

    arrived = r"RTSTRUCT +.*demo-out/tps/RS"
    refusal = re.escape(NEEDS_ROOT.format(SUITES[suite].python))
    return [
        Case(f"{suite}: make demo by a user, Python without venv", part, bare, refusal, "", suite),
        Case(f"{suite}: make demo by a user", part, user, "", arrived, suite),
        Case(f"{suite}: make demo by root, nothing installed", part, root, "", arrived, suite),
        Case(f"{suite}: check", part, check, "", "answered to one window", suite),
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
        do(["git", "clone", "-q", "--no-hardlinks", ROOT, clone])
        return watched(["make", "demo", f"PYTHON={name}"], clone)

    return Case(f"make demo with {name}", "pythons", run, refusal=r"Python 3\.11 to 3\.13 is needed")


def without_torch(bench: Bench) -> Ended:
    """Ask for what needs the extra."""
    return watched([bench.installed(own()) / "npc-networks", "--help"], bench.work)


def cases() -> list[Case]:
    """Return every case, in the order in which they run."""
    found = [python for python in PYTHONS if runs(f"python{python}")]
    strange = [name for name in ("python3.9", "python3.10", "python3.14") if runs(name)]
    return [
        *fresh("debian13", "debian"),
        *fresh("debian12", "debian"),
        *fresh("ubuntu2404", "ubuntu"),
        *(wheel(python) for python in found),
        *(old_python(name) for name in strange),
        Case("npc-networks without its extra", "pythons", without_torch, refusal=r"npc-autocontour\[networks\]"),
        *environments(),
    ]
