"""Heterogeneous GraphSAGE with sum aggregation, computed only where it is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import Relation
from model_core.models.contextgnn.aggregate import aggregate_sum
from model_core.models.contextgnn.plan import LayerPlan


def module_key(table: str) -> str:
    """A table's name as a module name (a bare one may clash with a method, e.g. ``items``)."""
    return "table_" + table.replace(".", "_")


def parent_is_source(relation: Relation) -> bool:
    """Whether messages flow from the referenced row to the rows that refer to it."""
    return not relation.name.startswith(f"{relation.src}.")


class SageLayer(nn.Module):
    """``ReLU(LayerNorm(W_t x + sum over relations of W_r sum over neighbours of x))``.

    A weight commutes with a sum, so it is applied on the side with fewer rows, that is,
    the referenced table's: before aggregation where it sends, after where it receives.
    The root weights of all relations into a table act on the same vector and are one
    matrix here.

    Args:
        plan: Tables and relations of this layer.
        channels: Width of states.

    Source: Hamilton et al. 2017 (arXiv 1706.02216), one SAGE per relation, summed as in
    RelBench (arXiv 2407.20060); identical to it up to the merged parameters.
    """

    def __init__(self, plan: LayerPlan, channels: int) -> None:
        super().__init__()
        self.plan = plan
        tables = list(plan.node_hops)
        self.root = nn.ModuleDict({module_key(t): nn.Linear(channels, channels) for t in tables})
        self.norm = nn.ModuleDict({module_key(t): nn.LayerNorm(channels) for t in tables})
        self.relation = nn.ModuleDict({
            relation.key: nn.Linear(channels, channels, bias=False) for relation in plan.edge_hops
        })

    def forward(
        self, state: Mapping[str, Tensor], edge: Mapping[Relation, tuple[Tensor, Tensor]],
        num_out: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """One round of messages.

        Args:
            state: Table to float [n, channels].
            edge: Relation to (src, dst) positions of the edges that carry a message; a
                relation without edges may be missing.
            num_out: Table to the number of leading rows that get a new state.

        Returns:
            Table to float [num_out, channels].
        """
        result = {}
        for table in self.plan.node_hops:
            key, size = module_key(table), num_out[table]
            total = self.root[key](state[table][:size])
            for relation in self.plan.edge_hops:
                if relation.dst != table or relation not in edge:
                    continue
                src, dst = edge[relation]
                weight = self.relation[relation.key].weight
                sent = state[relation.src]
                if parent_is_source(relation):
                    messages = (sent @ weight.t()).index_select(0, src)
                    total = total + aggregate_sum(messages, dst, size)
                else:
                    received = aggregate_sum(sent.index_select(0, src), dst, size)
                    total = torch.addmm(total, received, weight.t())
            result[table] = torch.relu(self.norm[key](total))
        return result


class HeteroSage(nn.Module):
    """A stack of SageLayers over a sampled subgraph.

    Args:
        schema: Tables and relations.
        plans: One plan per layer.
        channels: Width of states.
    """

    def __init__(self, schema: GraphSchema, plans: tuple[LayerPlan, ...], channels: int) -> None:
        super().__init__()
        self.relations = schema.relations
        self.plans = plans
        self.layers = nn.ModuleList(SageLayer(plan, channels) for plan in plans)

    def forward(
        self,
        state: Mapping[str, Tensor],
        edge: Mapping[Relation, tuple[Tensor, Tensor]],
        num_rows: Mapping[str, tuple[int, ...]],
        num_edges: Mapping[Relation, tuple[int, ...]],
    ) -> dict[str, Tensor]:
        """States after the last layer.

        Args:
            state: Table to float [n, channels], ordered by hop.
            edge: Relation to (src, dst), sorted by hop.
            num_rows: Table to the rows within the first 1, 2, … hops (cumulated). Empty
                to compute every row; states that are read are the same either way.
            num_edges: The same for edges.

        Returns:
            Table to states; only the leading hops that the plan names.
        """
        for plan, layer in zip(self.plans, self.layers, strict=True):
            if num_rows:
                size = {t: num_rows[t][hops - 1] for t, hops in plan.node_hops.items()}
                cut = {r: num_edges[r][hops - 1] for r, hops in plan.edge_hops.items()}
                used = {r: (edge[r][0][:n], edge[r][1][:n]) for r, n in cut.items() if n}
            else:
                size = {t: state[t].shape[0] for t in plan.node_hops}
                used = {r: edge[r] for r in plan.edge_hops}
            state = layer(state, used, size)
        return dict(state)
