"""Values of events: the number columns of the rows by which users meet items.

An order line says how many pieces and at what price, a rating how many stars. Event rows
are those of tables from which foreign keys lead to the user and to the item, along a
route that the split found: lines of invoices of customers, and of products. A row then
belongs to one user and one item, and its columns are values of that event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import (
    MISSING,
    Relation,
    TableColumns,
    TemporalGraph,
    to_numpy,
)
from model_core.tables.triples import TripleFinder, Triples

#: Number columns that are read, in the order of the graph.
MAX_VALUES = 4
#: Largest value, in standard deviations of the column, up and down, as in a graph.
MAX_VALUE = 10.0
#: Values are summed as integers of this unit: exact, so that no sum depends on what else is summed.
UNIT = 2.0**-20


def value_columns(graph: TemporalGraph[Any]) -> tuple[str, ...]:
    """Names ``table.column`` of the values of a graph's events, at most ``MAX_VALUES``.

    Dates are left out: they say when, and often hold what became known after the event.
    """
    statistics: Mapping[str, Any] = {} if graph.record is None else graph.record.meta.get("statistics", {})
    keys = _keys(graph)
    names = []
    for table in graph.num_nodes:
        if not _routes(graph, keys, table):
            continue
        dates = {entry["column"] for entry in statistics.get(table, ()) if "origin" in entry}
        names += [f"{table}.{column}" for column in graph.columns[table].number_names
                  if not column.endswith(MISSING) and column not in dates]
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
        interaction that have the column, within ± ``MAX_VALUE``; NaN where none has.
    """
    interactions = graph.interactions.to_numpy()
    num_events = len(interactions.time)
    values = np.full((num_events, len(names)), np.nan, dtype=np.float32)
    find = TripleFinder((interactions.entity, interactions.item, interactions.time))
    keys = _keys(graph)
    for table, slots in _slots(graph, names).items():
        routes = _routes(graph, keys, table)
        events = [_events(graph, table, *route) for route in routes]
        found = [(row, find(triples)) for row, triples in events]
        for slot, column in slots.items():
            value, known = _column(graph.columns[table], column)
            count, total = np.zeros((2, num_events))
            for row, place in found:
                use = known[row] & (place >= 0)
                row, place = row[use], place[use]
                count += np.bincount(place, minlength=num_events)
                total += np.bincount(place, weights=np.rint(value[row] / UNIT), minlength=num_events)
            factor, offset = (scales or {}).get(str(names[slot]), (1.0, 0.0))
            mean = factor * (total * UNIT / np.maximum(count, 1)) + offset
            values[:, slot] = np.where(count > 0, np.clip(mean, -MAX_VALUE, MAX_VALUE), np.nan)
    return values


def _column(columns: TableColumns[Any], place: int) -> tuple[np.ndarray, np.ndarray]:
    """A number column, float64 [n], and which rows have it; a graph from elsewhere may hold anything."""
    number, names = to_numpy(columns.number), columns.number_names
    value = number[:, place].astype(np.float64)
    known = np.isfinite(value)
    flag = names[place] + MISSING
    if flag in names:
        known &= number[:, names.index(flag)] <= 0
    return np.clip(np.where(known, value, 0), -MAX_VALUE, MAX_VALUE), known


def _slots(graph: TemporalGraph[Any], names: Sequence[str | None]) -> dict[str, dict[int, int]]:
    """Table to (place among the names to column of the table); unknown names are left out."""
    found: dict[str, dict[int, int]] = {}
    for table, columns in graph.columns.items():
        of_table = {f"{table}.{column}": place for place, column in enumerate(columns.number_names)}
        slots = {slot: of_table[name] for slot, name in enumerate(names) if name in of_table}
        if slots:
            found[table] = slots
    return found


#: Table to the relations that lead to the rows it refers to.
Keys = Mapping[str, tuple[Relation, ...]]
Chain = tuple[Relation, ...]


def _keys(graph: TemporalGraph[Any]) -> Keys:
    """Foreign keys: relations that give every row one parent at most (a graph from elsewhere has others)."""
    found: dict[str, tuple[Relation, ...]] = {}
    for relation, edges in graph.adjacency.items():
        if relation.parent_is_source and np.diff(to_numpy(edges.indptr)).max(initial=0) <= 1:
            found[relation.dst] = (*found.get(relation.dst, ()), relation)
    return found


def _routes(graph: TemporalGraph[Any], keys: Keys, table: str) -> list[tuple[Chain, Chain]]:
    """Chains of foreign keys from a table to the entity table and to the item table.

    Only tables by which users meet items have any (of a graph that says which these are), and the two
    chains together are no longer than the longest route.
    """
    on_routes = {hop.dst for route in graph.routes for hop in route} or {table}
    if table in (graph.entity_table, graph.item_table) or table not in on_routes:
        return []
    to_entity, to_item = (_shortest_chains(keys, table, end, graph.hops - 1)
                          for end in (graph.entity_table, graph.item_table))
    return [(one, other) for one in to_entity for other in to_item if len(one) + len(other) <= graph.hops]


def _shortest_chains(keys: Keys, start: str, end: str, most: int) -> list[Chain]:
    """All shortest ways from a table to another, none where they are longer than ``most``."""
    chains: list[Chain] = [()]
    seen = {start}
    for _ in range(most):
        chains = [(*chain, relation) for chain in chains
                  for relation in keys.get(chain[-1].src if chain else start, ()) if relation.src not in seen]
        if found := [chain for chain in chains if chain[-1].src == end]:
            return found
        seen |= {chain[-1].src for chain in chains}
    return []


def _events(
    graph: TemporalGraph[Any], table: str, to_entity: Chain, to_item: Chain
) -> tuple[np.ndarray, Triples]:
    """Rows of a table that have both, and their (entity, item, time), int64 [n] each."""
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
    return row, (entity[row], item[row], time[row])
