"""Heterogeneous GraphSAGE with sum aggregation, computed only where it is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import Relation
from model_core.models.contextgnn.aggregate import aggregate_sum
from model_core.models.contextgnn.plan import LayerPlan

Edges = Mapping[Relation, tuple[Tensor, Tensor]]


def module_key(table: str) -> str:
    """A table's name as a module name (a bare one may clash with a method, e.g. ``items``)."""
    return "table_" + table.replace(".", "_")


def parent_is_source(relation: Relation) -> bool:
    """Whether messages flow from the referenced row to the rows that refer to it."""
    return not relation.name.startswith(f"{relation.src}.")


class SageLayer(nn.Module):
    """``ReLU(LayerNorm(W_t x + sum over relations of W_r sum over neighbours of x))``.

    Edges that are walked backwards count as relations of their own.

    A weight commutes with a sum, so it is applied on the side with fewer rows, that is,
    the referenced table's: before aggregation where it sends, after where it receives.
    The root weights of all relations into a table act on the same vector and are one
    matrix here.

    Args:
        plan: Tables and relations of this layer.
        channels: Width of states.

    Source: Hamilton et al. 2017 (arXiv 1706.02216), one SAGE per relation, summed as in
    RelBench (arXiv 2407.20060); identical to it up to the merged parameters. The release
    of ContextGNN adds the reverse of every sampled edge to the subgraph, in all layers
    and with the weights of the reverse relation; here only those that end in a readout.
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
        self.back = nn.ModuleDict({
            relation.key: nn.Linear(channels, channels, bias=False) for relation in plan.back_hops
        })

    def forward(
        self, state: Mapping[str, Tensor], edge: Edges, back: Edges, num_out: Mapping[str, int],
        place: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """One round of messages.

        Args:
            state: Table to float [n, channels].
            edge: Relation to (src, dst) positions of the edges that carry a message; a
                relation without edges may be missing.
            back: Relation to (src, dst) of the edges that are walked from dst to src.
            num_out: Table to the number of leading rows that get a new state.
            place: Table to int64 [N]: where nodes share rows of ``state``, the row of
                every node. Such a table gets one new state per node.

        Returns:
            Table to float [num_out or N, channels].
        """
        result = {}
        for table in self.plan.node_hops:
            key, size = module_key(table), num_out[table]
            total = self.root[key](state[table][:size])
            if table in place:
                total, size = total.index_select(0, place[table]), len(place[table])
            for relation in self.plan.edge_hops:
                if relation.dst == table and relation in edge:
                    src, dst = edge[relation]
                    total = _add_messages(total, self.relation[relation.key], state[relation.src],
                                          src, dst, parent_is_source(relation))
            for relation in self.plan.back_hops:
                if relation.src == table and relation in back:
                    src, dst = back[relation]
                    total = _add_messages(total, self.back[relation.key], state[relation.dst],
                                          dst, src, not parent_is_source(relation))
            result[table] = torch.relu(self.norm[key](total))
        return result


def _add_messages(
    total: Tensor, linear: nn.Module, sent: Tensor, source: Tensor, target: Tensor,
    parent_sends: bool,
) -> Tensor:
    """``total`` plus the weighted sum of what arrives at each of its rows."""
    weight, size = linear.weight, total.shape[0]
    if parent_sends:
        messages = (sent @ weight.t()).index_select(0, source)
        return total + aggregate_sum(messages, target, size)
    return torch.addmm(total, aggregate_sum(sent.index_select(0, source), target, size), weight.t())


class HeteroSage(nn.Module):
    """A stack of SageLayers over a sampled subgraph.

    Args:
        schema: Tables and relations.
        plans: One plan per layer.
        channels: Width of states.
    """

    def __init__(self, schema: GraphSchema, plans: tuple[LayerPlan, ...], channels: int) -> None:
        super().__init__()
        self.plans = plans
        #: Tables whose nodes are read one by one after the last layer.
        self.read = tuple({schema.item_table} & set(plans[-1].node_hops))
        self.layers = nn.ModuleList(SageLayer(plan, channels) for plan in plans)

    def forward(
        self,
        state: Mapping[str, Tensor],
        edge: Edges,
        num_rows: Mapping[str, tuple[int, ...]],
        num_edges: Mapping[Relation, tuple[int, ...]],
        place: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """States after the last layer.

        Args:
            state: Table to float [n, channels], ordered by hop.
            edge: Relation to (src, dst) node positions, sorted by hop.
            num_rows: Table to the rows within the first 1, 2, … hops (cumulated). Empty
                to compute every row; states that are read are the same either way.
            num_edges: The same for edges.
            place: Table to the row of ``state`` of every node, where nodes share rows.

        Returns:
            Table to states; only the leading hops that the plan names.
        """
        last = len(self.layers) - 1
        rows = {r: (place[r.src].index_select(0, src), dst) if r.src in place else (src, dst)
                for r, (src, dst) in edge.items()}
        for number, (plan, layer) in enumerate(zip(self.plans, self.layers, strict=True)):
            if num_rows:
                size = {t: num_rows[t][hops - 1] for t, hops in plan.node_hops.items()}
            else:
                size = {t: state[t].shape[0] for t in plan.node_hops}
            state = layer(
                state, _leading(rows, plan.edge_hops, num_edges),
                _leading(edge, plan.back_hops, num_edges), size,
                {t: place[t] for t in self.read if t in place} if number == last else {})
        return dict(state)


def _leading(
    edge: Edges, hops: Mapping[Relation, int], num_edges: Mapping[Relation, tuple[int, ...]]
) -> dict[Relation, tuple[Tensor, Tensor]]:
    """Edges of the leading hops; all of them where the numbers are not known."""
    if not num_edges:
        return {relation: edge[relation] for relation in hops}
    cut = {relation: num_edges[relation][count - 1] for relation, count in hops.items()}
    return {r: (edge[r][0][:n], edge[r][1][:n]) for r, n in cut.items() if n}
