"""How often two items go together, block by block of the item-item matrix (needs scipy; not for serving)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from model_core.graph.temporal_graph import Interactions
from model_core.tables.triples import distinct

#: Newest distinct items that count for one user: a pass costs the sum of their squares.
MAX_ITEMS_PER_ENTITY = 2_500
#: Products of one block of the item-item matrix: about 0.4 GB at most.
MAX_BLOCK_PRODUCTS = 20_000_000
#: Label windows back that are read for what follows what; after the newest one only as many as
#: have so many (user, item) pairs in the pasts of their users: some 0.5 GB.
MAX_WINDOWS, MAX_PAST_PAIRS = 16, 20_000_000


@dataclass(frozen=True)
class CoCounts:
    """How often items go together, from the events up to a time.

    A user counts with its newest 2,500 distinct items, so that a few extreme ones do not
    make the pass quadratic.

    Attributes:
        item: int64 [n], ascending, catalogue rows of the items met so far.
        by_entity: 0/1 float32 [rows, n], what a user met; a row is a user (``until``) or a user
            in one window (``following``).
        by_item: 0/1 float32 [n, rows]: its transpose, or what was met before the window.
    """

    item: np.ndarray
    by_entity: sparse.csr_array
    by_item: sparse.csr_array

    @classmethod
    def until(cls, interactions: Interactions[np.ndarray], num_entities: int, time: int) -> CoCounts:
        """Of the events, which come by time, no later than ``time``, UTC seconds."""
        end = int(np.searchsorted(interactions.time, time, side="right"))
        known, code = _numbered(np.asarray(interactions.item[:end]))
        entity, item = _newest_pairs(np.asarray(interactions.entity[:end]), code, len(known))
        by_entity = sparse.csr_array(
            (np.ones(len(item), np.float32), (entity, item)), shape=(num_entities, len(known)))
        return cls(known, by_entity, by_entity.T.tocsr())

    @classmethod
    def following(
        cls, interactions: Interactions[np.ndarray], num_entities: int, time: int, window_s: int
    ) -> CoCounts:
        """What users took in a label window, after what they had met before it.

        Of the newest 16 windows that end at or before ``time``; fewer where the pasts are long.
        Users without a past at a window's start have a row of takers, and nothing before it.
        """
        end = int(np.searchsorted(interactions.time, time, side="right"))
        known, code = _numbered(np.asarray(interactions.item[:end]))
        entity = np.asarray(interactions.entity[:end])
        pasts = _Pasts(entity, code, num_entities, len(known))
        before, after, room = _Stack(len(known)), _Stack(len(known)), MAX_PAST_PAIRS
        for number in range(1, MAX_WINDOWS + 1):
            start, stop = np.searchsorted(
                interactions.time, [time - number * window_s, time - (number - 1) * window_s], side="right")
            if start == 0:
                break
            active = np.zeros(num_entities, dtype=bool)
            active[entity[start:stop]] = True
            who, what = pasts.pairs(active, int(start))
            room -= len(who)
            if room < 0 and number > 1:
                break
            row, num_rows = np.cumsum(active) - 1, int(active.sum())
            before.add(row[who], what, num_rows)
            who, what = _newest_pairs(entity[start:stop], code[start:stop], len(known))
            after.add(row[who], what, num_rows)
        return cls(known, after.matrix(), before.matrix().T.tocsr())

    @property
    def num_users(self) -> np.ndarray:
        """int64 [n], users that count for each item; 1 where all have too many newer ones."""
        return np.maximum(np.diff(self.by_item.indptr), 1).astype(np.int64)

    @property
    def num_takers(self) -> np.ndarray:
        """int64 [n], rows of ``by_entity`` with each item, at least 1; of ``until`` the same."""
        return np.maximum(np.bincount(self.by_entity.indices, minlength=len(self.item)), 1)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_array]]:
        """``(first row, float32 [rows, n])``, how often the columns go with the rows, own column included.

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


class _Pasts:
    """What users had met before any event, without sorting the events anew for each.

    Args:
        entity, item: int64 [m], events by time.
        num_entities, num_items: Above all of them.
    """

    def __init__(self, entity: np.ndarray, item: np.ndarray, num_entities: int, num_items: int) -> None:
        self._events, self._num_items = (entity, item), num_items
        pair, self._first = np.unique(entity * num_items + item, return_index=True)
        self._pair = pair // num_items, pair % num_items
        #: Users with more items than count: which are the newest depends on the moment.
        self._long = np.bincount(self._pair[0], minlength=num_entities) > MAX_ITEMS_PER_ENTITY

    def pairs(self, of: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Distinct (entity, item) pairs of the events before position ``end``.

        Args:
            of: bool [num_entities], the users that are asked for.
        """
        (entity, item), (who, what) = self._pair, self._events
        short = (of & ~self._long)[entity] & (self._first < end)
        events = np.flatnonzero((of & self._long)[who[:end]])
        newest = _newest_pairs(who[events], what[events], self._num_items)
        return np.concatenate([entity[short], newest[0]]), np.concatenate([item[short], newest[1]])


class _Stack:
    """Rows of 0/1 matrices, one matrix below the other."""

    def __init__(self, num_columns: int) -> None:
        self.num_rows, self.num_columns = 0, num_columns
        self.row: list[np.ndarray] = []
        self.column: list[np.ndarray] = []

    def add(self, row: np.ndarray, column: np.ndarray, num_rows: int) -> None:
        self.row.append((row + self.num_rows).astype(np.int32))
        self.column.append(column.astype(np.int32))
        self.num_rows += num_rows

    def matrix(self) -> sparse.csr_array:
        row, column = (np.concatenate([np.zeros(0, np.int32), *parts]) for parts in (self.row, self.column))
        return sparse.csr_array(
            (np.ones(len(row), np.float32), (row, column)), shape=(self.num_rows, self.num_columns))


def _numbered(item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct items, ascending, and the place of each item among them; no sorting."""
    there = np.bincount(item) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[item]


def _newest_pairs(
    entity: np.ndarray, item: np.ndarray, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (entity, item) pairs, the newest of each entity; events come by time."""
    if not len(entity):
        return entity, item
    key = entity * num_items + item
    pair = distinct(key)
    long = np.bincount(pair // num_items) > MAX_ITEMS_PER_ENTITY
    if long.any():
        short = pair[~long[pair // num_items]]
        # Newest first, so the place of a pair is that of its last event.
        pair, last = np.unique(key[long[entity]][::-1], return_index=True)
        pair = pair[np.lexsort((last, pair // num_items))]
        who = pair // num_items
        rank = np.arange(len(pair)) - np.searchsorted(who, who)
        pair = np.sort(np.concatenate([short, pair[rank < MAX_ITEMS_PER_ENTITY]]))
    return np.divmod(pair, num_items)
