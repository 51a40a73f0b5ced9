"""Cross entropy plus soft Dice, in one pass over the probabilities.

Written as one autograd function because 55 classes on a training patch are 40 million probabilities:
keeping softmax, logarithm, one-hot target and their gradients apart costs more time than the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CHUNK_VOXELS = 4_096
"""Voxels handled at once: a megabyte of 55 classes stays in the cache."""

DEEP_SUPERVISION_WEIGHTS = (1.0, 0.25, 0.125)
"""Weight of the loss at full, half and quarter resolution, before they are scaled to a sum of 1."""


class _CrossEntropyDice(torch.autograd.Function):
    """Mean cross entropy minus the mean soft Dice of the foreground classes present in the target."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, class_balance: float) -> Tensor:  # noqa: ANN401
        voxels, classes = logits.shape
        probabilities = torch.empty_like(logits)
        at_target = torch.empty(voxels, device=logits.device)
        predicted = torch.zeros(classes, device=logits.device)
        for start in range(0, voxels, CHUNK_VOXELS):
            part = slice(start, start + CHUNK_VOXELS)
            p = torch.softmax(logits[part].float(), dim=1)
            at_target[part] = p.gather(1, target[part, None])[:, 0]
            # A product with ones: the library's matrix kernel sums columns faster than its reduction does.
            predicted += p.new_ones(len(p)) @ p
            probabilities[part] = p
        overlap = torch.zeros_like(predicted).index_add_(0, target, at_target)
        wanted = torch.bincount(target, minlength=classes)
        size = predicted + wanted
        weight = torch.where(wanted > 0, (voxels / wanted.clamp_min(1)) ** class_balance, 0.0)
        weight = weight / (weight * wanted).sum()
        # Clamped for the value alone: the gradient below never divides by a probability.
        log_p = at_target.clamp_min(torch.finfo(torch.float32).tiny).log()
        present = wanted > 0
        present[0] = False
        count = present.sum().clamp_min(1)
        dice = torch.where(present, 2 * overlap / size, 0.0)
        # d loss / d p[v, c] = constant[c] + (target[v] == c) * hit[c], from the quotient rule.
        constant = torch.where(present, 2 * overlap / size**2, 0.0) / count
        hit = torch.where(present, -2 / size, 0.0) / count
        ctx.save_for_backward(probabilities, target, constant, hit, weight)
        loss: Tensor = -(weight[target] * log_p).sum() - dice.sum() / count
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        probabilities, target, *factors = ctx.saved_tensors
        constant, hit, weight = (factor * grad_outputs[0].float() for factor in factors)
        gradient = torch.empty_like(probabilities)
        for start in range(0, len(target), CHUNK_VOXELS):
            part = slice(start, start + CHUNK_VOXELS)
            p = probabilities[part].float()
            label = target[part, None]
            at_target = p.gather(1, label) * hit[label]
            # Cross entropy adds weight * (p - 1 at the target), Dice what the softmax leaves of its slopes.
            own = weight[label]
            p *= constant + (own - (p @ constant)[:, None] - at_target)
            gradient[part] = p.scatter_add_(1, label, at_target - own)
        return gradient, None, None


def cross_entropy_dice(logits: Tensor, target: Tensor, class_balance: float = 0.0) -> Tensor:
    """Return mean cross entropy minus mean soft Dice, a scalar in float32.

    Dice sums over the whole batch and is averaged over the foreground classes that the target holds:
    an absent class has no overlap to gain and is left to the cross entropy.

    Args:
        logits: (batch, classes, z, y, x), channels-last memory is the fast case.
        target: (batch, z, y, x) integer labels.
        class_balance: voxels of a class weigh (1 / its share of the target) to this power in the cross entropy: at 0
            all voxels weigh the same, at 1 all classes do. Dice alone hardly moves a class that is nowhere predicted.
    """
    flat = logits.permute(0, 2, 3, 4, 1).reshape(-1, logits.shape[1])
    loss: Tensor = _CrossEntropyDice.apply(flat, target.reshape(-1).long(), class_balance)  # type: ignore[no-untyped-call]
    return loss


def deep_supervision_loss(logits: Sequence[Tensor], target: Tensor, class_balance: float = 0.0) -> Tensor:
    """Return the weighted loss over resolutions.

    Args:
        logits: finest first, each half the size of the one before (rounded as the network does).
        target: (batch, z, y, x) labels at the finest resolution; coarser ones take the nearest voxel.
        class_balance: as in `cross_entropy_dice`.
    """
    weights = DEEP_SUPERVISION_WEIGHTS[: len(logits)]
    total = torch.zeros((), device=target.device)
    for weight, level in zip(weights, logits, strict=True):
        step = [size // coarse for size, coarse in zip(target.shape[1:], level.shape[2:], strict=True)]
        coarse_target = target[:, :: step[0], :: step[1], :: step[2]]
        total = total + weight / sum(weights) * cross_entropy_dice(level, coarse_target, class_balance)
    return total
