"""Named masks: which items a ranking must leave out.

Masking what a user has seen is required by Gowalla-like protocols and wrong on
RelBench, where repeats count as positives. So masks have names, and every figure says
which one it was made with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.ranges import flat_ranges
from model_core.split.seeds import SeedTable

_BLOCK_ROWS = 4_096


class Mask(Protocol):
    """Gives the (row, item) pairs to leave out for a block of seeds.

    Attributes:
        removes_truth: Whether a masked item also stops being a target. True for
            ``seen``: what can never be listed is no target there. False for
            ``unavailable``: such a target is missed, and its share is reported.
    """

    removes_truth: bool

    def __call__(self, entity: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row, item), int64 [m] each; rows count from 0 within the block."""
        ...


class NoMask:
    """Every item may be listed."""

    removes_truth = False

    def __init__(self, graph: TemporalGraph[np.ndarray] | None = None) -> None:
        del graph  # every mask is made from a graph; this one needs nothing of it

    def __call__(self, entity: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty


class SeenMask:
    """Items that the user interacted with at or before the seed time.

    Args:
        graph: Its ``interactions`` say who met what and when.
    """

    removes_truth = True

    def __init__(self, graph: TemporalGraph[np.ndarray]) -> None:
        events = graph.interactions
        entity, item, time = (np.asarray(part) for part in (events.entity, events.item, events.time))
        # Sorted by time, so the first occurrence of a pair is when it was first seen.
        _, first = np.unique(entity * graph.num_items + item, return_index=True)
        self._times, rank = np.unique(time[first], return_inverse=True)
        order = np.lexsort((rank, entity[first]))
        self._item = item[first][order]
        self._key = self._keys(entity[first], rank)[order]

    def _keys(self, entity: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """One sortable integer per (entity, rank of the time)."""
        return entity * (len(self._times) + 1) + rank

    def __call__(self, entity: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = np.searchsorted(self._times, time, side="right")
        start = np.searchsorted(self._key, self._keys(entity, np.zeros_like(known)))
        stop = np.searchsorted(self._key, self._keys(entity, known))
        row, position = flat_ranges(start, stop)
        return row, self._item[position]


class UnavailableMask:
    """Items whose own time is later than the seed time; none where items carry no time.

    Args:
        graph: Its ``node_time`` says when an item came into being.
    """

    removes_truth = False

    def __init__(self, graph: TemporalGraph[np.ndarray]) -> None:
        birth = np.asarray(graph.node_time[graph.item_table])
        self._item = np.argsort(birth, kind="stable")
        self._birth = birth[self._item]

    def __call__(self, entity: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = np.searchsorted(self._birth, time, side="right")
        row, position = flat_ranges(start, np.full_like(start, len(self._birth)))
        return row, self._item[position]


MASKS: dict[str, Callable[[TemporalGraph[np.ndarray]], Mask]] = {
    "none": NoMask,
    "seen": SeenMask,
    "unavailable": UnavailableMask,
}


def masked_truth(seeds: SeedTable, mask: Mask, num_items: int) -> np.ndarray:
    """Which targets a mask leaves out of the ranking.

    Returns:
        bool [nnz], one per entry of ``seeds.item``.
    """
    masked = np.zeros(len(seeds.item), dtype=bool)
    for first in range(0, len(seeds), _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, len(seeds))
        row, item = mask(seeds.entity[first:last], seeds.time[first:last])
        targets = slice(seeds.item_ptr[first], seeds.item_ptr[last])
        target_row = np.repeat(np.arange(last - first), np.diff(seeds.item_ptr[first : last + 1]))
        target_key = target_row * num_items + seeds.item[targets]
        masked[targets] = np.isin(target_key, row * num_items + item)
    return masked


def keep_targets(seeds: SeedTable, keep: np.ndarray) -> SeedTable:
    """The same rows with only some of their targets; a row may be left without any.

    Args:
        seeds: Label rows.
        keep: bool [nnz], one per entry of ``seeds.item``.
    """
    item_ptr = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)[seeds.item_ptr]
    return SeedTable(seeds.entity, seeds.time, item_ptr, seeds.item[keep])
