"""Checkpoint: a trained model with all that is needed to score with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_core.config import ModelConfig, TrainConfig
from model_core.errors import ConfigError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models import MODELS
from model_core.models.contextgnn.model import ContextGNN
from model_core.models.scorer import ModelScorer
from model_core.priors.build import make_priors
from model_core.priors.features import PairPriors
from model_core.records import Record, json_bytes, open_record, write_record

KIND, SCHEMA_VERSION = "checkpoint", 7


def build_model(schema: GraphSchema, config: ModelConfig) -> ContextGNN:
    """A model with fresh weights; depth is ``config.num_layers``, or else ``schema.hops``.

    Raises:
        ConfigError: No model of that name.
    """
    if config.name not in MODELS:
        raise ConfigError("model.name", f"one of {sorted(MODELS)}", repr(config.name),
                          "choose one of them")
    return MODELS[config.name](schema, config, config.num_layers or schema.hops)


@dataclass(frozen=True)
class Checkpoint:
    """Opened checkpoint record.

    Payload: ``weights.safetensors``, ``curves.json``; after a refit also
    ``selected.safetensors``, the weights that validation chose, from before the refit.

    Attributes:
        record: The record it was opened from.
        model_config: As trained; ``num_layers`` is resolved.
        train_config: As trained.
        schema: Shape of the graph.
        fan_out: Neighbours per hop that were in force.
        curves: One entry per epoch: epoch, step, loss, learning_rate, val_map,
            seeds_per_s, wall_s, peak_mb.
        meta: logical_time (of the split), best_epoch, best_val_map (both of the selected weights),
            refit (num_rows, num_steps, wall_s, labels_until in UTC seconds; None without),
            num_steps, num_parameters, nodes_per_seed, device, start (what a warm start began
            with; None where none was asked for),
            priors (arguments of ``make_priors``; None without), digests of the inputs.
    """

    record: Record
    model_config: ModelConfig
    train_config: TrainConfig
    schema: GraphSchema
    fan_out: tuple[int, ...]
    curves: tuple[Mapping[str, Any], ...]
    meta: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> Checkpoint:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        return cls(
            record=record,
            model_config=ModelConfig(**record.meta["model_config"]),
            train_config=TrainConfig(**record.meta["train_config"]),
            schema=GraphSchema.from_json(record.meta["schema"]),
            fan_out=tuple(record.meta["fan_out"]),
            curves=tuple(json.loads(record.file("curves.json").read_bytes())),
            meta=record.meta["training"],
        )

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights. The record's own digest also covers how long training took."""
        return self.record.files["weights.safetensors"]["sha256"]

    def load_model(
        self, device: str | torch.device = "cpu", weights: Literal["final", "selected"] = "final"
    ) -> ContextGNN:
        """The trained model, in evaluation mode; before its refit with ``"selected"``."""
        model = build_model(self.schema, self.model_config)
        before = weights == "selected" and self.meta["refit"] is not None
        name = "selected.safetensors" if before else "weights.safetensors"
        model.load_state_dict(load_file(self.record.file(name)))
        return model.to(device).eval()

    def scorer(
        self, graph: TemporalGraph, device: str | torch.device = "cpu",
        weights: Literal["final", "selected"] = "final",
    ) -> ModelScorer:
        """The model as a function of (entity, time).

        Args:
            graph: A numpy graph, or a torch graph already on ``device``.
            device: Where to compute.
            weights: After a refit the final weights know the validation labels; only the
                selected ones may be measured there.

        Raises:
            ArtifactError: The graph has another shape than the one trained on.
        """
        if isinstance(graph.node_time[graph.entity_table], np.ndarray):
            graph = graph.to_torch(device)
        return ModelScorer(
            self.load_model(device, weights), graph, self.fan_out, device=device,
            strategy=self.model_config.strategy, nodes_per_seed=self.meta["nodes_per_seed"],
            max_batch_nodes=self.train_config.max_batch_nodes, priors=self.priors(graph),
        )

    def priors(self, graph: TemporalGraph) -> PairPriors | None:
        """Candidate pairs of this model on a graph; None for a model without pair priors."""
        settings = self.meta["priors"]
        return None if settings is None else make_priors(graph, **settings)


def write_checkpoint(
    out: Path,
    *,
    weights: Mapping[str, Tensor],
    selected: Mapping[str, Tensor] | None = None,
    model_config: ModelConfig,
    train_config: TrainConfig,
    schema: GraphSchema,
    fan_out: Sequence[int],
    curves: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
) -> Checkpoint:
    """Write a checkpoint record and open it. See Checkpoint for the fields."""
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        save_file(dict(weights), folder / "weights.safetensors")
        if selected is not None:
            save_file(dict(selected), folder / "selected.safetensors")
        (folder / "curves.json").write_bytes(json_bytes(list(curves)))
        meta.update(
            model_config=model_config.model_dump(mode="json"),
            train_config=train_config.model_dump(mode="json"),
            schema=schema.to_json(), fan_out=list(fan_out), training=dict(training),
        )
    return Checkpoint.open(out)
