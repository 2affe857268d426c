"""Values of events: the number columns of the rows by which users meet items.

An order line says how many pieces and at what price, a rating how many stars. Event rows
are those of tables from which foreign keys lead to the user and to the item, along a
shortest route of the schema: lines of invoices of customers, and of products. A row then
belongs to one user and one item, and its columns are values of that event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import MISSING, Interactions, Relation, TemporalGraph, to_numpy

#: Number columns that are read, in the order of the graph.
MAX_VALUES = 4
#: Values are summed as integers of this unit: exact, so that no sum depends on what else is summed.
UNIT = 2.0**-20


def value_columns(graph: TemporalGraph[Any]) -> tuple[str, ...]:
    """Names ``table.column`` of the values of a graph's events, at most ``MAX_VALUES``."""
    names = [
        f"{table}.{column}"
        for table in graph.num_nodes if next(_routes(graph, table), None) is not None
        for column in graph.columns[table].number_names if not column.endswith(MISSING)
    ]
    return tuple(names[:MAX_VALUES])


def event_values(
    graph: TemporalGraph[Any], names: Sequence[str | None],
    scales: Mapping[str, tuple[float, float]] | None = None,
) -> np.ndarray:
    """Values of every interaction.

    Args:
        graph: With numpy arrays or tensors.
        names: From ``value_columns``, perhaps of another graph; None for no column.
        scales: Name to (a, c): its values are a · value + c instead, as another graph has them.

    Returns:
        float32 [m, len(names)], rows as in ``graph.interactions``: the mean over the event rows of an
        interaction, NaN where none has the column. A missing value counts as the mean of its column,
        as it does in the graph.
    """
    interactions = graph.interactions.to_numpy()
    num_events = len(interactions.time)
    values = np.full((num_events, len(names)), np.nan, dtype=np.float32)
    find = _Finder(interactions, graph.num_items)
    for table, slots in _slots(graph, names).items():
        count = np.zeros(num_events, dtype=np.int64)
        total = np.zeros((num_events, len(slots)))
        number = to_numpy(graph.columns[table].number)
        for to_entity, to_item in _routes(graph, table):
            row, place = find(*_events(graph, table, to_entity, to_item))
            count += np.bincount(place, minlength=num_events)
            for part, column in enumerate(slots.values()):
                value = np.rint(number[row, column].astype(np.float64) / UNIT)
                total[:, part] += np.bincount(place, weights=value, minlength=num_events)
        known = count > 0
        for part, slot in enumerate(slots):
            factor, offset = (scales or {}).get(str(names[slot]), (1.0, 0.0))
            values[known, slot] = factor * (total[known, part] * UNIT / count[known]) + offset
    return values


def _slots(graph: TemporalGraph[Any], names: Sequence[str | None]) -> dict[str, dict[int, int]]:
    """Table to (place among the names to column of the table); unknown names are left out."""
    found: dict[str, dict[int, int]] = {}
    for table, columns in graph.columns.items():
        of_table = {f"{table}.{column}": place for place, column in enumerate(columns.number_names)}
        slots = {slot: of_table[name] for slot, name in enumerate(names) if name in of_table}
        if slots:
            found[table] = slots
    return found


def _routes(
    graph: TemporalGraph[Any], table: str
) -> Iterator[tuple[tuple[Relation, ...], tuple[Relation, ...]]]:
    """Chains of foreign keys from a table to the entity table and to the item table.

    Together they are as long as the schema's shortest route.
    """
    if table in (graph.entity_table, graph.item_table):
        return
    for to_entity in _chains(graph, table, graph.entity_table, graph.hops - 1):
        for to_item in _chains(graph, table, graph.item_table, graph.hops - 1):
            if len(to_entity) + len(to_item) == graph.hops:
                yield to_entity, to_item


def _chains(graph: TemporalGraph[Any], start: str, end: str, most: int) -> Iterator[tuple[Relation, ...]]:
    """Ways from a table to another along at most so many foreign keys."""
    if start == end:
        yield ()
        return
    for relation in graph.relations if most else ():
        if relation.dst == start and relation.parent_is_source and _is_key(graph, relation):
            for rest in _chains(graph, relation.src, end, most - 1):
                yield (relation, *rest)


def _is_key(graph: TemporalGraph[Any], relation: Relation) -> bool:
    """Whether every row has one parent at most (a graph from elsewhere may have more)."""
    count = np.diff(to_numpy(graph.adjacency[relation].indptr))
    return bool(count.max(initial=0) <= 1)


def _events(
    graph: TemporalGraph[Any], table: str, to_entity: Sequence[Relation], to_item: Sequence[Relation]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row, entity, item, time) of the rows of a table that have both, int64 [n] each."""
    time = to_numpy(graph.node_time[table]).copy()
    ends = []
    for chain in (to_entity, to_item):
        row = np.arange(len(time))
        for relation in chain:
            edges = graph.adjacency[relation]
            has = np.diff(to_numpy(edges.indptr)) > 0
            parent = np.full(len(has), -1)
            parent[has] = to_numpy(edges.neighbor)
            row = np.where(row >= 0, parent[np.maximum(row, 0)], -1) if len(parent) else row
            parent_time = to_numpy(graph.node_time[relation.src])
            here = np.flatnonzero(row >= 0)
            time[here] = np.maximum(time[here], parent_time[row[here]])
        ends.append(row)
    entity, item = ends
    row = np.flatnonzero((entity >= 0) & (item >= 0))
    return row, entity[row], item[row], time[row]


class _Finder:
    """Places of (entity, item, time) among interactions, which are sorted by (time, entity, item)."""

    def __init__(self, interactions: Interactions[np.ndarray], num_items: int) -> None:
        self._num_items = num_items
        pair = interactions.entity * num_items + interactions.item
        self._moments, self._pairs = np.unique(interactions.time), np.unique(pair)
        # Numbered, so that any times fit into a key.
        self._key = (np.searchsorted(self._moments, interactions.time) * len(self._pairs)
                     + np.searchsorted(self._pairs, pair))

    def __call__(
        self, row: np.ndarray, entity: np.ndarray, item: np.ndarray, time: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are found, and where."""
        pair = entity * self._num_items + item
        if not len(self._key):
            return row[:0], row[:0]
        moment, known = _find(self._moments, time)
        which, met = _find(self._pairs, pair)
        place, there = _find(self._key, moment * len(self._pairs) + which)
        found = known & met & there
        return row[found], place[found]


def _find(among: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of values among ascending ones, and whether they are there."""
    place = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return place, among[place] == wanted
