"""ContextGNN: a pair-wise score for items near the user, a two-tower score for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_core.config import ModelConfig
from model_core.errors import ConfigError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TableColumns
from model_core.models.contextgnn.aggregate import is_exporting
from model_core.models.contextgnn.encoder import TableEncoder
from model_core.models.contextgnn.gnn import HeteroSage, module_key
from model_core.models.contextgnn.item_vectors import ItemBias, ItemVectors
from model_core.models.contextgnn.plan import plan_layers
from model_core.models.contextgnn.time import AgeEncoder
from model_core.sampling.batches import Batch


@dataclass(frozen=True)
class Readout:
    """What a batch says before it meets the catalogue. B seeds, M local items.

    Attributes:
        query: float [B, d], user vectors, already divided by √d.
        offset: float [B, 1], the tower's a(p).
        local_seed: int64 [M], seed of every local item.
        local_item: int64 [M], its catalogue row; (seed, item) pairs are unique.
        local_score: float [M], pair scores. M = 0 in a model without the pair score.
    """

    query: Tensor
    offset: Tensor
    local_seed: Tensor
    local_item: Tensor
    local_score: Tensor


class ContextGNN(nn.Module):
    """Scores every item of the catalogue for every seed of a batch.

    With h the node states after the last layer, d the embedding width and c the
    channels: ``p = Linear(h_u)``; the tower score of item i is ``p·w_i / √d + a(p)``;
    an item in u's own subgraph gets ``Linear(h_i) + h_u·h_i / √c + b(p)`` instead.

    Args:
        schema: Shape of the graph.
        config: Widths and switches. Without ``use_pair`` local items keep their tower
            score. Without ``use_tower`` items elsewhere get one learned bias each.
        num_layers: Message-passing layers = sampled hops.

    Raises:
        ConfigError: No tower, and no pair score or items beyond ``num_layers`` hops.

    Source: arXiv 2411.19513 and the authors' release of November 2024. Deviations: dot
    products are scaled by 1/√width, scores are raw logits, encoders run once per
    distinct row, and node states that reach no score are not computed. The release
    samples with reverse edges; see ``plan.py`` and ``gnn.py`` for what became of them.
    """

    def __init__(self, schema: GraphSchema, config: ModelConfig, num_layers: int) -> None:
        super().__init__()
        self.schema, self.config, self.num_layers = schema, config, num_layers
        channels, dim = config.channels, config.embedding_dim
        inputs, plans = plan_layers(schema, num_layers, config.use_pair)
        #: Whether there is a pair score: asked for, and items are within reach.
        self.has_pair = config.use_pair and schema.item_table in plans[-1].node_hops
        if not (self.has_pair or config.use_tower):
            raise ConfigError(
                "model.use_pair, model.use_tower",
                "a tower, or a pair score with items within reach",
                f"use_pair={config.use_pair}, use_tower={config.use_tower}, num_layers={num_layers}"
                f" where items are {schema.hops} hops away",
                "set model.use_tower=true or unset model.num_layers",
            )
        self.tables = tuple(inputs)
        self.encoder = nn.ModuleDict({
            module_key(table): TableEncoder(schema.tables[table], channels, channels,
                                            config.encoder_blocks, config.dropout)
            for table in inputs
        })
        self.age = nn.ModuleDict({
            module_key(table): AgeEncoder(channels)
            for table in inputs if schema.tables[table].timed
        })
        self.seed_vector = nn.Parameter(torch.randn(channels))
        self.gnn = HeteroSage(schema, plans, channels)
        self.user = nn.Linear(channels, dim)
        if config.use_tower:
            self.tower_offset = nn.Linear(dim, 1)
            self.items: nn.Module = ItemVectors(schema, config)
        else:
            self.items = ItemBias(schema.num_items)
        if self.has_pair:
            self.pair_item = nn.Linear(channels, 1)
            self.pair_offset = nn.Linear(dim, 1)

    def item_vectors(
        self, item_columns: TableColumns[Tensor], rows: Tensor | None = None
    ) -> Tensor:
        """Vectors of the catalogue (or of ``rows``, int64 [C]), float [num_items or C, d]."""
        return self.items(item_columns, rows)

    def forward(
        self, batch: Batch, item_vectors: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Raw scores of the whole catalogue; exports to ONNX.

        Args:
            batch: B seeds with their subgraphs. Where ``num_nodes_per_hop`` is empty
                every node state is computed (as in an exported model); scores agree.
            item_vectors: float [num_items, d], from ``item_vectors``.
            generator: For dropout, in training mode only; on the batch's device.

        Returns:
            float [B, num_items].
        """
        readout = self.read_out(batch, generator)
        tower = self.tower_scores(readout, item_vectors)
        if not self.has_pair:
            return tower
        place = readout.local_seed * tower.shape[1] + readout.local_item
        flat = tower.reshape(-1).scatter(0, place, readout.local_score.to(tower.dtype))
        return flat.reshape(tower.shape)

    def class_scores(self, readout: Readout, class_vectors: Tensor, classes: Tensor) -> Tensor:
        """Raw scores of some items only, for the sampled softmax.

        Args:
            readout: From ``read_out``.
            class_vectors: float [C, d], ``item_vectors(columns, rows=classes)``.
            classes: int64 [C], distinct catalogue rows.

        Returns:
            float [B, C]; column c equals ``forward(...)[:, classes[c]]``.
        """
        tower = self.tower_scores(readout, class_vectors)
        if not self.has_pair:
            return tower
        column_of = torch.full((self.schema.num_items,), -1, device=classes.device)
        column_of[classes] = torch.arange(len(classes), device=classes.device)
        column = column_of[readout.local_item]
        chosen = (column >= 0).nonzero().squeeze(1)
        place = readout.local_seed[chosen] * len(classes) + column[chosen]
        score = readout.local_score[chosen].to(tower.dtype)
        return tower.reshape(-1).scatter(0, place, score).reshape(tower.shape)

    def tower_scores(self, readout: Readout, item_vectors: Tensor) -> Tensor:
        """float [B, C], before local items are overridden."""
        return readout.query @ item_vectors.t() + readout.offset

    def read_out(self, batch: Batch, generator: torch.Generator | None = None) -> Readout:
        """Everything but the comparison with the catalogue. Arguments as in ``forward``."""
        schema, config = self.schema, self.config
        state = self.gnn(*self._layout(batch, generator))
        user = state[schema.entity_table][: batch.num_seeds]
        p = self.user(user)
        if config.use_tower:
            query, offset = p / math.sqrt(config.embedding_dim), self.tower_offset(p)
        else:
            query, offset = torch.ones_like(p[:, :1]), torch.zeros_like(p[:, :1])
        seed, item = batch.seed[schema.item_table], batch.item
        if not self.has_pair:
            return Readout(query, offset, seed[:0], item[:0], query[:0, 0])
        local = state[schema.item_table]
        match = (user.index_select(0, seed) * local).sum(dim=1) / math.sqrt(config.channels)
        score = (self.pair_item(local).squeeze(1) + match
                 + self.pair_offset(p).squeeze(1).index_select(0, seed))
        return Readout(query, offset, seed, item, score)

    def _layout(self, batch: Batch, generator: torch.Generator | None):
        """Input of the graph network: states by hop, edges, rows and edges per hop, places.

        A node of the last hop receives no message before the last layer. In a table
        without time its state then depends on its row alone, so such nodes share one
        state per distinct row: the block of the last hop is the table's distinct rows,
        and ``place`` says where the state of every node is.
        """
        L = self.num_layers
        state, place, num_rows = {}, {}, {}
        # An exported graph holds no slices that depend on the data.
        trimmed = bool(batch.num_nodes_per_hop) and not is_exporting()
        for table in self.tables:
            key, row_of = module_key(table), batch.row_of[table]
            rows = self.encoder[key](
                batch.number[table], batch.category[table], batch.text[table], generator)
            if trimmed:
                num_rows[table] = _cumulated(batch.num_nodes_per_hop[table])
                assert len(num_rows[table]) == L + 1, "the batch was not sampled with L hops"
            if trimmed and not self.schema.tables[table].timed:
                inner = num_rows[table][L - 1]
                x = torch.cat([rows.index_select(0, row_of[:inner]), rows])
                place[table] = torch.cat([
                    torch.arange(inner, device=row_of.device), row_of[inner:] + inner])
                num_rows[table] = (*num_rows[table][:L], inner + rows.shape[0])
            else:
                x = rows.index_select(0, row_of)
            if self.schema.tables[table].timed:
                x = x + self.age[key](batch.age_days[table])
            state[table] = x
        seeds = state[self.schema.entity_table]
        num_seeds = batch.num_seeds
        state[self.schema.entity_table] = torch.cat(
            [seeds[:num_seeds] + self.seed_vector, seeds[num_seeds:]])
        num_edges = {
            r: _cumulated(n) for r, n in batch.num_edges_per_hop.items()} if trimmed else {}
        return state, batch.edge, num_rows, num_edges, place


def _cumulated(counts: tuple[int, ...]) -> tuple[int, ...]:
    total, result = 0, []
    for count in counts:
        total += count
        result.append(total)
    return tuple(result)
