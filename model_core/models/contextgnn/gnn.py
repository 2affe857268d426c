"""Heterogeneous GraphSAGE with sum aggregation, computed only where it is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model_core.graph.temporal_graph import Relation
from model_core.models.contextgnn.aggregate import (
    aggregate_sum,
    gather_sum,
    gather_sum_by,
    is_exporting,
)
from model_core.models.contextgnn.inputs import GraphInputs
from model_core.models.contextgnn.links import Links, layer_links
from model_core.models.contextgnn.plan import LayerPlan
from model_core.models.contextgnn.rows import SharedRows
from model_core.models.contextgnn.states import NodeStates

#: Rows that are normalised at once without gradients: they and the result fit a core's cache.
NORMALISED_ROWS = 1_024


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
        back: Mapping[Relation, Links], num_out: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """One round of messages.

        Args:
            state: Table to states.
            forth: Relation to its edges, which carry messages from src to dst; a
                relation without edges may be missing.
            back: Relation to the edges that are walked from dst to src.
            num_out: Table to the number of leading nodes that get a new state.

        Returns:
            Table to float [num_out, c].
        """
        result = {}
        for table in self.plan.node_hops:
            key = module_key(table)
            own = state[table].leading(num_out[table])
            arriving = [(self.relation[r.key].weight, state[r.src], forth[r])
                        for r in self.plan.edge_hops if r.dst == table and r in forth]
            arriving += [(self.back[r.key].weight, state[r.dst], back[r])
                         for r in self.plan.back_hops if r.src == table and r in back]
            result[table] = _normalised(self.norm[key], _total(self.root[key], own, arriving))
        return result

    def alone(self, table: str, rows: SharedRows) -> SharedRows:
        """New states of nodes that receive no message."""
        return rows.updated(self.root[module_key(table)], self.norm[module_key(table)])


def _normalised(norm: nn.Module, total: Tensor) -> Tensor:
    """``ReLU(norm(total))``; without gradients in place, some rows at a time, for the cache's sake."""
    if is_exporting() or torch.is_grad_enabled() or total.device.type != "cpu" or (
            torch.is_autocast_enabled("cpu")):
        return torch.relu_(norm(total))
    for part in total.split(NORMALISED_ROWS):
        torch.clamp_min(norm(part), 0, out=part)
    return total


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
            terms += sent.few(size).picked(links.parents(size)).mapped(relation_weight)
    if terms:
        total = gather_sum(terms, root.bias)
        if own.own is not None:
            total = _add_product(total, own.own, weight)
    else:
        total = root(own.dense)
    for relation_weight, sent, links in arriving:
        if not links.parent_sends:
            total = _add_product(total, _sum_of_children(sent, links, size), relation_weight)
        elif links.parent is None:
            messages = (sent.dense @ relation_weight.t()).index_select(0, links.source)
            total = total + aggregate_sum(messages, links.target, size)
    return total


def _add_product(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``total + x @ weight.T``, in place: every total is fresh and read once."""
    if is_exporting() or torch.is_autocast_enabled(total.device.type):
        return torch.addmm(total, x, weight.t())  # autocast chooses types here, not in place
    return total.addmm_(x, weight.t())


def _sum_of_children(sent: NodeStates, links: Links, size: int) -> Tensor:
    """Sum of the rows that refer to each of ``size`` rows, float [size, c]."""
    if links.parent is None:
        return aggregate_sum(sent.dense.index_select(0, links.source), links.target, size)
    parent = links.parents(sent.size)
    beyond = (parent < 0) | (parent >= size)
    if sent.own is None and not torch.is_grad_enabled():
        child = (~beyond).nonzero().squeeze(1)
        return gather_sum_by(sent.terms, child, parent[child], size)
    return aggregate_sum(sent.dense, parent.masked_fill(beyond, size), size + 1)[:size]


class HeteroSage(nn.Module):
    """A stack of SageLayers over a sampled subgraph.

    Args:
        plans: One plan per layer.
        channels: Width of states.
    """

    def __init__(self, plans: tuple[LayerPlan, ...], channels: int) -> None:
        super().__init__()
        self.plans = plans
        self.layers = nn.ModuleList(SageLayer(plan, channels) for plan in plans)

    def forward(self, inputs: GraphInputs) -> dict[str, Tensor]:
        """States after the last layer.

        Args:
            inputs: See ``GraphInputs``.

        Returns:
            Table to float [n, channels]; only the leading hops that the plan names.
        """
        state, leaf = dict(inputs.state), {t: leaves.rows for t, leaves in inputs.leaves.items()}
        last = len(self.layers) - 1
        for number, (plan, layer) in enumerate(zip(self.plans, self.layers, strict=True)):
            if inputs.num_nodes:
                size = {t: inputs.num_nodes[t][hops - 1] for t, hops in plan.node_hops.items()}
            else:
                size = {t: state[t].size for t in plan.node_hops}
            # Nodes of the last hop hear nothing before the last layer.
            shared = {t: leaves for t, leaves in inputs.leaves.items()
                      if number < last and size.get(t, 0) > leaves.num_inner}
            size |= {t: leaves.num_inner for t, leaves in shared.items()}
            after = layer(
                state, layer_links(plan.edge_hops, inputs.edge, inputs.parent, inputs.num_edges),
                layer_links(plan.back_hops, inputs.edge, inputs.parent, inputs.num_edges, backwards=True),
                size)
            state = {t: NodeStates(own=own) for t, own in after.items() if t not in shared}
            for t, leaves in shared.items():
                leaf[t] = layer.alone(t, leaf[t])
                state[t] = NodeStates.with_leaves(after[t], leaf[t], leaves.row_of)
        return {table: states.dense for table, states in state.items()}
