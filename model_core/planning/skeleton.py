"""The graph without its features, from a bounded sample of key and time columns.

How many rows a seed's subgraph has decides time and memory of training, and it cannot
be read off row counts: repeats, popularity and time all matter. So the sampler itself is
run on a few seeds of a skeleton graph. Per table at most ``MAX_ROWS`` rows of the key and
time columns are decoded. Where every table is smaller, the skeleton is the whole graph.
Otherwise all large tables are cut to the same share of their rows and row numbers of
referenced tables are folded into that share (``id mod rows``): mean degrees stay as they
are, their spread gets smaller, so the estimate is rough there. A small item table is kept
whole, or subgraphs would run out of items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_core.errors import DataError
from model_core.graph.adjacency import time_sorted_adjacency
from model_core.graph.temporal_graph import UNTIMED, Interactions, Relation, TemporalGraph
from model_core.planning.facts import DatasetFacts
from model_core.planning.routes import likely_routes
from model_core.serving.sampler import SubgraphArrays, sample
from model_core.tables.columns import to_timestamp
from model_core.tables.snapshot import to_seconds

#: Rows of one table whose keys and times are decoded.
MAX_ROWS = 1_000_000
#: Folded tables keep at least so many rows (or all they have), the item table more.
MIN_FOLDED_ROWS, MIN_ITEM_ROWS = 256, 20_000
#: Seeds of the first look at a fan-out, and of the final one.
FIRST_SEEDS, NUM_SEEDS = 8, 256
#: Nodes of the final look: fewer seeds are taken where subgraphs are large.
MAX_NODES = 100_000


@dataclass(frozen=True)
class Skeleton:
    """A graph of keys and times, and seeds as they occur in training.

    Attributes:
        graph: Without columns.
        seeds, seed_time: int64 [S], entity rows and UTC seconds of some training rows.
        num_train, num_val, num_test: Seed rows of the splits, of the whole dataset.
        share: Part of the largest table that was looked at; 1 where the skeleton is exact.
    """

    graph: TemporalGraph[np.ndarray]
    seeds: np.ndarray
    seed_time: np.ndarray
    num_train: int
    num_val: int
    num_test: int
    share: float

    @property
    def num_edges(self) -> int:
        return sum(len(a.neighbor) for a in self.graph.adjacency.values())


@dataclass(frozen=True)
class SubgraphFacts:
    """What one seed brings along, as means over a few seeds.

    Attributes:
        fan_out: Neighbours per hop that fit ``model.max_nodes_per_seed``.
        nodes, edges: Per seed.
        node_layers: Node states that are computed, over all layers, per seed.
        edge_layers: Messages, over all layers, per seed.
        distinct: Table to (distinct rows, nodes) of the probed seeds together.
        num_probed: How many seeds that were.
        items: Item nodes per seed.
    """

    fan_out: tuple[int, ...]
    nodes: float
    edges: float
    node_layers: float
    edge_layers: float
    distinct: Mapping[str, tuple[int, int]]
    num_probed: int
    items: float

    def distinct_rows(self, table: str, num_seeds: int, num_rows: int) -> float:
        """Distinct rows of a table in a batch of so many seeds.

        Rows met per probed node, carried on: n draws from an effective pool of P rows meet
        P (1 - exp(-n / P)) of them; P is what makes this true of the probe.
        """
        distinct, nodes = self.distinct[table]
        drawn = nodes * num_seeds / max(self.num_probed, 1)
        if not nodes:
            return 0.0
        if distinct > 0.98 * nodes:
            return min(drawn, num_rows)
        low, high = float(distinct), float(max(num_rows, distinct) * 4)
        for _ in range(50):
            pool = (low + high) / 2
            low, high = (pool, high) if pool * -np.expm1(-nodes / pool) < distinct else (low, pool)
        return float(min(pool * -np.expm1(-drawn / pool), num_rows))


def build_skeleton(facts: DatasetFacts, val_time: int, num_windows: int | None) -> Skeleton:
    """Read keys and times of a dataset, as far as the bound allows.

    Args:
        facts: The dataset.
        val_time: Last moment that training may know, UTC seconds.
        num_windows: Newest training windows that count; all when None.

    Raises:
        DataError: Keys or times of a type that ingest would refuse, too.
    """
    largest = max((table.num_rows for table in facts.tables.values()), default=0)
    share = min(1.0, MAX_ROWS / max(largest, 1))
    size = {}
    for name, table in facts.tables.items():
        least = MIN_ITEM_ROWS if name == facts.task.item_table else MIN_FOLDED_ROWS
        size[name] = min(table.num_rows, max(int(table.num_rows * share), least))
    node_time: dict[str, np.ndarray] = {}
    keys: dict[tuple[str, str], np.ndarray] = {}
    for name, table in facts.tables.items():
        columns = [*table.source.fkeys] + ([table.source.time_col] if table.source.time_col else [])
        rows = _read(facts, name, columns, size[name]) if columns else None
        node_time[name] = np.full(size[name], UNTIMED)
        if rows is not None and table.source.time_col:
            times = to_timestamp(rows.column(table.source.time_col), f"table {name!r}", lambda *_: None)
            node_time[name] = to_seconds(pc.fill_null(times, 0))
        for column, target in table.source.fkeys.items():
            assert rows is not None
            keys[name, column] = _folded(rows.column(column), size[target], f"{name}.{column}")
    graph = _graph(facts, size, node_time, keys)
    seeds, times, counts = _seed_rows(facts, graph, keys, val_time, num_windows)
    if share < 1.0 and not facts.label_rows:
        counts = int(counts[0] / share), int(counts[1] / share), int(counts[2] / share)
    return Skeleton(graph, seeds % max(size[facts.task.entity_table], 1), times, *counts, share)


def subgraph_facts(
    skeleton: Skeleton, num_layers: int, num_neighbors: int, max_nodes_per_seed: int
) -> SubgraphFacts:
    """The fan-out that training will choose, and the subgraphs it gives.

    Training halves N in ``N // 2**hop`` until the mean subgraph fits; here N is doubled as
    long as it fits, so that no look is ever much larger than the bound.
    """
    graph = skeleton.graph
    step = max(len(skeleton.seeds) // NUM_SEEDS, 1)
    seeds, times = skeleton.seeds[::step][:NUM_SEEDS], skeleton.seed_time[::step][:NUM_SEEDS]
    few = slice(None, None, max(len(seeds) // FIRST_SEEDS, 1))
    ladder = [num_neighbors]
    while ladder[-1] > 1:
        ladder.append(ladder[-1] // 2)
    best: tuple[tuple[int, ...], SubgraphArrays] | None = None
    for n in reversed(ladder):
        fan_out = tuple(max(n // 2**hop, 1) for hop in range(num_layers))
        found = sample(graph, seeds[few], times[few], fan_out)
        nodes = sum(map(len, found.node.values())) / max(found.num_seeds, 1)
        if nodes <= 1.5 * max_nodes_per_seed:  # a few seeds may mislead; all of them decide
            num = int(np.clip(MAX_NODES / max(nodes, 1.0), FIRST_SEEDS, len(seeds)))
            found = sample(graph, seeds[-num:], times[-num:], fan_out) if num > len(seeds) // 2 else found
            nodes = sum(map(len, found.node.values())) / max(found.num_seeds, 1)
        if best is None or nodes <= max_nodes_per_seed:
            best = fan_out, found
        if nodes > max_nodes_per_seed:
            break
    assert best is not None
    return _facts_of(*best, graph)


def _facts_of(
    fan_out: tuple[int, ...], found: SubgraphArrays, graph: TemporalGraph[np.ndarray]
) -> SubgraphFacts:
    seeds, layers = max(found.num_seeds, 1), len(fan_out)
    node_layers = edge_layers = 0
    for layer in range(1, layers + 1):  # the last layer is read at the seeds and the items alone
        node_layers += sum(sum(hops[: layers - layer + 1]) for hops in found.num_nodes_per_hop.values())
        edge_layers += sum(sum(hops[: layers - layer + 1]) for hops in found.num_edges_per_hop.values())
    items = len(found.node[graph.item_table])
    return SubgraphFacts(
        fan_out=fan_out,
        nodes=sum(map(len, found.node.values())) / seeds,
        edges=sum(len(src) for src, _ in found.edge.values()) / seeds,
        node_layers=(node_layers + items * layers) / seeds, edge_layers=edge_layers / seeds,
        distinct={table: (len(np.unique(node)), len(node)) for table, node in found.node.items()},
        num_probed=seeds, items=items / seeds,
    )


def _read(facts: DatasetFacts, table: str, columns: list[str], size: int) -> pa.Table:
    """So many rows of some columns: whole row groups, evenly spread, the rest cut off."""
    file = pq.ParquetFile(facts.source.table_path(table), memory_map=True)
    num_groups = file.metadata.num_row_groups
    if size == file.metadata.num_rows or num_groups == 1:
        return file.read(columns=columns).slice(0, size)
    order = sorted(range(num_groups), key=lambda group: (group * 0.618034) % 1.0)
    chosen, rows = [], 0
    for group in order:
        if rows >= size:
            break
        chosen.append(group)
        rows += file.metadata.row_group(group).num_rows
    return file.read_row_groups(sorted(chosen), columns=columns).slice(0, size)


def _folded(values: pa.ChunkedArray, size: int, where: str) -> np.ndarray:
    """Foreign key as int64, -1 where missing, folded into the rows that are kept."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
            or pa.types.is_null(values.type)):
        raise DataError(where, "an integer foreign key", f"type {values.type}",
                        "map the values to row numbers of the target table")
    numbers = pc.fill_null(values.cast(pa.float64(), safe=False), -1).to_numpy()
    keys = np.nan_to_num(numbers, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
    return np.where(keys >= 0, keys % max(size, 1), -1) if size else np.full(len(keys), -1)


def _graph(
    facts: DatasetFacts, size: Mapping[str, int], node_time: Mapping[str, np.ndarray],
    keys: Mapping[tuple[str, str], np.ndarray],
) -> TemporalGraph[np.ndarray]:
    adjacency = {}
    for (table, column), values in keys.items():
        target, name = facts.tables[table].source.fkeys[column], f"{table}.{column}"
        here = np.flatnonzero(values >= 0)
        there = values[here]
        adjacency[Relation(table, name, target)] = time_sorted_adjacency(
            here, there, node_time[table], size[target])
        adjacency[Relation(target, f"rev_{name}", table)] = time_sorted_adjacency(
            there, here, node_time[target], size[table])
    task, none = facts.task, np.zeros(0, dtype=np.int64)
    return TemporalGraph(
        num_nodes=dict(size), node_time=dict(node_time), adjacency=adjacency, columns={},
        interactions=Interactions(none, none, none), entity_table=task.entity_table,
        item_table=task.item_table,
        hops=max(map(len, likely_routes(facts))),
        cutoff=facts.source.val_time, last_time=facts.source.test_time,
    )


def _seed_rows(
    facts: DatasetFacts, graph: TemporalGraph[np.ndarray], keys: Mapping[tuple[str, str], np.ndarray],
    val_time: int, num_windows: int | None,
) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """Training seeds with times, and the rows of all three splits.

    Stored labels are read as far as the bound allows. Without them a label row is assumed
    for every entity that has a row of a table on its way to the items in a label window.
    """
    task, window = facts.task, facts.task.window_s
    if facts.label_rows:
        file = pq.ParquetFile(facts.label_files["train"], memory_map=True)
        rows = next(file.iter_batches(MAX_ROWS, columns=[task.entity_col, task.time_col]), None)
        if rows is not None and rows.num_rows:
            table = pa.Table.from_batches([rows])
            times = to_seconds(to_timestamp(table.column(task.time_col), "labels", lambda *_: None))
            entity = table.column(task.entity_col).cast(pa.int64()).to_numpy()
            oldest = times.min() if num_windows is None else np.unique(times)[-num_windows:][0]
            newest = times >= oldest
            share = newest.mean()
            return entity[newest], times[newest], (
                int(facts.label_rows["train"] * share), facts.label_rows["val"], facts.label_rows["test"])
    entity, window_of = _active(facts, graph, keys, val_time, window)
    if num_windows is not None:
        newest = window_of >= -num_windows
        entity, window_of = entity[newest], window_of[newest]
    num_train = int((window_of < 0).sum())
    per_window = max(int((window_of == -1).sum()), 1)
    train = window_of < 0
    return entity[train], val_time + window_of[train] * window, (num_train, per_window, per_window)


def _active(
    facts: DatasetFacts, graph: TemporalGraph[np.ndarray], keys: Mapping[tuple[str, str], np.ndarray],
    val_time: int, window: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (entity, window) pairs with a row in the window; window 0 starts at val_time."""
    pairs = []
    for route in likely_routes(facts):
        hop = route[0]
        if not hop.forward and facts.tables[hop.dst].source.time_col:
            entity, time = keys[hop.dst, hop.fkey], graph.node_time[hop.dst]
            there = (entity >= 0) & (time <= val_time)
            pairs.append(np.stack([entity[there], (time[there] - val_time - 1) // window]))
    if not pairs:  # no event of one's own: every entity may have a row in every window
        times = np.concatenate([t[t != UNTIMED] for t in graph.node_time.values()])
        num = int(np.clip((val_time - times.min(initial=val_time)) // window, 1, 1_000))
        entity = np.tile(np.arange(graph.num_entities), num)[:MAX_ROWS]
        return entity, -1 - np.arange(num).repeat(graph.num_entities)[:MAX_ROWS]
    found = np.unique(np.concatenate(pairs, axis=1), axis=1)
    return found[0], found[1]
