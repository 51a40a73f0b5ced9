"""`npc-contour phantom`: write a synthetic patient as DICOM with its ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from npc_contour.cli.arguments import RAW, Verbs, number_in
from npc_contour.cli.progress import bars
from npc_contour.errors import SettingsError
from npc_phantom import PhantomOptions, draw, render
from npc_phantom.chest_patient import ChestOptions, draw_chest, render_chest
from npc_phantom.kinds import WrittenSeries, write_chest, write_mr
from npc_phantom.mr import MrOptions, draw_mr, render_mr
from npc_phantom.writer import write_patient

EXAMPLES = """\
examples:
  npc-contour phantom patient                       seed 1: two CT series and three label maps
  npc-contour phantom patient --seed 7 --slice-spacing 3 --slices 150 --matrix 512
  npc-contour phantom chest --kind chest            a contrast chest CT with mediastinal nodes
  npc-contour phantom mr --kind mr                  T1, T2 and contrast-enhanced T1 of the nasopharynx
  npc-contour phantom han --kind han                the head and neck down to the bronchi, with the 50 HaN structures"""

KINDS = ("npc", "han", "chest", "mr")
TO_THE_BRONCHI_MM = -318.0


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "phantom",
        help="write a synthetic patient: CT or MR as DICOM, ground truth as NIfTI",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("out", type=Path, help="folder to write to; made when absent")
    parser.add_argument(
        "--kind", choices=KINDS, default="npc", help="head and neck on paired CT (npc, han), chest, or MR (default npc)"
    )
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
    if args.kind in {"chest", "mr"} and args.position != "HFS":
        raise SettingsError(f"--position is for the kinds npc and han; {args.kind} lies head first supine (HFS)")
    common = {"matrix": args.matrix, "slice_spacing_mm": args.slice_spacing, "slices": args.slices}
    if args.kind == "chest":
        write_kind(args.out, args.seed, ChestOptions(**common))
        print(f"{args.out}: contrast CT of PHANTOM-CHEST-{args.seed}, nodes.nii.gz")
        return 0
    if args.kind == "mr":
        write_kind(args.out, args.seed, MrOptions(**common))
        print(f"{args.out}: T1, T2 and contrast-enhanced T1 of PHANTOM-MR-{args.seed}, gtv.nii.gz")
        return 0
    bottom_z_mm = TO_THE_BRONCHI_MM if args.kind == "han" and args.slices is None else None
    write(args.out, args.seed, PhantomOptions(**common, patient_position=args.position, bottom_z_mm=bottom_z_mm))
    print(f"{args.out}: non-contrast and contrast CT of PHANTOM-{args.seed}, oar/gtv/ln_ctv/han.nii.gz")
    return 0


def write_kind(out: Path, seed: int, options: ChestOptions | MrOptions) -> WrittenSeries:
    """Render a chest or an MR examination and write it, with two progress bars.

    Args:
        out: folder for the series' folders and the label map.
        seed: which patient.
        options: what of the scan is fixed; they say which kind it is.
    """
    with bars() as progress:
        rendering = progress.add_task(f"rendering phantom {seed}", total=1.0)
        writing = progress.add_task("writing DICOM and ground truth", total=1.0)

        def rendered(done: float) -> None:
            progress.update(rendering, completed=done)

        def written(done: float) -> None:
            progress.update(writing, completed=done)

        if isinstance(options, ChestOptions):
            patient = draw_chest(seed, options)
            return write_chest(render_chest(patient, patient.grid(), progress=rendered), out, progress=written)
        return write_mr(render_mr(*draw_mr(seed, options), progress=rendered), out, progress=written)


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
