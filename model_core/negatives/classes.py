"""The classes of one sampled-softmax step, with the weights that make it honest.

The full softmax of a row needs Z = Σ_i e^{s_i} over the whole catalogue. A step scores
only a set S of classes: a fixed part D (positives, subgraph items, hard neighbours) that
is decided before anything is drawn, and the distinct items of M draws from the queue
that are not in D. A draw takes a row of the batch at random and then an item from the
proposal of that row's bucket, so the M draws are independent with probability

    q(i) = Σ_b (rows in bucket b / rows) · q_b(i),

and item i ∉ D is in S with probability π_i = 1 - (1 - q(i))^M. Weighting every class by
1 / π_i, with π_i = 1 on D, gives

    E[ Σ_{i ∈ S} e^{s_i} / π_i ] = Σ_{i ∈ D} e^{s_i} + Σ_{i ∉ D} π_i e^{s_i} / π_i = Z

exactly. Hence the correction: subtract ``log_q = log π_i`` from the score, and take the
softmax over S. (Its logarithm is still biased a little, by Jensen's inequality; the bias
goes to 0 as M grows.) The weights hold for every row of the batch at once, also after
masking, because masking removes the same items from both sums.

Source: Horvitz and Thompson 1952; importance-sampled partition functions as in Bengio
and Senécal 2008, who weight by expected counts M·q. Inclusion probabilities suit sets
without repeats and never exceed 1, so an item drawn nearly always weighs as in the full
softmax. The priority order is ContextGNN's (Yuan et al. 2024), which corrects nothing
and drops positives that overflow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model_core.negatives.drawing import Proposals, mixed_buckets

#: Share of the classes beside the positives that is left to chance.
DRAWN_FRACTION = 0.5


@dataclass(frozen=True)
class SampledClasses:
    """Classes that all rows of a step compete over.

    Attributes:
        item: int64 [C], distinct item rows: positives (ascending), subgraph items, hard
            neighbours, queue draws.
        log_q: float32 [C], log of the probability that the class is here; 0 for the
            fixed ones. Subtract it from the scores.
        num_positive: How many of the first classes are positives.
        num_fixed: How many of the first classes were not drawn by chance.
    """

    item: Tensor
    log_q: Tensor
    num_positive: int
    num_fixed: int

    def position_of(self, positive: Tensor) -> Tensor:
        """Where positives stand among the classes.

        Args:
            positive: int64 [P], items among those given to ``sample_classes`` as positives.

        Returns:
            int64 [P].
        """
        return torch.searchsorted(self.item[: self.num_positive].contiguous(), positive)


def sample_classes(
    proposals: Proposals,
    *,
    positive: Tensor,
    local: Tensor,
    bucket: Tensor,
    num_classes: int,
    generator: torch.Generator,
    hard: Tensor | None = None,
) -> SampledClasses:
    """Choose the classes of one step: positives > subgraph items > hard ones > drawn ones.

    Time and memory grow with the number of classes, not with the catalogue.

    Args:
        proposals: The queue's proposals; their device holds all tensors.
        positive: int64 [P], positives of all rows; repeats allowed. All are kept, even
            if there are more than ``num_classes``.
        local: int64 [L], items of the batch's subgraphs; repeats allowed, and the more
            frequent ones go first where not all fit.
        bucket: int64 [B], queue bucket of each row (``NegativeQueue.bucket_of``).
        num_classes: C, most classes (unless positives alone are more).
        generator: Source of randomness; numbers are drawn on its device and moved.
        hard: int64 [H], hard negatives in order of preference (``hard_classes``); they
            must not depend on chance, or their weight 1 would be wrong.

    Returns:
        At most ``num_classes`` classes: draws that repeat each other or hit a fixed class
        add none. Half of the room beside the positives is kept for draws; subgraph items
        that do not fit into the other half can be drawn like any other. With no room at
        all the items outside the fixed set have no part in Z.
    """
    fixed = [torch.unique(positive)]
    free = max(num_classes - len(fixed[0]), 0)
    room = free - int(free * DRAWN_FRACTION)  # or no item beyond the batch would ever be a negative
    for wanted in (_most_frequent_first(local), hard):
        if wanted is not None:
            wanted = wanted[~torch.isin(wanted, torch.cat(fixed))]
            fixed.append(_first_occurrences(wanted)[:room])
            room -= len(fixed[-1])
    item = torch.cat(fixed)
    log_q = torch.zeros(len(item), dtype=torch.float32, device=item.device)

    room = free - (len(item) - len(fixed[0]))
    if room and len(bucket):
        bucket = mixed_buckets(bucket)
        row = torch.randint(len(bucket), (room,), generator=generator, device=generator.device)
        drawn = torch.unique(proposals.draw(bucket[row.to(bucket.device)], generator)[0])
        drawn = drawn[~torch.isin(drawn, item)]
        log_pi = log_inclusion(proposals.mixture(bucket, drawn), room)
        item, log_q = torch.cat([item, drawn]), torch.cat([log_q, log_pi])
    return SampledClasses(item, log_q, len(fixed[0]), sum(len(part) for part in fixed))


def log_inclusion(q: Tensor, num_draws: int) -> Tensor:
    """Log of the probability that an item is among M independent draws.

    Args:
        q: float64 [n], probability of the item in one draw.
        num_draws: M.

    Returns:
        float32 [n], log(1 - (1 - q)^M), exact also where q·M is tiny.
    """
    return torch.log(-torch.expm1(num_draws * torch.log1p(-q.clamp(max=1.0)))).float()


def hard_classes(hard_item: Tensor, hard_neighbor: Tensor, positive: Tensor, count: int) -> Tensor:
    """Hard neighbours of a batch's positives, the closest of every positive first.

    Args:
        hard_item: int64 [h], ascending, items that have neighbours (NegativeQueue).
        hard_neighbor: int [h, H], -1 padded.
        positive: int64 [P], repeats allowed.
        count: Most items to return (see ``curriculum.hard_fraction``).

    Returns:
        int64 [≤ count], distinct, none of them a positive.
    """
    positive = torch.unique(positive)
    if count == 0 or not len(hard_item):
        return positive[:0]
    place = torch.searchsorted(hard_item, positive).clamp(max=len(hard_item) - 1)
    near = hard_neighbor[place[hard_item[place] == positive]].long().T.reshape(-1)  # rank by rank
    near = near[(near >= 0) & ~torch.isin(near, positive)]
    return _first_occurrences(near)[:count]


def _most_frequent_first(item: Tensor) -> Tensor:
    distinct, count = torch.unique(item, return_counts=True)
    return distinct[torch.argsort(count, descending=True, stable=True)]


def _first_occurrences(item: Tensor) -> Tensor:
    """Distinct values in the order of their first occurrence."""
    distinct, inverse = torch.unique(item, return_inverse=True)
    place = torch.arange(len(item), device=item.device)
    first = torch.full_like(distinct, len(item)).scatter_reduce(0, inverse, place, "amin")
    return distinct[torch.argsort(first)]
