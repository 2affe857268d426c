"""Subgraph: what the sampler draws around a batch of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from model_core.graph.temporal_graph import Relation


@dataclass(frozen=True)
class Subgraph:
    """Disjoint temporal subgraphs of B seeds, laid out as one typed graph.

    Within one seed a row appears once; two seeds never share a node. Nodes of a table
    are ordered by the hop that first reached them, so a prefix holds the first hops.

    Attributes:
        seed_table: Table of the seeds.
        seed_time: int64 [B], UTC seconds.
        node: Table to int64 [N_t], rows in the full graph. The first B nodes of
            ``seed_table`` are the seeds, in order.
        seed: Table to int64 [N_t], which seed (0..B-1) a node belongs to.
        edge: Relation to (src, dst), both int64 [E_r], positions into ``node``; sorted by hop.
        num_nodes_per_hop: Table to a tuple of length hops + 1.
        num_edges_per_hop: Relation to a tuple of length hops.
    """

    seed_table: str
    seed_time: torch.Tensor
    node: Mapping[str, torch.Tensor]
    seed: Mapping[str, torch.Tensor]
    edge: Mapping[Relation, tuple[torch.Tensor, torch.Tensor]]
    num_nodes_per_hop: Mapping[str, tuple[int, ...]]
    num_edges_per_hop: Mapping[Relation, tuple[int, ...]]

    @property
    def num_seeds(self) -> int:
        return len(self.seed_time)
