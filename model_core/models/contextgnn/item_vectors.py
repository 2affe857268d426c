"""Item vectors of the tower: what the user vector is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_core.config import ModelConfig
from model_core.errors import ConfigError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TableColumns
from model_core.models.contextgnn.encoder import TableEncoder

#: Small against the LayerNorm of the features: an item without positives stays near neutral.
LOOKUP_STD = 0.1
#: Rows encoded at once outside training.
CHUNK = 65_536


class ItemVectors(nn.Module):
    """One vector per item: learned (LOOKUP), from its columns (FEATURE) or both (FUSION).

    FEATURE is ``LayerNorm(table encoder with two residual blocks)``; FUSION adds the
    two. Where the item table has no columns FUSION is the same as LOOKUP.

    Raises:
        ConfigError: FEATURE is asked for and the item table has no columns.
    """

    def __init__(self, schema: GraphSchema, config: ModelConfig) -> None:
        super().__init__()
        features = schema.tables[schema.item_table]
        has_columns = bool(features.num_number or features.num_text or features.category_sizes)
        dim = config.embedding_dim
        if config.item_vectors == "feature" and not has_columns:
            raise ConfigError(
                "model.item_vectors", "'lookup' or 'fusion', because the item table "
                f"{schema.item_table!r} has no feature columns", "'feature'",
                "set model.item_vectors=lookup",
            )
        self.lookup: nn.Embedding | None = None
        self.encoder: TableEncoder | None = None
        if config.item_vectors in ("lookup", "fusion"):
            self.lookup = nn.Embedding(schema.num_items, dim)
            nn.init.normal_(self.lookup.weight, std=LOOKUP_STD)
        if config.item_vectors in ("feature", "fusion") and has_columns:
            self.encoder = TableEncoder(features, dim, dim, num_blocks=2, dropout=0.0)
            self.norm = nn.LayerNorm(dim)

    def forward(self, columns: TableColumns[Tensor], rows: Tensor | None) -> Tensor:
        """Vectors of some or all items.

        Args:
            columns: Columns of the item table.
            rows: int64 [C]; None for the whole catalogue.

        Returns:
            float [C or num_items, embedding_dim].
        """
        vectors = None
        if self.encoder is not None:
            parts = (columns.number, columns.category, columns.text)
            if rows is not None:
                vectors = self._encode(*(part[rows] for part in parts))
            elif torch.is_grad_enabled() or len(columns.number) <= CHUNK:
                vectors = self._encode(*parts)
            else:
                vectors = torch.cat([
                    self._encode(*(part[at : at + CHUNK] for part in parts))
                    for at in range(0, len(columns.number), CHUNK)
                ])
        if self.lookup is not None:
            known = self.lookup.weight if rows is None else self.lookup(rows)
            vectors = known if vectors is None else vectors + known
        assert vectors is not None
        return vectors

    def _encode(self, number: Tensor, category: Tensor, text: Tensor) -> Tensor:
        assert self.encoder is not None
        return self.norm(self.encoder(number, category, text))


class ItemBias(nn.Module):
    """One learned number per item, for models without a tower.

    A model with the pair score alone has nothing to say about items outside a user's
    subgraph. A bias per item ranks those by what training saw of them instead of
    leaving them all equal. Seen as a tower, the user's vector is the constant 1.
    """

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_items, 1))

    def forward(self, columns: TableColumns[Tensor], rows: Tensor | None) -> Tensor:
        """float [C or num_items, 1]."""
        return self.weight if rows is None else self.weight[rows]
