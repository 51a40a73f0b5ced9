"""Cross entropy plus soft Dice, in one pass over the probabilities.

Written as one autograd function because 55 classes on a training patch are 40 million probabilities:
keeping softmax, logarithm, one-hot target and their gradients apart costs more time than the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_VOXELS = 65_536
"""Voxels handled at once: small enough for the cache."""

DEEP_SUPERVISION_WEIGHTS = (1.0, 0.25, 0.125)
"""Weight of the loss at full, half and quarter resolution, before they are scaled to a sum of 1."""


class _CrossEntropyDice(torch.autograd.Function):
    """Mean cross entropy minus the mean soft Dice of the foreground classes present in the target."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:  # noqa: ANN401
        voxels, classes = logits.shape
        probabilities = torch.empty_like(logits)
        log_likelihood = logits.new_zeros((), dtype=torch.float32)
        overlap = logits.new_zeros(classes, dtype=torch.float32)
        predicted = torch.zeros_like(overlap)
        for start in range(0, voxels, CHUNK_VOXELS):
            part = slice(start, start + CHUNK_VOXELS)
            log_p = functional.log_softmax(logits[part].float(), dim=1)
            log_p_target = log_p.gather(1, target[part, None])[:, 0]
            log_likelihood += log_p_target.sum()
            overlap.index_add_(0, target[part], log_p_target.exp())
            p = log_p.exp_()
            predicted += p.sum(0)
            probabilities[part] = p.to(probabilities.dtype)
        size = predicted + torch.bincount(target, minlength=classes)
        present = torch.bincount(target, minlength=classes) > 0
        present[0] = False
        count = present.sum().clamp_min(1)
        dice = torch.where(present, 2 * overlap / size, 0.0)
        # d loss / d p[v, c] = constant[c] + (target[v] == c) * hit[c], from the quotient rule.
        constant = torch.where(present, 2 * overlap / size**2, 0.0) / count
        hit = torch.where(present, -2 / size, 0.0) / count
        ctx.save_for_backward(probabilities, target, constant, hit)
        loss: Tensor = -log_likelihood / voxels - dice.sum() / count
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        probabilities, target, constant, hit = ctx.saved_tensors
        voxels = len(target)
        gradient = torch.empty_like(probabilities)
        for start in range(0, voxels, CHUNK_VOXELS):
            part = slice(start, start + CHUNK_VOXELS)
            p = probabilities[part].float()
            label = target[part, None]
            at_target = p.gather(1, label) * hit[target[part], None]
            mean = (p @ constant)[:, None] + at_target
            p *= constant + 1 / voxels - mean
            p.scatter_add_(1, label, at_target - 1 / voxels)
            gradient[part] = p * grad_outputs[0]
        return gradient, None


def cross_entropy_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return mean cross entropy minus mean soft Dice, a scalar in float32.

    Dice sums over the whole batch and is averaged over the foreground classes that the target holds:
    an absent class has no overlap to gain and is left to the cross entropy.

    Args:
        logits: (batch, classes, z, y, x), channels-last memory is the fast case.
        target: (batch, z, y, x) integer labels.
    """
    flat = logits.permute(0, 2, 3, 4, 1).reshape(-1, logits.shape[1])
    loss: Tensor = _CrossEntropyDice.apply(flat, target.reshape(-1).long())  # type: ignore[no-untyped-call]
    return loss


def deep_supervision_loss(logits: Sequence[Tensor], target: Tensor) -> Tensor:
    """Return the weighted loss over resolutions.

    Args:
        logits: finest first, each half the size of the one before (rounded as the network does).
        target: (batch, z, y, x) labels at the finest resolution; coarser ones take the nearest voxel.
    """
    weights = DEEP_SUPERVISION_WEIGHTS[: len(logits)]
    total = torch.zeros((), device=target.device)
    for weight, level in zip(weights, logits, strict=True):
        step = [size // coarse for size, coarse in zip(target.shape[1:], level.shape[2:], strict=True)]
        coarse_target = target[:, :: step[0], :: step[1], :: step[2]]
        total = total + weight / sum(weights) * cross_entropy_dice(level, coarse_target)
    return total
