"""Nearest items by cosine of who met them, built once per seed time for all who ask."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from weakref import WeakValueDictionary

import numpy as np
import torch
from scipy import sparse

from model_core.evaluation.baselines.per_time import interactions_until
from model_core.evaluation.ranking import top_k
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.priors.largest import among_largest

#: Products of one chunk of the item-item matrix: about 0.5 GB at most.
_CHUNK_PRODUCTS = 20_000_000
#: A block counts as full when more than one in this many of its cells is not zero.
_FULL_BLOCK = 4
_KEPT_TIMES = 4


class Neighbors:
    """Who met what, and which items are alike, as known at a time.

    Args:
        interactions: All of them; only those ≤ the asked time are used.
        num_entities, num_items: Shape of the user-item matrix.
        num_neighbors: Kept per item.
    """

    def __init__(
        self, interactions: Interactions[np.ndarray], num_entities: int, num_items: int,
        num_neighbors: int,
    ) -> None:
        self._interactions = interactions
        self._shape, self._num_neighbors = (num_entities, num_items), num_neighbors
        self._known: OrderedDict[int, tuple[sparse.csr_array, sparse.csr_array]] = OrderedDict()

    def at(self, time: int) -> tuple[sparse.csr_array, sparse.csr_array]:
        """What was known at a time; kept for the last few distinct times.

        Returns:
            met: 0/1 float32 [num_entities, num_items], who met what at or before ``time``.
            similar: float32 [num_items, num_items], see ``nearest_items``.
        """
        if time not in self._known:
            met = met_matrix(interactions_until(self._interactions, time), self._shape)
            self._known[time] = met, nearest_items(met, self._num_neighbors)
            if len(self._known) > _KEPT_TIMES:
                self._known.popitem(last=False)
        self._known.move_to_end(time)
        return self._known[time]


#: Entries live as long as a scorer holds them. They hold their interactions, so that the
#: id in the key cannot be given to another object meanwhile.
_SHARED: WeakValueDictionary[tuple[int, int], Neighbors] = WeakValueDictionary()


def shared_neighbors(graph: TemporalGraph[np.ndarray], num_neighbors: int) -> Neighbors:
    """The same Neighbors for every baseline of one graph: the similarity is its costly part."""
    key = id(graph.interactions), num_neighbors
    found = _SHARED.get(key)
    if found is None:
        found = Neighbors(graph.interactions, graph.num_entities, graph.num_items, num_neighbors)
        _SHARED[key] = found
    return found


def met_matrix(known: Interactions[np.ndarray], shape: tuple[int, int]) -> sparse.csr_array:
    """0/1 float32 [num_entities, num_items]: who met what."""
    met = sparse.csr_array(
        (np.ones(len(known.item), dtype=np.float32), (known.entity, known.item)), shape=shape)
    met.sum_duplicates()
    met.data[:] = 1.0
    return met


def nearest_items(met: sparse.csr_array, num_neighbors: int) -> sparse.csr_array:
    """Cosine similarity of every item to its nearest items.

    Args:
        met: 0/1 float32 [num_entities, num_items].
        num_neighbors: Kept per item; ties go to the smaller item id.

    Returns:
        float32 [num_items, num_items], row i holds the neighbours of item i.
    """
    num_items = met.shape[1]
    norm = np.sqrt(np.asarray(met.sum(axis=0)).ravel())
    columns = met.tocsc() @ sparse.diags_array((1.0 / np.maximum(norm, 1.0)).astype(np.float32))
    rows = columns.T.tocsr()
    columns = columns.tocsr()
    # An upper bound on the entries of each row of the product decides where to cut.
    products = np.asarray(rows.astype(bool).astype(np.int64) @ np.diff(met.indptr)).ravel()
    chunk_of = np.cumsum(products) // _CHUNK_PRODUCTS
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(chunk_of)) + 1, [num_items]])
    parts = [
        _largest_per_row(rows[first:last] @ columns, first, num_neighbors)
        for first, last in pairwise(bounds.tolist())
    ]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_array((0, 0), dtype=np.float32)


def _largest_per_row(block: sparse.csr_array, first_row: int, count: int) -> sparse.csr_array:
    """The largest ``count`` entries of each row, its own column left out; ties to the smaller column."""
    row, column, value = _dense_largest(block, first_row, count) if _is_full(block) else (
        _sparse_largest(block, first_row, count))
    return sparse.csr_array((value, (row, column)), shape=block.shape)


def _is_full(block: sparse.csr_array) -> bool:
    """Small catalogues give blocks so full that selecting beats sorting, by far."""
    return block.nnz * _FULL_BLOCK > block.shape[0] * block.shape[1]


def _dense_largest(
    block: sparse.csr_array, first_row: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = torch.from_numpy(block.toarray())
    own = torch.arange(len(scores))
    scores[own, own + first_row] = 0.0
    column = top_k(scores.masked_fill(scores <= 0.0, -torch.inf), count)
    row, place = (column >= 0).nonzero(as_tuple=True)
    column = column[row, place]
    return row.numpy(), column.numpy(), scores[row, column].numpy()


def _sparse_largest(
    block: sparse.csr_array, first_row: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    column, value = block.indices, block.data
    value[column == row + first_row] = 0.0
    best = among_largest(value, block.indptr, count) & (value > 0)
    row, column, value = row[best], column[best], value[best]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    nearest = np.arange(len(row)) - np.searchsorted(row, row) < count
    return row[nearest], column[nearest], value[nearest]
