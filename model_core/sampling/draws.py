"""Which in-neighbours a frontier node draws: the last k, or k at random.

A *segment* is one (frontier node, relation) pair: a range of positions of the
relation's time-sorted edge list. Every function works on all segments at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_core.graph.temporal_graph import Adjacency


def visible_range(
    adjacency: Adjacency[Tensor], row: Tensor, bound: Tensor
) -> tuple[Tensor, Tensor]:
    """Edges of each row whose neighbour is not later than its bound.

    A binary search in every segment at once: as many rounds as the longest segment has
    bits. Segments that are visible as a whole (untimed neighbours, foreign keys to
    older rows) are left out of the search.

    Args:
        adjacency: One relation.
        row: int64 [F], dst rows.
        bound: int64 [F], latest time to be seen, UTC seconds.

    Returns:
        ``(first, end)``, int64 [F] each: positions ``first..end-1`` are visible.
    """
    first, end = adjacency.indptr[row], adjacency.indptr[row + 1]
    if len(adjacency.time) == 0:
        return first, end
    newest = adjacency.time[(end - 1).clamp(min=0)]
    cut = ((end > first) & (newest > bound)).nonzero().squeeze(1)
    if len(cut) == 0:
        return first, end
    # Position high is always one that is too late, so mid never leaves the segment and
    # segments that have converged stay where they are.
    low, high, limit = first[cut], end[cut] - 1, bound[cut]
    for _ in range(int((high - low).max()).bit_length()):
        mid = (low + high) >> 1
        seen = adjacency.time[mid] <= limit
        low = torch.where(seen, mid + 1, low)
        high = torch.where(seen, high, mid)
    return first, end.index_copy(0, cut, low)


def spread(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Positions ``first[i] .. first[i] + count[i] - 1`` of all segments, one after the other.

    Returns:
        ``(segment, position)``, int64 [count.sum()] each.

    Example:
        >>> [x.tolist() for x in spread(torch.tensor([5, 0]), torch.tensor([2, 3]))]
        [[0, 0, 1, 1, 1], [5, 6, 0, 1, 2]]
    """
    total = int(count.sum())
    segment = torch.repeat_interleave(
        torch.arange(len(count), device=count.device), count, output_size=total
    )
    shift = first - (count.cumsum(0) - count)
    return segment, torch.arange(total, device=count.device) + shift[segment]


def draw_last(first: Tensor, end: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k newest positions of every segment, oldest of them first.

    Args:
        first, end: int64 [F], visible ranges.
        k: Most positions to draw per segment.

    Returns:
        ``(segment, position)``, int64 [E], sorted by segment, then position.
    """
    count = (end - first).clamp(max=k)
    return spread(end - count, count)


def draw_uniform(
    first: Tensor, end: Tensor, k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """k distinct positions of every segment, each subset equally likely.

    A segment of n ≤ k positions gives all of them. Otherwise m = min(k, n - k) slots are
    filled at random and those that repeat an earlier slot are filled again until none
    does; for k > n / 2 the slots say which positions to leave out. The procedure treats
    all positions alike, so every subset of m has the same probability, and with m ≤ n / 2
    a few rounds are enough. Memory grows with the number of drawn edges, not with degrees.

    Args:
        first, end: int64 [F], visible ranges.
        k: Most positions to draw per segment.
        generator: Source of randomness; numbers are drawn on its device and moved.

    Returns:
        ``(segment, position)``, int64 [E], sorted by segment, then position.
    """
    size = end - first
    crowded = size > k
    if k == 0 or not bool(crowded.any()):
        return draw_last(first, end, k)
    leave_out = crowded & (2 * k > size)
    pick = (crowded & ~leave_out).nonzero().squeeze(1)
    slot_segment, slot = _distinct(pick, size[pick], torch.full_like(pick, k), generator)
    picked = torch.stack([slot_segment, first[slot_segment] + slot])

    whole_or_less = (~crowded | leave_out).nonzero().squeeze(1)
    segment, position = spread(first[whole_or_less], size[whole_or_less])
    segment = whole_or_less[segment]
    if bool(leave_out.any()):
        out = leave_out.nonzero().squeeze(1)
        out_segment, out_slot = _distinct(out, size[out], size[out] - k, generator)
        start = torch.zeros_like(size)
        start[whole_or_less] = size[whole_or_less].cumsum(0) - size[whole_or_less]
        keep = torch.ones(len(segment), dtype=torch.bool, device=size.device)
        keep[start[out_segment] + out_slot] = False
        segment, position = segment[keep], position[keep]

    segment = torch.cat([picked[0], segment])
    position = torch.cat([picked[1], position])
    order = torch.argsort(segment, stable=True)  # positions ascend within a segment already
    return segment[order], position[order]


def _distinct(
    segment: Tensor, size: Tensor, count: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """count[i] distinct numbers below size[i] for every segment, sorted by (segment, number)."""
    which, _ = spread(torch.zeros_like(count), count)
    bound = size[which]
    number = _below(bound, generator)
    # One key per (segment, number): ranges of numbers laid end to end.
    base = (size.cumsum(0) - size)[which]
    while len(number):
        # Stable: of equal numbers the first slot stays, whatever the number is.
        key, order = torch.sort(base + number, stable=True)
        again = order[1:][key[1:] == key[:-1]]
        if len(again) == 0:
            number = number[order]
            break
        number[again] = _below(bound[again], generator)
    return segment[which], number


def _below(bound: Tensor, generator: torch.Generator) -> Tensor:
    """One number in 0..bound-1 for every bound."""
    unit = torch.rand(
        len(bound), dtype=torch.float64, device=generator.device, generator=generator
    )
    return torch.minimum((unit.to(bound.device) * bound).long(), bound - 1)
