"""Graphs and batches for tests of models."""

from __future__ import annotations

import numpy as np
import torch

from model_core.config import ModelConfig
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models import MODELS
from model_core.priors.build import make_priors
from model_core.priors.features import PairPriors
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

    kind_of, number = rng.integers(-1, 3, num_items), rng.normal(size=(num_items, 2))
    category = rng.integers(0, 4, (num_items, 1))
    invoice_time, line_time, view_time = times(num_invoices), times(num_lines), times(num_views)
    buyer = rng.integers(0, num_users, num_invoices)
    invoice, bought = rng.integers(0, num_invoices, num_lines), rng.integers(0, num_items, num_lines)
    viewer, viewed = rng.integers(0, num_users, num_views), rng.integers(0, num_items, num_views)
    return make_graph(
        {
            "users": Rows(num_users),
            "kinds": Rows(3, category=np.arange(3)[:, None] + 1),
            "items": Rows(num_items, None, {"kind_id": ("kinds", kind_of)}, number, category),
            "invoices": Rows(num_invoices, invoice_time, {"user_id": ("users", buyer)}),
            "lines": Rows(num_lines, line_time,
                          {"invoice_id": ("invoices", invoice), "item_id": ("items", bought)},
                          rng.normal(size=(num_lines, 3))),
            "views": Rows(num_views, view_time,
                          {"user_id": ("users", viewer), "item_id": ("items", viewed)}),
        },
        "users", "items",
        # The shortest route from a user to an item is a view.
        list(zip(viewer.tolist(), viewed.tolist(), view_time.tolist(), strict=True)),
    )


def small_model(graph: TemporalGraph, name: str = "contextgnn", num_layers: int = 3, seed: int = 0,
                **config):
    """A narrow model with fixed random weights, in evaluation mode.

    What starts at zero or one is drawn too, so that a score that forgets it is wrong.
    """
    torch.manual_seed(seed)
    settings = {"channels": 12, "embedding_dim": 6, "encoder_blocks": 1, "prior_hidden": 5} | config
    model = MODELS[name](GraphSchema.of(graph), ModelConfig(name=name, **settings), num_layers)
    if model.item_bias is not None:
        torch.nn.init.normal_(model.item_bias.bias.weight)
    if model.prior is not None:
        torch.nn.init.normal_(model.prior.mean)
        torch.nn.init.uniform_(model.prior.scale, 0.5, 2.0)
    if model.has_pair:
        torch.nn.init.uniform_(model.pair_gain, 0.5, 2.0)
    if model.gate is not None:
        model.far_shift.fill_(0.7)
    return model.eval()


def priors_of(graph: TemporalGraph) -> PairPriors:
    """Candidates with windows of a fifth of the time that the graph covers."""
    return make_priors(graph, NOW // 5, num_similar=4, num_popular=3)


def batch_of(graph: TemporalGraph, users: list[int], times: list[int], num_layers: int = 3,
             fan_out: int = 4) -> Batch:
    tensors = graph.to_torch()
    entity, time = np.array(users, dtype=np.int64), np.array(times, dtype=np.int64)
    subgraph = sample(tensors, torch.from_numpy(entity), torch.from_numpy(time), [fan_out] * num_layers)
    return make_batch(tensors, subgraph, priors_of(graph)(entity, time))


def catalogue(model, graph: TemporalGraph) -> torch.Tensor:
    return model.item_vectors(graph.to_torch().columns[graph.item_table])
