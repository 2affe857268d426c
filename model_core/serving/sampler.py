"""The temporal neighbour sampler for serving: numpy only, strategy ``last``.

The same nodes, edges and order as ``model_core.sampling.neighbors.sample``, whose
docstring states the semantics; tests hold the two equal. A container that serves a
model needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_core.errors import ConfigError
from model_core.graph.temporal_graph import Adjacency, Relation, TemporalGraph


@dataclass(frozen=True)
class SubgraphArrays:
    """Disjoint temporal subgraphs of B seeds (see ``model_core.sampling.subgraph``).

    Attributes:
        seed_table: Table of the seeds.
        seed_time: int64 [B], UTC seconds.
        node: Table to int64 [N_t], rows in the full graph.
        seed: Table to int64 [N_t], which seed a node belongs to.
        edge: Relation to (src, dst), int64 [E_r] each, positions into ``node``.
        num_nodes_per_hop: Table to a tuple of length hops + 1.
        num_edges_per_hop: Relation to a tuple of length hops.
    """

    seed_table: str
    seed_time: np.ndarray
    node: Mapping[str, np.ndarray]
    seed: Mapping[str, np.ndarray]
    edge: Mapping[Relation, tuple[np.ndarray, np.ndarray]]
    num_nodes_per_hop: Mapping[str, tuple[int, ...]]
    num_edges_per_hop: Mapping[Relation, tuple[int, ...]]

    @property
    def num_seeds(self) -> int:
        return len(self.seed_time)


def sample(
    graph: TemporalGraph[np.ndarray],
    seeds: np.ndarray,
    seed_time: np.ndarray,
    fan_out: Sequence[int],
) -> SubgraphArrays:
    """Draw the newest neighbours around every seed.

    Args:
        graph: Graph as (memory-mapped) arrays.
        seeds: int64 [B], rows of the entity table.
        seed_time: int64 [B], UTC seconds, inclusive bound.
        fan_out: Neighbours per node and relation at each hop.

    Returns:
        What the torch sampler returns with strategy ``last``, as arrays.

    Raises:
        ConfigError: The batch is too large for 64-bit (seed, row) keys.
    """
    seeds, seed_time = np.asarray(seeds, dtype=np.int64), np.asarray(seed_time, dtype=np.int64)
    most = max(graph.num_nodes.values())
    if len(seeds) * most >= 2**63:
        raise ConfigError(f"batch of {len(seeds)} seeds", "fewer than 2**63 (seed, row) pairs",
                          str(len(seeds) * most), "score fewer users at a time")
    nothing = np.zeros(0, dtype=np.int64)
    nodes = {table: _Nodes(num_rows) for table, num_rows in graph.num_nodes.items()}
    roots = np.arange(len(seeds), dtype=np.int64) * graph.num_entities + seeds
    for table, found in nodes.items():
        found.add_hop(roots if table == graph.entity_table else nothing)
    edges: dict[Relation, list[tuple[np.ndarray, np.ndarray]]] = {r: [] for r in graph.relations}

    for k in fan_out:
        drawn: dict[Relation, tuple[np.ndarray, np.ndarray]] = {}
        for relation, adjacency in graph.adjacency.items():
            base, row, seed = nodes[relation.dst].frontier()
            if len(row) == 0 or len(adjacency.neighbor) == 0 or k == 0:
                continue
            first, end = _visible_range(adjacency, row, seed_time[seed])
            count = np.minimum(end - first, k)
            segment = np.repeat(np.arange(len(count)), count)
            shift = end - count - (np.cumsum(count) - count)
            position = np.arange(len(segment)) + shift[segment]
            key = seed[segment] * graph.num_nodes[relation.src] + adjacency.neighbor[position]
            drawn[relation] = base + segment, np.asarray(key)
        for table, found in nodes.items():
            into = [relation for relation in drawn if relation.src == table]
            if not into:
                found.add_hop(nothing)
                continue
            src = found.resolve(np.concatenate([drawn[relation][1] for relation in into]))
            bounds = np.cumsum([len(drawn[relation][1]) for relation in into])[:-1]
            for relation, part in zip(into, np.split(src, bounds), strict=True):
                edges[relation].append((part, drawn[relation][0]))
        for relation in graph.relations:
            if relation not in drawn:
                edges[relation].append((nothing, nothing))

    return SubgraphArrays(
        seed_table=graph.entity_table,
        seed_time=seed_time,
        node={table: np.concatenate(found.rows) for table, found in nodes.items()},
        seed={table: np.concatenate(found.seeds) for table, found in nodes.items()},
        edge={
            relation: (np.concatenate([nothing, *(src for src, _ in hops)]),
                       np.concatenate([nothing, *(dst for _, dst in hops)]))
            for relation, hops in edges.items()
        },
        num_nodes_per_hop={
            table: tuple(len(rows) for rows in found.rows) for table, found in nodes.items()
        },
        num_edges_per_hop={
            relation: tuple(len(src) for src, _ in hops) for relation, hops in edges.items()
        },
    )


class _Nodes:
    """Nodes of one table; keys of one hop are sorted, so a key's place is its position."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = max(num_rows, 1)
        self.keys: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []
        self.seeds: list[np.ndarray] = []
        self.bases: list[int] = []
        self.num_nodes = 0

    def add_hop(self, key: np.ndarray) -> None:
        self.bases.append(self.num_nodes)
        self.num_nodes += len(key)
        self.keys.append(key)
        seed = key // self.num_rows
        self.seeds.append(seed)
        self.rows.append(key - seed * self.num_rows)

    def frontier(self) -> tuple[int, np.ndarray, np.ndarray]:
        return self.bases[-1], self.rows[-1], self.seeds[-1]

    def resolve(self, key: np.ndarray) -> np.ndarray:
        """Positions of the given keys; those not seen before become the next hop."""
        distinct, inverse = np.unique(key, return_inverse=True)
        position = np.full(len(distinct), -1, dtype=np.int64)
        for base, known in zip(self.bases, self.keys, strict=True):
            if len(known):
                place = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
                position = np.where(known[place] == distinct, place + base, position)
        new = position < 0
        position = np.where(new, self.num_nodes - 1 + np.cumsum(new), position)
        self.add_hop(distinct[new])
        return position[inverse]


def _visible_range(
    adjacency: Adjacency[np.ndarray], row: np.ndarray, bound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Edges of each row that are not later than its bound: a binary search in every segment."""
    first, end = np.array(adjacency.indptr[row]), np.array(adjacency.indptr[row + 1])
    newest = adjacency.time[np.maximum(end - 1, 0)]
    cut = np.flatnonzero((end > first) & (newest > bound))
    if len(cut) == 0:
        return first, end
    low, high, limit = first[cut], end[cut] - 1, bound[cut]
    for _ in range(int((high - low).max()).bit_length()):
        mid = (low + high) >> 1
        seen = adjacency.time[mid] <= limit
        low, high = np.where(seen, mid + 1, low), np.where(seen, high, mid)
    end[cut] = low
    return first, end
