"""Cases that a site keeps: the self-test contours them again and says what falls from what was kept.

A case is a folder: `images` holds DICOM, `kept` a structure set of each pipeline and, beside it, the least Dice of each
ROI, which the site may edit. All of a case's way is gone: DICOM, routing, networks, contouring, writing, reading back.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from npc_contour.adapters.dicom.read.planning_folder import PlanningFolder, read_planning_folder
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.app.folder import FolderResult, segment_folder
from npc_contour.app.runtime import FILE, Runtime
from npc_contour.core.agreement import dice
from npc_contour.core.drawing import draw_roi
from npc_contour.domain.structures import ReadStructureSet
from npc_contour.errors import SettingsError
from npc_contour.settings import Settings

Progress = Callable[[str, float], None]
IMAGES, KEPT = "images", "kept"
LEAST, LEAST_OF_SMALL, SMALL_CC = 0.98, 0.9, 1.0
"""Dice that what was kept asks for at first: of an ROI, of one so small that a voxel counts."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one pipeline did on one kept case.

    Attributes:
        network: the case and the pipeline.
        dice: of each ROI that was kept, against it; 0 where it is gone.
        least: of each.
        reasons: why there is no structure set; empty where there is one.
    """

    network: str
    dice: Mapping[str, float]
    least: Mapping[str, float]
    reasons: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean Dice over the ROIs; 0 without any."""
        return sum(self.dice.values()) / len(self.dice) if self.dice else 0.0

    @property
    def fallen(self) -> tuple[str, ...]:
        """What is not as it was kept, in words."""
        return self.reasons or tuple(
            f"{name} Dice {value:.3f}, at least {self.least[name]:g} was kept"
            for name, value in sorted(self.dice.items(), key=lambda item: item[1])
            if value < self.least[name]
        )

    @property
    def works(self) -> bool:
        """Whether no ROI fell."""
        return not self.fallen


def keep_case(settings: Settings, case: Path, progress: Progress) -> tuple[Path, ...]:
    """Contour a case with every pipeline in use, and keep the structure sets, in place of those that were kept.

    Raises:
        SettingsError: the folder has no `images`.
        AutocontourError: as `segment_folder`.
    """
    made = _contoured(settings, case, case / KEPT, progress)
    for pipeline, result in made.items():
        if result.path is None:
            continue
        now = read_rtstruct(result.path)
        folder = read_planning_folder(case / IMAGES, referenced=now.series_instance_uids)
        voxels = {roi.name: int(draw_roi(roi, folder.volume).mask.sum()) for roi in now.rois}
        least = {
            name: LEAST if count * folder.volume.grid.voxel_cc >= SMALL_CC else LEAST_OF_SMALL
            for name, count in voxels.items()
            if count
        }
        _least_file(case, pipeline).write_text(json.dumps(least, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return tuple(result.path for result in made.values() if result.path is not None)


def try_case(settings: Settings, case: Path, progress: Progress) -> tuple[CaseResult, ...]:
    """Contour a kept case again and compare.

    Raises:
        SettingsError: nothing was kept, or the least Dice cannot be read.
        AutocontourError: as `segment_folder`.
    """
    kept = sorted((case / KEPT).glob("*.json"))
    if not kept:
        raise SettingsError(f"{case}: nothing was kept: npc-contour self-test --keep {case}")
    with tempfile.TemporaryDirectory(prefix="self-test-", dir=settings.storage.root) as scratch:
        made = _contoured(settings, case, Path(scratch), progress)
        return tuple(_compared(case, file.stem, made.get(file.stem)) for file in kept)


def _contoured(settings: Settings, case: Path, out: Path, progress: Progress) -> dict[str, FolderResult]:
    if not (case / IMAGES).is_dir():
        raise SettingsError(f"{case}: it has no folder {IMAGES} with the DICOM of a case")
    out.mkdir(exist_ok=True)
    settings.storage.root.mkdir(parents=True, exist_ok=True)
    results = segment_folder(_where_it_runs(settings), case / IMAGES, out / "now.dcm", progress=progress)
    made = {}
    for result in results:
        path = result.path
        if path is not None:
            path = path.replace(out / f"{result.pipeline}.dcm")
        made[result.pipeline] = FolderResult(
            result.pipeline, result.study_instance_uid, path, result.report, result.reasons
        )
    return made


def _compared(case: Path, pipeline: str, now: FolderResult | None) -> CaseResult:
    name = f"{case.name}: {pipeline}"
    least = _read_least(_least_file(case, pipeline))
    if now is None or now.path is None:
        return CaseResult(name, {}, least, now.reasons if now else (f"{pipeline} is not in use any more",))
    before, after = read_rtstruct(case / KEPT / f"{pipeline}.dcm"), read_rtstruct(now.path)
    folder = read_planning_folder(case / IMAGES, referenced=before.series_instance_uids)
    return CaseResult(name, {roi: _dice(before, after, roi, folder) for roi in least}, least)


def _dice(before: ReadStructureSet, after: ReadStructureSet, name: str, folder: PlanningFolder) -> float:
    masks = [
        next((draw_roi(roi, folder.volume).mask for roi in content.rois if roi.name == name), None)
        for content in (before, after)
    ]
    if masks[0] is None or masks[1] is None:
        return 0.0
    return dice(masks[1], masks[0]) or 0.0


def _least_file(case: Path, pipeline: str) -> Path:
    return case / KEPT / f"{pipeline}.json"


def _read_least(path: Path) -> dict[str, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path}: expected the least Dice of each ROI, {{name: number}}: {error}") from error


def _where_it_runs(settings: Settings) -> Settings:
    """Return the settings with the Triton of the service that runs here, where one does."""
    file = settings.storage.root / FILE
    if settings.triton.url != "embedded" or not file.exists():
        return settings
    url = Runtime.read(file).triton_url
    return settings.model_copy(update={"triton": settings.triton.model_copy(update={"url": url})}) if url else settings
