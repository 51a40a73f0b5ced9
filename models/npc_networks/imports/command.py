"""`npc-networks import`: a trained network of another framework becomes a model folder for Triton."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.domain.pipelines import Pipeline
from npc_contour.errors import CatalogError
from npc_networks.imports.arranging import arranged, read_mapping
from npc_networks.imports.network import ImportedNetwork, Target, Written, write_network
from npc_networks.imports.nnunet_v1 import read_nnunet_v1
from npc_networks.imports.nnunet_v2 import CHECKPOINT, read_nnunet_v2
from npc_networks.imports.origin import Origin, write_origin
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.imports.state_dict_network import ARCHITECTURES, read_state_dict
from npc_networks.imports.validation import check_validation

TITLE = "bring a trained network of another framework into the model repository"
PART_OF = " in "
"""Between the names of a label that is part of several structures, the smallest first."""
NAME_PATTERN = "lower case letters, digits and _, a letter first"

EXAMPLES = """examples:
  npc-networks import nnunet-v1 Task042/nnUNetTrainerV2__nnUNetPlansv2.1 --pipeline ln_ctv --name lnctv_nnunet
  npc-networks import nnunet-v2 nnUNetTrainer__nnUNetPlans__3d_fullres --pipeline npc_oar_gtv --network npc_oar
  npc-networks import state-dict swin.pth --architecture swinunetr --pipeline ln_ctv --plans plans.toml
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the frameworks and arguments of `import`."""
    frameworks = command.add_subparsers(required=True, metavar="FRAMEWORK", dest="framework")
    v1 = _framework(frameworks, "nnunet-v1", "plans.pkl and model_final_checkpoint.model")
    _add_folder(v1)
    v1.add_argument("--stage", type=int, metavar="S", help="of the plans (default: the last, full resolution)")
    v1.add_argument(
        "--regions",
        nargs="+",
        type=int,
        default=[],
        metavar="LABEL",
        help="of a trainer for overlapping regions: the label that each output writes, in order",
    )
    v2 = _framework(frameworks, "nnunet-v2", "plans.json, dataset.json and fold_*/checkpoint_final.pth")
    _add_folder(v2)
    v2.add_argument("--postprocessing", type=Path, metavar="FILE", help="postprocessing.pkl, applied to every answer")
    v2.add_argument(
        "--checkpoint",
        default=CHECKPOINT,
        metavar="FILE",
        help=f"of each fold, for example checkpoint_best.pth (default {CHECKPOINT})",
    )
    bare = _framework(frameworks, "state-dict", "one file of weights, whose architecture and plans are told here")
    bare.add_argument("file", type=Path, metavar="FILE", help="checkpoint of PyTorch")
    bare.add_argument("--architecture", choices=ARCHITECTURES, required=True, help="what the weights belong to")
    bare.add_argument("--plans", type=Path, required=True, metavar="TOML", help="how it is fed, see docs/networks.md")
    for framework in (v1, v2, bare):
        _add_common(framework)


def _framework(
    frameworks: argparse._SubParsersAction[argparse.ArgumentParser], name: str, title: str
) -> argparse.ArgumentParser:
    return frameworks.add_parser(
        name, help=title, description=title, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_folder(framework: argparse.ArgumentParser) -> None:
    framework.add_argument("folder", type=Path, metavar="FOLDER", help="what the framework's training left")
    framework.add_argument("--folds", nargs="+", default=[], metavar="FOLD", help="0 to 4 or all; several are averaged")
    framework.add_argument("--trainer", metavar="NAME", help="accept this trainer as one that builds the plain network")
    framework.add_argument(
        "--mirroring",
        action="store_true",
        help="show every window mirrored too, nnU-Net's own default: eight times the time (default: no)",
    )


def _add_common(framework: argparse.ArgumentParser) -> None:
    pipelines = sorted(path.stem for path in PIPELINES_DIR.glob("*.toml"))
    framework.add_argument(
        "--pipeline",
        metavar="NAME",
        required=True,
        help=f"which asks for its labels: {', '.join(pipelines)}, or the .toml file of your own",
    )
    framework.add_argument("--network", metavar="NAME", help="the pipeline's network that it stands in for")
    framework.add_argument("--name", metavar="NAME", help="of the model folder (default: that network's name)")
    framework.add_argument("--repo", type=Path, default=Path("triton_repo"), metavar="DIR", help="default triton_repo")
    framework.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="THEIRS=OURS",
        help="which label of the network is which of the pipeline, names or values; others keep their value",
    )
    framework.add_argument(
        "--accept", action="store_true", help="also a network that finds nothing of a label on its validation cases"
    )
    framework.add_argument(
        "--precision",
        choices=["f32", "fastest"],
        default="f32",
        help="on a processor: f32 as in training (default), or fastest: bfloat16 where there is hardware for it",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Run `import`; returns 2 and says why when the network is refused."""
    try:
        pipeline = _pipeline(options.pipeline)
        network_name = _network_of(pipeline, options.network, options.name)
        target = target_of(pipeline, network_name, options.name or network_name, options.precision)
        network, origin = _read(options)
        network = arranged(network, read_mapping(options.labels), target.labels)
        console.print(network.source, soft_wrap=True, markup=False, highlight=False)
        if not options.accept:
            check_validation(network.validation, network.label_names or target.labels)
        written = write_network(network, target, options.repo)
        write_origin(written.folder, origin)
    except ImportRefused as refusal:
        console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
        return 2
    _tell(written, target, network_name, pipeline, console)
    return 0


def _pipeline(name_or_path: str) -> Pipeline:
    path = Path(name_or_path) if name_or_path.endswith(".toml") else PIPELINES_DIR / f"{name_or_path}.toml"
    if not path.is_file():
        names = ", ".join(sorted(path.stem for path in PIPELINES_DIR.glob("*.toml")))
        raise ImportRefused(
            f"no pipeline {name_or_path!r}: there are {names}, or a .toml file that `npc-networks pipeline` writes"
        )
    try:
        return read_pipeline(path)
    except CatalogError as error:
        raise ImportRefused(str(error)) from error


def _read(options: argparse.Namespace) -> tuple[ImportedNetwork, Origin]:
    if options.framework == "state-dict":
        path: Path = options.file
        return read_state_dict(path, options.architecture, options.plans), Origin(options.framework, path.resolve())
    folder: Path = options.folder
    origin = Origin(options.framework, folder.resolve(), tuple(options.folds), mirroring=options.mirroring)
    if options.framework == "nnunet-v1":
        network = read_nnunet_v1(
            folder,
            folds=options.folds,
            stage=options.stage,
            trainer=options.trainer,
            mirroring=options.mirroring,
            regions=options.regions,
        )
        return network, origin
    network = read_nnunet_v2(
        folder,
        folds=options.folds,
        trainer=options.trainer,
        mirroring=options.mirroring,
        postprocessing=options.postprocessing,
        checkpoint=options.checkpoint,
    )
    applied = None if options.postprocessing is None else options.postprocessing.resolve()
    return network, replace(origin, checkpoint=options.checkpoint, postprocessing=applied)


def target_of(pipeline: Pipeline, network: str, name: str, precision: str = "f32") -> Target:
    """Return what a pipeline asks of one of its networks; labels are named by the structures that they are part of.

    Raises:
        ImportRefused: the pipeline has no such network, or the name cannot be a model's.
    """
    uses = {use.network: use for use in pipeline.networks}
    if network not in uses:
        raise ImportRefused(f"pipeline {pipeline.name} has no network {network!r}, it has {', '.join(uses)}")
    if not name.isascii() or not name.replace("_", "a").isalnum() or not name[0].islower() or name != name.lower():
        raise ImportRefused(f"{name!r} cannot name a model: {NAME_PATTERN}")
    rois = [roi for roi in pipeline.rois if roi.network == network]
    highest = max(max(roi.labels) for roi in rois)
    smallest_first = sorted(rois, key=lambda roi: len(roi.labels))
    labels = [
        PART_OF.join(roi.name for roi in smallest_first if label in roi.labels) or f"label {label}"
        for label in range(1, highest + 1)
    ]
    return Target(name, uses[network].roles, ("background", *labels), precision)


def _network_of(pipeline: Pipeline, network: str | None, name: str | None) -> str:
    names = [use.network for use in pipeline.networks]
    if network is not None:
        return network
    if name in names:
        return name
    if len(names) > 1:
        raise ImportRefused(f"pipeline {pipeline.name} has networks {', '.join(names)}: choose one with --network")
    return names[0]


def _tell(written: Written, target: Target, network: str, pipeline: Pipeline, console: Console) -> None:
    lines = [
        f"{written.folder}: {written.size_bytes / 1e6:.1f} MB, weights SHA-256 {written.weights_sha256}",
        f"PyTorch and OpenVINO differ by at most {written.parity:.1g} of the largest value",
    ]
    if target.name != network:
        lines.append(
            f"pipeline {pipeline.name} still uses network {network}:"
            f" import with --name {network} to put this one in its place"
        )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
