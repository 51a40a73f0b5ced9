"""`npc-networks`: bring, train, export and judge networks."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from npc_networks.bench import command as bench_command
from npc_networks.calibration import calibrate
from npc_networks.cards import COARSE_SCANS, WHOLE_SCANS, write_card
from npc_networks.datasets import command as dataset_command
from npc_networks.engines import command as engine_command
from npc_networks.evaluation import Judge, Summary, evaluate, means, summarise
from npc_networks.export import export_network, write_served
from npc_networks.imports import command as import_command
from npc_networks.imports import own_pipeline
from npc_networks.networks import NETWORKS, NetworkSpec
from npc_networks.parity import command as parity_command
from npc_networks.phantom_data import full_scan, training_scan
from npc_networks.pool import PhantomPool, rendering_ahead
from npc_networks.progress import bar
from npc_networks.protocols import command as protocol_command
from npc_networks.serving.engine_config import TARGETS
from npc_networks.start import exported
from npc_networks.training import Recipe, Training, read_checkpoint, trained_on

SAVE_EVERY_S = 180.0
REPORT_EVERY_S = 60.0

EXAMPLES = """examples:
  npc-networks train-demo all --out checkpoints --minutes 60      all three, an hour each
  npc-networks train-demo ln_ctv --out checkpoints --steps 2000   repeatable on one machine
  npc-networks train-demo npc_oar --out checkpoints --minutes 60 --resume
  npc-networks export npc_oar --checkpoint checkpoints/npc_oar.pt --repo triton_repo
  npc-networks export npc_oar --target tensorrt --precision fp16 --batch 4
  npc-networks export npc_oar --target tensorrt-rtx --gpu ada
  npc-networks evaluate-demo --repo triton_repo --seeds 1-10 --cards
  npc-networks evaluate answers/ references/ --protocol lnctvseg --csv scores.csv --plot scores.png
  npc-networks import nnunet-v1 Task042/nnUNetTrainerV2__nnUNetPlansv2.1 --pipeline ln_ctv --name ln_ctv
  npc-networks bench npc_oar --triton gpu-host:8001
  npc-networks dataset segrap2023_oar SegRap2023 nnUNet_raw
  npc-networks train segrap2023_oar nnUNet_raw/Dataset301_SegRapOAR --work training --fold 0
  npc-networks import nnunet-v2 nnUNetTrainer__nnUNetPlans__3d_fullres --pipeline npc_oar_gtv --network npc_gtv
"""

Command = Callable[[argparse.Namespace, Console], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes the process's.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    command: Command = options.run
    return command(options, Console())


def seeds_of(text: str) -> tuple[int, ...]:
    """Return the seeds of a list like "1-10" or "1,4,7-9"."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            seeds.extend(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds like 1-10 or 1,4,7-9") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} names no seed")
    return tuple(seeds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-networks",
        description="Bring, train, export and judge networks. The demo networks know synthetic phantoms only and are"
        " not for clinical use.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(
        _command(commands, "train-demo", "train one demo network, or all, on phantoms rendered meanwhile", _train)
    )
    _add_export(_command(commands, "export", "write a trained network as ONNX, or its engine for a target", _export))
    _add_evaluate(_command(commands, "evaluate-demo", "judge the networks on phantoms they never saw", _evaluate))
    _add_calibrate(
        _command(commands, "calibrate-demo", "measure how sure the networks may be of their outlines", _calibrate)
    )
    protocol_command.add_arguments(_command(commands, "evaluate", protocol_command.TITLE, protocol_command.run))
    import_command.add_arguments(_command(commands, "import", import_command.TITLE, import_command.run))
    own_pipeline.add_arguments(_command(commands, "pipeline", own_pipeline.TITLE, own_pipeline.run))
    parity_command.add_arguments(_command(commands, "parity", parity_command.TITLE, parity_command.run))
    bench_command.add_arguments(_command(commands, "bench", bench_command.TITLE, bench_command.run))
    dataset_command.add_dataset_arguments(
        _command(commands, "dataset", dataset_command.DATASET_TITLE, dataset_command.run_dataset)
    )
    dataset_command.add_train_arguments(
        _command(commands, "train", dataset_command.TRAIN_TITLE, dataset_command.run_train)
    )
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, title: str, run: Command
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=title,
        description=title,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("name", choices=[*NETWORKS, "all"], help="which network")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints (NAME.pt)")
    plan = train.add_mutually_exclusive_group(required=True)
    plan.add_argument("--minutes", type=float, metavar="M", help="training time of each network")
    plan.add_argument("--steps", type=int, metavar="N", help="steps of each network (repeatable)")
    train.add_argument("--seed", type=int, default=0, metavar="S", help="of weights, patches and order (default 0)")
    train.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default cpu")
    train.add_argument(
        "--start-from",
        type=Path,
        metavar="DIR",
        help="exported network of the same features whose weights are the start (labels are matched by name)",
    )
    train.add_argument(
        "--learning-rate", type=float, metavar="R", help="at its highest (default: the network's own; less to refine)"
    )
    train.add_argument("--resume", action="store_true", help="continue from DIR/NAME.pt where there is one")
    train.add_argument("--cache", type=Path, metavar="DIR", help="folder for rendered phantoms (default: OUT/phantoms)")
    train.add_argument("--cases", type=int, default=60, metavar="N", help="phantoms to train on (default 60)")


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("name", metavar="NAME", help="which network")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkpoint", type=Path, metavar="FILE", help="NAME.pt of train-demo, to be written as ONNX")
    what.add_argument(
        "--target",
        choices=[*TARGETS, engine_command.RTX_TARGET],
        help="engine to write beside the network that is in DIR",
    )
    export.add_argument("--repo", type=Path, default=Path("triton_repo"), metavar="DIR", help="default triton_repo")
    export.add_argument(
        "--note", default="", metavar="TEXT", help="added to what contract and card say of the training (--checkpoint)"
    )
    engine_command.add_arguments(export)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)} (default all)")
    evaluate.add_argument("--repo", type=Path, default=Path("triton_repo"), metavar="DIR", help="default triton_repo")
    evaluate.add_argument("--seeds", type=seeds_of, default=seeds_of("1-10"), metavar="LIST", help="default 1-10")
    evaluate.add_argument("--coarse", action="store_true", help="scans no finer than those trained on: much quicker")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="keep every score")
    evaluate.add_argument("--cards", action="store_true", help="write the tables into the model cards")


def _add_calibrate(calibrate: argparse.ArgumentParser) -> None:
    calibrate.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)} (default all)")
    calibrate.add_argument("--repo", type=Path, default=Path("triton_repo"), metavar="DIR", help="default triton_repo")
    calibrate.add_argument(
        "--seeds", type=seeds_of, default=seeds_of("5000-5007"), metavar="LIST", help="default 5000-5007"
    )


def _train(options: argparse.Namespace, console: Console) -> int:
    names = list(NETWORKS) if options.name == "all" else [options.name]
    options.out.mkdir(parents=True, exist_ok=True)
    cache = options.cache or options.out / "phantoms"
    recipe = Recipe(
        seed=options.seed,
        steps=options.steps,
        minutes=options.minutes,
        cases=options.cases,
        first_cases=min(10, options.cases),
        device=options.device,
        learning_rate=options.learning_rate,
    )
    for name in names:
        with rendering_ahead(cache, NETWORKS[name].kind, recipe.cases):
            training = _training(NETWORKS[name], recipe, options, console)
            _train_one(training, options.out / f"{name}.pt", cache, console)
    return 0


def _training(spec: NetworkSpec, recipe: Recipe, options: argparse.Namespace, console: Console) -> Training:
    """Return a training at its start, or where it was left."""
    training = Training(spec, recipe)
    checkpoint = options.out / f"{spec.name}.pt"
    if options.resume and checkpoint.exists():
        training.load(checkpoint)
        console.print(f"{spec.name}: continuing from step {training.step} of {checkpoint}")
    elif options.start_from is not None:
        taken = training.start_from(*exported(options.start_from))
        console.print(f"{spec.name}: {taken} of {len(spec.labels)} labels start from {options.start_from}")
    return training


def _train_one(training: Training, checkpoint: Path, cache: Path, console: Console) -> None:
    spec = training.spec
    pool = PhantomPool(spec, cache)
    saved = reported = time.monotonic()
    losses: list[float] = []
    with bar(console) as progress:
        task = progress.add_task(spec.name, total=1.0)
        for step in training.run(pool):
            losses = [*losses[-49:], step.loss]
            words = f"{spec.name}  step {step.step}  loss {sum(losses) / len(losses):+.3f}  {len(pool)} phantoms"
            progress.update(task, completed=step.progress, description=words)
            now = time.monotonic()
            if now - saved > SAVE_EVERY_S:
                training.save(checkpoint)
                saved = now
            if not console.is_terminal and now - reported > REPORT_EVERY_S:
                console.print(
                    f"{words}  rate {step.learning_rate:.2g}  {step.progress:.0%} after {step.elapsed_s:.0f} s"
                )
                reported = now
    training.save(checkpoint)
    console.print(f"{spec.name}: {training.step} steps in {training.elapsed_s / 60:.1f} min, kept in {checkpoint}")


def _export(options: argparse.Namespace, console: Console) -> int:
    if options.target is not None:
        return engine_command.run(options, console)
    if options.name not in NETWORKS:
        console.print(f"refused: {options.name} is none of the demo networks {', '.join(NETWORKS)}", soft_wrap=True)
        return 2
    state = read_checkpoint(options.checkpoint, options.name)
    spec = NETWORKS[options.name]
    words = " ".join(filter(None, (trained_on(state), options.note)))
    exported = export_network(spec, state["average"], options.repo, trained_on=words)
    write_served(options.repo, spec.name)
    write_card(options.repo, spec.name)
    console.print(
        f"{exported.onnx_path}: {exported.size_bytes / 1e6:.2f} MB, logits of PyTorch and OpenVINO differ by"
        f" at most {exported.parity:.1g} of the largest"
    )
    console.print(f"{exported.contract_path}: weights SHA-256 {exported.weights_sha256}")
    return 0


def _evaluate(options: argparse.Namespace, console: Console) -> int:
    judge = Judge(options.repo, options.names or list(NETWORKS))
    with bar(console) as progress:
        task = progress.add_task("phantoms", total=len(options.seeds) * len(judge.kinds))
        render = training_scan if options.coarse else full_scan
        scores = evaluate(judge, options.seeds, render, lambda: progress.advance(task))
    summaries = summarise(scores)
    console.print(_table(summaries))
    for (network, inputs), value in means(summaries).items():
        console.print(f"{network} ({inputs}): mean Dice over structures {value:.3f}")
    if options.json:
        options.json.write_text(json.dumps([asdict(score) for score in scores], indent=1) + "\n", encoding="utf-8")
    scans = COARSE_SCANS if options.coarse else WHOLE_SCANS
    if options.cards:
        for name in options.names or list(NETWORKS):
            console.print(f"wrote {write_card(options.repo, name, summaries, options.seeds, scans=scans)}")
    return 0


def _calibrate(options: argparse.Namespace, console: Console) -> int:
    judge = Judge(options.repo, options.names or list(NETWORKS))
    with bar(console) as progress:
        task = progress.add_task("phantoms", total=len(options.seeds) * len(judge.kinds))
        written = calibrate(judge, options.repo, options.seeds, training_scan, lambda: progress.advance(task))
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)
    return 0


def _table(summaries: Sequence[Summary]) -> Table:
    table = Table("network", "input", "structure", "mean Dice", "worst", "n")
    for s in summaries:
        table.add_row(s.network, s.inputs, s.roi, f"{s.mean:.3f}", f"{s.worst:.3f}", str(s.cases))
    return table


if __name__ == "__main__":
    sys.exit(main())
