"""What the graph network starts from: states by hop, edges, and who shares what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import Relation
from model_core.models.contextgnn.aggregate import is_exporting
from model_core.models.contextgnn.links import Edges
from model_core.models.contextgnn.states import NodeStates, Term
from model_core.sampling.batches import Batch

#: In training a table's distinct rows are encoded several times over where they are fewer
#: than this (and than its nodes), so that nodes do not all share one dropout mask.
MIN_MASKED_ROWS = 2_048


@dataclass(frozen=True)
class GraphInputs:
    """Input of ``HeteroSage``.

    Attributes:
        state: Table to its first states, ordered by hop.
        edge: Relation to (src, dst) node positions, int64 [E], sorted by hop.
        parent: Relation to int64 [nodes of the referring table], see ``Batch.parent``.
        num_rows: Table to the rows of ``state`` within the first 1, 2, … hops (cumulated).
            Empty to compute every row; states that are read are the same either way.
        num_edges: The same for edges.
        place: Table to the row of ``state`` of every node, int64 [N], where nodes share rows.
    """

    state: Mapping[str, NodeStates]
    edge: Edges
    parent: Mapping[Relation, Tensor]
    num_rows: Mapping[str, tuple[int, ...]]
    num_edges: Mapping[Relation, tuple[int, ...]]
    place: Mapping[str, Tensor]


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
    state per distinct row: the block of the last hop is the table's distinct rows,
    and ``place`` says where the state of every node is.

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
    place: dict[str, Tensor] = {}
    num_rows: dict[str, tuple[int, ...]] = {}
    for table, encode in encoder.items():
        rows, row_of = _encoded(encode, batch, table, generator)
        index = row_of
        if trimmed:
            num_rows[table] = _cumulated(batch.num_nodes_per_hop[table])
            assert len(num_rows[table]) == num_layers + 1, "the batch was not sampled with L hops"
            if not schema.tables[table].timed:
                inner, whole = num_rows[table][num_layers - 1], torch.arange(
                    max(len(rows), len(row_of)), device=row_of.device)
                index = torch.cat([row_of[:inner], whole[: len(rows)]])
                place[table] = torch.cat([whole[:inner], row_of[inner:] + inner])
                num_rows[table] = (*num_rows[table][:num_layers], len(index))
        timed, is_seed = schema.tables[table].timed, table == schema.entity_table
        if exporting:
            x = rows.index_select(0, row_of)
            x = x + age[table](batch.age_days[table]) if timed else x
            if is_seed:
                x = torch.cat([x[: batch.num_seeds] + seed_vector, x[batch.num_seeds :]])
            state[table] = NodeStates(own=x)
            continue
        terms: list[Term] = [(rows, index)]
        if timed:
            days, age_of = batch.shared_age.get(table, (batch.age_days[table], None))
            if age_of is None:
                age_of = torch.arange(len(days), device=days.device)
            terms.append((age[table](days), age_of))
        if is_seed:
            node = torch.arange(len(index), device=index.device)
            terms.append((seed_vector.unsqueeze(0), torch.where(node < batch.num_seeds, 0, -1)))
        state[table] = NodeStates(tuple(terms))
    num_edges = {
        r: _cumulated(n) for r, n in batch.num_edges_per_hop.items()} if trimmed else {}
    return GraphInputs(state, batch.edge, {} if exporting else batch.parent,
                       num_rows, num_edges, place)


def _encoded(
    encode: nn.Module, batch: Batch, table: str, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Encoded rows, float [R, c], and the row of every node, int64 [N]."""
    if table in batch.encoded:
        return batch.encoded[table], batch.row_of[table]
    columns: tuple[Tensor, ...] = (batch.number[table], batch.category[table], batch.text[table])
    row_of, num_rows = batch.row_of[table], columns[0].shape[0]
    if encode.training and encode.has_dropout:
        copies = min(MIN_MASKED_ROWS, len(row_of)) // max(num_rows, 1)
        if copies > 1:
            columns = tuple(part.repeat(copies, 1) for part in columns)
            copy = torch.arange(len(row_of), device=row_of.device) % copies
            row_of = row_of + num_rows * copy
    return encode(*columns, generator), row_of


def _cumulated(counts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(counts))
