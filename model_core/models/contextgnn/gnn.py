"""Heterogeneous GraphSAGE with sum aggregation, computed only where it is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import Relation
from model_core.models.contextgnn.aggregate import aggregate_sum, gather_sum, is_exporting
from model_core.models.contextgnn.inputs import GraphInputs
from model_core.models.contextgnn.links import Links, layer_links
from model_core.models.contextgnn.plan import LayerPlan
from model_core.models.contextgnn.states import NodeStates


def module_key(table: str) -> str:
    """A table's name as a module name (a bare one may clash with a method, e.g. ``items``)."""
    return "table_" + table.replace(".", "_")


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
        self, state: Mapping[str, NodeStates], forth: Mapping[Relation, Links],
        back: Mapping[Relation, Links], num_out: Mapping[str, int], place: Mapping[str, Tensor],
    ) -> dict[str, NodeStates]:
        """One round of messages.

        Args:
            state: Table to states.
            forth: Relation to its edges, which carry messages from src to dst; a
                relation without edges may be missing.
            back: Relation to the edges that are walked from dst to src.
            num_out: Table to the number of leading rows that get a new state.
            place: Table to int64 [N]: where nodes share rows of ``state``, the row of
                every node. Such a table gets one new state per node.

        Returns:
            Table to states, of num_out or N nodes.
        """
        result = {}
        for table in self.plan.node_hops:
            key = module_key(table)
            own = state[table].leading(num_out[table])
            if table in place:
                own = own.picked(place[table])
            arriving = [(self.relation[r.key].weight, state[r.src], forth[r])
                        for r in self.plan.edge_hops if r.dst == table and r in forth]
            arriving += [(self.back[r.key].weight, state[r.dst], back[r])
                         for r in self.plan.back_hops if r.src == table and r in back]
            total = self.norm[key](_total(self.root[key], own, arriving))
            result[table] = NodeStates(own=torch.relu_(total))
        return result


def _total(root: nn.Module, own: NodeStates, arriving: list[tuple[Tensor, NodeStates, Links]]) -> Tensor:
    """Root term plus all messages, float [N, c], in few passes over N rows.

    Args:
        root: Weight and bias of a node's own state.
        own: States of the N nodes that receive.
        arriving: Weight, states of the senders and links of every relation.
    """
    size, weight, terms = own.size, root.weight, list(own.mapped(root.weight))
    for relation_weight, sent, links in arriving:
        if links.parent_sends and links.parent is not None:
            # Few senders for many receivers: their terms are summed first.
            few = NodeStates(own=sent.dense) if 2 * sent.size <= size else sent
            terms += few.picked(links.parents(size)).mapped(relation_weight)
    if terms:
        total = gather_sum(terms, root.bias)
        if own.own is not None:
            total = _add_product(total, own.own, weight)
    else:
        total = root(own.dense)
    for relation_weight, sent, links in arriving:
        if not links.parent_sends:
            total = _add_product(total, _sum_of_children(sent.dense, links, size), relation_weight)
        elif links.parent is None:
            messages = (sent.dense @ relation_weight.t()).index_select(0, links.source)
            total = total + aggregate_sum(messages, links.target, size)
    return total


def _add_product(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``total + x @ weight.T``, in place: every total is fresh and read once."""
    if is_exporting() or torch.is_autocast_enabled(total.device.type):
        return torch.addmm(total, x, weight.t())  # autocast chooses types here, not in place
    return total.addmm_(x, weight.t())


def _sum_of_children(sent: Tensor, links: Links, size: int) -> Tensor:
    """Sum of the rows that refer to each of ``size`` rows, float [size, c]."""
    if links.parent is None:
        return aggregate_sum(sent.index_select(0, links.source), links.target, size)
    parent = links.parents(len(sent))
    beyond = (parent < 0) | (parent >= size)
    return aggregate_sum(sent, parent.masked_fill(beyond, size), size + 1)[:size]


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

    def forward(self, inputs: GraphInputs) -> dict[str, Tensor]:
        """States after the last layer.

        Args:
            inputs: See ``GraphInputs``.

        Returns:
            Table to float [n, channels]; only the leading hops that the plan names.
        """
        state, edge, place = inputs.state, inputs.edge, inputs.place
        rows, parent_row = {}, {}
        for r, (src, dst) in edge.items():
            rows[r] = (place[r.src].index_select(0, src), dst) if r.src in place else (src, dst)
        for r, parent in inputs.parent.items():
            if r.src not in place:
                parent_row[r] = parent
            elif r.parent_is_source:
                row = place[r.src].index_select(0, parent.clamp(min=0))
                parent_row[r] = torch.where(parent < 0, -1, row)
        last = len(self.layers) - 1
        for number, (plan, layer) in enumerate(zip(self.plans, self.layers, strict=True)):
            if inputs.num_rows:
                size = {t: inputs.num_rows[t][hops - 1] for t, hops in plan.node_hops.items()}
            else:
                size = {t: state[t].size for t in plan.node_hops}
            state = layer(
                state, layer_links(plan.edge_hops, rows, parent_row, inputs.num_edges),
                layer_links(plan.back_hops, edge, inputs.parent, inputs.num_edges, backwards=True),
                size, {t: place[t] for t in self.read if t in place} if number == last else {})
        return {table: states.dense for table, states in state.items()}
