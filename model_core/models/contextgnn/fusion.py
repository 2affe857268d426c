"""Fusion: one score per item out of the tower's scores and those of single pairs.

The paper lets the pair score of a near item replace its tower score and takes one
softmax over all. Most positives of an exploring user are far from it, so most of the
gradient then tells the pair score how large near items are as a group, and tells the
item table about items that are near for others: with few rows both overfit before the
order of the near items is learned. ``two_level`` separates the questions:

    P(i) = σ(g) · softmax over near items (pair score + near bias)      i near
    P(i) = (1 - σ(g)) · softmax over the others (tower score)           otherwise

with a learned gate g of the user: does it go for the familiar, and then which item.

Where pair scores come from several networks (``PairPrior`` in training), each has a softmax over the
near items of its own. The loss is the mean of their losses (``Apart``, ``losses.softmax``), so
that none learns to lean on the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from model_core.models.contextgnn.aggregate import is_exporting

#: Log-score of what is not in a group: finite, so that an empty group has no NaN gradient.
ABSENT = -1e30


@dataclass(frozen=True)
class PairScores:
    """Scores of some (seed, item) pairs, each pair once.

    Attributes:
        seed, item: int64 [M], seed of the batch and catalogue row (or column of the classes).
        score: float [M]; or [M, K], of K networks.
    """

    seed: Tensor
    item: Tensor
    score: Tensor


@dataclass(frozen=True)
class Apart:
    """What each of K networks says of near items, beside the mean of them all.

    A place that two kinds of pairs name stands here twice, alike.

    Attributes:
        place: int64 [P], row · C + column.
        seed: int64 [P], its row.
        times: int64 [P], how often the place is named.
        delta: float32 [P, K], log-probability by a network less the mean; elsewhere all agree.
    """

    place: Tensor
    seed: Tensor
    times: Tensor
    delta: Tensor


class Fused(NamedTuple):
    """Scores float [B, C], and what they are the mean of; None where there is one network."""

    scores: Tensor
    apart: Apart | None


def replace_or_add(tower: Tensor, pairs: tuple[PairScores, ...], replace: bool) -> Tensor:
    """Tower scores [B, C] with the first kind of pairs put in their place or added; the others added."""
    scores = tower.reshape(-1)
    for number, kind in enumerate(pairs):
        place, value = _place(kind, tower), _by_network(kind.score).mean(dim=1).to(tower.dtype)
        scores = scores.scatter(0, place, value) if replace and number == 0 else (
            scores.scatter_add(0, place, value))
    return scores.reshape(tower.shape)


def two_level(
    tower: Tensor, pairs: tuple[PairScores, ...], near_bias: Tensor, gate: Tensor,
    far_shift: Tensor | float = 0.0, absent: Tensor | None = None, has_near: Tensor | None = None,
) -> Fused:
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
        Scores float [B, C]; of one network and without a shift exp of a row sums to 1 (but for the
        share of an empty group).
    """
    tower, gate = tower.float(), gate.float()  # a partition in bfloat16 does not sum to 1
    place = torch.cat([_place(kind, tower) for kind in pairs])
    seed, item = (torch.cat([getattr(kind, part) for kind in pairs]) for part in ("seed", "item"))
    near, times = _summed([kind.score.float() for kind in pairs], place, tower.numel())
    bias = near_bias.index_select(0, item) if near_bias.ndim == 1 else near_bias.reshape(-1)[place]
    near = near + bias[:, None]
    far, exists = tower, None
    if absent is not None:
        far, exists = tower.masked_fill(absent, ABSENT), ~absent.reshape(-1)[place]
        near = near.masked_fill(~exists[:, None], ABSENT)
    # Few items of a row are near: they are counted one by one, and only the others as whole rows.
    far = far.reshape(-1).scatter(0, place, ABSENT).reshape(tower.shape)
    num_rows = tower.shape[0]  # not len: that is a constant in an exported model
    some = _has_any(seed, exists, num_rows) if has_near is None else has_near
    to_near, to_far = _log_sigmoid(gate), torch.where(some, _log_sigmoid(-gate) - far_shift, 0.0)
    of_row = to_near - log_partition(near, times, seed, num_rows)
    each = near + of_row.index_select(0, seed)
    near = each.mean(dim=1)
    apart = Apart(place, seed, times, each - near[:, None]) if each.shape[1] > 1 else None
    if exists is not None:
        near = near.masked_fill(~exists, ABSENT)
    # Not logsumexp: where most of a row is absent its exp underflows, which is slow on a CPU.
    scores = (log_softmax(far, dim=1) + to_far).reshape(-1)
    # A place that two kinds name gets its score in two halves, and so does each its gradient.
    scores = scores.scatter_(0, place, 0.0).scatter_add_(0, place, near / times)
    return Fused(scores.reshape(tower.shape), apart)


def _log_sigmoid(x: Tensor) -> Tensor:
    """log σ(x). Exported, it must not go through σ, which is too coarse in onnxruntime."""
    return x.clamp(max=0) - (1 + (-x.abs()).exp()).log() if is_exporting() else logsigmoid(x)


def _summed(scores: list[Tensor], place: Tensor, num_places: int) -> tuple[Tensor, Tensor]:
    """The sum of all kinds' scores at the place of each pair, [M, K], and how many these are, [M]."""
    total, times, start = torch.zeros(()), place.new_zeros(place.shape), 0
    for score in map(_by_network, scores):
        own = place[start : start + score.shape[0]]
        value, found = looked_up(score, own, place, num_places)
        total, times, start = total + value, times + found, start + score.shape[0]
    return total, times


def looked_up(value: Tensor, place: Tensor, at: Tensor, num_places: int) -> tuple[Tensor, Tensor]:
    """What stands at some places, 0 where nothing does.

    Args:
        value: float [M, K], the rows that stand at ``place``, int64 [M]; equal places have equal rows.
        at: int64 [Q], what is asked for.
        num_places: Above all of them.

    Returns:
        float [Q, K], and whether something stands there, bool [Q].
    """
    where = place.new_zeros(num_places, dtype=torch.int32)  # 0 is a row of zeros, for none
    number = torch.arange(1, value.shape[0] + 1, dtype=torch.int32, device=place.device)
    where = where.scatter(0, place, number).index_select(0, at)
    return torch.cat([value.new_zeros(1, value.shape[1]), value]).index_select(0, where), where > 0


def _by_network(score: Tensor) -> Tensor:
    """float [M, K]."""
    return score if score.ndim == 2 else score[:, None]


def log_partition(score: Tensor, times: Tensor, seed: Tensor, num_rows: int) -> Tensor:
    """Log of the sum of exp over the distinct places of every row, float [P, K] to float [B, K].

    On a GPU the terms are added in any order: the last bit may differ from run to run.
    """
    shape, index = (num_rows, score.shape[1]), seed[:, None].expand_as(score)
    top = score.new_full(shape, ABSENT).scatter_reduce(0, index, score.detach(), "amax")
    share = (score - top.index_select(0, seed)).exp() / times[:, None]
    total = score.new_zeros(shape).scatter_add_(0, index, share)
    return top + total.clamp_min(torch.finfo(score.dtype).tiny).log()


def _has_any(seed: Tensor, exists: Tensor | None, num_rows: int) -> Tensor:
    """Rows with near items that exist, bool [B, 1]."""
    one = torch.ones_like(seed) if exists is None else exists.to(seed.dtype)
    return (seed.new_zeros(num_rows).scatter_add_(0, seed, one) > 0)[:, None]


def _place(pairs: PairScores, tower: Tensor) -> Tensor:
    return pairs.seed * tower.shape[1] + pairs.item
