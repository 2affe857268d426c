"""A world with features, and a checkpoint with random weights for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model_core.config import ModelConfig, TrainConfig
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import KIND, SCHEMA_VERSION, TemporalGraph
from model_core.priors.event_values import value_columns
from model_core.records import write_record
from model_core.split.seeds import Split
from model_core.training.checkpoint import Checkpoint, build_model, write_checkpoint
from tests.factories import DAY, Rows, make_graph, make_seeds, make_split

LAST_DAY = 100


def shop(num_users=40, num_items=30, num_events=6_000, seed=0) -> TemporalGraph[np.ndarray]:
    """users <- events -> items; user 0 has no event at all."""
    rng = np.random.default_rng(seed)
    user = rng.integers(1, num_users, num_events)
    item = rng.integers(0, num_items, num_events)
    time = np.sort(rng.integers(0, LAST_DAY * DAY, num_events))
    return make_graph(
        {
            "users": Rows(num_users, number=rng.normal(size=(num_users, 2))),
            "items": Rows(num_items, number=rng.normal(size=(num_items, 3)),
                          category=rng.integers(0, 4, (num_items, 2))),
            "events": Rows(num_events, time, {"user_id": ("users", user), "item_id": ("items", item)},
                           number=rng.normal(size=(num_events, 1))),
        },
        "users", "items", list(zip(user.tolist(), item.tolist(), time.tolist(), strict=True)),
    )


def write_graph(graph: TemporalGraph[np.ndarray], path: Path) -> TemporalGraph[np.ndarray]:
    """Store a graph as the graph step does, and open it."""
    with write_record(path, KIND, SCHEMA_VERSION) as (folder, meta):
        arrays = {f"interactions/{name}": getattr(graph.interactions, name)
                  for name in ("entity", "item", "time")}
        for table, columns in graph.columns.items():
            arrays |= {f"nodes/{table}/{part}": getattr(columns, part)
                       for part in ("number", "category", "text")}
            arrays[f"nodes/{table}/time"] = graph.node_time[table]
        for relation, adjacency in graph.adjacency.items():
            arrays |= {f"edges/{relation.key}/{part}": getattr(adjacency, part)
                       for part in ("indptr", "neighbor", "time")}
        for name, array in arrays.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{name}.npy", array)
        names = ("category_sizes", "number_names", "category_names", "text_names")
        meta.update(
            routes=[], num_nodes=dict(graph.num_nodes), relations=[list(r) for r in graph.relations],
            columns={table: {name: list(getattr(columns, name)) for name in names}
                     for table, columns in graph.columns.items()},
            **{name: getattr(graph, name)
               for name in ("entity_table", "item_table", "hops", "cutoff", "last_time")},
        )
    return TemporalGraph.open(path)


def seeds_of(graph: TemporalGraph[np.ndarray], folder: Path) -> Split:
    """Every user twice in val and in test."""
    def rows(day):
        return make_seeds([(user, day * DAY, [user % graph.num_items])
                           for user in range(graph.num_entities)])

    return make_split(
        folder, rows(50), rows(80), rows(90), num_entities=graph.num_entities,
        num_items=graph.num_items, window_s=10 * DAY, val_time=80 * DAY, test_time=90 * DAY)


def untrained(
    graph: TemporalGraph, folder: Path, fan_out: tuple[int, ...] = (64, 32), **settings
) -> Checkpoint:
    """A checkpoint of a model that was only initialised, what starts at zero or one too."""
    config = ModelConfig(**({"channels": 16, "embedding_dim": 8, "encoder_blocks": 1} | settings),
                         num_layers=len(fan_out))
    schema = GraphSchema.of(graph)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(schema, config)
        if model.item_bias is not None:
            torch.nn.init.normal_(model.item_bias.bias.weight)
        if model.prior is not None:
            torch.nn.init.normal_(model.prior.mean)
            torch.nn.init.uniform_(model.prior.scale, 0.5, 2.0)
            for network in model.prior.networks:
                weight = network.enter.weight.data
                weight[:, (weight == 0).all(dim=0)] = 0.1
        if model.has_pair:
            model.pair_gain.data.fill_(1.0)
        if model.gate is not None:
            model.far_shift.fill_(0.7)
    return write_checkpoint(
        folder, weights=model.state_dict(), model_config=config, train_config=TrainConfig(),
        schema=schema, fan_out=fan_out, curves=[],
        training={"nodes_per_seed": 100.0, "refit": None, "priors": None if model.prior is None else {
            "window_s": 10 * DAY, "num_similar": config.num_similar, "num_popular": config.num_popular,
            "num_following": config.num_following,
            "columns": config.prior_columns, "targets": config.prior_targets,
            "values": list(value_columns(graph))}})
