"""A bare state dict under the published names computes what MONAI's own blocks compute; what does not fit is named."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from npc_contour.catalog import read_contract
from npc_networks.cli import main
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.imports.state_dict_network import read_state_dict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from monai.networks.blocks.dynunet_block import UnetOutBlock
    from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
    from monai.networks.nets.swin_unetr import SwinUNETR

PLANS = """
channels = ["CT"]
spacing_mm = [3.0, 1.0, 1.0]
patch = [32, 32, 32]
normalisation = [{ clip_hu = [-175.0, 250.0], mean_hu = -175.0, std_hu = 425.0 }]
"""
WIDTHS = (6, 8, 10, 12)
NAMES = {"uxnet3d": "uxnet_3d", "repuxnet": "repuxnet_3d"}


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        scaled = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None, None] * scaled + self.bias[:, None, None, None]


class _Block(nn.Module):
    """The block as each paper draws it."""

    def __init__(self, width: int, architecture: str, kernel: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = _Norm(width) if architecture == "uxnet3d" else nn.BatchNorm3d(width)
        if architecture == "uxnet3d":
            self.pwconv1 = nn.Conv3d(width, 4 * width, 1, groups=width)
            self.pwconv2 = nn.Conv3d(4 * width, width, 1, groups=width)
            self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.gelu(self.norm(self.dwconv(x))) if not hasattr(self, "gamma") else self.norm(self.dwconv(x))
        if hasattr(self, "gamma"):
            y = x + self.gamma[:, None, None, None] * self.pwconv2(functional.gelu(self.pwconv1(y)))
        return y


class Published(nn.Module):
    """A network made of MONAI's blocks under the published names."""

    def __init__(self, architecture: str, *, kernel: int = 7, classes: int = 7) -> None:
        super().__init__()
        self.backbone = backbone = nn.Module()
        self.name = NAMES[architecture]
        stem = nn.Sequential(nn.Conv3d(1, WIDTHS[0], 7, 2, 3), _Norm(WIDTHS[0]))
        downs = [nn.Sequential(_Norm(a), nn.Conv3d(a, b, 2, 2)) for a, b in pairwise(WIDTHS)]
        backbone.downsample_layers = nn.ModuleList([stem, *downs])
        backbone.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width, architecture, kernel) for _ in range(2))) for width in WIDTHS
        )
        for stage, width in enumerate(WIDTHS):
            backbone.add_module(f"norm{stage}", _Norm(width))
        sizes = [1, *WIDTHS, 16]
        options: dict[str, Any] = {"spatial_dims": 3, "kernel_size": 3, "norm_name": "instance", "res_block": True}
        for n in range(5):
            basic = UnetrBasicBlock(in_channels=sizes[n], out_channels=sizes[n + 1], stride=1, **options)
            self.add_module(f"encoder{n + 1}", basic)
        for n in range(5, 1, -1):
            up = UnetrUpBlock(in_channels=sizes[n], out_channels=sizes[n - 1], upsample_kernel_size=2, **options)
            self.add_module(f"decoder{n}", up)
        self.decoder1 = UnetrBasicBlock(in_channels=WIDTHS[0], out_channels=WIDTHS[0], stride=1, **options)
        self.out = UnetOutBlock(spatial_dims=3, in_channels=WIDTHS[0], out_channels=classes)

    def forward(self, x: Tensor) -> Tensor:
        y, found = x, [x]
        for stage in range(4):
            down, blocks = (self.backbone.get_submodule(f"{name}.{stage}") for name in ("downsample_layers", "stages"))
            y = blocks(down(y))
            found.append(self.backbone.get_submodule(f"norm{stage}")(y))
        encoded = [self.get_submodule(f"encoder{n + 1}")(found[n]) for n in range(5)]
        y = encoded[4]
        for n in range(5, 1, -1):
            y = self.get_submodule(f"decoder{n}")(y, encoded[n - 2])
        answer: Tensor = self.out(self.decoder1(y))
        return answer

    def weights(self) -> dict[str, Tensor]:
        return {key.replace("backbone.", f"{self.name}.", 1): value for key, value in self.state_dict().items()}


def _drawn(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network.eval()


def _write(folder: Path, weights: Any, plans: str = PLANS) -> tuple[Path, Path]:
    torch.save(weights, folder / "weights.pth")
    (folder / "plans.toml").write_text(plans)
    return folder / "weights.pth", folder / "plans.toml"


def _image(seed: int = 3) -> Tensor:
    return torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("architecture", "kernel"), [("uxnet3d", 7), ("uxnet3d", 13), ("repuxnet", 21)])
def test_large_kernel_networks_compute_what_the_published_ones_do(
    tmp_path: Path, architecture: str, kernel: int
) -> None:
    theirs = Published(architecture, kernel=kernel)
    _drawn(theirs)
    file, plans = _write(tmp_path, {"state_dict": {f"module.{key}": v for key, v in theirs.weights().items()}})

    ours = read_state_dict(file, architecture, plans)

    with torch.inference_mode():
        torch.testing.assert_close(ours.module(_image()), theirs(_image()), atol=1e-4, rtol=1e-4)
    assert (ours.classes, ours.transpose, ours.normalise_first) == (7, (0, 1, 2), False)


@pytest.mark.parametrize("downsample", ["merging", "mergingv2"])
def test_swin_unetr_is_monais(tmp_path: Path, downsample: str) -> None:
    theirs = _drawn(
        SwinUNETR(in_channels=1, out_channels=7, feature_size=12, depths=(1, 1, 1, 1), downsample=downsample)
    )
    file, plans = _write(tmp_path, theirs.state_dict(), f'{PLANS}downsample = "{downsample}"\n')

    ours = read_state_dict(file, "swinunetr", plans)

    image = _image().repeat(1, 1, 2, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(ours.module(image), theirs(image), atol=1e-5, rtol=1e-5)


def test_a_window_that_the_network_cannot_take_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = SwinUNETR(in_channels=1, out_channels=7, feature_size=12, depths=(1, 1, 1, 1))
    file, plans = _write(tmp_path, network.state_dict())
    arguments = ["--architecture", "swinunetr", "--pipeline", "ln_ctv", "--plans", str(plans)]

    assert main(["import", "state-dict", str(file), *arguments, "--repo", str(tmp_path / "repo")]) == 2

    said = capsys.readouterr().out
    assert "refused: the network cannot be computed on windows of 32 x 32 x 32 voxels: Expected more than 1" in said


def test_other_axes_and_directions_are_told(tmp_path: Path) -> None:
    theirs = Published("uxnet3d")
    _drawn(theirs)
    file, plans = _write(tmp_path, theirs.weights(), PLANS + 'axes = "xyz"\norientation = "RAS"\n')

    ours = read_state_dict(file, "uxnet3d", plans)

    assert ours.transpose == (2, 1, 0)
    assert ours.flipped_zyx == (1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(ours.module(_image()), theirs(_image()), atol=1e-4, rtol=1e-4)


def test_import_writes_a_model_folder(tmp_path: Path) -> None:
    theirs = Published("uxnet3d", kernel=3)
    _drawn(theirs)
    file, plans = _write(tmp_path, theirs.weights())
    arguments = ["--architecture", "uxnet3d", "--pipeline", "ln_ctv", "--plans", str(plans), "--name", "ux"]

    assert main(["import", "state-dict", str(file), *arguments, "--repo", str(tmp_path / "repo")]) == 0

    contract = read_contract(tmp_path / "repo" / "ux" / "contract.json")
    assert (contract.patch_zyx, contract.crop_nonzero, contract.separate_z) == ((32, 32, 32), False, False)
    np.testing.assert_allclose(contract.normalisation[0].std_hu, 425.0)


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        (PLANS.replace('channels = ["CT"]', ""), "channels: Field required"),
        (PLANS + "axis = 1\n", "axis: Extra inputs are not permitted"),
        (PLANS.replace("[32, 32, 32]", "[32, 32, 30]"), r"patch is \[32, 32, 30\], uxnet3d takes multiples of 16"),
        (PLANS.replace('["CT"]', '["CT", "contrast CT"]'), "2 channels but 1 normalisations"),
        ("channels = [", "is no TOML"),
    ],
)
def test_plans_that_do_not_fit_are_refused(tmp_path: Path, plans: str, message: str) -> None:
    file, path = _write(tmp_path, Published("uxnet3d", kernel=3).weights(), plans)

    with pytest.raises(ImportRefused, match=message):
        read_state_dict(file, "uxnet3d", path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    network = Published("uxnet3d", kernel=3)
    weights = network.weights()
    file, plans = _write(tmp_path, weights)
    with pytest.raises(ImportRefused, match=r"is no repuxnet: it has no repuxnet_3d\.stages\.0\.0\.dwconv\.weight"):
        read_state_dict(file, "repuxnet", plans)
    with pytest.raises(ImportRefused, match="is no swinunetr"):
        read_state_dict(file, "swinunetr", plans)
    for change, message in (
        ({"decoder3.conv_block.conv1.conv.weight": None}, r"lacks 1 of \d+ weights: decoder3\.conv_block"),
        ({"extra": torch.zeros(1)}, "holds 1 weights that this network has no place for: extra"),
        ({"out.conv.conv.bias": torch.zeros(9)}, r"out\.conv\.conv\.bias has shape \(9,\), expected \(7,\)"),
        ({"out.conv.conv.bias": torch.full((7,), torch.nan)}, "not numbers"),
    ):
        changed = {key: value for key, value in {**weights, **change}.items() if value is not None}
        file, plans = _write(tmp_path, changed)
        with pytest.raises(ImportRefused, match=message):
            read_state_dict(file, "uxnet3d", plans)
