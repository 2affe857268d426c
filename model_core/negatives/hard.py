"""Hard negatives: items that the same users take, by cosine of their user sets."""

from __future__ import annotations

import numpy as np

from model_core.graph.temporal_graph import Interactions
from model_core.priors.co_counts import CoCounts
from model_core.priors.largest import among_largest

#: Share by which a cosine in 32 bits may be off, and more.
_ROUNDING = 2.0**-20


def co_interaction_neighbors(
    interactions: Interactions[np.ndarray],
    num_entities: int,
    upto: int,
    num_hard: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The items closest to each item by co-interaction.

    ``cos(i, j) = |U_i ∩ U_j| / sqrt(|U_i| |U_j|)`` over the sets U of entities that
    interacted with an item no later than ``upto``, as counted by ``CoCounts``.

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
    if num_hard == 0:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.int32)
    counts = CoCounts.until(interactions, num_entities, upto)
    known, num_users = counts.item, counts.num_users.astype(np.float64)
    neighbors = np.full((len(known), num_hard), -1, dtype=np.int32)
    inverse_root = (1 / np.sqrt(num_users)).astype(np.float32)
    for start, block in counts.blocks():
        row = np.repeat(np.arange(start, start + block.shape[0], dtype=np.int32), np.diff(block.indptr))
        # An item's own size changes no order among its neighbours: exact cosines for few only.
        closeness = block.data * inverse_root[block.indices]
        closeness[block.indices == row] = 0
        best = among_largest(closeness, block.indptr, num_hard, _ROUNDING)
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
