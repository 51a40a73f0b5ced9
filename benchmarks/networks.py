"""This product beside the real nnU-Net: same network, same case, same run; speed, memory and agreement.

    make nnunet-peers                # nnU-Net 2 and 1 in .venv-nnunet, once
    python benchmarks/networks.py    # the first time trains a small network by the real nnunetv2, some minutes

The network has the six groups of neck levels as labels: the demo network ln_ctv, trained on by nnunetv2 for a few
minutes under a plan of its own; it stays in .nnunet-phantoms.
Times leave out starting, reading weights and compiling on both sides, and each side warms up on a small case first.
nnU-Net runs on the processor, in float32, as many threads as cores. Its export and this product's argmax both end in
labels on the planning grid. Peak memory is that of the whole process of either side.

Networks of other kinds (anisotropic residual with two channels and regions, 3d_lowres, RAS reader) have random weights,
which nnunetv2 draws, and cases of odd sizes; `--kinds-only` runs them, and the keys of plans, alone.

With mirroring (eight times the windows) and nnU-Net 1 (random weights) a part of the case is used, and there the
commands themselves, `nnUNetv2_predict_from_modelfolder` and `nnUNet_predict`, are what is compared with. nnU-Net 2 adds
windows up in half precision; its code is run once more with those sums in single precision, which tells its rounding
from any other difference.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from networks_kinds import agreements, keys
from networks_trained import trained, write

from npc_networks.imports.network import ImportedNetwork, Target, write_network
from npc_networks.imports.nnunet_v1 import read_nnunet_v1
from npc_networks.imports.nnunet_v2 import read_nnunet_v2
from npc_networks.imports.origin import Origin
from npc_networks.networks import LN_LABELS
from npc_networks.parity.comparison import Agreement, compare
from npc_networks.parity.original import DEFAULT_PYTHON, INSTALL, Original, predict
from npc_networks.phantom_data import scan_of
from npc_networks.serving.engines import bfloat16_pays
from npc_phantom import PhantomOptions
from npc_testkit import nnunet_commands
from npc_testkit.nnunet_commands import ROOT

CASE_SEED, CASE = 7, PhantomOptions(matrix=512, slices=120, slice_spacing_mm=2.5)
SMALL_ZYX = (slice(0, 80), slice(140, 370), slice(150, 380))
V1_LABELS = 6
PREPOST = ("crop", "resample", "argmax", "postprocess")
COMMAND, MIRRORED = "nnUNetv2_predict", "nnUNetv2_predict, mirrored"
MIRRORED_SINGLE, ROUNDING = "nnU-Net 2, mirrored, sums in single", "nnU-Net 2 itself, sums in single and half"
V1 = ("nnUNet_predict (1.7.1)", "nnUNet_predict (1.7.1), mirrored")

UInt8Array = npt.NDArray[np.uint8]
console = Console(width=120)


@dataclass(frozen=True, slots=True)
class Ours:
    """One run of this product in a process of its own.

    Attributes:
        windows: counted only when asked for, as what follows.
        constant_windows: of them, those of one value throughout.
        disagreeing: voxels whose label is not that of full interpolation.
    """

    labels: UInt8Array
    seconds: Mapping[str, float]
    peak_rss_mb: float
    windows: int = 0
    constant_windows: int = 0
    disagreeing: int = 0

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
    parser.add_argument("--python", type=Path, default=ROOT / DEFAULT_PYTHON, help="of the environment with nnU-Net")
    parser.add_argument("--train-only", action="store_true", help="train the network, compare nothing")
    parser.add_argument("--kinds-only", action="store_true", help="networks of other kinds and keys of plans alone")
    options = parser.parse_args()
    if not (options.python.parent / "nnUNet_predict").is_file():
        sys.exit(f"{options.python.parent} has no nnU-Net: {INSTALL}")
    if options.kinds_only:
        with tempfile.TemporaryDirectory(prefix="npc-networks-") as name:
            print(json.dumps(measure_kinds(options.python, Path(name), {})))
        return
    step("a network trained by nnunetv2 on phantoms (the first time some minutes)")
    network = trained(options.python)
    if options.train_only:
        return
    with tempfile.TemporaryDirectory(prefix="npc-networks-") as name:
        root = Path(name)
        case, small = write_cases(root)
        # Not by the console, which would break the line.
        print(json.dumps(measure(options.python, network, root, case, small)))


def step(words: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {words}", highlight=False)


def write_cases(root: Path) -> tuple[Path, Path]:
    """Write a scan of a patient that no network saw, and a part of it."""
    scan = scan_of(CASE_SEED, CASE)
    whole = write(root / "case_0000.nii.gz", scan.images[0], scan.spacing_zyx_mm)
    part = np.ascontiguousarray(scan.images[0][SMALL_ZYX])
    return whole, write(root / "small_0000.nii.gz", part, scan.spacing_zyx_mm)


def measure(python: Path, network: Path, root: Path, case: Path, small: Path) -> dict[str, float | int | bool]:
    plain = bring(read_nnunet_v2(network), LN_LABELS, root / "plain")
    step("nnU-Net 2 on the whole case")
    original = predict(Origin("nnunet-v2", network, mirroring=False), [(small,), (case,)], python, maps=False)
    theirs = original.predictions[1]
    step("this product on the same, float32, then bfloat16")
    f32 = run_ours(plain, case, small, "f32")
    bf16 = run_ours(plain, case, small, "fastest", count=True)
    found = {name: compare(ours.labels, theirs.labels, LN_LABELS) for name, ours in (("f32", f32), ("bf16", bf16))}
    show_speed(original, f32, bf16)
    show_agreement("nnU-Net 2, whole case", found)
    rest = version_2(python, network, root, small) | version_1(python, root, small)
    show_agreement("part of the case", rest)
    total_s = sum(theirs.seconds.values())
    theirs_s = theirs.seconds["preprocess_s"] + theirs.seconds["export_s"]
    return {
        "speedup_f32": round(total_s / f32.total_s, 2),
        "speedup_bf16": round(total_s / bf16.total_s, 2),
        "prepost_speedup": round(theirs_s / max(f32.prepost_s, bf16.prepost_s), 1),
        "voxel_agreement_f32": found["f32"].voxels,
        "voxel_agreement_bf16": found["bf16"].voxels,
        "lowest_dice_f32": lowest(found["f32"]),
        "lowest_dice_bf16": lowest(found["bf16"]),
        "rss_ratio": round(f32.peak_rss_mb / original.peak_rss_mb, 3),
        "argmax_disagreeing_voxels": bf16.disagreeing,
        "windows": bf16.windows,
        "constant_windows": bf16.constant_windows,
        "command_voxel_agreement": rest[COMMAND].voxels,
        "mirrored_voxel_agreement": rest[MIRRORED].voxels,
        "mirrored_lowest_dice": lowest(rest[MIRRORED]),
        "mirrored_single_sums_lowest_dice": lowest(rest[MIRRORED_SINGLE]),
        "v1_voxel_agreement": min(rest[name].voxels for name in V1),
        "v1_lowest_dice": min(lowest(rest[name]) for name in V1),
        "bf16_in_hardware": bfloat16_pays(),
    } | measure_kinds(python, root, {"whole case": found["f32"], MIRRORED_SINGLE: rest[MIRRORED_SINGLE]})


def measure_kinds(python: Path, root: Path, others: Mapping[str, Agreement]) -> dict[str, float | int]:
    """Return the figures of keys and kinds; `others` are agreements on held-out cases measured before."""
    step("keys of plans, one changed at a time")
    known, refused, let_pass = keys()
    for words in let_pass:
        console.print(f"not refused: {words}", highlight=False, markup=False)
    step("networks of other kinds, random weights, beside nnU-Net 2 with sums in single precision")
    found = agreements(python, root / "kinds")
    show_agreement("other kinds, odd sizes", found)
    return {
        "plans_keys_known": known,
        "plans_keys_refused": refused,
        "plans_keys_not_refused": len(let_pass),
        "held_out_agreement_min": round(min(one.voxels for one in (*found.values(), *others.values())), 6),
        "held_out_lowest_dice": min(map(lowest, (*found.values(), *others.values()))),
    }


def bring(network: ImportedNetwork, names: tuple[str, ...], repository: Path) -> Path:
    """Import a network as the command does; return its model folder."""
    return write_network(network, Target("phantoms", ("CT",), names), repository).folder


def version_2(python: Path, network: Path, root: Path, small: Path) -> dict[str, Agreement]:
    """Compare with what users of nnU-Net 2 get, and with its code where sums are kept in single precision."""
    step("nnUNetv2_predict_from_modelfolder on a part")
    command = nnunet_commands.predict_v2(python, network, small, root / "v2", mirroring=False)
    step("nnUNetv2_predict_from_modelfolder on a part, mirrored")
    mirrored_command = nnunet_commands.predict_v2(python, network, small, root / "v2-mirrored", mirroring=True)
    step("the same with sums in single precision")
    origin = Origin("nnunet-v2", network, mirroring=True)
    (single,) = predict(origin, [(small,)], python, maps=False, single_sums=True).predictions
    step("this product on a part")
    plain = run_ours(root / "plain" / "phantoms", small, small, "f32").labels
    folder = bring(read_nnunet_v2(network, mirroring=True), LN_LABELS, root / "mirrored")
    mirrored = run_ours(folder, small, small, "f32").labels
    return {
        COMMAND: compare(plain, command, LN_LABELS),
        MIRRORED: compare(mirrored, mirrored_command, LN_LABELS),
        MIRRORED_SINGLE: compare(mirrored, single.labels, LN_LABELS),
        ROUNDING: compare(single.labels, mirrored_command, LN_LABELS),
    }


def version_1(python: Path, root: Path, small: Path) -> dict[str, Agreement]:
    """Compare with `nnUNet_predict` of version 1, random weights."""
    network = root / "v1"
    nnunet_commands.write_random_v1(python, network)
    names = ("background", *(f"label {value}" for value in range(1, V1_LABELS + 1)))
    found = {}
    for mirroring, name in zip((False, True), V1, strict=True):
        step(name)
        theirs = nnunet_commands.predict_v1(python, network, small, root / f"v1-{mirroring}", mirroring=mirroring)
        folder = bring(read_nnunet_v1(network, mirroring=mirroring), names, root / f"v1-here-{mirroring}")
        found[name] = compare(run_ours(folder, small, small, "f32").labels, theirs, names)
    return found


def lowest(agreement: Agreement) -> float:
    return round(min(agreement.dice.values(), default=1.0), 5)


def run_ours(folder: Path, case: Path, warm_up: Path, precision: str, *, count: bool = False) -> Ours:
    """Segment in a process of its own, so that its peak memory is its own.

    `count` asks for a comparison with full interpolation of every class map, after the clock has stopped.
    """
    with tempfile.TemporaryDirectory() as name:
        job = {"folder": str(folder), "case": str(case), "warm_up": str(warm_up), "precision": precision, "to": name}
        path = Path(name) / "job.json"
        path.write_text(json.dumps(job | {"count": count}))
        nnunet_commands.run(sys.executable, Path(__file__).with_name("networks_here.py"), path)
        result = json.loads((Path(name) / "result.json").read_text())
        return Ours(np.load(Path(name) / "labels.npy"), **result)


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
    for name, ours in (("this, f32", f32), ("this, bf16", bf16)):
        seconds = ours.seconds
        table.add_row(
            name,
            f"{seconds['crop'] + seconds['resample']:.2f}",
            f"{seconds['network'] + seconds['blend']:.2f}",
            f"{seconds['argmax'] + seconds['postprocess']:.2f}",
            f"{ours.total_s:.2f}",
            f"{ours.peak_rss_mb:.0f}",
        )
    console.print(table)


def show_agreement(title: str, found: Mapping[str, Agreement]) -> None:
    table = Table("", "voxels", "differ", "labels", "lowest Dice", title=title, title_justify="left")
    for name, one in found.items():
        table.add_row(name, f"{one.voxels:.5%}", str(one.disagreeing), str(len(one.dice)), f"{lowest(one):.5f}")
    console.print(table)


if __name__ == "__main__":
    main()
