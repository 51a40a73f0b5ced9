"""Networks of others, of the table of cases: computed as they were trained, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK
import torch

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.catalog import PIPELINES_DIR, read_contract, read_pipeline
from npc_contour.core.resampling import resampled_shape
from npc_contour.voxel_files import read_image
from npc_networks.imports.command import target_of
from npc_networks.imports.network import write_network
from npc_networks.imports.nnunet_v2 import read_nnunet_v2
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.unet import PlainConvUNet
from npc_testkit.cases import Seen
from npc_testkit.nnunet_v2 import UNET, draw_weights, write_trained
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
    image = torch.randn(1, len(ours.modalities), *ours.patch, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        same = torch.equal(ours.module(image), torch.flip(theirs.module(torch.flip(image, (3, 4))), (3, 4)))
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
