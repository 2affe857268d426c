"""What the graph network starts from: states by hop, edges, and who shares what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import Relation
from model_core.models.contextgnn.aggregate import Term, is_exporting
from model_core.models.contextgnn.links import Edges
from model_core.models.contextgnn.rows import SharedRows
from model_core.models.contextgnn.states import NodeStates
from model_core.sampling.batches import Batch

#: In training a table's distinct rows are encoded several times over where they are fewer
#: than this (and than its nodes), so that nodes do not all share one dropout mask.
MIN_MASKED_ROWS = 2_048


@dataclass(frozen=True)
class Leaves:
    """Nodes of the last hop in a table without time: those with equal rows share their states.

    Attributes:
        rows: First states, [R, c].
        row_of: int64 [N], -1 for nodes of earlier hops.
        num_inner: Nodes of earlier hops, which come first.
    """

    rows: SharedRows
    row_of: Tensor
    num_inner: int


@dataclass(frozen=True)
class GraphInputs:
    """Input of ``HeteroSage``.

    Attributes:
        state: Table to the first states of all nodes, ordered by hop.
        edge: Relation to (src, dst) node positions, int64 [E], sorted by hop.
        parent: Relation to int64 [nodes of the referring table], see ``Batch.parent``.
        num_nodes: Table to the nodes within the first 1, 2, … hops (cumulated). Empty to
            compute every node; states that are read are the same either way.
        num_edges: The same for edges.
        leaves: Table to its nodes of the last hop, where these may share states.
    """

    state: Mapping[str, NodeStates]
    edge: Edges
    parent: Mapping[Relation, Tensor]
    num_nodes: Mapping[str, tuple[int, ...]]
    num_edges: Mapping[Relation, tuple[int, ...]]
    leaves: Mapping[str, Leaves]


def graph_inputs(
    schema: GraphSchema,
    num_layers: int,
    encoder: Mapping[str, nn.Module],
    age: Mapping[str, nn.Module],
    seed_vector: Tensor,
    batch: Batch,
    generator: torch.Generator | None,
) -> GraphInputs:
    """Encode a batch.

    A node of the last hop receives no message before the last layer. In a table
    without time its state then depends on its row alone, so such nodes share one
    state per distinct row (``Leaves``).

    Args:
        schema: Tables and relations.
        num_layers: Layers = sampled hops.
        encoder: Table to its encoder.
        age: Timed table to its age encoder.
        seed_vector: float [c], added to the seeds' states.
        batch: The subgraphs.
        generator: For dropout.
    """
    # An exported graph holds no slices that depend on the data.
    exporting = is_exporting()
    trimmed = bool(batch.num_nodes_per_hop) and not exporting
    state: dict[str, NodeStates] = {}
    leaves: dict[str, Leaves] = {}
    num_nodes: dict[str, tuple[int, ...]] = {}
    for table, encode in encoder.items():
        rows, row_of = _encoded(encode, batch, table, generator)
        timed, is_seed = schema.tables[table].timed, table == schema.entity_table
        if trimmed:
            count = num_nodes[table] = _cumulated(batch.num_nodes_per_hop[table])
            assert len(count) == num_layers + 1, "the batch was not sampled with L hops"
            if not timed:
                node = torch.arange(len(row_of), device=row_of.device)
                inner = count[num_layers - 1]
                leaves[table] = Leaves(rows, torch.where(node < inner, -1, row_of), inner)
        if exporting:
            x = rows.rows.index_select(0, row_of)
            x = x + age[table](batch.age_days[table]) if timed else x
            if is_seed:
                x = torch.cat([x[: batch.num_seeds] + seed_vector, x[batch.num_seeds :]])
            state[table] = NodeStates(own=x)
            continue
        terms: list[Term] = [(rows, row_of)]
        if timed:
            days, age_of = batch.shared_age.get(table, (batch.age_days[table], None))
            if age_of is None:
                age_of = torch.arange(len(days), device=days.device)
            terms.append((SharedRows(age[table](days)), age_of))
        if is_seed:
            node = torch.arange(len(row_of), device=row_of.device)
            terms.append((SharedRows(seed_vector.unsqueeze(0)), torch.where(node < batch.num_seeds, 0, -1)))
        state[table] = NodeStates(tuple(terms))
    num_edges = {
        r: _cumulated(n) for r, n in batch.num_edges_per_hop.items()} if trimmed else {}
    return GraphInputs(state, batch.edge, {} if exporting else batch.parent,
                       num_nodes, num_edges, leaves)


def _encoded(
    encode: nn.Module, batch: Batch, table: str, generator: torch.Generator | None
) -> tuple[SharedRows, Tensor]:
    """Encoded rows, [R, c], and the row of every node, int64 [N]."""
    if table in batch.encoded:
        rows, row_of = batch.encoded[table]
        return rows, row_of
    columns: tuple[Tensor, ...] = (batch.number[table], batch.category[table], batch.text[table])
    row_of, num_rows = batch.row_of[table], columns[0].shape[0]
    if encode.training and encode.has_dropout:
        copies = min(MIN_MASKED_ROWS, len(row_of)) // max(num_rows, 1)
        if copies > 1:
            columns = tuple(part.repeat(copies, 1) for part in columns)
            copy = torch.arange(len(row_of), device=row_of.device) % copies
            row_of = row_of + num_rows * copy
    return SharedRows(encode(*columns, generator)), row_of


def _cumulated(counts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(counts))
