"""The one architecture: nnU-Net's plain convolutional 3D U-Net.

Written here, with the state-dict keys of dynamic-network-architectures' PlainConvUNet
(`encoder.stages.S.0.convs.B.{conv,norm}`, `decoder.transpconvs.U`, `decoder.stages.U.convs.B.{conv,norm}`,
`decoder.seg_layers.U`), so that checkpoints of either load into the other.
Axes are (batch, channel, z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Triple = tuple[int, int, int]

NORM_EPS = 1e-5
NEGATIVE_SLOPE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetPlan:
    """The shape of one U-Net.

    Attributes:
        in_channels: input volumes stacked along the channel axis.
        classes: outputs, background included.
        features: channels of each resolution stage, finest first.
        kernels: convolution kernel of each stage.
        strides: stride of each stage's first convolution; the first is 1 along every axis.
        convs_per_stage: convolutions of each stage, encoder and decoder alike.
        decoder_kernels: kernel of each decoder stage, deepest first; None takes the kernel of the
            encoder stage at the same resolution.
    """

    in_channels: int
    classes: int
    features: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    convs_per_stage: int = 2
    decoder_kernels: tuple[Triple, ...] | None = None

    def __post_init__(self) -> None:
        stages = len(self.features)
        if stages < 2 or len(self.kernels) != stages or len(self.strides) != stages:
            raise ValueError(
                f"{stages} features, {len(self.kernels)} kernels, {len(self.strides)} strides: "
                "need the same number of stages, at least 2"
            )
        if self.strides[0] != (1, 1, 1):
            raise ValueError(f"the first stage keeps the resolution, got stride {self.strides[0]}")
        if self.decoder_kernels is not None and len(self.decoder_kernels) != stages - 1:
            raise ValueError(f"{len(self.decoder_kernels)} decoder kernels, expected {stages - 1}")

    @property
    def downsampling_zyx(self) -> Triple:
        """Product of the strides: patches must be multiples of it along each axis."""
        z, y, x = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return z, y, x

    def decoder_kernel(self, stage: int) -> Triple:
        """Return the kernel of decoder stage `stage` (0 = deepest)."""
        if self.decoder_kernels is not None:
            return self.decoder_kernels[stage]
        return self.kernels[len(self.kernels) - 2 - stage]


def isotropic_plan(in_channels: int, classes: int, features: tuple[int, ...]) -> UNetPlan:
    """Return a plan of 3x3x3 kernels that halves every axis between stages."""
    stages = len(features)
    return UNetPlan(
        in_channels=in_channels,
        classes=classes,
        features=features,
        kernels=((3, 3, 3),) * stages,
        strides=((1, 1, 1),) + ((2, 2, 2),) * (stages - 1),
    )


class SampleNorm(nn.InstanceNorm3d):
    """Instance normalisation that keeps channels-last memory.

    While training a single sample, batch statistics *are* instance statistics, and PyTorch's batch
    normalisation has a channels-last kernel where its instance normalisation copies; both give the
    same numbers. Otherwise (export, several samples) it is InstanceNorm3d itself.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name nn.Module's callers use)
        """Return the input with mean 0 and variance 1 per sample and channel, then scaled and shifted."""
        if self.training and input.shape[0] == 1:
            return functional.batch_norm(
                input, None, None, self.weight, self.bias, training=True, momentum=0.0, eps=self.eps
            )
        return super().forward(input)


class ConvBlock(nn.Module):
    """Convolution, instance normalisation, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=True)
        self.norm = SampleNorm(out_channels, eps=NORM_EPS, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, out_channels, z, y, x), sides divided by the stride, rounded up."""
        return functional.leaky_relu(self.norm(self.conv(x)), NEGATIVE_SLOPE, inplace=True)


class ConvStack(nn.Module):
    """The convolutions of one stage; only the first strides."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple, count: int) -> None:
        super().__init__()
        first = ConvBlock(in_channels, out_channels, kernel, stride)
        rest = [ConvBlock(out_channels, out_channels, kernel, (1, 1, 1)) for _ in range(count - 1)]
        self.convs = nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, out_channels, z, y, x), sides divided by the stride, rounded up."""
        y: Tensor = self.convs(x)
        return y


class Encoder(nn.Module):
    """Stages from fine to coarse."""

    def __init__(self, plan: UNetPlan) -> None:
        super().__init__()
        inputs = (plan.in_channels, *plan.features[:-1])
        shapes = zip(inputs, plan.features, plan.kernels, plan.strides, strict=True)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvStack(i, o, kernel, stride, plan.convs_per_stage)) for i, o, kernel, stride in shapes
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the output of every stage, finest first."""
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """Stages from coarse to fine, each with its own segmentation head."""

    def __init__(self, plan: UNetPlan) -> None:
        super().__init__()
        coarse_to_fine = range(len(plan.features) - 1, 0, -1)
        self.transpconvs = nn.ModuleList(
            nn.ConvTranspose3d(plan.features[s], plan.features[s - 1], plan.strides[s], plan.strides[s], bias=True)
            for s in coarse_to_fine
        )
        self.stages = nn.ModuleList(
            ConvStack(
                2 * plan.features[s - 1],
                plan.features[s - 1],
                plan.decoder_kernel(u),
                (1, 1, 1),
                plan.convs_per_stage,
            )
            for u, s in enumerate(coarse_to_fine)
        )
        self.seg_layers = nn.ModuleList(
            nn.Conv3d(plan.features[s - 1], plan.classes, 1, bias=True) for s in coarse_to_fine
        )

    def forward(self, skips: list[Tensor], heads: int) -> list[Tensor]:
        """Return the logits of the `heads` finest stages, finest first."""
        x = skips[-1]
        last = len(self.stages) - 1
        logits = []
        for u, (up, stage, head) in enumerate(zip(self.transpconvs, self.stages, self.seg_layers, strict=True)):
            x = stage(torch.cat((up(x), skips[last - u]), dim=1))
            if last - u < heads:
                logits.append(head(x))
        return logits[::-1]


class PlainConvUNet(nn.Module):
    """nnU-Net's PlainConvUNet."""

    def __init__(self, plan: UNetPlan) -> None:
        super().__init__()
        self.plan = plan
        self.encoder = Encoder(plan)
        self.decoder = Decoder(plan)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Args:
            x: (batch, channels, z, y, x), each side a multiple of the plan's downsampling.

        Returns:
            (batch, classes, z, y, x).
        """
        return self.forward_deep(x, heads=1)[0]

    def forward_deep(self, x: Tensor, *, heads: int) -> list[Tensor]:
        """Return logits at the `heads` finest resolutions, finest first (deep supervision)."""
        logits: list[Tensor] = self.decoder(self.encoder(x), heads)
        return logits


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
