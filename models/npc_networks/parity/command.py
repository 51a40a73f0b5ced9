"""`npc-networks parity`: the original framework, the exported network and Triton on the same cases."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from npc_contour.catalog import read_contract
from npc_contour.domain.pipelines import PARITY_FILE, NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.imports.origin import read_origin
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.parity import served
from npc_networks.parity.cases import Case, read_case
from npc_networks.parity.comparison import DICE, VOXEL_AGREEMENT, Agreement, compare
from npc_networks.parity.original import DEFAULT_PYTHON, Original, ParityRefused, Prediction, predict
from npc_networks.serving.engines import OpenVinoEngine, WeightsError
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.serving.preparation import VolumeRefused

TITLE = "compare an imported network with the framework it came from, on the same cases"

EXAMPLES = f"""\
The original runs in an environment of its own (make nnunet-peers), and unpickles its checkpoint: only for networks
you trust. Exit status 0: the same answer, that is at least {VOXEL_AGREEMENT:.2%} of voxels and Dice {DICE} for every
label; 1: not; 2: not compared. The verdict is kept in the network's folder, and `npc-contour check` says it.

examples:
  npc-networks parity ln_ctv case_0000.nii.gz
  npc-networks parity npc_oar a_0000.nii.gz b_0000.nii.gz --precision fastest --json parity.json
  npc-networks parity npc_oar a_0000.nii.gz --triton 10.0.0.7:8001
  npc-networks parity npc_oar a_0000.nii.gz --single-sums
"""

HALF = "nnunet-v2"
HALF_HINT = (
    "nnU-Net 2 adds windows up in half precision, which alone moves voxels where two labels are nearly equal:"
    " --single-sums compares without that rounding"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison with the original."""

    case: str
    engine: str
    agreement: Agreement


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `parity`."""
    command.epilog = EXAMPLES
    command.add_argument("name", metavar="NAME", help="model folder that `npc-networks import` wrote")
    command.add_argument("cases", nargs="+", type=Path, metavar="CASE", help="first channel's file, CASE_0000.nii.gz")
    command.add_argument("--repo", type=Path, default=Path("triton_repo"), metavar="DIR", help="default triton_repo")
    command.add_argument(
        "--python", type=Path, default=DEFAULT_PYTHON, metavar="FILE", help=f"with nnU-Net (default {DEFAULT_PYTHON})"
    )
    command.add_argument("--precision", choices=["f32", "fastest"], help="of the ONNX leg (default: the contract's)")
    command.add_argument(
        "--triton", metavar="HOST:PORT", help="gRPC of a running server (default: an embedded one, started for this)"
    )
    command.add_argument(
        "--single-sums",
        action="store_true",
        help="let nnU-Net 2 add windows up in single precision, as this product does (nnU-Net itself: half precision)",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="keep every figure")


def run(options: argparse.Namespace, console: Console) -> int:
    """Run `parity`; returns 1 when an answer is not the same, 2 and why when nothing was compared."""
    folder: Path = options.repo / options.name
    try:
        contract = read_contract(folder / "contract.json")
        cases = [read_case(path, len(contract.channels)) for path in options.cases]
        with console.status(f"the original on {len(cases)} case(s); nnU-Net on a processor takes minutes"):
            origin = read_origin(folder)
            files = [case.files for case in cases]
            original = predict(origin, files, options.python, maps=True, single_sums=options.single_sums)
        with console.status("the exported network and Triton on the same"):
            rows = list(_rows(options, contract, cases, original.predictions))
    except (CatalogError, ImportRefused, ParityRefused, WeightsError, VolumeRefused) as refusal:
        console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
        return 2
    console.print(_table(rows, original))
    if options.json:
        document = {
            "versions": original.versions,
            "single_sums": options.single_sums,
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    same = all(row.agreement.same for row in rows)
    _keep(folder / PARITY_FILE, contract, rows, original)
    console.print("the same answer" if same else "NOT the same answer", style="bold")
    if not same and origin.framework == HALF and not options.single_sums:
        console.print(HALF_HINT, soft_wrap=True, markup=False, highlight=False)
    return 0 if same else 1


def _rows(
    options: argparse.Namespace, contract: NetworkContract, cases: Sequence[Case], theirs: Sequence[Prediction]
) -> Iterator[Row]:
    folder: Path = options.repo / options.name
    chosen = replace(contract, precision=options.precision or contract.precision)
    segmenter = VolumeSegmenter(chosen, OpenVinoEngine(chosen, folder / contract.weights_file))
    with nullcontext(options.triton) if options.triton else served.embedded(folder) as url:
        for case, original in zip(cases, theirs, strict=True):
            labels = segmenter.segment(case.hu, case.spacing_zyx_mm)
            maps = None
            if original.maps is not None:
                maps = segmenter.class_maps(case.hu, case.spacing_zyx_mm), original.maps
            yield Row(case.name, f"ONNX ({chosen.precision})", compare(labels, original.labels, contract.labels, maps))
            answer = served.ask(url, contract, case.hu, case.spacing_zyx_mm)
            yield Row(case.name, f"Triton ({contract.precision})", compare(answer, original.labels, contract.labels))


def _keep(path: Path, contract: NetworkContract, rows: Sequence[Row], original: Original) -> None:
    """Write the verdict into the network's folder, where `npc-contour check` reads it."""
    found = [row.agreement for row in rows]
    verdict = {
        "same": all(one.same for one in found),
        "contract_sha256": contract.contract_sha256,
        "original": " ".join(f"{name} {number}" for name, number in original.versions.items()),
        "cases": len({row.case for row in rows}),
        "least_voxels": min(one.voxels for one in found),
        "least_dice": min((dice for one in found for dice in one.dice.values()), default=1.0),
    }
    path.write_text(json.dumps(verdict, indent=1) + "\n", encoding="utf-8")


def _table(rows: Sequence[Row], original: Original) -> Table:
    versions: Mapping[str, str] = original.versions
    title = "against " + ", ".join(f"{name} {number}" for name, number in versions.items())
    table = Table("case", "engine", "max |Δ|", "voxels", "differ", "lowest Dice", "of", title=title)
    for row in rows:
        found = row.agreement
        delta = "-"
        if found.largest_difference is not None:
            delta = f"{found.largest_difference:.2g} of {found.largest_value:.3g}"
        lowest = min(found.dice.items(), key=lambda one: one[1], default=("-", 1.0))
        table.add_row(
            row.case, row.engine, delta, f"{found.voxels:.4%}", str(found.disagreeing), f"{lowest[1]:.4f}", lowest[0]
        )
    return table
