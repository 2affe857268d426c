"""The temporal neighbour sampler: a tensor program over time-sorted adjacency.

It runs on whichever device holds the graph. Per hop and relation it takes a binary
search and a gather; per hop and table one sort removes rows that were reached twice.
``reference.py`` says the same thing slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from model_core.errors import ConfigError
from model_core.graph.temporal_graph import Relation, TemporalGraph
from model_core.sampling.distinct import distinct
from model_core.sampling.draws import draw_last, draw_uniform, visible_range
from model_core.sampling.subgraph import Subgraph

Strategy = Literal["last", "uniform"]

#: A probe must stay small whatever it finds: at most this many seeds, the first few by
#: themselves, the others in chunks of about this many edges.
MAX_PROBE_SEEDS = 256
PROBE_CHUNK = 4
PROBE_EDGES = 200_000
#: A fan-out is too large if a few seeds would draw more edges than this in one hop.
MAX_PROBE_EDGES = 4_000_000


def sample(
    graph: TemporalGraph[Tensor],
    seeds: Tensor,
    seed_time: Tensor,
    fan_out: Sequence[int],
    *,
    strategy: Strategy = "last",
    generator: torch.Generator | None = None,
) -> Subgraph:
    """Draw one disjoint temporal subgraph around every seed.

    At hop h every node first reached at hop h - 1 (the seeds at hop 0) draws, for each
    relation into its table, up to ``fan_out[h]`` in-neighbours that are not later than
    its seed's time; rows of untimed tables are always visible. Within one seed a row is
    one node: an edge to a row reached before points at the existing node. The seed
    itself is kept even if its own row is later than the seed time; no other row is.

    The order is fixed by the result, not by the way it was computed: nodes of one hop
    are sorted by (seed, row), edges of one hop by (dst node, time, src row).

    Args:
        graph: Graph as tensors (``TemporalGraph.to_torch``).
        seeds: int64 [B], rows of the entity table; repeats allowed.
        seed_time: int64 [B], UTC seconds, inclusive bound.
        fan_out: Neighbours per node and relation at each hop; its length is the depth.
        strategy: ``"last"`` takes the newest neighbours, the older row first on equal
            times; ``"uniform"`` takes a random subset without replacement.
        generator: For ``"uniform"``; may live on the CPU while the graph does not. The
            same generator state gives the same subgraph. When unset, a fresh generator
            with seed 0, so that scoring is repeatable.

    Returns:
        The subgraph; every table and relation of the graph has an entry.

    Raises:
        ConfigError: Negative fan-out, unknown strategy, or a batch too large for 64-bit
            (seed, row) keys.

    Source: Hamilton et al. 2017 (GraphSAGE), with the temporal, disjoint sampling of
    Robinson et al. 2024 (RelBench). Unlike samplers that walk node by node, ``"uniform"``
    draws all nodes of a hop at once, so its random stream is this module's own.
    """
    subgraph = _grow(graph, seeds, seed_time, fan_out, strategy, generator)
    assert subgraph is not None  # only a limited growth gives up
    return subgraph


def fan_out_for(
    graph: TemporalGraph[Tensor],
    hops: int,
    num_neighbors: int,
    max_nodes_per_seed: int,
    probe_seeds: Tensor,
    probe_times: Tensor,
) -> tuple[tuple[int, ...], float]:
    """Fan-out ``N // 2**h`` per hop, with N halved until the mean subgraph fits.

    Deep graphs grow by a factor of relations times fan-out at every hop, so one default
    fan-out cannot suit all schemas. Strategy ``last`` is probed on at most 256 of the
    given seeds, evenly spaced, a few at a time, and a trial stops as soon as it is
    known not to fit: memory stays bounded for any graph.

    Args:
        graph: Graph as tensors.
        hops: Depth.
        num_neighbors: N of the first trial.
        max_nodes_per_seed: Largest mean number of nodes per seed.
        probe_seeds, probe_times: int64 [P], seeds as they occur in training.

    Returns:
        ``(fan_out, mean_nodes)``; all ones if even that does not fit. With no probe
        seeds the first trial is accepted and the mean is 0.
    """
    step = max(-(-len(probe_seeds) // MAX_PROBE_SEEDS), 1)
    seeds, times = probe_seeds[::step], probe_times[::step]
    n = num_neighbors
    while True:
        fan_out = tuple(max(n // 2**hop, 1) for hop in range(hops))
        mean_nodes = _mean_nodes(graph, seeds, times, fan_out,
                                 None if n == 1 else max_nodes_per_seed * len(seeds))
        if mean_nodes is not None:
            return fan_out, mean_nodes
        n //= 2


def _mean_nodes(
    graph: TemporalGraph[Tensor], seeds: Tensor, times: Tensor, fan_out: tuple[int, ...],
    budget: int | None,
) -> float | None:
    """Mean nodes per seed; None as soon as their sum exceeds the budget."""
    total, at, width = 0, 0, PROBE_CHUNK
    while at < len(seeds):
        subgraph = _grow(
            graph, seeds[at : at + width], times[at : at + width], fan_out, "last", None,
            max_nodes=None if budget is None else budget - total,
            max_edges=None if budget is None else MAX_PROBE_EDGES,
        )
        if subgraph is None:
            if width == PROBE_CHUNK:
                return None
            width = PROBE_CHUNK  # perhaps only the chunk was too large
            continue
        at += subgraph.num_seeds
        total += sum(len(node) for node in subgraph.node.values())
        size = sum(len(src) for src, _ in subgraph.edge.values()) / subgraph.num_seeds
        width = max(int(PROBE_EDGES / max(size, 1.0)), PROBE_CHUNK)
    return total / max(len(seeds), 1)


def _grow(
    graph: TemporalGraph[Tensor],
    seeds: Tensor,
    seed_time: Tensor,
    fan_out: Sequence[int],
    strategy: Strategy,
    generator: torch.Generator | None,
    max_nodes: int | None = None,
    max_edges: int | None = None,
) -> Subgraph | None:
    """``sample``, giving up (None) once there are too many nodes, or edges in one hop."""
    _check(graph, seeds, seed_time, fan_out, strategy)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    nodes = {table: _Nodes(num_rows, len(seeds)) for table, num_rows in graph.num_nodes.items()}
    roots = torch.arange(len(seeds), device=seeds.device) * graph.num_entities + seeds
    for table, found in nodes.items():
        found.add_hop(roots if table == graph.entity_table else roots[:0])
    edges: dict[Relation, list[tuple[Tensor, Tensor]]] = {r: [] for r in graph.relations}

    for k in fan_out:
        drawn: dict[Relation, tuple[Tensor, Tensor]] = {}  # (dst position, key of the src row)
        num_drawn = 0
        for relation, adjacency in graph.adjacency.items():
            base, row, seed = nodes[relation.dst].frontier()
            if len(row) == 0 or len(adjacency.neighbor) == 0 or k == 0:
                continue
            first, end = visible_range(adjacency, row, seed_time[seed])
            if max_edges is not None:
                num_drawn += int((end - first).clamp(max=k).sum())
                if num_drawn > max_edges:
                    return None
            if strategy == "last":
                segment, position = draw_last(first, end, k)
            else:
                segment, position = draw_uniform(first, end, k, generator)
            key = seed[segment] * graph.num_nodes[relation.src] + adjacency.neighbor[position]
            drawn[relation] = base + segment, key
        for table, found in nodes.items():
            into = [relation for relation in drawn if relation.src == table]
            if not into:
                found.add_hop(roots[:0])
                continue
            src = found.resolve(torch.cat([drawn[relation][1] for relation in into]))
            sizes = [len(drawn[relation][1]) for relation in into]
            for relation, part in zip(into, src.split(sizes), strict=True):
                edges[relation].append((part, drawn[relation][0]))
        for relation in graph.relations:
            if relation not in drawn:
                edges[relation].append((roots[:0], roots[:0]))
        if max_nodes is not None and sum(found.num_nodes for found in nodes.values()) > max_nodes:
            return None

    return Subgraph(
        seed_table=graph.entity_table,
        seed_time=seed_time,
        node={table: torch.cat(found.rows) for table, found in nodes.items()},
        seed={table: torch.cat(found.seeds) for table, found in nodes.items()},
        edge={
            relation: (torch.cat([src for src, _ in hops] or [roots[:0]]),
                       torch.cat([dst for _, dst in hops] or [roots[:0]]))
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
    """Nodes of one table, hop by hop.

    A node's key is ``seed * num_rows + row``. The keys of one hop are sorted and its
    nodes lie in that order, so a key's place in its hop is also its node's position.
    """

    def __init__(self, num_rows: int, num_seeds: int) -> None:
        self.num_rows = max(num_rows, 1)
        self.num_keys = self.num_rows * num_seeds
        self.keys: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.seeds: list[Tensor] = []
        self.bases: list[int] = []
        self.num_nodes = 0

    def add_hop(self, key: Tensor) -> None:
        self.bases.append(self.num_nodes)
        self.num_nodes += len(key)
        self.keys.append(key)
        seed = torch.div(key, self.num_rows, rounding_mode="floor")
        self.seeds.append(seed)
        self.rows.append(key - seed * self.num_rows)

    def frontier(self) -> tuple[int, Tensor, Tensor]:
        """First position, rows and seeds of the newest hop."""
        return self.bases[-1], self.rows[-1], self.seeds[-1]

    def resolve(self, key: Tensor) -> Tensor:
        """Positions of the given keys; those not seen before become the next hop."""
        keys, place_of = distinct(key, self.num_keys)
        position = torch.full_like(keys, -1)
        for base, known in zip(self.bases, self.keys, strict=True):
            if len(known):
                place = torch.searchsorted(known, keys).clamp_(max=len(known) - 1)
                position = torch.where(known[place] == keys, place + base, position)
        new = position < 0
        position = torch.where(new, self.num_nodes - 1 + new.cumsum(0), position)
        self.add_hop(keys[new])
        return position[place_of]


def _check(
    graph: TemporalGraph[Tensor], seeds: Tensor, seed_time: Tensor, fan_out: Sequence[int],
    strategy: str,
) -> None:
    assert seeds.dtype == seed_time.dtype == torch.int64
    assert seeds.shape == seed_time.shape
    if strategy not in ("last", "uniform"):
        raise ConfigError("sampling strategy", "'last' or 'uniform'", repr(strategy),
                          "set model.strategy to one of them")
    if any(k < 0 for k in fan_out):
        raise ConfigError("fan-out", "numbers of neighbours ≥ 0", str(tuple(fan_out)),
                          "give one non-negative number per hop")
    table, most = max(graph.num_nodes.items(), key=lambda entry: entry[1])
    if len(seeds) * most >= 2**63:
        raise ConfigError(
            f"batch of {len(seeds)} seeds over table {table!r} of {most} rows",
            "fewer than 2**63 (seed, row) pairs", str(len(seeds) * most), "lower train.batch_size",
        )
