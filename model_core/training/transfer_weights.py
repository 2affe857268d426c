"""A state dict, moved key by key to the model of another graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model_core.errors import ArtifactError
from model_core.graph.encodings import TableEncodings
from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.gnn import module_key
from model_core.training.transfer_columns import ColumnChanges, moved_encoder

#: Tables with one row per item of the catalogue, where a model has them.
ITEM_TABLES = ("items.lookup.weight", "items.bias.weight", "item_bias.bias.weight")


class WeightMover:
    """Moves a state dict key by key.

    Args:
        old: State of the champion.
        fresh: State of an untrained model for the new graph.
        before, now: Columns of the tables of both graphs.
        rows: Old row of every new item, -1 for none.
        where: Of error messages.
    """

    def __init__(self, old: dict[str, Tensor], fresh: dict[str, Tensor],
                 before: Mapping[str, TableEncodings], now: Mapping[str, TableEncodings],
                 rows: np.ndarray, where: str) -> None:
        self.old, self.fresh, self.before, self.now = old, fresh, before, now
        self.rows, self.where = torch.from_numpy(rows), where
        self.columns: dict[str, ColumnChanges] = {}

    def moved(self, schema: GraphSchema) -> dict[str, Tensor]:
        """The state for the new graph."""
        state: dict[str, Tensor] = {}
        for table in schema.tables:
            prefix = f"encoder.{module_key(table)}."
            if any(name.startswith(prefix) for name in self.fresh):
                state |= self._encoder(prefix, table)
        if any(name.startswith("items.encoder.") for name in self.fresh):
            state |= self._item_encoder(schema.item_table)
        for name, tensor in self.fresh.items():
            if name not in state:
                state[name] = self._plain(name, tensor)
        return state

    def _encoder(self, prefix: str, table: str) -> dict[str, Tensor]:
        weights, fresh = (_below(state, prefix) for state in (self.old, self.fresh))
        if not weights:  # a table that only new relations lead to
            return {prefix + name: tensor for name, tensor in fresh.items()}
        moved, self.columns[table] = moved_encoder(weights, self.before[table], self.now[table], fresh)
        return {prefix + name: tensor for name, tensor in moved.items()}

    def _item_encoder(self, table: str) -> dict[str, Tensor]:
        prefix = "items.encoder."
        if _below(self.old, prefix):
            return self._encoder(prefix, table)
        # The first columns of an item table: without weight behind their norm.
        return {name: torch.zeros_like(tensor) if name.startswith("items.norm.") else tensor
                for name, tensor in self.fresh.items() if name.startswith((prefix, "items.norm."))}

    def _plain(self, name: str, fresh: Tensor) -> Tensor:
        if name not in self.old:
            return self._without_past(name, fresh)
        old = self.old[name]
        if name in ITEM_TABLES and old.shape[1:] == fresh.shape[1:]:
            return self._item_table(old)
        if old.shape != fresh.shape:
            raise ArtifactError(self.where, f"{name} of shape {tuple(fresh.shape)}",
                                f"{tuple(old.shape)}", "train without a champion")
        return old

    def _item_table(self, old: Tensor) -> Tensor:
        """Rows by key; a new item gets the mean row, which favours it neither way."""
        known = self.rows >= 0
        table = old[self.rows.clamp(min=0)]
        table[~known] = old.mean(dim=0)
        return table

    def _without_past(self, name: str, fresh: Tensor) -> Tensor:
        part, _, rest = name.partition(".")
        if part == "gnn":
            # Old states hear nothing of new relations until they are trained.
            kind = rest.split(".")[2]
            return torch.zeros_like(fresh) if kind in ("relation", "back") else fresh
        if part == "age":  # a known table that had no time is not told its age
            known = any(name.startswith(f"age.{module_key(table)}.") for table in self.before)
            return torch.zeros_like(fresh) if known else fresh
        raise ArtifactError(self.where, f"weights {name}", "none of that name",
                            "train without a champion")


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
