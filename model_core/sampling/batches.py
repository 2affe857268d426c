"""Batch: a subgraph with the features of its rows, ready for a model.

A row's encoding does not depend on the seed that reached it, so features are held
once per distinct row (``number``, ``category``, ``text``) and nodes point into them
(``row_of``): a model encodes each distinct row once and gathers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph
from model_core.priors.features import Candidates
from model_core.sampling.distinct import distinct
from model_core.sampling.subgraph import Subgraph

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class Batch:
    """Tensors of one forward pass. R_t distinct rows and N_t nodes of table t, B seeds.

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
        num_nodes_per_hop, num_edges_per_hop: As in Subgraph.
        shared_age: Timed table to (float32 [A], int64 [N_t]): the distinct ages in days, and
            which of them a node has. The same as ``age_days``, for models that encode each once.
        parent: Relation to int64 [N_t] over the referring table's nodes: the node that each
            refers to, -1 for none. The same edges as in ``edge``; left out where a node refers
            to several, which foreign keys never do.
        row: Table to int64 [R_t], the graph's row behind each distinct row; -1 for zeros.
        encoded: Table to (``SharedRows``, int64 [N_t]), what a model makes of rows and which of
            them a node has, where that is known already (``models.row_encodings``; in
            evaluation only).
    """

    num_seeds: int
    number: Mapping[str, torch.Tensor]
    category: Mapping[str, torch.Tensor]
    text: Mapping[str, torch.Tensor]
    row_of: Mapping[str, torch.Tensor]
    age_days: Mapping[str, torch.Tensor]
    seed: Mapping[str, torch.Tensor]
    edge: Mapping[Relation, tuple[torch.Tensor, torch.Tensor]]
    item: torch.Tensor
    prior_seed: torch.Tensor
    prior_item: torch.Tensor
    prior_feature: torch.Tensor
    num_nodes_per_hop: Mapping[str, tuple[int, ...]]
    num_edges_per_hop: Mapping[Relation, tuple[int, ...]]
    shared_age: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    parent: Mapping[Relation, torch.Tensor] = field(default_factory=dict)
    row: Mapping[str, torch.Tensor] = field(default_factory=dict)
    encoded: Mapping[str, Any] = field(default_factory=dict)


def make_batch(
    graph: TemporalGraph[torch.Tensor], subgraph: Subgraph, candidates: Candidates | None = None
) -> Batch:
    """Look up the features of a subgraph's rows, each distinct row once.

    Args:
        graph: Graph as tensors.
        subgraph: Sampled around the seeds.
        candidates: Candidate pairs of the same seeds; none when unset.

    A seed whose own row is later than its seed time gets a row of zeros and age 0.
    """
    number, category, text, row_of, age_days, shared_age, row = {}, {}, {}, {}, {}, {}, {}
    for table, node in subgraph.node.items():
        columns = graph.columns[table]
        alike = node if columns.twin is None else columns.twin[node]
        rows, row_of[table] = distinct(alike, graph.num_nodes[table])
        time = graph.node_time[table][node]
        bound = subgraph.seed_time[subgraph.seed[table]]
        parts = [columns.number[rows], columns.category[rows], columns.text[rows]]
        if table == subgraph.seed_table and bool((later := time > bound).any()):
            # The root is kept though its row does not exist yet: it has no features, no age.
            parts = [torch.cat([part, part.new_zeros((1, part.shape[1]))]) for part in parts]
            row_of[table] = torch.where(later, len(rows), row_of[table])
            rows = torch.cat([rows, rows.new_full((1,), -1)])
            time = torch.where(later, bound, time)
        number[table], category[table], text[table] = parts
        row[table] = rows
        age = (bound - time).to(torch.float64) / SECONDS_PER_DAY
        age_days[table] = torch.where(time == UNTIMED, 0.0, age).to(torch.float32)
        shared_age[table] = torch.unique(age_days[table], return_inverse=True)
    found = candidates or Candidates.none(graph.interactions.target is not None)
    device = subgraph.seed_time.device
    return Batch(
        num_seeds=subgraph.num_seeds,
        prior_seed=torch.from_numpy(found.seed).to(device),
        prior_item=torch.from_numpy(found.item).to(device),
        prior_feature=torch.from_numpy(found.feature).to(device),
        number=number, category=category, text=text, row_of=row_of, age_days=age_days,
        seed=subgraph.seed, edge=subgraph.edge, item=subgraph.node[graph.item_table],
        num_nodes_per_hop=subgraph.num_nodes_per_hop,
        num_edges_per_hop=subgraph.num_edges_per_hop,
        shared_age=shared_age, parent=_parents(subgraph), row=row,
    )


def _parents(subgraph: Subgraph) -> dict[Relation, torch.Tensor]:
    """``Batch.parent``."""
    result = {}
    for relation, (src, dst) in subgraph.edge.items():
        child, parent = (dst, src) if relation.parent_is_source else (src, dst)
        table = relation.dst if relation.parent_is_source else relation.src
        node = torch.full_like(subgraph.node[table], -1)
        node[child] = parent
        if int((node >= 0).sum()) == len(child):
            result[relation] = node
    return result
