"""The classes of one sampled-softmax step, with the weights that make it honest.

The full softmax of a row needs Z = Σ_i e^{s_i} over the whole catalogue. A step scores
only a set S of classes: a fixed part D (positives, subgraph items, hard neighbours) that
is decided before anything is drawn, and the distinct items of M draws from the queue
that are not in D. A draw takes a row of the batch at random and then a candidate of that
row's bucket, so the M draws are independent with probability

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
    candidate: Tensor,
    log_proposal: Tensor,
    *,
    positive: Tensor,
    local: Tensor,
    bucket: Tensor,
    num_classes: int,
    generator: torch.Generator,
    hard: Tensor | None = None,
) -> SampledClasses:
    """Choose the classes of one step: positives > subgraph items > hard ones > queue.

    Args:
        candidate: int64 [T, Q], the queue's candidates.
        log_proposal: float32 [T, num_items], the queue's log-probabilities.
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
        add none. At most Q draws are made, so that no candidate is used twice in a step.
        With no room left for draws the items outside the fixed set have no part in Z.
    """
    num_items, size = log_proposal.shape[1], candidate.shape[1]
    device = candidate.device
    taken = torch.zeros(num_items, dtype=torch.bool, device=device)
    fixed = [torch.unique(positive)]
    taken[fixed[0]] = True
    room = max(num_classes - len(fixed[0]), 0)
    for wanted in (_most_frequent_first(local), hard):
        if wanted is not None:
            chosen = _first_occurrences(wanted[~taken[wanted]])[:room]
            fixed.append(chosen)
            taken[chosen] = True
            room -= len(chosen)
    item = torch.cat(fixed)
    log_q = torch.zeros(len(item), dtype=torch.float32, device=device)

    num_draws = min(room, size) if len(bucket) else 0
    if num_draws:
        start = torch.randint(size, (1,), generator=generator, device=generator.device)
        row = torch.randint(
            len(bucket), (num_draws,), generator=generator, device=generator.device)
        # Different places of the queue, so the draws are independent also within a bucket.
        place = (start.to(device) + torch.arange(num_draws, device=device)) % size
        drawn = torch.unique(candidate[bucket[row.to(device)], place])
        drawn = drawn[~taken[drawn]]
        log_pi = _log_inclusion(log_proposal, bucket, drawn, num_draws)
        item, log_q = torch.cat([item, drawn]), torch.cat([log_q, log_pi])
    return SampledClasses(item, log_q, len(fixed[0]), sum(len(part) for part in fixed))


def hard_classes(hard_neighbor: Tensor, positive: Tensor, count: int) -> Tensor:
    """Hard neighbours of a batch's positives, the closest of every positive first.

    Args:
        hard_neighbor: int64 [num_items, H], -1 padded (NegativeQueue).
        positive: int64 [P], repeats allowed.
        count: Most items to return (see ``curriculum.hard_fraction``).

    Returns:
        int64 [≤ count], distinct, none of them a positive.
    """
    positive = torch.unique(positive)
    near = hard_neighbor[positive].T.reshape(-1)  # rank by rank
    near = near[(near >= 0) & ~torch.isin(near, positive)]
    return _first_occurrences(near)[:count]


def may_compete(
    classes: SampledClasses, time: Tensor, item_birth: Tensor, row: Tensor, positive: Tensor
) -> Tensor:
    """Which classes count as negatives of which row.

    Known positives of the row's own (user, window) and items not yet born at its time do
    not. The loss adds a row's target back, whatever this says about it.

    Args:
        classes: The step's classes.
        time: int64 [B], seed times.
        item_birth: int64 [num_items] (NegativeQueue).
        row, positive: int64 [P] each, the (row of the batch, item) pairs that are positive.

    Returns:
        bool [B, C].
    """
    allowed = item_birth[classes.item][None, :] <= time[:, None]
    allowed[row, classes.position_of(positive)] = False
    return allowed


def _log_inclusion(log_proposal: Tensor, bucket: Tensor, item: Tensor, num_draws: int) -> Tensor:
    """log(1 - (1 - q)^M) of every item under the batch's mixture of buckets, float32."""
    present, count = torch.unique(bucket, return_counts=True)
    log_share = (count.double() / count.sum()).log()
    log_each = log_proposal[present[:, None], item].double()
    log_q = torch.logsumexp(log_each + log_share[:, None], dim=0)
    none = num_draws * torch.log1p(-log_q.exp().clamp(max=1.0))
    return torch.log(-torch.expm1(none)).float()


def _most_frequent_first(item: Tensor) -> Tensor:
    distinct, count = torch.unique(item, return_counts=True)
    return distinct[torch.argsort(count, descending=True, stable=True)]


def _first_occurrences(item: Tensor) -> Tensor:
    """Distinct values in the order of their first occurrence."""
    distinct, inverse = torch.unique(item, return_inverse=True)
    place = torch.arange(len(item), device=item.device)
    first = torch.full_like(distinct, len(item)).scatter_reduce(0, inverse, place, "amin")
    return distinct[torch.argsort(first)]
