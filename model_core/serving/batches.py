"""Features of a sampled subgraph for serving: numpy only.

Field for field what ``model_core.sampling.batches.make_batch`` gives; tests hold the
two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph
from model_core.priors.features import Candidates
from model_core.serving.sampler import SubgraphArrays

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class BatchArrays:
    """Arrays of one forward pass. R_t distinct rows and N_t nodes of table t, B seeds.

    Attributes:
        num_seeds: B.
        number, category, text: Table to features of distinct rows, [R_t, ·].
        row_of: Table to int64 [N_t], a node's position among the distinct rows.
        age_days: Table to float32 [N_t], (seed time - row time) in days; 0 where untimed.
        seed: Table to int64 [N_t], the seed a node belongs to.
        edge: Relation to (src, dst), int64 [E_r] each, positions among nodes.
        item: int64 [N_item], catalogue row of every node of the item table.
        prior_seed, prior_item, prior_feature: Candidate pairs, int64 [M] twice and float32
            [M, F] (``priors.features``); M = 0 for a model without pair priors.
        num_nodes_per_hop, num_edges_per_hop: As in SubgraphArrays.
    """

    num_seeds: int
    number: Mapping[str, np.ndarray]
    category: Mapping[str, np.ndarray]
    text: Mapping[str, np.ndarray]
    row_of: Mapping[str, np.ndarray]
    age_days: Mapping[str, np.ndarray]
    seed: Mapping[str, np.ndarray]
    edge: Mapping[Relation, tuple[np.ndarray, np.ndarray]]
    item: np.ndarray
    prior_seed: np.ndarray
    prior_item: np.ndarray
    prior_feature: np.ndarray
    num_nodes_per_hop: Mapping[str, tuple[int, ...]]
    num_edges_per_hop: Mapping[Relation, tuple[int, ...]]


def make_batch(
    graph: TemporalGraph[np.ndarray], subgraph: SubgraphArrays, candidates: Candidates | None = None
) -> BatchArrays:
    """Look up the features of a subgraph's rows, each distinct row once."""
    number, category, text, row_of, age_days = {}, {}, {}, {}, {}
    for table, node in subgraph.node.items():
        columns = graph.columns[table]
        alike = node if columns.twin is None else columns.twin[node]
        rows, inverse = np.unique(alike, return_inverse=True)
        row_of[table] = inverse.astype(np.int64)
        time = np.asarray(graph.node_time[table][node])
        bound = subgraph.seed_time[subgraph.seed[table]]
        parts = [np.asarray(part[rows]) for part in (columns.number, columns.category, columns.text)]
        if table == subgraph.seed_table and (later := time > bound).any():
            parts = [np.concatenate([part, np.zeros_like(part, shape=(1, part.shape[1]))])
                     for part in parts]
            row_of[table] = np.where(later, len(rows), row_of[table])
            time = np.where(later, bound, time)
        number[table], category[table], text[table] = parts
        # The difference wraps around for UNTIMED rows, whose age is then replaced by 0.
        age = (bound - time).astype(np.float64) / SECONDS_PER_DAY
        age_days[table] = np.where(time == UNTIMED, 0.0, age).astype(np.float32)
    found = candidates or Candidates.none(graph.interactions.target is not None)
    return BatchArrays(
        num_seeds=subgraph.num_seeds,
        prior_seed=found.seed, prior_item=found.item, prior_feature=found.feature,
        number=number, category=category, text=text, row_of=row_of, age_days=age_days,
        seed=subgraph.seed, edge=subgraph.edge, item=subgraph.node[graph.item_table],
        num_nodes_per_hop=subgraph.num_nodes_per_hop,
        num_edges_per_hop=subgraph.num_edges_per_hop,
    )
