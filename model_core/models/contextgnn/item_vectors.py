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


class ItemTable(nn.Embedding):
    """One learned row per item of the catalogue.

    A class of its own, because such a table is what grows with the catalogue: training
    that looks at some items per step updates these rows and no others (``SplitAdam``).

    Args:
        num_items, dim: Shape.
        std: Of the normal initial values; 0 for zeros.
    """

    def __init__(self, num_items: int, dim: int, std: float) -> None:
        self.std = std  # read by the initialisation inside the next call
        super().__init__(num_items, dim)

    def reset_parameters(self) -> None:
        if self.std:
            nn.init.normal_(self.weight, std=self.std)
        else:
            nn.init.zeros_(self.weight)


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
        self.lookup: ItemTable | None = None
        self.encoder: TableEncoder | None = None
        if config.item_vectors in ("lookup", "fusion"):
            self.lookup = ItemTable(schema.num_items, dim, LOOKUP_STD)
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
        if rows is not None:
            known = None if self.lookup is None else self.lookup(rows)
            return self._join(columns, rows, known)
        known = None if self.lookup is None else self.lookup.weight
        if self.encoder is None or torch.is_grad_enabled() or len(columns.number) <= CHUNK:
            return self._join(columns, slice(None), known)
        # A large catalogue is encoded piece by piece into its place: one table more, not three.
        vectors = None
        for at in range(0, len(columns.number), CHUNK):
            place = slice(at, at + CHUNK)
            part = self._join(columns, place, None if known is None else known[place])
            if vectors is None:
                vectors = part.new_empty((len(columns.number), part.shape[1]))
            vectors[place] = part
        assert vectors is not None
        return vectors

    def _join(
        self, columns: TableColumns[Tensor], rows: Tensor | slice, known: Tensor | None
    ) -> Tensor:
        """What the columns of some rows say, plus what has been learned of them by heart."""
        if self.encoder is None:
            assert known is not None
            return known
        encoded = self.norm(self.encoder(
            columns.number[rows], columns.category[rows], columns.text[rows]))
        return encoded if known is None else encoded + known


class ItemBias(nn.Module):
    """One learned number per item, for models without a tower.

    A model with the pair score alone has nothing to say about items outside a user's
    subgraph. A bias per item ranks those by what training saw of them instead of
    leaving them all equal. Seen as a tower, the user's vector is the constant 1.
    """

    def __init__(self, num_items: int, width: int = 1) -> None:
        super().__init__()
        self.bias = ItemTable(num_items, width, std=0.0)

    def forward(self, columns: TableColumns[Tensor], rows: Tensor | None) -> Tensor:
        """float [C or num_items, width]."""
        return self.bias.weight if rows is None else self.bias(rows)
