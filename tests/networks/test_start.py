"""A training that starts from an exported network answers as that one does where channels and labels agree."""

from pathlib import Path

import pytest
import torch

from npc_networks.networks import NETWORKS
from npc_networks.start import exported, fitted
from npc_networks.unet import PlainConvUNet, isotropic_plan

REPOSITORY = Path(__file__).parents[2] / "triton_repo"
FEATURES = NETWORKS["npc_gtv"].features


def test_one_channel_and_other_labels_start_from_the_exported_network() -> None:
    name, weights, labels = exported(REPOSITORY / "npc_gtv")
    source = PlainConvUNet(isotropic_plan(2, 3, FEATURES)).eval()
    source.load_state_dict({**source.state_dict(), **weights})
    network = PlainConvUNet(isotropic_plan(1, 4, FEATURES)).eval()

    state, taken = fitted(network.state_dict(), ("background", "GTVn", "Other", "GTVp_MR"), weights, labels)
    network.load_state_dict(state)

    assert (name, taken) == ("npc_gtv", 3)
    image = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = network(image), source(image.repeat(1, 2, 1, 1, 1))
    torch.testing.assert_close(ours[:, (0, 1, 3)], theirs[:, (0, 2, 1)], atol=1e-3, rtol=1e-3)


def test_another_form_is_refused() -> None:
    _, weights, labels = exported(REPOSITORY / "npc_gtv")
    wide = PlainConvUNet(isotropic_plan(2, 3, (8, 16, 16, 16, 16)))

    with pytest.raises(ValueError, match="in the exported network"):
        fitted(wide.state_dict(), labels, weights, labels)
