"""Interactions: which entity met which item when, read off the foreign keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from model_core.tables.routes import Hop, Route, shortest_routes
from model_core.tables.snapshot import Snapshot
from model_core.tables.triples import Triples, distinct_triples, union

#: Time of an interaction none of whose rows has a time: before everything.
NO_TIME = int(np.iinfo(np.int64).min)

#: Walks held at once; more are followed in parts, so that memory stays bounded.
MAX_WALKS = 8_000_000


class _Link(NamedTuple):
    """One hop as CSR: the visible ``dst`` rows of every ``src`` row, and the times of dst."""

    indptr: np.ndarray
    rows: np.ndarray
    time: np.ndarray | None


def find_interactions(
    snapshot: Snapshot, upto: int, routes: Sequence[Route] | None = None, *,
    entities: np.ndarray | None = None, max_walks: int = MAX_WALKS,
) -> Triples:
    """Distinct (entity, item, time) triples along routes of the schema.

    Popularity, seen-item masks, item-kNN, locality and the check of labels all need to
    know what a user did. A schema says so only through chains of foreign keys, such as
    customer <- invoice <- invoice line -> product. Each such chain of rows is one
    interaction; it happens when its last row appears.

    Args:
        snapshot: Validated tables.
        upto: Only rows with time <= this are walked (UTC seconds). Rows of tables
            without time always are.
        routes: From the entity to the item table; by default the shortest.
        entities: Only these are walked from, int64 [n], distinct; by default all.
        max_walks: Walks held in memory at once.

    Returns:
        (entity, item, time), int64 [m] each, sorted by (time, entity, item). ``time`` is
        the largest over the rows of the walk, both ends included; NO_TIME if none has
        one. A missing foreign key ends a walk.

    Raises:
        DataError: No foreign keys connect the entity and the item table.
    """
    task = snapshot.task
    if routes is None:
        fkeys = {name: table.fkeys for name, table in snapshot.tables.items()}
        routes = shortest_routes(fkeys, task.entity_table, task.item_table)
    on_route = {task.entity_table} | {hop.dst for route in routes for hop in route}
    times = {name: snapshot.times(name) for name in sorted(on_route)}

    entity = (np.arange(snapshot.tables[task.entity_table].num_rows, dtype=np.int64)
              if entities is None else entities)
    entity_time = times[task.entity_table]
    if entity_time is None:
        time = np.full(len(entity), NO_TIME)
    else:
        entity = entity[entity_time[entity] <= upto]
        time = entity_time[entity]
    parts = []
    for route in routes:
        links = [_link(snapshot, hop, times, upto) for hop in route]
        parts.append(_follow((entity, entity, time), links, max_walks))
    return parts[0] if len(parts) == 1 else union(parts)


def num_walks(snapshot: Snapshot, route: Route, upto: int) -> float:
    """Chains of rows with time <= upto along a route, by which entities meet items."""
    task = snapshot.task
    times = {name: snapshot.times(name) for name in {task.entity_table, *(hop.dst for hop in route)}}
    start = times[task.entity_table]
    walks: np.ndarray = np.ones(snapshot.tables[task.entity_table].num_rows)
    if start is not None:
        walks[start > upto] = 0
    for hop in route:
        link = _link(snapshot, hop, times, upto)
        walks = np.bincount(link.rows, weights=np.repeat(walks, np.diff(link.indptr)),
                            minlength=snapshot.tables[hop.dst].num_rows)
    return float(walks.sum())


def _link(
    snapshot: Snapshot, hop: Hop, times: Mapping[str, np.ndarray | None], upto: int
) -> _Link:
    """CSR of one hop over rows with time <= upto."""
    holder = hop.src if hop.forward else hop.dst
    fkey = snapshot.fkey(holder, hop.fkey)
    src, dst = np.arange(len(fkey), dtype=np.int64), fkey
    if not hop.forward:
        src, dst = dst, src
    there = fkey >= 0
    time = times[hop.dst]
    if time is not None:
        there[there] = time[dst[there]] <= upto
    src, dst = src[there], dst[there]
    indptr = np.zeros(snapshot.tables[hop.src].num_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(src, minlength=len(indptr) - 1), out=indptr[1:])
    return _Link(indptr, dst if hop.forward else dst[np.argsort(src, kind="stable")], time)


def _follow(walks: Triples, links: Sequence[_Link], max_walks: int) -> Triples:
    """Extend walks (entity, last row, time) along the links; distinct and sorted at the end."""
    for depth, link in enumerate(links):
        entity, row, time = walks
        count = link.indptr[row + 1] - link.indptr[row]
        if depth and count.max(initial=0) > 1:  # equal walks would be multiplied: merge them first
            entity, row, time = walks = distinct_triples(walks)
            count = link.indptr[row + 1] - link.indptr[row]
        ends = np.cumsum(count)
        total = int(ends[-1]) if len(ends) else 0
        if total > max_walks and len(row) > 1:
            middle = int(np.clip(np.searchsorted(ends, total // 2), 1, len(row) - 1))
            halves = ((entity[part], row[part], time[part])
                      for part in (slice(None, middle), slice(middle, None)))
            return union([_follow(half, links[depth:], max_walks) for half in halves])
        position = np.arange(total) + np.repeat(link.indptr[row] - (ends - count), count)
        row = link.rows[position]
        entity, time = np.repeat(entity, count), np.repeat(time, count)
        if link.time is not None:
            time = np.maximum(time, link.time[row])
        walks = (entity, row, time)
    return distinct_triples(walks)
