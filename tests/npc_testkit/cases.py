"""The table of cases: what must happen to each odd input, run as a user would, and judged.

A case is right only when everything its row asks for was seen. Two faults are counted by themselves because a clinic
cannot see them coming: a result that is wrong without a word, and a Python traceback in place of a sentence.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK

TRACEBACK = "Traceback (most recent call last)"
REFUSAL_STATUSES = (1, 2)
COMMAND_TIMEOUT_S = 900.0
_KEYS = {"must", "run", "check"}
_STEP_KEYS = {"argv", "env", "exit", "says", "never", "refuses", "voxels", "rois", "dice", "absent", "names"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed of one case.

    Attributes:
        faults: what differs from the row, in words; none when the case is as specified.
        silent_wrong: a result was written that is wrong, or that should have been refused, and nothing said so.
        tracebacks: how many commands ended in a Python traceback.
        covered: whether anything was run.
    """

    faults: tuple[str, ...] = ()
    silent_wrong: bool = False
    tracebacks: int = 0
    covered: bool = True

    @property
    def as_specified(self) -> bool:
        """Whether all that the row asks for was seen."""
        return self.covered and not self.faults and not self.silent_wrong and not self.tracebacks


@dataclass(frozen=True, slots=True)
class Row:
    """One case of the table: `name` is folder/case, `must` what must happen, the rest how that is tried."""

    name: str
    must: str
    steps: tuple[Mapping[str, Any], ...] = ()
    check: str = ""

    @property
    def folder(self) -> str:
        """The folder of cases that it belongs to."""
        return self.name.partition("/")[0]


@dataclass(slots=True)
class _Judgement:
    faults: list[str] = field(default_factory=list)
    silent_wrong: bool = False
    tracebacks: int = 0

    def seen(self) -> Seen:
        return Seen(tuple(self.faults), self.silent_wrong, self.tracebacks)


def read_table(path: Path) -> tuple[Row, ...]:
    """Read the table.

    Raises:
        ValueError: a row or a step has a key that is not known, or a row says nothing.
    """
    rows = []
    for name, row in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if unknown := row.keys() - _KEYS:
            raise ValueError(f"{name}: unknown keys {sorted(unknown)}")
        steps = tuple(row.get("run", ()))
        for step in steps:
            if unknown := step.keys() - _STEP_KEYS:
                raise ValueError(f"{name}: a step has unknown keys {sorted(unknown)}")
        if not row.get("must") or name.count("/") != 1 or (steps and "check" in row):
            raise ValueError(f"{name}: expected folder/case, a sentence `must`, and `run` or `check` or neither")
        rows.append(Row(name, row["must"], steps, row.get("check", "")))
    return tuple(rows)


def judge(row: Row, case: Path, work: Path) -> Seen:
    """Run one case in the empty folder `work` and compare what happens with its row."""
    if row.check:
        module, _, function = row.check.partition(":")
        trial: Callable[[Path, Path], Seen] = getattr(importlib.import_module(f"npc_testkit.{module}"), function)
        try:
            return trial(case, work)
        except (AssertionError, OSError, RuntimeError) as error:  # TimeoutError is an OSError
            return Seen((f"the trial ended with {type(error).__name__}: {error}",))
    if not row.steps:
        return Seen(covered=False)
    judgement = _Judgement()
    for step in row.steps:
        _judge_step(_filled(step, {"{case}": str(case), "{work}": str(work)}), work, judgement)
    return judgement.seen()


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    """Put the folders in place of their placeholders, in keys too."""
    if isinstance(value, str):
        for place, path in places.items():
            value = value.replace(place, path)
        return value
    if isinstance(value, Mapping):
        return {_filled(key, places): _filled(item, places) for key, item in value.items()}
    return [_filled(item, places) for item in value] if isinstance(value, list) else value


def _judge_step(step: Mapping[str, Any], work: Path, judgement: _Judgement) -> None:
    argv = [_program(step["argv"][0]), *step["argv"][1:]]
    try:
        done = subprocess.run(
            argv,
            cwd=work,
            env={**os.environ, **step.get("env", {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        judgement.faults.append(f"{shlex.join(step['argv'])}: not done after {COMMAND_TIMEOUT_S:.0f} s")
        return
    text = done.stdout + done.stderr
    judgement.tracebacks += TRACEBACK in text
    refused = step.get("refuses")
    statuses = REFUSAL_STATUSES if refused is not None else _statuses(step.get("exit", 0))
    if done.returncode not in statuses:
        judgement.faults.append(
            f"exit status {done.returncode}, expected {' or '.join(map(str, statuses))}: {text[-300:]}"
        )
    if refused is not None and (done.returncode == 0 or (refused and (work / refused).exists())):
        judgement.silent_wrong = True
        judgement.faults.append(f"{refused or 'a result'} was written where it must be refused")
    judgement.faults += [f"does not say {words!r}" for words in step.get("says", ()) if not _found(words, text)]
    judgement.faults += [f"says {words!r}" for words in step.get("never", ()) if _found(words, text)]
    wrong = [] if done.returncode else _wrong_results(step, work)
    judgement.faults += wrong
    judgement.silent_wrong = judgement.silent_wrong or bool(wrong)


def _program(name: str) -> str:
    """The product's commands are those of this environment."""
    if name == "python":
        return sys.executable
    ours = Path(sys.executable).parent / name
    return str(ours) if name in {"npc-contour", "npc-networks"} else name


def _statuses(wanted: int | list[int]) -> tuple[int, ...]:
    return tuple(wanted) if isinstance(wanted, list) else (wanted,)


def _found(words: str, text: str) -> bool:
    """Terminal output is wrapped: white space of any length matches a space."""
    return re.search(words, " ".join(text.split())) is not None


def _wrong_results(step: Mapping[str, Any], work: Path) -> list[str]:
    """Say what of the written files is not what the row asks for."""
    faults = [f"{path} was written" for path in step.get("absent", ()) if (work / path).exists()]
    for path, wanted in step.get("voxels", {}).items():
        found = voxels_of(work / path)
        faults += [] if found == wanted else [f"voxels of {Path(path).name}: {found}, expected {wanted}"]
    for path, names in step.get("rois", {}).items():
        read = roi_names(work / path)
        faults += [] if read == names else [f"ROIs of {Path(path).name}: {read}, expected {names}"]
    for path, text in step.get("names", {}).items():
        written = (work / path).read_text(encoding="utf-8")
        faults += [] if written == text else [f"{Path(path).name} holds {written!r}, expected {text!r}"]
    for pair in step.get("dice", ()):
        value = dice_of_files(work / pair["of"], work / pair["with"])
        least = pair.get("least", 0.999)
        faults += (
            [] if value >= least else [f"Dice of {Path(pair['of']).name} is {value:.3f}, expected {least} at least"]
        )
    return faults


def voxels_of(path: Path) -> dict[str, int]:
    """Voxels of each ROI of a file that `npc-contour masks` wrote, by the names file beside it (number TAB name)."""
    stack = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    stack = stack[np.newaxis] if stack.ndim == 3 else stack
    listed = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".names.txt")
    names = [line.partition("\t")[2] for line in listed.read_text(encoding="utf-8").split("\n") if line]
    if len(names) != len(stack):
        return {f"{len(names)} names for {len(stack)} masks": 0}
    return {name: int(np.count_nonzero(mask)) for name, mask in zip(names, stack, strict=True)}


def roi_names(path: Path) -> list[str]:
    """ROI names of an RTSTRUCT in its order, read by pydicom alone."""
    return [str(item.ROIName) for item in pydicom.dcmread(path).StructureSetROISequence]


def dice_of_files(path: Path, truth: Path) -> float:
    """Worst Dice of the labels or channels of two files of masks, the first brought to the grid of the second.

    The second file may be a label map whose labels 1, 2, ... are the channels of the first.
    """
    reference = SimpleITK.ReadImage(str(truth))
    reference_masks = _masks(reference)
    masks = _masks(SimpleITK.ReadImage(str(path)))
    if len(masks) != len(reference_masks):
        return 0.0
    grid = reference if reference.GetDimension() == 3 else reference[..., 0]
    placed = [SimpleITK.GetArrayFromImage(SimpleITK.Resample(mask, grid, SimpleITK.Transform(), 1)) for mask in masks]
    wanted = [SimpleITK.GetArrayFromImage(mask) for mask in reference_masks]
    return min(dice(one, other) for one, other in zip(placed, wanted, strict=True))


def _masks(image: SimpleITK.Image) -> list[SimpleITK.Image]:
    if image.GetDimension() == 4:
        return [SimpleITK.Cast(image[..., index] != 0, SimpleITK.sitkUInt8) for index in range(image.GetSize()[3])]
    labels = [int(label) for label in np.unique(SimpleITK.GetArrayViewFromImage(image)) if label]
    return [SimpleITK.Cast(image == label, SimpleITK.sitkUInt8) for label in labels]


def dice(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Dice of two masks; 1 when both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero((one != 0) & (other != 0)) / total if total else 1.0


def summary(results: Sequence[tuple[Row, Seen]]) -> dict[str, Any]:
    """Return the figures of a run, in all and by folder."""
    folders = dict.fromkeys(row.folder for row, _ in results)
    return {
        **_figures(results),
        "by_folder": {name: _figures([r for r in results if r[0].folder == name]) for name in folders},
    }


def _figures(results: Sequence[tuple[Row, Seen]]) -> dict[str, int]:
    return {
        "cases": len(results),
        "as_specified": sum(seen.as_specified for _, seen in results),
        "silent_wrong": sum(seen.silent_wrong for _, seen in results),
        "tracebacks": sum(seen.tracebacks for _, seen in results),
    }
