"""Nearest items by cosine of who met them, built once per seed time for all who ask."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakValueDictionary

import numpy as np
from scipy import sparse

from model_core.evaluation.baselines.per_time import interactions_until
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.priors.co_counts import CoCounts
from model_core.priors.co_interaction import nearest

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
            similar: float32 [num_items, num_items], see ``similar_items``.
        """
        if time not in self._known:
            met = met_matrix(interactions_until(self._interactions, time), self._shape)
            self._known[time] = met, similar_items(
                self._interactions, *self._shape, time, self._num_neighbors)
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


def similar_items(
    interactions: Interactions[np.ndarray], num_entities: int, num_items: int, time: int, num_neighbors: int
) -> sparse.csr_array:
    """Cosine of every item to its nearest items, by who had met both at or before ``time``.

    Counted as for the model (``CoCounts.until``): of each user the newest 2,500 items, or a few who met
    everything would cost more than all others together.

    Returns:
        float32 [num_items, num_items], row i holds at most ``num_neighbors`` of item i, ties by item.
    """
    found = nearest(lambda at: CoCounts.until(interactions, num_entities, at), time, num_neighbors)
    number = np.zeros(num_items, dtype=np.int64)
    number[found.item] = np.diff(found.ptr)
    indptr = np.concatenate([[0], np.cumsum(number)])
    return sparse.csr_array((found.cosine, found.neighbor, indptr), shape=(num_items, num_items))
