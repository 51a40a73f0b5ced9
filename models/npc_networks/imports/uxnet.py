"""3D UX-Net and RepUX-Net, with the names under which their published weights are kept.

Written from the papers (Lee et al., "3D UX-Net", ICLR 2023; Lee et al., "Scaling Up 3D Kernels with Bayesian Frequency
Re-parameterization", MICCAI 2023): large depth-wise convolutions encode, residual blocks of MONAI's UNETR decode. The
two differ in the encoder's block alone. RepUX-Net's frequency matrix shapes gradients while training and is no part of
the network afterwards. Axes are (batch, channel, z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6
NEGATIVE_SLOPE = 0.01
STAGES = 4
EXPANSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class UXPlan:
    """The shape of one network; all of it can be read from its weights.

    Attributes:
        widths: channels of the encoder's four stages.
        blocks: of each stage.
        kernel: side of the depth-wise convolutions.
        hidden: channels at the bottom.
        groups: of the point-wise convolutions, per stage: the stage's width where they are depth-wise too, else 1;
            None for RepUX-Net, which has none.
    """

    in_channels: int
    classes: int
    widths: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    kernel: int
    hidden: int
    groups: tuple[int, int, int, int] | None

    @property
    def backbone(self) -> str:
        """Name of the encoder in the state dict."""
        return "repuxnet_3d" if self.groups is None else "uxnet_3d"


class _ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each voxel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        last = functional.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, NORM_EPS)
        return last.movedim(-1, 1)


class _UXBlock(nn.Module):
    """Depth-wise convolution, normalisation, two point-wise convolutions, scaled and added to the input."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = _ChannelNorm(width)
        self.pwconv1 = nn.Conv3d(width, EXPANSION * width, 1, groups=groups)
        self.pwconv2 = nn.Conv3d(EXPANSION * width, width, 1, groups=groups)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.pwconv2(functional.gelu(self.pwconv1(self.norm(self.dwconv(x)))))
        scaled: Tensor = self.gamma[:, None, None, None] * y
        return x + scaled


class _RepUXBlock(nn.Module):
    """Depth-wise convolution, batch normalisation, GELU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional.gelu(self.norm(self.dwconv(x)))
        return y


class _Backbone(nn.Module):
    def __init__(self, plan: UXPlan) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv3d(plan.in_channels, plan.widths[0], 7, stride=2, padding=3), _ChannelNorm(plan.widths[0])
        )
        halvings = [
            nn.Sequential(_ChannelNorm(finer), nn.Conv3d(finer, coarser, 2, stride=2))
            for finer, coarser in pairwise(plan.widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_block(plan, stage) for _ in range(plan.blocks[stage]))) for stage in range(STAGES)
        )
        for stage, width in enumerate(plan.widths):
            self.add_module(f"norm{stage}", _ChannelNorm(width))

    def forward(self, x: Tensor) -> list[Tensor]:
        answers = []
        for stage, (down, blocks) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = blocks(down(x))
            answers.append(self.get_submodule(f"norm{stage}")(x))
        return answers


def _block(plan: UXPlan, stage: int) -> nn.Module:
    width = plan.widths[stage]
    if plan.groups is None:
        return _RepUXBlock(width, plan.kernel)
    return _UXBlock(width, plan.kernel, plan.groups[stage])


class _Conv(nn.Module):
    """A convolution one name deeper, as MONAI nests it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class _ResBlock(nn.Module):
    """MONAI's residual block: two convolutions beside a projection where the width changes; norms without weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _Conv(inputs, outputs, 3)
        self.conv2 = _Conv(outputs, outputs, 3)
        self.norm = nn.InstanceNorm3d(outputs)
        self.conv3 = _Conv(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.leaky_relu(self.norm(self.conv1(x)), NEGATIVE_SLOPE)
        beside = x if self.conv3 is None else self.norm(self.conv3(x))
        return functional.leaky_relu(self.norm(self.conv2(inner)) + beside, NEGATIVE_SLOPE)


class _Encode(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = _ResBlock(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.transp_conv = nn.Module()
        self.transp_conv.conv = nn.ConvTranspose3d(inputs, outputs, 2, stride=2, bias=False)
        self.conv_block = _ResBlock(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y: Tensor = self.conv_block(torch.cat((self.transp_conv.get_submodule("conv")(x), skip), dim=1))
        return y


class UXNet(nn.Module):
    """3D UX-Net, or RepUX-Net where the plan has no groups."""

    def __init__(self, plan: UXPlan) -> None:
        super().__init__()
        self._backbone = plan.backbone
        self.add_module(plan.backbone, _Backbone(plan))
        w0, w1, w2, w3 = plan.widths
        self.encoder1 = _Encode(plan.in_channels, w0)
        self.encoder2 = _Encode(w0, w1)
        self.encoder3 = _Encode(w1, w2)
        self.encoder4 = _Encode(w2, w3)
        self.encoder5 = _Encode(w3, plan.hidden)
        self.decoder5 = _Up(plan.hidden, w3)
        self.decoder4 = _Up(w3, w2)
        self.decoder3 = _Up(w2, w1)
        self.decoder2 = _Up(w1, w0)
        self.decoder1 = _Encode(w0, w0)
        self.out = nn.Module()
        self.out.conv = _Conv(w0, plan.classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, class, z, y, x); each side of the input is a multiple of 16."""
        first, second, third, fourth = self.get_submodule(self._backbone)(x)
        y = self.decoder5(self.encoder5(fourth), self.encoder4(third))
        y = self.decoder4(y, self.encoder3(second))
        y = self.decoder3(y, self.encoder2(first))
        y = self.decoder2(y, self.encoder1(x))
        logits: Tensor = self.out.get_submodule("conv")(self.decoder1(y))
        return logits
