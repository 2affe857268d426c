"""Small graphs and splits made straight from arrays, for tests of single stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from model_core.graph.adjacency import time_sorted_adjacency
from model_core.graph.temporal_graph import (
    UNTIMED,
    Interactions,
    Relation,
    TableColumns,
    TemporalGraph,
)
from model_core.records import json_bytes, write_record
from model_core.split.seeds import KIND, SCHEMA_VERSION, SeedTable, Split
from model_core.tables.routes import shortest_routes

DAY = 86_400


@dataclass
class Rows:
    """One table: ``time`` None for untimed; ``fkeys`` column -> (target table, values, -1 = missing)."""

    num_rows: int
    time: np.ndarray | None = None
    fkeys: Mapping[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    number: np.ndarray | None = None
    category: np.ndarray | None = None


def make_graph(
    tables: Mapping[str, Rows],
    entity_table: str,
    item_table: str,
    interactions: Sequence[tuple[int, int, int]] | None = None,
    cutoff: int = 2**40,
    last_time: int = 2**40,
) -> TemporalGraph[np.ndarray]:
    """A TemporalGraph from plain arrays. ``interactions``: (entity, item, time) triples."""
    node_time = {
        name: np.full(rows.num_rows, UNTIMED, dtype=np.int64) if rows.time is None
        else np.asarray(rows.time, dtype=np.int64)
        for name, rows in tables.items()
    }
    adjacency = {}
    for name, rows in tables.items():
        for column, (target, values) in rows.fkeys.items():
            here = np.flatnonzero(np.asarray(values) >= 0)
            there = np.asarray(values, dtype=np.int64)[here]
            adjacency[Relation(name, f"{name}.{column}", target)] = time_sorted_adjacency(
                here, there, node_time[name], tables[target].num_rows)
            adjacency[Relation(target, f"rev_{name}.{column}", name)] = time_sorted_adjacency(
                there, here, node_time[target], rows.num_rows)
    columns = {}
    for name, rows in tables.items():
        number = np.zeros((rows.num_rows, 0)) if rows.number is None else np.asarray(rows.number)
        category = np.zeros((rows.num_rows, 0)) if rows.category is None else np.asarray(rows.category)
        columns[name] = TableColumns(
            number.astype(np.float32), category.astype(np.int64),
            np.zeros((rows.num_rows, 0), dtype=np.float32),
            tuple(int(c.max(initial=0)) + 1 for c in category.astype(np.int64).T),
            tuple(f"number_{i}" for i in range(number.shape[1])),
            tuple(f"category_{i}" for i in range(category.shape[1])), (),
        )
    triples = np.asarray(sorted(set(interactions or ()), key=lambda t: (t[2], t[0], t[1])),
                         dtype=np.int64).reshape(-1, 3)
    fkeys = {name: {c: target for c, (target, _) in rows.fkeys.items()} for name, rows in tables.items()}
    return TemporalGraph(
        num_nodes={name: rows.num_rows for name, rows in tables.items()},
        node_time=node_time, adjacency=adjacency, columns=columns,
        interactions=Interactions(triples[:, 0].copy(), triples[:, 1].copy(), triples[:, 2].copy()),
        entity_table=entity_table, item_table=item_table,
        hops=len(shortest_routes(fkeys, entity_table, item_table)[0]),
        cutoff=cutoff, last_time=last_time,
    )


def make_shop(
    events: Sequence[tuple[int, int, int]], num_users: int, num_items: int, **kwargs
) -> TemporalGraph:
    """users <- events -> items, from (user, item, time) triples."""
    events = sorted(events, key=lambda e: e[2])
    user, item, time = (np.asarray([e[i] for e in events], dtype=np.int64) for i in range(3))
    return make_graph(
        {
            "users": Rows(num_users),
            "items": Rows(num_items),
            "events": Rows(len(events), time, {"user_id": ("users", user), "item_id": ("items", item)}),
        },
        "users", "items", events, **kwargs,
    )


def make_seeds(rows: Sequence[tuple[int, int, Sequence[int]]]) -> SeedTable:
    """A SeedTable from (entity, time, items) rows, sorted as the contract says."""
    rows = sorted(rows, key=lambda row: (row[1], row[0]))
    items = [sorted(set(row[2])) for row in rows]
    return SeedTable(
        np.asarray([row[0] for row in rows], dtype=np.int64),
        np.asarray([row[1] for row in rows], dtype=np.int64),
        np.concatenate([[0], np.cumsum([len(i) for i in items])]).astype(np.int64),
        np.asarray([i for row in items for i in row], dtype=np.int64),
    )


def make_split(
    folder: Path,
    train: SeedTable,
    val: SeedTable,
    test: SeedTable,
    *,
    num_entities: int,
    num_items: int,
    window_s: int,
    val_time: int,
    test_time: int,
    entity_table: str = "users",
    item_table: str = "items",
    eval_k: int = 10,
) -> Split:
    """A Split record written to ``folder`` and opened."""
    with write_record(folder, KIND, SCHEMA_VERSION) as (out, meta):
        for name, seeds in (("train", train), ("val", val), ("test", test)):
            seeds.write(out / "seeds" / f"{name}.parquet")
        (out / "certificate.json").write_bytes(json_bytes({}))
        meta.update(
            dataset="made-up", task="made-up-task",
            entity_table=entity_table, item_table=item_table, num_entities=num_entities,
            num_items=num_items, window_s=window_s, eval_k=eval_k, val_time=val_time,
            test_time=test_time, train_cutoff=val_time, as_of=None, label_source="stored",
            locality={}, counts={},
            routes=[{"hops": [["users", "user_id", "events", False], ["events", "item_id", "items", True]],
                     "target": True}],
        )
    return Split.open(folder)


def with_targets(graph: TemporalGraph[np.ndarray], target: np.ndarray) -> TemporalGraph[np.ndarray]:
    """The graph, of whose interactions only some are of the kind that labels speak of."""
    return replace(graph, interactions=replace(graph.interactions, target=target))
