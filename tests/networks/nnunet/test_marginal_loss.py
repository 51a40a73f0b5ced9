"""A structure that was not drawn teaches nothing against itself; with everything drawn the loss is the usual one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from npc_networks.nnunet.marginal_loss import MarginalLoss
from npc_testkit.public_data import balls


def sample(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 4, 5, generator=generator)
    target = torch.randint(0, 4, (2, 1, 3, 4, 5), generator=generator)
    return logits, target


def usual_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy plus one minus the mean Dice of the classes but the background, case by case."""
    p = logits.softmax(1)
    truth = torch.zeros_like(p).scatter_(1, target, 1.0)
    axes = (2, 3, 4)
    dice = (2 * (p * truth).sum(axes) + 1e-5) / ((p + truth).sum(axes) + 1e-5)
    return nn.functional.cross_entropy(logits, target[:, 0]) + 1 - dice[:, 1:].mean()


def test_with_everything_drawn_it_is_cross_entropy_and_dice() -> None:
    logits, target = sample()

    loss = MarginalLoss(batch_dice=False)(logits, target)

    torch.testing.assert_close(loss, usual_loss(logits, target))


def test_undrawn_structure_counts_as_background() -> None:
    logits, target = sample()
    target[target == 3] = 0
    marginal = MarginalLoss(batch_dice=False)
    marginal.drawn = torch.tensor([[True, True, True, False]] * 2)

    loss = marginal(logits, target)

    # The same as a network with three classes whose background is the sum of two.
    merged = torch.cat([torch.logsumexp(logits[:, [0, 3]], 1, keepdim=True), logits[:, 1:3]], 1)
    torch.testing.assert_close(loss, usual_loss(merged, target))


def test_only_the_sum_of_background_and_undrawn_matters() -> None:
    logits, target = sample()
    target[target == 3] = 0
    swapped = logits[:, [3, 1, 2, 0]]
    marginal = MarginalLoss(batch_dice=True)
    marginal.drawn = torch.tensor([[True, True, True, False]] * 2)

    torch.testing.assert_close(marginal(logits, target), marginal(swapped, target))


def test_ignored_voxels_change_nothing() -> None:
    logits, target = sample()
    target[:, :, 0] = 9
    other = logits.clone()
    other[:, :, 0] = 50.0
    marginal = MarginalLoss(batch_dice=False, ignore_label=9)

    torch.testing.assert_close(marginal(logits, target), marginal(other, target))
    assert torch.isfinite(marginal(logits, torch.full_like(target, 9)))


def test_label_of_an_undrawn_structure_is_taken_for_background() -> None:
    logits, target = sample()
    marginal = MarginalLoss(batch_dice=False)
    marginal.drawn = torch.tensor([[True, True, True, False]] * 2)

    torch.testing.assert_close(marginal(logits, target), marginal(logits, torch.where(target == 3, 0, target)))


def test_two_partly_drawn_cases_teach_both_structures() -> None:
    """Smoke run on phantoms: the first case has one structure drawn, the second the other."""
    torch.manual_seed(0)
    scans = [balls(seed) for seed in (1, 2)]
    images = torch.stack([torch.from_numpy(hu).float()[None] / 100 for hu, _ in scans])
    whole = torch.stack([torch.from_numpy(labels).long()[None] for _, labels in scans])
    drawn = torch.tensor([[True, True, False], [True, False, True]])
    partly = torch.stack([torch.where(whole[case] == case + 1, whole[case], 0) for case in range(2)])

    recalls = {}
    for marginal in (True, False):
        network = nn.Sequential(
            nn.Conv3d(1, 8, 1), nn.LeakyReLU(), nn.Conv3d(8, 8, 1), nn.LeakyReLU(), nn.Conv3d(8, 3, 1)
        )
        loss = MarginalLoss(batch_dice=True)
        loss.drawn = drawn if marginal else None
        optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(80):
            optimiser.zero_grad()
            loss(network(images), partly).backward()
            optimiser.step()
        found = network(images).argmax(1, keepdim=True)
        undrawn = [found[0][whole[0] == 2] == 2, found[1][whole[1] == 1] == 1]
        recalls[marginal] = min(float(part.float().mean()) for part in undrawn)

    assert recalls[True] > 0.9
    assert recalls[False] < recalls[True]
