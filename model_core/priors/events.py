"""EventIndex: interactions sorted twice, so that the past of any row at any time is one search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.priors.keyed_times import KeyedTimes


@dataclass(frozen=True)
class EventIndex:
    """Interactions by time, by (entity, time) and by (item, time).

    One binary search finds the end of a row's past (``KeyedTimes``).

    Attributes:
        num_entities, num_items: Rows of the two tables.
        time, item: int64 [m], all events by time.
        entity_ptr: int64 [num_entities + 1], an entity's range in the next three.
        by_entity: The search keys of (entity, time).
        entity_item, entity_time: int64 [m], events by (entity, time).
        item_ptr: int64 [num_items + 1], an item's range in the next three.
        by_item: The search keys of (item, time).
        item_time: int64 [m], times by (item, time).
        item_users: int64 [m], distinct entities among an item's events up to each.
    """

    num_entities: int
    num_items: int
    time: np.ndarray
    item: np.ndarray
    entity_ptr: np.ndarray
    by_entity: KeyedTimes
    entity_item: np.ndarray
    entity_time: np.ndarray
    item_ptr: np.ndarray
    by_item: KeyedTimes
    item_time: np.ndarray
    item_users: np.ndarray

    @classmethod
    def of(cls, graph: TemporalGraph[Any]) -> EventIndex:
        """Index the interactions of a graph with numpy arrays or tensors."""
        return cls.build(graph.interactions.to_numpy(), graph.num_entities, graph.num_items)

    @classmethod
    def build(
        cls, interactions: Interactions[np.ndarray], num_entities: int, num_items: int
    ) -> EventIndex:
        """Sort the events, which come by time, once by entity and once by item."""
        entity, item, time = (np.asarray(part) for part in (
            interactions.entity, interactions.item, interactions.time))
        by_entity = np.argsort(entity, kind="stable")
        by_item = np.argsort(item, kind="stable")
        return cls(
            num_entities, num_items, time, item,
            _pointers(entity, num_entities),
            KeyedTimes.build(entity[by_entity], time[by_entity], num_entities),
            item[by_entity], time[by_entity],
            _pointers(item, num_items), KeyedTimes.build(item[by_item], time[by_item], num_items),
            time[by_item], _distinct_so_far(entity[by_item], item[by_item], num_items),
        )

    def entity_range(self, entity: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the events of each entity up to each time (inclusive) lie, (start, stop)."""
        return self.entity_ptr[entity], self.by_entity.end(entity, time)

    def item_end(self, item: np.ndarray, time: np.ndarray) -> np.ndarray:
        """End of each item's events up to each time, inclusive; they start at ``item_ptr``."""
        return self.by_item.end(item, time)


def _pointers(row: np.ndarray, num_rows: int) -> np.ndarray:
    pointer = np.zeros(num_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=num_rows), out=pointer[1:])
    return pointer


def _distinct_so_far(entity: np.ndarray, item: np.ndarray, num_items: int) -> np.ndarray:
    """Distinct entities of an item up to and including every one of its events."""
    order = np.lexsort((entity, item))  # stable: equal pairs stay by time
    changed = np.ones(len(entity), dtype=bool)
    changed[1:] = (np.diff(entity[order]) != 0) | (np.diff(item[order]) != 0)
    is_first = np.zeros(len(entity), dtype=np.int64)
    is_first[order] = changed
    total = np.cumsum(is_first)
    before = np.concatenate([[0], total])[_pointers(item, num_items)[:-1]]
    return total - before[item]
