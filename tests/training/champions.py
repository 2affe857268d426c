"""Bundles without an ONNX file, which takes long to export, and graphs of two dates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model_core.config import GraphConfig, SplitConfig
from model_core.export.portable import write_portable
from model_core.graph.build import build_graph
from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.neighbors import ItemNeighbors
from model_core.records import json_bytes, write_record
from model_core.serving.bundle import KIND, SCHEMA_VERSION
from model_core.split.seeds import Split
from model_core.split.temporal import temporal_split
from model_core.tables.ingest import ingest
from model_core.training.checkpoint import Checkpoint


def write_bundle(checkpoint: Checkpoint, graph: TemporalGraph, split: Split, out: Path) -> Path:
    """What export_bundle writes, but for the network."""
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        np.save(folder / "item_id.npy", graph.source_keys(graph.item_table))
        np.save(folder / "item_vectors.npy", np.zeros((graph.num_items, 1), np.float32))
        (folder / "schema.json").write_bytes(json_bytes({
            "graph": checkpoint.schema.to_json(), "fan_out": list(checkpoint.fan_out),
            "num_entities": graph.num_entities, "priors": checkpoint.meta["priors"] or {}}))
        (folder / "config.json").write_bytes(json_bytes({
            "model": checkpoint.model_config.model_dump(mode="json")}))
        for kind in ("neighbors", "followers"):
            (folder / kind).mkdir()
            for name in ItemNeighbors.ARRAYS:
                np.save(folder / f"{kind}/{name}.npy", np.zeros(0))
        meta.update(parity={}, **write_portable(checkpoint, graph, split, folder))
    return out


def dated_graph(dataset: Path, task: str, as_of: int, folder: Path) -> tuple[TemporalGraph, Split]:
    """Graph and split of a logical date."""
    snapshot = ingest(str(dataset), task, folder / "snapshot", as_of=as_of)
    split = temporal_split(snapshot, SplitConfig(), folder / "split")
    return build_graph(snapshot, split, GraphConfig(), folder / "graph"), split


def scores(scorer, entity: np.ndarray, time: np.ndarray) -> np.ndarray:
    return scorer(torch.from_numpy(entity), torch.from_numpy(time)).numpy()
