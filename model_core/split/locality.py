"""Locality score: how much of the future lies in a user's own neighbourhood."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from model_core.split.seeds import SeedTable
from model_core.tables.snapshot import Snapshot
from model_core.tables.triples import Triples

SOURCE = (
    "ContextGNN, arXiv 2411.19513, Table 1. k counts hops in the graph of users and items: "
    "k=1 reaches the user's own items, k=3 the items of users who share one with them. "
    "k=2 adds users only, so s_2 equals s_1; the paper gives k=1 and k=3."
)

#: Seed times that are looked at; each costs one sparse matrix of all its past interactions.
MAX_SEED_TIMES = 24

#: Cells of the dense user-by-user block that is held at once.
MAX_BLOCK_CELLS = 16_000_000


def locality_scores(
    snapshot: Snapshot,
    seeds: Mapping[str, SeedTable],
    interactions: Triples,
    max_rows: int,
) -> dict[str, dict[str, float]]:
    """Share of target items inside the k-hop neighbourhood of their user, k = 1..3.

    A high s_1 says that users return to their own items (pair-wise scores and past visits
    will do well); s_3 far above s_1 says that collaborative neighbourhoods hold the
    answer; a low s_3 says that only global scores can find it.

    Args:
        snapshot: For the size of the entity and item tables.
        seeds: Split to seed rows.
        interactions: (entity, item, time) sorted by time; only time <= t counts at seed
            time t.
        max_rows: Rows per split to average over; evenly spaced rows are taken.

    Returns:
        Split to ``{"s_1", "s_2", "s_3", "num_rows"}``, means over seed rows.
    """
    task = snapshot.task
    shape = tuple(snapshot.tables[name].num_rows for name in (task.entity_table, task.item_table))
    pairs = _first_meetings(interactions, shape[1])
    scores = {}
    for split, table in seeds.items():
        sample = _sample(table, max_rows)
        share = np.zeros((len(sample), 2))
        for time in np.unique(sample.time):
            rows = np.flatnonzero(sample.time == time)
            seen = int(np.searchsorted(pairs[2], time, side="right"))
            past = sparse.csr_matrix(
                (np.ones(seen, dtype=np.float32), (pairs[0][:seen], pairs[1][:seen])), shape=shape)
            share[rows] = _shares(past, sample.take(rows))
        own, shared = (float(value) for value in share.mean(axis=0))
        scores[split] = {"s_1": own, "s_2": own, "s_3": shared, "num_rows": float(len(sample))}
    return scores


def _first_meetings(interactions: Triples, num_items: int) -> Triples:
    """Each (entity, item) pair once, when it first met; still sorted by time."""
    entity, item, time = interactions
    _, first = np.unique(entity * num_items + item, return_index=True)
    first.sort()
    return entity[first], item[first], time[first]


def _sample(seeds: SeedTable, max_rows: int) -> SeedTable:
    """At most max_rows rows of at most MAX_SEED_TIMES seed times, evenly spaced."""
    times = np.unique(seeds.time)
    times = times[_evenly(len(times), MAX_SEED_TIMES)]
    rows = np.flatnonzero(np.isin(seeds.time, times))
    return seeds.take(rows[_evenly(len(rows), max_rows)])


def _evenly(num: int, at_most: int) -> np.ndarray:
    """Evenly spaced positions below ``num``, the last one included."""
    return num - 1 - np.arange(min(num, at_most))[::-1] * num // min(num, at_most)


def _shares(past: sparse.csr_matrix, seeds: SeedTable) -> np.ndarray:
    """[n, 2] share of each row's items within 1 and within 3 hops."""
    users_of = past.T.tocsr()
    hits = np.zeros((len(seeds.item), 2), dtype=bool)
    block = max(1, MAX_BLOCK_CELLS // past.shape[0])
    for first in range(0, len(seeds), block):
        last = min(first + block, len(seeds))
        own = past[seeds.entity[first:last]]
        # Cell (r, u) > 0: user u shares an item with the user of row r (or is that user).
        near = np.asarray((own @ users_of).todense()) > 0
        begin, end = seeds.item_ptr[first], seeds.item_ptr[last]
        item = seeds.item[begin:end]
        row = np.repeat(np.arange(last - first), np.diff(seeds.item_ptr[first : last + 1]))
        hits[begin:end, 0] = np.asarray(own[row, item]).ravel() > 0
        hits[begin:end, 1] = _any_near(near, row, item, users_of)
    length = np.diff(seeds.item_ptr)
    return np.add.reduceat(hits.astype(np.float64), seeds.item_ptr[:-1]) / length[:, None]


def _any_near(
    near: np.ndarray, row: np.ndarray, item: np.ndarray, users_of: sparse.csr_matrix
) -> np.ndarray:
    """Whether any user of ``item[i]`` is near row ``row[i]``, bool [n]."""
    degree = np.diff(users_of.indptr)[item].astype(np.int64)
    found = np.zeros(len(item), dtype=bool)
    some = np.flatnonzero(degree)
    ends = np.cumsum(degree[some])
    first = 0
    while first < len(some):  # pieces of bounded size; a single item always fits
        before = ends[first] - degree[some[first]]
        last = max(first + 1, int(np.searchsorted(ends, before + MAX_BLOCK_CELLS, side="right")))
        piece = some[first:last]
        count = degree[piece]
        starts = np.cumsum(count) - count
        position = np.arange(count.sum()) + np.repeat(users_of.indptr[item[piece]] - starts, count)
        is_near = near[np.repeat(row[piece], count), users_of.indices[position]]
        found[piece] = np.logical_or.reduceat(is_near, starts)
        first = last
    return found
