"""What a training state belongs to."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from model_core.config import ModelConfig, TrainConfig
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.queue import NegativeQueue
from model_core.records import json_bytes
from model_core.split.seeds import Split


def run_digest(graph: TemporalGraph, split: Split, queue: NegativeQueue, model_config: ModelConfig,
               train_config: TrainConfig, champion: str | None = None) -> str:
    """Digest of all that decides what a step computes, but for relrec's own code.

    Args:
        graph, split, queue, model_config, train_config: Inputs of training.
        champion: Digest of what a warm start begins with (``warm_digest``).
    """
    content = {
        "torch": str(torch.__version__),
        "graph": graph_digest(graph), "split": split.record.digest, "queue": queue.record.digest,
        "model": model_config.model_dump(mode="json"),
        "train": train_config.model_dump(mode="json", exclude={"checkpoint_every_steps"}),
    }
    if champion is not None:
        content["champion"] = champion
    return hashlib.sha256(json_bytes(content)).hexdigest()


def graph_digest(graph: TemporalGraph[np.ndarray]) -> str:
    """The record's digest; for a graph made in memory, one over its edges and events."""
    if graph.record is not None:
        return graph.record.digest
    digest = hashlib.sha256(repr(graph.num_nodes).encode())
    for relation, adjacency in graph.adjacency.items():
        digest.update(relation.key.encode())
        for array in (adjacency.indptr, adjacency.neighbor, adjacency.time):
            digest.update(np.ascontiguousarray(array).tobytes())
    events = graph.interactions
    target = () if events.target is None else (events.target,)
    for array in (events.entity, events.item, events.time, *target):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
