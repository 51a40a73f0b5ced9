"""The U-Net is nnU-Net's: its names, its shapes and its arithmetic, so that checkpoints travel both ways."""

import re

import pytest
import torch
from torch.nn import functional

from npc_networks.unet import PlainConvUNet, SampleNorm, UNetPlan, isotropic_plan

SMALL = isotropic_plan(2, 5, (4, 8, 8))


def test_state_dict_has_the_keys_of_dynamic_network_architectures() -> None:
    keys = set(PlainConvUNet(SMALL).state_dict())

    patterns = (
        r"encoder\.stages\.[0-2]\.0\.convs\.[01]\.(conv|norm)\.(weight|bias)",
        r"decoder\.stages\.[01]\.convs\.[01]\.(conv|norm)\.(weight|bias)",
        r"decoder\.(transpconvs|seg_layers)\.[01]\.(weight|bias)",
    )
    assert all(any(re.fullmatch(pattern, key) for pattern in patterns) for key in keys)
    assert len(keys) == 3 * 2 * 4 + 2 * 2 * 4 + 2 * 2 * 2


def test_shapes_follow_the_plan() -> None:
    state = PlainConvUNet(SMALL).state_dict()

    assert state["encoder.stages.0.0.convs.0.conv.weight"].shape == (4, 2, 3, 3, 3)
    assert state["encoder.stages.2.0.convs.0.conv.weight"].shape == (8, 8, 3, 3, 3)
    assert state["decoder.transpconvs.1.weight"].shape == (8, 4, 2, 2, 2)
    assert state["decoder.stages.1.convs.0.conv.weight"].shape == (4, 8, 3, 3, 3)
    assert state["decoder.seg_layers.0.weight"].shape == (5, 8, 1, 1, 1)
    assert state["decoder.seg_layers.1.weight"].shape == (5, 4, 1, 1, 1)


def test_published_size_of_the_segrap_network() -> None:
    """30.6 million parameters, as nnU-Net counts for the challenge's plan (kernels of the version 1 decoder)."""
    flat, cube = (1, 3, 3), (3, 3, 3)
    plan = UNetPlan(
        in_channels=2,
        classes=55,
        features=(32, 64, 128, 256, 320, 320),
        kernels=(flat, cube, cube, cube, cube, cube),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)),
        decoder_kernels=(cube,) * 5,
    )

    parameters = sum(tensor.numel() for tensor in PlainConvUNet(plan).parameters())

    assert parameters == pytest.approx(30.6e6, rel=0.02)


def test_anisotropic_strides_come_back_to_the_input_size() -> None:
    plan = UNetPlan(
        in_channels=1, classes=3, features=(4, 4, 8), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    )  # fmt: skip
    network = PlainConvUNet(plan).eval()

    fine, coarse = network.forward_deep(torch.zeros(1, 1, 4, 8, 12), heads=2)

    assert plan.downsampling_zyx == (2, 4, 4)
    assert fine.shape == (1, 3, 4, 8, 12)
    assert coarse.shape == (1, 3, 4, 4, 6)


def test_single_and_several_samples_are_normalised_alike() -> None:
    norm = SampleNorm(3, eps=1e-5, affine=True).train()
    x = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))

    apart = torch.cat([norm(x[:1]), norm(x[1:])])

    torch.testing.assert_close(apart, norm(x))
    torch.testing.assert_close(norm(x), functional.instance_norm(x, eps=1e-5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": ((1, 1, 1),)}, "1 strides"),
        ({"strides": ((2, 2, 2), (2, 2, 2))}, "first stage"),
        ({"decoder_kernels": ()}, "0 decoder kernels, expected 1"),
    ],
)
def test_plan_that_does_not_fit_together_is_refused(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "in_channels": 1, "classes": 2, "features": (4, 8),
        "kernels": ((3, 3, 3), (3, 3, 3)), "strides": ((1, 1, 1), (2, 2, 2)),
    }  # fmt: skip

    with pytest.raises(ValueError, match=message):
        UNetPlan(**{**good, **change})  # type: ignore[arg-type]
