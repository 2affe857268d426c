"""Nearest items: by cosine of who met them, or of what follows what (needs scipy; not for serving)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from model_core.graph.temporal_graph import Interactions
from model_core.priors.co_counts import CoCounts
from model_core.priors.largest import among_largest
from model_core.priors.neighbors import ItemNeighbors, NearestItems

#: A block counts as full when more than one in this many of its cells is not zero.
_FULL_BLOCK = 4

#: Snapshots kept where any time may be asked for; at least those of the present look-up.
MAX_KEPT_SNAPSHOTS = 8


class CoInteraction:
    """Snapshots of item-item similarity, made when they are first asked for.

    Args:
        count: Counts of a snapshot, from the events ≤ its time; ``similar`` and ``following`` make it.
        num_items: Size of the catalogue.
        num_neighbors: K, kept per item.
        allowed: Times at which snapshots may be made, for a training run with many seed
            times: a look-up then uses the newest allowed time before it. None: any time.
    """

    def __init__(
        self, count: Callable[[int], CoCounts], num_items: int, num_neighbors: int,
        allowed: Sequence[int] | None = None,
    ) -> None:
        self._count, self._num_items, self._num_neighbors = count, num_items, num_neighbors
        self._allowed = None if allowed is None else np.unique(np.asarray(allowed, np.int64))
        self._stacked = ItemNeighbors.stack({}, num_items)
        self._lock = threading.Lock()

    @classmethod
    def similar(
        cls, interactions: Interactions[np.ndarray], num_entities: int, num_items: int,
        num_neighbors: int, allowed: Sequence[int] | None = None,
    ) -> CoInteraction:
        """Items that the same users meet."""
        def count(time: int) -> CoCounts:
            return CoCounts.until(interactions, num_entities, time)

        return cls(count, num_items, num_neighbors, allowed)

    @classmethod
    def following(
        cls, interactions: Interactions[np.ndarray], num_entities: int, num_items: int, window_s: int,
        num_neighbors: int, allowed: Sequence[int] | None = None,
    ) -> CoInteraction:
        """Items that users take in a label window after they have met an item."""
        def count(time: int) -> CoCounts:
            return CoCounts.following(interactions, num_entities, time, window_s)

        return cls(count, num_items, num_neighbors, allowed)

    def __call__(self, times: np.ndarray) -> ItemNeighbors:
        """Snapshots that serve the given times exactly."""
        with self._lock:
            return self._at(times)

    def _at(self, times: np.ndarray) -> ItemNeighbors:
        if self._allowed is not None:
            place = np.searchsorted(self._allowed, times, side="right") - 1
            times = np.unique(self._allowed[place[place >= 0]])
        made = {
            time: nearest(self._count, time, self._num_neighbors)
            for time in np.setdiff1d(times, self._stacked.time).tolist()
        }
        if made:
            kept = self._stacked.snapshots()
            if self._allowed is None and len(kept) >= MAX_KEPT_SNAPSHOTS:
                kept = {time: kept[time] for time in times.tolist() if time in kept}
            self._stacked = ItemNeighbors.stack(kept | made, self._num_items)
        return self._stacked


def nearest(count: Callable[[int], CoCounts], time: int, num_neighbors: int) -> NearestItems:
    """The items that go most with each item, from the events up to a time.

    ``cos(i, j) = n_ij / sqrt(n_i n_j)``. Of ``CoCounts.until``, n_ij are the users that met both, n_i
    those that met i: item-kNN (Sarwar et al., 2001; Deshpande and Karypis, 2004). Of
    ``CoCounts.following``, n_ij are the users and windows with i before and j in it, n_i those with i
    before it, and n_j all with j in it, whether they had met anything before or not: what newcomers
    take anyway follows from nothing. An item is not its own neighbour.

    Returns:
        At most ``num_neighbors`` of each item, equal cosines by item.
    """
    if num_neighbors == 0:
        return NearestItems.none()
    counts = count(time)
    known = counts.item
    norm = np.sqrt(counts.num_users).astype(np.float32), np.sqrt(counts.num_takers).astype(np.float32)
    number = np.zeros(len(known), dtype=np.int64)
    none = NearestItems.none()
    neighbors, cosines = [none.neighbor], [none.cosine]
    for first, block in counts.blocks():
        row, column, cosine = _largest(block, first, norm, num_neighbors)
        number[first : first + block.shape[0]] = np.bincount(row, minlength=block.shape[0])
        neighbors.append(known[column].astype(np.int32))
        cosines.append(cosine.astype(np.float32))
    has = number > 0
    ptr = np.concatenate([[0], np.cumsum(number[has])])
    return NearestItems(known[has], ptr, np.concatenate(neighbors), np.concatenate(cosines))


def _largest(
    block: sparse.csr_array, first: int, norm: tuple[np.ndarray, np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest ``count`` columns of each row, its own left out: (row, column, cosine) by row."""
    num_rows, num_columns = block.shape
    if block.nnz * _FULL_BLOCK > num_rows * num_columns:
        # Small catalogues give blocks so full that selecting beats sorting, by far.
        cosine = block.toarray() / (norm[0][first : first + num_rows, None] * norm[1][None, :])
        cosine[np.arange(num_rows), np.arange(first, first + num_rows)] = 0.0
        width = min(count, num_columns)
        bar = np.partition(cosine, num_columns - width, axis=1)[:, num_columns - width, None]
        row, column = np.nonzero((cosine >= bar) & (cosine > 0))
        value = cosine[row, column]
    else:
        row = np.repeat(np.arange(num_rows, dtype=np.int32), np.diff(block.indptr))
        value = block.data / (norm[0][row + first] * norm[1][block.indices])
        value[block.indices == row + first] = 0.0
        best = among_largest(value, block.indptr, count) & (value > 0)
        row, column, value = row[best].astype(np.int64), block.indices[best].astype(np.int64), value[best]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < count
    return row[kept], column[kept], value[kept]
