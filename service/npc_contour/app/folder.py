"""`npc-contour segment`: contour a folder of DICOM with the same use cases, without network, database or queue."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from npc_contour.adapters.checks import folder_writable, free_space
from npc_contour.adapters.dicom.read.headers import NOT_DICOM
from npc_contour.adapters.dicom.read.reader import FolderContent, read_at_key, read_headers
from npc_contour.adapters.dicom.rtstruct.findings_report import pdf_of
from npc_contour.adapters.masks.files import write_named_masks
from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.app.shared import catalog_of, writer_of
from npc_contour.app.study import route_files
from npc_contour.app.tools import FileReader, RtstructWriter, SrWriter
from npc_contour.application.contouring import (
    Request,
    Timings,
    Volumes,
    contour,
    doubt_images,
    findings_report,
    report_of,
    segment,
    timed,
)
from npc_contour.application.measuring import measure_case, measured_report, measurements_csv
from npc_contour.application.opinions import compare_with_others
from npc_contour.catalog import Catalog
from npc_contour.core.grouping import group
from npc_contour.core.identity import REMEDY, mixed_patients
from npc_contour.core.labels import RoiMask, roi_masks
from npc_contour.core.stacking import MAX_NAMED
from npc_contour.domain.pipelines import NetworkContract, Route
from npc_contour.domain.profiles import ContourSource
from npc_contour.domain.series import Case, Series
from npc_contour.domain.volumes import LabelMap
from npc_contour.errors import NoPipelineError
from npc_contour.settings import Settings

Progress = Callable[[str, float], None]
Beside = Literal["nifti", "findings"]
LOOK_EVERY_S = 0.3
NEEDED_MB = 100
"""Where the results go."""


@dataclass(frozen=True, slots=True)
class FolderResult:
    """What became of one pipeline on one study of the folder.

    Attributes:
        path: of the RTSTRUCT; None when the pipeline was refused.
        report: volumes, what was not found, provenance, seconds of each step; empty when refused.
        reasons: the router's sentences.
    """

    pipeline: str
    study_instance_uid: str
    path: Path | None
    report: Mapping[str, Any]
    reasons: tuple[str, ...]


def segment_folder(
    settings: Settings,
    folder: Path,
    out: Path,
    *,
    pipeline: str | None = None,
    beside: Collection[Beside] = (),
    assign: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> tuple[FolderResult, ...]:
    """Contour what lies in a folder.

    Args:
        settings: where Triton and its model repository are; an embedded Triton is started for the call.
        folder: searched with its subfolders.
        out: the RTSTRUCT's file, beside which go the measurements of a pipeline that measures (`-measurements.dcm`, SR,
            and `.csv`); with several RTSTRUCTs, the pipeline (and the study's number) is put into each name.
        beside: what else is written beside each RTSTRUCT: `nifti`, the masks as `write_nifti` does, and their names in
            a text file; `findings`, what is doubtful, where anything is, as `-findings.pdf` with pictures and as
            `-findings.dcm` (SR).
        assign: role → Series Instance UID, or an ending of it, where a person says which series is which.
        pipeline: run just this one; None runs every enabled pipeline that the images suit.
        progress: told the name of a step and the fraction of it that is done.

    Returns:
        One result per study and pipeline, refused ones with their reasons.

    Raises:
        NoPipelineError: no pipeline takes any of the images; the message has every reason.
        CatalogError: there is no such pipeline.
        CaseRefused: the images chosen cannot be contoured.
        InferenceError, EmbeddedServerError: Triton failed.
        OSError, SpoolFullError: where the results go nothing can be written, or there is no room.
        GateError: an RTSTRUCT failed its own check.
    """
    report = progress or (lambda _step, _done: None)
    folder_writable(out.absolute().parent)
    free_space(out, NEEDED_MB)
    enabled = (pipeline,) if pipeline is not None else settings.routing.pipelines
    catalog = catalog_of(settings, enabled)
    writer = writer_of(settings, read_at_key)
    timings_s: Timings = {}
    with timed(timings_s, "read headers"):
        content = read_headers(
            folder,
            progress=lambda done, total: report("reading headers", done / max(total, 1)),
            pixels_asked=True,
        )
    grouped = group(content.headers)
    said = _said(content.copies, grouped.series)
    damaged = _unreadable(content)
    routes = [
        (study, answer)
        for study, series in _by_study(grouped.series).items()
        for answer in route_files(settings, catalog, series, content.headers, assign or {})
    ]
    cases = [(study, answer, answer.case) for study, answer in routes if answer.case is not None]
    if not cases:
        excluded = [f"{len(a.instances)} images excluded: {a.reason}" for a in grouped.excluded]
        skipped = [f"{path.name}: {reason}" for path, reason in content.skipped[:MAX_NAMED]]
        reasons = [reason for _, answer in routes for reason in answer.reasons] or [f"no CT or MR series in {folder}"]
        raise NoPipelineError("\n  ".join(["no pipeline takes these images", *reasons, *excluded, *skipped, *said]))
    # What is not meant for a pipeline is said in one sentence; what is meant and refused, with every reason.
    refused = [
        FolderResult(a.pipeline, study, None, {}, a.reasons if a.concerned else a.reasons[:1])
        for study, a in routes
        if a.case is None
    ]
    paths = _paths(out, [(study, answer) for study, answer, _ in cases])
    with ExitStack() as stack:
        crossings = writer.profile.contour_source is ContourSource.MARGINS
        used = {use.network for _, answer, _ in cases for use in catalog.pipelines[answer.pipeline].networks}
        engine = _engine(settings, used, stack, timings_s, report, crossings=crossings)
        run = _Run(catalog, engine, timings_s, report, writer, settings, beside=beside)
        made = [
            FolderResult(
                answer.pipeline,
                study,
                path,
                run.case(case, (*said, *damaged, *answer.reasons), path),
                (*answer.reasons, *damaged),
            )
            for (study, answer, case), path in zip(cases, paths, strict=True)
        ]
    return (*made, *refused)


@dataclass(frozen=True, slots=True)
class _Run:
    catalog: Catalog
    engine: TritonEngine
    common_timings_s: Timings
    report: Progress
    writer: RtstructWriter
    settings: Settings
    beside: Collection[Beside]
    drawn: dict[str, list[RoiMask]] = field(default_factory=dict)
    """What was drawn on each planning series so far, by Series Instance UID."""

    @contextmanager
    def _watched(self, contract: NetworkContract, step: str) -> Iterator[None]:
        """Tell how far the network is while the block runs, as Triton's metrics say."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(LOOK_EVERY_S):
                windows = self.engine.progress(contract.name)
                if windows is not None and not done.is_set():
                    self.report(step, min(windows[0] / max(windows[1], 1), 0.99))

        self.report(step, 0.0)
        watcher = threading.Thread(target=look, name="progress")
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
        self.report(step, 1.0)

    def case(self, case: Case, reasons: tuple[str, ...], path: Path) -> Mapping[str, Any]:
        """Contour one case into a file; return its report."""
        pipeline = self.catalog.pipelines[case.pipeline]
        contracts = self.catalog.contracts_of(pipeline)
        timings_s: Timings = dict(self.common_timings_s)
        volumes = Volumes(FileReader(read_at_key, self.settings.mr), pipeline, case.series, timings_s, case.moves)
        doubts = doubt_images(volumes, self.settings.routing.max_shift_mm)
        label_maps: dict[str, LabelMap] = {}
        for contract in contracts:
            self.engine.check(contract)
            with self._watched(contract, f"{pipeline.name}: {contract.name}"):
                label_maps[contract.name] = segment(self.engine, pipeline, contract, volumes, timings_s)
        drawn = self.drawn.setdefault(case.series[case.planning].series_instance_uid, [])
        opinions = compare_with_others(
            pipeline, label_maps, lambda names, _: [mask for mask in drawn if mask.spec.name.casefold() in names]
        )
        request = Request(
            pipeline=pipeline,
            contracts=contracts,
            planning=case.series[case.planning],
            uid_seed=_seed(case),
            made_at=datetime.now(UTC),
            notes=(
                "series not confirmed complete by the PACS",
                *reasons,
            ),
            image_findings=doubts,
            second_opinions=opinions,
        )
        drawn += roi_masks(label_maps, pipeline.rois)
        volume = volumes.of(case.planning)
        done = contour(request, label_maps, volume, self.writer, timings_s)
        measured = measure_case(request, label_maps, volume, done.encoded, SrWriter(read_at_key), timings_s)
        _put(path, done.encoded.data)
        if done.encoded.segmentation is not None:
            _put(path.with_suffix(".seg.dcm"), done.encoded.segmentation)
        if "nifti" in self.beside:
            whole = (mask.on_grid(volume.grid.shape_zyx) for mask in done.masks)
            names = [mask.spec.name for mask in done.masks]
            write_named_masks(path.with_suffix(".nii.gz"), whole, names, volume.grid)
        self.report(f"{pipeline.name}: RTSTRUCT", 1.0)
        if "findings" in self.beside and done.structure_set.findings:
            told = findings_report(done.structure_set, request.made_at)
            sr, page = SrWriter(read_at_key).write_findings(told, volume, request.planning, done.encoded)
            _put(_beside(path, "findings.dcm"), sr.data)
            _put(_beside(path, "findings.pdf"), pdf_of(page.data))
        rows = measured_report(measured)
        if measured is not None:
            _put(_beside(path, "measurements.csv"), measurements_csv(rows["measurements"]).encode())
            if measured.encoded is not None:
                _put(_beside(path, "measurements.dcm"), measured.encoded.data)
        return report_of(done, pipeline, timings_s) | rows


def _unreadable(content: FolderContent) -> tuple[str, ...]:
    """Say which DICOM files cannot be read: they may be slices that are missing at an end of a stack."""
    broken = [(path.name, reason) for path, reason in content.skipped if not reason.startswith(NOT_DICOM)]
    broken = [(name, reason) for name, reason in broken if name.upper() != "DICOMDIR"]
    if not broken:
        return ()
    named = "; ".join(f"{name}: {reason}" for name, reason in broken[:MAX_NAMED])
    rest = f" and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
    return (f"{len(broken)} DICOM files of the folder were left out: {named}{rest}",)


def _beside(path: Path, name: str) -> Path:
    """Return where something beside an RTSTRUCT goes."""
    return path.with_name(f"{path.stem}-{name}")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _engine(
    settings: Settings,
    used: Iterable[str],
    stack: ExitStack,
    timings_s: Timings,
    report: Progress,
    *,
    crossings: bool,
) -> TritonEngine:
    timeout_s = settings.triton.timeout_s
    if settings.triton.url != "embedded":
        return stack.enter_context(TritonEngine(settings.triton.url, timeout_s=timeout_s, crossings=crossings))
    report("starting Triton", 0.0)
    with timed(timings_s, "start Triton"):
        server = stack.enter_context(
            EmbeddedTriton(
                settings.triton.model_repository, networks=used, start_timeout_s=settings.triton.start_timeout_s
            )
        )
    report("starting Triton", 1.0)
    urls = server.urls
    return stack.enter_context(
        TritonEngine(urls.grpc, metrics_url=urls.metrics, timeout_s=timeout_s, crossings=crossings)
    )


def _said(copies: Sequence[Path], series: Sequence[Series]) -> list[str]:
    """What a person should know of the folder, whatever is contoured of it."""
    words = []
    if copies:
        named = ", ".join(path.name for path in copies[:MAX_NAMED])
        words.append(f"{len(copies)} copies of images that are here already are counted once: {named}")
    for one in series:
        mixed = mixed_patients(one.instances)
        if mixed:
            words.append(f"series {one.first.series_description!r} is not contoured: {mixed}; {REMEDY}")
    return words


def _by_study(series: Sequence[Series]) -> dict[str, list[Series]]:
    studies: dict[str, list[Series]] = {}
    for one in series:
        studies.setdefault(one.first.study_instance_uid, []).append(one)
    return studies


def _paths(out: Path, cases: Sequence[tuple[str, Route]]) -> list[Path]:
    """One file per case: `out` itself for one, else named by pipeline and, for several studies, a number."""
    if len(cases) == 1:
        return [out]
    studies = list(dict.fromkeys(study for study, _ in cases))
    suffix = out.suffix or ".dcm"
    paths = []
    for study, answer in cases:
        number = f"-{studies.index(study) + 1}" if len(studies) > 1 else ""
        paths.append(out.with_name(f"{out.stem}-{answer.pipeline}{number}{suffix}"))
    return paths


def _seed(case: Case) -> str:
    """The same images and pipeline give the same UIDs, whoever contours them."""
    digest = hashlib.sha256(case.pipeline.encode())
    for role in sorted(case.series):
        for uid in sorted(image.sop_instance_uid for image in case.series[role].instances):
            digest.update(f"{role}/{uid}".encode())
    return f"folder/{digest.hexdigest()}"
