"""The fused loss equals the textbook one, value and gradient."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from npc_networks import losses
from npc_networks.losses import cross_entropy_dice, deep_supervision_loss


def _textbook(logits: Tensor, target: Tensor, class_balance: float = 0.0) -> Tensor:
    p = logits.softmax(1)
    wanted = functional.one_hot(target.long(), logits.shape[1]).permute(0, 4, 1, 2, 3).float()
    axes = (0, 2, 3, 4)
    dice = 2 * (p * wanted).sum(axes) / (p.sum(axes) + wanted.sum(axes))
    present = wanted.sum(axes) > 0
    present[0] = False
    overlap = dice[present].mean() if present.any() else torch.zeros(())
    share = wanted.mean(axes)
    weight = torch.where(share > 0, share**-class_balance, 0.0)
    return functional.cross_entropy(logits, target.long(), weight) - overlap


@pytest.mark.parametrize("class_balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("labels", [7, 4, 1], ids=["all classes", "some classes absent", "background alone"])
def test_value_and_gradient_equal_the_textbook_loss(
    labels: int, class_balance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_VOXELS", 50)
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 7, 4, 6, 5, generator=generator)
    target = torch.randint(0, labels, (2, 4, 6, 5), generator=generator, dtype=torch.uint8)
    target[target == 3] *= (torch.arange(5) == 2).byte().expand_as(target)[target == 3]
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))

    loss, reference = cross_entropy_dice(ours, target, class_balance), _textbook(theirs, target, class_balance)
    torch.autograd.backward(loss)
    torch.autograd.backward(reference)

    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_gradient_of_bfloat16_logits_is_close_to_that_of_float32() -> None:
    logits = torch.randn(1, 5, 4, 4, 4, generator=torch.Generator().manual_seed(1)).bfloat16()
    target = (torch.arange(64) % 5).reshape(1, 4, 4, 4)
    half, full = logits.clone().requires_grad_(), logits.float().requires_grad_()

    torch.autograd.backward(cross_entropy_dice(half, target))
    torch.autograd.backward(cross_entropy_dice(full, target))

    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(half.grad.float(), full.grad, atol=2e-4, rtol=0.02)


def test_deep_supervision_weighs_resolutions_and_takes_the_nearest_labels() -> None:
    generator = torch.Generator().manual_seed(5)
    target = torch.randint(0, 3, (1, 4, 8, 8), generator=generator)
    fine = torch.randn(1, 3, 4, 8, 8, generator=generator)
    coarse = torch.randn(1, 3, 2, 4, 4, generator=generator)

    loss = deep_supervision_loss([fine, coarse], target)

    expected = 0.8 * _textbook(fine, target) + 0.2 * _textbook(coarse, target[:, ::2, ::2, ::2])
    torch.testing.assert_close(loss, expected)
