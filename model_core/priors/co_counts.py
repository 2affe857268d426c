"""How many users two items share, block by block of the item-item matrix (needs scipy; not for serving)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from model_core.graph.temporal_graph import Interactions

#: Newest distinct items that count for one user: a pass costs the sum of their squares.
MAX_ITEMS_PER_ENTITY = 500
#: Products of one block of the item-item matrix: about 0.4 GB at most.
MAX_BLOCK_PRODUCTS = 20_000_000


@dataclass(frozen=True)
class CoCounts:
    """Users that items share, from the events up to a time.

    A user counts with its newest 500 distinct items, so that a few extreme ones do not
    make the pass quadratic.

    Attributes:
        item: int64 [n], ascending, catalogue rows of the items met so far.
        by_entity: 0/1 float32 [num_entities, n], who met which of them.
        by_item: Its transpose.
    """

    item: np.ndarray
    by_entity: sparse.csr_array
    by_item: sparse.csr_array

    @classmethod
    def until(cls, interactions: Interactions[np.ndarray], num_entities: int, time: int) -> CoCounts:
        """Of the events, which come by time, no later than ``time``, UTC seconds."""
        end = int(np.searchsorted(interactions.time, time, side="right"))
        known, code = np.unique(np.asarray(interactions.item[:end]), return_inverse=True)
        entity, item = _newest_pairs(np.asarray(interactions.entity[:end]), code, len(known))
        by_entity = sparse.csr_array(
            (np.ones(len(item), np.float32), (entity, item)), shape=(num_entities, len(known)))
        return cls(known.astype(np.int64), by_entity, by_entity.T.tocsr())

    @property
    def num_users(self) -> np.ndarray:
        """int64 [n], users that count for each item; 1 where all have too many newer ones."""
        return np.maximum(np.diff(self.by_item.indptr), 1).astype(np.int64)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_array]]:
        """``(first row, float32 [rows, n])``, numbers of shared users, own column included.

        A block takes at most MAX_BLOCK_PRODUCTS products, or is a single row.
        """
        total = np.concatenate(
            [[0.0], np.cumsum(self.by_item @ np.diff(self.by_entity.indptr).astype(np.float64))])
        start = 0
        while start < len(self.item):
            stop = int(np.searchsorted(total, total[start] + MAX_BLOCK_PRODUCTS, side="right")) - 1
            stop = min(max(stop, start + 1), len(self.item))
            yield start, (self.by_item[start:stop] @ self.by_entity).tocsr()
            start = stop


def _newest_pairs(
    entity: np.ndarray, item: np.ndarray, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (entity, item) pairs, the newest of each entity; events come by time."""
    # Newest first, so the place of a pair is that of its last event.
    pair, last = np.unique(entity[::-1] * num_items + item[::-1], return_index=True)
    order = np.lexsort((last, pair // max(num_items, 1)))
    pair = pair[order]
    entity = pair // max(num_items, 1)
    rank = np.arange(len(pair)) - np.searchsorted(entity, entity)
    kept = np.sort(pair[rank < MAX_ITEMS_PER_ENTITY])
    return kept // max(num_items, 1), kept % max(num_items, 1)
