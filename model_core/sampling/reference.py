"""The sampler once more, one node at a time: slow, and meant to be obviously right.

Tests hold ``neighbors.sample`` against this file; nothing else imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model_core.graph.temporal_graph import Relation, TemporalGraph
from model_core.sampling.subgraph import Subgraph

#: From (seed, relation, dst row, visible edge positions, k) to the positions drawn.
Choose = Callable[[int, Relation, int, list[int], int], list[int]]


def choose_last(seed: int, relation: Relation, row: int, visible: list[int], k: int) -> list[int]:
    """The k newest edges, oldest of them first."""
    return visible[max(len(visible) - k, 0):]


@dataclass(frozen=True)
class ReferenceSubgraph:
    """What Subgraph holds, as lists.

    Attributes:
        node: Table to (seed, row) of every node, in order.
        edge: Relation to (src position, dst position), in order.
        num_nodes_per_hop, num_edges_per_hop: As in Subgraph.
    """

    node: dict[str, list[tuple[int, int]]]
    edge: dict[Relation, list[tuple[int, int]]]
    num_nodes_per_hop: dict[str, tuple[int, ...]]
    num_edges_per_hop: dict[Relation, tuple[int, ...]]

    @classmethod
    def of(cls, subgraph: Subgraph) -> ReferenceSubgraph:
        """The same form of a subgraph made of tensors or arrays, for comparison."""
        return cls(
            {t: list(zip(subgraph.seed[t].tolist(), node.tolist(), strict=True))
             for t, node in subgraph.node.items()},
            {r: list(zip(src.tolist(), dst.tolist(), strict=True))
             for r, (src, dst) in subgraph.edge.items()},
            dict(subgraph.num_nodes_per_hop), dict(subgraph.num_edges_per_hop),
        )


def visible_edges(
    graph: TemporalGraph[np.ndarray], relation: Relation, row: int, bound: int
) -> list[int]:
    """Positions of a row's in-edges whose neighbour is not later than the bound."""
    adjacency = graph.adjacency[relation]
    first, end = int(adjacency.indptr[row]), int(adjacency.indptr[row + 1])
    return [at for at in range(first, end) if adjacency.time[at] <= bound]


def reference_sample(
    graph: TemporalGraph[np.ndarray],
    seeds: Sequence[int],
    seed_time: Sequence[int],
    fan_out: Sequence[int],
    choose: Choose = choose_last,
) -> ReferenceSubgraph:
    """``neighbors.sample`` with dicts and loops; ``choose`` is the strategy."""
    node: dict[str, list[tuple[int, int]]] = {table: [] for table in graph.num_nodes}
    edge: dict[Relation, list[tuple[int, int]]] = {relation: [] for relation in graph.relations}
    node[graph.entity_table] = [(b, int(row)) for b, row in enumerate(seeds)]
    num_nodes = {table: [len(rows)] for table, rows in node.items()}
    num_edges: dict[Relation, list[int]] = {relation: [] for relation in graph.relations}
    frontier = {table: list(rows) for table, rows in node.items()}

    for k in fan_out:
        drawn: dict[Relation, list[tuple[tuple[int, int], tuple[int, int]]]] = {}
        for relation in graph.relations:
            drawn[relation] = []
            for seed, row in frontier[relation.dst]:
                visible = visible_edges(graph, relation, row, int(seed_time[seed]))
                for at in choose(seed, relation, row, visible, k):
                    neighbor = int(graph.adjacency[relation].neighbor[at])
                    drawn[relation].append(((seed, neighbor), (seed, row)))
        for table in node:
            reached = {src for r, pairs in drawn.items() if r.src == table for src, _ in pairs}
            frontier[table] = sorted(reached - set(node[table]))
            node[table] += frontier[table]
            num_nodes[table].append(len(frontier[table]))
        place = {t: {pair: at for at, pair in enumerate(rows)} for t, rows in node.items()}
        for relation, pairs in drawn.items():
            edge[relation] += [(place[relation.src][src], place[relation.dst][dst])
                               for src, dst in pairs]
            num_edges[relation].append(len(pairs))

    return ReferenceSubgraph(
        node, edge,
        {table: tuple(counts) for table, counts in num_nodes.items()},
        {relation: tuple(counts) for relation, counts in num_edges.items()},
    )


def replay(
    graph: TemporalGraph[np.ndarray],
    seeds: Sequence[int],
    seed_time: Sequence[int],
    fan_out: Sequence[int],
    subgraph: Subgraph,
) -> ReferenceSubgraph:
    """Grow the reference with the choices that a subgraph of any strategy made.

    Every choice is checked to be allowed: as many edges as fan-out and visible
    neighbours permit, all of them visible, none twice. What comes back must equal the
    subgraph; if it does, the subgraph is a legal draw in the right order.

    Raises:
        AssertionError: A choice was not allowed.
    """
    given = ReferenceSubgraph.of(subgraph)
    chosen: dict[tuple[int, Relation, int], list[int]] = {}
    for relation, pairs in given.edge.items():
        for src, dst in pairs:
            seed, row = given.node[relation.dst][dst]
            assert given.node[relation.src][src][0] == seed, "an edge between two seeds"
            chosen.setdefault((seed, relation, row), []).append(given.node[relation.src][src][1])

    def choose(seed: int, relation: Relation, row: int, visible: list[int], k: int) -> list[int]:
        rows = chosen.get((seed, relation, row), [])
        position = {int(graph.adjacency[relation].neighbor[at]): at for at in visible}
        assert len(position) == len(visible), "a foreign key links two rows once"
        assert len(rows) == len(set(rows)) == min(k, len(visible)), "wrong number of neighbours"
        assert set(rows) <= set(position), "a neighbour that is not visible"
        picked = [position[neighbor] for neighbor in rows]
        assert picked == sorted(picked), "edges out of order"
        return picked

    return reference_sample(graph, seeds, seed_time, fan_out, choose)
