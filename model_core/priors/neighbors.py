"""ItemNeighbors: which items the same users meet, or meet next, as it was known at several times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ItemNeighbors:
    """Snapshots of item-item similarity. Numpy only: serving reads it from a bundle.

    A look-up at time t uses the newest snapshot not later than t. Items without
    neighbours have no row, so memory follows the events and not the catalogue.

    Attributes:
        time: int64 [S], ascending times of the snapshots.
        key: int64 [N], ascending ``snapshot * num_items + item`` of every row.
        neighbor: int32 [N, K], nearest first, -1 padded.
        cosine: float32 [N, K], 0 where padded.
        num_items: Size of the catalogue.
    """

    time: np.ndarray
    key: np.ndarray
    neighbor: np.ndarray
    cosine: np.ndarray
    num_items: int

    ARRAYS = ("time", "key", "neighbor", "cosine")

    def rows_of(self, time: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Row of each item at each time, int64 [n]; -1 where nothing was known of it."""
        if len(self.key) == 0:
            return np.full(len(item), -1)
        snapshot = np.searchsorted(self.time, time, side="right") - 1
        key = snapshot * self.num_items + item
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where((snapshot >= 0) & (self.key[place] == key), place, -1)

    def snapshots(self) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """What ``stack`` was given: time to (item, neighbor, cosine), views where possible."""
        bounds = np.searchsorted(self.key, np.arange(len(self.time) + 1) * self.num_items)
        return {
            time: (self.key[a:b] - number * self.num_items, self.neighbor[a:b], self.cosine[a:b])
            for number, (time, a, b) in enumerate(
                zip(self.time.tolist(), bounds[:-1], bounds[1:], strict=True))
        }

    @classmethod
    def stack(
        cls, snapshots: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]], num_items: int
    ) -> ItemNeighbors:
        """From time to (item [n] ascending, neighbor [n, K], cosine [n, K])."""
        times = sorted(snapshots)
        parts = [snapshots[time] for time in times]
        width = parts[0][1].shape[1] if parts else 0
        return cls(
            time=np.array(times, dtype=np.int64),
            key=np.concatenate([np.zeros(0, np.int64), *(
                number * num_items + item for number, (item, _, _) in enumerate(parts))]),
            neighbor=np.concatenate([np.zeros((0, width), np.int32), *(p[1] for p in parts)]),
            cosine=np.concatenate([np.zeros((0, width), np.float32), *(p[2] for p in parts)]),
            num_items=num_items,
        )


#: Gives the snapshots that a look-up at the given distinct times needs.
NeighborSource = Callable[[np.ndarray], ItemNeighbors]
