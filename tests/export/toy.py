"""A small graph model with the face of the real ones, to test the exporter by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_core.graph.schema import GraphSchema
from model_core.sampling.batches import Batch

WIDTH = 8


class ToyModel(nn.Module):
    """One encoder per table, one summing layer, dot products with the item vectors."""

    def __init__(self, schema: GraphSchema) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.schema = schema
        self.encoder = nn.ModuleDict({
            f"of_{table}": nn.Linear(features.num_number, WIDTH) for table, features in schema.tables.items()
        })
        self.message = nn.ModuleDict({r.key: nn.Linear(WIDTH, WIDTH) for r in schema.relations})
        self.query = nn.Linear(WIDTH, WIDTH)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)

    def summed(self, target: Tensor, index: Tensor, values: Tensor) -> Tensor:
        return target.scatter_add(0, index[:, None].expand(-1, values.shape[1]), values)

    def forward(self, batch: Batch, item_vectors: Tensor) -> Tensor:
        state = {}
        for table in self.schema.tables:
            rows = self.encoder[f"of_{table}"](batch.number[table])
            rows = rows + batch.category[table].sum(1, keepdim=True)
            age = batch.age_days[table][:, None].sin()
            state[table] = rows.index_select(0, batch.row_of[table]) + age
        after = dict(state)
        for relation in self.schema.relations:
            src, dst = batch.edge[relation]
            message = self.message[relation.key](state[relation.src].index_select(0, src))
            after[relation.dst] = self.summed(after[relation.dst], dst, message)
        seeds = torch.relu(after[self.schema.entity_table][: batch.num_seeds])
        scores = self.query(seeds) @ item_vectors.T
        num_items = item_vectors.shape[0]
        place = batch.seed[self.schema.item_table] * num_items + batch.item
        pair = after[self.schema.item_table].sum(dim=1)
        return scores.reshape(-1).scatter(0, place, pair).view(-1, num_items)


class RacingModel(ToyModel):
    """Sums with index_add, which becomes ScatterND in ONNX."""

    def summed(self, target: Tensor, index: Tensor, values: Tensor) -> Tensor:
        return target.index_add(0, index, values)


class FixedModel(ToyModel):
    """Takes the number of seeds of the example for a constant."""

    def forward(self, batch: Batch, item_vectors: Tensor) -> Tensor:
        assert int(batch.num_seeds) > 0
        return super().forward(batch, item_vectors)
