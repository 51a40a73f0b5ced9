"""This product beside the real nnU-Net: same network, same case, same run; speed, memory and agreement.

    make nnunet-peers                # nnU-Net 2 and 1 in .venv-nnunet, once
    python benchmarks/networks.py    # the first time trains a small network by the real nnunetv2, some minutes

The network has the six groups of neck levels as labels: the demo network ln_ctv, trained on by nnunetv2 for a few
minutes under a plan of its own; it stays in .nnunet-phantoms.
Times leave out starting, reading weights and compiling on both sides, and each side warms up on a small case first.
nnU-Net runs on the processor, in float32, as many threads as cores. Its export and this product's argmax both end in
labels on the planning grid. Peak memory is that of the whole process of either side.

With mirroring (eight times the windows) and nnU-Net v1 (random weights) a smaller case is used. There the commands
`nnUNetv2_predict_from_modelfolder` and nnU-Net v1's `predict` are run as well, so that what is compared is what users
get.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import SimpleITK
import torch
from rich.console import Console
from rich.table import Table

from npc_contour.catalog import read_contract
from npc_contour.core.argmax import AxisLookup, axis_lookup
from npc_contour.core.phantom import PhantomOptions, draw
from npc_contour.settings import default_model_repository
from npc_networks.export import WEIGHTS_FILE
from npc_networks.imports.network import Target, write_network
from npc_networks.imports.nnunet_v1 import read_nnunet_v1
from npc_networks.imports.nnunet_v2 import read_nnunet_v2
from npc_networks.imports.origin import Origin
from npc_networks.networks import LN_LABELS
from npc_networks.parity.cases import read_case
from npc_networks.parity.comparison import Agreement, compare
from npc_networks.parity.original import DEFAULT_PYTHON, INSTALL, Original, predict
from npc_networks.phantom_data import scan_of
from npc_networks.serving.engines import OpenVinoEngine, bfloat16_pays
from npc_networks.serving.pipeline import VolumeSegmenter

HERE = Path(__file__).parent
CACHE = HERE.parent / ".nnunet-phantoms"
TRAINED = CACHE / "nnUNet_results" / "Dataset001_Phantoms" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
TRAINING_SEED, TRAINING_CASES, TRAINING_MM = 1000, 5, 3.0
CASE_SEED, CASE = 7, PhantomOptions(matrix=512, slices=120, slice_spacing_mm=2.5)
SMALL_ZYX = (slice(0, 50), slice(140, 370), slice(150, 380))
V1_LABELS = 6
PREPOST = ("crop", "resample", "argmax", "postprocess")

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]
console = Console()


@dataclass(frozen=True, slots=True)
class Ours:
    """One run of this product in a process of its own."""

    labels: UInt8Array
    seconds: Mapping[str, float]
    peak_rss_mb: float

    @property
    def total_s(self) -> float:
        """All stages."""
        return sum(self.seconds.values())

    @property
    def prepost_s(self) -> float:
        """What is neither the network nor blending."""
        return sum(self.seconds[stage] for stage in PREPOST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=DEFAULT_PYTHON, help="of the environment with nnU-Net")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child)
        return
    if not options.python.is_file():
        sys.exit(f"{options.python} is missing: {INSTALL}")
    with tempfile.TemporaryDirectory(prefix="npc-networks-") as name:
        root = Path(name)
        if not (TRAINED / "fold_0" / "checkpoint_final.pth").is_file():
            train(options.python)
        case, small = write_cases(root)
        # Not by the console, which would break the line.
        print(json.dumps(measure(options.python, root, case, small)))


def train(python: Path) -> None:
    """Write phantoms as an nnU-Net data set and let the real nnunetv2 plan, preprocess and train."""
    console.print("training by nnunetv2 on phantoms (once)")
    shutil.rmtree(CACHE, ignore_errors=True)
    folder = CACHE / "nnUNet_raw" / TRAINED.parent.name
    for index in range(TRAINING_CASES):
        seed = TRAINING_SEED + index
        matrix = round(draw(seed).scan.field_of_view_mm / TRAINING_MM)
        scan = scan_of(seed, PhantomOptions(matrix=matrix, slice_spacing_mm=TRAINING_MM))
        write(folder / "imagesTr" / f"phantom_{index}_0000.nii.gz", scan.images[0], scan.spacing_zyx_mm)
        write(folder / "labelsTr" / f"phantom_{index}.nii.gz", scan.labels["ln"], scan.spacing_zyx_mm)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0} | {label: value for value, label in enumerate(LN_LABELS[1:], 1)},
        "numTraining": TRAINING_CASES,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    torch.save(demo_weights(), CACHE / "start.pth")
    paths = {name: str(CACHE / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for path in paths.values():
        Path(path).mkdir(exist_ok=True)
    environment = {**os.environ, **paths, "nnUNet_n_proc_DA": "1"}
    quiet(str(python), "-I", str(HERE / "nnunet_train.py"), environment=environment)


def demo_weights() -> dict[str, torch.Tensor]:
    """Return the weights of the committed demo network ln_ctv, out of its ONNX file."""
    graph = onnx.load(default_model_repository() / "ln_ctv" / WEIGHTS_FILE).graph
    suffix = ".half"
    return {
        one.name.removesuffix(suffix): torch.from_numpy(onnx.numpy_helper.to_array(one).astype(np.float32))
        for one in graph.initializer
        if one.name.endswith(suffix)
    }


def write(path: Path, voxels: npt.NDArray[Any], spacing_zyx_mm: tuple[float, float, float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing([float(value) for value in reversed(spacing_zyx_mm)])
    SimpleITK.WriteImage(image, str(path))
    return path


def write_cases(root: Path) -> tuple[Path, Path]:
    """Write a scan of a patient that no network saw, and a part of it."""
    scan = scan_of(CASE_SEED, CASE)
    whole = write(root / "case_0000.nii.gz", scan.images[0], scan.spacing_zyx_mm)
    part = np.ascontiguousarray(scan.images[0][SMALL_ZYX])
    return whole, write(root / "small_0000.nii.gz", part, scan.spacing_zyx_mm)


def measure(python: Path, root: Path, case: Path, small: Path) -> dict[str, float]:
    plain, mirrored = root / "plain", root / "mirrored"
    for folder, mirroring in ((plain, False), (mirrored, True)):
        network = read_nnunet_v2(TRAINED, mirroring=mirroring)
        write_network(network, Target("phantoms", ("CT",), LN_LABELS), folder)
    origin = Origin("nnunet-v2", TRAINED, mirroring=False)
    original = predict(origin, [(small,), (case,)], python, maps=False)
    theirs = original.predictions[1]
    f32 = run_ours(plain / "phantoms", case, small, "f32")
    bf16 = run_ours(plain / "phantoms", case, small, "fastest")
    found = {name: compare(run.labels, theirs.labels, LN_LABELS) for name, run in (("f32", f32), ("bf16", bf16))}
    show_speed(original, f32, bf16)
    show_agreement("nnU-Net 2, whole case", found)
    total_s = sum(theirs.seconds.values())
    both = mirroring_and_commands(python, root, small)
    v1 = version_1(python, root, small)
    show_agreement("smaller case", both | v1)
    return {
        "speedup_f32": round(total_s / f32.total_s, 2),
        "speedup_bf16": round(total_s / bf16.total_s, 2),
        "prepost_speedup": round(
            (theirs.seconds["preprocess_s"] + theirs.seconds["export_s"]) / min(f32.prepost_s, bf16.prepost_s), 1
        ),
        "voxel_agreement_f32": found["f32"].voxels,
        "voxel_agreement_bf16": found["bf16"].voxels,
        "lowest_dice_f32": lowest(found["f32"]),
        "lowest_dice_bf16": lowest(found["bf16"]),
        "rss_ratio": round(f32.peak_rss_mb / original.peak_rss_mb, 3),
        "argmax_disagreeing_voxels": argmax_disagreeing(plain / "phantoms", case),
        "mirrored_voxel_agreement": both["f32, mirrored"].voxels,
        "command_voxel_agreement": both["f32, against the command"].voxels,
        "v1_voxel_agreement": min(one.voxels for one in v1.values()),
        "bf16_in_hardware": bfloat16_pays(),
    }


def mirroring_and_commands(python: Path, root: Path, small: Path) -> dict[str, Agreement]:
    """Compare with mirroring, and with what the command that users run writes."""
    origin = Origin("nnunet-v2", TRAINED, mirroring=True)
    (theirs,) = predict(origin, [(small,)], python, maps=False).predictions
    mirrored = run_ours(root / "mirrored" / "phantoms", small, small, "f32")
    plain = run_ours(root / "plain" / "phantoms", small, small, "f32")
    folder = alone(root / "v2", small)
    command = [str(python.parent / "nnUNetv2_predict_from_modelfolder"), "-i", str(folder), "-o", str(root / "v2-out")]
    quiet(*command, "-m", str(TRAINED), "-f", "0", "-device", "cpu", "--disable_tta", "-npp", "1", "-nps", "1")
    written = read_labels(root / "v2-out" / "case.nii.gz")
    return {
        "f32, mirrored": compare(mirrored.labels, theirs.labels, LN_LABELS),
        "f32, against the command": compare(plain.labels, written, LN_LABELS),
    }


def version_1(python: Path, root: Path, small: Path) -> dict[str, Agreement]:
    """Compare with nnU-Net v1, random weights, with and without mirroring, and with its command."""
    trained = root / "v1"
    quiet(str(python), "-I", str(HERE / "nnunet_v1_random.py"), str(trained))
    names = ("background", *(f"label {value}" for value in range(1, V1_LABELS + 1)))
    found = {}
    for mirroring in (False, True):
        repository = root / f"v1-{mirroring}"
        write_network(read_nnunet_v1(trained, mirroring=mirroring), Target("v1", ("CT",), names), repository)
        (theirs,) = predict(
            Origin("nnunet-v1", trained, mirroring=mirroring), [(small,)], python, maps=False
        ).predictions
        ours = run_ours(repository / "v1", small, small, "f32")
        found[f"nnU-Net 1, f32{', mirrored' if mirroring else ''}"] = compare(ours.labels, theirs.labels, names)
    folder = alone(root / "v1-in", small)
    command = [str(python), "-m", "nnunet.inference.predict", "-i", str(folder), "-o", str(root / "v1-out")]
    quiet(*command, "-m", str(trained), "-f", "0", "--num_threads_preprocessing", "1", "--num_threads_nifti_save", "1")
    written = read_labels(root / "v1-out" / "case.nii.gz")
    found["nnU-Net 1, f32, against the command (mirrored)"] = compare(ours.labels, written, names)
    return found


def alone(folder: Path, image: Path) -> Path:
    """Return a folder with one case, as the commands take it."""
    folder.mkdir()
    shutil.copy(image, folder / "case_0000.nii.gz")
    return folder


def read_labels(path: Path) -> UInt8Array:
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), dtype=np.uint8)


def lowest(agreement: Agreement) -> float:
    return round(min(agreement.dice.values(), default=1.0), 5)


def run_ours(folder: Path, case: Path, warm_up: Path, precision: str) -> Ours:
    """Segment in a process of its own, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory() as name:
        job = {"folder": str(folder), "case": str(case), "warm_up": str(warm_up), "precision": precision, "to": name}
        path = Path(name) / "job.json"
        path.write_text(json.dumps(job))
        quiet(sys.executable, str(Path(__file__)), "--child", str(path))
        result = json.loads((Path(name) / "result.json").read_text())
        return Ours(np.load(Path(name) / "labels.npy"), result["seconds"], result["peak_rss_mb"])


def run_child(job_path: Path) -> None:
    job = json.loads(job_path.read_text())
    folder = Path(job["folder"])
    contract = read_contract(folder / "contract.json")
    contract = replace(contract, precision=job["precision"])
    segmenter = VolumeSegmenter(contract, OpenVinoEngine(contract, folder / contract.weights_file))
    segmenter.warm_up()
    small = read_case(Path(job["warm_up"]), 1)
    segmenter.segment(small.hu, small.spacing_zyx_mm)
    case = read_case(Path(job["case"]), 1)
    found = segmenter.segment(case.hu, case.spacing_zyx_mm)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    np.save(Path(job["to"]) / "labels.npy", found)
    result = {"seconds": segmenter.times.seconds, "peak_rss_mb": peak}
    (Path(job["to"]) / "result.json").write_text(json.dumps(result))


def argmax_disagreeing(folder: Path, path: Path) -> int:
    """Count voxels that differ from interpolating every class map everywhere, on the case's real class maps."""
    contract = read_contract(folder / "contract.json")
    segmenter = VolumeSegmenter(contract, OpenVinoEngine(contract, folder / contract.weights_file))
    case = read_case(path, 1)
    found = segmenter.segment(case.hu, case.spacing_zyx_mm)
    maps = np.moveaxis(segmenter.class_maps(case.hu, case.spacing_zyx_mm), 0, -1)
    z, y, x = (axis_lookup(coarse, fine) for coarse, fine in zip(maps.shape[:3], found.shape, strict=True))
    different = 0
    for index in range(len(found)):
        below, above = z.lower[index], min(z.lower[index] + 1, z.coarse - 1)
        near, far = between(maps[below], y, 0), between(maps[above], y, 0)
        plane = near * (np.float32(1) - z.fraction[index]) + far * z.fraction[index]
        different += int(np.count_nonzero(between(plane, x, 1).argmax(axis=-1) != found[index]))
    return different


def between(maps: Float32Array, lookup: AxisLookup, axis: int) -> Float32Array:
    above = np.minimum(lookup.lower + 1, lookup.coarse - 1)
    fraction = lookup.fraction.reshape([-1 if other == axis else 1 for other in range(maps.ndim)])
    return maps.take(lookup.lower, axis) * (np.float32(1) - fraction) + maps.take(above, axis) * fraction


def quiet(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command; what it says is shown only when it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def show_speed(original: Original, f32: Ours, bf16: Ours) -> None:
    theirs = original.predictions[1].seconds
    versions = ", ".join(f"{name} {number}" for name, number in original.versions.items())
    table = Table(title=f"512 x 512 x 120, 7 classes, no mirroring: seconds; {versions}", title_justify="left")
    for head in ("", "prepare", "network + blend", "to labels", "total", "peak RSS, MB"):
        table.add_column(head, justify="right")
    table.add_row(
        "nnU-Net",
        *(f"{theirs[stage]:.2f}" for stage in ("preprocess_s", "network_s", "export_s")),
        f"{sum(theirs.values()):.2f}",
        f"{original.peak_rss_mb:.0f}",
    )
    for name, run in (("this, f32", f32), ("this, bf16", bf16)):
        seconds = run.seconds
        table.add_row(
            name,
            f"{seconds['crop'] + seconds['resample']:.2f}",
            f"{seconds['network'] + seconds['blend']:.2f}",
            f"{seconds['argmax'] + seconds['postprocess']:.2f}",
            f"{run.total_s:.2f}",
            f"{run.peak_rss_mb:.0f}",
        )
    console.print(table)


def show_agreement(title: str, found: Mapping[str, Agreement]) -> None:
    table = Table("", "voxels", "differ", "labels", "lowest Dice", title=title, title_justify="left")
    for name, one in found.items():
        table.add_row(name, f"{one.voxels:.5%}", str(one.disagreeing), str(len(one.dice)), f"{lowest(one):.5f}")
    console.print(table)


if __name__ == "__main__":
    main()
