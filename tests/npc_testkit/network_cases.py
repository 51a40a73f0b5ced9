"""Networks of others, of the table of cases: computed as they were trained, or refused by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK
import torch

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.app.self_test import NetworkResult
from npc_contour.catalog import PIPELINES_DIR, read_contract, read_pipeline
from npc_contour.core.resampling import resampled_shape
from npc_contour.voxel_files import read_image
from npc_networks.engines.targets import Choice, write_engine
from npc_networks.imports.command import target_of
from npc_networks.imports.network import Target, write_network
from npc_networks.imports.nnunet_v2 import read_nnunet_v2
from npc_networks.imports.plans_v1 import read_plans as read_v1_plans
from npc_networks.imports.residual import ResidualEncoderUNet, ResidualPlan
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.unet import PlainConvUNet, UNetPlan
from npc_testkit import nnunet_commands
from npc_testkit.cases import TRACEBACK, Seen
from npc_testkit.nnunet_v2 import UNET, draw_weights, write_trained
from npc_testkit.peers import require_nnunet_python
from npc_testkit.public_data import write_segrap
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network
from npc_testkit.tiny_server import volume_of


def turned_reader(case: Path, work: Path) -> Seen:
    """A network whose reader turned the images to RAS answers as it does on turned images."""
    ours = read_nnunet_v2(case / "net")
    plain = work / "plain"
    (plain / "fold_0").mkdir(parents=True)
    plans = json.loads((case / "net" / "plans.json").read_text())
    (plain / "plans.json").write_text(json.dumps(plans | {"image_reader_writer": "SimpleITKIO"}))
    for name in ("dataset.json", "fold_0/checkpoint_final.pth"):
        (plain / name).write_bytes((case / "net" / name).read_bytes())
    theirs = read_nnunet_v2(plain)
    sizes = (side + side // 2 + 1 for side in ours.patch)
    noise = np.random.default_rng(1).normal(0, 300, (len(ours.modalities), *sizes)).astype(np.int16)
    answers = []
    for name, network, volume in (("ours", ours, noise), ("theirs", theirs, np.flip(noise, (2, 3)))):
        labels = ("background", *(f"label {value}" for value in range(1, network.classes)))
        folder = write_network(network, Target(name, network.modalities, labels), work / "repository").folder
        contract = read_contract(folder / "contract.json")
        segmenter = VolumeSegmenter(contract, OpenVinoEngine(contract, folder / contract.weights_file))
        answers.append(segmenter.segment(np.ascontiguousarray(volume), contract.spacing_zyx_mm))
    same = np.array_equal(answers[0], np.flip(answers[1], (1, 2)))
    return Seen() if same else Seen(("the answer is not that of turned images",), silent_wrong=True)


def other_arguments(case: Path, work: Path) -> Seen:
    """Keyword arguments that this product does not build are refused by name."""
    taken = []
    for plans in sorted(case.glob("*/plans.json")):
        folder = work / plans.parent.name
        weights = draw_weights(PlainConvUNet(UNET)).state_dict()
        try:
            read_nnunet_v2(write_trained(folder, weights, plans=json.loads(plans.read_text())))
        except ImportRefused as refusal:
            # Refused for their own sake, not since the weights of the test have another shape.
            if "expected" in str(refusal) or "nonlin_first" in str(refusal):
                continue
        taken.append(plans.parent.name)
    return Seen((f"taken: {taken}",), silent_wrong=True) if taken else Seen()


def grid_rounding(_case: Path, _work: Path) -> Seen:
    """The network's grid has as many voxels as nnU-Net's."""
    found = resampled_shape((20, 120, 216), (3.0, 0.78125, 0.78125), (3.0, 1.5, 1.5))
    return Seen() if found == (20, 63, 113) else Seen((f"grid {found}, nnU-Net's is (20, 63, 113)",), silent_wrong=True)


def exact_spacing(case: Path, work: Path) -> Seen:
    """Triton answers as the network in this process does with spacing in double precision."""
    pipeline = read_pipeline(PIPELINES_DIR / "ln_ctv.toml")
    write_network(read_nnunet_v2(case / "net"), target_of(pipeline, "ln_ctv", "ln_ctv"), work / "repository")
    contract = read_contract(work / "repository" / "ln_ctv" / "contract.json")
    image = read_image(case / "v_thr_0000.mha")
    x, y, z = image.GetSpacing()
    hu = SimpleITK.GetArrayFromImage(image).astype(np.int16)
    weights = work / "repository" / "ln_ctv" / contract.weights_file
    expected = VolumeSegmenter(contract, OpenVinoEngine(contract, weights)).segment(hu[np.newaxis], (z, y, x))
    with EmbeddedTriton(work / "repository", work / "triton") as server, TritonEngine(server.urls.grpc) as client:
        labels = client.segment(contract, [volume_of(hu, (z, y, x))]).labels
    differ = int(np.count_nonzero(labels != expected))
    return Seen((f"{differ} of {labels.size} voxels have another label",), silent_wrong=True) if differ else Seen()


def channel_keys(case: Path, work: Path) -> Seen:
    """Channels that are named and not numbered are taken as nnU-Net takes them."""
    weights = draw_weights(PlainConvUNet(UNET)).state_dict()
    names = json.loads((case / "dataset.json").read_text())["channel_names"]
    folder = write_trained(work / "net", weights)
    dataset = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(dataset | {"channel_names": names}))
    found = read_nnunet_v2(folder).modalities
    return Seen() if found == tuple(names.values()) else Seen((f"channels {found}",))


def early_plans(case: Path, work: Path) -> Seen:
    """Plans of early version 1, which lack a key, are read with version 1's own default."""
    wrong = []
    for file, found in (("no_transpose.pkl", "transpose"), ("no_conv_per_stage.pkl", "unet")):
        shutil.copy(case / file, work / "plans.pkl")
        plans = read_v1_plans(work / "plans.pkl")
        if (plans.transpose, plans.unet.convs_per_stage) != ((0, 1, 2), 2):
            wrong.append(f"{file}: {found} is {getattr(plans, found)}")
    return Seen(tuple(wrong), silent_wrong=bool(wrong))


def old_residual(case: Path, work: Path) -> Seen:
    """Old plans that name a residual encoder build one, stages and blocks as nnU-Net itself reads them."""
    plans = json.loads((case / "plans.json").read_text())
    kernels = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    unet = UNetPlan(
        in_channels=1,
        classes=7,
        features=(8, 16, 16),
        kernels=kernels,
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        convs_per_stage=1,
    )
    network = draw_weights(ResidualEncoderUNet(ResidualPlan(unet=unet, blocks=(1, 2, 2))))
    found = read_nnunet_v2(write_trained(work / "net", network.state_dict(), plans=plans))
    image = torch.randn(1, 1, *found.patch, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        same = torch.equal(found.module(image), network(image))
    return Seen() if same else Seen(("the answer is another network's",), silent_wrong=True)


def unwritable_engine(case: Path, work: Path) -> Seen:
    """A folder that cannot be written is refused in one sentence: a file is in its place, as root may write all."""
    folder = _engine_folder(work, "engines")
    tools = case.parent / "17-mixed-gpus-one-repository" / "fakebin"
    done = _build(folder, tools)
    faults = [] if done.returncode == 2 and "refused: " in done.stderr else [f"{done.returncode}: {done.stderr[-300:]}"]
    return Seen(tuple(faults), tracebacks=int(TRACEBACK in done.stderr))


def two_gpus(case: Path, work: Path) -> Seen:
    """Who builds for a second kind of GPU is told that the first one's machines are served no longer."""
    folder = _engine_folder(work)
    first, second = (_build(folder, case / tools) for tools in ("fakebin", "fakeA"))
    told = "serves this machine's kind alone from here on" in second.stderr and "this repository" not in first.stderr
    faults = () if first.returncode == second.returncode == 0 and told else (first.stderr[-200:], second.stderr[-200:])
    return Seen(faults, silent_wrong=not told)


def _engine_folder(work: Path, in_the_way: str = "") -> Path:
    write_tiny_network(work, TinyNetwork())
    folder = write_engine(work, "tiny", Choice(target="tensorrt")).folder
    if in_the_way:
        (folder / in_the_way).write_text("")
    return folder


def _build(folder: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "TRT_VERSION": "10.13.3.9"}
    command = [sys.executable, "-I", str(folder / "build_engine.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def unfit_window(case: Path, work: Path) -> Seen:
    """Windows that leave one voxel at the bottom of the network are refused in one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.networks.nets.swin_unetr import SwinUNETR  # noqa: PLC0415 - slow to import

    network = SwinUNETR(in_channels=1, out_channels=7, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))
    torch.save({"state_dict": network.state_dict()}, work / "v1.pth")
    arguments = ["--architecture", "swinunetr", "--pipeline", "ln_ctv", "--plans", str(case / "plans32.toml")]
    said = _networks("import", "state-dict", str(work / "v1.pth"), *arguments, "--repo", str(work / "repo"))
    refused = said.returncode == 2 and "windows of 32 x 32 x 32 voxels" in said.stdout
    return Seen(() if refused else (said.stdout[-300:],), tracebacks=int(TRACEBACK in said.stderr))


def own_trainers_parity(_case: Path, work: Path) -> Seen:
    """A network of the product's own trainer is compared with nnU-Net's answer, and is the same."""
    return _parity(work, trainer="NpcTrainer")


def postprocessings_parity(case: Path, work: Path) -> Seen:
    """The rules that an import was told are applied by nnU-Net, too."""
    return _parity(work, postprocessing=case / "postprocessing.pkl")


def _parity(work: Path, trainer: str = "nnUNetTrainer", postprocessing: Path | None = None) -> Seen:
    python = require_nnunet_python()
    trained = work / "trained"
    nnunet_commands.write_random_v2(python, trained, "PlainConvUNet")
    (checkpoint,) = trained.glob("fold_*/checkpoint_final.pth")
    torch.save(torch.load(checkpoint, weights_only=False) | {"trainer_name": trainer}, checkpoint)
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(0, 300, (14, 30, 28)).astype(np.int16))
    SimpleITK.WriteImage(image, work / "case_0000.nii.gz")
    rules = [] if postprocessing is None else ["--postprocessing", str(postprocessing)]
    repository = ["--repo", str(work / "repo")]
    imported = _networks("import", "nnunet-v2", str(trained), "--pipeline", "ln_ctv", *rules, *repository)
    compared = _networks(
        "parity", "ln_ctv", str(work / "case_0000.nii.gz"), "--single-sums", "--python", str(python), *repository
    )
    said = imported.stdout + compared.stdout
    same = compared.returncode == 0 and "the same answer" in compared.stdout
    return Seen(() if same else (said[-400:],), tracebacks=int(TRACEBACK in imported.stderr + compared.stderr))


def _networks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "npc_networks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


def storage_orientation(case: Path, work: Path) -> Seen:
    """Training images and labels run to the patient's left, back and head, however they were stored."""
    written = _networks("dataset", "lnctvseg", str(case / "lnsrc"), str(work / "raw"))
    directions = {SimpleITK.ReadImage(path).GetDirection() for path in (work / "raw").rglob("lnctvseg*.nii.gz")}
    right = directions == {(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}
    faults = () if right else (f"directions {directions}: {written.stdout[-300:]}",)
    return Seen(faults, silent_wrong=not right and written.returncode == 0, tracebacks=int(TRACEBACK in written.stderr))


def broken_training_cases(_case: Path, work: Path) -> Seen:
    """Cases that are cut, empty, misplaced, mirrored or in each other's place are left out by name; two are right."""
    write_segrap(work / "source", range(1, 9))
    (images,), (labels,) = (list((work / "source").glob(name)) for name in ("*120cases", "*OneHot_Labels/Task002"))
    cut = images / "segrap_0003" / "image.nii.gz"
    cut.write_bytes(cut.read_bytes()[:5000])
    (labels / "segrap_0004.nii.gz").unlink()
    _change(labels / "segrap_0005.nii.gz", lambda image: image * 0)
    _change(images / "segrap_0006" / "image_contrast.nii.gz", lambda image: image[:20, :, :])
    (images / "segrap_0007" / "image_contrast.nii.gz").unlink()
    _change(
        images / "segrap_0008" / "image.nii.gz",
        lambda image: image + 100 * SimpleITK.Cast(image > -100, SimpleITK.sitkInt16),
    )
    done = _networks("dataset", "segrap2023_gtv", str(work / "source"), str(work / "raw"))
    taken = sorted(path.name[:11] for path in (work / "raw").rglob("labelsTr/*"))
    told = [f"segrap_{number:04d}" for number in range(3, 9) if f"left out segrap_{number:04d}" not in done.stdout]
    right = taken == ["segrap_0001", "segrap_0002"] and not told and done.returncode == 1
    faults = () if right else (f"taken: {taken}; not told of: {told}; {done.stdout[-300:]}",)
    return Seen(faults, silent_wrong=bool(told), tracebacks=int(TRACEBACK in done.stderr))


def _change(path: Path, change: Callable[[SimpleITK.Image], SimpleITK.Image]) -> None:
    SimpleITK.WriteImage(change(SimpleITK.ReadImage(path)), path)


def changed_recipe(case: Path, work: Path) -> Seen:
    """A recipe that plans otherwise is planned anew in the same folder of work."""
    write_segrap(work / "source", [1, 2])
    text = (case / "smoke_gtv.toml").read_text()
    recipe = work / "smoke.toml"
    recipe.write_text(text.replace("[32, 64, 64]", "[32, 48, 48]"))
    made = _networks("dataset", str(recipe), str(work / "source"), str(work / "raw"))
    python = nnunet_commands.write_planner(work)
    command = ["train", str(recipe), str(work / "raw" / "Dataset302_SegRapGTV"), "--work", str(work / "work")]
    runs = []
    for content in (recipe.read_text(), text):
        recipe.write_text(content)
        runs.append(_networks(*command, "--python", str(python)))
    (plans,) = (work / "work").rglob("nnUNetPlans.json")
    patch = json.loads(plans.read_text())["configurations"]["3d_fullres"].get("patch_size")
    said = "".join(done.stdout + done.stderr for done in (made, *runs))
    faults = () if patch == [32, 64, 64] else (f"plans keep patch {patch}: {said[-300:]}",)
    return Seen(faults, silent_wrong=bool(faults), tracebacks=int(TRACEBACK in said))


def finds_nothing(_case: Path, work: Path) -> Seen:
    """A network whose validation found nothing is not imported; one that finds nothing of a phantom fails the test."""
    folder = write_trained(work / "net", draw_weights(PlainConvUNet(UNET)).state_dict())
    summary = folder / "fold_0" / "validation" / "summary.json"
    summary.parent.mkdir()
    summary.write_text(json.dumps({"mean": {str(label): {"Dice": 0.0} for label in range(1, 7)}}))
    said = _networks("import", "nnunet-v2", str(folder), "--pipeline", "ln_ctv", "--repo", str(work / "repo"))
    faults = [] if said.returncode == 2 and "finds nothing of label 1" in said.stdout else [said.stdout[-300:]]
    if NetworkResult("npc_gtv", demo=False, dice={"GTVp": 0.0, "GTVn": 0.0}).works:
        faults.append("the self-test lets pass what finds nothing")
    return Seen(tuple(faults), silent_wrong=bool(faults), tracebacks=int(TRACEBACK in said.stderr))
