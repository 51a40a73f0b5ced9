"""`npc-contour phantom`: write a synthetic patient as DICOM with its ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from npc_contour.adapters.dicom.phantom_writer import write_patient
from npc_contour.cli.arguments import RAW, Verbs, number_in
from npc_contour.cli.progress import bars
from npc_contour.core.phantom import PhantomOptions, draw, render

EXAMPLES = """\
examples:
  npc-contour phantom patient                       seed 1: two CT series and three label maps
  npc-contour phantom patient --seed 7 --slice-spacing 3 --slices 150 --matrix 512"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "phantom",
        help="write a synthetic NPC patient: paired CT as DICOM, ground truth as NIfTI",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("out", type=Path, help="folder to write to; made when absent")
    parser.add_argument("--seed", type=number_in(0), default=1, help="which patient (default 1)")
    parser.add_argument(
        "--matrix", type=int, choices=(512, 1024), help="rows and columns (default: drawn from the seed)"
    )
    parser.add_argument(
        "--slice-spacing",
        type=number_in(1, 5, whole=False),
        metavar="MM",
        help="1 to 5 mm (default: drawn from the seed)",
    )
    parser.add_argument("--slices", type=number_in(2, 2000), help="number of slices (default: the drawn scan length)")
    parser.add_argument(
        "--position", choices=("HFS", "HFP", "FFS", "FFP"), default="HFS", help="how the patient lies (default HFS)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render and write one patient."""
    options = PhantomOptions(
        matrix=args.matrix,
        slice_spacing_mm=args.slice_spacing,
        slices=args.slices,
        patient_position=args.position,
    )
    write(args.out, args.seed, options)
    print(f"{args.out}: non-contrast and contrast CT of PHANTOM-{args.seed}, oar/gtv/ln_ctv.nii.gz")
    return 0


def write(out: Path, seed: int, options: PhantomOptions) -> None:
    """Render one patient and write it, with two progress bars.

    Args:
        out: folder for the two series' folders and the label maps.
        seed: which patient.
        options: what of the scan is fixed; the rest is drawn from the seed.
    """
    patient = draw(seed, options)
    with bars() as progress:
        rendering = progress.add_task(f"rendering phantom {seed}", total=1.0)
        writing = progress.add_task("writing DICOM and ground truth", total=1.0)
        phantom = render(patient, patient.grid(), progress=lambda done: progress.update(rendering, completed=done))
        progress.update(rendering, completed=1.0)
        write_patient(phantom, out, progress=lambda done: progress.update(writing, completed=done))
        progress.update(writing, completed=1.0)
