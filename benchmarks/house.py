"""How large the code is and which of its own rules it keeps: sizes, broad excepts, one-off protocols, others' privates.

    python benchmarks/house.py            all figures; runs the tests of `make test` with coverage (minutes)
    python benchmarks/house.py --no-suite only what is read from the source

Prints a table and ends with one JSON line. `suite_s` and `coverage_core` (branches of core/, domain/ and application/,
in per cent) are null without the suite.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
SERVICE = ROOT / "service" / "npc_contour"
PHANTOM = ROOT / "models" / "npc_phantom"
TOOLS = ROOT / "tools"
LONG_MODULE, LONG_FUNCTION = 300, 50
PURE = ("core", "domain", "application")


@dataclass
class Source:
    """Every module of some folders, parsed."""

    modules: dict[Path, ast.Module] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)

    @classmethod
    def of(cls, *folders: Path) -> Source:
        """Read all .py files below these folders."""
        found = cls()
        for path in sorted(one for folder in folders for one in folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.modules[path], found.lines[path] = ast.parse(text), text.count("\n")
        return found

    def nodes(self) -> Iterator[ast.AST]:
        """Every node of every module."""
        for module in self.modules.values():
            yield from ast.walk(module)

    def classes(self) -> list[ast.ClassDef]:
        """Every class."""
        return [node for node in self.nodes() if isinstance(node, ast.ClassDef)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-suite", action="store_true", help="do not run the tests")
    args = parser.parse_args()
    service, ours = Source.of(SERVICE), Source.of(SERVICE, ROOT / "models")
    long_modules = {path: count for path, count in service.lines.items() if count > LONG_MODULE}
    figures: dict[str, float | None] = {
        "service_lines": sum(service.lines.values()),
        "phantom_lines": sum(Source.of(PHANTOM).lines.values()),
        "tools_lines": sum(Source.of(TOOLS).lines.values()),
        "test_lines": sum(Source.of(ROOT / "tests").lines.values()),
        "modules_over_300": len(long_modules),
        "functions_over_50": sum(length(node) > LONG_FUNCTION for node in service.nodes() if is_function(node)),
        "broad_excepts": sum(is_broad(node) for node in ours.nodes()),
        "protocols_with_one_implementation": len(lonely_protocols(service)),
        "private_attributes_of_others": len(list(private_of_others(ours))),
        "dependencies": len(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]),
        "suite_s": None,
        "coverage_core": None,
    }
    if not args.no_suite:
        figures["suite_s"], figures["coverage_core"] = run_suite()
    show(figures, long_modules)
    print(json.dumps(figures))
    return 0


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def length(node: ast.AST) -> int:
    """Lines of a function's statements, its docstring aside."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def is_broad(node: ast.AST) -> bool:
    """Return whether this catches whatever goes wrong."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
               for kind in kinds)  # fmt: skip


def lonely_protocols(service: Source) -> list[str]:
    """Names of protocols that one class has all members of: an interface nobody needs."""
    classes = service.classes()
    members = {one.name: members_of(one) for one in classes}
    bases = {one.name: [base.id for base in one.bases if isinstance(base, ast.Name)] for one in classes}
    whole: dict[str, set[str]] = {name: inherited(name, members, bases) for name in members}
    protocols = {one.name for one in classes if any("Protocol" in ast.unparse(base) for base in one.bases)}
    having = defaultdict(list)
    for protocol in protocols:
        for name in set(members) - protocols:
            if members[protocol] and members[protocol] <= whole[name]:
                having[protocol].append(name)
    return sorted(name for name, found in having.items() if len(found) == 1)


def members_of(one: ast.ClassDef) -> set[str]:
    """Names of what a class has: methods, fields, and what its methods set."""
    found: set[str] = set()
    for node in ast.walk(one):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def inherited(name: str, members: dict[str, set[str]], bases: dict[str, list[str]]) -> set[str]:
    found = set(members.get(name, ()))
    for base in bases.get(name, ()):
        if base != name:
            found |= inherited(base, members, bases)
    return found


def private_of_others(ours: Source) -> Iterator[str]:
    """Private attributes that are used and that nothing of ours defines: which libraries may change any day."""
    defined = {name for one in ours.classes() for name in members_of(one)}
    defined |= {node.name for node in ours.nodes() if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    defined |= {node.id for node in ours.nodes() if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ours.nodes():
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and node.attr not in defined
        ):
            yield node.attr


def run_suite() -> tuple[float, float]:
    """Run the tests of `make test` under coverage; return the seconds, and the branches of the pure floors in per cent.

    Raises:
        SystemExit: a test failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-n", "2", "--dist", "loadfile"]
        packages: Iterable[str] = (f"--cov=npc_contour.{floor}" for floor in PURE)
        begun = time.monotonic()
        done = subprocess.run(
            [*command, *packages, "--cov-branch", f"--cov-report=json:{report}"], cwd=ROOT, check=False
        )
        taken = time.monotonic() - begun
        if done.returncode:
            raise SystemExit("the tests fail: their time and coverage say nothing")
        totals = json.loads(report.read_text())["totals"]
    return round(taken, 1), round(100.0 * totals["covered_branches"] / totals["num_branches"], 1)


def show(figures: dict[str, float | None], long_modules: dict[Path, int]) -> None:
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, "not measured" if value is None else f"{value:,}")
    for path, count in sorted(long_modules.items(), key=lambda item: -item[1]):
        table.add_row(f"  {path.relative_to(SERVICE)}", str(count), style="dim")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
