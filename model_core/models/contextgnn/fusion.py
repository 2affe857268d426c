"""Fusion: one score per item out of the tower's scores and those of single pairs.

The paper lets the pair score of a near item replace its tower score and takes one
softmax over all. Most positives of an exploring user are far from it, so most of the
gradient then tells the pair score how large near items are as a group, and tells the
item table about items that are near for others: with few rows both overfit before the
order of the near items is learned. ``two_level`` separates the questions:

    P(i) = σ(g) · softmax over near items (pair score + near bias)      i near
    P(i) = (1 - σ(g)) · softmax over the others (tower score)           otherwise

with a learned gate g of the user: does it go for the familiar, and then which item.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

#: Log-score of what is not in a group: finite, so that an empty group has no NaN gradient.
ABSENT = -1e30


@dataclass(frozen=True)
class PairScores:
    """Scores of some (seed, item) pairs, each pair once.

    Attributes:
        seed, item: int64 [M], seed of the batch and catalogue row (or column of the classes).
        score: float [M].
    """

    seed: Tensor
    item: Tensor
    score: Tensor


def replace_or_add(tower: Tensor, pairs: tuple[PairScores, ...], replace: bool) -> Tensor:
    """Tower scores [B, C] with the first kind of pairs put in their place or added; the others added."""
    scores = tower.reshape(-1)
    for number, kind in enumerate(pairs):
        place, value = _place(kind, tower), kind.score.to(tower.dtype)
        scores = scores.scatter(0, place, value) if replace and number == 0 else (
            scores.scatter_add(0, place, value))
    return scores.reshape(tower.shape)


def two_level(
    tower: Tensor, pairs: tuple[PairScores, ...], near_bias: Tensor, gate: Tensor,
    far_shift: Tensor | float = 0.0, absent: Tensor | None = None, has_near: Tensor | None = None,
) -> Tensor:
    """Log-probability of every item: which group, then which item of it.

    An item is near where any kind of pair names it; scores of several kinds add up.

    Args:
        tower: float [B, C].
        pairs: Kinds of pairs.
        near_bias: float [C], or [B, C].
        gate: float [B, 1], log-odds of the near group. A row without near items has none.
        absent: bool [B, C], items that do not exist for a row (not born yet): they are in
            neither group. Masking them afterwards would leave them in the partitions.
        has_near: bool [B, 1], rows with near items, where the columns are a sample; unset,
            those with near items among the columns.
        far_shift: Taken off the log-probability of the other items of rows that have near ones.

    Returns:
        float [B, C]; without a shift exp of a row sums to 1 (but for the share of an empty
        group).
    """
    tower, gate = tower.float(), gate.float()  # a partition in bfloat16 does not sum to 1
    flat = torch.zeros_like(tower).reshape(-1)
    member = torch.zeros_like(flat)
    for kind in pairs:
        place = _place(kind, tower)
        flat = flat.scatter_add(0, place, kind.score.to(tower.dtype))
        member = member.scatter(0, place, torch.ones_like(kind.score, dtype=tower.dtype))
    is_near = member.reshape(tower.shape) > 0
    gone = is_near
    if absent is not None:
        is_near, gone = is_near & ~absent, is_near | absent
    near = (flat.reshape(tower.shape) + near_bias).masked_fill(~is_near, ABSENT)
    far = tower.masked_fill(gone, ABSENT)
    some = is_near.any(dim=1, keepdim=True) if has_near is None else has_near
    to_near, to_far = logsigmoid(gate), torch.where(some, logsigmoid(-gate) - far_shift, 0.0)
    # Not logsumexp: where most of a row is absent its exp underflows, which is slow on a CPU.
    return torch.where(is_near, log_softmax(near, dim=1) + to_near, log_softmax(far, dim=1) + to_far)


def _place(pairs: PairScores, tower: Tensor) -> Tensor:
    return pairs.seed * tower.shape[1] + pairs.item
