"""EventIndex: interactions sorted twice, so that the past of any row at any time is one search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_core.graph.temporal_graph import Interactions, TemporalGraph


@dataclass(frozen=True)
class EventIndex:
    """Interactions by time, by (entity, time) and by (item, time).

    A search key packs a row and a time into one int64, ``row * span + (time - first)``, so
    that one binary search finds the end of a row's past. Nothing is computed per time.

    Attributes:
        num_entities, num_items: Rows of the two tables.
        time, item: int64 [m], all events by time.
        entity_ptr: int64 [num_entities + 1], an entity's range in the next three.
        entity_key: int64 [m], ascending search keys of (entity, time).
        entity_item, entity_time: int64 [m], events by (entity, time).
        item_ptr: int64 [num_items + 1], an item's range in the next three.
        item_key: int64 [m], ascending search keys of (item, time).
        item_time: int64 [m], times by (item, time).
        item_users: int64 [m], distinct entities among an item's events up to each.
        first_time, span: What the keys are made with, in seconds.
    """

    num_entities: int
    num_items: int
    time: np.ndarray
    item: np.ndarray
    entity_ptr: np.ndarray
    entity_key: np.ndarray
    entity_item: np.ndarray
    entity_time: np.ndarray
    item_ptr: np.ndarray
    item_key: np.ndarray
    item_time: np.ndarray
    item_users: np.ndarray
    first_time: int
    span: int

    @classmethod
    def of(cls, graph: TemporalGraph[np.ndarray]) -> EventIndex:
        """Index the interactions of a graph with numpy arrays."""
        return cls.build(graph.interactions, graph.num_entities, graph.num_items)

    @classmethod
    def build(
        cls, interactions: Interactions[np.ndarray], num_entities: int, num_items: int
    ) -> EventIndex:
        """Sort the events, which come by time, once by entity and once by item."""
        entity, item, time = (np.asarray(part) for part in (
            interactions.entity, interactions.item, interactions.time))
        first = int(time[0]) if len(time) else 0
        span = int(time[-1]) - first + 2 if len(time) else 2
        assert max(num_entities, num_items) * span < 2**63, "times or tables too large to pack"
        by_entity = np.argsort(entity, kind="stable")
        by_item = np.argsort(item, kind="stable")
        return cls(
            num_entities, num_items, time, item,
            _pointers(entity, num_entities), (entity * span + (time - first))[by_entity],
            item[by_entity], time[by_entity],
            _pointers(item, num_items), (item * span + (time - first))[by_item], time[by_item],
            _distinct_so_far(entity[by_item], item[by_item], num_items), first, span,
        )

    def entity_range(self, entity: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the events of each entity up to each time (inclusive) lie, (start, stop)."""
        return self.entity_ptr[entity], self._ends(self.entity_key, entity, time)

    def item_end(self, item: np.ndarray, time: np.ndarray) -> np.ndarray:
        """End of each item's events up to each time, inclusive; they start at ``item_ptr``."""
        return self._ends(self.item_key, item, time)

    def _ends(self, key: np.ndarray, row: np.ndarray, time: np.ndarray) -> np.ndarray:
        # Before the first event: the end of the row before, that is, this row's start.
        offset = np.clip(time - self.first_time, -1, self.span - 2)
        return np.searchsorted(key, row * self.span + offset, side="right")


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
