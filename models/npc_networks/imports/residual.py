"""nnU-Net's U-Net with a residual encoder, with the names of dynamic-network-architectures' ResidualEncoderUNet.

Axes are (batch, channel, z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from npc_networks.unet import NEGATIVE_SLOPE, NORM_EPS, Decoder, Triple, UNetPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualPlan:
    """The shape of one residual U-Net.

    Attributes:
        unet: of stages and decoder.
        blocks: residual blocks of each stage.
    """

    unet: UNetPlan
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.unet.features):
            raise ValueError(f"{len(self.blocks)} numbers of blocks for {len(self.unet.features)} stages")


class _ConvNorm(nn.Module):
    """Convolution and instance normalisation, without what makes it non-linear."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple, *, bias: bool) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, eps=NORM_EPS, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class _Stem(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: Triple) -> None:
        super().__init__()
        self.convs = nn.Sequential(_ConvNorm(inputs, outputs, kernel, (1, 1, 1), bias=True))

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.convs(x), NEGATIVE_SLOPE)


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which is pooled and projected where stride and channels ask for it."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(inputs, outputs, kernel, stride, bias=True)
        self.conv2 = _ConvNorm(outputs, outputs, kernel, (1, 1, 1), bias=True)
        shortcut: list[nn.Module] = []
        if stride != (1, 1, 1):
            shortcut.append(nn.AvgPool3d(stride, stride))
        if inputs != outputs:
            shortcut.append(_ConvNorm(inputs, outputs, (1, 1, 1), (1, 1, 1), bias=False))
        self.skip = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(functional.leaky_relu(self.conv1(x), NEGATIVE_SLOPE))
        return functional.leaky_relu(inner + self.skip(x), NEGATIVE_SLOPE)


class _Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple, count: int) -> None:
        super().__init__()
        first = _Block(inputs, outputs, kernel, stride)
        self.blocks = nn.Sequential(first, *(_Block(outputs, outputs, kernel, (1, 1, 1)) for _ in range(count - 1)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(x)
        return y


class _Encoder(nn.Module):
    def __init__(self, plan: ResidualPlan) -> None:
        super().__init__()
        unet = plan.unet
        self.stem = _Stem(unet.in_channels, unet.features[0], unet.kernels[0])
        inputs = (unet.features[0], *unet.features[:-1])
        shapes = zip(inputs, unet.features, unet.kernels, unet.strides, plan.blocks, strict=True)
        self.stages = nn.ModuleList(_Stage(*shape) for shape in shapes)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class ResidualEncoderUNet(nn.Module):
    """nnU-Net's ResidualEncoderUNet."""

    def __init__(self, plan: ResidualPlan) -> None:
        super().__init__()
        self.encoder = _Encoder(plan)
        self.decoder = Decoder(plan.unet)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, class, z, y, x); each side of the input is a multiple of the plan's downsampling."""
        logits: list[Tensor] = self.decoder(self.encoder(x), 1)
        return logits[0]
