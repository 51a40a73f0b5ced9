"""RTSTRUCT writers and readers side by side: fidelity, time, memory, size.

Takes the masks of one real patient (45 OARs and 2 GTVs of SegRap2023's example), puts them on a square grid (several
readers cannot read another), writes an RTSTRUCT with each writer in a process of its own, and reads each
RTSTRUCT with readers that nobody here wrote. Masks are handed over one at a time, whole-grid, as a caller has them;
the clock runs from reading the CT's headers to the file on disk, and stops while a mask is fetched; memory is the peak
until then. Imports are not counted, nor the loading of compiled code, which a service does once; the memory that both
take is. Then: how cost grows with ROIs and matrix, and how near contours lie to outlines of a closed form.

    python benchmarks/rtstruct.py --masks ../shared/data [--work DIR] [--foreign-python PYTHON] [--csv FILE]

Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / folder) for folder in ("service", "tests", "benchmarks")]

SIDE = 640
SPACING_MM = 0.5234
SLICE_MM = 3.0
FOREIGN_PYTHON = HERE.parent / ".venv-readers" / "bin" / "python"
WRITERS = ("ours", "rt-utils", "plastimatch")
Mask = npt.NDArray[np.bool_]


class Stopwatch:
    """Wall and CPU seconds of the blocks it times."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time a block."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu


@dataclass(frozen=True)
class Work:
    """Where everything of one run lies."""

    folder: Path
    names: tuple[str, ...]
    shape_zyx: tuple[int, int, int]

    @property
    def ct(self) -> Path:
        """The CT series."""
        return self.folder / "ct"

    def rtstruct(self, writer: str) -> Path:
        """What a writer wrote."""
        return self.folder / f"{writer}.dcm"

    def mask(self, name: str) -> Mask:
        """Fetch one whole-grid mask, (z, y, x)."""
        bits = np.load(self.folder / f"{name}.npy")
        return np.unpackbits(bits, count=int(np.prod(self.shape_zyx))).view(np.bool_).reshape(self.shape_zyx)

    def save(self) -> None:
        """Keep names and shape."""
        (self.folder / "work.json").write_text(json.dumps({"names": self.names, "shape_zyx": self.shape_zyx}))

    @staticmethod
    def load(folder: Path) -> Work:
        """Find what was prepared."""
        content = json.loads((folder / "work.json").read_text())
        return Work(folder, tuple(content["names"]), tuple(content["shape_zyx"]))


def prepare(folder: Path, source: Path, side: int) -> Work:
    """Write the CT series and the masks, once."""
    if (folder / "work.json").is_file():
        return Work.load(folder)
    import SimpleITK  # noqa: PLC0415

    from npc_testkit.ct_series import CtPlan  # noqa: PLC0415
    from npc_testkit.rtstructs import plain_series  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with (source.parent / "structures.csv").open() as file:
        names = [row["roi_name"] for row in csv.DictReader(file) if row["pipeline"] in {"npc_oar", "npc_gtv"}]
    images = [SimpleITK.ReadImage(str(source / f"segrap_{part}_example.mha")) for part in ("oars", "gtvs")]
    stacks = [SimpleITK.GetArrayViewFromImage(image) for image in images]
    slices, rows, columns = stacks[0].shape[1:]
    work = Work(folder, tuple(names), (slices, side, side))
    used = np.flatnonzero(np.any([stack.any(axis=(0, 1, 2)) for stack in stacks], axis=0))
    first = int(max(0, min((used[0] + used[-1] - side) // 2, columns - side)))
    for name, mask in zip(names, (mask for stack in stacks for mask in stack), strict=True):
        square = np.zeros(work.shape_zyx, dtype=np.bool_)
        square[:, :rows] = mask[:, :, first : first + side] > 0
        if np.count_nonzero(square) != np.count_nonzero(mask):
            raise ValueError(f"{name} does not fit into {side} columns")
        np.save(folder / f"{name}.npy", np.packbits(square))
    plain_series(
        work.ct,
        CtPlan(
            slices=slices,
            rows=side,
            columns=side,
            pixel_spacing_mm=(SPACING_MM, SPACING_MM),
            slice_spacing_mm=SLICE_MM,
            origin_lps_mm=(-160.0, -121.2, -412.5),
        ),
    )
    work.save()
    return work


def write_ours(work: Work, out: Path, watch: Stopwatch) -> dict[str, float]:
    """Write with npc_contour, and time the gate apart."""
    from npc_contour.adapters.dicom.read.planning_header import read_planning_header  # noqa: PLC0415
    from npc_contour.adapters.dicom.read.reader import read_headers  # noqa: PLC0415
    from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct  # noqa: PLC0415
    from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct  # noqa: PLC0415
    from npc_contour.core.contouring import contour_rois  # noqa: PLC0415
    from npc_contour.core.labels import mask_of_array  # noqa: PLC0415
    from npc_contour.core.stacking import stack  # noqa: PLC0415
    from npc_contour.domain.series import Series  # noqa: PLC0415
    from npc_contour.domain.structures import InterpretedType, RoiSpec, StructureSet  # noqa: PLC0415
    from npc_contour.domain.volumes import Volume  # noqa: PLC0415

    _load_compiled_code()
    with watch.running():
        headers = read_headers(work.ct).headers
        ordered = stack(Series(headers))
        volume = Volume(
            np.broadcast_to(np.int16(0), ordered.grid.shape_zyx),
            ordered.grid,
            tuple(header.sop_instance_uid for header in ordered.instances),
            ordered.positions_lps_mm,
        )
        header = read_planning_header(Path(headers[0].key))
    masks = []
    for name in work.names:
        whole = work.mask(name)
        with watch.running():
            spec = RoiSpec(name, InterpretedType.ORGAN, "masks", frozenset({1}), (200, 80, 40))
            masks.append(mask_of_array(spec, whole))
        del whole
    with watch.running():
        content = StructureSet("Benchmark", "", "benchmark", contour_rois(masks, volume), {})
        data = encode_rtstruct(content, volume, header, made_at=datetime(2026, 1, 2))  # noqa: DTZ001
        out.write_bytes(data)
    peak_mb = peak_rss_mb()
    started = time.perf_counter()
    check_rtstruct(data, masks, volume, header)
    gate_s = time.perf_counter() - started
    started = time.perf_counter()
    check_rtstruct(data, masks, volume, header, second_reader=True)
    return {"gate_s": gate_s, "gate_second_reader_s": time.perf_counter() - started, "peak_rss_mb": peak_mb}


def _load_compiled_code() -> None:
    """Contour one voxel and read it back."""
    from npc_contour.adapters.dicom.rtstruct.ds_text import contour_data  # noqa: PLC0415
    from npc_contour.core.contouring import contour_roi  # noqa: PLC0415
    from npc_contour.core.labels import mask_of_array  # noqa: PLC0415
    from npc_contour.core.rasterise import rasterise_roi  # noqa: PLC0415
    from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid  # noqa: PLC0415
    from npc_contour.domain.structures import InterpretedType, RoiSpec  # noqa: PLC0415
    from npc_contour.domain.volumes import Volume  # noqa: PLC0415

    grid = Grid((2, 3, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2")
    volume = Volume(np.zeros((2, 3, 3), np.int16), grid, ("1.1", "1.2"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    spec = RoiSpec("Voxel", InterpretedType.ORGAN, "masks", frozenset({1}), (0, 0, 0))
    roi = contour_roi(mask_of_array(spec, np.eye(18, dtype=np.bool_)[4].reshape(2, 3, 3)), volume)
    polygons = [contour.points_lps_mm for contour in roi.contours]
    contour_data(polygons[0])
    rasterise_roi(polygons, volume)


def write_rt_utils(work: Work, out: Path, watch: Stopwatch) -> dict[str, float]:
    """Write with rt-utils as its README shows."""
    from rt_utils import RTStructBuilder  # noqa: PLC0415

    with watch.running():
        builder = RTStructBuilder.create_new(dicom_series_path=str(work.ct))
    for name in work.names:
        mask = np.moveaxis(work.mask(name), 0, 2)
        with watch.running():
            builder.add_roi(mask=mask, color=[200, 80, 40], name=name)
        del mask
    with watch.running():
        builder.save(str(out))
    return {}


def write_plastimatch(work: Work, out: Path, watch: Stopwatch) -> dict[str, float]:
    """Write with plastimatch convert from one image a structure."""
    import SimpleITK  # noqa: PLC0415

    from npc_testkit.peers import require_tool  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        structures, made = Path(scratch) / "masks", Path(scratch) / "out"
        structures.mkdir()
        for name in work.names:
            image = SimpleITK.GetImageFromArray(work.mask(name).view(np.uint8))
            image.SetSpacing((SPACING_MM, SPACING_MM, SLICE_MM))
            image.SetOrigin((-160.0, -121.2, -412.5))
            SimpleITK.WriteImage(image, str(structures / f"{name}.mha"))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        with watch.running():
            subprocess.run(
                [
                    *(require_tool("plastimatch"), "convert", "--input-prefix", structures, "--prefix-format", "mha"),
                    *("--referenced-ct", work.ct, "--output-dicom", made, "--filenames-without-uids"),
                ],
                check=True,
                capture_output=True,
            )
        watch.cpu_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        (made / "rtss.dcm").rename(out)
    return {"peak_rss_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}


CHILDREN: dict[str, Callable[[Work, Path, Stopwatch], dict[str, float]]] = {
    "ours": write_ours,
    "rt-utils": write_rt_utils,
    "plastimatch": write_plastimatch,
}


def child(writer: str, folder: Path) -> None:
    """Run one writer in this process and print what it took."""
    warnings.simplefilter("ignore")
    work = Work.load(folder)
    watch = Stopwatch()
    out = work.rtstruct(writer)
    out.unlink(missing_ok=True)
    extra = CHILDREN[writer](work, out, watch)
    print(json.dumps({"wall_s": watch.wall_s, "cpu_s": watch.cpu_s, "peak_rss_mb": peak_rss_mb(), **extra}))


def peak_rss_mb() -> float:
    """Peak resident memory of this process; ru_maxrss would count the parent's from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@dataclass
class Written:
    """One writer's figures and, per reader, what it made of each ROI."""

    figures: dict[str, float]
    size_mb: float
    scores: dict[str, Any] = field(default_factory=dict)


def run_writer(writer: str, work: Work) -> Written:
    """Run one writer in a fresh process, twice where it is quick: the better run counts, as compiled code is cached."""
    runs = []
    for _ in range(1 if writer == "plastimatch" else 2):
        done = subprocess.run(
            [sys.executable, __file__, "--child", writer, "--work", work.folder],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    best = min(runs, key=lambda run: run["wall_s"])
    return Written(best, work.rtstruct(writer).stat().st_size / 1e6)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, help="folder for CT, masks and RTSTRUCTs (default: a temporary one)")
    parser.add_argument(
        "--foreign-python",
        type=Path,
        default=FOREIGN_PYTHON if FOREIGN_PYTHON.is_file() else None,
        help="a Python that has dcmrtstruct2nii, as a reader (default: what `make foreign-readers` installs)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="every writer, reader and ROI")
    parser.add_argument("--child", choices=WRITERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.work)
        return
    import rtstruct_nearness  # noqa: PLC0415
    import rtstruct_readers  # noqa: PLC0415
    import rtstruct_report  # noqa: PLC0415
    import rtstruct_scaling  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        work = prepare(args.work or Path(scratch), args.masks, SIDE)
        written = {writer: run_writer(writer, work) for writer in WRITERS}
        for writer, result in written.items():
            for reader, read in rtstruct_readers.readers(args.foreign_python).items():
                result.scores[reader] = read(work, work.rtstruct(writer))
        rtstruct_report.show(written)
        if args.csv:
            rtstruct_report.write_csv(args.csv, written)
        rtstruct_scaling.show()
        print(rtstruct_report.summary(written, rtstruct_nearness.show()))


if __name__ == "__main__":
    main()
