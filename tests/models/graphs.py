"""Graphs and batches for tests of models."""

from __future__ import annotations

import numpy as np
import torch

from model_core.config import ModelConfig
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models import MODELS
from model_core.sampling.batches import Batch, make_batch
from model_core.sampling.neighbors import sample
from tests.factories import Rows, make_graph

NOW = 1_000_000


def retail_graph(seed: int = 0, num_users: int = 12, num_items: int = 15) -> TemporalGraph:
    """users <- invoices <- lines -> items (three hops), plus views (two hops) and item kinds."""
    rng = np.random.default_rng(seed)
    num_invoices, num_lines, num_views = 30, 70, 25

    def times(count: int) -> np.ndarray:
        return rng.integers(0, NOW, count)

    return make_graph(
        {
            "users": Rows(num_users),
            "kinds": Rows(3, category=np.arange(3)[:, None] + 1),
            "items": Rows(num_items, None, {"kind_id": ("kinds", rng.integers(-1, 3, num_items))},
                          rng.normal(size=(num_items, 2)), rng.integers(0, 4, (num_items, 1))),
            "invoices": Rows(num_invoices, times(num_invoices),
                             {"user_id": ("users", rng.integers(0, num_users, num_invoices))}),
            "lines": Rows(num_lines, times(num_lines), {
                "invoice_id": ("invoices", rng.integers(0, num_invoices, num_lines)),
                "item_id": ("items", rng.integers(0, num_items, num_lines)),
            }, rng.normal(size=(num_lines, 3))),
            "views": Rows(num_views, times(num_views), {
                "user_id": ("users", rng.integers(0, num_users, num_views)),
                "item_id": ("items", rng.integers(0, num_items, num_views)),
            }),
        },
        "users", "items",
    )


def small_model(graph: TemporalGraph, name: str = "contextgnn", num_layers: int = 3, seed: int = 0,
                **config):
    """A narrow model with fixed random weights, in evaluation mode."""
    torch.manual_seed(seed)
    settings = {"channels": 12, "embedding_dim": 6, "encoder_blocks": 1} | config
    model = MODELS[name](GraphSchema.of(graph), ModelConfig(name=name, **settings), num_layers)
    return model.eval()


def batch_of(graph: TemporalGraph, users: list[int], times: list[int], num_layers: int = 3,
             fan_out: int = 4) -> Batch:
    tensors = graph.to_torch()
    subgraph = sample(tensors, torch.tensor(users, dtype=torch.int64),
                      torch.tensor(times, dtype=torch.int64), [fan_out] * num_layers)
    return make_batch(tensors, subgraph)


def catalogue(model, graph: TemporalGraph) -> torch.Tensor:
    return model.item_vectors(graph.to_torch().columns[graph.item_table])
