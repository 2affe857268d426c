"""ItemNeighbors: which items the same users meet, or meet next, as it was known at several times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model_core.priors.ranges import flat_ranges


class NearestItems(NamedTuple):
    """One snapshot: the items that have neighbours, and theirs in row-compressed form.

    Attributes:
        item: int64 [n], ascending.
        ptr: int64 [n + 1], offsets into the others.
        neighbor: int32 [nnz], nearest first.
        cosine: float32 [nnz], above 0.
    """

    item: np.ndarray
    ptr: np.ndarray
    neighbor: np.ndarray
    cosine: np.ndarray

    @classmethod
    def none(cls) -> NearestItems:
        return cls(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.int32),
                   np.zeros(0, np.float32))


@dataclass(frozen=True)
class ItemNeighbors:
    """Snapshots of item-item similarity. Numpy only: serving reads it from a bundle.

    A look-up at time t uses the newest snapshot not later than t. Items without
    neighbours have no row, so memory follows the events and not the catalogue.

    Attributes:
        time: int64 [S], ascending times of the snapshots.
        key: int64 [N], ascending ``snapshot * num_items + item`` of every row.
        ptr: int64 [N + 1], offsets into the others: most items of a large catalogue have few.
        neighbor: int32 [nnz], nearest first.
        cosine: float32 [nnz], above 0.
        num_items: Size of the catalogue.
    """

    time: np.ndarray
    key: np.ndarray
    ptr: np.ndarray
    neighbor: np.ndarray
    cosine: np.ndarray
    num_items: int

    ARRAYS = ("time", "key", "ptr", "neighbor", "cosine")

    def rows_of(self, time: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Row of each item at each time, int64 [n]; -1 where nothing was known of it."""
        if len(self.key) == 0:
            return np.full(len(item), -1)
        snapshot = np.searchsorted(self.time, time, side="right") - 1
        key = snapshot * self.num_items + item
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where((snapshot >= 0) & (self.key[place] == key), place, -1)

    def of_rows(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Neighbours of rows, one after the other: (how many, int64 [n], neighbor, cosine)."""
        start, stop = self.ptr[row], self.ptr[row + 1]
        _, position = flat_ranges(start, stop)
        return stop - start, self.neighbor[position], self.cosine[position]

    def snapshots(self) -> dict[int, NearestItems]:
        """What ``stack`` was given, views where possible."""
        bounds = np.searchsorted(self.key, np.arange(len(self.time) + 1) * self.num_items)
        found = {}
        for number, (time, a, b) in enumerate(zip(self.time.tolist(), bounds[:-1], bounds[1:], strict=True)):
            ptr = self.ptr[a : b + 1]
            entries = slice(ptr[0], ptr[-1])
            found[time] = NearestItems(self.key[a:b] - number * self.num_items, ptr - ptr[0],
                                       self.neighbor[entries], self.cosine[entries])
        return found

    @classmethod
    def stack(cls, snapshots: dict[int, NearestItems], num_items: int) -> ItemNeighbors:
        """From time to the snapshot of that time."""
        times = sorted(snapshots)
        parts = [NearestItems.none(), *(snapshots[time] for time in times)]
        ends = np.cumsum([0, *(len(part.neighbor) for part in parts)])
        return cls(
            time=np.array(times, dtype=np.int64),
            key=np.concatenate([(number - 1) * num_items + part.item for number, part in enumerate(parts)]),
            ptr=np.concatenate([[0], *(
                end + part.ptr[1:] for end, part in zip(ends[:-1], parts, strict=True))]),
            neighbor=np.concatenate([part.neighbor for part in parts]),
            cosine=np.concatenate([part.cosine for part in parts]),
            num_items=num_items,
        )


#: Gives the snapshots that a look-up at the given distinct times needs.
NeighborSource = Callable[[np.ndarray], ItemNeighbors]
