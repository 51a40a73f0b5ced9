"""Cross entropy and soft Dice for cases in which only some structures were drawn.

In such a case a voxel that carries no label is background *or* one of the structures that were not drawn: their
probabilities are summed before the loss. G. Shi, L. Xiao, Y. Chen, S. K. Zhou, "Marginal loss and exclusion loss for
partially supervised multi-organ segmentation", Medical Image Analysis 70 (2021) 101979.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMOOTH = 1e-5


class MarginalLoss(nn.Module):
    """Cross entropy plus (1 - mean soft Dice over the structures that were drawn), weights 1 and 1."""

    def __init__(self, *, batch_dice: bool, ignore_label: int | None = None) -> None:
        """Judge whole batches at once, or case by case.

        Args:
            batch_dice: sums of the Dice run over the batch, for a structure over the cases in which it was drawn.
            ignore_label: voxels with it do not count.
        """
        super().__init__()
        self.batch_dice = batch_dice
        self.ignore_label = ignore_label
        self.drawn: Tensor | None = None

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: (case, class, z, y, x).
            target: (case, 1, z, y, x) labels. `drawn` (case, class), set before, says which structures were drawn;
                None says all. A label of a structure that was not drawn is background.

        Returns:
            A scalar.
        """
        drawn = torch.ones(logits.shape[:2], dtype=torch.bool) if self.drawn is None else self.drawn.clone()
        drawn = drawn.to(logits.device)
        drawn[:, 0] = True
        labels = target[:, 0].long()
        known = torch.ones_like(labels, dtype=torch.bool)
        if self.ignore_label is not None:
            known = labels != self.ignore_label
            labels = torch.where(known, labels, torch.zeros_like(labels))
        spatial = (1,) * (logits.ndim - 2)
        undrawn = ~drawn.reshape(*drawn.shape, *spatial)
        labels = torch.where(undrawn.expand_as(logits).gather(1, labels[:, None])[:, 0], 0, labels)
        log_p = torch.log_softmax(logits.float(), dim=1)
        merged = torch.cat([log_p[:, :1], log_p[:, 1:].masked_fill(~undrawn[:, 1:], -torch.inf)], dim=1)
        log_p = torch.cat([torch.logsumexp(merged, dim=1, keepdim=True), log_p[:, 1:]], dim=1)
        picked = -log_p.gather(1, labels[:, None])[:, 0]
        cross_entropy = (picked * known).sum() / known.sum().clamp(min=1)
        return cross_entropy + 1 - self._dice(log_p.exp(), labels, known, drawn)

    def _dice(self, p: Tensor, labels: Tensor, known: Tensor, drawn: Tensor) -> Tensor:
        truth = torch.zeros_like(p).scatter_(1, labels[:, None], 1.0)
        counted = known[:, None]
        axes = tuple(range(2, p.ndim))
        common = (p * truth * counted).sum(axes)[:, 1:]
        sizes = ((p + truth) * counted).sum(axes)[:, 1:]
        judged = drawn[:, 1:].to(p.dtype)
        if self.batch_dice:
            common, sizes = (common * judged).sum(0), (sizes * judged).sum(0)
            judged = (judged.sum(0) > 0).to(p.dtype)
        dice = (2 * common + SMOOTH) / (sizes + SMOOTH)
        return (dice * judged).sum() / judged.sum().clamp(min=1)
