"""ContextGNN the straightforward way, as its paper describes it, to compare speeds with.

PyG's own layers, one SAGE with its own root weight per relation; a column encoder that
runs over every sampled node; torch's dropout; every edge in both directions; every layer
over all nodes. Widths, depth and encoder are those of ``model_core``. Scores differ,
because the architectures differ by the extra edges and weights; the work is the one a
direct implementation does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch_geometric.nn import HeteroConv, SAGEConv

from model_core.config import ModelConfig
from model_core.graph.schema import GraphSchema, TableFeatures
from model_core.models.contextgnn.item_vectors import ItemVectors
from model_core.models.contextgnn.time import AgeEncoder
from model_core.sampling.batches import Batch


class Block(nn.Module):
    """A residual block with torch's dropout."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(),
                                   nn.Dropout(dropout), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Encoder(nn.Module):
    """Columns of a node to a vector."""

    def __init__(self, features: TableFeatures, width: int, num_blocks: int, dropout: float) -> None:
        super().__init__()
        dense = features.num_number + features.num_text
        self.dense = nn.Linear(dense, width) if dense else None
        self.category = nn.ModuleList(nn.Embedding(size, width) for size in features.category_sizes)
        self.constant = nn.Parameter(torch.randn(width))
        self.rest = nn.Sequential(*(Block(width, dropout) for _ in range(num_blocks)),
                                  nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))
        self.has_columns = bool(dense or features.category_sizes)

    def forward(self, number: Tensor, category: Tensor, text: Tensor) -> Tensor:
        if not self.has_columns:
            return self.constant.expand(len(number), -1)
        x = torch.zeros((), device=number.device)
        if self.dense is not None:
            x = x + self.dense(torch.cat([number, text], dim=1))
        for column, embedding in enumerate(self.category):
            x = x + embedding(category[:, column])
        return self.rest(x)


class Straightforward(nn.Module):
    """Scores of the whole catalogue, float [B, num_items]."""

    def __init__(self, schema: GraphSchema, config: ModelConfig, num_layers: int) -> None:
        super().__init__()
        self.schema, self.config = schema, config
        c, tables = config.channels, schema.tables
        self.encoder = nn.ModuleDict({
            f"_{t}": Encoder(features, c, config.encoder_blocks, config.dropout)
            for t, features in tables.items()})
        self.age = nn.ModuleDict({f"_{t}": AgeEncoder(c) for t in tables if tables[t].timed})
        self.seed_vector = nn.Parameter(torch.randn(c))
        self.convs = nn.ModuleList(
            HeteroConv({tuple(r): SAGEConv((c, c), c, aggr="sum") for r in schema.relations}, aggr="sum")
            for _ in range(num_layers))
        self.norms = nn.ModuleList(
            nn.ModuleDict({f"_{t}": nn.LayerNorm(c) for t in tables}) for _ in range(num_layers))
        self.user, self.offset = nn.Linear(c, config.embedding_dim), nn.Linear(config.embedding_dim, 1)
        self.items = ItemVectors(schema, config)
        self.pair_item, self.pair_offset = nn.Linear(c, 1), nn.Linear(config.embedding_dim, 1)

    def forward(self, batch: Batch, item_vectors: Tensor) -> Tensor:
        schema, config = self.schema, self.config
        x = {}
        for table in schema.tables:
            row = batch.row_of[table]  # every node by itself
            x[table] = self.encoder[f"_{table}"](
                batch.number[table][row], batch.category[table][row], batch.text[table][row])
            if schema.tables[table].timed:
                x[table] = x[table] + self.age[f"_{table}"](batch.age_days[table])
        marked = torch.zeros_like(x[schema.entity_table])
        marked[: batch.num_seeds] = self.seed_vector
        x[schema.entity_table] = x[schema.entity_table] + marked
        edges = both_directions(schema, batch)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = {t: torch.relu(norm[f"_{t}"](h)) for t, h in conv(x, edges).items()}
        user, local = x[schema.entity_table][: batch.num_seeds], x[schema.item_table]
        seed, p = batch.seed[schema.item_table], self.user(user)
        scores = p @ item_vectors.t() / math.sqrt(config.embedding_dim) + self.offset(p)
        pair = (self.pair_item(local).squeeze(1) + self.pair_offset(p).squeeze(1)[seed]
                + (user[seed] * local).sum(1) / math.sqrt(config.channels))
        scores = scores.clone()
        scores[seed, batch.item] = pair
        return scores


def both_directions(schema: GraphSchema, batch: Batch) -> dict[tuple[str, str, str], Tensor]:
    """Edge type to edge index: sampled edges, and the reverse of those of the other direction."""
    pair_of = {r.name.removeprefix("rev_"): [] for r in schema.relations}
    for relation in schema.relations:
        pair_of[relation.name.removeprefix("rev_")].append(relation)
    result = {}
    for pair in pair_of.values():
        for relation, other in (pair, pair[::-1]) if len(pair) == 2 else ():
            src, dst = batch.edge[relation]
            back_dst, back_src = batch.edge[other]
            result[tuple(relation)] = torch.stack([torch.cat([src, back_src]),
                                                   torch.cat([dst, back_dst])])
    return result
