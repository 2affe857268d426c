"""Hard negatives: items that the same users take, by cosine of their user sets."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from model_core.graph.temporal_graph import Interactions

#: Newest distinct items kept per entity; the cost of a pass is the sum of squared counts.
MAX_ITEMS_PER_ENTITY = 500
#: Products per block of the co-interaction matrix: bounds its memory to about 400 MB.
MAX_BLOCK_PRODUCTS = 20_000_000


def co_interaction_neighbors(
    interactions: Interactions[np.ndarray],
    num_entities: int,
    upto: int,
    num_hard: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The items closest to each item by co-interaction.

    ``cos(i, j) = |U_i ∩ U_j| / sqrt(|U_i| |U_j|)`` over the sets U of entities that
    interacted with an item no later than ``upto``. An entity counts with its newest
    500 distinct items, so that a few extreme ones do not make the pass quadratic.

    Only training uses the result and training may know every row up to the train
    cutoff, so there is one table for all buckets rather than one each.

    Args:
        interactions: Events sorted by time.
        num_entities: Rows of the entity table.
        upto: Last moment that counts, UTC seconds.
        num_hard: H, neighbours kept per item.

    Returns:
        ``(item, neighbor)``: int64 [n], ascending, the items that have neighbours, and
        int32 [n, H], theirs: closest first, equal cosines by item row; -1 padded. Most
        items of a large catalogue have none, so no row is kept for them.
    """
    end = int(np.searchsorted(interactions.time, upto, side="right"))
    if num_hard == 0 or end == 0:
        return np.zeros(0, dtype=np.int64), np.zeros((0, num_hard), dtype=np.int32)
    known, code = np.unique(np.asarray(interactions.item[:end]), return_inverse=True)
    num_items = len(known)
    neighbors = np.full((num_items, num_hard), -1, dtype=np.int32)
    entity, item = _newest_pairs(np.asarray(interactions.entity[:end]), code, num_items)
    ones = np.ones(len(entity), dtype=np.float32)
    by_entity = sparse.csr_array((ones, (entity, item)), shape=(num_entities, num_items))
    by_item = by_entity.T.tocsr()
    num_users = np.diff(by_item.indptr).astype(np.float64)
    inverse_root = (1 / np.sqrt(np.maximum(num_users, 1))).astype(np.float32)
    products = by_item @ np.diff(by_entity.indptr).astype(np.float64)
    for start, stop in _blocks(products):
        block = (by_item[start:stop] @ by_entity).tocsr()
        row = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(block.indptr))
        # An item's own size changes no order among its neighbours: exact cosines for few only.
        closeness = block.data * inverse_root[block.indices]
        closeness[block.indices == row] = 0
        best = _at_least_top(row - start, closeness, num_hard)
        row, column, count = row[best], block.indices[best], block.data[best].astype(np.float64)
        other = column != row
        row, column, count = row[other], column[other], count[other]
        cosine = count / np.sqrt(num_users[row] * num_users[column])
        order = np.lexsort((column, -cosine, row))
        row, column = row[order], column[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        kept = rank < num_hard
        neighbors[row[kept], rank[kept]] = known[column[kept]]
    found = neighbors[:, 0] >= 0
    return known[found], neighbors[found]


def _newest_pairs(
    entity: np.ndarray, item: np.ndarray, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (entity, item) pairs, the newest MAX_ITEMS_PER_ENTITY of each entity."""
    # The last occurrence of each pair, in time order.
    key = entity[::-1] * num_items + item[::-1]
    _, first = np.unique(key, return_index=True)
    at = np.sort(len(key) - 1 - first)
    entity, item = entity[at], item[at]
    order = np.argsort(entity, kind="stable")
    entity, item = entity[order], item[order]
    from_newest = np.searchsorted(entity, entity, side="right") - 1 - np.arange(len(entity))
    kept = from_newest < MAX_ITEMS_PER_ENTITY
    return entity[kept], item[kept]


def _at_least_top(row: np.ndarray, value: np.ndarray, num: int) -> np.ndarray:
    """Which entries are among the ``num`` largest of their row, near ties at the edge included.

    One plain sort of integers, many times faster than ordering all entries: only what is
    left has to be put in exact order.

    Args:
        row: int [n], ascending from 0.
        value: float32 [n], ≥ 0.
        num: At least 1.
    """
    if len(row) == 0:
        return np.zeros(0, dtype=bool)
    # Bits of positive floats are ordered as the floats are; larger values get smaller keys.
    key = (row.astype(np.int64) + 1 << 32) - value.view(np.int32)
    ascending = np.sort(key)
    count = np.bincount(row)
    last = np.cumsum(count) - count + np.clip(count, 1, num) - 1
    edge = ascending[np.minimum(last, len(key) - 1)] + 4  # as many roundings apart, at the most
    return key <= edge[row]


def _blocks(products: np.ndarray) -> list[tuple[int, int]]:
    """Row ranges of at most MAX_BLOCK_PRODUCTS products each (or of one row)."""
    total = np.concatenate([[0.0], np.cumsum(products)])
    blocks, start = [], 0
    while start < len(products):
        stop = int(np.searchsorted(total, total[start] + MAX_BLOCK_PRODUCTS, side="right")) - 1
        stop = min(max(stop, start + 1), len(products))
        blocks.append((start, stop))
        start = stop
    return blocks
